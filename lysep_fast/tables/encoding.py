"""How a table becomes numbers: learned from one frame, applied to others, kept as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.fields import LARGEST, choice, field, integer
from .frames import TableError, as_frame, listed
from .kinds import KINDS, Column, LeftOut, Note
from .learn import learn_column
from .values import read_values

__all__ = ["Encoding"]

_SHOWN = 60  # characters of a category in the name of its column


@dataclass(frozen=True)
class Encoding:
    """What was learned of the columns of a table.

    Attributes
    ----------
    columns : list of Column
        One for every column of the table.
    named : bool
        Whether the table had names; columns are found by their place otherwise.
    max_categories : int
        Most categories of a column that have a column of numbers each.
    min_frequency : int
        Fewest rows of the training in which such a category occurs.
    """

    columns: list[Column]
    named: bool
    max_categories: int = 30
    min_frequency: int = 2

    @classmethod
    def learn(
        cls, X: Any, note: Note, *, max_categories: int = 30, min_frequency: int = 2
    ) -> Encoding:
        """Return the encoding of a table; see `lysep_fast.TableEncoder`.

        Parameters
        ----------
        X : DataFrame or what pandas makes one of
            The training's table.
        note : callable
            Takes messages on what is left out.
        max_categories, min_frequency
            See the attributes.
        """
        frame, named = as_frame(X)
        columns = [
            learn_column(
                name,
                read_values(name, frame.iloc[:, i]),
                note,
                max_categories=max_categories,
                min_frequency=min_frequency,
            )
            for i, name in enumerate(frame.columns)
        ]
        if not any(column.outputs for column in columns):
            raise TableError(
                f"no column of the table can be used with n_samples = {len(frame)}: "
                + "; ".join(f"{c.name!r}: {c.described()}" for c in columns[:10])
            )
        return cls(columns, named, max_categories, min_frequency)

    @property
    def names(self) -> list[str]:
        """Names of the table's columns."""
        return [column.name for column in self.columns]

    @property
    def used(self) -> list[str]:
        """Names of the columns that are not left out."""
        return [column.name for column in self.columns if not isinstance(column, LeftOut)]

    @property
    def text_columns(self) -> list[str]:
        """Names of the columns that were text, and have to be read as text again."""
        return [
            column.name
            for column in self.columns
            if column.kind in ("category", "date") or getattr(column, "form", "point") != "point"
        ]

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of numbers, all different."""
        found: dict[str, None] = {}
        for column in self.columns:
            for words in column.outputs:
                name = wanted = _short(column.name + words)
                count = 1
                while name in found:
                    count += 1
                    name = f"{wanted} {count}"
                found[name] = None
        return list(found)

    @property
    def n_outputs(self) -> int:
        """Number of columns of numbers."""
        return sum(len(column.outputs) for column in self.columns)

    def apply(self, X: Any, note: Note) -> np.ndarray:
        """Return a table as numbers.

        Parameters
        ----------
        X : DataFrame or what pandas makes one of
            Columns are found by name where both tables have names.  Further columns are not
            looked at, nor need those be there that are left out.
        note : callable
            Takes messages on cells that could not be read.

        Returns
        -------
        ndarray of float64, shape (n, n_outputs)
            Finite numbers.

        Raises
        ------
        TableError
            If columns are missing, or hold something else than in the training.
        """
        frame, named = as_frame(X)
        encoded = np.empty((len(frame), self.n_outputs))
        start = 0
        for column, place in self._places(frame, named):
            stop = start + len(column.outputs)
            values = read_values(column.name, frame.iloc[:, place])
            encoded[:, start:stop] = column.encode(values, note)
            start = stop
        return encoded

    def _places(self, frame: Any, named: bool) -> Iterator[tuple[Column, int]]:
        """Yield the columns that are used, and where they are."""
        if self.named and named:
            missing = [name for name in self.used if name not in frame.columns]
            if missing:
                raise TableError(
                    f"the table lacks {len(missing)} of the columns that it had in the training: "
                    f"{listed(missing)}; it has {listed(list(frame.columns))}"
                )
        elif frame.shape[1] != len(self.columns):
            raise TableError(
                f"the table has {frame.shape[1]} columns and had {len(self.columns)} in the "
                "training; without names, columns are found by their order"
            )
        for i, column in enumerate(self.columns):
            if not isinstance(column, LeftOut):
                place = frame.columns.get_loc(column.name) if self.named and named else i
                yield column, place

    def described(self) -> dict[str, str]:
        """Return what becomes of every column, in words."""
        return {column.name: column.described() for column in self.columns}

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold; `restored` makes the same encoding of it."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return own | {"columns": [column.state() for column in self.columns]}

    @classmethod
    def restored(cls, state: Any) -> Encoding:
        """Return the encoding of a state, checked.

        Raises
        ------
        ValueError
            If it is no state that `state` returns.
        """
        columns = [
            KINDS[choice(own, "kind", tuple(KINDS))].restored(own)
            for own in field(state, "columns", list)
        ]
        encoding = cls(
            columns,
            field(state, "named", bool),
            integer(state, "max_categories"),
            integer(state, "min_frequency", 1),
        )
        if len(set(encoding.names)) < len(columns) or not 1 <= encoding.n_outputs <= LARGEST:
            raise ValueError("its encoding has two columns of one name, or none that is used")
        return encoding


def _short(name: str) -> str:
    """Return a name that a model file can hold, and a person can read."""
    name = name.replace("\0", "\ufffd")
    return name if len(name) <= _SHOWN else name[: _SHOWN - 3] + "..."
