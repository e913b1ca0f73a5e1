"""Which side of a moving interface is a point on?  The Allen-Cahn equation, solved on the spot.

    u_t = eps^2 lap u - (u^3 - u)   on the square (-1, 1)^2, periodic.

Space: Fourier series; the cube is taken at the nodes of the grid.  Time: the exponential
Runge-Kutta method of second order (ETDRK2) for ``u_t = L u + N(u)``, ``L = eps^2 lap - s`` and
``N(u) = (1 + s) u - u^3``.  The shift s = 2, the largest slope of u^3 - u on [-1, 1], keeps the
energy from rising whatever the step.

A function on the grid is an array ``u[i, j] = u(-1 + 2 i / n, -1 + 2 j / n)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from ..validation import check_generator, check_inputs, check_integer, check_number

__all__ = [
    "INTERFACE_TIMES",
    "InterfaceSlice",
    "initial_interface",
    "interpolate_periodic",
    "make_interface",
    "solve_allen_cahn",
]

#: Default of eps; a flat interface has the profile ``tanh(x / (sqrt(2) EPS))``.
EPS = 0.05
SHIFT = 2.0
#: Times of the four slices: 22.9, 22.5, 20.7 and 13.6 % of the square have u > 0.
INTERFACE_TIMES = (0.5, 2.0, 6.0, 24.0)
#: Default grid and time step of `make_interface`.
GRID, STEP = 128, 0.02

# The initial interface is where a sum of bumps exp(sharpness (cos pi dx + cos pi dy - 2)) has the
# value LEVEL: a flower of five petals around a core, and a droplet of its own.
CENTRE, CORE_SHARPNESS = (0.08, 0.05), 6.0
PETALS, PETAL_RADIUS, PETAL_ANGLE, PETAL_SHARPNESS = 5, 0.48, 0.3, 5.0
DROPLET, DROPLET_HEIGHT, DROPLET_SHARPNESS = (-0.75, 0.75), 0.95, 14.0
LEVEL, WIDTH = 0.41, 0.15

Forcing = Callable[[float], np.ndarray]


class InterfaceSlice(NamedTuple):
    """The interface at one time: points with labels, and the solution on the grid."""

    time: float
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    u: np.ndarray


def make_interface(
    n_train: int = 3000,
    n_test: int = 1000,
    times: Sequence[float] = INTERFACE_TIMES,
    random_state: int | np.random.Generator | None = None,
    *,
    n_grid: int = GRID,
    step: float = STEP,
) -> list[InterfaceSlice]:
    """Draw points in a square, labelled by the sign of a solution of the Allen-Cahn equation.

    The interface starts as a flower of five petals and a droplet.  The droplet vanishes, the
    petals flatten, and what is left shrinks as a disk: later slices are easier.  With the default
    grid and step fewer than one point in ten thousand has a label that finer ones would change.

    Parameters
    ----------
    n_train, n_test : int, default 3000 and 1000
        Numbers of points, the same ones for every time.
    times : sequence of float
        Times of the slices, not negative, in rising order.
    random_state : int, numpy.random.Generator or None
        Source of randomness of the points.
    n_grid : int, default 128
        Nodes of the grid along each side, even.
    step : float, default 0.02
        Largest time step.

    Returns
    -------
    list of InterfaceSlice
        One tuple ``(time, X_train, y_train, X_test, y_test, u)`` per time: points uniform in
        (-1, 1)^2, labels int64, 1 where u > 0; and u on the grid, shape (n_grid, n_grid).

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    """
    check_integer(n_train, "n_train", minimum=1)
    check_integer(n_test, "n_test", minimum=1)
    rng = check_generator(random_state)
    X_train = rng.uniform(-1.0, 1.0, (n_train, 2))
    X_test = rng.uniform(-1.0, 1.0, (n_test, 2))
    fields = solve_allen_cahn(initial_interface(n_grid), times, step=step)

    def labels(u: np.ndarray, X: np.ndarray) -> np.ndarray:
        return (interpolate_periodic(u, X) > 0.0).astype(np.int64)

    return [
        InterfaceSlice(float(t), X_train, labels(u, X_train), X_test, labels(u, X_test), u)
        for t, u in zip(times, fields, strict=True)
    ]


def initial_interface(n_grid: int = GRID) -> np.ndarray:
    """Return the initial value of `make_interface` on a grid: ``tanh((bumps - 0.41) / 0.15)``."""
    check_integer(n_grid, "n_grid", minimum=2)
    x = nodes(n_grid)

    def bump(at: tuple[float, float], sharpness: float) -> np.ndarray:
        along = [np.exp(sharpness * (np.cos(np.pi * (x - a)) - 1.0)) for a in at]
        return np.multiply.outer(*along)

    total = bump(CENTRE, CORE_SHARPNESS) + DROPLET_HEIGHT * bump(DROPLET, DROPLET_SHARPNESS)
    for angle in PETAL_ANGLE + 2.0 * np.pi / PETALS * np.arange(PETALS):
        at = (
            CENTRE[0] + PETAL_RADIUS * math.cos(angle),
            CENTRE[1] + PETAL_RADIUS * math.sin(angle),
        )
        total += bump(at, PETAL_SHARPNESS)
    return np.tanh((total - LEVEL) / WIDTH)


def nodes(n: int) -> np.ndarray:
    """Return the coordinates of the grid along one side."""
    return -1.0 + 2.0 / n * np.arange(n)


# --- the equation ------------------------------------------------------------------------------


def solve_allen_cahn(
    u0: np.ndarray,
    times: Sequence[float],
    *,
    eps: float = EPS,
    step: float = STEP,
    forcing: Forcing | None = None,
) -> list[np.ndarray]:
    """Solve the periodic Allen-Cahn equation and return u at the times asked for.

    Parameters
    ----------
    u0 : array-like, shape (n, n)
        Initial value at t = 0 on the grid, n even.
    times : sequence of float
        Not negative, in rising order.
    eps : float, default 0.05
        Width parameter of the interface.
    step : float, default 0.02
        Largest time step; between two times all steps are equal.
    forcing : callable, optional
        ``forcing(t)`` on the grid is added to u_t.

    Returns
    -------
    list of ndarray, shape (n, n)
        u at each of the times.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Notes
    -----
    Four real fast Fourier transforms a step.  The error is of second order in the step, and falls
    faster than any power of n once the grid resolves the interface (2/n well below eps).

    References
    ----------
    Cox and Matthews, Exponential time differencing for stiff systems, J. Comput. Phys. 176
    (2002), 430-455.
    """
    u = _check_grid(u0)
    times = _check_times(times)
    check_number(eps, "eps", 0.0)
    check_number(step, "step", 0.0, exclusive=True)
    symbol = -(eps**2) * _square_of_wave_numbers(len(u)) - SHIFT
    fields, t = [], 0.0
    for end in times:
        n_steps = math.ceil((end - t) / step * (1.0 - 1e-12))
        if n_steps:
            u = _advance(u, t, (end - t) / n_steps, n_steps, symbol, forcing)
        fields.append(u.copy())
        t = end
    return fields


def _advance(
    u: np.ndarray,
    start: float,
    h: float,
    n_steps: int,
    symbol: np.ndarray,
    forcing: Forcing | None,
) -> np.ndarray:
    """Take equal steps of ETDRK2.

    a     = exp(hL) u + h phi_1(hL) N(u, t)
    u_new = a + h phi_2(hL) (N(a, t + h) - N(u, t))
    """

    def N(u: np.ndarray, t: float) -> np.ndarray:
        value = (1.0 + SHIFT - u * u) * u
        if forcing is not None:
            value += forcing(t)
        spectrum: np.ndarray = scipy.fft.rfft2(value)
        return spectrum

    growth, weight_1, weight_2 = np.exp(h * symbol), h * phi(1, h * symbol), h * phi(2, h * symbol)
    U = scipy.fft.rfft2(u)
    for k in range(n_steps):
        t = start + k * h
        N_u = N(u, t)
        A = growth * U + weight_1 * N_u
        N_a = N(scipy.fft.irfft2(A, s=u.shape), t + h)
        U = A + weight_2 * (N_a - N_u)
        u = scipy.fft.irfft2(U, s=u.shape)
    return u


def phi(order: int, z: np.ndarray) -> np.ndarray:
    """Return phi_1(z) = (e^z - 1)/z or phi_2(z) = (e^z - 1 - z)/z^2, also next to zero.

    Where the quotient would cancel, the series ``sum_m z^m / (m + order)!`` takes its place.
    """
    near = np.abs(z) < 0.5
    far = np.where(near, 1.0, z)
    quotient = np.expm1(far) / far if order == 1 else (np.expm1(far) - far) / far**2
    small = np.where(near, z, 0.0)
    series = np.zeros_like(small)
    for m in range(13, -1, -1):
        series = series * small + 1.0 / math.factorial(m + order)
    return np.where(near, series, quotient)


def _wave_numbers(n: int) -> np.ndarray:
    return np.pi * scipy.fft.fftfreq(n, 1.0 / n)


def _square_of_wave_numbers(n: int) -> np.ndarray:
    """Return |k|^2 for the coefficients of a real transform."""
    return np.add.outer(_wave_numbers(n) ** 2, _wave_numbers(n)[: n // 2 + 1] ** 2)


# --- points ------------------------------------------------------------------------------------


def interpolate_periodic(u: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Evaluate the trigonometric interpolant of a function on the grid.

    Exact for what the grid resolves, so for the solution of the discrete equation it adds no
    error.  The cost is that of a matrix product with 2 n rows for n nodes along a side, per point.

    Parameters
    ----------
    u : ndarray, shape (n, n)
        Values on the grid.
    X : array-like, shape (m, 2)
        Points, anywhere: u has period 2.

    Returns
    -------
    ndarray, shape (m,)
        Values at the points.
    """
    u = _check_grid(u)
    X = check_inputs(X, n_features=2, dtype=np.float64)
    n = len(u)
    U = scipy.fft.fft2(u, norm="forward")
    first, second = (_waves(X[:, axis], n) for axis in (0, 1))
    values: np.ndarray = np.einsum("mi,mi->m", first @ U, second).real
    return values


def _waves(x: np.ndarray, n: int) -> np.ndarray:
    """Return the basis functions at the coordinates: exponentials, a cosine for the last one."""
    waves: np.ndarray = np.exp(1j * np.multiply.outer(x + 1.0, _wave_numbers(n)))
    waves[:, n // 2] = waves[:, n // 2].real
    return waves


# --- checks ------------------------------------------------------------------------------------


def _check_grid(u: Any) -> np.ndarray:
    u = check_inputs(u, dtype=np.float64, name="u")
    if u.shape[0] != u.shape[1] or len(u) % 2:
        raise ValueError(
            f"u must have as many rows as columns, an even number of them, got {u.shape}"
        )
    return u


def _check_times(times: Sequence[float]) -> list[float]:
    found = [check_number(t, "times", 0.0) for t in times]
    if not found or any(b <= a for a, b in itertools.pairwise(found)):
        raise ValueError(f"times must be rising numbers, at least one, got {tuple(times)}")
    return found
