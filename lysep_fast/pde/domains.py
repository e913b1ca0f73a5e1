"""Where an equation holds: boxes, balls, space-time cylinders and the user's own points.

Every domain draws interior and boundary points from a `numpy.random.Generator` and knows a box
around itself, by which the initial weights are scaled.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..validation import check_inputs, check_number

__all__ = ["Ball", "Box", "Domain", "Points", "SpaceTime"]


class Domain(Protocol):
    """What a problem asks of its domain."""

    #: Number of coordinates d.
    dimension: int

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper corner of a box around the domain, shape (d,) each."""
        ...

    def interior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n points inside, shape (n, d)."""
        ...

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n points where boundary values are given, shape (n, d)."""
        ...


class Box:
    """An axis-parallel box.

    Parameters
    ----------
    lower, upper : float or array-like, shape (d,)
        Opposite corners; numbers mean the same in every coordinate.
    dimension : int, optional
        Number of coordinates, needed when both corners are numbers (default 1).
    """

    def __init__(self, lower: Any, upper: Any, dimension: int | None = None) -> None:
        low, high = _vector(lower, "lower"), _vector(upper, "upper")
        size = max(len(low), len(high), dimension or 1)
        for name, corner in (("lower", low), ("upper", high)):
            if len(corner) not in (1, size) or (dimension and size != dimension):
                raise ValueError(
                    f"{name} must hold {dimension or size} numbers, got {len(corner)}; give both "
                    "corners the same length"
                )
        self.lower, self.upper = np.broadcast_to(low, size), np.broadcast_to(high, size)
        if np.any(self.upper <= self.lower):
            raise ValueError(
                f"upper must exceed lower in every coordinate, got lower={self.lower.tolist()}, "
                f"upper={self.upper.tolist()}"
            )
        self.dimension = size

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners."""
        return self.lower, self.upper

    def interior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform in the box."""
        return rng.uniform(self.lower, self.upper, (n, self.dimension))

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform on the surface: every pair of faces by its area."""
        X = self.interior(n, rng)
        sides = self.upper - self.lower
        # The area of a face is the volume divided by the side across.
        face = rng.choice(self.dimension, n, p=(1 / sides) / np.sum(1 / sides))
        rows = np.arange(n)
        X[rows, face] = np.where(rng.integers(0, 2, n), self.upper[face], self.lower[face])
        return X

    @property
    def surface(self) -> float:
        """Area of the surface; 2, the number of end points, for an interval."""
        sides = self.upper - self.lower
        return float(2 * np.prod(sides) * np.sum(1 / sides))

    @property
    def volume(self) -> float:
        """Volume of the box."""
        return float(np.prod(self.upper - self.lower))


class Ball:
    """A ball in any number of dimensions.

    Parameters
    ----------
    centre : array-like, shape (d,)
        Centre.
    radius : float
        Radius.
    """

    def __init__(self, centre: Any, radius: float = 1.0) -> None:
        self.centre = _vector(centre, "centre")
        self.radius = check_number(radius, "radius", 0.0, exclusive=True)
        self.dimension = len(self.centre)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the box around the ball."""
        return self.centre - self.radius, self.centre + self.radius

    def interior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform in the ball."""
        share = rng.uniform(size=(n, 1)) ** (1 / self.dimension)
        return self.centre + share * (self.boundary(n, rng) - self.centre)

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform on the sphere."""
        V = rng.standard_normal((n, self.dimension))
        return self.centre + self.radius * V / np.linalg.norm(V, axis=1, keepdims=True)

    @property
    def surface(self) -> float:
        """Area of the sphere."""
        return self.dimension * self.volume / self.radius

    @property
    def volume(self) -> float:
        """Volume of the ball, by the recursion over two dimensions."""
        volume = 1.0 if self.dimension % 2 == 0 else 2.0
        for d in range(2 + self.dimension % 2, self.dimension + 1, 2):
            volume *= 2 * np.pi / d
        return volume * self.radius**self.dimension


class SpaceTime:
    """A space domain times an interval of time, which is the last coordinate.

    Its boundary, where values are given, is the initial slice and the walls, not the final slice.

    Parameters
    ----------
    space : Box or Ball
        Space domain.
    start, end : float
        Interval of time.
    """

    def __init__(self, space: Box | Ball, start: float = 0.0, end: float = 1.0) -> None:
        self.space = space
        self.start = check_number(start, "start")
        self.end = check_number(end, "end", self.start)
        if self.end <= self.start:
            raise ValueError(f"end must exceed start, got start={start}, end={end}")
        self.dimension = space.dimension + 1

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the box around the cylinder."""
        low, high = self.space.bounds()
        return np.append(low, self.start), np.append(high, self.end)

    def interior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform in the cylinder."""
        X = self.space.interior(n, rng)
        return np.column_stack([X, rng.uniform(self.start, self.end, n)])

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the initial slice and on the walls, by their areas."""
        walls = self.space.surface * (self.end - self.start)
        share = self.space.volume / (self.space.volume + walls)
        # At least one of each, or the problem would not be well posed.
        first = int(np.clip(round(share * n), min(1, n), max(n - 1, 0)))
        initial = np.column_stack(
            [self.space.interior(first, rng), np.full(first, self.start, float)]
        )
        sides = self.space.boundary(n - first, rng)
        times = rng.uniform(self.start, self.end, n - first)
        return np.vstack([initial, np.column_stack([sides, times])])


class Points:
    """Points that the user brings along, for any geometry.

    Parameters
    ----------
    interior, boundary : array-like, shape (n, d) and (n_b, d)
        Points inside, and points where boundary values are given (may be None with a lift).
    """

    def __init__(self, interior: Any, boundary: Any = None) -> None:
        self.inside = check_inputs(interior, name="interior", dtype=np.float64)
        self.dimension = self.inside.shape[1]
        self.edge = np.empty((0, self.dimension))
        if boundary is not None:
            self.edge = check_inputs(boundary, name="boundary", dtype=np.float64)
        if self.edge.shape[1] != self.dimension:
            raise ValueError(
                f"boundary must have {self.dimension} columns as interior has, got "
                f"{self.edge.shape[1]}"
            )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners of the box around all points."""
        both = np.vstack([self.inside, self.edge])
        return both.min(axis=0), both.max(axis=0)

    def interior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n of the points inside in their order, all of them when there are fewer."""
        return _subset(self.inside, n, rng)

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n of the boundary points in their order, all of them when there are fewer."""
        return _subset(self.edge, n, rng)


def _subset(X: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    if n >= len(X):
        return X.copy()
    return X[np.sort(rng.choice(len(X), n, replace=False))]


def _vector(value: Any, name: str) -> np.ndarray:
    """Return a corner or a centre as a finite float vector."""
    try:
        array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number or a list of numbers, got {value!r}") from None
    if array.ndim != 1 or not len(array) or not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be a vector of finite numbers, got {value!r}")
    return array
