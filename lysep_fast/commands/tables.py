"""Reads data files into inputs and targets, whatever their format; nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..tables.encoding import Encoding
from ..tables.frames import TableError
from .columns import pick_columns
from .messages import CommandError
from .numbers import first_not_finite, frame_numbers
from .text_tables import read_cells

__all__ = ["Table", "read_table"]


@dataclass(frozen=True)
class Table:
    """Inputs and targets of a file.

    Attributes
    ----------
    path : Path
        The file.
    X : DataFrame, or ndarray of shape (n, d), (n, H, W) or (n, C, H, W)
        Cells of any kind, or numbers.
    names : list of str or None
        Names of the columns of X, where the file has some.
    y : ndarray, shape (n,) or (n, K), or None
        Targets, if they were asked for.
    known : ndarray of bool, shape (n,), or None
        Rows that have a target; None if all have.
    lines : sequence of int
        Lines of the rows; empty where the file has none.
    remarks : list of str
        What was done to the table, for people.
    """

    path: Path
    X: Any
    names: list[str] | None
    y: np.ndarray | None
    known: np.ndarray | None = None
    lines: Sequence[int] = ()
    remarks: list[str] = field(default_factory=list)

    @property
    def is_frame(self) -> bool:
        """Whether X has columns of any kind, not numbers alone."""
        return not isinstance(self.X, np.ndarray)

    @property
    def shape(self) -> str:
        """Numbers of rows and inputs for messages."""
        inputs = " x ".join(map(str, self.X.shape[1:]))
        return f"{len(self.X)} rows, {inputs} inputs"

    def numbers(self, dtype: type = np.float64) -> np.ndarray:
        """Return X as numbers without encoding it; a cell that is none is refused."""
        if not self.is_frame:
            return np.asarray(self.X)
        return frame_numbers(self.path, self.X, self.names, self.lines, dtype)

    def with_targets(self) -> Table:
        """Return the rows that have a target."""
        if self.known is None or np.all(self.known):
            return self
        assert self.y is not None
        lost, rows = int(np.sum(~self.known)), np.flatnonzero(self.known)
        remark = f"{lost} of {len(self.known)} rows have no target and are left out"
        return Table(
            self.path,
            self.X.iloc[rows].reset_index(drop=True) if self.is_frame else self.X[rows],
            self.names,
            self.y[rows],
            lines=[self.lines[row] for row in rows.tolist()] if self.lines else (),
            remarks=[*self.remarks, remark],
        )


def read_table(
    path: Path,
    *,
    inputs: str | None = None,
    target: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    wanted: Sequence[str] | None = None,
    encoding: Encoding | None = None,
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
    encoding : Encoding, optional
        How a model takes the table; names its columns as well.

    Raises
    ------
    CommandError
        If there is something wrong with the file; the message says where.
    OSError
        If it cannot be read.
    """
    if path.suffix in (".npz", ".npy"):
        if header is not None or delimiter is not None:
            raise CommandError(f"{path}: --header and --delimiter are for text; leave them out")
        read = _read_npz if path.suffix == ".npz" else _read_npy
        return _checked(read(path, inputs, target))
    try:
        cells = read_cells(
            path,
            inputs=inputs,
            target=target,
            header=header,
            delimiter=delimiter,
            wanted=wanted,
            encoding=encoding,
        )
    except TableError as error:
        raise CommandError(str(error)) from None
    return Table(path, *cells)


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
