"""What the solvers of a differential equation work on: the discrete problem and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..container.stateful import Stateful
from ..report import Step
from .hidden import Hidden
from .jets import JetNetwork
from .problem import Problem

__all__ = ["Discrete", "PdeSolver", "PdeState", "Sampling"]


@dataclass(frozen=True)
class Sampling:
    """How many points are drawn, and what the boundary counts.

    Attributes
    ----------
    n_interior, n_boundary : int
        Numbers of points.
    boundary_weight : float
        The factor lam of the boundary term.
    """

    n_interior: int = 512
    n_boundary: int = 128
    boundary_weight: float = 100.0


@dataclass
class Discrete:
    """A problem collocated at points.

    Attributes
    ----------
    problem : Problem
        The statement.
    network : JetNetwork
        Passes over the training points.
    sampling : Sampling
        How they were drawn.
    rng : numpy.random.Generator
        For whatever a solver draws.
    """

    problem: Problem
    network: JetNetwork
    sampling: Sampling
    rng: np.random.Generator


@dataclass
class PdeState(Stateful):
    """The variables.

    Blocks of a sweep call them ``"w"``, ``"W1"``, ``"b1"``, ``"J1"`` and so on.

    Attributes
    ----------
    hidden : Hidden
        Hidden layers W_l, b_l.
    w : ndarray, shape (m_H,)
        Output weights.
    inside, edge : float
        Terms of the true network's loss J, ``(1/n) sum r^2`` and ``(lam/n_b) sum rb^2``; every
        solver leaves those of `hidden` and `w` here.
    separated : float
        The separated loss F after the last step; J for solvers without auxiliary variables.
    jets : JetNetwork
        Holds the auxiliary jets J_l, with their features and derivatives, in its parts.  Solvers
        that have them set it at the start, and those that keep them from one iteration to the
        next write them to checkpoints.
    """

    state_names = ("hidden", "w", "inside", "edge", "separated")

    hidden: Hidden
    w: np.ndarray
    inside: float = float("nan")
    edge: float = float("nan")
    separated: float = float("nan")
    jets: JetNetwork = field(init=False, repr=False, compare=False)

    @property
    def loss(self) -> float:
        """J of the true network."""
        return self.inside + self.edge

    def measure(self, network: JetNetwork) -> None:
        """Evaluate J from the features of the last forward pass, which must be at `hidden`."""
        self.inside, self.edge = network.loss(self.w)


class PdeSolver(Protocol):
    """One iteration at a time, as in lysep_fast.solvers; the loop owns time and stopping."""

    #: What never rises from one iteration to the next: "J", "F", or "none".
    promise: str
    #: False for a solver that is done after `start`.
    iterates: bool
    #: Default size of the first layer's initial weights, up to three coordinates and from five on.
    initial_scale: tuple[float, float]

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Prepare for a run: fit the output weights, measure J."""
        ...

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Do one iteration in place and report on it; no accepted step means the end."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the next steps depend on beside problem and state, for a checkpoint."""
        ...

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, after `start` and with the variables in `state`."""
        ...
