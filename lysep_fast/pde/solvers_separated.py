"""Layer separation for differential equations: the papers' sweeps, and an accelerated form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..blocks.sweep import Sweep
from ..container.stateful import Stateful
from ..report import Step
from ..validation import check_choice, check_integer, check_number
from .blocks import sweep_blocks
from .jets import JetNetwork
from .output import fit_output
from .separated import Separated
from .state import Discrete, PdeState

__all__ = ["Alternating", "Nesterov"]

WEIGHTS = ("neuron", "frobenius")


class Alternating(Stateful):
    """Sweeps over output weights, auxiliary jets and hidden layers; F never rises.

    This is the literal transfer of the papers' Algorithm 1.  J of the true network may rise.

    Parameters
    ----------
    weights : {"frobenius", "neuron"}, default "frobenius"
        Weights of the separated loss, see `Separated`; F is monotone for the first only (the
        second has a floor that moves).
    kappa : float, default 1.0
        Their common factor.
    """

    promise = "F"
    iterates = True
    #: The jets are the auxiliary ones; the true network passes through parts of its own.
    state_names = ("separated", "jets", "sweep")
    initial_scale = (0.6, 0.3)

    def __init__(self, *, weights: str = "frobenius", kappa: float = 1.0) -> None:
        self.weights = check_choice(weights, "weights", WEIGHTS)
        self.kappa = check_number(kappa, "kappa", 0.0, exclusive=True)

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Set the auxiliary jets by a forward pass and fit the output weights."""
        network = problem.network
        self.true = JetNetwork.like(network, network.sets)
        network.forward(state.hidden)
        state.w, state.jets = fit_output(network).w, network
        self.separated = Separated(self.weights, self.kappa)
        self.separated.refresh_channels(network)
        self.jets, self.sweep = network, Sweep(sweep_blocks(network.depth))
        self._measure(state)

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Do one sweep."""
        steps = self.sweep(self.separated, state)
        self._measure(state)
        return steps

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.load_state_dict(found)

    def _measure(self, state: PdeState) -> None:
        self.true.forward(state.hidden)
        state.measure(self.true)
        state.separated = self.separated.value(state)


class Nesterov(Stateful):
    """Synchronised sweeps, extrapolated, with a safeguard: J never rises.

    Every iteration starts from a synchronised state at the extrapolated point y, sweeps to x',
    fits the output weights there, and keeps x' only if J has fallen.

    Parameters
    ----------
    kappa : float, default 0.3
        Smallest factor of the neuron weights; it grows by 8 when a sweep without extrapolation
        fails, and falls by 5 % with every success.
    refresh : int, default 10
        Sweeps between new channel weights.
    """

    promise = "J"
    iterates = True
    state_names = ("separated", "sweep", "x", "y", "run", "sweeps")
    initial_scale = (0.6, 0.3)

    def __init__(self, *, kappa: float = 0.3, refresh: int = 10) -> None:
        self.kappa = check_number(kappa, "kappa", 0.0, exclusive=True)
        self.refresh = check_integer(refresh, "refresh", minimum=1)

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Fit the output weights and measure J."""
        network = problem.network
        network.forward(state.hidden)
        state.w, state.jets = fit_output(network).w, network
        state.measure(network)
        state.separated = state.loss
        self.separated = Separated("neuron", self.kappa)
        # At the start of a sweep w is known to be optimal: the block of w is left out.
        self.sweep = Sweep(sweep_blocks(network.depth)[1:])
        self.x, self.y = state.hidden.theta.copy(), state.hidden.theta.copy()
        self.run, self.sweeps = 0, 0

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.load_state_dict(found)

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Sweep from y; keep the outcome or go back to x."""
        network, hidden, separated = problem.network, state.hidden, self.separated
        old, kept = state.loss, (state.w, state.inside, state.edge)
        hidden.theta[:] = self.y
        network.forward(hidden)
        state.w = fit_output(network, state.w).w
        if self.sweeps % self.refresh == 0:
            separated.refresh_channels(network)
        self.sweeps += 1
        steps = self.sweep(separated, state)
        network.forward(hidden)
        fit = fit_output(network, state.w)
        state.w = fit.w
        state.measure(network)
        if state.loss < old:
            self.run += 1
            new = hidden.theta.copy()
            self.y = new + self.run / (self.run + 3) * (new - self.x)
            self.x = new
            separated.kappa = max(self.kappa, 0.95 * separated.kappa)
            state.separated = state.loss
            return [*steps, Step("w", 1.0, float(fit.iterations), fit.method, fit.rcond)]
        hidden.theta[:] = self.y = self.x
        state.w, state.inside, state.edge = kept
        if self.run == 0:
            separated.kappa *= 8.0
        self.run = 0
        # With huge weights the sweep no longer moves anything: there is no more to gain.
        hopeless = not separated.kappa < 1e12 * self.kappa
        return [Step("theta", 0.0 if hopeless else 1e-3, 1.0, "gauss-newton")]
