"""Synthetic classification problems in the square (-1, 1)^2."""

from __future__ import annotations

import math

import numpy as np

from ..validation import check_generator, check_integer, check_number

__all__ = ["CIRCLE_RADIUS", "make_checkerboard", "make_circle", "make_two_spirals"]

#: Radius of the circle that covers half of the square (-1, 1)^2: pi r^2 = 4 / 2.
CIRCLE_RADIUS = math.sqrt(2.0 / math.pi)


def make_circle(
    n_samples: int = 3000,
    random_state: int | np.random.Generator | None = None,
    *,
    label_noise: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points in a square, labelled by whether they lie inside a circle of half its area.

    Parameters
    ----------
    n_samples : int, default 3000
        Number of points.
    random_state : int, numpy.random.Generator or None
        Source of randomness.  The points do not depend on `label_noise`.
    label_noise : float, default 0.0
        Share of the labels that are flipped, in [0, 1].

    Returns
    -------
    X : ndarray of float64, shape (n_samples, 2)
        Points, uniform in (-1, 1)^2.
    y : ndarray of int64, shape (n_samples,)
        1 inside the circle of radius sqrt(2/pi) around the origin, 0 outside.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> X, y = make_circle(1000, random_state=0)
    >>> X.shape, y.shape
    ((1000, 2), (1000,))
    """
    check_integer(n_samples, "n_samples", minimum=1)
    check_number(label_noise, "label_noise", 0.0, 1.0)
    rng = check_generator(random_state)
    X = rng.uniform(-1.0, 1.0, (n_samples, 2))
    y = (X[:, 0] ** 2 + X[:, 1] ** 2 < CIRCLE_RADIUS**2).astype(np.int64)
    return X, _flip(y, 2, label_noise, rng)


def make_checkerboard(
    n_samples: int = 3000,
    cells: int = 4,
    noise: float = 0.0,
    random_state: int | np.random.Generator | None = None,
    *,
    label_noise: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points in a square, labelled by the colour of a checkerboard.

    Networks whose hidden layers stay at their random start fail here much earlier than on the
    circle, so that this problem shows how well hidden layers are trained.

    Parameters
    ----------
    n_samples : int, default 3000
        Number of points.
    cells : int, default 4
        Number of cells along each side.
    noise : float, default 0.0
        Standard deviation of a normal shift of the points after labelling (they may leave the
        square).
    random_state : int, numpy.random.Generator or None
        Source of randomness.
    label_noise : float, default 0.0
        Share of the labels that are flipped, in [0, 1].

    Returns
    -------
    X : ndarray of float64, shape (n_samples, 2)
        Points, uniform in (-1, 1)^2 before the noise.
    y : ndarray of int64, shape (n_samples,)
        0 in the cell at (-1, -1) and in all cells of its colour, 1 in the others.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    """
    check_integer(n_samples, "n_samples", minimum=1)
    check_integer(cells, "cells", minimum=1)
    check_number(noise, "noise", 0.0)
    check_number(label_noise, "label_noise", 0.0, 1.0)
    rng = check_generator(random_state)
    X = rng.uniform(-1.0, 1.0, (n_samples, 2))
    # A point next to the right border can be rounded up to the cell behind the last one.
    column = np.minimum(((X + 1.0) * (cells / 2.0)).astype(np.int64), cells - 1)
    y = column.sum(axis=1) % 2
    if noise > 0.0:
        X += rng.normal(0.0, noise, X.shape)
    return X, _flip(y, 2, label_noise, rng)


def make_two_spirals(
    n_samples: int = 3000,
    turns: float = 1.5,
    noise: float = 0.0,
    label_noise: float = 0.0,
    random_state: int | np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two spirals wound into each other.

    Parameters
    ----------
    n_samples : int, default 3000
        Number of points, at least 2; the classes differ by at most one point.
    turns : float, default 1.5
        Number of turns of each spiral, positive.
    noise : float, default 0.0
        Standard deviation of a normal shift of the points (they may leave the unit disk).
    label_noise : float, default 0.0
        Share of the labels that are flipped, in [0, 1].
    random_state : int, numpy.random.Generator or None
        Source of randomness.

    Returns
    -------
    X : ndarray of float64, shape (n_samples, 2)
        Points, in the unit disk before the noise.
    y : ndarray of int64, shape (n_samples,)
        The spiral of each point, 0 or 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    """
    check_integer(n_samples, "n_samples", minimum=2)
    check_number(turns, "turns", 0.0, exclusive=True)
    check_number(noise, "noise", 0.0)
    check_number(label_noise, "label_noise", 0.0, 1.0)
    rng = check_generator(random_state)
    y = rng.permutation(np.arange(n_samples, dtype=np.int64) % 2)
    # The square root spreads the points about evenly along the arc.
    radius = np.sqrt(rng.uniform(0.0, 1.0, n_samples))
    angle = 2.0 * math.pi * turns * radius + math.pi * y
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    if noise > 0.0:
        X += rng.normal(0.0, noise, X.shape)
    return X, _flip(y, 2, label_noise, rng)


def _flip(y: np.ndarray, n_classes: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Move the nearest whole number to ``share * len(y)`` of the labels to another class."""
    count = round(share * len(y))
    if count:
        chosen = rng.choice(len(y), count, replace=False)
        y[chosen] = (y[chosen] + rng.integers(1, n_classes, count)) % n_classes
    return y
