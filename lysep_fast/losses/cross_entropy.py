"""Softmax cross-entropy, and its square per sample as the separated loss needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.softmax import (
    correct_count,
    cross_entropy_gradient_into,
    cross_entropy_into,
    squared_cross_entropy_gradient_into,
)
from ..parallel import Workspace

__all__ = ["CrossEntropy"]


class CrossEntropy:
    """Cross-entropy ``e_n = logsumexp(U_n) - U_n[y_n]`` of integer class labels.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        Class indices ``0..n_outputs-1``.
    n_outputs : int
        Number of classes K.
    sample_weight : ndarray of shape (n,), optional
        Weights ``c_n`` of the samples in the true loss; None means 1.
    label_smoothing : float, optional
        Share of every target that is spread evenly over the classes when gradients are formed;
        reported losses are never smoothed.  None leaves the choice to the solver.
    """

    def __init__(
        self,
        y: np.ndarray,
        n_outputs: int,
        sample_weight: np.ndarray | None = None,
        label_smoothing: float | None = None,
    ) -> None:
        self.y = y
        self.n_outputs = int(n_outputs)
        self.sample_weight = sample_weight
        self.label_smoothing = label_smoothing

    def take(self, rows: Any) -> CrossEntropy:
        """Return the loss of a subset of the samples, given by a slice or by indices."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return CrossEntropy(self.y[rows], self.n_outputs, weight, self.label_smoothing)

    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n^2`` of the rows to `value`."""
        cross_entropy_into(U, self.y[rows], value)
        np.square(value, out=value)

    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n^2`` to `value` and its gradient ``2 e_n (P - Y)`` in U to `G`."""
        squared_cross_entropy_gradient_into(U, self.y[rows], value, G)
        np.square(value, out=value)

    def measure(
        self, U: np.ndarray, rows: slice, ws: Workspace, doubt: np.ndarray | None = None
    ) -> tuple[float, float, float]:
        """Return the weighted sums of ``e_n``, of ``e_n^2`` and of correct classifications.

        Parameters
        ----------
        U : ndarray, shape (k, K)
            Logits of the rows.
        rows : slice
            The samples.
        ws : Workspace
            Scratch memory.
        doubt : ndarray, shape (k,), optional
            Overwritten with ``c_n (1 - p_{y_n})``, computed as ``-expm1(-e_n)``.
        """
        y, e = self.y[rows], ws.array("value", (len(U),), U.dtype)
        cross_entropy_into(U, y, e)
        sums = (*self._loss_sums(rows, e), self._correct(U, rows))
        if doubt is not None:
            np.negative(e, out=doubt)
            np.expm1(doubt, out=doubt)
            np.negative(doubt, out=doubt)
            if self.sample_weight is not None:
                doubt *= self.sample_weight[rows]
        return sums

    def measure_gradient(
        self, U: np.ndarray, rows: slice, ws: Workspace, G: np.ndarray, doubt: np.ndarray
    ) -> tuple[float, float, float]:
        """Do as `measure`, and write the gradient ``c_n (P - Y)`` to `G`, which may be `U`.

        With label smoothing, Y is the smoothed target.
        """
        y, e = self.y[rows], ws.array("value", (len(U),), U.dtype)
        correct = self._correct(U, rows)  # before U may be overwritten
        cross_entropy_gradient_into(U, y, e, G)
        index = np.arange(len(y))
        np.negative(G[index, y], out=doubt)
        if self.label_smoothing:
            G -= self.label_smoothing / self.n_outputs
            G[index, y] += self.label_smoothing
        loss, squares = self._loss_sums(rows, e)
        if self.sample_weight is not None:
            c = self.sample_weight[rows]
            G *= c[:, None]
            doubt *= c
        return loss, squares, correct

    def _loss_sums(self, rows: slice, e: np.ndarray) -> tuple[float, float]:
        if self.sample_weight is None:
            wide = e.astype(np.float64, copy=False)
            return float(np.sum(wide)), float(np.dot(wide, wide))
        c = self.sample_weight[rows]
        return float(np.dot(c, e)), float(np.dot(c, e * e))

    def _correct(self, U: np.ndarray, rows: slice) -> float:
        if self.sample_weight is None:
            return float(correct_count(U, self.y[rows]))
        return float(np.dot(self.sample_weight[rows], np.argmax(U, axis=1) == self.y[rows]))
