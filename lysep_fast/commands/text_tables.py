"""Tables whose cells may hold anything: which columns are read, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..tables.compressed import COMPRESSED
from ..tables.csv_files import CsvText, open_csv
from ..tables.encoding import Encoding
from ..tables.frame_files import FRAME_SUFFIXES, FrameFile, open_frame
from ..tables.frames import need_pandas
from .columns import Columns, choose_columns
from .messages import CommandError
from .targets import read_targets

__all__ = ["FORMATS", "Cells", "read_cells"]

_TEXT = (".csv", ".tsv", ".txt", ".dat", ".data")
#: What can be read, in words.
FORMATS = (
    f"{', '.join(_TEXT)} (also with {', '.join(COMPRESSED)}), {', '.join(FRAME_SUFFIXES)}, .npz "
    "and .npy"
)


class Cells(NamedTuple):
    """What the chosen columns of a file hold.

    Attributes
    ----------
    X : DataFrame
        The inputs.
    names : list of str or None
        Their names, None without a header; the frame has these, or numbers.
    y : ndarray, shape (n,), or None
        The targets.
    known : ndarray of bool, shape (n,), or None
        Rows that have one.
    lines : sequence of int
        Lines of the rows.
    remarks : list of str
        What was done, for people.
    """

    X: Any
    names: list[str] | None
    y: np.ndarray | None
    known: np.ndarray | None
    lines: Sequence[int]
    remarks: list[str]


def read_cells(
    path: Path,
    *,
    inputs: str | None,
    target: str | None,
    header: bool | None,
    delimiter: str | None,
    wanted: Sequence[str] | None,
    encoding: Encoding | None,
) -> Cells:
    """Read a table; see `lysep_fast.commands.tables.read_table`."""
    need_pandas()  # before any other complaint: without it the best of files is of no use
    source = _opened(path, delimiter)
    header = True if isinstance(source, FrameFile) else header
    if encoding is not None and encoding.named:
        wanted = encoding.used
    columns = choose_columns(path, source.head, inputs, target, header, wanted)
    lines = source.lines[int(columns.has_header) :]
    if not len(lines):
        raise CommandError(f"{path} has no rows below its header")
    goal = columns.target
    by_order = not columns.has_header or (encoding is not None and inputs is not None)
    goals = [] if goal is None else [goal]
    frame = source.frame(
        [*columns.inputs, *goals],
        header=columns.has_header,
        as_text={*_text_columns(columns, encoding, by_order), *goals},
    )
    y = known = None
    if goal is not None:
        y, known = read_targets(path, frame[goal], lines, f"column {columns.label(goal)}")
    X, names, remarks = frame[columns.inputs], columns.input_names, []
    if wanted is None and inputs is None and _counts_rows(source, columns, X):
        remarks.append("the first column has no name and numbers the rows; it is left out")
        X, names = X.iloc[:, 1:], None if names is None else names[1:]
    X = X.set_axis(range(X.shape[1]) if by_order else names, axis=1)
    return Cells(X, names, y, known, lines, remarks)


def _opened(path: Path, delimiter: str | None) -> CsvText | FrameFile:
    kind = path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix
    if path.suffix in FRAME_SUFFIXES:
        return open_frame(path)
    if kind not in _TEXT and not (path.suffix in COMPRESSED and not kind):
        raise CommandError(
            f"{path}: the suffix {kind or path.suffix!r} is unknown; {FORMATS} can be read"
        )
    return open_csv(path, delimiter)


def _text_columns(columns: Columns, encoding: Encoding | None, by_order: bool) -> list[int]:
    """Return the columns that have to stay text as they were in the training."""
    if encoding is None:
        return []
    as_text = set(encoding.text_columns)
    if columns.names is not None and encoding.named and not by_order:
        return [i for i in columns.inputs if columns.names[i] in as_text]
    return [i for i, name in zip(columns.inputs, encoding.names, strict=False) if name in as_text]


def _counts_rows(source: CsvText | FrameFile, columns: Columns, X: Any) -> bool:
    """Return whether the first column is the index that pandas and R write without a name."""
    if not columns.has_header or columns.inputs[:1] != [0] or len(columns.inputs) < 2:
        return False
    first = X.iloc[:, 0]
    if source.head[0][1][0].strip() or first.dtype.kind not in "iu":
        return False
    counted = first.to_numpy()
    return bool(counted[0] in (0, 1) and np.all(np.diff(counted) == 1))
