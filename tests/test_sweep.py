"""Whole sweeps against the plain NumPy loop, and closed forms that are known in advance."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import evaluated
from reference import Reference, train

from lysep_fast.blocks import Auxiliaries, LayerWeights, OutputWeights
from lysep_fast.blocks.sweep import Sweep, alternating_order
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.solvers import Alternating

N = 60 if JIT_ENABLED else 25
WIDTHS = (3, 4, 5, 4, 3)


def assert_close(state, truth, rtol):
    for l in range(1, truth.depth + 1):
        for actual, wanted in ((state.W[l], truth.W[l]), (state.b[l], truth.b[l])):
            np.testing.assert_allclose(actual, wanted, atol=rtol * max(1, np.abs(wanted).max()))
    for l in range(1, truth.depth):
        np.testing.assert_allclose(state.A[l], truth.A[l], atol=rtol * np.abs(truth.A[l]).max())


def sweeps(problem, state, count, **options):
    """Do sweeps in place and return LS after each."""
    solver = Alternating(**options)
    solver.start(problem, state)
    history = []
    for _ in range(count):
        solver.step(problem, state)
        history.append(problem.objective.separated_loss(state).root)
    return history


@pytest.mark.parametrize("bias", ["after", "joint"])
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_sweeps_equal_those_of_the_plain_loop(make_problem, activation, output_bias, bias):
    problem, state = make_problem(
        WIDTHS, activation, n=N, rows=16, residual=0.5, output_bias=output_bias
    )
    truth = Reference.of(problem, state)
    history = sweeps(problem, state, 4, bias=bias)
    np.testing.assert_allclose(history, train(truth, 4, bias=bias), rtol=1e-10)
    assert_close(state, truth, 1e-9)


@pytest.mark.parametrize("widths", [(3, 2), (2, 5, 2), (2, 3, 3, 3, 3, 3, 3)], ids=str)
def test_sweeps_of_any_depth_equal_those_of_the_plain_loop(make_problem, widths):
    problem, state = make_problem(widths, n=N, rows=16, residual=0.5)
    truth = Reference.of(problem, state)
    np.testing.assert_allclose(sweeps(problem, state, 3), train(truth, 3), rtol=1e-9)
    assert_close(state, truth, 1e-8)


@pytest.mark.parametrize("tau", [1e-2, 10.0])
def test_sweeps_with_one_step_for_a_whole_matrix_equal_those_of_the_plain_loop(make_problem, tau):
    # The paper's line search: a fixed first step, the same for all samples.
    problem, state = make_problem(WIDTHS, n=N, rows=16, residual=0.5)
    truth = Reference.of(problem, state)
    history = sweeps(problem, state, 4, line_search="matrix", step=tau)
    np.testing.assert_allclose(history, train(truth, 4, tau=tau), rtol=1e-10)
    assert_close(state, truth, 1e-9)


def test_the_options_of_the_searches_reach_the_blocks(make_problem):
    problem, state = make_problem(WIDTHS, n=N, rows=16, residual=0.5)
    truth = Reference.of(problem, state)
    options = {"reach": 2.0, "shrink": 0.5, "max_trials": 3}
    history = sweeps(problem, state, 3, output_growth=2.0, **options)
    np.testing.assert_allclose(history, train(truth, 3, growth=2.0, **options), rtol=1e-10)
    assert_close(state, truth, 1e-9)


def test_several_gradient_steps_a_sweep_are_those_steps_one_after_the_other(make_problem):
    problem, state = make_problem(WIDTHS, n=N, rows=16, residual=0.5)
    truth = Reference.of(problem, state)
    sweeps(problem, state, 1, auxiliary_steps=3, output_steps=2)
    step = None
    for _ in range(2):
        step = 1.5 * truth.update_output(step, 0.25, 12)
    for l in (3, 2, 1):
        for _ in range(3):
            truth.update_auxiliary_rows(l, 4.0, 0.25, 12)
        truth.update_weights(l, "after")
    assert_close(state, truth, 1e-10)


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_separated_loss_never_rises_and_bounds_the_loss(make_problem, norm, activation, dtype):
    problem, state = make_problem(WIDTHS, activation, n=N, norm=norm, dtype=dtype)
    solver = Alternating()
    assert solver.promise == "F"
    solver.start(problem, state)
    eps = float(np.finfo(dtype).eps)
    for _ in range(12):
        before = Reference.of(problem, state).separated_loss()
        solver.step(problem, state)
        truth = Reference.of(problem, state)
        assert truth.separated_loss() <= before * (1 + 200 * eps)
        bound = problem.objective.constant * np.sqrt(truth.separated_loss())
        assert truth.loss() <= bound * (1 + 1e-12)


def test_a_sweep_goes_from_the_last_layer_to_the_first():
    blocks = alternating_order(4, OutputWeights(), Auxiliaries, LayerWeights)
    names = [block.name for block in blocks]
    assert names == ["W_L", "A_3", "W_3, b_3", "A_2", "W_2, b_2", "A_1", "W_1, b_1"]
    assert [block.name for block in alternating_order(1, OutputWeights(), Auxiliaries, None)] == [
        "W_L"
    ]


def test_a_sweep_reports_on_every_block_in_order(make_problem):
    problem, state = make_problem(WIDTHS)
    blocks = [LayerWeights(2), Auxiliaries(1), OutputWeights()]
    steps = Sweep(blocks)(problem, state)
    assert [step.block for step in steps] == ["W_2, b_2", "A_1", "W_L"]


# --- linear networks, whose closed form is known -----------------------------------------------


def test_a_planted_linear_network_is_recovered_from_its_auxiliaries(make_problem, refresh_state):
    # Widths that do not grow keep every layer's features of full rank.
    problem, state = make_problem((5, 4, 3, 2), "identity", n=N, residual=0.0)
    rng = np.random.default_rng(9)
    planted = Reference.of(problem, state)
    for l in (1, 2):
        planted.W[l] = rng.normal(size=planted.W[l].shape)
        planted.b[l] = rng.normal(size=planted.b[l].shape)
        planted.A[l] = planted.prediction(l)
        state.A[l][...] = planted.A[l]
    refresh_state(problem, state)
    for l in (1, 2):
        LayerWeights(l, "joint").update(problem, state)
        np.testing.assert_allclose(state.W[l], planted.W[l], atol=1e-11)
        np.testing.assert_allclose(state.b[l], planted.b[l], atol=1e-11)
    truth = Reference.of(problem, state)
    np.testing.assert_allclose(truth.logits(), planted.logits(), atol=1e-10)
    np.testing.assert_allclose(evaluated(problem, state)[0], planted.loss(), rtol=1e-10)


def test_noise_on_planted_auxiliaries_gives_the_regression_on_them(make_problem, refresh_state):
    problem, state = make_problem((5, 4, 2), "identity", n=N, residual=0.0)
    rng = np.random.default_rng(3)
    state.A[1][...] = (
        problem.samples.X @ rng.normal(size=(5, 4)) + 0.1 * rng.normal(size=(N, 4)) + 2.0
    )
    refresh_state(problem, state)
    LayerWeights(1, "joint").update(problem, state)
    design = np.hstack([problem.samples.X, np.ones((N, 1))])
    wanted = np.linalg.lstsq(design, state.A[1], rcond=None)[0].T
    np.testing.assert_allclose(np.column_stack([state.W[1], state.b[1]]), wanted, atol=1e-12)
