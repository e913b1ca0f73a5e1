"""What the training loop expects of a solver, and how a solver is found by its name."""

from __future__ import annotations

from typing import Any, Protocol

from ..blocks import Step
from ..objective import Problem
from ..parts.passes import Evaluation
from ..state import State
from .alternating import Alternating
from .quasi_newton import QuasiNewton

__all__ = ["SOLVERS", "Solver", "make_solver"]


class Solver(Protocol):
    """One iteration at a time; time, history, callbacks and stopping belong to the loop."""

    #: What the solver promises never to increase from one step to the next: "F", "loss", "none".
    promise: str
    #: Whether the state carries auxiliary variables; without, it is always synchronised.
    auxiliaries: bool
    #: Initial weights that suit the solver.
    init: str
    #: Sums of the true network over the training data if the last step knows them, else None.
    evaluation: Evaluation | None
    #: Which of the optional terms "alpha", "sample_weight", "label_smoothing" it can handle.
    supports: tuple[str, ...]

    def start(self, problem: Problem, state: State) -> None:
        """Prepare for a run on `problem`."""
        ...

    def step(self, problem: Problem, state: State) -> list[Step]:
        """Do one iteration in place and report on it."""
        ...


SOLVERS: dict[str, type[Any]] = {"alternating": Alternating, "quasi-newton": QuasiNewton}


def make_solver(solver: str | Solver, options: dict[str, Any] | None = None) -> Solver:
    """Return the solver object for a name and its options.

    Raises
    ------
    ValueError
        If the name is unknown, or if options are given with a solver object.
    TypeError
        If an option does not exist for the solver.
    """
    if not isinstance(solver, str):
        if options:
            raise ValueError(
                "solver_options only go with a solver's name; give them to the solver object "
                f"{solver!r} instead"
            )
        return solver
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {sorted(SOLVERS)}, got {solver!r}")
    made: Solver = SOLVERS[solver](**(options or {}))
    return made
