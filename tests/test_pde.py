"""Stating a differential equation: domains, functions, operators, lifts, and the front door."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast.linalg.line_search import weak_wolfe
from lysep_fast.losses.pde_residual import PdeResidual
from lysep_fast.pde import (
    Ball,
    Box,
    Function,
    Operator,
    PdeStatus,
    Points,
    Problem,
    Solution,
    SpaceTime,
    solve,
)
from lysep_fast.pde.domains import box_for_weights

RNG = np.random.default_rng
BOX = Box(-1, 1, 2)


def sines(X):
    return np.sin(X[:, 0]) * np.cos(2 * X[:, 1])


def sines_gradient(X):
    x, y = X.T
    return np.column_stack([np.cos(x) * np.cos(2 * y), -2 * np.sin(x) * np.sin(2 * y)])


def sines_hessian(X):
    x, y = X.T
    mixed = -2 * np.cos(x) * np.sin(2 * y)
    rows = [[-np.sin(x) * np.cos(2 * y), mixed], [mixed, -4 * np.sin(x) * np.cos(2 * y)]]
    return np.array(rows).transpose(2, 0, 1)


# --- domains -----------------------------------------------------------------------------------


def test_box_points_are_where_they_should_be():
    box = Box([-1, 0], [1, 4])
    X, E = box.interior(500, RNG(0)), box.boundary(4000, RNG(1))
    low, high = box.bounds()
    assert np.all((low <= X) & (high >= X))
    assert np.all((low <= E) & (high >= E))
    on = (low == E) | (high == E)
    assert np.all(on.sum(axis=1) == 1)
    # The faces across the first coordinate are 4 long each, the others 2: shares 2/3 and 1/3.
    assert abs(on[:, 0].mean() - 2 / 3) < 0.03
    assert (box.surface, box.volume) == (12.0, 8.0)
    assert Box(0, 1).surface == 2.0
    assert Box(0, 1, 3).dimension == 3


@pytest.mark.parametrize(
    ("d", "volume"), [(1, 2.0), (2, np.pi), (3, 4 * np.pi / 3), (4, np.pi**2 / 2)]
)
def test_ball_points_are_where_they_should_be(d, volume):
    centre = np.arange(d) + 1.0
    ball = Ball(centre, 2.0)
    r = np.linalg.norm(ball.interior(3000, RNG(0)) - centre, axis=1)
    assert r.max() <= 2.0
    assert abs(np.mean((r / 2) ** d) - 0.5) < 0.03  # uniform in volume
    edge = np.linalg.norm(ball.boundary(50, RNG(1)) - centre, axis=1)
    np.testing.assert_allclose(edge, 2.0)
    np.testing.assert_allclose(ball.volume, volume * 2**d)
    np.testing.assert_allclose(ball.surface, d * volume * 2 ** (d - 1))
    np.testing.assert_allclose(ball.bounds()[1], centre + 2)


def test_space_time_gives_values_at_the_start_and_on_the_walls():
    domain = SpaceTime(Box(-1, 1, 2), 1.0, 3.0)
    assert domain.dimension == 3
    X, E = domain.interior(200, RNG(0)), domain.boundary(300, RNG(1))
    assert np.all((X[:, 2] > 1.0) & (X[:, 2] < 3.0))
    first = E[:, 2] == 1.0
    # Slice 4, walls 8 * 2 = 16.
    assert first.sum() == 60
    assert np.all(np.any(np.abs(E[~first, :2]) == 1.0, axis=1))
    np.testing.assert_array_equal(domain.bounds()[0], [-1, -1, 1])


@pytest.mark.parametrize(
    ("domain", "measure"),
    [
        (Box(-1, 1, 3), lambda X: X[:, 0] ** 2),
        (Ball([0, 0], 1.0), lambda X: X[:, 0] ** 2 + X[:, 1]),
        (SpaceTime(Box(-1, 1, 2)), lambda X: X[:, 0] ** 2 + X[:, 2]),
    ],
)
@pytest.mark.parametrize("where", ["interior", "boundary"])
def test_points_fill_the_domain_more_evenly_than_independent_ones(domain, measure, where):
    means = [measure(getattr(domain, where)(256, RNG(seed))).mean() for seed in range(20)]
    spread = measure(getattr(domain, where)(4096, RNG(99))).std() / 256**0.5
    assert 0.0 < np.std(means) < 0.5 * spread


def test_points_differ_from_seed_to_seed_and_are_drawn_at_any_number():
    for n in (0, 1, 2, 5, 100):
        assert BOX.interior(n, RNG(0)).shape == (n, 2)
    assert len(np.unique(BOX.interior(500, RNG(0)), axis=0)) == 500
    assert np.all(BOX.interior(5, RNG(0)) != BOX.interior(5, RNG(1)))
    np.testing.assert_array_equal(BOX.interior(5, RNG(0)), BOX.interior(5, RNG(0)))
    assert np.all(np.isfinite(Ball([0.0]).interior(4096, RNG(0))))


def test_initial_weights_take_the_initial_slice_for_the_centre_of_time():
    low, high = box_for_weights(SpaceTime(Box(-1, 1), 1.0, 3.0))
    np.testing.assert_array_equal([low, high], [[-1, -1], [1, 3]])
    low, high = box_for_weights(Ball([1.0, 2.0], 0.5))
    np.testing.assert_array_equal([low, high], [[0.5, 1.5], [1.5, 2.5]])


@pytest.mark.parametrize(
    ("solver", "d", "scale"),
    [
        ("variable-projection", 2, 0.6),
        ("variable-projection", 4, 0.35),
        ("variable-projection", 10, 0.1),
        ("nesterov", 10, 0.3),
    ],
)
def test_first_weights_have_the_size_of_the_solver(solver, d, scale):
    problem = Problem(Box(-1, 1, d), Operator(-1.0), 1.0, 0.0)
    made = solve(problem, 200, solver=solver, max_iter=0, random_state=0, n_threads=1)
    assert 0.95 * scale < np.abs(made.hidden.W[1]).max() < scale * (1 + 1e-12)


def test_own_points_are_taken_as_they_are_or_as_a_subset():
    inside, edge = RNG(0).normal(size=(30, 2)), RNG(1).normal(size=(6, 2))
    points = Points(inside, edge)
    np.testing.assert_array_equal(points.interior(99, RNG(2)), inside)
    some = points.interior(7, RNG(2))
    assert len(some) == 7
    assert {tuple(row) for row in some} <= {tuple(row) for row in inside}
    np.testing.assert_array_equal(points.boundary(6, RNG(2)), edge)
    assert Points(inside).boundary(3, RNG(0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1, 0), "upper must exceed lower"),
        (lambda: Box([0, 0], [1, 1, 1]), "lower must hold 3 numbers, got 2"),
        (lambda: Box("a", 1), "lower must be a number"),
        (lambda: Box(np.nan, 1), "lower must be a vector of finite numbers"),
        (lambda: Ball([0, 0], 0.0), "radius must be a finite number"),
        (lambda: SpaceTime(Box(0, 1), 1.0, 1.0), "end must exceed start"),
        (lambda: Points(np.zeros((3, 2)), np.zeros((3, 1))), "boundary must have 2 columns"),
    ],
)
def test_domains_refuse_what_makes_no_sense(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


# --- functions ---------------------------------------------------------------------------------


def test_numerical_derivatives_are_accurate():
    X = RNG(0).uniform(-1, 1, (40, 2))
    G, beta = RNG(1).normal(size=(3, 40, 2)), RNG(2).normal(size=(40, 2))
    G[0, 0] = 0.0  # a direction may vanish
    exact = Function(sines, sines_gradient, sines_hessian)
    numerical = Function(sines)
    np.testing.assert_allclose(numerical.gradient(X), exact.gradient(X), atol=1e-12)
    np.testing.assert_allclose(numerical.jet(X, G, beta), exact.jet(X, G, beta), atol=3e-10)
    half = Function(sines, sines_gradient)
    np.testing.assert_allclose(half.jet(X, G, beta), exact.jet(X, G, beta), atol=3e-10)
    constant = Function(2.5).jet(X, G, beta)
    assert np.all(constant[0] == 2.5)
    assert not np.any(constant[1:])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X: X, r"source must have the shape \(n,\), got \(4, 2\) for n=4 points"),
        (lambda X: np.log(X[:, 0] * 0), r"source must be finite, .* at the point \[1.0, 1.0\]"),
        (lambda X: "a", "source must be a number, an array or a function"),
        ([1.0, 2.0], r"source must have the shape \(\), got \(2,\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_functions_are_checked(function, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Function(function, name="source")(np.ones((4, 2)))


def test_a_column_is_taken_for_values():
    np.testing.assert_array_equal(Function(lambda X: X[:, :1])(np.ones((4, 2))), np.ones(4))


# --- operators ---------------------------------------------------------------------------------


def full(X):
    root = np.stack([np.ones((len(X), 2)), X], axis=1)
    return root @ root.transpose(0, 2, 1)


@pytest.mark.parametrize(
    ("diffusion", "sign", "r"),
    [
        (1.0, 1, 2),
        (-2.0, -1, 2),
        (0.0, 1, 0),
        ([-1.0, 0.0], -1, 1),
        ([[2.0, 1.0], [1.0, 3.0]], 1, 2),
        ([[1.0, 1.0], [1.0, 1.0]], 1, 1),
        (lambda X: -1.0 - X[:, 0] ** 2, -1, 2),
        (lambda X: X**2, 1, 2),
        (full, 1, 2),
        (lambda X: -full(X), -1, 2),
    ],
)
def test_directions_factorise_the_matrix(diffusion, sign, r):
    X = RNG(0).uniform(-1, 1, (20, 2))
    at = Operator(diffusion, advection=[1.0, 2.0], reaction=lambda X: X[:, 1]).at(X)
    a = np.asarray(diffusion(X) if callable(diffusion) else diffusion, float)
    if not callable(diffusion):
        a = np.broadcast_to(a, (20, *a.shape))
    if a.ndim < 3:
        a = np.broadcast_to(a.reshape(20, -1), (20, 2))[:, :, None] * np.eye(2)
    assert at.sign == sign
    assert at.G.shape == (r, 20, 2)
    np.testing.assert_allclose(sign * np.einsum("knj,kni->nji", at.G, at.G), a, atol=1e-13)
    np.testing.assert_array_equal(sign * at.beta, np.tile([1.0, 2.0], (20, 1)))
    np.testing.assert_array_equal(at.c, X[:, 1])


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda: Operator([1.0, -1.0]), "semi-definite at all points.*from -1 to 1.*wave"),
        (lambda: Operator(lambda X: X[:, 0]), "semi-definite"),
        (lambda: Operator([[1.0, 1.0], [0.0, 1.0]]), r"symmetric matrix.*\(a \+ a'\) / 2"),
        (lambda: Operator([1.0, 1.0, 1.0]), r"diffusion must have the shape \(\) or \(2,\)"),
        (lambda: Operator(1.0, advection="x"), "advection must be a number"),
        (lambda: Operator(1.0, reaction=[1.0]), "reaction must have the shape"),
        (lambda: Operator(1.0, nonlinearity=np.exp), "nonlinearity must be a pair"),
    ],
)
def test_operators_refuse_what_they_cannot_use(operator, message):
    with pytest.raises((ValueError, TypeError), match=message):
        operator().at(RNG(0).uniform(-1, 1, (20, 2)))


# --- problems ----------------------------------------------------------------------------------

OPERATOR = Operator(
    lambda X: -full(X),
    advection=lambda X: X,
    reaction=lambda X: 1 + X[:, 0] ** 2,
    nonlinearity=(lambda u: u**3, lambda u: 3 * u**2),
)


def bubble(X):
    return np.prod(1 - X**2, axis=1)


def residual(on, operator, v):
    """Return the residual of a function v as the collocation sees it."""
    O = v.jet(on.P[0], on.P[1:-1], on.P[-1])
    return PdeResidual(on.K, on.f, 1.0, operator.nonlinearity, on.lift, on.shift).value(O)


@pytest.mark.parametrize("lift", [None, (bubble, 0.5), (Function(bubble), sines)])
def test_manufactured_problems_have_their_solution(lift):
    v = Function(sines, sines_gradient, sines_hessian)

    def u(X):
        if lift is None:
            return sines(X)
        D, E = (Function.wrap(part, "lift") for part in lift)
        return D(X) * sines(X) + E(X)

    problem = Problem.manufactured(Box(-1, 1, 2), OPERATOR, u, lift=lift)
    X = problem.domain.interior(30, RNG(0))
    np.testing.assert_allclose(residual(problem.equations(X), OPERATOR, v), 0.0, atol=3e-9)
    slope = PdeResidual(
        *(getattr(problem.equations(X), name) for name in ("K", "f", "weight")),
        OPERATOR.nonlinearity,
        *(getattr(problem.equations(X), name) for name in ("lift", "shift")),
    )
    O, dO = RNG(1).normal(size=(2, 4, 30))
    h = 1e-6
    difference = (slope.value(O + h * dO) - slope.value(O - h * dO)) / (2 * h)
    exact = sum(k * dO[ch] for ch, k in slope.slopes(O[0]))
    np.testing.assert_allclose(difference, exact, rtol=1e-7, atol=1e-7)


def test_points_and_weights_of_a_collocation():
    problem = Problem(Box(-1, 1, 2), Operator(-1.0), source=1.0, boundary=sines)
    inside, edge = problem.collocate(20, 8, 100.0, RNG(0))
    assert inside.P.shape == (4, 20, 2)
    assert (inside.weight, edge.weight) == (1 / 20, 100 / 8)
    np.testing.assert_array_equal(inside.K, [[0] * 20, [0] * 20, [0] * 20, [-1] * 20])
    np.testing.assert_array_equal(edge.f, sines(edge.P[0]))
    hard = Problem(Box(-1, 1, 2), Operator(-1.0), 1.0, lift=(bubble, 0.0))
    assert len(hard.collocate(20, 0, 100.0, RNG(0))) == 1


def test_initial_values_count_on_the_initial_slice():
    problem = Problem(
        SpaceTime(Box(0, 1)), Operator([-1.0, 0.0], [0.0, 1.0]), 0.0, boundary=7.0, initial=5.0
    )
    edge = problem.collocate(5, 20, 1.0, RNG(0))[1]
    np.testing.assert_array_equal(edge.f, np.where(edge.P[0][:, 1] == 0.0, 5.0, 7.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BOX, Operator(1.0), 0.0), "either by boundary=g .* or by lift"),
        ((BOX, -1.0, 0.0, 0.0), "operator must be a lysep_fast.pde.Operator, got -1.0"),
        (("box", Operator(1.0), 0.0, 0.0), "domain must be a Box"),
        (((0, 1), Operator(1.0), 0.0, 0.0), "domain must be a Box"),
    ],
)
def test_problems_refuse_what_does_not_fit(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Problem(*arguments)


def test_problems_refuse_contradictions():
    for options in ({"lift": 3.0}, {"boundary": 0.0, "initial": 1.0}):
        with pytest.raises((ValueError, TypeError), match=r"must be a pair|initial goes with"):
            Problem(BOX, Operator(1.0), 0.0, **options)
    with pytest.raises(ValueError, match="no boundary points; raise n_boundary"):
        Problem(Points(np.ones((3, 2))), Operator(1.0), 0.0, 0.0).collocate(3, 3, 1.0, RNG(0))
    with pytest.raises(ValueError, match="X has 3 columns, but the domain has 2"):
        Problem(BOX, Operator(1.0), 0.0, 0.0).equations(np.ones((2, 3)))


# --- the front door ----------------------------------------------------------------------------

POISSON = Problem.manufactured(BOX, Operator(-1.0), sines)
TINY = {"n_interior": 12, "n_boundary": 6, "max_iter": 2, "random_state": 0, "n_threads": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": ()}, "at least one width"),
        ({"activation": "relu"}, "activation='relu' has no jet"),
        ({"solver": "adam"}, "solver must be one of .*'variable-projection'.* got 'adam'"),
        ({"solver": 3}, "solver must be one of"),
        ({"solver_options": {"mu": 1}}, "solver_options has mu=1.*takes history"),
        ({"solver_options": 3}, "solver_options must be a dict"),
        ({"solver_options": {"damping": 1.0}}, "damping must be 'auto', a pair"),
        ({"solver": "random-features", "solver_options": {"scales": 1.0}}, "scales must be a"),
        ({"n_interior": 0}, "n_interior must be at least 1, got 0"),
        ({"n_boundary": 0}, "n_boundary must be at least 1, got 0"),
        ({"boundary_weight": 0.0}, "boundary_weight must be"),
        ({"scale": -1.0}, "scale must be"),
        ({"tol": -1.0}, "tol must be"),
        ({"verbose": -1}, "verbose must be"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be"),
        ({"callback": 3}, "callback must be callable"),
        ({"n_threads": 0}, "n_threads must be at least 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        solve(POISSON, **{**TINY, **options})


def test_the_problem_has_to_be_one():
    with pytest.raises(TypeError, match=r"problem must be a lysep_fast\.pde\.Problem"):
        solve(BOX)


def test_a_callback_stops_and_history_tells():
    rows = []
    solution = solve(POISSON, 3, callback=lambda row: rows.append(row) or len(rows) == 2, **TINY)
    assert solution.status is PdeStatus.CALLBACK
    assert "callback" in solution.message
    assert rows == solution.history
    assert solution.n_iter == 1
    row = rows[0]
    assert row.loss == row.equation + row.boundary == row.separated_loss


def test_it_stops_for_the_stated_reasons(capsys):
    assert solve(POISSON, 3, verbose=1, **TINY).status is PdeStatus.MAX_ITER
    assert "iteration     2  loss" in capsys.readouterr().out
    still = solve(POISSON, 3, tol=0.999999, n_iter_no_change=1, **TINY)
    assert still.status is PdeStatus.CONVERGED
    assert solve(POISSON, 3, solver="random-features", **TINY).status is PdeStatus.SOLVED
    huge = Problem(BOX, Operator(-1.0), 1e300, 0.0)
    with pytest.raises(ValueError, match="before the first iteration: problem has a source"):
        solve(huge, 3, **TINY)


def test_boundary_values_that_are_built_in_hold_exactly():
    problem = Problem.manufactured(
        BOX, Operator(-1.0), lambda X: bubble(X) * sines(X) + X[:, 0],
        lift=(bubble, lambda X: X[:, 0]),
    )  # fmt: skip
    solution = solve(problem, (4, 3), **TINY)
    E = BOX.boundary(20, RNG(0))
    np.testing.assert_allclose(solution.u(E), E[:, 0], atol=1e-13)
    X = BOX.interior(5, RNG(1))
    h = 1e-5
    for j, unit in enumerate(np.eye(2)):
        difference = (solution.u(X + h * unit) - solution.u(X - h * unit)) / (2 * h)
        np.testing.assert_allclose(solution.grad(X)[:, j], difference, atol=1e-7)
    inside = problem.collocate(12, 0, 1.0, RNG(0))[0].P[0]
    np.testing.assert_allclose(np.mean(solution.residual(inside) ** 2), solution.loss, rtol=1e-9)


@pytest.mark.parametrize("lift", [None, (bubble, 0.0)])
def test_saving_and_loading(tmp_path, lift):
    problem = Problem.manufactured(BOX, Operator(-1.0), bubble, lift=lift)
    solution = solve(problem, (4, 3), **TINY)
    path = tmp_path / "solution.npz"
    solution.save(path)
    again = Solution.load(path, problem)
    X = BOX.interior(7, RNG(0))
    np.testing.assert_array_equal(again.u(X), solution.u(X))
    np.testing.assert_array_equal(again(X), solution(X))
    assert again.error(X) == solution.error(X)
    assert (again.status, again.best_iter) == (solution.status, solution.best_iter)
    assert [r.loss for r in again.history] == [r.loss for r in solution.history]
    if lift is None:
        bare = Solution.load(path)
        np.testing.assert_array_equal(bare.grad(X), solution.grad(X))
        with pytest.raises(ValueError, match="residual needs the problem"):
            bare.residual(X)
    else:
        with pytest.raises(ValueError, match="boundary values built in: pass the problem"):
            Solution.load(path)


def test_solutions_check_their_points():
    solution = solve(Problem(BOX, Operator(-1.0), 1.0, 0.0), 3, **TINY)
    with pytest.raises(ValueError, match="X has 3 columns, but the solution depends on 2"):
        solution.u(np.ones((2, 3)))
    with pytest.raises(ValueError, match="no exact solution; state it with solution=u"):
        solution.error(np.ones((2, 2)))


@pytest.mark.parametrize("d", [1, 2])
def test_plots(d):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    solution = solve(Problem(Box(-1, 1, d), Operator(-1.0), 1.0, 0.0), 3, **TINY)
    axes = solution.plot(n=5)
    assert axes.get_xlabel().startswith("x" if d == 1 else "$x")
    pyplot.close("all")


def test_plots_of_more_coordinates_are_refused():
    solution = solve(Problem(Box(-1, 1, 3), Operator(-1.0), 1.0, 0.0), 3, **TINY)
    with pytest.raises(ValueError, match="one or two coordinates, the problem has 3"):
        solution.plot()


# --- line search -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_weak_wolfe_conditions_hold(first):
    def along(t):
        return (t - 2.0) ** 4 - 3.0 * np.tanh(t), 4 * (t - 2.0) ** 3 - 3.0 / np.cosh(t) ** 2

    with np.errstate(over="ignore"):
        value, slope = along(0.0)
        t, trials = weak_wolfe(along, value, slope, first, 60)
    f, g = along(t)
    assert f <= value + 1e-4 * t * slope
    assert g >= 0.9 * slope
    assert 1 <= trials <= 60


def test_weak_wolfe_gives_up():
    assert weak_wolfe(lambda t: (np.nan, np.nan), 1.0, -1.0, 1.0, 7) == (0.0, 7)
    # Steep for ever: the longest step with enough decrease.
    assert weak_wolfe(lambda t: (-t, -1.0), 0.0, -1.0, 1.0, 4) == (8.0, 4)
