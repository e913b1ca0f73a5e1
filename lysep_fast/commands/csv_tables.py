"""Reads .csv files row by row, numbers straight into arrays: memory is that of the numbers."""

from __future__ import annotations

import array
import contextlib
import csv
import gzip
import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from .columns import Columns, choose_columns, is_number
from .messages import CommandError

__all__ = ["CsvRows", "first_not_finite", "read_csv"]

_DELIMITERS = "\t;|, "
_LINES_LOOKED_AT = 20


@dataclass(frozen=True)
class CsvRows:
    """What the chosen columns of a file hold.

    Attributes
    ----------
    X : ndarray, shape (n, d)
        Finite numbers.
    names : list of str or None
        Names of the columns of X, None without a header.
    y : ndarray, shape (n,), or None
        Target: integers, floats or strings.
    """

    X: np.ndarray
    names: list[str] | None
    y: np.ndarray | None


def read_csv(
    path: Path,
    *,
    inputs: str | None,
    target: str | None,
    header: bool | None,
    delimiter: str | None,
    wanted: Sequence[str] | None,
    dtype: type = np.float64,
) -> CsvRows:
    """Read a table; see `lysep_fast.commands.tables.read_table`."""
    with _opened(path) as file:
        first = list(itertools.islice(file, _LINES_LOOKED_AT))
        if not any(line.strip() for line in first):
            raise CommandError(f"{path} is empty; a table has at least one row")
        delimiter = delimiter or _find_delimiter(first)
        reader = csv.reader(
            itertools.chain(first, file), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        rows = _rows(reader)
        head = list(itertools.islice(rows, 2))
        columns = choose_columns(path, head, inputs, target, header, wanted)
        body = head[1:] if columns.has_header else head
        return _read_rows(path, itertools.chain(body, rows), columns, dtype)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open text; what is wrong with its bytes becomes a message that names the file."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path} is no text in UTF-8 (byte {error.start} of a part of it: {error.reason}); "
            "convert it, or give binary data the suffix .npz or .npy"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CommandError(f"{path} is damaged: {error}") from None
    except csv.Error as error:
        raise CommandError(f"{path} is no table: {error}; check quotes and --delimiter") from None


def _find_delimiter(lines: Sequence[str]) -> str:
    """Return the first separator that cuts all lines into the same number of columns."""
    for delimiter in _DELIMITERS:
        try:
            cut = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue
        counts = {len(row) for row in cut if any(cell.strip() for cell in row)}
        if len(counts) == 1 and counts != {1}:
            return delimiter
    # No regular table: what the first line looks like, so that the message names a ragged row.
    return max(",\t;|", key=lines[0].count)


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every row that is not blank."""
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(f"line {line}: {error}") from None
        if row and (len(row) > 1 or row[0].strip()):
            yield line, row
        line = reader.line_num + 1  # type: ignore[attr-defined]  # a csv.reader


def _read_rows(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: Columns, dtype: type
) -> CsvRows:
    """Read the rows below the header."""
    values = array.array("f" if dtype is np.float32 else "d")
    lines, codes = array.array("q"), array.array("q")
    labels: dict[str, int] = {}  # every different target once
    first_line: list[int] = []
    for line, row in rows:
        if len(row) != columns.count:
            raise CommandError(
                f"{path}, line {line}: {len(row)} columns, but {columns.count} in the first row; "
                "check quotes and --delimiter"
            )
        try:
            values.extend(map(float, [row[i] for i in columns.inputs]))
        except (ValueError, OverflowError):
            _refuse(path, line, row, columns)
        lines.append(line)
        if columns.target is not None:
            label = row[columns.target].strip()
            code = labels.setdefault(label, len(labels))
            if code == len(first_line):
                first_line.append(line)
            codes.append(code)
    if not lines:
        raise CommandError(f"{path} has no rows below its header")
    X: np.ndarray = np.frombuffer(values, dtype).reshape(len(lines), len(columns.inputs))
    _check_finite(path, X, lines, columns)
    y = None
    if columns.target is not None:
        where = f"column {columns.label(columns.target)}"
        y = _targets(path, list(labels), first_line, where)[np.frombuffer(codes, np.int64)]
    return CsvRows(X, columns.input_names, y)


def _refuse(path: Path, line: int, row: Sequence[str], columns: Columns) -> None:
    """Raise the error of the first cell that is no number."""
    for i in columns.inputs:
        if is_number(row[i]):
            continue
        where, cell = f"{path}, line {line}, column {columns.label(i)}", row[i].strip()
        if not cell:
            raise CommandError(f"{where}: the value is missing; fill it in, or leave the row out")
        hint = "leave the column out with --inputs, or turn its values into numbers"
        if is_number(cell.replace(",", ".")):
            hint = "write decimals with a point"
        raise CommandError(f"{where}: {cell[:80]!r} is not a number; {hint}")
    raise AssertionError("a row that was refused is readable")


def _check_finite(path: Path, X: np.ndarray, lines: Sequence[int], columns: Columns) -> None:
    place = first_not_finite(X)
    if place is not None:
        row, column = place
        raise CommandError(
            f"{path}, line {lines[row]}, column {columns.label(columns.inputs[column])}: the "
            f"value is {X[place]}; fill it in, or leave the row out"
        )


def first_not_finite(X: np.ndarray) -> tuple[int, ...] | None:
    """Return the place of the first NaN or infinity, without another array of this size."""
    rows = max(1, (1 << 20) // max(1, X[:1].size))
    for start in range(0, len(X), rows):
        finite = np.isfinite(X[start : start + rows])
        if not np.all(finite):
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            return (start + row, *rest)
    return None


def _targets(path: Path, labels: list[str], lines: Sequence[int], where: str) -> np.ndarray:
    """Return the different targets as integers, floats or strings, whichever they all are."""
    if "" in labels:
        line = lines[labels.index("")]
        raise CommandError(
            f"{path}, line {line}, {where}: the target is missing; fill it in, or leave the row "
            "out"
        )
    with contextlib.suppress(ValueError, OverflowError):
        whole = np.array([int(label) for label in labels], np.int64)
        return whole if list(map(str, whole)) == labels else np.array(labels)  # 007 is a name
    numeric = [is_number(label, finite=True) for label in labels]
    if all(numeric):
        return np.array([float(label) for label in labels])
    if sum(numeric) > len(labels) / 2:
        odd = numeric.index(False)
        raise CommandError(
            f"{path}, line {lines[odd]}, {where}: {labels[odd][:80]!r} is not a finite number as "
            "most targets are; put it right, or leave the row out"
        )
    return np.array(labels, np.str_)
