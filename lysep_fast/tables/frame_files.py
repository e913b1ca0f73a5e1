"""Files that pandas reads through other libraries, where these are installed: Parquet, Excel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .frames import TableError, need_pandas
from .text import label

__all__ = ["FRAME_SUFFIXES", "FrameFile", "open_frame"]

#: Suffixes, and the library beside pandas that reads them.
FRAME_SUFFIXES = {".parquet": "pyarrow", ".xlsx": "openpyxl"}


@dataclass(frozen=True)
class FrameFile:
    """A frame read from a file, with the parts that `CsvText` has.

    Attributes
    ----------
    path : Path
        Name of the file.
    whole : DataFrame
        What is in it.
    """

    path: Path
    whole: Any

    @property
    def head(self) -> list[tuple[int, list[str]]]:
        """The names of the columns as a first row."""
        return [(1, [str(name) for name in self.whole.columns])]

    @property
    def lines(self) -> Sequence[int]:
        """Numbers of the header and the rows, counted from 1."""
        return range(1, len(self.whole) + 2)

    def frame(self, columns: Sequence[int], *, header: bool, as_text: Collection[int] = ()) -> Any:
        """Return columns as a frame whose columns are called by their numbers."""
        found = {i: self.whole.iloc[:, i].reset_index(drop=True) for i in columns}
        for i in as_text:
            found[i] = found[i].map(lambda value: label(value) or "").astype(str)
        return need_pandas().DataFrame(found)[list(columns)]


def open_frame(path: Path) -> FrameFile:
    """Read a file.

    Raises
    ------
    ImportError
        If the library that reads it is not installed.
    TableError
        If it is damaged.
    OSError
        If it cannot be read.
    """
    pandas, library = need_pandas(), FRAME_SUFFIXES[path.suffix]
    read = pandas.read_parquet if path.suffix == ".parquet" else pandas.read_excel
    with path.open("rb") as file:
        try:
            return FrameFile(path, read(file))
        except ImportError as error:
            raise ImportError(
                f"{path}: files of the suffix {path.suffix} need {library}; install it with pip "
                f"install {library}, or write the table as .csv"
            ) from error
        except OSError:
            raise
        except Exception as error:  # whatever the library raises on wrong contents
            raise TableError(f"{path} is damaged: {error}") from error
