"""Where an equation holds: boxes, balls, space-time cylinders and the user's own points.

Every domain draws interior and boundary points from a `numpy.random.Generator` and knows a box
around itself, by which the initial weights are scaled.  Points are scrambled Sobol points, which
leave smaller holes than independent ones: the residual between the points follows that on them
more closely.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.special

from ..validation import check_inputs, check_number

__all__ = ["Ball", "Box", "Domain", "Points", "SpaceTime", "box_for_weights"]

# Binary digits of a Sobol coordinate.
_BITS = 30


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
        return self.inside(_sobol(n, self.n_inside, rng))

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform on the surface: every face by its area."""
        return self.outside(_sobol(n, self.dimension, rng))

    @property
    def n_inside(self) -> int:
        """Number of coordinates that `inside` takes."""
        return self.dimension

    def inside(self, U: np.ndarray) -> np.ndarray:
        """Map points of the unit cube into the box, uniformly."""
        return self.lower + (self.upper - self.lower) * U

    def outside(self, U: np.ndarray) -> np.ndarray:
        """Map points of the unit cube, shape (n, d), to the surface, uniformly."""
        # The area of a face is the volume divided by the side across.
        shares = np.repeat(1 / (self.upper - self.lower), 2)
        ends = np.cumsum(shares[:-1]) / np.sum(shares)
        across, upper = np.divmod(np.searchsorted(ends, U[:, 0], side="right"), 2)
        rows, others = np.arange(len(U)), np.arange(self.dimension - 1)
        V = np.empty(U.shape)
        V[rows, across] = upper
        V[rows[:, None], others + (others >= across[:, None])] = U[:, 1:]
        # Exactly on the face: lower + (upper - lower) may miss upper by a rounding error.
        return np.where(V == 1.0, self.upper, self.inside(V))

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
        return self.inside(_sobol(n, self.n_inside, rng))

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points uniform on the sphere."""
        return self.outside(_sobol(n, self.dimension, rng))

    @property
    def n_inside(self) -> int:
        """Number of coordinates that `inside` takes: a direction and a radius."""
        return self.dimension + 1

    def inside(self, U: np.ndarray) -> np.ndarray:
        """Map points of the unit cube into the ball, uniformly."""
        share = U[:, -1:] ** (1 / self.dimension)
        return self.centre + share * (self.outside(U[:, :-1]) - self.centre)

    def outside(self, U: np.ndarray) -> np.ndarray:
        """Map points of the unit cube, shape (n, d), to the sphere, uniformly."""
        V = scipy.special.ndtri(U)
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
        U = _sobol(n, self.space.n_inside + 1, rng)
        return np.column_stack([self.space.inside(U[:, :-1]), self._times(U)])

    def boundary(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the initial slice and on the walls, by their areas."""
        area = self.space.surface * (self.end - self.start)
        share = self.space.volume / (self.space.volume + area)
        # At least one of each, or the problem would not be well posed.
        first = int(np.clip(round(share * n), min(1, n), max(n - 1, 0)))
        initial = np.column_stack(
            [self.space.interior(first, rng), np.full(first, self.start, float)]
        )
        U = _sobol(n - first, self.dimension, rng)
        walls = np.column_stack([self.space.outside(U[:, :-1]), self._times(U)])
        return np.vstack([initial, walls])

    def _times(self, U: np.ndarray) -> np.ndarray:
        return self.start + (self.end - self.start) * U[:, -1]


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


def box_for_weights(domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the box that the first layer's initial weights take for (-1, 1)^d.

    It is the box around the domain.  In space-time, time runs from the centre of this box to its
    side: the solution unfolds from the initial slice, so that is where the neurons should bend,
    and it is smoother in time than in space.  This lowered the loss and the error of all solvers.
    """
    low, high = domain.bounds()
    if isinstance(domain, SpaceTime):
        low = np.append(low[:-1], 2.0 * domain.start - domain.end)
    return low, high


def _sobol(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Return n scrambled Sobol points of the open unit cube, shape (n, d)."""
    # scipy.stats takes long to import, and most users of the package do not need it.
    from scipy.stats import qmc

    digits = max(n - 1, 0).bit_length()
    # A number, since SciPy would take a generator's seed and not the state it is in.
    seed = int(rng.integers(2**31))
    points = qmc.Sobol(d, bits=_BITS, seed=seed).random_base2(digits)[:n]
    # The centres of the cells: never 0, where a normal quantile is infinite.
    return np.asarray(points + 0.5 ** (_BITS + 1), dtype=np.float64)


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
