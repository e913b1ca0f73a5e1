"""Passes, closed-form output weights, the separated loss and the solvers of PDE problems."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from pde_problems import BOX, EDGE, POINTS, PROBLEMS, build, separate, sines

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.kernels.jet import JET_CODES
from lysep_fast.pde import Box, Function, Operator, PdeStatus, Problem, solve
from lysep_fast.pde.hidden import Hidden
from lysep_fast.pde.jets import JetNetwork, output_jet
from lysep_fast.pde.metric import KroneckerMetric
from lysep_fast.pde.output import fit_output
from lysep_fast.pde.solvers_projection import RandomFeatures, VariableProjection
from lysep_fast.pde.solvers_separated import Alternating, Nesterov
from lysep_fast.threads.team import Team

RNG = np.random.default_rng
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="too many points for plain Python")


@pytest.fixture
def make():
    """Return a function that draws a discrete problem and a state for a problem's name."""
    with Team(1) as team:
        yield functools.partial(build, team)


# --- passes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", list(JET_CODES))
def test_output_jets_are_derivatives_of_the_network(activation):
    rng = RNG(0)
    hidden = Hidden.random((2, 5, 4), 1.0, BOX.bounds(), rng)
    w, X = rng.normal(size=4), BOX.interior(7, rng)
    at = Operator(lambda X: 2 + X, advection=lambda X: X).at(X)
    P = np.concatenate([X[None], at.G, at.beta[None]])
    with Team(1) as team:
        O = output_jet(hidden, w, activation, P, team)
        u = Function(lambda X: output_jet(hidden, w, activation, X[None], team)[0])
        np.testing.assert_allclose(O, u.jet(X, at.G, at.beta), atol=2e-9)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_residuals_agree_with_automatic_differentiation(make, name):
    torch = pytest.importorskip("torch")
    problem, state = make(name)
    X = problem.problem.domain.interior(6, RNG(3))
    statement, hidden = problem.problem, state.hidden
    tensors = [torch.from_numpy(v) for v in (*hidden.W[1:], *hidden.b[1:], state.w)]

    def u(x):
        z = x
        for l in range(hidden.depth):
            z = torch.tanh(tensors[l] @ z + tensors[hidden.depth + l])
        v = z @ tensors[-1]
        return v if statement.lift is None else torch.prod(1 - x * x) * v + 1.0

    x = torch.from_numpy(X)
    value = torch.func.vmap(u)(x).numpy()
    gradient = torch.func.vmap(torch.func.grad(u))(x).numpy()
    hessian = torch.func.vmap(torch.func.hessian(u))(x).numpy()
    at = statement.operator.at(X)
    a = at.sign * np.einsum("knj,kni->nji", at.G, at.G)
    exact = np.einsum("nij,nij->n", a, hessian) + at.sign * np.sum(at.beta * gradient, 1)
    exact += at.c * value - statement.source(X)
    if statement.operator.nonlinearity is not None:
        exact += value**3
    network = JetNetwork.like(problem.network, [statement.equations(X)])
    network.forward(hidden)
    found = np.concatenate([network.residual(part, state.w)[0] for part in network.parts])
    # The lift is differentiated numerically.
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12 if not statement.lift else 1e-9)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_gradient_agrees_with_differences(make, name):
    problem, state = make(name, activation="softplus" if name == "heat" else "tanh")
    network, hidden = problem.network, state.hidden
    direction, h = RNG(5).normal(size=hidden.theta.shape), 1e-5
    network.forward(hidden)
    loss, gradient = network.gradient(hidden, state.w)
    assert loss == network.loss(state.w)

    def value(t):
        network.forward(Hidden(hidden.widths, hidden.theta + t * direction))
        return sum(network.loss(state.w))

    difference = (value(h) - value(-h)) / (2 * h)
    np.testing.assert_allclose(gradient @ direction, difference, rtol=2e-7)


@pytest.mark.parametrize("name", ["linear", "cubic"])
def test_gradient_of_the_projected_loss(make, name):
    # dJ/dw = 0 at the fitted weights, so they may be held fixed.
    problem, state = make(name)
    network, hidden = problem.network, state.hidden
    direction, h = RNG(5).normal(size=hidden.theta.shape), 1e-5

    def value(t):
        network.forward(Hidden(hidden.widths, hidden.theta + t * direction))
        return sum(network.loss(fit_output(network).w))

    difference = (value(h) - value(-h)) / (2 * h)
    network.forward(hidden)
    _, gradient = network.gradient(hidden, fit_output(network).w)
    np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-5)


@pytest.mark.parametrize("name", list(PROBLEMS))
@pytest.mark.parametrize("ridge", [None, 0.3])
def test_output_weights_are_stationary(make, name, ridge):
    problem, state = make(name)
    network = problem.network
    network.forward(state.hidden)
    ridge = None if ridge is None else ridge * np.arange(1.0, 5.0)
    fit = fit_output(network, state.w, ridge)
    h = 1e-4

    def value(w):
        return sum(network.loss(w)) + (0.0 if ridge is None else float(ridge @ w**2))

    scale = value(fit.w)
    for unit in np.eye(4):
        slope = (value(fit.w + h * unit) - value(fit.w - h * unit)) / (2 * h)
        assert abs(slope) < 1e-6 * (1 + scale)
        assert value(fit.w + h * unit) >= scale
    assert fit.iterations == 1 or not network.is_linear


def test_rank_deficient_features_have_finite_weights(make):
    problem, state = make("linear")
    state.hidden.W[2][1], state.hidden.b[2][1] = state.hidden.W[2][0], state.hidden.b[2][0]
    problem.network.forward(state.hidden)
    fit = fit_output(problem.network)
    assert fit.method == "svd"
    np.testing.assert_allclose(fit.w[0], fit.w[1], rtol=1e-6)


def test_the_metric_is_the_gauss_newton_matrix_of_one_point():
    # With one point and one channel the Kronecker model is exact: M (x) L = vec(z p') vec(z p')'.
    problem = Problem(Box(-1, 1), Operator(0.0, reaction=1.0), 0.0, lift=(1.0, 0.0))
    with Team(1) as team:
        network = JetNetwork(problem.collocate(1, 0, 1.0, RNG(0)), (1, 3), "tanh", None, team)
        hidden = Hidden.random((1, 3), 1.0, (np.array([-1.0]), np.array([1.0])), RNG(1))
        w, damping = RNG(2).normal(size=3), (0.1, 0.2)
        network.forward(hidden)
        metric = KroneckerMetric(network, hidden, w, damping)
        part = network.parts[0]
        z, p = part.D[1][0, 0] * w, np.append(part.P[0][0, 0], 1.0)
    M = z @ z * np.outer(p, p)
    L = np.outer(z, z) / (z @ z)
    M += 0.1 * np.trace(M) / 2 * np.eye(2)
    L += 0.2 / 3 * np.eye(3)
    given = Hidden((1, 3), RNG(3).normal(size=6))
    made = Hidden((1, 3), metric.apply_inverse(given.theta))
    back = L @ np.column_stack([made.W[1], made.b[1]]) @ M
    np.testing.assert_allclose(back, np.column_stack([given.W[1], given.b[1]]), rtol=1e-10)


# --- the separated loss --------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["frobenius", "neuron"])
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_without_residuals_the_separated_loss_is_the_loss(make, name, weights):
    problem, state = make(name)
    made = separate(problem, state, weights)
    loss = sum(problem.network.loss(state.w))
    np.testing.assert_allclose(made.value(state), loss, rtol=1e-12)
    assert separate(problem, state, weights, 0.1).value(state) > 0.0


@pytest.mark.parametrize("disturb", [0.01, 0.3, 3.0])
@pytest.mark.parametrize(("name", "seed"), [("linear", 0), ("linear", 1), ("heat", 2)])
def test_the_separated_loss_bounds_the_loss(make, name, seed, disturb):
    # With E_l = J_l(true) - J_l and |phi(J) - phi(J')| <= c |J - J'| along the segment,
    # |E_l| <= |R_l| + |W_l| c |E_{l-1}| and |r(true) - r| <= |K| |w| c |E_H|: by Cauchy-Schwarz
    # J(true) <= (1 + |K|^2 / kappa sum_l c^(2 (H - l + 1))) F, whatever the weights.
    problem, state = make(name, seed=seed)
    made = separate(problem, state, "frobenius", disturb)
    true = JetNetwork.like(problem.network, problem.network.sets)
    true.forward(state.hidden)
    # Bounds of |s'|, |s''|, |s'''| of tanh over the whole line.
    first, second, third = 1.0, 4 / 27**0.5, 2.0
    c2 = K2 = 0.0
    for part, other in zip(problem.network.parts, true.parts, strict=True):
        K2 = max(K2, np.max(np.sum(part.loss.K**2, axis=0)))
        for l in (1, 2) if part.channels > 1 else ():
            squares = max(np.max(np.sum(J[1:-1] ** 2, axis=0)) for J in (part.J[l], other.J[l]))
            C = max(np.max(np.abs(J[-1])) for J in (part.J[l], other.J[l]))
            # The squared Frobenius norm of the derivative of phi in one neuron's jet.
            norm = part.channels * first**2 + 5 * second**2 * squares
            c2 = max(c2, norm + (third * squares + second * C) ** 2)
    constant = 1 + K2 / made.kappa * (c2 + c2**2)
    F, J = made.value(state), sum(true.loss(state.w))
    assert constant * F >= J
    if disturb == 3.0:
        assert pytest.approx(J, rel=0.01) != F  # the residuals matter


def test_channel_weights_and_neuron_weights_follow_their_formulas(make):
    problem, state = make("linear")
    made = separate(problem, state, "neuron")
    hidden, w = state.hidden, state.w
    om = made.omegas(hidden, w)
    top = 0.5 * w * w
    np.testing.assert_allclose(om[2], np.maximum(top, 1e-3 * top.mean()))
    np.testing.assert_allclose(om[1], (hidden.W[2] ** 2).T @ om[2])
    inside = [part for part in problem.network.parts if part.channels > 1]
    first, second, third = (np.concatenate([part.D[2][i] for part in inside]) for i in range(3))
    J = np.concatenate([part.J[2] for part in inside], axis=1)
    squares, v = J[1] ** 2 + J[2] ** 2, np.mean(first**2)
    shares = [np.mean((second * J[k]) ** 2) / v for k in (1, 2)]
    value = 1 + np.mean((third * squares + second * J[3]) ** 2) / v + sum(shares)
    expected = [value, 1 + 4 * shares[0], 1 + 4 * shares[1], 1.0]
    np.testing.assert_allclose(made.channels[2], expected, rtol=1e-12)


# --- solvers -----------------------------------------------------------------------------------

SOLVERS = {
    "variable-projection": VariableProjection,
    "plain": lambda: VariableProjection(damping=None),
    "nesterov": Nesterov,
    "alternating": Alternating,
}


@pytest.mark.parametrize("name", list(PROBLEMS))
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_solvers_keep_their_promise(make, name, solver):
    problem, state = make(name)
    method = SOLVERS[solver]()
    method.start(problem, state)
    losses, bounds = [state.loss], [state.separated]
    for _ in range(12 if JIT_ENABLED else 3):
        steps = method.step(problem, state)
        assert steps
        losses.append(state.loss)
        bounds.append(state.separated)
        true = JetNetwork.like(problem.network, problem.network.sets)
        true.forward(state.hidden)
        np.testing.assert_allclose(sum(true.loss(state.w)), state.loss, rtol=1e-9)
    watched = bounds if method.promise == "F" else losses
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(watched))
    assert watched[-1] < watched[0]


@needs_jit
def test_random_features_choose_the_scale_that_generalises(make):
    problem, state = make("linear", widths=(8,))
    method = RandomFeatures(scales=[1e-4, 2.0, 1e4])
    method.start(problem, state)
    size = np.abs(state.hidden.W[1]).max()
    assert 1e-3 < size < 10.0
    first = state.hidden.theta.copy()
    assert method.step(problem, state)[0].accepted == 0.0
    np.testing.assert_array_equal(state.hidden.theta, first)


@pytest.mark.parametrize("solver", ["variable-projection", "nesterov", "alternating"])
def test_results_do_not_depend_on_the_number_of_threads(solver):
    found = [
        solve(
            PROBLEMS["cubic"], (6, 5), solver=solver, n_interior=POINTS, n_boundary=EDGE,
            max_iter=3, random_state=0, n_threads=threads,
        )
        for threads in (1, 2, 3)
    ]  # fmt: skip
    for other in found[1:]:
        np.testing.assert_array_equal(other.hidden.theta, found[0].hidden.theta)
        np.testing.assert_array_equal(other.w, found[0].w)


@needs_jit
@pytest.mark.parametrize(
    ("name", "error"), [("linear", 1e-3), ("cubic", 1e-3), ("lifted", 1e-4), ("heat", 0.2)]
)
def test_variable_projection_reaches_manufactured_solutions(name, error):
    problem = PROBLEMS[name]
    solution = solve(problem, (30, 30), max_iter=120, random_state=0)
    X = problem.domain.interior(1000, RNG(1))
    assert solution.error(X) < error


@needs_jit
def test_wide_random_features_are_very_accurate_on_a_smooth_problem():
    problem = Problem.manufactured(BOX, Operator(-1.0), sines)
    solution = solve(
        problem, 200, solver="random-features", random_state=0, n_interior=1024, n_boundary=256,
        solver_options={"scales": [1.0, 1.5, 2.0, 3.0]},
    )  # fmt: skip
    assert solution.status is PdeStatus.SOLVED
    assert solution.error(BOX.interior(1000, RNG(1))) < 1e-6


@needs_jit
def test_nesterov_beats_random_features():
    problem = PROBLEMS["linear"]
    fixed, trained = (
        solve(problem, (20, 20), solver=solver, max_iter=40, random_state=0)
        for solver in ("random-features", "nesterov")
    )
    assert trained.loss < 0.1 * fixed.loss
