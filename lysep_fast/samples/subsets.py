"""Subsets of the samples in turn, as Algorithm 2 draws them."""

from __future__ import annotations

import numpy as np

from ..container.stateful import Stateful

__all__ = ["Subsets"]


class Subsets(Stateful):
    """Draws subsets without replacement until the samples are used up, then shuffles anew.

    A subset whose samples all have the weight 0 has nothing to teach and is passed over.

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
    weight : ndarray, shape (n_samples,), optional
        Weights of the samples.

    Attributes
    ----------
    order : ndarray of int, shape (n_samples,)
        The current permutation.
    """

    state_names = ("order", "_start", "_age")

    def __init__(
        self,
        n_samples: int,
        size: int,
        refresh_every: int,
        rng: np.random.Generator,
        weight: np.ndarray | None = None,
    ) -> None:
        self.n_samples, self.size = n_samples, min(size, n_samples)
        self.refresh_every, self.rng = refresh_every, rng
        self.order = np.arange(n_samples)
        self._start = n_samples
        self._age = 0
        self._heavy = None if weight is None or not np.any(weight) else weight > 0.0

    @property
    def rows(self) -> slice:
        """The current subset is ``order[rows]``."""
        return slice(self._start, self._start + self.size)

    def draw(self) -> tuple[bool, bool]:
        """Go to the next draw; return whether the subset is new, and the permutation too."""
        fresh = self._age % self.refresh_every == 0
        self._age += 1
        if not fresh:
            return False, False
        shuffled = self._advance()
        while self._heavy is not None and not np.any(self._heavy[self.order[self.rows]]):
            shuffled |= self._advance()
        return True, shuffled

    def _advance(self) -> bool:
        """Go to the next subset; return whether the permutation is new."""
        shuffled = self.rows.stop + self.size > self.n_samples
        if shuffled:
            self.order = self.rng.permutation(self.n_samples)
        self._start = 0 if shuffled else self.rows.stop
        return shuffled

    def sweeps_of_a_pass(self) -> int:
        """Return the number of draws in which every sample (but a rest) had its turn."""
        return self.n_samples // self.size * self.refresh_every
