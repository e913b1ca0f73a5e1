"""Columns of mean 0 and variance 1 for training, and a network that takes them as they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..result import Result
from .messages import CommandError

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """The map ``x -> (x - mean) / scale`` of every column; without numbers it changes nothing.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (d,), or None
        Mean and standard deviation of the columns; 1 for a column that does not vary.
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of(cls, X: np.ndarray) -> Scaling:
        """Return the scaling of a table's columns."""
        # Taken from a point of the data, so that nothing is lost where values lie far from 0.
        first = X[0].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
            for rows in _blocks(X):
                total += np.sum(rows - first, axis=0, dtype=np.float64)
            shift = total / len(X)
            for rows in _blocks(X):
                square += np.sum((rows - first - shift) ** 2, axis=0, dtype=np.float64)
            mean, scale = first + shift, np.sqrt(square / len(X))
        if not np.all(np.isfinite(mean) & np.isfinite(scale)):
            column = int(np.argmin(np.isfinite(mean) & np.isfinite(scale)))
            raise CommandError(
                f"input column {column} is too large to standardise; divide it by a constant"
            )
        # What is left of a constant column is rounding.
        varies = scale > 16 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(varies, scale, 1.0))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Return the scaled table, in float32 if it is in float32."""
        if self.mean is None or self.scale is None:
            return X
        scaled = np.empty(X.shape, np.float32 if X.dtype == np.float32 else np.float64)
        size = _block_rows(X)
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            scaled[rows] = (X[rows] - self.mean) / self.scale
        return scaled

    def fold(self, result: Result) -> None:
        """Change the first layer so that the network takes the table as it was.

        ``W (x - mean) / scale + b = (W / scale) x + (b - W mean / scale)``, up to rounding.
        """
        if self.mean is None or self.scale is None:
            return
        W = result.W[1].astype(np.float64) / self.scale
        b = result.b[1] - W @ self.mean
        dtype = result.W[1].dtype
        result.W[1], result.b[1] = W.astype(dtype), b.astype(dtype)


def _block_rows(X: np.ndarray) -> int:
    return max(1, (1 << 20) // X.shape[1])


def _blocks(X: np.ndarray) -> list[np.ndarray]:
    """Return views of parts of the table that need little memory to work on."""
    size = _block_rows(X)
    return [X[start : start + size] for start in range(0, len(X), size)]
