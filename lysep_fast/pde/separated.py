"""The separated loss of a differential equation, and its weights.

    F = J(J_H, w) + sum_l sum_i om_l[i] R_l[i],
    R_l[i] = sum_parts weight sum_{n,ch} al_l[ch] (J_l - P_{l-1} W_l' - b_l)[ch,n,i]^2

Its variables are those of `PdeState`: output weights, hidden layers, and the auxiliary jets J_l.
A forward pass sets these to their predictions: all R_l are zero then, and F = J.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..threads.team import Workspace
from .hidden import Hidden
from .jets import JetNetwork, Part
from .state import PdeState

__all__ = ["Separated"]

# The smallest neuron weight, as a share of the layer's mean.
_FLOOR = 1e-3


@dataclass
class Separated(Stateful):
    """The separated loss; the blocks of a sweep take it as their problem.

    Parameters
    ----------
    weights : {"neuron", "frobenius"}
        ``neuron``: om_H = kappa w * w, om_l = (W_{l+1} * W_{l+1})' om_{l+1}, with a floor;
        ``frobenius``: om_l = kappa prod_{i>l} ||W_i||^2 ||w||^2, the papers' weights.
    kappa : float
        Common factor.
    channels : list of ndarray
        Channel weights al_l of the equations' parts, made by `refresh_channels`; index 0 is empty.
    """

    state_names = ("kappa", "channels")

    weights: str
    kappa: float
    channels: list[np.ndarray] = field(default_factory=list)

    def refresh_channels(self, jets: JetNetwork) -> None:
        """Set the channel weights from the sensitivities of phi at the auxiliary jets."""
        most = max(part.channels for part in jets.parts)

        def task(part: Part, ws: Workspace) -> list[np.ndarray]:
            return [_sensitivities(part, l, most) for l in range(1, jets.depth + 1)]

        self.channels = [np.empty(0)]
        for total in jets.sum(task):
            share = total[:-1] / max(total[-1], np.finfo(float).tiny)
            al = np.ones(most)
            al[0] = 1.0 + share[0] + np.sum(share[1:-1])
            al[1:-1] = 1.0 + 4.0 * share[1:-1]
            self.channels.append(al)

    def omegas(self, hidden: Hidden, w: np.ndarray) -> list[np.ndarray]:
        """Return the weights om_l, shape (m_l,), l = 1..H; index 0 is empty."""
        H = hidden.depth
        om: list[np.ndarray] = [np.empty(0)] * (H + 1)
        if self.weights == "frobenius":
            factor = self.kappa * float(np.dot(w, w))
            for l in range(H, 0, -1):
                om[l] = np.full(hidden.widths[l], factor)
                factor *= float(np.sum(hidden.W[l] ** 2))
            return om
        om[H] = self.kappa * w * w
        for l in range(H, 0, -1):
            om[l] = np.maximum(om[l], _FLOOR * np.mean(om[l]))
            if l > 1:
                om[l - 1] = (hidden.W[l] ** 2).T @ om[l]
        return om

    def ridge(self, state: PdeState, l: int) -> np.ndarray:
        """Return eta_l, shape (m_{l-1},): what R_1..R_{l-1} cost per unit of a squared weight.

        For the output weights l is H + 1.  The floor of the neuron weights does not count.
        """
        hidden = state.hidden
        eta = np.zeros(hidden.widths[0])
        for i, R in enumerate(self.squares(state, l - 1), start=1):
            if self.weights == "frobenius":
                norm = float(np.sum(hidden.W[i] ** 2))
                total = float(np.sum(R)) + norm * float(eta[0])
                eta = np.full(hidden.widths[i], total)
            else:
                eta = R + (hidden.W[i] ** 2) @ eta
        return eta

    def entries(self, part: Part, l: int, om: Any = 1.0) -> np.ndarray:
        """Return the weights ``al_l[ch] om[i]`` of a part's squares, shape (c, 1, m_l or 1)."""
        al = np.ones(1) if part.channels == 1 else self.channels[l]
        return al[:, None, None] * om

    def squares(self, state: PdeState, up_to: int) -> list[np.ndarray]:
        """Return R_1, R_2, .. of the layers up to that one, shape (m_l,)."""
        if up_to == 0:
            return []

        def task(part: Part, ws: Workspace) -> list[np.ndarray]:
            sums = []
            for l in range(1, up_to + 1):
                e = part.difference(state.hidden, l, ws)
                scaled = e * e * self.entries(part, l)
                sums.append(part.loss.weight * scaled.sum(axis=(0, 1)))
            return sums

        return state.jets.sum(task)

    def value(self, state: PdeState) -> float:
        """Return F."""
        om, R = self.omegas(state.hidden, state.w), self.squares(state, state.hidden.depth)
        penalty = sum(float(np.dot(own, squares)) for own, squares in zip(om[1:], R, strict=True))
        return sum(state.jets.loss(state.w)) + penalty


def _sensitivities(part: Part, l: int, most: int) -> np.ndarray:
    """Return a part's squared sensitivities of phi in layer l by channel, those to C last."""
    c, total = part.channels, np.zeros(most + 1)
    if c == 1:
        return total
    J, (first, second, third) = part.J[l], part.D[l]
    B, C = J[1:-1], J[-1]
    curved = third * np.einsum("kij,kij->ij", B, B) + second * C
    total[0], total[-1] = np.sum(curved**2), np.sum(first**2)
    for k in range(1, c - 1):
        total[k] = np.sum((second * J[k]) ** 2)
    return total
