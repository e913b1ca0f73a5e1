"""Guarded least squares: right solutions, and the method chosen by the conditioning."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import copied
from reference import Reference, ridge_least_squares

from lysep_fast.blocks import LayerWeights
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.linalg.least_squares import (
    merge_triangular,
    solve_normal_equations,
    triangular_factor,
)


def matrix_of_condition(n, p, condition, seed=0):
    """Return an (n, p) matrix with singular values spaced evenly in the exponent."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(n, p)))[0]
    V = np.linalg.qr(rng.normal(size=(p, p)))[0]
    return U * np.geomspace(1.0, 1.0 / condition, p) @ V.T


def solve(S, T, factorise=True):
    """Solve ``min ||S X' - T||`` from sums, with or without the way back to S."""
    p = S.shape[1]

    def way_back():
        return merge_triangular([np.hstack([S, T])], p)

    return solve_normal_equations(S.T @ S, T.T @ S, way_back if factorise else None)


def targets(S, m=3, seed=1):
    return np.random.default_rng(seed).normal(size=(len(S), m))


@pytest.mark.parametrize(
    ("condition", "method", "rtol"),
    [(1e0, "cholesky", 1e-12), (1e3, "cholesky", 1e-8), (1e9, "qr", 1e-4), (1e11, "qr", 1e-2)],
)
def test_the_method_is_chosen_by_the_condition_and_agrees_with_lstsq(condition, method, rtol):
    S = matrix_of_condition(60, 8, condition)
    T = targets(S)
    solution = solve(S, T)
    assert solution.method == method
    assert solution.rank == 8
    wanted = np.linalg.lstsq(S, T, rcond=None)[0].T
    assert np.linalg.norm(solution.X - wanted) <= rtol * np.linalg.norm(wanted)
    assert solution.X.flags.c_contiguous


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6])
def test_the_reciprocal_condition_is_that_of_the_gram_matrix(condition):
    S = matrix_of_condition(60, 8, condition)
    solution = solve(S, targets(S))
    scale = np.linalg.norm(S, axis=0)
    wanted = 1 / np.linalg.cond((S / scale).T @ (S / scale), 1)
    assert solution.method == "cholesky"
    assert wanted / 3 <= solution.rcond <= wanted * 3


def test_badly_scaled_columns_are_no_reason_to_leave_cholesky():
    rng = np.random.default_rng(0)
    S = rng.normal(size=(50, 6)) * 10.0 ** np.array([-9, -4, 0, 3, 6, 9])
    T = targets(S)
    solution = solve(S, T)
    assert solution.method == "cholesky"
    scale = np.linalg.norm(S, axis=0)
    wanted = np.linalg.lstsq(S / scale, T, rcond=None)[0].T
    np.testing.assert_allclose(solution.X * scale, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factorise", [True, False])
def test_a_rank_deficient_problem_has_the_minimum_norm_solution(factorise):
    rng = np.random.default_rng(0)
    S = rng.normal(size=(40, 5))
    S = np.hstack([S, S[:, :2]])  # columns of equal length, two of them twice
    T = targets(S)
    solution = solve(S, T, factorise)
    assert solution.method == "svd"
    assert solution.rank == 5
    assert solution.rcond < 1e-12
    wanted = np.linalg.lstsq(S, T, rcond=None)[0].T
    np.testing.assert_allclose(solution.X, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factorise", [True, False])
def test_a_rank_deficient_problem_is_solved_whatever_the_scale_of_its_columns(factorise):
    rng = np.random.default_rng(0)
    S = rng.normal(size=(40, 4))
    S = np.hstack([S, 1e3 * S[:, :1] - S[:, 1:2]])
    T = targets(S)
    solution = solve(S, T, factorise)
    assert (solution.method, solution.rank) == ("svd", 4)
    optimal = S @ np.linalg.lstsq(S, T, rcond=None)[0]
    np.testing.assert_allclose(S @ solution.X.T, optimal, atol=1e-8)


@pytest.mark.parametrize("factorise", [True, False])
def test_a_zero_column_gets_a_zero_coefficient(factorise):
    S = np.random.default_rng(0).normal(size=(30, 4))
    S[:, 2] = 0.0
    T = targets(S)
    solution = solve(S, T, factorise)
    assert not np.any(solution.X[:, 2])
    wanted = np.linalg.lstsq(S, T, rcond=None)[0].T
    np.testing.assert_allclose(solution.X, wanted, atol=1e-12)


@pytest.mark.parametrize("factorise", [True, False])
def test_a_zero_matrix_gives_zero(factorise):
    S = np.zeros((9, 3))
    solution = solve(S, targets(S), factorise)
    assert solution.rank == 0
    np.testing.assert_array_equal(solution.X, np.zeros((3, 3)))


@pytest.mark.parametrize("p", [1, 4, 9])
def test_fewer_rows_than_columns_are_solved_with_minimum_norm(p):
    S = matrix_of_condition(9, 9, 10.0)[:4]
    S = S[:, :p]
    S = S / np.where(np.linalg.norm(S, axis=0) > 0, np.linalg.norm(S, axis=0), 1)
    T = targets(S)
    solution = solve(S, T)
    wanted = np.linalg.lstsq(S, T, rcond=None)[0].T
    np.testing.assert_allclose(solution.X, wanted, rtol=1e-8, atol=1e-9)


def test_the_rounding_unit_sets_the_limits_of_the_condition():
    S = matrix_of_condition(60, 8, 1e3)
    gram, rhs = S.T @ S, targets(S).T @ S
    factor = merge_triangular([np.hstack([S, targets(S)])], 8)
    assert solve_normal_equations(gram, rhs, lambda: factor, 1e-12).method == "cholesky"
    assert solve_normal_equations(gram, rhs, lambda: factor, 1e-5).method == "qr"
    assert solve_normal_equations(gram, rhs, lambda: factor, 1e-2).method == "svd"


@pytest.mark.parametrize("sizes", [(40,), (16, 16, 8), (2, 3, 35), (1,), (3, 2)])
def test_merged_factors_are_those_of_the_whole(sizes):
    rng = np.random.default_rng(0)
    p, m = 5, 2
    parts = [rng.normal(size=(k, p + m)) for k in sizes]
    whole = np.vstack(parts)
    T, Z = merge_triangular([triangular_factor(part) for part in parts], p)
    assert T.shape == (p, p)
    assert Z.shape == (p, m)
    np.testing.assert_array_equal(np.tril(T, -1), 0.0)
    # The factor is unique up to the signs of its rows, which T'T and T'Z do not see.
    np.testing.assert_allclose(T.T @ T, whole[:, :p].T @ whole[:, :p], atol=1e-12)
    np.testing.assert_allclose(T.T @ Z, whole[:, :p].T @ whole[:, p:], atol=1e-12)
    if sum(sizes) >= p:
        wanted = np.linalg.qr(whole, mode="r")[:p, :p]
        np.testing.assert_allclose(np.abs(T), np.abs(wanted), atol=1e-12)


# --- through the block -------------------------------------------------------------------------

N = 90 if JIT_ENABLED else 24


def solved(make_problem, refresh, change, bias, dtype=np.float64, layer=1, **options):
    """Return problem, reference before, state after and step of one weight solve."""
    problem, state = make_problem((4, 5, 4, 2), n=N, rows=7, dtype=dtype, **options)
    if change is not None:
        change(problem, state)
        refresh(problem, state)
    before = Reference.of(problem, state)
    step = LayerWeights(layer, bias).update(problem, state)
    return before, Reference.of(problem, state), state, step


def duplicate(problem, state):
    problem.samples.X[:, 3] = problem.samples.X[:, 1]


def nearly_duplicate(problem, state):
    rng = np.random.default_rng(0)
    problem.samples.X[:, 3] = problem.samples.X[:, 1] + 1e-9 * rng.normal(
        size=len(problem.samples.X)
    )


def constant(problem, state):
    problem.samples.X[:, 2] = 0.75


def two_constants(problem, state):
    problem.samples.X[:, 2] = 0.75
    problem.samples.X[:, 0] = -2.0


def zero(problem, state):
    problem.samples.X[:, 2] = 0.0


def all_zero(problem, state):
    problem.samples.X[...] = 0.0


@pytest.mark.parametrize("bias", ["after", "joint", "none"])
@pytest.mark.parametrize("change", [duplicate, constant, two_constants, zero, all_zero])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_degenerate_inputs_are_solved_as_well_as_by_lstsq(
    make_problem, refresh_state, change, bias, dtype
):
    before, after, state, step = solved(make_problem, refresh_state, change, bias, dtype)
    assert state.is_finite()
    assert step.accepted > 0
    S, T = before.X, before.A[1]
    if bias == "joint":
        S = np.hstack([S, np.ones((N, 1))])
    else:
        T = T - before.b[1]
    optimal = S @ np.linalg.lstsq(S, T, rcond=None)[0] - T
    if bias == "after":
        optimal = optimal - optimal.mean(axis=0)
    wanted = np.sum(optimal**2)
    rtol = 1e-9 if dtype == np.float64 else 1e-4
    assert after.r2(1) == pytest.approx(wanted, rel=rtol, abs=rtol)


def test_nearly_equal_columns_are_left_to_qr_and_solved_by_it(make_problem, refresh_state):
    before, after, state, step = solved(make_problem, refresh_state, nearly_duplicate, "none")
    assert step.method == "qr"
    assert step.rcond < 1e-8
    S, T = before.X, before.A[1] - before.b[1]
    optimal = np.sum((S @ np.linalg.lstsq(S, T, rcond=None)[0] - T) ** 2)
    assert state.is_finite()
    assert after.r2(1) == pytest.approx(optimal, rel=1e-6)


def test_the_solve_of_a_deeper_layer_is_that_of_the_stacked_system(make_problem, refresh_state):
    before, after, _, step = solved(make_problem, refresh_state, None, "none", layer=2)
    assert step.method == "cholesky"
    wanted = ridge_least_squares(before.features(1), before.A[2] - before.b[2], before.ridge(2))
    np.testing.assert_allclose(after.W[2], wanted, rtol=1e-9, atol=1e-11)


def test_qr_with_a_ridge_solves_the_stacked_system(make_problem, refresh_state):
    # Two neurons of layer 1 agree to 1e-9, and the ridge is smaller than that, squared.
    problem, state = make_problem((4, 5, 4, 2), n=N, rows=7)
    state.W[1][1], state.b[1][1] = state.W[1][0], state.b[1][0]
    noise = np.random.default_rng(0).normal(size=state.A[1].shape)
    state.A[1][...] = Reference.of(problem, state).prediction(1) + 1e-9 * noise
    refresh_state(problem, state)
    before = Reference.of(problem, state)
    step = LayerWeights(2, "none").update(problem, state)
    assert step.method == "qr"
    S, T, eta = before.features(1), before.A[2] - before.b[2], before.ridge(2)
    assert eta > 0
    wanted = ridge_least_squares(S, T, eta)

    def objective(W):
        return np.sum((S @ W.T - T) ** 2) + eta * np.sum(W**2)

    assert objective(state.W[2]) == pytest.approx(objective(wanted), rel=1e-6)


def test_qr_with_a_ridge_shrinks_what_the_residual_does_not_see(make_problem, refresh_state):
    # As above, but layer 2 fits already: only the ridge moves W_2, and only where S_1 is small.
    problem, state = make_problem((4, 5, 4, 2), n=N, rows=7)
    state.W[1][1], state.b[1][1] = state.W[1][0], state.b[1][0]
    noise = np.random.default_rng(0).normal(size=state.A[1].shape)
    state.A[1][...] = Reference.of(problem, state).prediction(1) + 1e-9 * noise
    state.A[2][...] = Reference.of(problem, state).prediction(2)
    refresh_state(problem, state)
    before = Reference.of(problem, state)
    assert LayerWeights(2, "none").update(problem, state).method == "qr"
    S, T = before.features(1), before.A[2] - before.b[2]
    wanted = ridge_least_squares(S, T, before.ridge(2))
    assert np.abs(wanted - before.W[2]).max() > 0.01
    np.testing.assert_allclose(state.W[2], wanted, atol=1e-5)


@pytest.mark.parametrize("proximal", [1e-12, 1e-2, 1.0])
def test_the_proximal_term_keeps_cholesky_and_still_lowers_the_loss(
    make_problem, refresh_state, proximal
):
    problem, state = make_problem((4, 5, 4, 2), n=N, rows=7)
    duplicate(problem, state)
    refresh_state(problem, state)
    before = Reference.of(problem, state)
    assert LayerWeights(1, "none").update(problem, copied(state)).method == "svd"
    weight = proximal * np.trace(before.X.T @ before.X) / 4
    step = LayerWeights(1, "none", proximal).update(problem, state)
    after = Reference.of(problem, state)
    assert step.method == "cholesky"
    assert after.separated_loss() < before.separated_loss()
    dW = after.W[1] - before.W[1]
    gradient = dW @ before.X.T @ before.X - before.residual(1).T @ before.X + weight * dW
    assert np.abs(gradient).max() <= 1e-7 * np.abs(before.residual(1).T @ before.X).max()
