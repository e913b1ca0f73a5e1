"""Separated loss, adaptive weights, ridge, and the upper bound CE <= C LS as a property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import copied, evaluated
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference, cross_entropy

from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.dense import NORMS
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem, bound_constant
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.threads.team import Team

NAMES = list(ACTIVATION_CODES)
WIDTHS = [(2, 3), (2, 4, 3), (3, 5, 4, 2), (2, 3, 1, 4, 2, 2)]


def check_bound(loss, constant, separated_loss, rtol=1e-12):
    """Raise AssertionError unless ``loss <= constant * separated_loss``."""
    assert loss <= constant * separated_loss * (1 + rtol), (
        f"the bound is violated: {loss} > {constant} * {separated_loss}"
    )


# --- the terms of F ----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("output_bias", [False, True])
def test_the_separated_loss_agrees_with_the_reference_term_by_term(
    make_problem, norm, widths, dtype, output_bias
):
    problem, state = make_problem(widths, norm=norm, dtype=dtype, output_bias=output_bias)
    truth = Reference.of(problem, state)
    loss = problem.objective.separated_loss(state)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(loss.data, truth.data(), rtol=rtol)
    np.testing.assert_allclose(loss.penalties, truth.penalties(), rtol=rtol)
    weights = [truth.weight(l) for l in range(1, truth.depth)]
    np.testing.assert_allclose(loss.weights, weights, rtol=rtol)
    np.testing.assert_allclose(loss.total, truth.separated_loss(), rtol=rtol)
    assert loss.root == pytest.approx(math.sqrt(loss.total), rel=1e-15)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_the_ridge_is_the_double_sum_of_what_the_lower_weights_cost(make_problem, norm, widths):
    problem, state = make_problem(widths, norm=norm)
    truth = Reference.of(problem, state)
    for l in range(1, truth.depth + 1):
        np.testing.assert_allclose(problem.objective.ridge(l, state), truth.ridge(l), rtol=1e-12)
    assert problem.objective.ridge(1, state) == 0.0


@pytest.mark.parametrize("l", [2, 3, 4])
def test_the_ridge_is_the_slope_of_the_lower_penalties_in_the_squared_norm(make_problem, l):
    # Scaling W_l changes the weights of the layers below: F moves by w_l eta_l d||W_l||^2 / n.
    problem, state = make_problem((2, 3, 4, 3, 2))
    loss, w = problem.objective.separated_loss(state), problem.objective.weights(state.nu)
    moved = copied(state)
    moved.nu[l] += 0.125
    change = np.sum(problem.objective.separated_loss(moved).penalties[: l - 1])
    change -= np.sum(loss.penalties[: l - 1])
    ridge = problem.objective.ridge(l, state)
    np.testing.assert_allclose(change * problem.n_samples, 0.125 * w[l] * ridge, rtol=1e-10)


def test_the_weight_of_the_last_layer_is_one(make_problem):
    problem, state = make_problem()
    assert problem.objective.weights(state.nu)[-1] == 1.0


# --- states ------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_a_synchronised_state_has_no_residuals_and_the_loss_of_the_network(
    make_problem, widths, output_bias
):
    problem, state = make_problem(widths, output_bias=output_bias)
    problem.synchronise(state)
    truth = Reference.of(problem, state)
    for l in range(1, truth.depth):
        np.testing.assert_allclose(state.A[l], truth.prediction(l), rtol=1e-12, atol=1e-13)
        assert not np.any(state.R[l])
    assert not np.any(state.r2)
    e = cross_entropy(truth.logits(), truth.y)
    np.testing.assert_allclose(state.e2, np.sum(e**2), rtol=1e-12)
    loss, accuracy = evaluated(problem, state)
    np.testing.assert_allclose(loss, e.mean(), rtol=1e-12)
    assert accuracy == truth.accuracy()


def test_evaluation_is_of_the_true_network_not_of_the_auxiliaries(make_problem):
    problem, state = make_problem(residual=2.0, scale=4.0)
    truth = Reference.of(problem, state)
    loss, _ = evaluated(problem, state)
    np.testing.assert_allclose(loss, truth.loss(), rtol=1e-12)
    surrogate = np.mean(cross_entropy(truth.surrogate_logits(), truth.y))
    assert abs(loss - surrogate) > 0.01 * loss


def test_a_copied_state_shares_the_input_only(make_problem):
    _, state = make_problem()
    copy = copied(state)
    assert copy.A[0] is state.A[0]
    assert copy.depth == state.depth == 3
    pairs = zip(
        [*state.W, *state.b, *state.A[1:], *state.R, state.nu, state.r2],
        [*copy.W, *copy.b, *copy.A[1:], *copy.R, copy.nu, copy.r2],
        strict=True,
    )
    for original, own in pairs:
        np.testing.assert_array_equal(original, own)
        assert not np.shares_memory(original, own)
    assert copy.e2 == state.e2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["W", "b", "nu", "r2", "e2"])
def test_a_state_knows_whether_it_is_finite(make_problem, where, bad):
    _, state = make_problem()
    assert state.is_finite()
    if where == "e2":
        state.e2 = bad
    elif where in ("nu", "r2"):
        getattr(state, where)[1] = bad
    else:
        getattr(state, where)[2].flat[0] = bad
    assert not state.is_finite()


# --- the bound ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 10])
def test_the_constant_is_sqrt_2L_minus_1_for_1_lipschitz_activations(depth):
    assert bound_constant(depth) == pytest.approx(math.sqrt(2 * depth - 1), rel=1e-15)


@pytest.mark.parametrize("c", [0.25, 1.5])
def test_the_constant_sums_the_powers_of_the_lipschitz_constant(c):
    wanted = math.sqrt(1 + 2 * (c**2 + c**4 + c**6))
    assert bound_constant(4, c) == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_the_objective_takes_the_lipschitz_constant_of_the_activation(make_problem, name):
    problem, _ = make_problem((2, 2, 2, 2), name)
    lipschitz = problem.network.features[1].lipschitz
    assert problem.network.lipschitz == lipschitz
    assert problem.objective.constant == bound_constant(3, lipschitz)


@settings(deadline=None, max_examples=300 if JIT_ENABLED else 25)
@given(
    seed=st.integers(0, 2**32 - 1),
    hidden=st.lists(st.integers(1, 5), min_size=0, max_size=4),
    activation=st.sampled_from(NAMES),
    norm=st.sampled_from(NORMS),
    scale=st.sampled_from([0.01, 1.0, 3.0, 30.0]),
    residual=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    output_bias=st.booleans(),
    n_classes=st.integers(2, 4),
)
def test_the_cross_entropy_is_bounded_by_the_separated_loss(
    make_problem, seed, hidden, activation, norm, scale, residual, output_bias, n_classes
):
    problem, state = make_problem(
        (2, *hidden, n_classes), activation, n=4, rows=3, seed=seed, norm=norm, scale=scale,
        residual=residual, output_bias=output_bias,
    )  # fmt: skip
    loss, _ = evaluated(problem, state)
    separated = problem.objective.separated_loss(state).root
    check_bound(loss, problem.objective.constant, separated, rtol=1e-9)
    truth = Reference.of(problem, state)
    check_bound(
        truth.loss(), problem.objective.constant, math.sqrt(truth.separated_loss()), rtol=1e-9
    )


def sharp_state(depth, norm):
    """Return a linear chain of one neuron a layer at which the bound is nearly an equality.

    With the losses e_n far from 0 and every ``sqrt(w_l) R_l = sqrt(2) e``, all pushing towards
    the wrong class, each inequality of the proof is an equality.
    """
    network = Network.dense((1,) * depth + (2,), "identity")
    problem = TrainingProblem(
        network, CrossEntropy(np.array([0]), 2), ArraySamples(np.ones((1, 1))), Team(1), norm
    )
    W = [np.empty((0, 0)), *(np.full((1, 1), 0.5 + l) for l in range(1, depth))]
    W.append(np.array([[-50.0], [50.0]]))
    b = [np.empty(0), *(np.zeros(1) for _ in range(1, depth)), np.zeros(2)]
    state = problem.synchronised_state(W, b)
    truth = Reference.of(problem, state)
    truth.norm = norm
    if depth > 1:
        state.A[depth - 1][...] = 1.0  # the surrogate loss is about 100
        for l in range(depth - 1, 0, -1):
            R = -math.sqrt(2 * 100.0**2 / truth.weight(l))
            state.R[l][...] = R
            state.r2[l] = R**2
            below = (state.A[l][0, 0] - R) / W[l][0, 0]
            if l > 1:
                state.A[l - 1][...] = below
            else:
                b[1][...] = state.A[1][0, 0] - R - W[1][0, 0]
        truth = Reference.of(problem, state)
        state.e2 = truth.data()
    return problem, state


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_the_constant_cannot_be_smaller_and_the_check_would_notice(depth, norm):
    problem, state = sharp_state(depth, norm)
    loss, _ = evaluated(problem, state)
    separated = problem.objective.separated_loss(state).root
    truth = Reference.of(problem, state)
    np.testing.assert_allclose(separated**2, truth.separated_loss(), rtol=1e-9)
    check_bound(loss, problem.objective.constant, separated)
    with pytest.raises(AssertionError, match="the bound is violated"):
        check_bound(loss, 0.999 * problem.objective.constant, separated)
