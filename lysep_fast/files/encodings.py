"""The encoding of a table as an array of bytes: JSON, which may be longer than a header may."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np

from ..container.fields import integer
from ..tables.encoding import Encoding

__all__ = ["expected_encoding", "pack_encoding", "unpack_encoding"]


def pack_encoding(encoding: Encoding) -> tuple[dict[str, Any], np.ndarray]:
    """Return header and array of an encoding."""
    array = np.frombuffer(_text(encoding), np.uint8)
    return {"bytes": len(array)}, array


def expected_encoding(header: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of the array."""
    return (integer(header, "bytes", 1),), np.dtype(np.uint8)


def unpack_encoding(array: np.ndarray) -> Encoding:
    """Return the encoding of an array.

    Raises
    ------
    ValueError
        If it is none, or not written as `pack_encoding` writes it.
    """
    encoding = Encoding.restored(json.loads(array.tobytes(), parse_constant=_refuse))
    if _text(encoding) != array.tobytes():
        raise ValueError("its encoding is not written as this format prescribes")
    return encoding


def _text(encoding: Encoding) -> bytes:
    """Return the one JSON text of an encoding."""
    return json.dumps(encoding.state(), separators=(",", ":"), allow_nan=False).encode("ascii")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"its encoding holds {constant}")
