"""The one exception of reading model files and checkpoints."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator

__all__ = ["ModelFileError", "model_file_errors"]

# What zipfile, json and our own decoding raise on wrong bytes; warnings are among them because
# zipfile warns of odd extra fields, which is an exception where warnings are errors.
_WRONG = (
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,  # with NotImplementedError and RecursionError
    TypeError,
    ValueError,
    Warning,
)


class ModelFileError(ValueError):
    """A model file or checkpoint is damaged, of another kind, or made by a newer version."""


@contextlib.contextmanager
def model_file_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever wrong contents of a file raise into `ModelFileError`.

    Only the decoding of the file belongs inside.  Errors of the file system stay `OSError`.
    """
    name = os.fsdecode(path)
    try:
        yield
    except ModelFileError:
        raise
    except _WRONG as error:
        what = str(error) or type(error).__name__
        raise ModelFileError(f"{name} is damaged or no file of lysep_fast: {what}") from error
