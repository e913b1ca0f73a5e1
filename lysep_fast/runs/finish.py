"""The end of a run: the output bias made exact, and what the result says of itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..network.walk import Walk
from ..objective import TrainingProblem
from ..result import Result, Status
from ..solvers.training import NetworkTraining
from ..threads.team import Workspace

__all__ = ["finish"]

# Rounds for a loss without closed form; each takes most of what the last one left.
_ROUNDS = 3
# A loss above this share of that of the best constant is no progress.
_NOTHING = 0.98
_DONE = (Status.CONVERGED, Status.CROSS_VALIDATED, Status.EARLY_STOPPED)


def finish(training: NetworkTraining) -> None:
    """Make the output bias exact, bring the kept row up to date, and judge the result.

    With the bias at its minimum, residuals of a regression have mean 0, and mean predicted
    probabilities are the shares of the classes, on the training samples.  Weights and row are
    those of the result, in units of the training.
    """
    problem, result = training.problem, training.result
    if problem.network.output_bias and result.n_iter:
        before = result.b[-1].copy()
        for _ in range(1 if problem.loss.quadratic else _ROUNDS):
            result.b[-1] += _shift(problem, result).astype(before.dtype)
        _update(training, before)
    row = result.history[result.best_iter]
    constant = problem.loss.unit**2 * problem.loss.constant
    if result.status in _DONE and result.n_iter and row.loss > _NOTHING * constant > 0.0:
        result.status = Status.NOTHING_FOUND


def _shift(problem: TrainingProblem, result: Result) -> np.ndarray:
    """Return what the output bias is to be moved by."""

    def task(rows: slice, ws: Workspace) -> tuple[np.ndarray, ...]:
        seen = problem.batch.seen(problem.network, rows, ws)
        U = Walk(problem.network, result.W, result.b, ws).forward(seen)
        return problem.loss.output_sums(U, rows)

    return problem.loss.output_shift(*problem.team.sum(task, problem.blocks))


def _update(training: NetworkTraining, before: np.ndarray) -> None:
    """Give the row of the kept weights its new loss, or the weights their bias if that rose."""
    result = training.result
    row = result.history[result.best_iter]
    found = training.scores(result.W, result.b)
    # The loss of the row may be a running mean: what counts is that of the same weights.
    former = training.scores(result.W, [*result.b[:-1], before])
    if not found["loss"] <= former["loss"]:
        result.b[-1][:] = before
        return
    result.history[result.best_iter] = dataclasses.replace(row, **found)
