"""Softmax cross-entropy, and its square per sample as the separated loss needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.softmax import (
    correct_count,
    cross_entropy_into,
    squared_cross_entropy_gradient_into,
)

__all__ = ["CrossEntropy"]


class CrossEntropy:
    """Cross-entropy ``e_n = logsumexp(U_n) - U_n[y_n]`` of integer class labels.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        Class indices ``0..n_outputs-1``.
    n_outputs : int
        Number of classes K.
    """

    def __init__(self, y: np.ndarray, n_outputs: int) -> None:
        self.y = y
        self.n_outputs = int(n_outputs)

    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n^2`` of the rows to `value`."""
        cross_entropy_into(U, self.y[rows], value)
        np.square(value, out=value)

    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n^2`` to `value` and its gradient ``2 e_n (P - Y)`` in U to `G`."""
        squared_cross_entropy_gradient_into(U, self.y[rows], value, G)
        np.square(value, out=value)

    def evaluate(self, U: np.ndarray, rows: Any, value: np.ndarray) -> tuple[float, int]:
        """Return the sum of ``e_n`` and the number of rows classified correctly."""
        y = self.y[rows]
        cross_entropy_into(U, y, value)
        return float(np.sum(value, dtype=np.float64)), int(correct_count(U, y))

    def values(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n`` of the rows to `value`."""
        cross_entropy_into(U, self.y[rows], value)
