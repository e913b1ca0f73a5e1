"""Line search of every point on its own along a direction in its auxiliary jet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .walk import Walk

__all__ = ["move_points"]

# Trials of a point; most points take the first.
_TRIALS = 6


def move_points(
    walk: Walk,
    l: int,
    e: np.ndarray,
    d: np.ndarray,
    step: np.ndarray,
    old: np.ndarray,
    objective: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[float, float]:
    """Move J_l along d, every point as far as its objective does not rise; features follow.

    Parameters
    ----------
    walk : Walk
        The jets, modified in layer l.
    l : int
        Layer.
    e, d : ndarray, shape (c, k, m_l)
        Residual, and direction; the direction is overwritten.
    step : ndarray, shape (k,)
        First step lengths; left at twice the accepted ones, or at half the last ones tried.
    old : ndarray, shape (k,)
        Objectives before; NaN counts as a rise.
    objective : callable
        Maps features of the moved jets and their residual to objectives, shape (k,).

    Returns
    -------
    moved, trials : float
        Numbers of points that moved, and of trials.
    """
    waiting, trials = np.ones(len(walk), bool), 0.0
    J, P, D = walk.J[l], walk.P[l], walk.D[l]
    new, features, slopes = np.empty_like(J), np.empty_like(P), np.empty_like(D)
    for _ in range(_TRIALS):
        trials += float(np.count_nonzero(waiting))
        move = step[None, :, None] * d
        np.add(J, move, out=new)
        walk.feature.forward(new, features, slopes)
        good = waiting & (objective(features, e + move) <= old)
        J[:, good], P[:, good], D[:, good] = new[:, good], features[:, good], slopes[:, good]
        waiting &= ~good
        step[good] *= 2.0
        step[waiting] *= 0.5
        # A point that has moved must not move again.
        d[:, good] = 0.0
        if not np.any(waiting):
            break
    return float(len(walk) - np.count_nonzero(waiting)), trials
