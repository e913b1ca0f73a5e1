"""Softmax cross-entropy with sample weights and smoothed targets, and its square per sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.batch import soften_into
from ..kernels.joint import loss_curvature_rows
from ..kernels.smoothing import (
    add_margin_into,
    half_absolute_sums_into,
    smoothed_curvature_rows,
)
from ..kernels.softmax import (
    correct_count,
    cross_entropy_gradient_into,
    cross_entropy_into,
    softmax_into,
    squared_cross_entropy_gradient_into,
)
from ..threads.team import Workspace
from .base import Loss

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
    """Cross-entropy of integer class labels against targets that may be smoothed.

    With the share s, ``t_n = (1 - s) onehot(y_n) + s/K``, and the weights ``c_n``,

        e_n = logsumexp(U_n) - <t_n, U_n>,     its gradient P_n - t_n,

    is what solvers work on (`losses`, `gradient`, `squares`, `squares_gradient`, the objective
    of `measure`).  The reported loss ``logsumexp(U_n) - U_n[y_n]`` is never smoothed.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        Class indices ``0..n_outputs-1``.
    n_outputs : int
        Number of classes K.
    sample_weight : ndarray of shape (n,), optional
        Weights ``c_n`` of the samples; None means 1.
    label_smoothing : float, optional
        The share s.  None leaves the choice to the solver; here it counts as 0.
    """

    name, score_name = "cross-entropy", "accuracy"
    quadratic, shift_invariant, slope, step_scale = False, True, 2.0, 1.0

    def __init__(
        self,
        y: np.ndarray,
        n_outputs: int,
        sample_weight: np.ndarray | None = None,
        label_smoothing: float | None = None,
    ) -> None:
        super().__init__(y, n_outputs, sample_weight)
        self.label_smoothing = label_smoothing

    @property
    def smoothing(self) -> float:
        """The share s as a number."""
        return self.label_smoothing or 0.0

    @property
    def floor(self) -> float:
        """Entropy of a smoothed target, which no ``e_n`` is below; 0 without smoothing."""
        if not self.smoothing:
            return 0.0
        rest = self.smoothing / self.n_outputs
        own = 1.0 - self.smoothing + rest
        return float(-own * np.log(own) - (self.n_outputs - 1) * rest * np.log(rest))

    @property
    def synchronised_constant(self) -> float:
        """C where all residuals are zero: the root of the mean weight, by Cauchy-Schwarz."""
        return float(np.sqrt(self.total_weight / len(self.y)))

    @property
    def shares(self) -> np.ndarray:
        """Shares of the classes in the total weight."""
        total = np.bincount(self.y, self.sample_weight, minlength=self.n_outputs)
        return np.asarray(total / np.sum(total))

    @property
    def constant(self) -> float:
        """The entropy of the shares of the classes, times the mean weight."""
        p = self.shares[self.shares > 0.0]
        return -float(np.sum(p * np.log(p))) * self.total_weight / len(self.y)

    def mark(self, tol: float) -> float:
        """Return ``10 tol``, 1e-3 at most."""
        return 10.0 * min(tol, 1e-4)

    def output_sums(self, U: np.ndarray, rows: slice) -> tuple[np.ndarray, ...]:
        """Return ``sum_n c_n P_n``."""
        P = np.empty_like(U)
        softmax_into(U, P)
        return (self.weighted_sum(P, rows),)

    def output_shift(self, *sums: np.ndarray) -> np.ndarray:
        """Return the logarithm of what the mean probabilities have to be multiplied by.

        Nothing for labels that are smoothed: they ask for other probabilities.
        """
        wanted, found = self.shares, sums[0] / self.total_weight
        known = (wanted > 0.0) & (found > 0.0)
        if self.smoothing or not np.all(found[wanted > 0.0] > 0.0):
            return np.zeros_like(wanted)
        return np.log(np.divide(wanted, found, out=np.ones_like(wanted), where=known))

    def take(self, rows: Any) -> CrossEntropy:
        """Return the loss of a subset of the samples, given by a slice or by indices."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return CrossEntropy(self.y[rows], self.n_outputs, weight, self.label_smoothing)

    def smoothed(self, share: float) -> CrossEntropy:
        """Return the loss with label smoothing `share` unless it has a choice of its own."""
        if self.label_smoothing is not None:
            return self
        return CrossEntropy(self.y, self.n_outputs, self.sample_weight, share)

    # --- sample losses, not weighted ----------------------------------------------------------

    def losses(self, U: np.ndarray, y: np.ndarray, e: np.ndarray) -> None:
        """Write ``e_n`` of logits with the labels `y` to `e`."""
        cross_entropy_into(U, y, e)
        if self.smoothing:
            add_margin_into(U, y, self.smoothing, e)

    def gradient(self, U: np.ndarray, y: np.ndarray, e: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n`` to `e` and ``P - t`` to `G`, which may be `U`."""
        margin = self._margin(U, y)
        cross_entropy_gradient_into(U, y, e, G)
        if margin is not None:
            e += margin
            soften_into(G, y, self.smoothing)

    def _margin(self, U: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Return what smoothing adds to the losses, None without smoothing."""
        if not self.smoothing:
            return None
        margin = np.zeros(len(U), U.dtype)
        add_margin_into(U, y, self.smoothing, margin)
        return margin

    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n^2`` of the rows to `value`."""
        self.losses(U, self.y[rows], value)
        np.square(value, out=value)

    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n^2`` to `value` and its gradient ``2 e_n (P - t)`` in U to `G`."""
        if self.smoothing:
            self.gradient(U, self.y[rows], value, G)
            G *= 2.0 * value[:, None]
        else:
            squared_cross_entropy_gradient_into(U, self.y[rows], value, G)
        np.square(value, out=value)

    def half_curvature(self, squares: np.ndarray) -> np.ndarray:
        """Return ``2 + e_n``: e_n^2 has curvature at most ``2 |p - t|^2 + 2 e_n``."""
        return 2.0 + np.sqrt(squares)

    def curvature(
        self, G: np.ndarray, y: np.ndarray, e: np.ndarray, size: np.ndarray, v: np.ndarray
    ) -> None:
        """Write ``|P - t|^2`` and the curvature weights v of `loss_curvature_rows`."""
        loss_curvature_rows(G, y, e, size, v)
        if self.smoothing:
            spread = self.smoothing * (1.0 - 1.0 / self.n_outputs)
            smoothed_curvature_rows(G, y, e, spread, size, v)

    # --- the true network ---------------------------------------------------------------------

    def measure(
        self, U: np.ndarray, rows: slice, ws: Workspace, doubt: np.ndarray | None = None
    ) -> tuple[float, float, float, float]:
        """Return the weighted sums of the reported losses, their squares, hits, and ``e_n``.

        Parameters
        ----------
        U : ndarray, shape (k, K)
            Logits of the rows.
        rows : slice
            The samples.
        ws : Workspace
            Scratch memory.
        doubt : ndarray, shape (k,), optional
            Overwritten with ``c_n |P - t|_1 / 2``, which bounds the sample's share of the
            gradient; without smoothing ``c_n (1 - p_{y_n})``, computed as ``-expm1(-e_n)``.
        """
        y, e = self.y[rows], ws.array("value", (len(U),), U.dtype)
        cross_entropy_into(U, y, e)
        sums = self._sums(rows, e, self._correct(U, rows), self._margin(U, y))
        if doubt is None:
            return sums
        if self.smoothing:
            G = ws.array("measured G", U.shape, U.dtype)
            self.gradient(U, y, e, G)
            half_absolute_sums_into(G, doubt)
        else:
            np.negative(e, out=doubt)
            np.expm1(doubt, out=doubt)
            np.negative(doubt, out=doubt)
        self.weigh(doubt, rows, doubt)
        return sums

    def measure_gradient(
        self, U: np.ndarray, rows: slice, ws: Workspace, G: np.ndarray, doubt: np.ndarray
    ) -> tuple[float, float, float, float]:
        """Return the sums of `measure`, and write the gradient ``c_n (P - t)`` to `G`.

        `G` may be `U`; `doubt` is overwritten with ``c_n (1 - p_{y_n})``, smoothed or not.
        """
        y, e = self.y[rows], ws.array("value", (len(U),), U.dtype)
        correct, margin = self._correct(U, rows), self._margin(U, y)  # U may be overwritten
        cross_entropy_gradient_into(U, y, e, G)
        np.negative(G[np.arange(len(y)), y], out=doubt)
        if margin is not None:
            soften_into(G, y, self.smoothing)
        self.weigh(G, rows, G)
        self.weigh(doubt, rows, doubt)
        return self._sums(rows, e, correct, margin)

    def gradient_bound(self, G: np.ndarray, doubt: np.ndarray, out: np.ndarray) -> None:
        """Write ``|G_n|_1 / 2`` to `out`, from `G` and `doubt` as `measure_gradient` left them."""
        if self.smoothing:
            half_absolute_sums_into(G, out)
        else:
            out[:] = doubt  # the same number, known already

    def _sums(
        self, rows: slice, e: np.ndarray, correct: float, margin: np.ndarray | None
    ) -> tuple[float, float, float, float]:
        """Return the sums of `measure`."""
        if self.sample_weight is None:
            wide = e.astype(np.float64, copy=False)
            loss, squares = float(np.sum(wide)), float(np.dot(wide, wide))
        else:
            c = self.sample_weight[rows]
            loss, squares = float(np.dot(c, e)), float(np.dot(c, e * e))
        extra = 0.0 if margin is None else float(self.weighted_sum(margin, rows))
        return loss, squares, correct, loss + extra

    def _correct(self, U: np.ndarray, rows: slice) -> float:
        if self.sample_weight is None:
            return float(correct_count(U, self.y[rows]))
        return float(np.dot(self.sample_weight[rows], np.argmax(U, axis=1) == self.y[rows]))

    # --- mini-batches -------------------------------------------------------------------------

    def batch_gradient(self, U: np.ndarray, rows: slice, e: np.ndarray, squared: bool) -> float:
        """Overwrite the logits with ``c_n (P - t)``, or ``2 c_n e_n (P - t)``.

        Writes the losses ``e_n``, not smoothed, and returns the weighted hits.
        """
        y, correct = self.y[rows], self._correct(U, rows)
        into = squared_cross_entropy_gradient_into if squared else cross_entropy_gradient_into
        into(U, y, e, U)
        if self.smoothing:
            soften_into(U, y, self.smoothing)
        self.weigh(U, rows, U)
        return correct

    def reported(self, e: np.ndarray, rows: slice) -> tuple[float, float]:
        """Return the weighted sums of ``e_n`` and of ``e_n^2`` of the rows, in float64."""
        e = e.astype(np.float64)
        return float(self.weighted_sum(e, rows)), float(self.weighted_sum(e * e, rows))

    def score(self, loss: float, hits: float) -> float:
        """Return the accuracy."""
        return hits
