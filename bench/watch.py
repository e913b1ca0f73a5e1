"""Follow a training epoch by epoch, test accuracy included, on a clock that can be stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lysep_fast.cli import load_experiment
from lysep_fast.losses import CrossEntropy
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.full import Batch, evaluate
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.state import State

__all__ = ["Clock", "EpochCurve", "Samples", "WatchedSolver"]

#: Inputs and class indices.
Samples = tuple[np.ndarray, np.ndarray]


Clock = load_experiment("_watch")[1].Clock


@dataclass
class EpochCurve:
    """One training, epoch by epoch; entries that were not looked at are NaN.

    Attributes
    ----------
    seconds : list of float
        Time since the call after every epoch, without the evaluations on test data.
    validation, validation_accuracy : list of float
        Cross-entropy and accuracy on held-out samples.
    test : list of float
        Accuracy on test data of the weights that `validation` belongs to.
    total : float
        Time of the whole call.
    accuracy : float
        Test accuracy of the weights that are returned.
    epochs : int
        Number of epochs done.
    train_loss : float
        Cross-entropy over the training data at the end, where it was formed.
    """

    seconds: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    total: float = float("nan")
    accuracy: float = float("nan")
    epochs: int = 0
    train_loss: float = float("nan")

    def add(
        self, seconds: float, validation: float, validation_accuracy: float, test: float
    ) -> None:
        """Store one epoch."""
        self.seconds.append(seconds)
        self.validation.append(validation)
        self.validation_accuracy.append(validation_accuracy)
        self.test.append(test)
        self.epochs += 1

    @property
    def best(self) -> int | None:
        """Index of the epoch with the smallest finite held-out loss, None if there is none."""
        loss = np.array(self.validation)
        if not np.any(np.isfinite(loss)):
            return None
        return int(np.argmin(np.where(np.isfinite(loss), loss, np.inf)))

    def close(self, total: float) -> EpochCurve:
        """Note the time of the call, and the test accuracy of the best epoch as the result's."""
        self.total = total
        if self.best is not None:
            self.accuracy = self.test[self.best]
        return self


class WatchedSolver:
    """A solver that leaves the accuracy on test data behind after every step.

    Parameters
    ----------
    solver : Solver
        What does the work.
    clock : Clock
        Stopped during the evaluations on test data.
    test, held : Samples, optional
        Test data, and held-out data, whose evaluations count; without, the figures are NaN.

    Attributes
    ----------
    accuracy : float
        Accuracy on the test data after the last step.
    held_loss, held_accuracy : float
        Cross-entropy and accuracy on the held-out data after the last step.
    """

    def __init__(
        self, solver: Any, clock: Clock, test: Samples | None, held: Samples | None = None
    ) -> None:
        self._solver, self._clock, self._samples = solver, clock, (test, held)
        self._test: Batch | None = None
        self._held: Batch | None = None
        self.accuracy = self.held_loss = self.held_accuracy = float("nan")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._solver, name)

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Prepare both."""
        self._solver.start(problem, state)
        test, held = self._samples
        self._held = _batch(problem, held)
        with self._clock.paused():
            self._test = _batch(problem, test)

    def step(self, problem: TrainingProblem, state: State) -> list[Any]:
        """Do a step of the solver, then evaluate."""
        steps: list[Any] = self._solver.step(problem, state)
        if self._held is not None:
            self.held_loss, self.held_accuracy = _score(problem, state, self._held)
        with self._clock.paused():
            if self._test is not None:
                self.accuracy = _score(problem, state, self._test)[1]
        return steps


def _batch(problem: TrainingProblem, samples: Samples | None) -> Batch | None:
    """Return the samples as the package's passes take them."""
    if samples is None:
        return None
    X, y = samples
    loss = CrossEntropy(y, problem.network.widths[-1])
    held_out = ArraySamples(X.astype(problem.samples.dtype, copy=False))
    return Batch.make(held_out, loss, problem.network)


def _score(problem: TrainingProblem, state: State, batch: Batch) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy."""
    seen = evaluate(problem.network, state.W, state.b, batch, problem.team)
    return seen.loss / len(batch), seen.correct / len(batch)
