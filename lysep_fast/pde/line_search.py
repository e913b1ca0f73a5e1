"""A weak Wolfe line search by bisection: enough decrease, and a slope that has flattened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["weak_wolfe"]

# Customary constants of the two conditions.
_DECREASE, _CURVATURE = 1e-4, 0.9


def weak_wolfe(
    along: Callable[[float], tuple[float, float]],
    value: float,
    slope: float,
    first: float,
    max_trials: int,
) -> tuple[float, int]:
    """Return a step length with ``f(t) <= f(0) + 1e-4 t f'(0)`` and ``f'(t) >= 0.9 f'(0)``.

    The bracket is halved while the decrease is missing and doubled while the slope is steep
    (Lewis and Overton); the curvature condition makes the quasi-Newton pair useful.

    Parameters
    ----------
    along : callable
        Maps t to value and slope there; NaN counts as too large a step.
    value, slope : float
        At t = 0; the slope is negative.
    first : float
        First trial.
    max_trials : int
        Bound on the evaluations.

    Returns
    -------
    t : float
        When the trials run out, the longest step with enough decrease; 0.0 if there was none.
    trials : int
        Evaluations done.
    """
    low, high, t = 0.0, np.inf, first
    for trials in range(1, max_trials + 1):
        f, g = along(t)
        if not f <= value + _DECREASE * t * slope:
            high = t
        elif not g >= _CURVATURE * slope:
            low = t
        else:
            return t, trials
        t = 2.0 * low if np.isinf(high) else 0.5 * (low + high)
    return low, max_trials
