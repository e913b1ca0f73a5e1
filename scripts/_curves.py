"""Curves of a training made small for the results file, and the time until a loss was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def reached(curves: Mapping[str, Any], levels: Sequence[float]) -> list[float | None]:
    """Return the seconds until the loss was at most each of the levels, None for never."""
    found: list[float | None] = []
    for level in levels:
        # Stored curves have null in the place of NaN and infinity.
        below = [value is not None and value <= level for value in curves["loss"]]
        found.append(float(curves["seconds"][below.index(True)]) if any(below) else None)
    return found


def times_to(run: Mapping[str, Any], levels: Sequence[float]) -> list[float | None]:
    """Return `reached` of a stored run, whose curves may have been thinned."""
    known: list[float | None] | None = run.get("reached")
    return reached(run["curves"], levels) if known is None else known


def thin(curves: Mapping[str, Any], n_points: int, length: int) -> dict[str, Any]:
    """Keep about `n_points` entries, denser at the start, and add their numbers as `iterations`.

    The entries depend on the largest `length` only, not on that of these curves, so that those of
    several runs belong to the same iterations.
    """
    marks = np.unique(np.round(np.geomspace(1, length, n_points)).astype(int) - 1)
    kept = marks[marks < len(curves["loss"])]
    return {
        "iterations": kept,
        **{name: np.asarray(curve, dtype=float)[kept] for name, curve in curves.items()},
    }
