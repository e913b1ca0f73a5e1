"""What the loop trains of a differential equation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..container.stateful import flatten, prefixed, restore
from ..report import Step
from .hidden import Hidden
from .solution import PdeRow, Solution
from .state import Discrete, PdeSolver, PdeState

__all__ = ["Callback", "EquationTraining"]

Callback = Callable[[PdeRow], bool | None]


class EquationTraining:
    """A collocated problem and its solver, for `lysep_fast.loop.run`.

    The weights with the smallest J become the solution.

    Parameters
    ----------
    discrete : Discrete
        The problem at its points.
    solver : PdeSolver
        What steps.
    state : PdeState
        The initial variables.
    result : Solution
        Gets the best ones.
    """

    noun, row_kind = "iterations", PdeRow
    remedy = (
        "problem has a source, boundary values or coefficients of the operator that are too large "
        "or a domain that is too small, or boundary_weight or scale is too large; choose units in "
        "which all are about 1"
    )

    def __init__(
        self, discrete: Discrete, solver: PdeSolver, state: PdeState, result: Solution
    ) -> None:
        self.discrete, self.solver, self.state = discrete, solver, state
        self.result = result

    def start(self) -> None:
        """Prepare the solver, which fits the output weights."""
        self.solver.start(self.discrete, self.state)

    def step(self) -> Sequence[Step]:
        """Do one iteration of the solver."""
        return self.solver.step(self.discrete, self.state)

    def measure(
        self, iteration: int, seconds: float, steps: tuple[Step, ...]
    ) -> tuple[PdeRow, float]:
        """Return what the solver has measured, and J."""
        state = self.state
        terms = (state.loss, state.inside, state.edge, state.separated)
        return PdeRow(iteration, seconds, *terms, steps), state.loss

    def is_finite(self, row: PdeRow) -> bool:
        """Return whether J is finite."""
        return bool(np.isfinite(row.loss))

    def is_better(self, row: PdeRow, best: PdeRow) -> bool:
        """Return whether J has reached a new low."""
        return row.loss < best.loss

    def keep(self) -> None:
        """Copy the current weights into the solution."""
        hidden = self.state.hidden
        copy, w = Hidden(hidden.widths, hidden.theta.copy()), self.state.w.copy()
        self.result.hidden, self.result.w = copy, w

    def state_dict(self) -> dict[str, Any]:
        """Return variables, solver, random generator and kept weights."""
        solver, rng = self.solver.state_dict(), self.discrete.rng
        return flatten({"state": self.state, "solver": solver, "rng": rng, "best": self._best()})

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        restore(found, "state", self.state)
        self.solver.resume(self.discrete, self.state, prefixed(found, "solver"))
        restore(found, "rng", self.discrete.rng)
        restore(found, "best", self._best())

    def _best(self) -> dict[str, Any]:
        return {"hidden": self.result.hidden, "w": self.result.w}

    def line(self, row: PdeRow) -> str:
        """Return a history row in words."""
        return (
            f"iteration {row.iteration:5d}  loss {row.loss:.4e}  equation {row.equation:.4e}  "
            f"boundary {row.boundary:.4e}  {row.seconds:8.2f} s"
        )
