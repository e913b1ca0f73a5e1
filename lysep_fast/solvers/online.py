"""Mini-batch steps over data that come in parts: each part goes on where the last one ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..report import Step
from ..samples.scaling import Moments
from ..state import State
from .mini_batch import MiniBatch

__all__ = ["Memory", "OnlineMiniBatch"]

#: Weights and biases of all layers.
Arrays = tuple[list[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Memory:
    """What a part of the data leaves for the next; weights are for inputs and targets as given.

    Attributes
    ----------
    W, b : list of ndarray
        The iterate itself.
    average : tuple of two lists of ndarray
        Weights and biases of the average iterate, before its output bias was made exact.
    velocity : tuple of two lists of ndarray
        Last move of the weights and of the biases.
    moments : Moments or None
        Of the inputs so far, None if they are not standardised.
    metrics : dict of int to tuple
        By layer: averaged Gram matrix, number of Gram matrices in it, inverse, next renewal.
    counts : tuple of int
        Steps done, iterates averaged, and steps since the last one was.
    """

    W: list[np.ndarray]
    b: list[np.ndarray]
    average: Arrays
    velocity: Arrays
    moments: Moments | None
    metrics: dict[int, tuple[np.ndarray, int, np.ndarray, int]]
    counts: tuple[int, int, int]


class OnlineMiniBatch(MiniBatch):
    """Mini-batch solver that goes on from the memory of a run on other samples.

    Velocity, metric and average need tens of steps to be worth something: on parts of a few
    hundred samples, a solver that starts afresh on each of them does not get far.

    Parameters
    ----------
    memory : Memory, optional
        Of a run with the same network and dtype, whose result the new run starts from; replaced
        after every epoch.
    **options
        Those of `MiniBatch`.
    """

    def __init__(self, memory: Memory | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.memory = memory
        self.moments = None if memory is None else memory.moments

    def with_former(self, moments: Moments) -> Moments:
        """Return the moments of the inputs together with those of the parts before."""
        if self.moments is not None:
            moments = self.moments.merged(moments)
        self.moments = moments
        return moments

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Lay out the run, then take over the memory if there is one."""
        super().start(problem, state)
        memory = self.memory
        if memory is None:
            return
        self.theta[:] = self._packed(problem, (memory.W, memory.b))
        self.average.value[:] = self._packed(problem, memory.average)
        self.moves.theta[:] = self._packed(problem, memory.velocity, moves=True)
        for l, (gram, count, inverse, renewal) in memory.metrics.items():
            metric = self.metrics[l]
            metric.average.value[:], metric.average.count = gram, count
            metric.inverse[:], metric._next = inverse, renewal
        self.count, self.average.count, self.average._age = memory.counts

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one epoch in place, and remember where it ended."""
        steps = super().step(problem, state)
        W, b = self._unpacked(problem, self.parameters)
        self.memory = Memory(
            W,
            b,
            self._unpacked(problem, self.averaged),
            self._unpacked(problem, self.moves, moves=True),
            self.moments,
            {
                l: (m.average.value.copy(), m.average.count, m.inverse.copy(), m._next)
                for l, m in self.metrics.items()
            },
            (self.count, self.average.count, self.average._age),
        )
        return steps

    def _packed(
        self, problem: TrainingProblem, arrays: Arrays, *, moves: bool = False
    ) -> np.ndarray:
        """Return weights and biases for data as given as a vector for data as trained on."""
        W, b = ([a.copy() for a in each] for each in arrays)
        problem.prepare(W, b, moves=moves)
        return Parameters.pack(self.parameters.shapes, W, b).theta

    def _unpacked(
        self, problem: TrainingProblem, parameters: Parameters, *, moves: bool = False
    ) -> Arrays:
        """Return a vector for data as trained on as weights and biases for data as given."""
        shapes = [layer.weight_shape for layer in problem.network.layers]
        empty, dtype = np.empty(0, self.theta.dtype), self.theta.dtype
        W = [empty.reshape(0, 0), *(np.empty(shape, dtype) for shape in shapes)]
        b = [empty, *(np.empty(shape[0], dtype) for shape in shapes)]
        parameters.unpack(W, b)
        problem.restore(W, b, moves=moves)
        return W, b
