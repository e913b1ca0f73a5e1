"""Auxiliary variables: gradient step with monotone backtracking, one step length per sample.

In units of the weight ``w_{l+1}`` (``w_L`` = 1) row n of the subproblem for ``A_l`` is

    phi(A) = upper(s(A)) + nu_{l+1} ||R_l||^2,      nu_{l+1} = ||W_{l+1}||^2

    upper = e_n^2          (l = L-1)      gradient in the features: 2 e_n (P - t) W_L
    upper = ||R_{l+1}||^2  (l < L-1)      gradient in the features: -2 R_{l+1} W_{l+1}

The rows are independent, so each has its own line search without any global reduction.  A sample
weight c_n is a factor of the whole row: it changes sums over the rows, never the step of a row.
"""

from __future__ import annotations

import numpy as np

from ..container.stateful import Stateful
from ..kernels.auxiliaries import (
    copy_rows,
    gradient_step_rows,
    row_sums_of_squares,
)
from ..linalg.line_search import backtrack
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace
from .above import Above, LossAbove, ResidualAbove, picked

__all__ = ["LINE_SEARCHES", "Auxiliaries"]

LINE_SEARCHES = ("row", "matrix")


class Auxiliaries(Stateful):
    """One or several gradient steps on ``A_l``, 1 <= l < L.

    Parameters
    ----------
    layer : int
        Index l of the auxiliary.
    line_search : {"row", "matrix"}
        ``row``: every sample has its own step length; ``matrix``: one for the whole matrix.
    step : "curvature" or float
        First step length tried.  ``"curvature"``: `reach` over a bound of the curvature, nearly
        always accepted at once.  A number is the paper's tau_0, in the units of F times n.
    reach : float
        Multiple of the curvature step to start from.
    shrink : float
        Factor in (0, 1) between trials.
    max_trials : int
        Bound on the trials; a row without an accepted trial keeps its value.
    steps : int
        Gradient steps per update.
    """

    def __init__(
        self,
        layer: int,
        *,
        line_search: str = "row",
        step: float | str = "curvature",
        reach: float = 1.0,
        shrink: float = 0.5,
        max_trials: int = 12,
        steps: int = 1,
    ) -> None:
        if line_search not in LINE_SEARCHES:
            raise ValueError(f"line_search must be one of {LINE_SEARCHES}, got {line_search!r}")
        self.layer = layer
        self.line_search = line_search
        self.step = step
        self.reach = reach
        self.shrink = shrink
        self.max_trials = max_trials
        self.steps = steps
        self.name = f"A_{layer}"

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        names = {f"A{self.layer}", f"R{self.layer}"}
        return names if self.layer + 1 == state.depth else names | {f"R{self.layer + 1}"}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Take the gradient steps in place; F does not increase."""
        if self.line_search == "row":
            return self._update_rows(problem, state)
        return self._update_matrix(problem, state)

    def _update_rows(self, problem: TrainingProblem, state: State) -> Step:
        def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
            trials, moved = 0.0, 0.0
            for _ in range(self.steps):
                descent = _Descent(self, problem, state, rows, ws)
                report = descent.search(self.shrink, self.max_trials)
                trials += report[0]
                moved += report[1]
            return (*descent.sums(), trials, moved)

        upper, r2, trials, moved = problem.team.sum(task, problem.blocks)
        self._book(state, upper, r2)
        taken = problem.n_samples * self.steps
        return Step(self.name, moved / taken, trials / taken, "gradient")

    def _update_matrix(self, problem: TrainingProblem, state: State) -> Step:
        trials, accepted = 0, 0
        for _ in range(self.steps):

            def start(rows: slice, ws: Workspace) -> tuple[float, float]:
                descent = _Descent(self, problem, state, rows, ws)
                # Rows without weight do not say how long the common step may be.
                heavy = problem.loss.weigh(np.ones(len(descent.phi)), rows) > 0.0
                shortest = np.min(descent.first_step, initial=np.inf, where=heavy)
                return problem.loss.weighted_sum(descent.phi, rows), float(shortest)

            def attempt(step: float, commit: bool) -> list[float]:
                def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
                    descent = _Descent(self, problem, state, rows, ws)
                    phi = problem.loss.weighted_sum(descent.attempt(step), rows)
                    if commit:
                        descent.commit(np.ones(len(descent.phi), bool))
                    return (phi, *descent.sums())

                return problem.team.sum(task, problem.blocks)

            phi, shortest = problem.team.reduce(start, problem.blocks, _sum_and_minimum)
            search = backtrack(
                lambda step: attempt(step, commit=False)[0],
                phi,
                shortest,
                self.shrink,
                self.max_trials,
            )
            trials += search.trials
            if not search.accepted:
                break
            accepted += 1
            _, upper, r2 = attempt(search.step, commit=True)
            self._book(state, upper, r2)
        return Step(self.name, accepted / self.steps, float(trials), "gradient")

    def _book(self, state: State, upper: float, r2: float) -> None:
        """Store the new weighted sums of the two terms of F that changed."""
        state.r2[self.layer] = r2
        if self.layer + 1 == state.depth:
            state.e2 = float(upper)
        else:
            state.r2[self.layer + 1] = upper

    def first_step(
        self, problem: TrainingProblem, state: State, curvature: np.ndarray
    ) -> np.ndarray:
        """Return the first step length of every row, in the units of phi."""
        nu = state.nu[self.layer + 1]
        if self.step == "curvature":
            if nu <= 0.0:  # a zero map above: any step length will do
                return np.ones(curvature.shape[0])
            return self.reach / (2.0 * nu * (1.0 + curvature))
        weight = problem.objective.weights(state.nu)[self.layer + 1]
        return np.full(curvature.shape[0], float(self.step) * weight)


def _sum_and_minimum(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Combine two pairs: the sum of the first numbers, the smaller one of the second."""
    return a[0] + b[0], min(a[1], b[1])


class _Descent:
    """Gradient step and line search of one auxiliary on one block of rows, all in cache."""

    def __init__(
        self,
        block: Auxiliaries,
        problem: TrainingProblem,
        state: State,
        rows: slice,
        ws: Workspace,
    ) -> None:
        l = block.layer
        self.ws, self.nu = ws, float(state.nu[l + 1])
        self.loss, self.rows = problem.loss, rows
        self.feature = problem.network.features[l]
        self.A, self.R = state.A[l][rows], state.R[l][rows]
        shape, dtype = self.A.shape, self.A.dtype
        self.width = problem.network.layer(l + 1).n_inputs  # columns of the features
        self.S, D = ws.array("S", (shape[0], self.width), dtype), ws.array("D", shape, dtype)
        self.feature.forward_with_derivative(self.A, self.S, D)
        above = LossAbove if l + 1 == state.depth else ResidualAbove
        self.above: Above = above(problem, state, l, rows, ws)
        self.upper, G = self.above.start(self.S)
        self.G = self.feature.pull_back(G, D, D)
        self.r2 = np.empty(shape[0])
        row_sums_of_squares(self.R, self.r2)
        self.phi = self.upper + self.nu * self.r2
        self.first_step = block.first_step(problem, state, self.above.curvature)
        self.pick: np.ndarray | None = None
        self.inputs = (("A", self.A), ("R", self.R), ("G", self.G))

    def sums(self) -> tuple[float, float]:
        """Return the block's weighted sums of the upper term and of ``|R_{l,n}|^2``."""
        return (
            self.loss.weighted_sum(self.upper, self.rows),
            self.loss.weighted_sum(self.r2, self.rows),
        )

    def attempt(self, step: np.ndarray | float) -> np.ndarray:
        """Try step lengths and return phi of the picked rows there."""
        pick, ws = self.pick, self.ws
        A, R, G = (picked(array, pick, ws, name) for name, array in self.inputs)
        shape, dtype = A.shape, A.dtype
        self.A_new, self.R_new = ws.array("A_new", shape, dtype), ws.array("R_new", shape, dtype)
        steps = np.broadcast_to(np.asarray(step, np.float64), shape[:1]).copy()
        gradient_step_rows(A, R, G, self.above.scale, self.nu, steps, self.A_new, self.R_new)
        self.r2_new = np.empty(shape[0])
        row_sums_of_squares(self.R_new, self.r2_new)
        S_new = self.feature.forward(self.A_new, ws.array("S_new", (shape[0], self.width), dtype))
        self.upper_new = self.above.trial(self.S, S_new, pick)
        return self.upper_new + self.nu * self.r2_new

    def commit(self, accepted: np.ndarray) -> None:
        """Take over the accepted rows of the last attempt."""
        pick = self.pick
        if pick is None:
            copy_rows(accepted, self.A_new, self.A)
            copy_rows(accepted, self.R_new, self.R)
            target = np.flatnonzero(accepted)
        else:
            target = pick[accepted]
            self.A[target] = self.A_new[accepted]
            self.R[target] = self.R_new[accepted]
        self.above.commit(accepted, pick)
        self.upper[target] = self.upper_new[accepted]
        self.r2[target] = self.r2_new[accepted]

    def search(self, shrink: float, max_trials: int) -> tuple[float, float]:
        """Backtrack row by row; return the total of trials and the number of rows moved."""
        step, phi, trials, moved = self.first_step, self.phi, 0, 0
        for _ in range(max_trials):
            trials += len(phi)
            accepted = self.attempt(step) <= phi  # a NaN counts as an increase
            self.commit(accepted)
            moved += int(np.count_nonzero(accepted))
            rejected = ~accepted
            if not np.any(rejected):
                break
            step = step * shrink
            if np.all(rejected):
                continue
            # Only the rejected rows go on: the product with W is what a trial costs.
            self.pick = np.flatnonzero(rejected) if self.pick is None else self.pick[rejected]
            step, phi = step[rejected], phi[rejected]
        return float(trials), float(moved)
