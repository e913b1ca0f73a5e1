"""The network as a chain of layers: its parts, its initial weights, its forward pass."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .features import Activation
from .layers import Dense
from .parallel import Workspace

__all__ = ["INITIALISATIONS", "Network"]

INITIALISATIONS = ("uniform", "orthogonal")


@dataclass(frozen=True)
class Network:
    """A chain ``z_1 = x W_1' + b_1``, ``z_l = s(z_{l-1}) W_l' + b_l``, logits ``z_L``.

    Layers count from 1 to ``depth`` = L as in the papers; lists of per-layer arrays carry an
    empty array at index 0 so that indices agree with the equations.

    Parameters
    ----------
    layers : tuple of Dense
        The linear maps of layers 1..L.
    features : tuple of Activation
        ``features[l]`` is what layer l+1 sees of ``A[l]``; ``features[0]`` belongs to the input.
    output_bias : bool
        Whether layer L has a bias (the paper's has none).
    """

    layers: tuple[Dense, ...]
    features: tuple[Activation, ...]
    output_bias: bool = False

    @classmethod
    def dense(
        cls,
        widths: Sequence[int],
        activation: str = "tanh",
        *,
        output_bias: bool = False,
    ) -> Network:
        """Build a fully connected network from the widths ``(d, m_1, ..., m_{L-1}, K)``."""
        layers = tuple(Dense(a, b) for a, b in itertools.pairwise(widths))
        hidden = Activation(activation)
        features = (Activation("identity"),) + (hidden,) * (len(layers) - 1)
        return cls(layers, features, output_bias)

    @property
    def depth(self) -> int:
        """Number L of linear layers, the output layer included."""
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of columns ``(d, m_1, ..., m_{L-1}, K)``."""
        return (self.layers[0].n_inputs, *(layer.n_outputs for layer in self.layers))

    @property
    def lipschitz(self) -> float:
        """Largest Lipschitz constant c of the hidden activations (1 without hidden layers)."""
        return max((f.lipschitz for f in self.features[1:]), default=1.0)

    def layer(self, l: int) -> Dense:
        """Return the linear map of layer `l`, 1 <= l <= depth."""
        return self.layers[l - 1]

    def has_bias(self, l: int) -> bool:
        """Return whether layer `l` has a bias."""
        return l < self.depth or self.output_bias

    def initial_weights(
        self, rng: np.random.Generator, dtype: np.dtype, scheme: str = "uniform"
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Draw initial weights and biases.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness; advanced by the call.
        dtype : dtype
            float64 or float32.
        scheme : {"uniform", "orthogonal"}
            ``uniform``: weights and biases uniform in +-1/sqrt(fan_in), as torch's Linear draws
            them.  ``orthogonal``: weights with orthonormal rows or columns, biases zero.

        Returns
        -------
        W, b : list of ndarray
            Index 0 is an empty array.
        """
        W, b = [np.empty((0, 0), dtype)], [np.empty(0, dtype)]
        for l, layer in enumerate(self.layers, start=1):
            shape = layer.weight_shape
            if scheme == "orthogonal":
                tall = rng.standard_normal((max(shape), min(shape)))
                Q, T = np.linalg.qr(tall)
                Q *= np.where(np.diag(T) < 0, -1.0, 1.0)  # makes the draw uniform (Haar)
                W.append(np.ascontiguousarray(Q if shape[0] >= shape[1] else Q.T, dtype))
                b.append(np.zeros(shape[0], dtype))
            else:
                scale = layer.initial_scale()
                W.append(rng.uniform(-scale, scale, shape).astype(dtype, copy=False))
                b.append(rng.uniform(-scale, scale, shape[0]).astype(dtype, copy=False))
            if not self.has_bias(l):
                b[l][:] = 0.0
        return W, b

    def logits(
        self,
        X: np.ndarray,
        W: Sequence[np.ndarray],
        b: Sequence[np.ndarray],
        workspace: Workspace,
    ) -> np.ndarray:
        """Return the true network's logits for one block of samples, in workspace memory.

        Parameters
        ----------
        X : ndarray, shape (rows, d)
            C-contiguous input block.
        W, b : sequences of ndarray
            Weights and biases, index 0 unused.
        workspace : Workspace
            Holds the result until its next use.
        """
        S = X
        for l, layer in enumerate(self.layers, start=1):
            Z = workspace.array(f"forward {l % 2}", (X.shape[0], layer.n_outputs), X.dtype)
            layer.apply(S, W[l], Z)
            if self.has_bias(l):
                Z += b[l]
            if l < self.depth:
                S = self.features[l].forward(Z, Z)
        return Z
