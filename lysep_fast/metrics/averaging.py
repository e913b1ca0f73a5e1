"""Averages of the iterates, which generalise better than the last one."""

from __future__ import annotations

import numpy as np

from ..container.stateful import Stateful

__all__ = ["MovingAverage", "early_mean_weight"]


def early_mean_weight(count: int, limit: float) -> float:
    """Return the weight ``min(limit, 1 - 1/(count+1))`` of what was averaged before.

    With it, a moving average is the plain mean of its first terms and forgets the initial value
    at once, without a separate correction.

    Parameters
    ----------
    count : int
        Number of terms averaged so far.
    limit : float
        Weight in the long run, in [0, 1).
    """
    return min(limit, 1.0 - 1.0 / (count + 1.0))


class MovingAverage(Stateful):
    """Exponential moving average ``m <- a m + (1-a) x`` with ``a = min(limit, 1 - 1/(k+1))``.

    Parameters
    ----------
    like : ndarray
        Shape and dtype.
    limit : float
        Weight of the past in the long run.
    period : int, default 1
        Take every `period`-th value only, with ``limit ** period``: the same horizon for a
        fraction of the work.
    """

    state_names = ("value", "count", "_age")

    def __init__(self, like: np.ndarray, limit: float, period: int = 1) -> None:
        self.limit = limit**period
        self.period = period
        self.value = np.zeros_like(like)
        self.count = 0
        self._age = 0
        self._scratch = np.empty_like(like)

    def offer(self, x: np.ndarray) -> bool:
        """Take in `x` if its turn has come; return whether it was taken."""
        self._age += 1
        if self._age < self.period and self.count:
            return False
        self.take(x)
        return True

    def take(self, x: np.ndarray) -> None:
        """Take in `x`."""
        weight = self.value.dtype.type(1.0 - early_mean_weight(self.count, self.limit))
        np.subtract(x, self.value, out=self._scratch)
        self._scratch *= weight
        self.value += self._scratch
        self.count += 1
        self._age = 0
