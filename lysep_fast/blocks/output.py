"""Output layer: gradient step with monotone backtracking on the surrogate loss.

f(W) = sum_n c_n e_n^2 + c_L ||W||^2 + (n alpha / 2) ||W||_F^2,    c_L = eta_L,
grad = 2 [ (P - t) * c e ]' S_{L-1} + (2 c_L + n alpha) W    (rows of P - t multiplied by c_n e_n)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..linalg.line_search import backtrack
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace

__all__ = ["OutputWeights"]


class OutputWeights(Stateful):
    """One or several gradient steps on W_L (and b_L when the network has an output bias).

    Parameters
    ----------
    start : float or None
        First step length tried.  None: `growth` times the last accepted one, at first the
        inverse of a curvature estimate.
    shrink : float
        Factor in (0, 1) between trials.
    growth : float
        See `start`.
    max_trials : int
        Bound on the trials of one line search.
    steps : int
        Gradient steps per update.
    """

    state_names = ("last_step",)

    def __init__(
        self,
        start: float | None = None,
        *,
        shrink: float = 0.5,
        growth: float = 4.0,
        max_trials: int = 12,
        steps: int = 1,
    ) -> None:
        self.name = "W_L"
        self.start = start
        self.shrink = shrink
        self.growth = growth
        self.max_trials = max_trials
        self.steps = steps
        self.last_step = 0.0

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        return {f"W{state.depth}", f"b{state.depth}"}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Take the gradient steps in place; F (with its penalty) does not increase."""
        trials, accepted = 0, 0
        for _ in range(self.steps):
            search = self._step(problem, state)
            trials += search[1]
            accepted += search[0]
            if not search[0]:
                break
        return Step(self.name, accepted / self.steps, float(trials), "gradient")

    def _step(self, problem: TrainingProblem, state: State) -> tuple[bool, int]:
        objective, L = problem.objective, state.depth
        c_L, decay = objective.ridge(L, state), objective.decay
        grad_W, grad_b, curvature = self._gradient(problem, state)
        W, b = state.W[L], state.b[L]
        # The norm of W_L includes that of a pooling below it.
        ridge = objective.ridge_diagonal(L, c_L, decay)
        grad_W += 2.0 * ridge * W
        if not np.any(grad_W) and not np.any(grad_b):
            return False, 0
        f = state.e2 + objective.weight_cost(L, W, c_L, decay)
        e2 = {}

        def candidate(step: float) -> tuple[np.ndarray, np.ndarray]:
            return (W - step * grad_W).astype(W.dtype), (b - step * grad_b).astype(b.dtype)

        def value(step: float) -> float:
            W_new, b_new = candidate(step)
            e2[step] = surrogate_loss(problem, state, W_new, b_new)
            return e2[step] + objective.weight_cost(L, W_new, c_L, decay)

        start = self.start
        if start is None:
            start = self.growth * self.last_step
            if not start:
                bend = curvature + 2.0 * float(np.max(ridge))
                if not bend:  # squares of the features underflow: no step is large enough
                    return False, 0
                start = 1.0 / bend
        search = backtrack(value, f, start, self.shrink, self.max_trials)
        if search.accepted:
            state.W[L][...], state.b[L][...] = candidate(search.step)
            state.nu[L] = objective.squared_norm(L, state.W[L])
            state.e2 = e2[search.step]
            self.last_step = search.step
        else:
            self.last_step = 0.0
        return search.accepted, search.trials

    @staticmethod
    def _gradient(problem: TrainingProblem, state: State) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the gradients in W_L and b_L and a bound of the curvature."""
        network, L = problem.network, state.depth
        layer = network.layer(L)

        def task(rows: slice, ws: Workspace) -> tuple[Any, ...]:
            seen = problem.seen(state, L, rows, ws)
            k, dtype = len(seen), seen.dtype
            U = seen.product(state.W[L], ws.array("U", (k, layer.n_outputs), dtype))
            U += state.b[L]
            e2 = ws.array("value", (k,), dtype)
            problem.loss.squares_gradient(U, rows, e2, U)
            U = problem.loss.weigh(U, rows, U)
            squares = seen.row_squares() + float(network.output_bias)
            bound = float(
                np.dot(problem.loss.weigh(squares, rows), 2.0 * problem.loss.half_curvature(e2))
            )
            G = seen.correlation(U, ws.array("G", layer.weight_shape, dtype))
            return G, U.sum(axis=0, dtype=np.float64), bound

        grad_W, grad_b, curvature = problem.team.sum(task, problem.blocks)
        if not network.output_bias:
            grad_b = np.zeros_like(grad_b)
        return grad_W, grad_b, curvature


def surrogate_loss(
    problem: TrainingProblem, state: State, W_L: np.ndarray, b_L: np.ndarray
) -> float:
    """Return ``sum_n c_n e_n^2`` of the surrogate logits ``S_{L-1} W_L' + b_L``."""
    L = state.depth

    def task(rows: slice, ws: Workspace) -> tuple[float]:
        seen = problem.seen(state, L, rows, ws)
        U = seen.product(W_L, ws.array("U", (len(seen), len(W_L)), seen.dtype))
        U += b_L
        value = ws.array("value", (len(seen),), seen.dtype)
        problem.loss.squares(U, rows, value)
        return (problem.loss.weighted_sum(value, rows),)

    (total,) = problem.team.sum(task, problem.blocks)
    return float(total)
