"""The metric of a layer that sees too many columns for a matrix: the diagonal alone."""

from __future__ import annotations

import numpy as np

from ..container.stateful import Stateful
from .averaging import MovingAverage

__all__ = ["DiagonalMetric"]


class DiagonalMetric(Stateful):
    """Moving average of the diagonals of Gram matrices, damped as a `MovingMetric` is.

    Parameters
    ----------
    size : int
        Number of columns.
    rank : int
        Number of columns that are not zero throughout, for the mean eigenvalue.
    dtype : dtype
        float64 or float32.
    mu : float
        Damping relative to the mean eigenvalue, positive.
    limit : float
        Weight of the past in the long run.
    """

    state_names = ("average",)

    def __init__(self, size: int, rank: int, dtype: np.dtype, *, mu: float, limit: float) -> None:
        self.average = MovingAverage(np.empty(size, dtype), limit)
        self.rank, self.mu = rank, mu

    def update(self, gram: np.ndarray) -> bool:
        """Take in the diagonal of a batch; one that is not finite leaves the former ones."""
        finite = bool(np.isfinite(np.sum(gram)))
        if finite:
            self.average.take(gram)
        return finite

    def apply_inverse(self, G: np.ndarray) -> np.ndarray:
        """Return ``G (D + mu (tr D / rank) I)^-1``."""
        D = self.average.value
        damping = self.mu * float(np.sum(D, dtype=np.float64)) / self.rank
        return np.asarray(G / (D + D.dtype.type(damping + float(np.finfo(D.dtype).tiny))))
