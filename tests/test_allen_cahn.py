"""The Allen-Cahn interface: orders of convergence, exact solutions, energy, points and labels."""

import itertools
import math

import numpy as np
import pytest

from lysep_fast.datasets import allen_cahn, make_interface
from lysep_fast.datasets.allen_cahn import (
    INTERFACE_TIMES,
    initial_interface,
    interpolate_periodic,
    nodes,
    phi,
    solve_allen_cahn,
)


def energy_of(u, eps=allen_cahn.EPS):
    """Return ``integral of eps^2/2 |grad u|^2 + (u^2 - 1)^2/4``, which no solution increases."""
    k = allen_cahn._wave_numbers(len(u)) ** 2
    gradient = np.sum(np.add.outer(k, k) * np.abs(np.fft.fft2(u, norm="forward")) ** 2)
    return 4.0 * (0.5 * eps**2 * gradient + np.mean(0.25 * (u * u - 1.0) ** 2))


def grid(n):
    return np.meshgrid(nodes(n), nodes(n), indexing="ij")


def wave(n, t=0.0):
    """Return the manufactured solution: smooth, periodic, no eigenfunction of anything."""
    x, y = grid(n)
    return 0.8 * math.cos(t) * np.sin(np.pi * x) * np.cos(2 * np.pi * y) + 0.3 * math.sin(2 * t)


def wave_forcing(n, eps):
    """Return what has to be added to u_t so that `wave` is the solution."""
    x, y = grid(n)
    shape = np.sin(np.pi * x) * np.cos(2 * np.pi * y)

    def forcing(t):
        u = wave(n, t)
        u_t = -0.8 * math.sin(t) * shape + 0.6 * math.cos(2 * t)
        laplacian = -5 * np.pi**2 * 0.8 * math.cos(t) * shape
        return u_t - eps**2 * laplacian + u**3 - u

    return forcing


def orders(solve, exact, steps):
    """Return the orders of convergence between successive steps, each half of the last one."""
    errors = [np.max(np.abs(solve(step) - exact)) for step in steps]
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


# --- the solver --------------------------------------------------------------------------------


def manufactured(step, n=16, eps=0.2, end=0.8):
    (u,) = solve_allen_cahn(wave(n), [end], eps=eps, step=step, forcing=wave_forcing(n, eps))
    return u


def test_the_manufactured_solution_is_reached_with_order_two():
    found = orders(manufactured, wave(16, 0.8), (0.04, 0.02, 0.01, 0.005))
    assert found == pytest.approx([2.0] * 3, abs=0.1)


def test_the_check_of_the_order_sees_a_method_of_first_order(monkeypatch):
    monkeypatch.setattr(allen_cahn, "phi", lambda order, z: phi(1, z) * (order == 1))
    found = orders(manufactured, wave(16, 0.8), (0.04, 0.02, 0.01, 0.005))
    assert found == pytest.approx([1.0] * 3, abs=0.1)


def test_the_interface_converges_with_order_two():
    def solve(step):
        return solve_allen_cahn(initial_interface(32), [1.0], step=step)[0]

    found = orders(solve, solve(1 / 640), (0.1, 0.05, 0.025))
    assert found == pytest.approx([2.0] * 2, abs=0.15)


def test_the_error_in_space_falls_faster_than_any_power():
    (exact,) = solve_allen_cahn(initial_interface(128), [0.5], step=0.1)
    errors = []
    for n in (16, 32, 64):
        (u,) = solve_allen_cahn(initial_interface(n), [0.5], step=0.1)
        errors.append(np.max(np.abs(u - exact[:: 128 // n, :: 128 // n])))
    first, second = (math.log2(a / b) for a, b in itertools.pairwise(errors))
    assert second > first + 1
    assert second > 3
    assert errors[-1] < 5e-3


@pytest.mark.parametrize("u0", [0.0, 1.0, -1.0, 0.3, -1.4])
def test_constant_states_follow_their_equation(u0):
    # u' = u - u^3 has the solution sign(u0) / sqrt(1 + (1/u0^2 - 1) e^(-2t)).
    exact = math.copysign(1 / math.sqrt(1 + (1 / u0**2 - 1) * math.exp(-3.0)), u0) if u0 else 0.0
    (u,) = solve_allen_cahn(np.full((4, 4), u0), [1.5], step=0.005)
    np.testing.assert_allclose(u, exact, atol=2e-5)
    assert np.ptp(u) < 1e-14


def test_a_flat_interface_stands_still():
    # Far enough apart two profiles tanh(x / (sqrt(2) eps)) are a periodic equilibrium.
    x, _ = grid(128)
    profile = np.tanh((0.5 - np.abs(x)) / (math.sqrt(2.0) * 0.05))
    (u,) = solve_allen_cahn(profile, [5.0], step=0.05)
    np.testing.assert_allclose(u, profile, atol=1e-4)


def test_a_disk_shrinks_as_its_curvature_demands():
    # The area inside falls by 2 pi eps^2 per unit of time while the disk is much larger than eps.
    u = solve_allen_cahn(initial_interface(64), [10.0, 20.0], step=0.1)
    lost = 4.0 * (np.mean(u[0] > 0) - np.mean(u[1] > 0))
    assert lost == pytest.approx(2 * math.pi * 0.05**2 * 10, rel=0.05)


@pytest.mark.parametrize("step", [0.02, 0.5, 5.0])
def test_the_energy_never_rises_whatever_the_step(step):
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (32, 32))
    energies = [energy_of(u)]
    for _ in range(8):
        (u,) = solve_allen_cahn(u, [step], step=step)
        energies.append(energy_of(u))
    assert np.all(np.diff(energies) <= 0)
    assert 0.5 < np.max(np.abs(u)) < 1.01


def test_energy_of_a_known_function():
    # u = a cos(pi x): integral of u_x^2 is 2 pi^2 a^2, that of (u^2 - 1)^2 is
    # 4 (3/8 a^4 - a^2 + 1).
    x, _ = grid(16)
    energy = energy_of(0.7 * np.cos(np.pi * x), eps=0.3)
    a2 = 0.49
    expected = 0.5 * 0.09 * 2 * np.pi**2 * a2 + (3 / 8 * a2**2 - a2 + 1)
    assert energy == pytest.approx(expected, rel=1e-12)


def test_symmetries_are_kept():
    u0 = initial_interface(32)
    (u,) = solve_allen_cahn(u0, [1.0], step=0.1)
    for turn in (
        lambda v: -v,
        lambda v: v.T,
        lambda v: np.roll(v, (3, 7), axis=(0, 1)),
        lambda v: np.roll(v[::-1], 1, axis=0),
    ):
        (turned,) = solve_allen_cahn(turn(u0), [1.0], step=0.1)
        np.testing.assert_allclose(turned, turn(u), atol=1e-12)


def test_times_in_between_change_nothing_and_zero_is_the_start():
    u0 = initial_interface(16)
    start, _, end = solve_allen_cahn(u0, [0.0, 0.4, 1.0], step=0.1)
    np.testing.assert_array_equal(start, u0)
    np.testing.assert_allclose(end, solve_allen_cahn(u0, [1.0], step=0.1)[0], atol=1e-13)


def test_phi_next_to_zero_and_far_away():
    z = -np.array([1e-12, 1e-6, 1e-3, 0.1, 0.4999, 0.5, 3.0])
    exact = [math.fsum(v**m / math.factorial(m + 2) for m in range(40)) for v in z]
    np.testing.assert_allclose(phi(2, z), exact, rtol=1e-12)
    np.testing.assert_allclose(phi(1, z), np.expm1(z) / z, rtol=1e-13)
    assert phi(1, np.zeros(1)) == 1.0
    assert phi(2, np.zeros(1)) == 0.5


# --- points ------------------------------------------------------------------------------------


def test_interpolation_is_exact_for_what_the_grid_resolves():
    def f(x, y):
        return 0.3 + np.sin(3 * np.pi * x) * np.cos(2 * np.pi * y) - np.cos(np.pi * (x + y) + 0.4)

    X = np.random.default_rng(0).uniform(-3, 3, (50, 2))
    np.testing.assert_allclose(interpolate_periodic(f(*grid(8)), X), f(*X.T), atol=1e-12)


def test_interpolation_returns_the_values_at_the_nodes():
    u = np.random.default_rng(0).standard_normal((6, 6))
    X = np.stack(grid(6), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(interpolate_periodic(u, X), u.ravel(), atol=1e-12)


def test_the_interpolant_of_the_solution_is_that_of_a_finer_grid():
    X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    coarse, fine = (
        interpolate_periodic(solve_allen_cahn(initial_interface(n), [0.5], step=0.1)[0], X)
        for n in (96, 192)
    )
    np.testing.assert_allclose(coarse, fine, atol=2e-4)


def test_the_data_set_is_what_it_says():
    slices = make_interface(3000, 200, random_state=0, n_grid=64, step=0.1)
    assert tuple(s.time for s in slices) == INTERFACE_TIMES
    for s in slices:
        assert s.X_train.shape == (3000, 2)
        assert s.X_test.shape == (200, 2)
        assert s.y_train.dtype == s.y_test.dtype == np.int64
        assert np.all(np.abs(s.X_train) < 1)
        np.testing.assert_array_equal(s.X_train, slices[0].X_train)
        np.testing.assert_array_equal(s.y_train, interpolate_periodic(s.u, s.X_train) > 0)
        assert np.mean(s.y_train) == pytest.approx(np.mean(s.u > 0), abs=0.02)
    shares = [np.mean(s.u > 0) for s in slices]
    assert shares == pytest.approx([0.229, 0.225, 0.207, 0.136], abs=3e-3)


def components(inside):
    """Count the parts of a set of grid cells that share sides, across the border too."""
    label = np.where(inside, np.arange(inside.size).reshape(inside.shape), -1)
    while True:
        spread = label
        for axis, shift in itertools.product((0, 1), (-1, 1)):
            spread = np.maximum(spread, np.roll(spread, shift, axis=axis))
        spread = np.where(inside, spread, -1)
        if np.array_equal(spread, label):
            return len(np.unique(label)) - 1
        label = spread


def test_the_interface_becomes_simpler():
    u = solve_allen_cahn(initial_interface(64), INTERFACE_TIMES, step=0.1)
    assert [components(v > 0) for v in u] == [2, 1, 1, 1]
    energies = [energy_of(v) for v in u]
    assert np.all(np.diff(energies) < 0)
    # Length of the interface against that of a disk of the same area: 1 at the end.
    tension = 2.0 * math.sqrt(2.0) / 3.0 * 0.05
    ratios = [e / tension / (2 * math.sqrt(math.pi * 4 * np.mean(v > 0))) for e, v in
              zip(energies, u, strict=True)]  # fmt: skip
    assert ratios[0] > 1.5
    assert ratios[-1] == pytest.approx(1.0, abs=0.03)


def test_same_seed_same_points():
    settings = {"times": [0.1], "n_grid": 16, "step": 0.1}
    a, b, c = (make_interface(20, 10, random_state=seed, **settings)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.X_train, b.X_train)
    np.testing.assert_array_equal(a.y_test, b.y_test)
    assert not np.array_equal(a.X_train, c.X_train)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_train": 0}, ValueError, "n_train.*0"),
        ({"n_test": 1.5}, TypeError, "n_test.*1.5"),
        ({"times": []}, ValueError, "times"),
        ({"times": [1.0, 1.0]}, ValueError, "times.*rising"),
        ({"times": [-1.0]}, ValueError, "times.*-1"),
        ({"times": [math.nan]}, ValueError, "times"),
        ({"step": 0.0}, ValueError, "step"),
        ({"n_grid": 15}, ValueError, "even"),
        ({"random_state": "0"}, TypeError, "random_state.*'0'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    settings = {"n_train": 5, "n_test": 5, "times": [0.1], "n_grid": 16, "step": 0.1}
    with pytest.raises(error, match=message):
        make_interface(**{**settings, **arguments})


def test_a_function_on_no_square_grid_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 6\)"):
        solve_allen_cahn(np.zeros((4, 6)), [1.0])
    with pytest.raises(ValueError, match="u"):
        interpolate_periodic(np.full((4, 4), np.nan), [[0.0, 0.0]])
