"""The co-moving variant: Newton on W_L, rank-one auxiliaries, all weights at once."""

from __future__ import annotations

import numpy as np
import pytest
from contract import check_contract, variables
from helpers import JointAuxiliaries
from reference import (
    ACTIVATIONS,
    Reference,
    cross_entropy,
    finite_difference_gradient,
    softmax,
    targets,
)

from lysep_fast import train
from lysep_fast.blocks import CoMovingWeights, NewtonOutput
from lysep_fast.blocks.rank_one import back_propagate, gauss_newton_step, inverse_weights
from lysep_fast.datasets import make_checkerboard, make_circle
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.kernels.joint import (
    add_bias_rows,
    add_inner_rows,
    chain_rows,
    inject_rows,
    loss_curvature_rows,
    rank_one_rows,
    scale_rows,
)
from lysep_fast.objective import bound_constant
from lysep_fast.solvers import Alternating
from lysep_fast.threads.team import Team, Workspace

WIDTHS = (3, 4, 5, 4, 3)
BLOCKS = {
    "newton": lambda: NewtonOutput(),
    "newton-one-trial": lambda: NewtonOutput(steps=1, mu=1e-3, max_trials=1),
    "joint": lambda: JointAuxiliaries(),
    "joint-one-trial": lambda: JointAuxiliaries(max_trials=1),
    "co-moving": lambda: CoMovingWeights(),
    "co-moving-all-rows": lambda: CoMovingWeights(active=0.0),
    "co-moving-plain": lambda: CoMovingWeights(mu=1e-3, momentum=False, max_trials=2),
}
every_block = pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
every_option = pytest.mark.parametrize(
    "options", [{}, {"sample_weight": True, "alpha": 0.02, "label_smoothing": 0.15}]
)
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="too slow without compiled kernels")


# --- the contract ------------------------------------------------------------------------------


@every_block
@every_dtype
@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS) if JIT_ENABLED else ["gelu"])
def test_every_block_keeps_the_contract(make_problem, make_block, dtype, norm, activation):
    problem, state = make_problem(
        WIDTHS, activation, norm=norm, dtype=dtype, output_bias=activation in ("tanh", "relu")
    )
    block = make_block()
    assert check_contract(block, problem, state).accepted > 0
    for _ in range(2):
        check_contract(block, problem, state)


@every_block
@pytest.mark.parametrize("residual", [0.0, 1e-8, 3.0])
def test_every_block_keeps_the_contract_with_residuals_of_every_size(
    make_problem, make_block, residual
):
    problem, state = make_problem(WIDTHS, residual=residual, scale=2.0, seed=4)
    if residual == 0.0:
        problem.synchronise(state)
    for _ in range(2):
        check_contract(make_block(), problem, state)


@every_block
@pytest.mark.parametrize("layer", [2, 3, 4])
@pytest.mark.parametrize("factor", [0.0, 1e5])
def test_every_block_keeps_the_contract_with_zero_and_huge_maps(
    make_problem, refresh_state, make_block, layer, factor
):
    problem, state = make_problem(WIDTHS, residual=1e-6)
    state.W[layer] *= factor
    refresh_state(problem, state)
    check_contract(make_block(), problem, state)
    assert state.is_finite()


@every_block
def test_every_block_keeps_the_contract_with_one_sample_and_at_little_depth(
    make_problem, make_block
):
    check_contract(make_block(), *make_problem(WIDTHS, n=1))
    check_contract(make_block(), *make_problem((3, 4, 2)))


@every_block
@every_dtype
def test_the_number_of_threads_does_not_change_a_bit(make_problem, make_block, dtype):
    results = []
    for threads in (1, 2, 3):
        with Team(threads) as team:
            problem, state = make_problem(WIDTHS, dtype=dtype, team=team)
            block = make_block()
            steps = [block.update(problem, state) for _ in range(3)]
        results.append((steps, variables(state), state.nu, state.r2, state.e2))
    for other in results[1:]:
        assert other[0] == results[0][0]
        for name, array in other[1].items():
            assert array.tobytes() == results[0][1][name].tobytes(), name
        for mine, first in zip(other[2:], results[0][2:], strict=True):
            np.testing.assert_array_equal(mine, first)


# --- Newton on W_L -----------------------------------------------------------------------------


def plain_gradient(truth):
    """Return the losses, ``P - t``, and ``v`` of the surrogate logits."""
    U, y = truth.surrogate_logits(), truth.y
    P = softmax(U)
    G, q = P - targets(y, U.shape[1], truth.smoothing), 1 - P[np.arange(len(y)), y]
    e = truth.surrogate_losses()
    return e, G, np.sum(G**2, axis=1) + 2 * e * q * (1 - q)


def plain_newton_step(truth, mu):
    """Return dW, db by the equations of `newton_output`, one row of S at a time."""
    L, y = truth.depth, truth.y
    S, c = truth.features(L - 1), truth.c
    e, G, v = plain_gradient(truth)
    ones = np.hstack([S, np.ones((len(S), 1))])
    H = sum(c[n] * v[n] * np.outer(ones[n], ones[n]) for n in range(len(y)))
    half = sum(c[n] * e[n] * np.outer(G[n], ones[n]) for n in range(len(y)))
    mean, ridge = truth.W[L].mean(axis=0), truth.ridge(L) + len(y) * truth.alpha / 2
    half[:, :-1] += ridge * (truth.W[L] - mean)
    p = S.shape[1]
    H += mu * np.trace(H) / (p + 1) * np.eye(p + 1)
    H[:p, :p] += ridge * np.eye(p)
    if not truth.output_bias:
        H, half = H[:p, :p], half[:, :p]
    step = -np.linalg.solve(H, half.T).T
    db = step[:, p] if truth.output_bias else np.zeros(len(half))
    return step[:, :p] - mean, db


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
@every_option
def test_a_newton_step_is_that_of_plain_numpy(make_problem, classes, output_bias, options):
    problem, state = make_problem((3, 4, 5, classes), output_bias=output_bias, **options)
    truth = Reference.of(problem, state)
    step = NewtonOutput(steps=1, mu=1e-2).update(problem, state)
    dW, db = plain_newton_step(truth, 1e-2)
    share = step.accepted
    np.testing.assert_allclose(state.W[3] - truth.W[3], share * dW, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(state.b[3] - truth.b[3], share * db, rtol=1e-8, atol=1e-12)


@every_option
def test_for_two_classes_newton_converges_quadratically(make_problem, options):
    problem, state = make_problem((3, 4, 4, 2), output_bias=True, **options)
    sizes = []
    for _ in range(10):
        NewtonOutput(steps=1, mu=0.0).update(problem, state)
        truth = Reference.of(problem, state)
        in_W, in_b = truth.output_gradient()
        sizes.append(np.sqrt(np.sum(in_W**2) + np.sum(in_b**2)))
    assert sizes[-1] <= 1e-9
    small = [i for i, size in enumerate(sizes[:-1]) if 1e-5 < size < 1e-2]
    assert all(sizes[i + 1] <= 10 * sizes[i] ** 1.7 for i in small)


# --- the rank-one step -------------------------------------------------------------------------


def test_deltas_are_the_derivatives_of_the_loss_in_injected_residuals(make_problem):
    problem, state = make_problem((3, 4, 5, 3), "gelu", output_bias=True)
    truth, n = Reference.of(problem, state), 2
    network, ws = problem.network, Workspace()
    R = [None, truth.residual(1)[n], truth.residual(2)[n]]

    def loss(l, value):
        S = truth.X[n]
        for k in (1, 2):
            own = value if k == l else R[k]
            S = truth.s(S @ truth.W[k].T + truth.b[k] + own)
        return cross_entropy((S @ truth.W[3].T + truth.b[3])[None], truth.y[n : n + 1])[0]

    G = softmax(truth.surrogate_logits())
    G[np.arange(len(G)), truth.y] -= 1
    D = [truth.X, truth.ds(truth.A[1]), truth.ds(truth.A[2])]
    delta, size = back_propagate(network, state.W, G, D, ws)
    for l in (1, 2):
        wanted = finite_difference_gradient(lambda value, l=l: loss(l, value), R[l])
        np.testing.assert_allclose(delta[l][n], wanted, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(size[l], np.sum(delta[l] ** 2, axis=1), rtol=1e-13)


def test_the_rank_one_step_solves_its_linearised_problem_exactly():
    # min_R (e + sum_l <delta_l, R_l - R0_l>)^2 + sum_l w_l |R_l|^2 as one stacked system.
    rng = np.random.default_rng(0)
    w = np.array([9.0, 40.0, 1e-3, 3.0, 1.0])
    for _ in range(20):
        delta = [rng.normal(size=m) for m in (3, 5, 2)]
        R0 = [rng.normal(size=m) for m in (3, 5, 2)]
        e = rng.exponential()
        inner = sum(d @ r for d, r in zip(delta, R0, strict=True))
        size = np.zeros((5, 1))
        size[1:-1, 0] = [d @ d for d in delta]
        lam = gauss_newton_step(np.array([e]), np.array([inner]), size, w)[0]
        got = np.concatenate(
            [-lam * d * inverse_weights(w)[l] for l, d in enumerate(delta, start=1)]
        )
        root = np.sqrt(np.repeat(w[1:-1], (3, 5, 2)))
        stacked = np.vstack([np.concatenate(delta)[None, :], np.diag(root)])
        target = np.concatenate([[inner - e], np.zeros(10)])
        wanted = np.linalg.lstsq(stacked, target, rcond=None)[0]
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-13)


def test_no_row_rises_and_a_row_moves_along_its_rank_one_direction(make_problem):
    problem, state = make_problem(WIDTHS, residual=0.1)
    truth = Reference.of(problem, state)

    def values(truth):
        F = cross_entropy(truth.surrogate_logits(), truth.y) ** 2
        return F + sum(truth.weight(l) * np.sum(truth.residual(l) ** 2, 1) for l in (1, 2, 3))

    JointAuxiliaries().update(problem, state)
    after = Reference.of(problem, state)
    assert np.all(values(after) <= values(truth) * (1 + 1e-12))
    true = cross_entropy(truth.logits(), truth.y) ** 2
    assert np.all(values(after) <= np.minimum(true, values(truth)) * (1 + 1e-12))


def plain_deltas(truth, G, A=None):
    """Return ``delta_l``, l = 1..L, at the auxiliaries A (default: those of `truth`)."""
    A, delta = truth.A if A is None else A, {truth.depth: G}
    for l in range(truth.depth - 1, 0, -1):
        delta[l] = (delta[l + 1] @ truth.W[l + 1]) * truth.ds(A[l])
    return delta


def row_start(truth):
    """Return auxiliaries and residuals where the rank-one step starts: the cheaper of two."""
    hidden = range(1, truth.depth)
    carried = [truth.X, *(truth.A[l] for l in hidden)]
    R = [truth.X, *(truth.residual(l) for l in hidden)]
    true = [truth.X]
    for l in hidden:
        S = true[0] if l == 1 else truth.s(true[-1])
        true.append(S @ truth.W[l].T + truth.b[l])
    F = cross_entropy(truth.surrogate_logits(), truth.y) ** 2
    F += sum(truth.weight(l) * np.sum(R[l] ** 2, axis=1) for l in hidden)
    synchronised = cross_entropy(truth.logits(), truth.y) ** 2 <= F
    pick = synchronised[:, None]
    A = [np.where(pick, t, c) for t, c in zip(true, carried, strict=True)]
    return A, [np.where(pick, 0.0, r) for r in R], synchronised


@pytest.mark.parametrize("residual", [0.003, 0.02])
def test_the_joint_step_is_that_of_plain_numpy(make_problem, residual):
    problem, state = make_problem(WIDTHS, residual=residual, scale=1.5)
    truth = Reference.of(problem, state)
    A, R, synchronised = row_start(truth)
    assert 0 < np.count_nonzero(synchronised) < len(synchronised)
    U = truth.s(A[-1]) @ truth.W[4].T
    e, G = cross_entropy(U, truth.y), softmax(U)
    G[np.arange(len(G)), truth.y] -= 1
    delta = plain_deltas(truth, G, A)
    lam = e - sum(np.sum(delta[l] * R[l], axis=1) for l in (1, 2, 3))
    lam = lam / (1 + sum(np.sum(delta[l] ** 2, axis=1) / truth.weight(l) for l in (1, 2, 3)))
    JointAuxiliaries(max_trials=1).update(problem, state)
    for l in (1, 2, 3):
        wanted = -lam[:, None] * delta[l] / truth.weight(l)
        moved = np.abs(state.R[l] - wanted).max(axis=1) <= 1e-9 * np.abs(wanted).max()
        stayed = np.abs(state.R[l] - R[l]).max(axis=1) <= 1e-12
        assert np.all(moved | stayed)
        assert np.mean(moved) > 0.5


def test_without_a_trial_every_row_stays_where_it_is_cheapest(make_problem):
    problem, state = make_problem(WIDTHS, residual=0.01, scale=1.5)
    truth = Reference.of(problem, state)
    A, R, synchronised = row_start(truth)
    assert 0 < np.count_nonzero(synchronised) < len(synchronised)
    JointAuxiliaries(max_trials=0).update(problem, state)
    for l in (1, 2, 3):
        np.testing.assert_allclose(state.R[l], R[l], atol=1e-13)
        np.testing.assert_allclose(state.A[l], A[l], atol=1e-13)


def test_the_second_step_from_a_synchronised_state_gains_as_the_linear_model_says(make_problem):
    # With heavy weights the residuals are small and the linear model is exact to second order.
    problem, state = make_problem((3, 4, 5, 2), residual=0.0, scale=4.0)
    problem.synchronise(state)
    truth = Reference.of(problem, state)
    G = softmax(truth.surrogate_logits())
    G[np.arange(len(G)), truth.y] -= 1
    total, delta = 0.0, G
    for l in (2, 1):
        delta = (delta @ truth.W[l + 1]) * truth.ds(truth.A[l])
        total = total + np.sum(delta**2, axis=1) / truth.weight(l)
    predicted = np.sum(cross_entropy(truth.logits(), truth.y) ** 2 / (1 + total))
    JointAuxiliaries().update(problem, state)
    reached = problem.objective.separated_loss(state).total * problem.n_samples
    start = np.sum(cross_entropy(truth.logits(), truth.y) ** 2)
    assert start - reached == pytest.approx(start - predicted, rel=0.2)


# --- all weights at once -----------------------------------------------------------------------


@every_option
def test_the_step_of_the_weights_is_that_of_plain_numpy(make_problem, options):
    mu = 1e-3
    problem, state = make_problem(WIDTHS, residual=0.05, **options)
    truth = Reference.of(problem, state)
    step = CoMovingWeights(mu=mu, momentum=False, active=0.0).update(problem, state)
    assert step.trials == 1.0
    y, c = truth.y, truth.c
    e, G, v = plain_gradient(truth)
    hidden, delta = (1, 2, 3), plain_deltas(truth, G)
    w = [None, *(truth.weight(l) for l in hidden)]
    lam = e - sum(np.sum(delta[l] * truth.residual(l), axis=1) for l in hidden)
    lam = lam / (1 + sum(np.sum(delta[l] ** 2, axis=1) / w[l] for l in hidden))
    eta = 0.0
    for l in hidden:
        S = np.hstack([truth.features(l - 1), np.ones((len(y), 1))])
        p = S.shape[1]
        R = -lam[:, None] * delta[l] / w[l]
        k = min(w[l], c @ np.sum(delta[l] ** 2, axis=1) / (c @ np.sum(G**2, axis=1)))
        gram = S.T @ ((c * v)[:, None] * S)
        lhs = k / w[l] * (gram + mu * np.trace(gram) / p * np.eye(p))
        ridge = eta + len(y) * truth.alpha / 2 / w[l]
        lhs += ridge * np.diag([1.0] * (p - 1) + [0.0])
        rhs = (c[:, None] * R).T @ S
        rhs -= ridge * np.hstack([truth.W[l], np.zeros((len(R[0]), 1))])
        wanted = np.linalg.solve(lhs, rhs.T).T
        np.testing.assert_allclose(state.W[l] - truth.W[l], wanted[:, :-1], rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(state.b[l] - truth.b[l], wanted[:, -1], rtol=1e-7, atol=1e-10)
        eta = c @ np.sum(R**2, axis=1) + truth.nu(l) * eta


def test_a_rejected_step_moves_the_auxiliaries_alone(make_problem):
    problem, state = make_problem(WIDTHS)
    block = CoMovingWeights(max_trials=1)
    for _ in range(4):
        NewtonOutput().update(problem, state)
        block.update(problem, state)
    block.t, block.mu = 1e9, 1e-8
    truth = Reference.of(problem, state)
    step = check_contract(block, problem, state)
    assert step.trials == 2.0
    for l in range(1, 5):
        np.testing.assert_array_equal(state.W[l], truth.W[l])
    assert block.mu > CoMovingWeights().mu


# --- runs --------------------------------------------------------------------------------------


def check_run(result, dtype):
    """Check that F never rose, beyond rounding of the sums, and that the bound held."""
    F = np.array([row.separated_loss for row in result.history]) ** 2
    assert np.all(np.isfinite(F))
    assert np.all(F[1:] <= F[:-1] * (1 + 8 * np.finfo(float).eps))
    for row in result.history:
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-5) + 1e-30
        parts = row.data + np.sum(row.penalties)
        assert parts == pytest.approx(row.separated_loss**2, rel=1e-12)


def run(X, y, widths, *, sweeps=8, options=None, **kwargs):
    return train(
        X,
        y,
        hidden_layer_sizes=widths,
        solver="alternating",
        solver_options={"variant": "co-moving", **(options or {})},
        max_iter=sweeps,
        tol=0.0,
        n_iter_no_change=100,
        random_state=0,
        **kwargs,
    )


@every_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2, 4, 10])
def test_runs_are_monotone_and_keep_the_bound(activation, depth, dtype):
    X, y = make_circle(200 if JIT_ENABLED else 20, 0)
    width = 10 if JIT_ENABLED else 4
    result = run(
        X.astype(dtype),
        y,
        (width,) * (depth - 1),
        sweeps=8 if JIT_ENABLED else 2,
        activation=activation,
        output_bias=depth % 4 == 0,
        n_threads=1,
    )
    check_run(result, dtype)
    if activation != "identity" and depth > 1:
        assert result.history[-1].separated_loss < 0.9 * result.history[0].separated_loss


@pytest.mark.parametrize("weights", ["frobenius", "spectral"])
@pytest.mark.parametrize("momentum", [False, True])
def test_runs_on_three_classes_are_monotone_in_both_norms(blobs, weights, momentum):
    X, y = blobs
    options = {"momentum": momentum, "mu": 1e-6}
    result = run(
        X,
        y,
        (8, 6),
        sweeps=12 if JIT_ENABLED else 3,
        weights=weights,
        options=options,
        n_threads=2,
    )
    check_run(result, np.float64)


def test_the_cached_sums_are_those_of_the_variables_after_a_run(make_problem):
    problem, state = make_problem(WIDTHS, residual=0.0)
    problem.synchronise(state)
    solver = Alternating(variant="co-moving")
    solver.start(problem, state)
    for _ in range(6):
        solver.step(problem, state)
    truth = Reference.of(problem, state)
    cached = problem.objective.separated_loss(state)
    assert cached.total == pytest.approx(truth.separated_loss(), rel=1e-9)
    np.testing.assert_allclose(state.nu[1:], [truth.nu(l) for l in range(1, 5)], rtol=1e-13)


def test_whole_runs_do_not_depend_on_the_number_of_threads(blobs):
    X, y = blobs
    one, two = (run(X, y, (7, 5), sweeps=4, n_threads=threads) for threads in (1, 2))
    for a, b in zip(one.W + one.b, two.W + two.b, strict=True):
        assert a.tobytes() == b.tobytes()
    assert [row.separated_loss for row in one.history] == [
        row.separated_loss for row in two.history
    ]


@needs_jit
@pytest.mark.parametrize(
    ("make_data", "depth", "sweeps", "goal"),
    [
        (make_circle, 3, 8, 1e-3),
        (make_circle, 6, 8, 1e-3),
        (make_circle, 10, 8, 1e-3),
        (make_checkerboard, 3, 12, 1e-2),
        (make_checkerboard, 6, 14, 1e-3),
    ],
)
def test_it_reaches_the_stated_loss_where_hidden_layers_must_learn(make_data, depth, sweeps, goal):
    X, y = make_data(2000, random_state=1)
    result = run(X, y, (50,) * (depth - 1), sweeps=sweeps, callback=lambda row: row.loss < goal)
    check_run(result, np.float64)
    assert result.history[-1].loss < goal


@needs_jit
def test_it_reaches_a_small_loss_in_single_precision():
    X, y = make_checkerboard(2000, random_state=1)
    result = run(X.astype(np.float32), y, (50,) * 5, sweeps=20, callback=lambda r: r.loss < 1e-3)
    check_run(result, np.float32)
    assert result.history[-1].loss < 1e-3


def test_options_are_checked_and_named():
    with pytest.raises(ValueError, match=r"variant.*'literal'"):
        Alternating(variant="literal")
    with pytest.raises(ValueError, match=r"mu.*-1"):
        Alternating(variant="co-moving", mu=-1.0)
    assert Alternating().init == "uniform"
    assert Alternating(variant="co-moving").init == "normalised"


# --- kernels -----------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (9, 17)])
def test_kernels_agree_with_plain_numpy(shape, dtype):
    rng = np.random.default_rng(0)
    A, B, C = (rng.normal(size=shape).astype(dtype) for _ in range(3))
    b, f, g = rng.normal(size=shape[1]).astype(dtype), *rng.normal(size=(2, shape[0]))
    tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
    Z = A.copy()
    add_bias_rows(Z, b)
    np.testing.assert_allclose(Z, A + b, **tolerance)
    Z = A.copy()
    inject_rows(Z, b, B)
    np.testing.assert_allclose(Z, A + b + B, **tolerance)
    Z, size = A.copy(), np.empty(shape[0])
    chain_rows(Z, B, size)
    np.testing.assert_allclose(Z, A * B, **tolerance)
    np.testing.assert_allclose(size, np.sum(Z.astype(float) ** 2, axis=1), rtol=1e-13)
    total = f.copy()
    add_inner_rows(A, B, total)
    np.testing.assert_allclose(total, f + np.sum(A.astype(float) * B, axis=1), rtol=1e-12)
    Z, r2 = C.copy(), np.empty(shape[0])
    rank_one_rows(A, B, f, g, Z, r2)
    np.testing.assert_allclose(Z, f[:, None] * A + g[:, None] * B, **tolerance)
    np.testing.assert_allclose(r2, np.sum(Z.astype(float) ** 2, axis=1), rtol=1e-13)
    Z = A.copy()
    scale_rows(Z, f)
    np.testing.assert_allclose(Z, f[:, None] * A, **tolerance)


def test_the_curvature_weight_is_half_the_second_derivative_for_two_classes():
    rng = np.random.default_rng(1)
    U, y = rng.normal(size=(7, 2)) * 3, rng.integers(0, 2, 7)
    G = softmax(U)
    G[np.arange(7), y] -= 1
    size, v = np.empty(7), np.empty(7)
    loss_curvature_rows(G, y, cross_entropy(U, y), size, v)
    h, z = 1e-4, np.array([1.0, -1.0]) / np.sqrt(2)
    squares = [cross_entropy(U + t * h * z, y) ** 2 for t in (-1, 0, 1)]
    second = (squares[0] - 2 * squares[1] + squares[2]) / h**2
    np.testing.assert_allclose(2 * v, second, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(size, np.sum(G**2, axis=1), rtol=1e-13)


def test_the_bound_constant_of_a_run_is_that_of_the_theorem(blobs):
    X, y = blobs
    assert run(X, y, (4, 4), sweeps=1).bound_constant == pytest.approx(bound_constant(3))
