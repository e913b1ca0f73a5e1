"""The training loop: iterate until stop, with history, callback and the best iterate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .losses import Loss
from .objective import Problem, SeparatedLoss
from .parts.passes import Batch, Evaluation, evaluate
from .result import HistoryRow, Result, Status
from .solvers import Solver
from .state import State

__all__ = ["Callback", "Stopping", "run"]

Callback = Callable[[HistoryRow], bool | None]


@dataclass(frozen=True)
class Stopping:
    """When to stop, beside the callback."""

    max_iter: int
    tol: float
    n_iter_no_change: int


def run(
    problem: Problem,
    solver: Solver,
    result: Result,
    stopping: Stopping,
    *,
    validation: Batch | None = None,
    callback: Callback | None = None,
    verbose: int = 0,
) -> State:
    """Iterate until stop, from the weights in `result` (replaced at the end).

    Returns the last state.  With a validation set, the weights with its smallest loss
    are the result; without, the last finite ones.
    """
    began = time.perf_counter()
    state = problem.synchronised_state(result.W, result.b, auxiliaries=solver.auxiliaries)
    solver.start(problem, state)
    row, lowest = _history_row(problem, solver, state, 0, began, (), validation)
    best, best_row, quiet = _copy_weights(state), row, 0
    stop = _report(row, result, callback, verbose)
    while result.status is Status.RUNNING:
        if stop:
            result.status = Status.CALLBACK
        elif not np.isfinite(row.loss) or not np.isfinite(row.separated_loss):
            result.status = Status.NOT_FINITE
        elif row.steps and not any(step.accepted for step in row.steps):
            result.status = Status.NO_PROGRESS
        elif quiet >= stopping.n_iter_no_change:
            result.status = Status.CONVERGED if validation is None else Status.EARLY_STOPPED
        elif row.sweep >= stopping.max_iter:
            result.status = Status.MAX_ITER
        else:
            steps = tuple(solver.step(problem, state))
            row, value = _history_row(
                problem, solver, state, row.sweep + 1, began, steps, validation
            )
            if validation is None:
                quiet = 0 if lowest - value > stopping.tol * lowest else quiet + 1
                lowest = min(lowest, value)
                if np.isfinite(row.separated_loss):
                    best, best_row = _copy_weights(state), row
            elif row.validation_loss < best_row.validation_loss:
                best, best_row, quiet = _copy_weights(state), row, 0
            else:
                quiet += 1
            stop = _report(row, result, callback, verbose)
    result.W, result.b = best
    result.best_iter = best_row.sweep
    if verbose:
        print(f"stopped after {result.n_iter} sweeps: {result.message}")
    return state


def _watched(
    problem: Problem, solver: Solver, state: State, root: float, known: Evaluation
) -> float:
    """Return the value whose fall counts as progress: the one that the solver works on.

    That is ``sqrt(F + penalty)`` with auxiliaries, the mean loss against smoothed targets plus
    the penalty where the solver promises that it falls, and else the reported loss; `root` is
    LS.  The loss's own units are those of the penalty.
    """
    penalty = problem.objective.penalty(state.W)
    if solver.auxiliaries:
        return float(np.sqrt(root**2 + penalty)) if penalty else root
    if solver.promise == "loss":
        return known.objective / problem.n_samples + penalty
    return known.loss / problem.n_samples


def _copy_weights(state: State) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [w.copy() for w in state.W], [v.copy() for v in state.b]


def _history_row(
    problem: Problem,
    solver: Solver,
    state: State,
    sweep: int,
    began: float,
    steps: tuple[Any, ...],
    validation: Batch | None,
) -> tuple[HistoryRow, float]:
    """Evaluate the true network and the separated loss; return also the `_watched` value."""
    known = solver.evaluation
    if known is None:
        known = evaluate(problem.network, state.W, state.b, problem.batch, problem.team)
    if solver.auxiliaries:
        separated = problem.objective.separated_loss(state)
    elif solver.separated is not None:
        separated = solver.separated
    else:  # synchronised: all residuals are zero
        nothing = np.zeros(problem.network.depth - 1)
        separated = SeparatedLoss(known.squares / problem.n_samples, nothing, nothing)
    unit = problem.loss.unit
    loss, score = _reported(problem.loss, known, problem.n_samples)
    name, found = problem.loss.score_name, {"accuracy": float("nan")}
    found[name] = score
    if validation is not None:
        seen = evaluate(problem.network, state.W, state.b, validation, problem.team)
        found["validation_loss"], found[f"validation_{name}"] = _reported(
            validation.loss, seen, len(validation)
        )
    row = HistoryRow(
        sweep=sweep,
        seconds=time.perf_counter() - began,
        loss=loss,
        separated_loss=unit * separated.root,
        data=unit**2 * separated.data,
        penalties=unit**2 * separated.penalties,
        steps=steps,
        **found,
    )
    return row, _watched(problem, solver, state, separated.root, known)


def _reported(loss: Loss, seen: Evaluation, n: int) -> tuple[float, float]:
    """Return the mean loss in the units of the targets, and the score."""
    return loss.unit**2 * (seen.loss / n), loss.score(seen.loss / n, seen.correct / n)


def _report(row: HistoryRow, result: Result, callback: Callback | None, verbose: int) -> bool:
    """Store, print and hand out one history row; return whether the callback wants to stop."""
    result.history.append(row)
    if verbose:
        held_out = ""
        name, score, held_out_score = "accuracy", row.accuracy, row.validation_accuracy
        if np.isnan(score):
            name, score, held_out_score = "R^2", row.r2, row.validation_r2
        if np.isfinite(row.validation_loss):
            held_out = f"  validation {row.validation_loss:.4e} {100 * held_out_score:6.2f} %"
        print(
            f"sweep {row.sweep:5d}  loss {row.loss:.4e}  separated {row.separated_loss:.4e}  "
            f"{name} {100 * score:6.2f} %{held_out}  {row.seconds:8.2f} s"
        )
    answer = False if callback is None else callback(row)
    return isinstance(answer, bool | np.bool_) and bool(answer)
