"""The training loop: iterate until stop, with history, callback, best iterate and checkpoints.

It serves every kind of network; what is trained is behind the `Training` protocol.
"""

from __future__ import annotations

import enum
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .checkpoint import Checkpoints
from .container.stateful import Stateful, flatten, prefixed
from .report import HistoryTable, Step

__all__ = ["Stopping", "Training", "run"]

_PACKAGE = f"{__package__}."


class Training(Protocol):
    """A problem with its variables, its solver, and the result that they fill.

    History rows are what `measure` makes them: the loop reads their `steps` only.
    """

    #: Gets the history, the status (an enum), the best iteration and the weights.
    result: Any
    #: What an iteration is called, in the plural.
    noun: str
    #: Dataclass of the history rows.
    row_kind: type[Any]
    #: What to do where the loss is not finite at the start; it names the arguments.
    remedy: str

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

    def state_dict(self) -> dict[str, Any]:
        """Return variables, solver, random generator and kept weights, for a checkpoint."""
        ...

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, after `start` and `keep`."""
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
    n_iter_no_change : int or infinity
        Quiet iterations in a row after which to stop.
    quiet, done : Enum
        Statuses after so many quiet iterations, and after `max_iter`.
    mark : float
        Loss below which nothing is left to do either.
    """

    max_iter: int
    tol: float
    n_iter_no_change: float
    quiet: enum.Enum
    done: enum.Enum
    mark: float = 0.0

    @classmethod
    def after(cls, iterations: int, done: enum.Enum) -> Stopping:
        """Return the rule to stop after so many iterations and no sooner."""
        return cls(iterations, 0.0, iterations + 1, done, done)


@dataclass
class _Progress(Stateful):
    """What the loop itself remembers."""

    state_names = ("iteration", "lowest", "quiet", "best_iter", "seconds")

    iteration: int = 0
    lowest: float = np.inf
    quiet: int = 0
    best_iter: int = 0
    seconds: float = 0.0


class _Run:
    """One run of a training, from its start or from a checkpoint."""

    def __init__(self, training: Training, checkpoints: Checkpoints | None) -> None:
        self.training, self.result = training, training.result
        self.checkpoints = checkpoints
        self.progress = _Progress()
        self.table = HistoryTable(training.row_kind)
        self.began = time.perf_counter()

    def start(self) -> bool:
        """Prepare the training; return whether it went on from a checkpoint."""
        self.training.start()
        saved = None if self.checkpoints is None else self.checkpoints.saved
        if saved is None or self.checkpoints is None:
            return False
        self.training.keep()
        with self.checkpoints.loading():
            self.training.load_state_dict(prefixed(saved, "training"))
            self.progress.load_state_dict(prefixed(saved, "loop"))
            self.result.history[:] = self.table.rows_of_state(prefixed(saved, "history"))
            self._check(saved)
        self.result.best_iter = self.progress.best_iter
        self.began -= self.progress.seconds
        self.checkpoints.resumed(self.progress.iteration)
        return True

    def _check(self, saved: Mapping[str, Any]) -> None:
        """Raise if the file has not set what a checkpoint would hold now, and nothing else."""
        now, then = self.state_dict(), {key for key in saved if not key.startswith("start.")}
        if now.keys() != then:
            raise ValueError(f"the state has other parts: {sorted(now.keys() ^ then)[:5]}")
        if len(self.result.history) != self.progress.iteration + 1:
            raise ValueError("the history has not as many rows as there were iterations")
        if not 0 <= self.progress.best_iter <= self.progress.iteration:
            raise ValueError(f"the best iteration is {self.progress.best_iter}")
        for name, value in prefixed(saved, "training.best").items():
            if not np.all(np.isfinite(value)):
                raise ValueError(f"the kept weights {name} are not finite")

    def state_dict(self) -> dict[str, Any]:
        """Return the state of everything."""
        self.table.extend(self.result.history)
        training, history = self.training.state_dict(), self.table.state_dict()
        return flatten({"loop": self.progress, "training": training, "history": history})

    def iterate(self, tol: float) -> None:
        """Do one iteration, add its row to the history, keep the weights if they are better."""
        training, progress = self.training, self.progress
        steps = tuple(training.step())
        progress.iteration += 1
        row, value = self._measure(steps)
        progress.quiet = 0 if value < (1.0 - tol) * progress.lowest else progress.quiet + 1
        progress.lowest = min(progress.lowest, value)
        best = self.result.history[progress.best_iter]
        self.result.history.append(row)
        if training.is_better(row, best):
            training.keep()
            self.result.best_iter = progress.best_iter = progress.iteration

    def first(self) -> None:
        """Begin the history with the initial network."""
        row, self.progress.lowest = self._measure(())
        if not self.training.is_finite(row):
            raise ValueError(
                f"the loss is {row.loss} before the first iteration: {self.training.remedy}"
            )
        self.training.keep()
        self.result.history.append(row)

    def _measure(self, steps: tuple[Step, ...]) -> tuple[Any, float]:
        self.progress.seconds = time.perf_counter() - self.began
        return self.training.measure(self.progress.iteration, self.progress.seconds, steps)

    def status(self, stopping: Stopping) -> enum.Enum:
        """Return why to stop, or that there is no reason to."""
        known: Any = type(stopping.done)
        row, progress = self.result.history[-1], self.progress
        if not self.training.is_finite(row):
            return known.NOT_FINITE
        if row.steps and not any(step.accepted for step in row.steps):
            return known.NO_PROGRESS
        if progress.quiet >= stopping.n_iter_no_change or row.loss < stopping.mark:
            return stopping.quiet
        return stopping.done if progress.iteration >= stopping.max_iter else known.RUNNING

    def offer(self, last: bool) -> None:
        """Write a checkpoint if one is due."""
        if self.checkpoints is not None:
            self.checkpoints.offer(self.progress.iteration, self.state_dict, last)


def run(
    training: Training,
    stopping: Stopping,
    *,
    callback: Callable[[Any], bool | None] | None = None,
    verbose: int = 0,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Iterate until stop; history, status and the best weights are left in the result.

    Ctrl-C stops at the next sample block, with a warning: the result is that of the iterations
    that were complete, and the last checkpoint stays as it is.  Before the first iteration it is
    raised as usual.
    """
    this, result = _Run(training, checkpoints), training.result
    resumed = this.start()
    if not resumed:
        this.first()
    elif this.progress.iteration > stopping.max_iter:
        raise ValueError(
            f"max_iter={stopping.max_iter} is below the {this.progress.iteration} "
            f"{training.noun} of the checkpoint; raise it"
        )
    status: Any = type(stopping.done)
    try:
        # The callback has seen the last row of a checkpoint already.
        stop = not resumed and _report(training, callback, verbose)
        while True:
            result.status = status.CALLBACK if stop else this.status(stopping)
            if result.status is not status.RUNNING:
                break
            this.offer(last=False)
            this.iterate(stopping.tol)
            stop = _report(training, callback, verbose)
        this.offer(last=True)
    except KeyboardInterrupt:
        result.status = status.INTERRUPTED
        warnings.warn(result.message, stacklevel=_outside())
    if verbose:
        print(f"stopped after {result.n_iter} {training.noun}: {result.message}")


def _outside() -> int:
    """Return the stacklevel, for the caller, of the line outside the package that led here."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _report(
    training: Training, callback: Callable[[Any], bool | None] | None, verbose: int
) -> bool:
    """Print and hand out the last history row; return whether the callback wants to stop."""
    row = training.result.history[-1]
    if verbose:
        print(training.line(row))
    answer = False if callback is None else callback(row)
    return isinstance(answer, bool | np.bool_) and bool(answer)
