"""Monotone backtracking on one step length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Trial", "backtrack"]


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
