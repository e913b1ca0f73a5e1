"""Trust region in the metric of a step: how far a preconditioned gradient step may go."""

from __future__ import annotations

import math

__all__ = ["trust_factor"]


def trust_factor(decrease: float, radius: float) -> float:
    """Return ``min(1, radius / s)`` with ``s = sqrt(sum_l <p_l, g_l>)``.

    For ``p_l = g_l M_l^-1``, s is the length of p in the metric M, ``s^2 = sum_l <p_l M_l, p_l>``:
    the step is cut to the ball of this radius.

    Parameters
    ----------
    decrease : float
        ``sum_l <p_l, g_l>``, the decrease that the linear model promises for a unit step.
    radius : float
        Radius of the ball, positive.
    """
    if not decrease > radius * radius:
        return 1.0
    return radius / math.sqrt(decrease)
