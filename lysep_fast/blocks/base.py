"""The contract of a block: which variables it may touch, and what its update reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..objective import Problem
from ..state import State

__all__ = ["Block", "Step"]


@dataclass(frozen=True)
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


class Block(Protocol):
    """One update of the sweep."""

    name: str

    def touches(self, state: State) -> set[str]:
        """Return the names (``"W2"``, ``"b2"``, ``"A1"``, ``"R2"``) that an update may change."""
        ...

    def update(self, problem: Problem, state: State) -> Step:
        """Update the variables in place without increasing F."""
        ...
