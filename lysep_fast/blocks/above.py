"""The term of F above an auxiliary, for one block of rows: the loss, or the residual above.

upper = e_n^2          (l = L-1)      gradient in the features: 2 e_n (P - t) W_L
upper = ||R_{l+1}||^2  (l < L-1)      gradient in the features: -2 R_{l+1} W_{l+1}
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..kernels.auxiliaries import copy_rows, residual_step_rows, row_sums_of_squares
from ..objective import TrainingProblem
from ..state import State
from ..threads.team import Workspace

__all__ = ["Above", "LossAbove", "ResidualAbove", "picked"]


class Above(Protocol):
    """The term of F that sees an auxiliary through its features, for one block of rows."""

    scale: float
    curvature: np.ndarray

    def start(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the term of every row at the features S, and its gradient over `scale`."""
        ...

    def trial(self, S: np.ndarray, S_new: np.ndarray, pick: Any) -> np.ndarray:
        """Return the term of the picked rows at new features; S are those of all rows."""
        ...

    def commit(self, accepted: np.ndarray, pick: Any) -> None:
        """Take over what the last trial changed in the accepted ones of the picked rows."""
        ...


def picked(array: np.ndarray, pick: Any, ws: Workspace, name: str) -> np.ndarray:
    """Return the picked rows in workspace memory; None picks all, without a copy."""
    if pick is None:
        return array
    out = ws.array(f"picked {name}", (len(pick), array.shape[1]), array.dtype)
    # mode="clip" because the default buffers `out`; the indices are ours and in range.
    return np.take(array, pick, axis=0, out=out, mode="clip")


class LossAbove:
    """``upper = e_n^2`` of the surrogate logits."""

    scale = 1.0

    def __init__(
        self, problem: TrainingProblem, state: State, l: int, rows: slice, ws: Workspace
    ) -> None:
        self.loss, self.layer = problem.loss, problem.network.layer(l + 1)
        self.W, self.b = state.W[l + 1], state.b[l + 1]
        self.rows, self.ws = rows, ws
        self.curvature = np.zeros(0)

    def _logits(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        U = self.ws.array("U", (S.shape[0], self.layer.n_outputs), S.dtype)
        self.layer.apply(S, self.W, U)
        U += self.b
        return U, self.ws.array("value", (S.shape[0],), S.dtype)

    def start(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the term of every row, and its gradient in the features over `scale`."""
        U, value = self._logits(S)
        self.loss.squares_gradient(U, self.rows, value, U)
        value = value.astype(np.float64)
        # Half the curvature bound of e_n^2 in the logits, in units of nu.
        self.curvature = self.loss.half_curvature(value)
        G = self.layer.adjoint(U, self.W, self.ws.array("G", S.shape, S.dtype))
        return value, G

    def trial(self, S: np.ndarray, S_new: np.ndarray, pick: Any) -> np.ndarray:
        """Return the term of the picked rows at new features."""
        U, value = self._logits(S_new)
        rows = self.rows
        if pick is not None:
            rows = np.arange(rows.start, rows.stop)[pick]
        self.loss.squares(U, rows, value)
        return value.astype(np.float64)

    def commit(self, accepted: np.ndarray, pick: Any) -> None:
        """Take over the accepted ones of the picked rows."""
        # The logits are not stored.


class ResidualAbove:
    """``upper = ||R_{l+1}||^2``; the residual above moves by the increment of its prediction."""

    scale = -2.0

    def __init__(
        self, problem: TrainingProblem, state: State, l: int, rows: slice, ws: Workspace
    ) -> None:
        self.layer, self.W = problem.network.layer(l + 1), state.W[l + 1]
        self.R, self.ws = state.R[l + 1][rows], ws
        self.curvature = np.ones(self.R.shape[0])
        self.moved = self.R

    def start(self, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the term of every row, and its gradient in the features over `scale`."""
        value = np.empty(S.shape[0])
        row_sums_of_squares(self.R, value)
        G = self.layer.adjoint(self.R, self.W, self.ws.array("G", S.shape, S.dtype))
        return value, G

    def trial(self, S: np.ndarray, S_new: np.ndarray, pick: Any) -> np.ndarray:
        """Return the term of the picked rows at new features."""
        # Only the change of the features goes through W: the error is relative to the change.
        change = self.ws.array("change", S_new.shape, S_new.dtype)
        np.subtract(S_new, picked(S, pick, self.ws, "S"), out=change)
        R = picked(self.R, pick, self.ws, "R above")
        self.moved = self.layer.apply(change, self.W, self.ws.array("moved", R.shape, R.dtype))
        value = np.empty(R.shape[0])
        residual_step_rows(R, self.moved, self.moved, value)
        return value

    def commit(self, accepted: np.ndarray, pick: Any) -> None:
        """Take over the accepted ones of the picked rows."""
        if pick is None:
            copy_rows(accepted, self.moved, self.R)
        else:
            self.R[pick[accepted]] = self.moved[accepted]
