"""Residual of a differential equation in the jet of the network's output.

At a point ``r = sum_ch K[ch] O[ch] + h(lift O[0] + shift) - f``, and its derivative in O[ch] is
``K[ch]``, plus ``h'(u) lift`` for the value channel.  Boundary values are the case of one channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PdeResidual"]


class PdeResidual:
    """The residual at k points.

    Parameters
    ----------
    K : ndarray, shape (c, k)
        Coefficients of the output's channels.
    f : ndarray, shape (k,)
        Right-hand side.
    weight : float
        Factor of ``sum r^2`` in the loss.
    nonlinearity : pair of callables, optional
        ``(h, h')`` of the values u.
    lift, shift : ndarray, shape (k,), optional
        ``u = lift O[0] + shift``; needed with a nonlinearity only.
    """

    def __init__(
        self,
        K: np.ndarray,
        f: np.ndarray,
        weight: float,
        nonlinearity: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
        lift: np.ndarray | None = None,
        shift: np.ndarray | None = None,
    ) -> None:
        self.K, self.f, self.weight = K, f, weight
        self.nonlinearity, self.lift, self.shift = nonlinearity, lift, shift
        #: Channels that the residual sees, with their coefficients; skipping the others saves
        #: most of the work of a plain Laplacian.
        self.channels = [ch for ch in range(len(K)) if np.any(K[ch])]
        if 0 not in self.channels and (nonlinearity is not None or not self.channels):
            self.channels.insert(0, 0)

    @property
    def is_linear(self) -> bool:
        """Whether r is affine in O."""
        return self.nonlinearity is None

    def value(self, O: np.ndarray) -> np.ndarray:
        """Return r, shape (k,), for the output jet O, shape (c, k)."""
        r = -self.f
        for ch in self.channels:
            r += self.K[ch] * O[ch]
        if self.nonlinearity is not None:
            r += self.nonlinearity[0](self.lift * O[0] + self.shift)
        return r

    def slopes(self, v: np.ndarray | None) -> list[tuple[int, np.ndarray]]:
        """Return pairs of channel and ``dr/dO[channel]`` at the value ``v = O[0]``, shape (k,).

        The value does not matter for a linear equation and may be None then.
        """
        pairs = [(ch, self.K[ch]) for ch in self.channels]
        if self.nonlinearity is not None:
            assert self.lift is not None
            assert v is not None
            slope = self.nonlinearity[1](self.lift * v + self.shift) * self.lift
            pairs[0] = (0, self.K[0] + slope)
        return pairs
