"""Follow a training on a fixed part of the training data, on a clock that stops meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lysep_fast.losses import CrossEntropy
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.full import Batch, Evaluation, evaluate
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.state import State

__all__ = ["Clock", "Curves", "Watched", "marks"]


def marks(n_steps: int, count: int = 16) -> set[int]:
    """Return the steps after which a training is looked at: denser at the start, the last one."""
    return {round(n_steps * (j / count) ** 2) for j in range(count + 1)}


class Clock:
    """Wall time since the clock was made, without what is done in `paused`."""

    def __init__(self) -> None:
        self._excluded = 0.0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._began - self._excluded

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do something that does not count."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._excluded += time.perf_counter() - began


@dataclass
class Curves:
    """What is seen of the true network on the way, and how much work was done until then."""

    passes: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    separated_loss: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[float]]:
        """Return the curves that have entries."""
        return {name: curve for name, curve in vars(self).items() if curve}


class Watched:
    """A solver whose network is evaluated on some samples after some of the steps.

    Parameters
    ----------
    solver : Solver
        What does the work.
    X, y : ndarray
        The samples, and their labels.
    clock : Clock
        Stopped during the evaluations.
    at : set of int
        After how many steps to look.
    passes_per_step : float
        Share of the training data that a step works through.
    advance : callable
        Called after every step.

    Attributes
    ----------
    curves : Curves
        Filled on the way.
    """

    def __init__(
        self,
        solver: Any,
        X: np.ndarray,
        y: np.ndarray,
        *,
        clock: Clock,
        at: set[int],
        passes_per_step: float,
        advance: Callable[[], None],
    ) -> None:
        self._solver, self._samples, self._clock = solver, (X, y), clock
        self._at, self._passes, self._advance = at, passes_per_step, advance
        self._count, self._first = 0, Evaluation(np.nan, np.nan, np.nan)
        self.curves = Curves()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._solver, name)

    @property
    def evaluation(self) -> Evaluation:
        """What the solver knows; before its first step what the samples say about all data."""
        known: Evaluation | None = self._solver.evaluation
        return self._first if known is None else known

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Prepare both; keep the initial weights."""
        self._solver.start(problem, state)
        with self._clock.paused():
            self.initial_weights = [w.copy() for w in state.W]
            X, y = self._samples
            loss = CrossEntropy(y, problem.network.widths[-1])
            samples = ArraySamples(np.ascontiguousarray(X, problem.samples.dtype))
            self._batch = Batch.make(samples, loss, problem.network)
            seen = self._look(problem, state)
            share = problem.n_samples / len(y)
            self._first = Evaluation(*(share * value for value in vars(seen).values()))

    def step(self, problem: TrainingProblem, state: State) -> list[Any]:
        """Do a step of the solver, then look if it is time."""
        steps: list[Any] = self._solver.step(problem, state)
        self._count += 1
        if self._count in self._at:
            with self._clock.paused():
                self._look(problem, state)
        self._advance()
        return steps

    def _look(self, problem: TrainingProblem, state: State) -> Evaluation:
        self.curves.seconds.append(self._clock.seconds)  # first: the evaluation does not count
        seen = evaluate(problem.network, state.W, state.b, self._batch, problem.team)
        n, curves = len(self._batch), self.curves
        own = self._solver.separated
        curves.passes.append(self._count * self._passes)
        curves.loss.append(seen.loss / n)
        curves.accuracy.append(seen.correct / n)
        curves.separated_loss.append(float(np.sqrt(seen.squares / n)) if own is None else own.root)
        return seen
