"""The training loop: iterate until stop, with history, callback and the best iterate.

It serves every kind of network; what is trained is behind the `Training` protocol.
"""

from __future__ import annotations

import enum
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .blocks import Step

__all__ = ["Stopping", "Training", "run"]


class Training(Protocol):
    """A problem with its variables, its solver, and the result that they fill.

    History rows are what `measure` makes them: the loop reads their `steps` only.
    """

    #: Gets the history, the status (an enum), the best iteration and the weights.
    result: Any
    #: What an iteration is called, in the plural.
    noun: str

    def start(self) -> None:
        """Prepare for a run from the weights of the result."""
        ...

    def step(self) -> Sequence[Step]:
        """Do one iteration in place and report on it."""
        ...

    def measure(
        self, iteration: int, seconds: float, steps: tuple[Step, ...]
    ) -> tuple[Any, float]:
        """Return the history row of the current weights, and the value whose fall is progress."""
        ...

    def is_finite(self, row: Any) -> bool:
        """Return whether training can go on from there."""
        ...

    def is_better(self, row: Any, best: Any) -> bool:
        """Return whether the weights of `row`, the last one, replace those of `best`."""
        ...

    def keep(self) -> None:
        """Copy the current weights into the result, all or none of them (Ctrl-C)."""
        ...

    def line(self, row: Any) -> str:
        """Return a history row in words."""
        ...


@dataclass(frozen=True)
class Stopping:
    """When to stop, beside the callback, and the statuses that say so.

    Attributes
    ----------
    max_iter : int
        Largest number of iterations; 0 for solvers that are done after their start.
    tol : float
        An iteration is quiet unless the watched value has fallen by more than this share of its
        lowest one.
    n_iter_no_change : int
        Quiet iterations in a row after which to stop.
    quiet, done : Enum
        Statuses after so many quiet iterations, and after `max_iter`.
    """

    max_iter: int
    tol: float
    n_iter_no_change: int
    quiet: enum.Enum
    done: enum.Enum


def run(
    training: Training,
    stopping: Stopping,
    *,
    callback: Callable[[Any], bool | None] | None = None,
    verbose: int = 0,
) -> None:
    """Iterate until stop; history, status and the best weights are left in the result.

    Ctrl-C stops at the next sample block, with a warning: the result is that of the iterations
    that were complete.  Before the first one, and after the last, it is raised as usual.
    """
    began, result = time.perf_counter(), training.result
    training.start()
    row, lowest = training.measure(0, time.perf_counter() - began, ())
    training.keep()
    result.history.append(row)
    try:
        _iterate(training, stopping, row, lowest, began, callback, verbose)
    except KeyboardInterrupt:
        result.status = type(result.status).INTERRUPTED
        warnings.warn(result.message, stacklevel=3)
    if verbose:
        print(f"stopped after {result.n_iter} {training.noun}: {result.message}")


def _iterate(
    training: Training,
    stopping: Stopping,
    row: Any,
    lowest: float,
    began: float,
    callback: Callable[[Any], bool | None] | None,
    verbose: int,
) -> None:
    """Iterate from the first row on until the status says why to stop."""
    result = training.result
    best, iteration, quiet = row, 0, 0
    while True:
        if verbose:
            print(training.line(row))
        if _wants_to_stop(callback, row):
            result.status = type(result.status).CALLBACK
        else:
            result.status = _status(training, stopping, row, iteration, quiet)
        if result.status is not type(result.status).RUNNING:
            return
        steps, iteration = tuple(training.step()), iteration + 1
        row, value = training.measure(iteration, time.perf_counter() - began, steps)
        quiet = 0 if value < (1.0 - stopping.tol) * lowest else quiet + 1
        lowest = min(lowest, value)
        result.history.append(row)
        if training.is_better(row, best):
            training.keep()
            best, result.best_iter = row, iteration


def _status(
    training: Training, stopping: Stopping, row: Any, iteration: int, quiet: int
) -> enum.Enum:
    """Return why to stop after an iteration, or that there is no reason to."""
    status: Any = type(stopping.done)
    if not training.is_finite(row):
        return status.NOT_FINITE
    if row.steps and not any(step.accepted for step in row.steps):
        return status.NO_PROGRESS
    if quiet >= stopping.n_iter_no_change:
        return stopping.quiet
    return stopping.done if iteration >= stopping.max_iter else status.RUNNING


def _wants_to_stop(callback: Callable[[Any], bool | None] | None, row: Any) -> bool:
    """Hand out one history row; return whether the callback answers with True itself."""
    answer = False if callback is None else callback(row)
    return isinstance(answer, bool | np.bool_) and bool(answer)
