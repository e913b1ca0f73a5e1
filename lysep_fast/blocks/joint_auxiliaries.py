"""All auxiliaries of a sample at once: synchronise, then an exact rank-one Gauss-Newton step.

A row is synchronised (R = 0) when its true ``e_n^2`` is at most ``F_n``.  From there

    R <- R + t (R* - R),     R*_l = -lambda delta_l / w_l     (see `rank_one`),

A by a forward pass with R injected, t = 1, 0.4, 0.16, ... until F_n does not rise.
"""

from __future__ import annotations

import numpy as np

from ..kernels.auxiliaries import row_sums_of_squares
from ..objective import Problem
from ..parallel import Workspace
from ..state import State
from ..stateful import Stateful
from .base import Step
from .joint_rows import JointRows, RowSearch

__all__ = ["JointAuxiliaries"]


class JointAuxiliaries(Stateful):
    """Rank-one step on all auxiliaries of every sample.

    Parameters
    ----------
    shrink : float, default 0.4
        Factor between the trials of a row.
    max_trials : int, default 8
        Bound on the trials of a row.
    """

    def __init__(self, *, shrink: float = 0.4, max_trials: int = 8) -> None:
        self.name = "A"
        self.search = RowSearch(shrink, max_trials)

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        return {f"{letter}{l}" for letter in "AR" for l in range(1, state.depth)}

    def update(self, problem: Problem, state: State) -> Step:
        """Move the auxiliaries in place; no row of F increases."""
        w = problem.objective.weights(state.nu)

        def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
            joint = JointRows(problem, state.W, state.b, w, rows, ws)
            R = [problem.X[rows], *(a[rows] for a in state.R[1:])]
            A = [a[rows] for a in state.A]
            return joint.minimise(R, _row_values(joint, A, R), 0.0, self.search, R, A)

        e2, *r2, moved, trials = problem.team.sum(task, problem.blocks)
        state.e2, state.r2[1:] = e2, r2
        n = problem.n_samples
        return Step(self.name, moved / n, trials / n, "gauss-newton")


def _row_values(joint: JointRows, A: list[np.ndarray], R: list[np.ndarray]) -> np.ndarray:
    """Return ``F_n`` of every row of a block."""
    S = joint.ws.array("S", A[-1].shape, A[-1].dtype)
    S = joint.network.features[len(A) - 1].forward(A[-1], S)
    _, e = joint.losses("value", S, joint.y)
    value, r2 = np.square(e, dtype=np.float64), np.empty(len(e))
    for l in joint.hidden:
        row_sums_of_squares(R[l], r2)
        value += joint.w[l] * r2
    return value
