"""Squared error of numeric targets, with sample weights: the least-squares case of the method."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.auxiliaries import row_sums_of_squares
from ..threads.team import ALONE, Workspace
from ..validation import size_limit
from .base import Loss

__all__ = ["SquaredError"]


class SquaredError(Loss):
    """Euclidean distance ``e_n = |U_n - T_n|`` of outputs and targets, used squared.

    The objective and the reported loss are the mean over the samples of ``c_n |U_n - T_n|^2``,
    summed over the outputs: with one output the mean squared error, and twice what scikit-learn's
    MLPRegressor reports.  As e_n is 1-Lipschitz in U, with the residuals of the separated loss

        |network - T|_n <= |U - T|_n + sum_l c^(L-l) sqrt(w_l) |R_l|_n,

    and Cauchy-Schwarz gives, sample by sample and so for any weights,

        mean square error of the true network <= C^2 F,     C = sqrt(1 + sum_{k=1..L-1} c^(2k)):

    the root mean square error is at most ``C LS``.

    Parameters
    ----------
    T : ndarray, shape (n, K)
        Targets in the dtype of the inputs, C-contiguous.
    sample_weight : ndarray of shape (n,), optional
        Weights ``c_n`` of the samples; None means 1.
    """

    name, score_name = "squared-error", "r2"
    quadratic, slope, step_scale = True, 1.0, 0.5

    def __init__(self, T: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        super().__init__(T, T.shape[1], sample_weight)
        self.mean, self.units = np.zeros(T.shape[1]), np.ones(T.shape[1])
        self._variance: float | None = None

    @classmethod
    def standardised(
        cls,
        T: np.ndarray,
        sample_weight: np.ndarray | None,
        dtype: Any,
        *,
        centre: bool,
        unit: float | tuple[float, ...] | None = None,
    ) -> SquaredError:
        """Return the loss of targets of which every output has mean 0 and variance 1.

        So no output matters more because of its unit.  Sums over the outputs are reported in the
        root of the mean square of their units: with one output, in those of the targets.
        Constant targets are only centred.

        Parameters
        ----------
        T : ndarray of float64, shape (n, K)
            Targets as given.
        sample_weight : ndarray, shape (n,), optional
            Weights in means and variances.
        dtype : dtype
            That of the inputs.
        centre : bool
            Whether the output layer has a bias, which takes up the mean.
        unit : float or tuple of K float, optional
            The unit of all outputs, or of each, if they are known.

        Raises
        ------
        ValueError
            If a target is so many units away that the squares of residuals would overflow, or
            there are not as many units as outputs.
        """
        mean = _mean(T, sample_weight)
        away = T - mean
        units, varies = _deviations(T, away, sample_weight)
        if unit is not None:
            if np.ndim(unit) and np.shape(unit) != units.shape:
                raise ValueError(
                    f"target_unit must be one number or one for each of the {len(units)} outputs, "
                    f"got the shape {np.shape(unit)}"
                )
            units[:], varies[:] = unit, True
        with np.errstate(over="ignore"):
            scaled = (away if centre else T) / units
        _limit_distance(scaled, sample_weight, units, np.dtype(dtype))
        loss = cls(np.ascontiguousarray(scaled, dtype), sample_weight)
        loss.units = units
        if np.any(varies):
            largest = float(np.max(units[varies]))
            loss.unit = largest * float(np.sqrt(np.mean(np.square(units[varies] / largest))))
        if centre:
            loss.mean = mean
        return loss

    def restore(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Fold units and means into the output layer (in place), which is exact."""
        W[-1][:] = self.units[:, None] * W[-1]
        b[-1][:] = self.units * b[-1].astype(np.float64) + (0.0 if moves else self.mean)

    def prepare(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Take units and means out of the output layer (in place), up to rounding errors."""
        W[-1][:] = W[-1] / self.units[:, None]
        b[-1][:] = (b[-1].astype(np.float64) - (0.0 if moves else self.mean)) / self.units

    def take(self, rows: Any) -> SquaredError:
        """Return the loss of a subset of the samples, given by a slice or by indices."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        part = SquaredError(self.y[rows], weight)
        part.unit, part.units, part.mean = self.unit, self.units, self.mean
        return part

    @property
    def variance(self) -> float:
        """Mean over the samples of ``c_n |T_n - mean|^2``, the loss of the best constant."""
        if self._variance is None:
            T = self.y.astype(np.float64, copy=False)
            square = np.square(T - _mean(T, self.sample_weight)).sum(axis=1)
            c = self.sample_weight
            self._variance = float(ALONE.total(square if c is None else c * square)) / len(T)
        return self._variance

    @property
    def constant(self) -> float:
        """The variance."""
        return self.variance

    def mark(self, tol: float) -> float:
        """Return ``(tol / 10)^2`` of the variance, 1e-10 of it at most; of constants 1e-6."""
        return self.variance * (0.1 * min(tol, 1e-4)) ** 2 or 1e-6

    def output_sums(self, U: np.ndarray, rows: slice) -> tuple[np.ndarray, ...]:
        """Return ``sum_n c_n (T_n - U_n)``."""
        return (self.weighted_sum(self.y[rows] - U, rows),)

    def output_shift(self, *sums: np.ndarray) -> np.ndarray:
        """Return the mean residual."""
        return sums[0] / self.total_weight

    # --- sample losses, not weighted ----------------------------------------------------------

    def losses(self, U: np.ndarray, y: np.ndarray, e: np.ndarray) -> None:
        """Write ``e_n = |U_n - y_n|`` to `e`."""
        e[:] = np.sqrt(_row_squares(U - y))

    def gradient(self, U: np.ndarray, y: np.ndarray, e: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n`` to `e` and the unit vectors ``(U - y) / e`` to `G`, zeros where e is 0."""
        np.subtract(U, y, out=G)
        root = np.sqrt(_row_squares(G))
        e[:] = root
        G *= np.divide(1.0, root, out=np.zeros_like(root), where=root > 0.0)[:, None]

    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``|U - T|_n^2`` of the rows to `value`."""
        value[:] = _row_squares(U - self.y[rows])

    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``|U - T|_n^2`` to `value` and its gradient ``2 (U - T)`` to `G`."""
        np.subtract(U, self.y[rows], out=G)
        value[:] = _row_squares(G)
        G *= 2.0

    def half_curvature(self, squares: np.ndarray) -> np.ndarray:
        """Return ones, which is exact."""
        return np.ones_like(squares)

    def curvature(
        self, G: np.ndarray, y: np.ndarray, e: np.ndarray, size: np.ndarray, v: np.ndarray
    ) -> None:
        """Write ``|G_n|^2`` (1, or 0 where e is 0) to `size` and ones to `v`."""
        size[:] = _row_squares(G)
        v[:] = 1.0

    # --- the true network ---------------------------------------------------------------------

    def measure(
        self, U: np.ndarray, rows: slice, ws: Workspace, doubt: np.ndarray | None = None
    ) -> tuple[float, float, float, float]:
        """Return the sum of ``c_n e_n^2`` as loss, squares and objective; there are no hits.

        `doubt`, if given, is overwritten with ``c_n e_n``, half the size of the gradient.
        """
        squares = _row_squares(U - self.y[rows])
        if doubt is not None:
            doubt[:] = np.sqrt(squares)
            self.weigh(doubt, rows, doubt)
        return self._sums(rows, squares)

    def measure_gradient(
        self, U: np.ndarray, rows: slice, ws: Workspace, G: np.ndarray, doubt: np.ndarray
    ) -> tuple[float, float, float, float]:
        """Return the sums of `measure`; write ``2 c_n (U - T)`` to `G` and ``c_n`` to `doubt`."""
        np.subtract(U, self.y[rows], out=G)
        squares = _row_squares(G)
        G *= 2.0
        doubt[:] = 1.0
        self.weigh(G, rows, G)
        self.weigh(doubt, rows, doubt)
        return self._sums(rows, squares)

    def gradient_bound(self, G: np.ndarray, doubt: np.ndarray, out: np.ndarray) -> None:
        """Write ``c_n e_n`` to `out`, half the size of the rows of `G`."""
        out[:] = 0.5 * np.sqrt(_row_squares(G))

    def _sums(self, rows: slice, squares: np.ndarray) -> tuple[float, float, float, float]:
        total = float(self.weighted_sum(squares, rows))
        return total, total, 0.0, total

    # --- mini-batches -------------------------------------------------------------------------

    def batch_gradient(self, U: np.ndarray, rows: slice, e: np.ndarray, squared: bool) -> float:
        """Overwrite the outputs with ``2 c_n (U - T)``, `squared` or not; write ``e_n``."""
        np.subtract(U, self.y[rows], out=U)
        e[:] = np.sqrt(_row_squares(U))
        U *= 2.0
        self.weigh(U, rows, U)
        return 0.0

    def reported(self, e: np.ndarray, rows: slice) -> tuple[float, float]:
        """Return the weighted sum of ``e_n^2`` of the rows, twice."""
        total = float(self.weighted_sum(np.square(e, dtype=np.float64), rows))
        return total, total

    def score(self, loss: float, hits: float) -> float:
        """Return the mean coefficient of determination, NaN if all targets are constant."""
        return 1.0 - loss / self.variance if self.variance > 0.0 else float("nan")


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of the rows in float64."""
    if weight is None:
        return np.asarray(ALONE.total(values) / len(values))
    c = weight.astype(np.float64)
    return np.asarray(ALONE.total(values * c[:, None]) / ALONE.total(c))


def _deviations(
    T: np.ndarray, away: np.ndarray, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard deviations of the outputs, 1 where they do not vary, and which do."""
    present = slice(None) if sample_weight is None else sample_weight > 0.0
    size = np.max(np.abs(away[present]), axis=0)
    # Less than that is the rounding of the mean.
    varies = size > 8.0 * np.finfo(np.float64).eps * np.max(np.abs(T[present]), axis=0)
    size = np.where(varies, size, 1.0)
    weight = None if sample_weight is None else sample_weight[present]
    root = np.sqrt(_mean(np.square(away[present] / size), weight))
    return np.where(varies, size * root, 1.0), varies


def _row_squares(G: np.ndarray) -> np.ndarray:
    """Return the squared lengths of the rows in float64."""
    out = np.empty(len(G))
    row_sums_of_squares(np.ascontiguousarray(G), out)
    return out


def _limit_distance(
    scaled: np.ndarray, sample_weight: np.ndarray | None, units: np.ndarray, dtype: np.dtype[Any]
) -> None:
    """Raise where a target in its unit is too large for sums of squares, or is 0 (in place).

    It is 0 where the sample has no weight: what it is does not matter there.
    """
    far = np.any(np.abs(scaled) > size_limit(dtype), axis=1)
    if sample_weight is not None:
        scaled[far & (sample_weight == 0.0)] = 0.0
        far &= sample_weight > 0.0
    if np.any(far):
        row = int(np.argmax(far))
        output = int(np.argmax(np.abs(scaled[row])))
        raise ValueError(
            f"y[{row}] is {abs(scaled[row, output]):.1e} units of {units[output]:.1e} away, the "
            f"unit of the other targets, too many for {dtype}; leave such samples out, give them "
            "sample_weight 0, or set target_unit"
        )
