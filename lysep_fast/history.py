"""History rows as arrays, for checkpoints: one column per number, one table of all steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .blocks import Step

__all__ = ["HistoryTable"]

_STEP_NUMBERS, _STEP_WORDS = ("accepted", "trials", "rcond"), ("block", "method")


class HistoryTable:
    """The columns of a history that grows; every row is taken apart once.

    Parameters
    ----------
    kind : type
        The dataclass of the rows: numbers, vectors of one length, and `steps`.
    """

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        names = [field.name for field in dataclasses.fields(kind) if field.name != "steps"]
        self.columns: dict[str, list[Any]] = {name: [] for name in names}
        self.counts: list[int] = []
        self.numbers: list[list[float]] = []
        self.codes: list[list[int]] = []
        self.words: dict[str, int] = {}

    def extend(self, rows: Sequence[Any]) -> None:
        """Take in the rows that are not there yet."""
        for row in rows[len(self.counts) :]:
            for name, column in self.columns.items():
                column.append(getattr(row, name))
            self.counts.append(len(row.steps))
            for step in row.steps:
                self.numbers.append([getattr(step, name) for name in _STEP_NUMBERS])
                words = [getattr(step, name) for name in _STEP_WORDS]
                self.codes.append([self.words.setdefault(w, len(self.words)) for w in words])

    def state_dict(self) -> dict[str, Any]:
        """Return the columns as arrays, and the words that the codes of the steps stand for."""
        found = {name: np.array(column) for name, column in self.columns.items()}
        return {
            **found,
            "steps.counts": np.array(self.counts, np.int64),
            "steps.numbers": np.array(self.numbers, float).reshape(-1, len(_STEP_NUMBERS)),
            "steps.codes": np.array(self.codes, np.int64).reshape(-1, len(_STEP_WORDS)),
            **{f"steps.words.{code}": word for word, code in self.words.items()},
        }

    def rows(self, found: Mapping[str, Any]) -> list[Any]:
        """Return the rows that `state_dict` was made of."""
        codes, numbers = found["steps.codes"].tolist(), found["steps.numbers"].tolist()
        steps = []
        for pair, values in zip(codes, numbers, strict=True):
            words = (found[f"steps.words.{code}"] for code in pair)
            given = dict(zip(_STEP_NUMBERS, values, strict=True))
            steps.append(Step(**dict(zip(_STEP_WORDS, words, strict=True)), **given))
        ends = np.cumsum(found["steps.counts"]).tolist()
        starts = [0, *ends]
        columns = {
            # Vectors stay arrays, numbers become Python's.
            name: list(found[name].copy()) if found[name].ndim > 1 else found[name].tolist()
            for name in self.columns
        }
        return [
            self.kind(
                **{name: column[k] for name, column in columns.items()},
                steps=tuple(steps[starts[k] : end]),
            )
            for k, end in enumerate(ends)
        ]
