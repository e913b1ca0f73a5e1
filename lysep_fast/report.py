"""What a block reports of its update, and the one way in which histories become arrays and back.

The rows of a history are dataclasses of numbers, of vectors of one length, and of `steps`.  Model
files and checkpoints hold the same arrays of them:

    history       the numbers, a row each and a column per name in "columns"
    step_codes    for every step its row, and its block and method as positions in "names"
    step_numbers  accepted, trials and rcond of every step
    <vector>      a vector's values, a row each
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .container.archive import Expected
from .container.fields import field, integer
from .container.stateful import flatten

__all__ = ["HistoryTable", "Step"]

_STEP_NUMBERS, _STEP_WORDS = ("accepted", "trials", "rcond"), ("block", "method")


@dataclasses.dataclass(frozen=True)
class Step:
    """Report of one block update.

    Attributes
    ----------
    block : str
        Name of the block, for instance ``"W_2"``.
    accepted : float
        Share of the step that was taken: 1.0 all, 0.0 nothing (the variables are unchanged); for
        row-wise line searches the share of rows that moved.
    trials : float
        Objective evaluations (mean over rows for row-wise line searches).
    method : str
        How the update was found: ``"cholesky"``, ``"qr"``, ``"svd"``, ``"gradient"`` or
        ``"gauss-newton"``.
    rcond : float
        Reciprocal condition estimate of the factorised matrix; NaN for gradient steps.
    """

    block: str
    accepted: float
    trials: float
    method: str
    rcond: float = float("nan")


class HistoryTable:
    """A history that grows as columns; every row is taken apart once.

    Parameters
    ----------
    kind : type
        The dataclass of the rows.  Fields annotated as arrays are its vectors, and one annotated
        as an integer counts the rows' iterations.
    """

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        types = {f.name: str(f.type) for f in dataclasses.fields(kind) if f.name != "steps"}
        self.vectors = [name for name, type_ in types.items() if type_ == "np.ndarray"]
        self.columns = [name for name in types if name not in self.vectors]
        self.whole = next(name for name, type_ in types.items() if type_ == "int")
        self._numbers: list[list[float]] = []
        self._vectors: dict[str, list[np.ndarray]] = {name: [] for name in self.vectors}
        self._codes: list[list[int]] = []
        self._values: list[list[float]] = []
        self._words: dict[str, int] = {}

    def extend(self, rows: Sequence[Any]) -> HistoryTable:
        """Take in the rows that are not there yet; return the table itself."""
        for number, row in enumerate(rows[len(self._numbers) :], start=len(self._numbers)):
            self._numbers.append([getattr(row, name) for name in self.columns])
            for name in self.vectors:
                self._vectors[name].append(getattr(row, name))
            for step in row.steps:
                words = [getattr(step, name) for name in _STEP_WORDS]
                codes = [self._words.setdefault(word, len(self._words)) for word in words]
                self._codes.append([number, *codes])
                self._values.append([getattr(step, name) for name in _STEP_NUMBERS])
        return self

    def packed(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return header and arrays."""
        rows, steps = len(self._numbers), len(self._codes)
        arrays: dict[str, np.ndarray] = {
            "history": np.array(self._numbers, np.float64).reshape(rows, len(self.columns)),
            "step_codes": np.array(self._codes, np.int32).reshape(steps, 3),
            "step_numbers": np.array(self._values, np.float64).reshape(steps, len(_STEP_NUMBERS)),
        }
        for name, vectors in self._vectors.items():
            width = len(vectors[0]) if vectors else 0
            arrays[name] = np.array(vectors, np.float64).reshape(rows, width)
        names = list(self._words)
        return {"rows": rows, "columns": self.columns, "steps": steps, "names": names}, arrays

    def expected(self, header: Any, **widths: int) -> Expected:
        """Return shapes and dtypes of the arrays of a header; `widths` are those of vectors."""
        rows, steps = integer(header, "rows"), integer(header, "steps")
        return {
            "history": ((rows, len(_names(header, "columns"))), np.float64),
            "step_codes": ((steps, 3), np.int32),
            "step_numbers": ((steps, len(_STEP_NUMBERS)), np.float64),
            **{name: ((rows, widths[name]), np.float64) for name in self.vectors},
        }

    def rows(self, header: Any, arrays: Mapping[str, np.ndarray]) -> list[Any]:
        """Return the rows of header and arrays, in which columns may be missing.

        Raises
        ------
        ValueError, LookupError
            If they do not fit together.
        """
        stored, names = _names(header, "columns"), _names(header, "names")
        known = set(stored) <= set(self.columns) and len(set(stored)) == len(stored)
        if not known or self.whole not in stored:
            raise ValueError(f"its history has the columns {stored!r:.200}")
        rows = [dict(zip(stored, numbers, strict=True)) for numbers in arrays["history"].tolist()]
        steps: list[list[Step]] = [[] for _ in rows]
        codes = arrays["step_codes"]
        if codes.size and np.min(codes) < 0:
            raise ValueError("its history has negative positions")
        for (row, *words), values in zip(
            codes.tolist(), arrays["step_numbers"].tolist(), strict=True
        ):
            spelled = {kind: names[code] for kind, code in zip(_STEP_WORDS, words, strict=True)}
            steps[row].append(Step(**spelled, **dict(zip(_STEP_NUMBERS, values, strict=True))))
        for number, row in enumerate(rows):
            row |= {self.whole: int(row[self.whole]), "steps": tuple(steps[number])}
            row |= {name: arrays[name][number].copy() for name in self.vectors}
        return [self.kind(**row) for row in rows]

    def state_dict(self) -> dict[str, Any]:
        """Return header and arrays as one flat state."""
        header, arrays = self.packed()
        return arrays | flatten(header)

    def rows_of_state(self, found: Mapping[str, Any]) -> list[Any]:
        """Return the rows that `state_dict` was made of."""
        header = {
            name: [found[f"{name}.{i}"] for i in range(found[f"{name}.count-of"])]
            for name in ("columns", "names")
        }
        return self.rows(header, found)


def _names(header: Any, name: str) -> list[str]:
    names: list[str] = field(header, name, list)
    if not all(type(text) is str for text in names):
        raise ValueError(f"its header has {name} that are no strings")
    return names
