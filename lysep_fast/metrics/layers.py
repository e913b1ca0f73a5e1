"""Layer Gram matrices as the metric of a step: d_l -> d_l (M_l + mu (tr/dim) I)^-1 / w_l."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..container.stateful import Stateful
from ..linalg.gram import diagonal_of
from ..network.parameters import Parameters
from .averaging import MovingAverage

__all__ = ["LayerMetric", "MovingMetric", "measured_weights"]


def measured_weights(sizes: np.ndarray, floor: float = 1e-12) -> np.ndarray:
    """Return ``w_l = sum |delta_l|^2 / sum |delta_L|^2``, what a unit residual in layer l costs.

    It never exceeds the spectral weight ``prod_{i>l} ||W_i||_2^2`` (for 1-Lipschitz activations)
    and is measured on the way of a backward pass.

    Parameters
    ----------
    sizes : ndarray, shape (L+1,)
        Sums of ``|delta_l|^2``, index 0 unused.
    floor : float
        Smallest weight, relative to the largest.
    """
    top = sizes[-1] if sizes[-1] > 0.0 else 1.0
    w = sizes / top
    w[0] = 0.0
    return np.maximum(w, floor * max(float(np.max(w)), np.finfo(float).tiny))


class LayerMetric:
    """Block-diagonal metric: one damped Gram matrix and one weight per layer.

    Parameters
    ----------
    grams : list of ndarray
        Gram matrices of ``[S_{l-1}, 1]``, or their diagonals, divided by their sum of weights;
        index 0 unused.
    weights : ndarray, shape (L+1,)
        Layer weights ``w_l``.
    mu : float
        Damping relative to the mean eigenvalue of each Gram matrix.
    biases : list of bool
        Whether layer l has a bias; index 0 unused.
    """

    def __init__(
        self, grams: list[np.ndarray], weights: np.ndarray, mu: float, biases: list[bool]
    ) -> None:
        self.weights, self.biases = weights, biases
        self.factors = [np.empty((0, 0))]
        for gram in grams[1:]:
            damped = gram.copy()
            diagonal = diagonal_of(damped)
            diagonal += mu * float(np.sum(diagonal)) / len(gram) + 1e-300
            if damped.ndim == 2:
                damped = scipy.linalg.cholesky(damped, lower=True, check_finite=False)
            self.factors.append(damped)

    def apply_inverse(self, vector: Parameters, out: Parameters) -> None:
        """Write ``H_0 vector`` to `out`: per layer ``vector_l M_l^-1 / w_l``."""
        for l in range(1, len(self.factors)):
            factor, given = self.factors[l], vector.layers[l]
            if factor.ndim == 1:
                solved = given / factor
            else:
                solved = scipy.linalg.cho_solve((factor, True), given.T, check_finite=False).T
            np.divide(solved, self.weights[l], out=out.layers[l], casting="same_kind")
            if not self.biases[l]:
                out.layers[l][:, -1] = 0.0


class MovingMetric(Stateful):
    """One layer's Gram matrix as a moving average over mini-batches, with its damped inverse.

    ``M <- a M + (1-a) S~'S~/B``; ``(M + mu (tr M / rank) I)^-1`` is renewed after updates
    1, 2, 3, 5, 9, 17, ... and from then on after every `period` updates.

    Parameters
    ----------
    size : int
        Number of columns of S~.
    rank : int
        Number of columns that are not zero throughout, for the mean eigenvalue.
    dtype : dtype
        float64 or float32.
    mu : float
        Damping relative to the mean eigenvalue, positive.
    limit : float
        Weight a of the past in the long run.
    period : int
        Updates between inverses in the long run.
    """

    state_names = ("average", "inverse", "_next")

    def __init__(
        self, size: int, rank: int, dtype: np.dtype, *, mu: float, limit: float, period: int
    ) -> None:
        self.average = MovingAverage(np.empty((size, size), dtype), limit)
        self.inverse = np.eye(size, dtype=dtype)
        self.rank, self.mu, self.period = rank, mu, period
        self._next = 1
        self._potrf, self._potri = scipy.linalg.get_lapack_funcs(
            ("potrf", "potri"), (self.inverse,)
        )

    def update(self, gram: np.ndarray) -> bool:
        """Take in the Gram matrix of a batch; return whether the inverse was renewed."""
        self.average.take(gram)
        if self.average.count < self._next:
            return False
        self._next += min(self._next, self.period)
        self.renew()
        return True

    def apply_inverse(self, G: np.ndarray) -> np.ndarray:
        """Return ``G`` times the inverse."""
        return np.asarray(G @ self.inverse)

    def renew(self) -> None:
        """Invert; matrices that are not finite leave the former inverse in place."""
        damped = self.average.value.copy()
        if not np.isfinite(np.sum(damped)):
            return
        damping = self.mu * float(np.trace(damped, dtype=np.float64)) / self.rank
        damped.flat[:: len(damped) + 1] += damping + float(np.finfo(damped.dtype).tiny)
        # In column order the transpose of a symmetric matrix is the matrix: no copies.
        factor, failed = self._potrf(damped.T, lower=True, overwrite_a=True, clean=False)
        if failed:
            return
        half, failed = self._potri(factor, lower=True, overwrite_c=True)
        if failed:
            return
        np.copyto(self.inverse, half.T)
        lower = np.tril_indices(len(damped), -1)
        self.inverse[lower] = self.inverse.T[lower]
