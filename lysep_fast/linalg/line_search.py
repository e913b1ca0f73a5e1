"""Line searches on one step length: monotone backtracking, and weak Wolfe by bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Trial", "backtrack", "weak_wolfe"]

# Customary constants of the two conditions of `weak_wolfe`.
_DECREASE, _CURVATURE = 1e-4, 0.9


@dataclass(frozen=True)
class Trial:
    """Outcome of a line search.

    Attributes
    ----------
    step : float
        Accepted step length, 0.0 when no trial was accepted.
    value : float
        Objective there (the current one when nothing was accepted).
    trials : int
        Number of objective evaluations.
    """

    step: float
    value: float
    trials: int

    @property
    def accepted(self) -> bool:
        """Whether a step was taken."""
        return self.step > 0.0


def backtrack(
    objective: Callable[[float], float],
    current: float,
    start: float,
    shrink: float,
    max_trials: int,
) -> Trial:
    """Shrink the step from `start` until the objective does not increase.

    Parameters
    ----------
    objective : callable
        Maps a step length to the objective; a NaN counts as an increase.
    current : float
        Objective at step 0.
    start : float
        First step length tried.
    shrink : float
        Factor in (0, 1) between trials.
    max_trials : int
        Bound on the number of evaluations, so that the search always ends.

    Returns
    -------
    Trial
        Step 0.0 when every trial increased the objective.
    """
    step = start
    for trials in range(1, max_trials + 1):
        value = objective(step)
        if value <= current:
            return Trial(step, value, trials)
        step *= shrink
    return Trial(0.0, current, max_trials)


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
