"""Fully connected linear map ``U = S W'``."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

__all__ = ["NORMS", "Dense"]

NORMS = ("frobenius", "spectral")


class Dense:
    """Fully connected map from `n_inputs` features to `n_outputs` neurons.

    The map holds no weights: they are passed in, of shape ``weight_shape``.  All array arguments
    are blocks of samples (rows) and C-contiguous.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Numbers of columns of the input block ``S`` and of the output block ``U``.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self.n_inputs = int(n_inputs)
        self.n_outputs = int(n_outputs)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weights W, ``(n_outputs, n_inputs)``."""
        return (self.n_outputs, self.n_inputs)

    def apply(self, S: np.ndarray, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``S W'`` into `out`, ``(rows, n_outputs)``."""
        return np.dot(S, W.T, out=out)

    def adjoint(self, G: np.ndarray, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``G W`` into `out`, ``(rows, n_inputs)``: the transposed map."""
        return np.dot(G, W, out=out)

    def gram(self, S: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``S'S`` into `out`, ``(n_inputs, n_inputs)``."""
        return np.dot(S.T, S, out=out)

    def correlation(self, T: np.ndarray, S: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``T'S`` into `out`: the gradient of ``<T, S W'>`` in W, of its shape."""
        return np.dot(T.T, S, out=out)

    def squared_norm(self, W: np.ndarray, kind: str) -> float:
        """Return the squared Frobenius or spectral norm of the map, accumulated in float64."""
        if kind == "frobenius":
            return float(np.sum(np.square(W, dtype=np.float64)))
        if kind == "spectral":
            values = scipy.linalg.svdvals(W.astype(np.float64, copy=False), check_finite=False)
            return float(values[0]) ** 2
        raise ValueError(f"norm must be one of {NORMS}, got {kind!r}")

    def initial_scale(self) -> float:
        """Return ``1/sqrt(fan_in)``, the customary scale of random initial weights."""
        return float(self.n_inputs) ** -0.5

    def __repr__(self) -> str:
        return f"Dense({self.n_inputs}, {self.n_outputs})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Dense) and self.weight_shape == other.weight_shape

    def __hash__(self) -> int:
        return hash(self.weight_shape)
