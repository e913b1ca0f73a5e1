"""The walk through the chain of layers, forward and backward.

    z_l = S_{l-1} W_l' + b_l,    S_l = phi_l(z_l)             l = 1..L
    delta_{l-1} = phi_{l-1}'(z_{l-1}) [ delta_l W_l ]         l = L..2

Everyone who goes through the layers takes this walk: passes over all samples and over batches,
blocks, initialisation, prediction.  They differ in the memory that they give it and in what they
do on the way, which are the methods below `backward`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.joint import inject_rows
from ..layers.seen import Seen
from ..threads.team import Workspace
from .chain import Network

__all__ = ["AuxiliaryWalk", "Walk"]


class Walk:
    """One walk; this class leaves the outputs of the true network and nothing else.

    Parameters
    ----------
    network : Network
        The chain of layers.
    W, b : sequences of ndarray
        Weights and biases as the layers take them; index 0 unused.
    ws : Workspace
        Holds what the walk leaves until its next use.
    """

    def __init__(
        self,
        network: Network,
        W: Sequence[np.ndarray],
        b: Sequence[np.ndarray],
        ws: Workspace,
    ) -> None:
        self.network, self.W, self.b, self.ws = network, W, b, ws

    def forward(self, seen: Seen, last: int | None = None) -> np.ndarray:
        """Walk from what layer 1 sees up to layer `last`, default L; return its ``z``."""
        network = self.network
        last = network.depth if last is None else last
        for l in range(1, last + 1):
            Z = seen.product(self.W[l], self.outputs(l, seen))
            self.shift(l, Z)
            if l < last:
                seen = Seen(network.layer(l + 1), self.features(l, Z))
        return Z

    def backward(self, delta: np.ndarray) -> None:
        """Walk from the derivative of the losses in ``z_L`` down to layer 1."""
        network = self.network
        for l in range(network.depth, 0, -1):
            self.visit(l, delta)
            if l > 1:
                G = network.layer(l).adjoint(delta, self.W[l], self.cotangents(l, delta))
                delta = self.pull_back(l - 1, G)

    # --- what a walk is given ------------------------------------------------------------------

    def outputs(self, l: int, seen: Seen) -> np.ndarray:
        """Return memory for ``z_l``; here two arrays take turns."""
        width = self.network.layer(l).n_outputs
        return self.ws.array(f"forward {l % 2}", (len(seen), width), seen.dtype)

    def shift(self, l: int, Z: np.ndarray) -> None:
        """Add to the products `Z` of layer l what belongs to ``z_l``: the bias, if it has one."""
        if self.network.has_bias(l):
            self.network.layer(l).add_bias(Z, self.b[l])

    def features(self, l: int, Z: np.ndarray) -> np.ndarray:
        """Return what layer l+1 sees of ``z_l``; here in place where that is possible."""
        network = self.network
        if network.layer(l + 1).n_inputs == Z.shape[1]:
            return network.features[l].forward(Z, Z)
        return network.feature(l, Z, self.ws)

    def cotangents(self, l: int, delta: np.ndarray) -> np.ndarray:
        """Return memory for the derivative in what layer l sees."""
        raise NotImplementedError

    def pull_back(self, l: int, G: np.ndarray) -> np.ndarray:
        """Return the derivative in ``z_l`` from that in its features."""
        raise NotImplementedError

    def visit(self, l: int, delta: np.ndarray) -> None:
        """Do what is to be done with the derivative in ``z_l``."""


class AuxiliaryWalk(Walk):
    """A walk whose outputs are auxiliaries: those of a block of rows, A, are its memory.

    The residuals R of the rows, if there are any, are added to the predictions.
    """

    A: Sequence[np.ndarray]
    R: Sequence[np.ndarray] | None = None

    def outputs(self, l: int, seen: Seen) -> np.ndarray:
        """Return the auxiliaries of layer l."""
        return self.A[l] if l < self.network.depth else super().outputs(l, seen)

    def shift(self, l: int, Z: np.ndarray) -> None:
        """Add bias and residual."""
        if self.R is None or l == self.network.depth:
            super().shift(l, Z)
        else:
            inject_rows(Z, self.b[l], self.R[l])

    def features(self, l: int, Z: np.ndarray) -> np.ndarray:
        """Return the features of the auxiliaries, which stay as they are."""
        return self.network.feature(l, Z, self.ws)
