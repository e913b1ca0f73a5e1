"""Scale and offset of every column of the inputs: measured, taken out, folded into layer 1.

With the shift m_j and the scale s_j of a column, layer 1 sees ``(x_j - m_j) / s_j``, and as it is
linear, what it has learned is a layer of the columns as given:

    sum_j w_j (x_j - m_j) / s_j + b  =  sum_j (w_j / s_j) x_j  +  b - sum_j (w_j / s_j) m_j.

The scale is the standard deviation, or the root of the root of a third of the fourth moment where
that is larger (for a normal distribution they are the same).  A column that is rarely different,
such as a pixel at the border of an image or one of many categories, has outliers only: the
standard deviation would make them as large as they are rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Moments", "Scaling", "power_of_two"]


def power_of_two(size: np.ndarray) -> np.ndarray:
    """Return the largest powers of two that are at most the sizes, 1 for zeros."""
    return np.ldexp(1.0, np.frexp(np.where(size > 0.0, size, 1.0))[1] - 1)


@dataclass(frozen=True)
class Moments:
    """Central moments of the columns of some samples, in float64.

    Attributes
    ----------
    weight : float
        Total weight of the samples.
    mean : ndarray, shape (d,)
        Means, which the dtype of the inputs holds.
    unit : ndarray, shape (d,)
        Powers of two, at most the largest absolute value of each column, 1 for zeros; they keep
        powers of numbers of any size in range.
    second, fourth : ndarray, shape (d,)
        Means of ``((x - mean) / unit)^2`` and of its square.
    """

    weight: float
    mean: np.ndarray
    unit: np.ndarray
    second: np.ndarray
    fourth: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviations."""
        return np.asarray(self.unit * np.sqrt(self.second))

    def merged(self, other: Moments) -> Moments:
        """Return the moments of these samples together with those of `other`.

        The third moments, which would be needed for the fourth ones, are taken to be zero.
        """
        total = self.weight + other.weight
        share = other.weight / total
        unit = np.maximum(self.unit, other.unit)
        away = other.mean / unit - self.mean / unit
        second = fourth = np.zeros_like(unit)
        for part, weight, distance in (
            (self, 1.0 - share, share * away),
            (other, share, (share - 1.0) * away),
        ):
            ratio, square = part.unit / unit, np.square(distance)
            own = part.second * ratio**2
            second = second + weight * (own + square)
            fourth = fourth + weight * (part.fourth * ratio**4 + square * (6.0 * own + square))
        return Moments(total, self.mean + unit * (share * away), unit, second, fourth)


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of every column.

    Attributes
    ----------
    shift, scale : ndarray of float64, shape (d,)
        What is subtracted, and what is divided by then.  The scale of a column that does not vary
        is infinite: it has no influence, whatever value it takes later.
    """

    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, moments: Moments, dtype: Any) -> Scaling:
        """Return the scaling of samples with these moments.

        Raises
        ------
        ValueError
            If a column varies by so little that weights of its inverse size would overflow.
        """
        info = np.finfo(dtype)
        with np.errstate(divide="ignore"):
            size = np.sqrt(np.maximum(moments.second, np.sqrt(moments.fourth / 3.0)))
        # Less than that is the rounding of numbers of the column's size.
        varies = np.sqrt(moments.second) > 8.0 * float(info.eps)
        scale = np.where(varies, moments.unit * size, np.inf)
        least = float(info.tiny) ** 0.9
        if np.any(scale < least):
            column = int(np.argmax(scale < least))
            raise ValueError(
                f"column {column} of X varies by {scale[column]:.1e} only, too little for the "
                f"weights to be numbers of {np.dtype(dtype)}; multiply it by a constant"
            )
        return cls(moments.mean.astype(dtype).astype(np.float64), scale)

    def apply(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write rows of the inputs, of shape (k, d), as layer 1 sees them to `out`."""
        np.subtract(rows, self.shift.astype(rows.dtype), out=out)
        out *= (1.0 / self.scale).astype(out.dtype)
        return out

    def restore(self, W: np.ndarray, b: np.ndarray) -> None:
        """Make a layer of scaled columns one of the columns as given (in place)."""
        wide = W.astype(np.float64) / self.scale
        b[:] = b.astype(np.float64) - wide @ self.shift
        W[:] = wide

    def prepare(self, W: np.ndarray, b: np.ndarray) -> None:
        """Undo `restore` (in place), up to rounding; columns that do not vary get zeros."""
        wide = W.astype(np.float64)
        b[:] = b.astype(np.float64) + wide @ self.shift
        W[:] = wide * np.where(np.isfinite(self.scale), self.scale, 0.0)
