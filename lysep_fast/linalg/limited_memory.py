"""Limited-memory quasi-Newton direction in a metric that changes from step to step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..container.stateful import Stateful

__all__ = ["LimitedMemory"]

# Smallest cosine of the angle between step and change of gradient of a pair that is kept.
_MIN_COSINE = 1e-12


class LimitedMemory(Stateful):
    """L-BFGS two-loop recursion with a given initial inverse metric.

    Parameters
    ----------
    history : int
        Number of pairs kept.
    """

    def __init__(self, history: int = 10) -> None:
        self.pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=history)

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs, oldest first, as the rows of arrays."""
        s, y, curvature = zip(*self.pairs, strict=True) if self.pairs else ((), (), ())
        return {"s": np.array(s), "y": np.array(y), "curvature": np.array(curvature, float)}

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over the pairs."""
        self.forget()
        for s, y, curvature in zip(found["s"], found["y"], found["curvature"], strict=True):
            self.pairs.append((s.copy(), y.copy(), float(curvature)))

    def forget(self) -> None:
        """Drop all pairs."""
        self.pairs.clear()

    def remember(self, s: np.ndarray, y: np.ndarray) -> bool:
        """Keep the pair (step, change of gradient) if its curvature is safely positive.

        Safely means more than 1e-12 times the product of the lengths: a flatter pair would scale
        the direction by more than float64 can bear.
        """
        curvature = float(np.dot(s, y))
        if not curvature > _MIN_COSINE * float(np.linalg.norm(s) * np.linalg.norm(y)):
            return False
        self.pairs.append((s, y, curvature))
        return True

    def direction(
        self, gradient: np.ndarray, apply_inverse: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Return ``-H gradient`` where H updates the inverse metric by the kept pairs.

        Parameters
        ----------
        gradient : ndarray, shape (size,)
            Gradient of the loss.
        apply_inverse : callable
            Maps a vector to ``H_0 vector`` in new memory.
        """
        q = gradient.copy()
        alphas = []
        for s, y, curvature in reversed(self.pairs):
            alpha = float(np.dot(s, q)) / curvature
            q -= alpha * y
            alphas.append(alpha)
        r = apply_inverse(q)
        if self.pairs:
            s, y, curvature = self.pairs[-1]
            size = float(np.dot(y, apply_inverse(y)))
            # On data fitted to the last digit gradients are so small that the square underflows.
            if size > 0.0 and np.isfinite(curvature / size):
                r *= curvature / size
        for (s, y, curvature), alpha in zip(self.pairs, reversed(alphas), strict=True):
            r += (alpha - float(np.dot(y, r)) / curvature) * s
        return -r
