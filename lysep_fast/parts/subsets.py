"""Subsets of the samples in turn, as Algorithm 2 draws them, and means of what is seen there."""

from __future__ import annotations

import numpy as np

from .passes import Evaluation

__all__ = ["EvaluationMean", "Subsets"]


class Subsets:
    """Draws subsets without replacement until the samples are used up, then shuffles anew.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    size : int
        Samples per subset; all of them when there are fewer.
    refresh_every : int
        Draws that return the same subset before the next one comes.
    rng : numpy.random.Generator
        Source of randomness.

    Attributes
    ----------
    order : ndarray of int, shape (n_samples,)
        The current permutation.
    rows : slice
        The current subset is ``order[rows]``.
    """

    def __init__(
        self, n_samples: int, size: int, refresh_every: int, rng: np.random.Generator
    ) -> None:
        self.n_samples, self.size = n_samples, min(size, n_samples)
        self.refresh_every, self.rng = refresh_every, rng
        self.order = np.arange(n_samples)
        self.rows = slice(n_samples, n_samples)
        self._age = 0

    def draw(self) -> tuple[bool, bool]:
        """Go to the next draw; return whether the subset is new, and the permutation too."""
        fresh = self._age % self.refresh_every == 0
        self._age += 1
        if not fresh:
            return False, False
        shuffled = self.rows.stop + self.size > self.n_samples
        if shuffled:
            self.order = self.rng.permutation(self.n_samples)
        start = 0 if shuffled else self.rows.stop
        self.rows = slice(start, start + self.size)
        return True, shuffled

    def sweeps_of_a_pass(self) -> int:
        """Return the number of draws in which every sample (but a rest) had its turn."""
        return self.n_samples // self.size * self.refresh_every


class EvaluationMean:
    """Mean of evaluations over subsets, scaled to all samples."""

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples
        self.sums, self.count = np.zeros(4), 0

    def add(self, seen: Evaluation, count: int) -> None:
        """Take in the sums over `count` samples."""
        self.sums += (seen.loss, seen.squares, seen.correct, seen.objective)
        self.count += count

    def total(self) -> Evaluation:
        """Return the sums that all samples would have at these means."""
        return Evaluation(*(self.sums * (self.n_samples / self.count)))
