"""Follow a solution on its way: lowest J so far and its error, on a clock that stops meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lysep_fast.pde import Problem, Solution
from lysep_fast.pde.jets import Hidden

from ._watch import Clock

#: Iterations between two looks grow by this factor: curves are drawn on logarithmic axes.
GROWTH = 1.08
CURVES = ("iterations", "seconds", "J", "error")
#: With less processor time than this share of the wall time, other work was in the way.
UNDISTURBED = 0.8


@dataclass(frozen=True)
class Network:
    """Weights in the package's layout, whoever trained them."""

    hidden: Hidden
    w: np.ndarray

    def solution(self, problem: Problem, activation: str) -> Solution:
        """Return the function that the weights describe."""
        return Solution(problem, self.hidden, self.w, activation, n_threads=1)


@dataclass(frozen=True)
class Judge:
    """What solutions are compared on: points of the domain, and a grid for pictures."""

    problem: Problem
    activation: str
    X: np.ndarray
    grid: np.ndarray | None = None

    def error(self, network: Network) -> float:
        """Return the relative L2 error."""
        return network.solution(self.problem, self.activation).error(self.X)

    def difference(self, network: Network) -> list[float] | None:
        """Return u minus the exact solution on the grid."""
        if self.grid is None:
            return None
        u = network.solution(self.problem, self.activation).u(self.grid)
        assert self.problem.solution is not None
        return [float(v) for v in u - self.problem.solution(self.grid)]


class Recorder:
    """Takes every iterate, keeps the best, and looks at it from time to time.

    Parameters
    ----------
    judge : Judge
        Measures errors.
    budgets : sequence of float
        Wall times in seconds, rising, at which the best iterate so far is noted; an iteration
        under way is finished, and counts.  Without any, training ends by itself.
    advance : callable
        Called about 100 times until the last budget, or with every iteration.
    """

    def __init__(
        self, judge: Judge, budgets: Sequence[float] = (), advance: Callable[[], None] = int
    ) -> None:
        self.judge, self.budgets, self._advance = judge, list(budgets), advance
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self.at: list[dict[str, float]] = []
        self.difference: list[float] | None = None
        self.best: Network | None = None
        self._lowest, self._next, self._told = math.inf, 0, 0
        self._iteration, self._error, self._stale = 0, math.nan, False
        self.begin()

    def begin(self) -> None:
        """Start the clock."""
        self.clock = Clock()
        self._cpu, self._cpu_paused = time.process_time(), 0.0

    @property
    def done(self) -> bool:
        """Whether all budgets are used up."""
        return bool(self.budgets) and len(self.at) == len(self.budgets)

    def offer(self, iteration: int, J: float, network: Callable[[], Network]) -> None:
        """Take an iterate; `network` returns its weights, which later steps must not change."""
        seconds, cpu = self.clock.seconds, time.process_time()
        with self.clock.paused():
            self._iteration = iteration
            if self._lowest > J:
                self._lowest, self.best, self._stale = J, network(), True
            if iteration >= self._next:
                self._next = max(iteration + 1, math.ceil(GROWTH * iteration))
                self._append(seconds)
            while self.budgets and not self.done and seconds >= self.budgets[len(self.at)]:
                self._note(seconds)
            self._tell(seconds)
        self._cpu_paused += time.process_time() - cpu

    def finish(self) -> dict[str, Any]:
        """Return the result; training that ended early counts as it is for the later budgets."""
        seconds = self.clock.seconds
        cpu = time.process_time() - self._cpu - self._cpu_paused
        if not self.done:
            self._append(seconds)
        while len(self.at) < max(1, len(self.budgets)):
            self._note(seconds)
        found = {"at": self.at, "curves": self.curves, **self.at[0]}
        found["disturbed"] = seconds > 0.05 and cpu < UNDISTURBED * seconds
        return found if self.difference is None else {**found, "difference": self.difference}

    def _look(self) -> tuple[float, float]:
        """Return J and error of the best iterate."""
        if self._stale and self.best is not None:
            self._error, self._stale = self.judge.error(self.best), False
        return self._lowest, self._error

    def _append(self, seconds: float) -> None:
        values = (self._iteration, seconds, *self._look())
        for name, value in zip(CURVES, values, strict=True):
            self.curves[name].append(value)

    def _note(self, seconds: float) -> None:
        if not self.at and self.best is not None:
            self.difference = self.judge.difference(self.best)
        self.at.append(dict(zip(CURVES, (self._iteration, seconds, *self._look()), strict=True)))
        if self.done:
            self._append(seconds)

    def _tell(self, seconds: float) -> None:
        share = min(100, int(100 * seconds / self.budgets[-1])) if self.budgets else self._told + 1
        for _ in range(self._told, share):
            self._advance()
        self._told = share
