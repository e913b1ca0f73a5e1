"""Layer Gram matrices as the metric of a step: d_l -> d_l (M_l + mu (tr/dim) I)^-1 / w_l."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from .parameters import Parameters

__all__ = ["LayerMetric", "measured_weights"]


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
        Gram matrices of ``[S_{l-1}, 1]``, divided by their sum of weights; index 0 unused.
    weights : ndarray, shape (L+1,)
        Layer weights ``w_l``.
    mu : float
        Damping relative to the mean eigenvalue of each Gram matrix.
    """

    def __init__(self, grams: list[np.ndarray], weights: np.ndarray, mu: float) -> None:
        self.weights = weights
        self.factors = [np.empty((0, 0))]
        for gram in grams[1:]:
            damped = gram.copy()
            damped.flat[:: len(gram) + 1] += mu * float(np.trace(gram)) / len(gram) + 1e-300
            self.factors.append(scipy.linalg.cholesky(damped, lower=True, check_finite=False))

    def apply_inverse(self, vector: Parameters, out: Parameters) -> None:
        """Write ``H_0 vector`` to `out`: per layer ``vector_l M_l^-1 / w_l``."""
        for l in range(1, len(self.factors)):
            solved = scipy.linalg.cho_solve(
                (self.factors[l], True), vector.layers[l].T, check_finite=False
            )
            np.divide(solved.T, self.weights[l], out=out.layers[l], casting="same_kind")
            if not out.network.has_bias(l):
                out.layers[l][:, -1] = 0.0
