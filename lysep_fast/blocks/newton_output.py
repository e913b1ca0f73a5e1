"""Output layer: damped Newton steps on the surrogate loss.

    f(W) = sum_n c_n e_n^2 + c_L ||W||^2 + d ||W||_F^2,    c_L = eta_L,  d = n alpha / 2
    grad = 2 [ (P - t) * c e ]' S + 2 (c_L + d) W,         S = S_{L-1} (with a row of ones for b_L)
    H    = S' diag(c v) S + (c_L + d) I + mu (tr/m) I,     v_n = |P - t|_n^2 + 2 e_n q_n (1 - q_n)
    dW   = -1/2 grad H^-1 - (mean of the rows of W),  halved until f does not rise.

The cross-entropy does not depend on the mean of the logits, so the mean of the rows of W only adds
to ``||W||^2``: it goes at once, and the gradient is taken at the rest.  For two classes the step
is then Newton's: along the difference of the logits ``2 v_n`` is the exact curvature of ``e_n^2``.
For more classes H is a metric.  Where the mean of the outputs matters it stays, and for labels
``2 v_n`` bounds the curvature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..kernels.joint import add_bias_rows, scale_rows
from ..layers.seen import Seen
from ..linalg.gram import bordered, diagonal_of
from ..linalg.least_squares import Solution, solve_normal_equations
from ..linalg.line_search import backtrack
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace

__all__ = ["NewtonOutput"]

# Samples whose v_n is below this share of the mean of e^2 are left out of the Hessian.
_NEGLIGIBLE = 1e-6


@dataclass
class _Point:
    """Weights of the output layer, f there, and what the next Newton step needs."""

    W: np.ndarray
    b: np.ndarray
    e2: float
    f: float
    gradient: np.ndarray
    hessian: np.ndarray


class NewtonOutput(Stateful):
    """Newton steps on W_L (and b_L when the network has an output bias).

    Parameters
    ----------
    steps : int, default 2
        Newton steps per update.
    mu : float, default 1e-6
        Damping relative to the mean eigenvalue of ``S' diag(v) S``.
    max_trials : int, default 12
        Bound on the halvings of one step.
    """

    def __init__(self, *, steps: int = 2, mu: float = 1e-6, max_trials: int = 12) -> None:
        self.name = "W_L"
        self.steps = steps
        self.mu = mu
        self.max_trials = max_trials

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        return {f"W{state.depth}", f"b{state.depth}"}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Take the Newton steps in place; F (with its penalty) does not increase."""
        L, objective = state.depth, problem.objective
        ridge = objective.ridge(L, state)
        point = self._measure(problem, state, state.W[L].copy(), state.b[L].copy(), ridge)
        taken, trials, method, rcond = 0.0, 0, "cholesky", 1.0
        for _ in range(self.steps):
            solution = self._direction(problem, point, ridge)
            found, share, used = self._search(problem, state, point, solution.X, ridge)
            taken, trials = taken + share, trials + used
            method, rcond = solution.method, min(rcond, solution.rcond)
            if found is point:
                break
            point = found
        if taken:
            state.W[L][...], state.b[L][...] = point.W, point.b
            state.nu[L] = objective.squared_norm(L, state.W[L])
            state.e2 = point.e2
        return Step(self.name, taken / self.steps, float(trials), method, rcond)

    def _search(
        self,
        problem: TrainingProblem,
        state: State,
        point: _Point,
        change: np.ndarray,
        ridge: float,
    ) -> tuple[_Point, float, int]:
        """Return the first point along the halved step where f does not rise, share and trials."""
        if not np.any(change):
            return point, 0.0, 0
        new, dtype = point, point.W.dtype

        def value(share: float) -> float:
            nonlocal new
            W = (point.W + share * change[:, :-1]).astype(dtype)
            b = (point.b + share * change[:, -1]).astype(dtype)
            new = self._measure(problem, state, W, b, ridge)
            return new.f

        search = backtrack(value, point.f, 1.0, 0.5, self.max_trials)
        return (new if search.accepted else point), search.step, search.trials

    def _direction(self, problem: TrainingProblem, point: _Point, ridge: float) -> Solution:
        """Return the Newton step for ``[W, b]``; without an output bias its last column is 0."""
        p = point.W.shape[1]
        mean = np.zeros(p)
        if problem.loss.shift_invariant:
            mean = point.W.mean(axis=0, dtype=np.float64)
        gradient = point.gradient.copy()
        ridge += problem.objective.decay
        gradient[:, :p] += ridge * (point.W - mean)
        lhs = point.hessian.copy()
        diagonal = diagonal_of(lhs)
        diagonal += self.mu * float(np.sum(diagonal)) / (p + 1)
        diagonal[:p] += ridge
        if not problem.network.output_bias:
            lhs, gradient = np.ascontiguousarray(lhs[(slice(p),) * lhs.ndim]), gradient[:, :p]
        solution = solve_normal_equations(lhs, np.ascontiguousarray(-gradient))
        change = np.zeros((len(gradient), p + 1))
        change[:, : solution.X.shape[1]] = solution.X
        change[:, :p] -= mean
        return Solution(change, solution.method, solution.rcond, solution.rank)

    def _measure(
        self, problem: TrainingProblem, state: State, W: np.ndarray, b: np.ndarray, ridge: float
    ) -> _Point:
        """Return f at the weights with half its data gradient and its Hessian, in one pass."""
        L = state.depth
        m, p = problem.network.layer(L).weight_shape
        loss, objective = problem.loss, problem.objective
        floor = _NEGLIGIBLE * state.e2 / problem.n_samples

        def task(rows: slice, ws: Workspace) -> tuple[Any, ...]:
            seen, y = problem.seen(state, L, rows, ws), loss.y[rows]
            k, dtype = len(seen), seen.dtype
            U = seen.product(W, ws.array("U", (k, m), dtype))
            add_bias_rows(U, b)
            e, v = ws.array("value", (k,), dtype), ws.array("v", (k,), np.float64)
            loss.gradient(U, y, e, U)
            loss.curvature(U, y, e, ws.array("size", (k,), np.float64), v)
            active = np.flatnonzero(v > floor)
            e, v = e.astype(np.float64), loss.weigh(v, rows, v)
            weighted = loss.weigh(e, rows)
            scale_rows(U, weighted)
            return (
                float(np.dot(weighted, e)),
                seen.correlation(U, ws.array("G", (m, p), dtype)),
                U.sum(axis=0, dtype=np.float64),
                *_weighted_gram(seen.take(active), v[active], ws),
                float(np.sum(v)),
            )

        e2, in_W, in_b, gram, total, weight = problem.team.sum(task, problem.blocks)
        hessian = bordered(gram, total, weight)
        f = e2 + objective.weight_cost(L, W, ridge, objective.decay)
        return _Point(W, b, float(e2), float(f), np.hstack([in_W, in_b[:, None]]), hessian)


def _weighted_gram(seen: Seen, v: np.ndarray, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
    """Return ``S' diag(v) S`` and ``v'S``."""
    root = np.sqrt(v).astype(seen.dtype, copy=False)
    rooted = seen.scaled(root, ws, "rooted S")
    return rooted.metric(ws, "H"), rooted.weighted_sum(root)
