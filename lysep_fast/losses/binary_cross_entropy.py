"""Sigmoid cross-entropy of several labels per sample, with sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from ..kernels.auxiliaries import row_sums_of_squares
from ..kernels.binary import (
    binary_cross_entropy_into,
    binary_curvature_rows,
    labels_correct_into,
)
from ..threads.team import Workspace
from .base import Loss

__all__ = ["BinaryCrossEntropy"]

_VALUE, _GRADIENT, _OF_SQUARES = range(3)


class BinaryCrossEntropy(Loss):
    r"""Cross-entropy of labels 0 or 1, any number of which a sample may have.

    With the logits U, ``z_k = -U_k`` where label k is 1 and ``U_k`` where it is 0, and the
    sigmoid s, the loss of a sample is the sum over its K labels

        e = sum_k log(1 + exp(z_k)),     de/dU_k = +-s(z_k) = s(U_k) - y_k.

    *Bound.*  Every ``|de/dU_k|`` is below 1, so ``|de/dU|_2 < sqrt(K)``, which wrong logits of any
    size come close to: e is sqrt(K)-Lipschitz, and `slope` is K.  With the residuals of the
    separated loss ``e(network) <= e(U) + sqrt(K) sum_l c^(L-l) sqrt(w_l) |R_l|``, and
    Cauchy-Schwarz, sample by sample, gives

        mean loss of the true network <= C sqrt(F),     C = sqrt(1 + K sum_{l=1..L-1} c^(2l)).

    *Curvature.*  Labels do not meet in a second derivative: the Hessian of e is
    ``diag(s(z_k) (1 - s(z_k)))``, at most 1/4, and that of ``e^2`` is
    ``2 de de' + 2 e diag(...)``.  As ``s(z) = 1 - exp(-log(1 + exp(z)))`` is at most 1 and at most
    the label's share of e, ``|de|^2 <= min(K, e^2)``, and half the curvature of ``e^2`` is at most
    ``min(K, e^2) + e/4``.

    A sample is a hit where all of its labels are right (``U_k > 0`` for 1): the score is the
    subset accuracy, as ``score`` of scikit-learn's classifiers.

    Parameters
    ----------
    Y : ndarray of uint8, shape (n, K)
        Labels, C-contiguous.
    sample_weight : ndarray of shape (n,), optional
        Weights ``c_n`` of the samples; None means 1.
    """

    name, score_name = "binary-cross-entropy", "accuracy"
    quadratic, step_scale = False, 2.0

    def __init__(self, Y: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        super().__init__(Y, Y.shape[1], sample_weight)
        self.slope = float(self.n_outputs)

    @property
    def synchronised_constant(self) -> float:
        """C where all residuals are zero: the root of the mean weight, by Cauchy-Schwarz."""
        return float(np.sqrt(self.total_weight / len(self.y)))

    @property
    def shares(self) -> np.ndarray:
        """Shares of the labels that are 1 in the total weight."""
        return np.asarray(self.weighted_sum(self.y, slice(None)) / self.total_weight)

    @property
    def constant(self) -> float:
        """The sum of the labels' entropies, times the mean weight."""
        p = np.stack([self.shares, 1.0 - self.shares])
        p = p[p > 0.0]
        return -float(np.sum(p * np.log(p))) * self.total_weight / len(self.y)

    def mark(self, tol: float) -> float:
        """Return ``10 tol``, 1e-3 at most."""
        return 10.0 * min(tol, 1e-4)

    def output_sums(self, U: np.ndarray, rows: slice) -> tuple[np.ndarray, ...]:
        """Return ``sum_n c_n s(U_n)``."""
        return (self.weighted_sum(expit(U), rows),)

    def output_shift(self, *sums: np.ndarray) -> np.ndarray:
        """Return the differences of the shares' logits from those of the mean probabilities."""
        wanted, found = self.shares, sums[0] / self.total_weight
        open_ = (wanted > 0.0) & (wanted < 1.0) & (found > 0.0) & (found < 1.0)
        shift = logit(np.where(open_, wanted, 0.5)) - logit(np.where(open_, found, 0.5))
        return np.asarray(shift)

    def take(self, rows: Any) -> BinaryCrossEntropy:
        """Return the loss of a subset of the samples, given by a slice or by indices."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return BinaryCrossEntropy(self.y[rows], weight)

    # --- sample losses, not weighted ----------------------------------------------------------

    def losses(self, U: np.ndarray, y: np.ndarray, e: np.ndarray) -> None:
        """Write ``e_n`` of logits with the labels `y` to `e`."""
        binary_cross_entropy_into(U, y, e, U, _VALUE)

    def gradient(self, U: np.ndarray, y: np.ndarray, e: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n`` to `e` and ``s(U) - y`` to `G`, which may be `U`."""
        binary_cross_entropy_into(U, y, e, G, _GRADIENT)

    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n^2`` of the rows to `value`."""
        self.losses(U, self.y[rows], value)
        np.square(value, out=value)

    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n^2`` to `value` and its gradient ``2 e_n (s(U) - y)`` to `G`."""
        binary_cross_entropy_into(U, self.y[rows], value, G, _OF_SQUARES)
        np.square(value, out=value)

    def half_curvature(self, squares: np.ndarray) -> np.ndarray:
        """Return ``min(K, e_n^2) + e_n / 4``."""
        return np.minimum(self.slope, squares) + 0.25 * np.sqrt(squares)

    def curvature(
        self, G: np.ndarray, y: np.ndarray, e: np.ndarray, size: np.ndarray, v: np.ndarray
    ) -> None:
        """Write ``|G_n|^2`` and ``v_n = |G_n|^2 + e_n max_k s (1 - s)``, half the curvature."""
        binary_curvature_rows(G, e, size, v)

    # --- the true network ---------------------------------------------------------------------

    def measure(
        self, U: np.ndarray, rows: slice, ws: Workspace, doubt: np.ndarray | None = None
    ) -> tuple[float, float, float, float]:
        """Return the weighted sums of ``e_n``, ``e_n^2``, hits, and ``e_n`` again.

        `doubt`, if given, is overwritten with ``c_n |s(U) - y|_2``, the size of the gradient.
        """
        e, hits = ws.array("value", (len(U),), U.dtype), self._hits(U, rows)
        if doubt is None:
            self.losses(U, self.y[rows], e)
        else:
            G = ws.array("measured G", U.shape, U.dtype)
            self.gradient(U, self.y[rows], e, G)
            _lengths_into(G, doubt)
            self.weigh(doubt, rows, doubt)
        return self._sums(rows, e, hits)

    def measure_gradient(
        self, U: np.ndarray, rows: slice, ws: Workspace, G: np.ndarray, doubt: np.ndarray
    ) -> tuple[float, float, float, float]:
        """Return the sums of `measure`; write ``c_n (s(U) - y)`` to `G`, its length to `doubt`.

        The length bounds every label's curvature ``s (1 - s)``.
        """
        e, hits = ws.array("value", (len(U),), U.dtype), self._hits(U, rows)
        self.gradient(U, self.y[rows], e, G)
        _lengths_into(G, doubt)
        self.weigh(G, rows, G)
        self.weigh(doubt, rows, doubt)
        return self._sums(rows, e, hits)

    def gradient_bound(self, G: np.ndarray, doubt: np.ndarray, out: np.ndarray) -> None:
        """Write ``c_n |s(U) - y|_2`` to `out`, which `measure_gradient` left in `doubt`."""
        out[:] = doubt

    def _hits(self, U: np.ndarray, rows: slice) -> float:
        hit = np.empty(len(U))
        labels_correct_into(U, self.y[rows], hit)
        return float(self.weighted_sum(hit, rows))

    def _sums(self, rows: slice, e: np.ndarray, hits: float) -> tuple[float, float, float, float]:
        loss, squares = self.reported(e, rows)
        return loss, squares, hits, loss

    # --- mini-batches -------------------------------------------------------------------------

    def batch_gradient(self, U: np.ndarray, rows: slice, e: np.ndarray, squared: bool) -> float:
        """Overwrite the logits with ``c_n (s(U) - y)``, or ``2 c_n e_n (s(U) - y)``.

        Writes the losses ``e_n`` and returns the weighted hits.
        """
        hits = self._hits(U, rows)
        of = _OF_SQUARES if squared else _GRADIENT
        binary_cross_entropy_into(U, self.y[rows], e, U, of)
        self.weigh(U, rows, U)
        return hits

    def reported(self, e: np.ndarray, rows: slice) -> tuple[float, float]:
        """Return the weighted sums of ``e_n`` and of ``e_n^2`` of the rows, in float64."""
        e = e.astype(np.float64)
        return float(self.weighted_sum(e, rows)), float(self.weighted_sum(e * e, rows))

    def score(self, loss: float, hits: float) -> float:
        """Return the share of samples all of whose labels are right."""
        return hits


def _lengths_into(G: np.ndarray, out: np.ndarray) -> None:
    """Write the lengths of the rows."""
    squares = np.empty(len(G))
    row_sums_of_squares(G, squares)
    out[:] = np.sqrt(squares)
