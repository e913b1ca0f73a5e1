"""Polar steps: a layer's momentum with its singular values made equal, by a root that is kept."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..container.stateful import Stateful

__all__ = ["PolarFactor"]

# Momentum below this share of the largest so far is not blown up to full size: where everything is
# learned, what is left of the gradient is rounding.
_FLOOR = 1e-2


class PolarFactor(Stateful):
    """The damped polar factor ``(V V' + c I)^(-1/2) V`` of a matrix that changes slowly.

    It is formed on the smaller side, of dimension m, with ``c = damping tr(V V') / m``.  Without
    damping it is the orthogonal matrix closest to V, the steepest descent in the spectral norm.
    The root is renewed in uses 1, 2, 4, 8, ... and every `period`-th, and kept in between.

    Parameters
    ----------
    shape : pair of int
        Shape of V.
    dtype : dtype
        float64 or float32.
    damping : float
        Relative to the mean eigenvalue of ``V V'``, positive.
    period : int
        Uses between roots in the long run.
    """

    state_names = ("root", "largest", "count")

    def __init__(
        self, shape: tuple[int, int], dtype: np.dtype, *, damping: float, period: int
    ) -> None:
        self.damping, self.period = damping, period
        self.rows_first = shape[0] <= shape[1]
        self.root = np.eye(min(shape), dtype=dtype)
        self.largest, self.count = 0.0, 0

    def apply(self, V: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write the factor of V to `out`, and return it."""
        self.count += 1
        young = self.count < self.period and self.count.bit_count() == 1
        if young or self.count % self.period == 0:
            self.renew(V)
        if self.rows_first:
            return np.dot(self.root, V, out=out)
        return np.dot(V, self.root, out=out)

    def renew(self, V: np.ndarray) -> None:
        """Form the root; a matrix that is not finite leaves the former one in place."""
        gram = V @ V.T if self.rows_first else V.T @ V
        trace = float(np.trace(gram, dtype=np.float64))
        if not np.isfinite(trace):
            return
        self.largest = max(self.largest, trace)
        shift = self.damping * max(trace, _FLOOR**2 * self.largest) / len(gram)
        if not shift > np.finfo(gram.dtype).tiny:  # nothing to do in any direction
            return
        values, vectors = scipy.linalg.eigh(
            gram, driver="evd", overwrite_a=True, check_finite=False
        )
        scaled = vectors * (1.0 / np.sqrt(np.maximum(values, 0.0) + shift)).astype(gram.dtype)
        np.dot(scaled, vectors.T, out=self.root)
