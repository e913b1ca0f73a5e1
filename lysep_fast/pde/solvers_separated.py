"""Layer separation for differential equations: the papers' sweeps, and an accelerated form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..container.stateful import Stateful, flatten, prefixed, restore
from ..report import Step
from ..validation import check_choice, check_integer, check_number
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
    initial_scale = (0.6, 0.3)

    def __init__(self, *, weights: str = "frobenius", kappa: float = 1.0) -> None:
        self.weights = check_choice(weights, "weights", WEIGHTS)
        self.kappa = check_number(kappa, "kappa", 0.0, exclusive=True)

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Set the auxiliary jets by a forward pass and fit the output weights."""
        network = problem.network
        # The auxiliary jets stay in the network's parts; the true network needs parts of its own.
        self.true = JetNetwork.like(network, network.sets)
        network.forward(state.hidden)
        state.w = fit_output(network).w
        self.separated = Separated(network, self.weights, self.kappa)
        self.separated.refresh_channels()
        self._measure(state)

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Do one sweep."""
        state.w, steps = self.separated.sweep(state.hidden, state.w, output=True)
        self._measure(state)
        return steps

    def state_dict(self) -> dict[str, Any]:
        """Return the auxiliary jets and the state of the separated loss."""
        return flatten({"separated": self.separated, "jets": self._jets()})

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`; the features of the jets are formed again."""
        self.separated.load_state_dict(prefixed(found, "separated"))
        for l, jets in restore(found, "jets", self._jets()).items():
            start = 0
            for part in problem.network.parts:
                J = part.J[l]
                J[...] = jets[start : start + J.size].reshape(J.shape)
                part.feature.forward(J, part.P[l], part.D[l])
                start += J.size

    def _jets(self) -> dict[int, np.ndarray]:
        """Return copies of the jets by layer, those of all parts one after the other."""
        network = self.separated.network
        layers = range(1, network.depth + 1)
        return {l: np.concatenate([part.J[l].ravel() for part in network.parts]) for l in layers}

    def _measure(self, state: PdeState) -> None:
        self.true.forward(state.hidden)
        state.measure(self.true)
        state.separated = self.separated.value(state.hidden, state.w)


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
    state_names = ("separated", "x", "y", "run", "sweeps")
    initial_scale = (0.6, 0.3)

    def __init__(self, *, kappa: float = 0.3, refresh: int = 10) -> None:
        self.kappa = check_number(kappa, "kappa", 0.0, exclusive=True)
        self.refresh = check_integer(refresh, "refresh", minimum=1)

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Fit the output weights and measure J."""
        network = problem.network
        network.forward(state.hidden)
        state.w = fit_output(network).w
        state.measure(network)
        state.separated = state.loss
        self.separated = Separated(network, "neuron", self.kappa)
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
        w = fit_output(network, state.w).w
        if self.sweeps % self.refresh == 0:
            separated.refresh_channels()
        self.sweeps += 1
        w, steps = separated.sweep(hidden, w, output=False)
        network.forward(hidden)
        fit = fit_output(network, w)
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
