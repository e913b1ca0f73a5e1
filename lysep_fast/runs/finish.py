"""The end of a run: the output bias made exact, and what the result says of itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..network.walk import Walk
from ..objective import TrainingProblem
from ..passes.full import Evaluation, evaluate
from ..result import Result, Status
from ..solvers.training import NetworkTraining
from ..threads.team import Workspace

__all__ = ["finish"]

# Rounds for a loss without closed form; each takes most of what the last one left.
_ROUNDS = 3
# A loss above this share of that of the best constant is no progress.
_NOTHING = 0.98
# What outputs that explain nothing are multiplied by, the best of these.
_FACTORS = (0.5, 0.25, 0.125, 0.0)
_DONE = (Status.CONVERGED, Status.CROSS_VALIDATED, Status.EARLY_STOPPED)


def finish(training: NetworkTraining) -> None:
    """Make the output bias exact, bring the kept row up to date, and judge the result.

    With the bias at its minimum, residuals of a regression have mean 0, and mean predicted
    probabilities are the shares of the classes, on the training samples.  Weights and row are
    those of the result, in units of the training.
    """
    problem, result = training.problem, training.result
    if result.best_iter and problem.network.output_bias:  # initial weights stay what they are
        _centre(training)
    elif getattr(training.solver, "running", False):
        # The row has a running mean, from before the last steps, or that of a part.
        found = evaluate(problem.network, result.W, result.b, problem.batch, problem.team)
        _replace_row(training, found)
    row = result.history[result.best_iter]
    constant = problem.loss.unit**2 * problem.loss.constant
    if result.status in _DONE and result.n_iter and row.loss > _NOTHING * constant > 0.0:
        result.status = Status.NOTHING_FOUND


def _centre(training: NetworkTraining) -> None:
    """Move the output bias of the kept weights to its minimum, unless their loss would rise.

    Outputs that explain less than the best constant are made smaller first: unless labels are
    smoothed, which ask for another constant, no training with an output bias ends above its loss.
    """
    problem, result = training.problem, training.result
    U, loss = _outputs(problem, result), problem.loss
    # The loss of the row may be a running mean: what counts is that of the same weights.
    former = _moved(problem, U, rounds=0)
    best, factor = _moved(problem, U, rounds=1 if loss.quadratic else _ROUNDS), 1.0
    if best[0].loss > problem.n_samples * loss.constant:
        bias = result.b[-1]
        for smaller in _FACTORS:
            found = _moved(problem, bias + U.dtype.type(smaller) * (U - bias), rounds=_ROUNDS)
            if found[0].loss < best[0].loss:
                best, factor = found, smaller
    if best[0].loss <= former[0].loss:
        result.W[-1] *= factor
        result.b[-1] += best[1].astype(U.dtype)
    else:
        best = former
    _replace_row(training, best[0])


def _moved(
    problem: TrainingProblem, U: np.ndarray, *, rounds: int
) -> tuple[Evaluation, np.ndarray]:
    """Return the sums of outputs whose bias was moved, and what it was moved by."""
    loss, team, blocks = problem.loss, problem.team, problem.blocks
    shift = np.zeros(U.shape[1])

    def sums(rows: slice, _: Workspace) -> tuple[np.ndarray, ...]:
        return loss.output_sums(U[rows] + shift.astype(U.dtype), rows)

    def measure(rows: slice, ws: Workspace) -> tuple[float, ...]:
        return loss.measure(U[rows] + shift.astype(U.dtype), rows, ws)

    for _ in range(rounds):
        shift = shift + loss.output_shift(*team.sum(sums, blocks))
    return Evaluation(*team.sum(measure, blocks)), shift


def _replace_row(training: NetworkTraining, found: Evaluation) -> None:
    """Give the row of the kept weights their own scores."""
    result = training.result
    row = result.history[result.best_iter]
    scores = training.scores(result.W, result.b, found)
    result.history[result.best_iter] = dataclasses.replace(row, **scores)


def _outputs(problem: TrainingProblem, result: Result) -> np.ndarray:
    """Return the outputs of the kept weights for all training samples: one pass, kept."""
    U = np.empty((problem.n_samples, problem.loss.n_outputs), result.b[-1].dtype)

    def task(rows: slice, ws: Workspace) -> None:
        seen = problem.batch.seen(problem.network, rows, ws)
        U[rows] = Walk(problem.network, result.W, result.b, ws).forward(seen)

    problem.team.map(task, problem.blocks)
    return U
