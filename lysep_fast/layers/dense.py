"""Fully connected linear map ``U = S W'``."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ..kernels.joint import add_bias_rows

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

    Attributes
    ----------
    n_positions : int
        Outputs that share one row of W and one bias: 1, as nothing is shared here.
    """

    n_positions = 1
    #: W is the matrix of the map: with a column of ones on the right of S, its bias is one more
    #: column of W.
    is_matrix = True
    #: What the Gram matrix of its inputs and the closed form of W need is there.
    has_gram = has_closed_form = True
    #: No row of W is used at several places.
    shares_weights = False

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self.n_inputs = int(n_inputs)
        self.n_outputs = int(n_outputs)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the weights W, ``(n_outputs, n_inputs)``."""
        return (self.n_outputs, self.n_inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return (self.n_inputs,)

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

    def patch_sum(self, S: np.ndarray) -> np.ndarray:
        """Return the column sums of S in float64."""
        return np.asarray(S.sum(axis=0, dtype=np.float64))

    def patch_matrix(self, S: np.ndarray) -> np.ndarray:
        """Return the rows that W multiplies: S itself."""
        return S

    def add_bias(self, Z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Add the bias to every row of `Z` in place."""
        add_bias_rows(Z, b)
        return Z

    def bias_sum(self, G: np.ndarray) -> np.ndarray:
        """Return the column sums of G in float64: the gradient of ``<G, 1 b'>`` in b."""
        return np.asarray(G.sum(axis=0, dtype=np.float64))

    def norm_diagonal(self, kind: str) -> np.ndarray:
        """Return D with ``squared_norm = sum W^2 D`` for the norms that are such sums."""
        if kind not in ("frobenius", "patch"):
            raise ValueError(f"norm must be 'frobenius' or 'patch', got {kind!r}")
        return np.ones(self.n_inputs)

    def squared_norm(self, W: np.ndarray, kind: str) -> float:
        """Return the squared norm of the map, accumulated in float64.

        ``patch`` counts patches of a convolution; here it is the Frobenius norm.
        """
        if kind in ("frobenius", "patch"):
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
