"""Settings of `lysep_fast.pde.solve`: its arguments, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..features.jet import Jet
from ..settings.run import IN_SOLVER, NOT_GIVEN, PATIENCE, RunSettings, compared_as
from ..solvers.registry import make_from
from ..validation import check_integer, check_number, check_widths
from .problem import Problem
from .solvers_projection import RandomFeatures, VariableProjection
from .solvers_separated import Alternating, Nesterov
from .state import PdeSolver, Sampling

__all__ = ["PDE_SOLVERS", "PdeSettings", "default_scale"]

PDE_SOLVERS: dict[str, type[Any]] = {
    "random-features": RandomFeatures,
    "variable-projection": VariableProjection,
    "nesterov": Nesterov,
    "alternating": Alternating,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PdeSettings(RunSettings):
    """Checked settings of `lysep_fast.pde.solve`, by the names of its arguments."""

    problem: Problem = field(metadata=compared_as(lambda own: own.problem.digest()))
    hidden_layer_sizes: tuple[int, ...] = (40, 40)
    activation: str = "tanh"
    solver: str | PdeSolver = field(default="variable-projection", metadata=IN_SOLVER)
    solver_options: dict[str, Any] | None = field(default=None, metadata=IN_SOLVER)
    n_interior: int = 512
    n_boundary: int = 128
    boundary_weight: float = 100.0
    scale: float = NOT_GIVEN
    n_iter_no_change: float = field(default=20, metadata=PATIENCE)

    def __post_init__(self) -> None:
        if not isinstance(self.problem, Problem):
            raise TypeError(f"problem must be a lysep_fast.pde.Problem, got {self.problem!r}")
        hidden = check_widths(self.hidden_layer_sizes)
        if not hidden:
            raise ValueError(
                "hidden_layer_sizes must hold at least one width, got none; try (40, 40)"
            )
        Jet(self.activation, 0)  # raises on what has no jet
        fewest = 0 if self.problem.lift else 1
        weight = check_number(self.boundary_weight, "boundary_weight", 0.0, exclusive=True)
        self._keep(
            hidden_layer_sizes=hidden,
            n_interior=check_integer(self.n_interior, "n_interior", minimum=1),
            n_boundary=check_integer(self.n_boundary, "n_boundary", minimum=fewest),
            boundary_weight=weight,
        )
        super().__post_init__()
        usual = default_scale(self.problem.dimension, self.make_solver())
        scale = usual if self.scale is None else self.scale
        self._keep(scale=check_number(scale, "scale", 0.0, exclusive=True))

    def make_solver(self) -> PdeSolver:
        """Return the solver with its options."""
        made: PdeSolver = make_from(PDE_SOLVERS, self.solver, self.solver_options)
        return made

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the coordinates and the hidden layers."""
        return (self.problem.dimension, *self.hidden_layer_sizes)

    @property
    def sampling(self) -> Sampling:
        """How many points are drawn, and what the boundary counts."""
        return Sampling(self.n_interior, self.n_boundary, self.boundary_weight)


def default_scale(dimension: int, solver: PdeSolver) -> float:
    """Return the size of the first layer's initial weights that a solver starts from."""
    return float(np.interp(dimension, [3, 5], solver.initial_scale))
