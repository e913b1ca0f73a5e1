"""What the training loop expects of a solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..objective import SeparatedLoss, TrainingProblem
from ..passes.full import Evaluation
from ..report import Step
from ..state import State

__all__ = ["Solver"]


class Solver(Protocol):
    """One iteration at a time; time, history, callbacks and stopping belong to the loop."""

    #: What the solver promises never to increase from one step to the next: "F", "loss", "none".
    promise: str
    #: Whether the state carries auxiliary variables; without, it is always synchronised.
    auxiliaries: bool
    #: Whether the residuals are zero after every step, so that C = 1 in the bound.
    synchronised: bool
    #: F by term after the last step, for solvers that keep auxiliaries of their own, else None.
    separated: SeparatedLoss | None
    #: Initial weights that suit the solver.
    init: str
    #: Sums of the true network over the training data if the last step knows them, else None.
    evaluation: Evaluation | None
    #: Which of "weights", "alpha", "sample_weight", "label_smoothing", "batch_size" and
    #: "regression" it can take into account.
    supports: tuple[str, ...]
    #: Abilities that it needs of layers and feature maps, see `lysep_fast.solvers.abilities`.
    needs: tuple[str, ...]
    #: Its name in messages.
    title: str

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Prepare for a run on `problem`."""
        ...

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one iteration in place and report on it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the next steps depend on beside problem and state, for a checkpoint."""
        ...

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, after `start` and with the variables in `state`."""
        ...
