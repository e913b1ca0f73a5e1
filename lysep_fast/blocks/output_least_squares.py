"""Output layer in closed form, for the squared error.

    f(W) = sum_n c_n |S_n W' + b - T_n|^2 + c_L ||W||^2 + (n alpha / 2) ||W||_F^2,   S = S_{L-1}

This is the subproblem of a hidden layer with the targets as its auxiliary, ``A_L = T``, and the
weight 1: the residual is ``R_L = T - S W' - b``.  It is not kept as a variable, because no weights
above multiply its rounding.
"""

from __future__ import annotations

import numpy as np

from ..linalg.line_search import backtrack
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace
from .output import surrogate_loss
from .weights import DAMPING, LayerWeights

__all__ = ["OutputLeastSquares"]


class OutputLeastSquares(LayerWeights):
    """Closed-form update of W_L, and of b_L at once when the network has an output bias.

    Parameters
    ----------
    layer : int
        The depth L of the network.
    output_bias : bool
        Whether the network has an output bias.
    proximal : float
        See `LayerWeights`.
    """

    def __init__(self, layer: int, output_bias: bool, proximal: float = 0.0) -> None:
        super().__init__(layer, "joint" if output_bias else "none", proximal)
        self.name = "W_L"

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        return {f"W{self.layer}", f"b{self.layer}"}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Solve for the weights in place; F (with its penalty) does not increase.

        f is measured at the solution: a step that rounding spoils is damped, or not taken.
        """
        L, objective = self.layer, problem.objective
        c_L, decay = objective.ridge(L, state), objective.decay
        ridge = objective.ridge_diagonal(L, c_L, decay)
        solution, dW, db = self._solve(problem, state, ridge)
        before = state.e2 + objective.weight_cost(L, state.W[L], c_L, decay)
        dtype = state.W[L].dtype
        e2 = before

        def moved(share: float) -> tuple[np.ndarray, np.ndarray]:
            W = (state.W[L] + share * dW).astype(dtype, copy=False)
            return W, (state.b[L] + share * db).astype(dtype, copy=False)

        def value(share: float) -> float:
            nonlocal e2
            W, b = moved(share)
            e2 = surrogate_loss(problem, state, W, b)
            return e2 + objective.weight_cost(L, W, c_L, decay)

        search = backtrack(value, before, 1.0, *DAMPING)
        if search.accepted:
            state.W[L][...], state.b[L][...] = moved(search.step)
            state.nu[L], state.e2 = objective.squared_norm(L, state.W[L]), e2
        return Step(self.name, search.step, float(search.trials), solution.method, solution.rcond)

    def _residual(
        self, problem: TrainingProblem, state: State, rows: slice, ws: Workspace
    ) -> np.ndarray:
        """Return ``T - S W_L' - b_L`` of a block of rows, in workspace memory."""
        L, T = self.layer, problem.loss.y[rows]
        seen = problem.seen(state, L, rows, ws)
        R = seen.product(state.W[L], ws.array("T - U", T.shape, T.dtype))
        R += state.b[L]
        return np.subtract(T, R, out=R)
