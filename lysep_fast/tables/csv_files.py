"""Text with separators into frames: its shape is checked first, then pandas reads the columns."""

from __future__ import annotations

import array
import csv
import io
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compressed import read_bytes, text_encoding
from .frames import TableError, need_pandas
from .text import GAPS

__all__ = ["CsvText", "open_csv"]

_DELIMITERS = "\t;|, "
_LINES_LOOKED_AT = 20


@dataclass(frozen=True)
class CsvText:
    """A file of rows that all have the same number of cells.

    Attributes
    ----------
    path : Path
        Name of the file.
    raw : bytes
        What is in it.
    encoding, delimiter : str
        How it is written.
    head : list of (int, list of str)
        Line numbers and cells of the first rows, one or two.
    lines : array of int
        Line in which every row begins, counted from 1.
    """

    path: Path
    raw: bytes
    encoding: str
    delimiter: str
    head: list[tuple[int, list[str]]]
    lines: array.array

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.head[0][1])

    def frame(self, columns: Sequence[int], *, header: bool, as_text: Collection[int] = ()) -> Any:
        """Return columns as a frame whose columns are called by their numbers.

        pandas decides between whole numbers, decimals, truth values and text; the columns of
        `as_text` stay what they are, and there an empty cell is an empty string.
        """
        wanted, pandas = sorted(set(columns)), need_pandas()
        try:
            found = pandas.read_csv(
                io.BytesIO(self.raw),
                encoding=self.encoding,
                sep=self.delimiter,
                header=0 if header else None,
                names=list(range(self.count)),
                index_col=False,
                usecols=wanted,
                dtype=dict.fromkeys(as_text, str),
                na_values={i: sorted(GAPS) for i in wanted if i not in as_text},
                keep_default_na=False,
                skipinitialspace=True,
                low_memory=False,  # a column has one dtype, not one per part of it
                **_exact(),
            )
        except ValueError as error:
            raise TableError(f"{self.path} is no table: {error}; check --delimiter") from None
        if len(found) != len(self.lines) - header:
            raise TableError(
                f"{self.path}: {len(self.lines)} lines hold cells, but pandas found {len(found)} "
                "rows; look for odd quotes and line ends"
            )
        return found[list(columns)]


def _exact() -> dict[str, str]:
    """Return the option with which pandas reads decimals to the last bit; newer ones always do."""
    version = tuple(map(int, need_pandas().__version__.split(".")[:2]))
    return {"float_precision": "round_trip"} if version < (3, 1) else {}


def open_csv(path: Path, delimiter: str | None = None) -> CsvText:
    """Read a file and check that it is a table.

    Parameters
    ----------
    path : Path
        Name of the file.
    delimiter : str, optional
        What separates cells; default what the first lines are cut by most regularly.

    Raises
    ------
    TableError
        If it is no text, has no rows, or rows of different lengths.
    OSError
        If it cannot be read.
    """
    raw = read_bytes(path)
    encoding = text_encoding(path, raw)
    try:
        return _checked(path, raw, encoding, delimiter)
    except UnicodeError as error:
        raise TableError(f"{path} is no text in {encoding}: {error}") from None
    except csv.Error as error:
        raise TableError(f"{path} is no table: {error}; check quotes and --delimiter") from None


def _checked(path: Path, raw: bytes, encoding: str, delimiter: str | None) -> CsvText:
    first = list(itertools.islice(_text_lines(path, raw, encoding), _LINES_LOOKED_AT))
    if not any(line.strip() for line in first):
        raise TableError(f"{path} is empty; a table has at least one row")
    delimiter = delimiter or _find_delimiter(first)
    reader = csv.reader(
        _text_lines(path, raw, encoding),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    head: list[tuple[int, list[str]]] = []
    lines = array.array("q")
    for line, row in _rows(reader):
        if len(head) < 2:
            head.append((line, row))
        if len(row) != len(head[0][1]):
            raise TableError(
                f"{path}, line {line}: {len(row)} columns, but {len(head[0][1])} in the first "
                "row; check quotes and --delimiter"
            )
        lines.append(line)
    if not head:
        raise TableError(f"{path} is empty; a table has at least one row")
    return CsvText(path, raw, encoding, delimiter, head, lines)


def _text_lines(path: Path, raw: bytes, encoding: str) -> Iterator[str]:
    """Yield lines as they are, with their ends."""
    with io.TextIOWrapper(io.BytesIO(raw), encoding, newline="") as text:
        for number, line in enumerate(text, start=1):
            if "\0" in line:
                raise TableError(f"{path}, line {number} holds a zero character and is no text")
            yield line


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
