"""Reads data files into inputs and targets, whatever their format; nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .columns import pick_columns
from .csv_tables import first_not_finite, read_csv
from .messages import CommandError

__all__ = ["Table", "read_table"]

_FORMATS = ".csv, .tsv or .txt (also with .gz), .npz and .npy"


@dataclass(frozen=True)
class Table:
    """Inputs and targets of a file.

    Attributes
    ----------
    path : Path
        The file.
    X : ndarray, shape (n, d), or images (n, H, W) or (n, C, H, W)
        Numbers.
    names : list of str or None
        Names of the columns of X, where the file has some.
    y : ndarray, shape (n,) or (n, K), or None
        Targets, if they were asked for.
    """

    path: Path
    X: np.ndarray
    names: list[str] | None
    y: np.ndarray | None

    @property
    def shape(self) -> str:
        """Numbers of rows and inputs for messages."""
        inputs = " x ".join(map(str, self.X.shape[1:]))
        return f"{len(self.X)} rows, {inputs} inputs"


def read_table(
    path: Path,
    *,
    inputs: str | None = None,
    target: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    wanted: Sequence[str] | None = None,
    dtype: type = np.float64,
) -> Table:
    """Read a file.

    Parameters
    ----------
    path : Path
        Its suffix says what it is.
    inputs : str, optional
        Columns by name or number with commas between; in an .npz the name of an array.
    target : str, optional
        Column by name or number; in an .npz the name of an array.
    header, delimiter
        For text; default what the file looks like.
    wanted : sequence of str, optional
        Names of the columns that a model was trained on.
    dtype : type
        Of the inputs that are read from text.

    Raises
    ------
    CommandError
        If there is something wrong with the file; the message says where.
    OSError
        If it cannot be read.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if path.suffix in (".npz", ".npy"):
        if header is not None or delimiter is not None:
            raise CommandError(f"{path}: --header and --delimiter are for text; leave them out")
        read = _read_npz if path.suffix == ".npz" else _read_npy
        return _checked(read(path, inputs, target))
    if kind not in (".csv", ".tsv", ".txt"):
        raise CommandError(
            f"{path}: the suffix {path.suffix!r} is unknown; {_FORMATS} can be read"
        )
    rows = read_csv(
        path,
        inputs=inputs,
        target=target,
        header=header,
        delimiter=delimiter,
        wanted=wanted,
        dtype=dtype,
    )
    return Table(path, rows.X, rows.names, rows.y)


def _read_npz(path: Path, inputs: str | None, target: str | None) -> Table:
    with _loaded(path, np.lib.npyio.NpzFile) as file:
        found: list[np.ndarray | None] = []
        for option, name in (("--inputs", inputs or "X"), ("--target", target)):
            if name is not None and name not in file.files:
                raise CommandError(
                    f"{path} has no array {name!r}, but {', '.join(map(repr, file.files[:20]))}; "
                    f"name one with {option}"
                )
            found.append(None if name is None else file[name])
    X, y = found
    assert X is not None
    return Table(path, X, None, y)


def _read_npy(path: Path, inputs: str | None, target: str | None) -> Table:
    with _loaded(path, np.ndarray) as array:
        pass  # all of it is in memory
    if inputs is None and target is None:
        return Table(path, array, None, None)
    if array.ndim != 2:
        raise CommandError(
            f"{path} has shape {array.shape}; columns can be chosen from two dimensions only"
        )
    chosen, goal = pick_columns(path, inputs, target, None, array.shape[1])
    return Table(path, array[:, chosen], None, None if goal is None else array[:, goal])


@contextmanager
def _loaded(path: Path, kind: type) -> Iterator[Any]:
    """Give what a file of NumPy holds; what is wrong with it, found here or in the body, is told.

    The file is opened here, as NumPy leaves it open if its contents are wrong.
    """
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, kind):
                raise ValueError("its suffix and its contents differ")
            yield found
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CommandError(
            f"{path} cannot be read: {error}; arrays of numbers and strings can, Python objects "
            "cannot"
        ) from None


def _checked(table: Table) -> Table:
    """Return the table if its arrays fit together."""
    X, y = table.X, table.y
    if X.dtype.kind not in "fiub":
        raise CommandError(f"{table.path}: the inputs have dtype {X.dtype}, which is no number")
    if X.ndim not in (2, 3, 4) or 0 in X.shape:
        raise CommandError(
            f"{table.path}: the inputs have shape {X.shape}; rows are samples and columns "
            "features, or they are images (n, H, W) or (n, C, H, W)"
        )
    _check_finite(table.path, X, "value")
    if y is not None:
        _check_targets(table.path, y, len(X))
    return table


def _check_finite(path: Path, array: np.ndarray, what: str) -> None:
    """Raise at the first NaN or infinity."""
    place = first_not_finite(array) if array.dtype.kind == "f" else None
    if place is not None:
        where = f"row {place[0]}" + (f", column {place[1]}" if array.ndim == 2 else "")
        raise CommandError(
            f"{path}, {where}: the {what} is {array[place]}; fill it in, or leave the row out"
        )


def _check_targets(path: Path, y: np.ndarray, n_rows: int) -> None:
    if y.dtype.kind not in "fiubU":
        raise CommandError(
            f"{path}: the target has dtype {y.dtype}; numbers and strings can be learned"
        )
    if y.ndim not in (1, 2) or len(y) != n_rows:
        raise CommandError(
            f"{path}: the target has shape {y.shape}, but there are {n_rows} rows of inputs; one "
            "target per row is needed"
        )
    _check_finite(path, y, "target")
