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
    vectors : dict of str to two lists of ndarray
        Weights and biases by their name in `BatchSteps.vectors`.
    moments : Moments or None
        Of the inputs so far, None if they are not standardised.
    rest : dict of str to object
        State of the steps beside these.
    """

    vectors: dict[str, Arrays]
    moments: Moments | None
    rest: dict[str, Any]


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
        # Parts may be too small for polar steps, and the memory is that of one kind.
        super().__init__(**({"steps": "gram"} | options))
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
        # First, since the vectors of the state are overwritten by those of the memory.
        self.moves.load_state_dict(memory.rest)
        for name, (vector, is_move) in self.moves.vectors.items():
            vector.theta[:] = self._packed(problem, memory.vectors[name], moves=is_move)
        self.moves.look_ahead()

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one epoch in place, and remember where it ended."""
        steps = super().step(problem, state)
        vectors = {
            name: self._unpacked(problem, vector, moves=is_move)
            for name, (vector, is_move) in self.moves.vectors.items()
        }
        rest = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in self.moves.state_dict().items()
        }
        self.memory = Memory(vectors, self.moments, rest)
        return steps

    def _packed(
        self, problem: TrainingProblem, arrays: Arrays, *, moves: bool = False
    ) -> np.ndarray:
        """Return weights and biases for data as given as a vector for data as trained on."""
        W, b = ([a.copy() for a in each] for each in arrays)
        problem.prepare(W, b, moves=moves)
        return Parameters.pack(self.moves.parameters.shapes, W, b).theta

    def _unpacked(
        self, problem: TrainingProblem, parameters: Parameters, *, moves: bool = False
    ) -> Arrays:
        """Return a vector for data as trained on as weights and biases for data as given."""
        shapes = [layer.weight_shape for layer in problem.network.layers]
        empty, dtype = np.empty(0, self.moves.theta.dtype), self.moves.theta.dtype
        W = [empty.reshape(0, 0), *(np.empty(shape, dtype) for shape in shapes)]
        b = [empty, *(np.empty(shape[0], dtype) for shape in shapes)]
        parameters.unpack(W, b)
        problem.restore(W, b, moves=moves)
        return W, b
