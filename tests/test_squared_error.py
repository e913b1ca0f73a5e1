"""Squared error: the loss, its bound, and the blocks that see it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import draw_weights
from contract import check_contract, replaced
from helpers import JointAuxiliaries, unpacked
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference, finite_difference_gradient

from lysep_fast import train
from lysep_fast.blocks import (
    Auxiliaries,
    CoMovingWeights,
    LayerWeights,
    OutputLeastSquares,
    OutputWeights,
)
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.dense import NORMS
from lysep_fast.losses import SquaredError
from lysep_fast.network import Network
from lysep_fast.network.parameters import Parameters
from lysep_fast.objective import TrainingProblem, bound_constant
from lysep_fast.passes.batch import BatchPass, batch_shapes
from lysep_fast.passes.full import evaluate, gradient_pass
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import Alternating
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team, Workspace

WIDTHS = (3, 4, 5, 4, 2)
DTYPES = [np.float64, np.float32]
OPTIONS = {
    "plain": {},
    "weights": {"sample_weight": True},
    "decay": {"alpha": 0.03},
    "everything": {"sample_weight": True, "alpha": 0.03},
}
BLOCKS = {
    "closed-form": lambda: OutputLeastSquares(4, True),
    "gradient": lambda: OutputWeights(),
    "last-rows": lambda: Auxiliaries(3, reach=4.0),
    "last-matrix": lambda: Auxiliaries(3, line_search="matrix"),
    "hidden-rows": lambda: Auxiliaries(1),
    "weights": lambda: LayerWeights(3, "joint"),
    "joint-auxiliaries": lambda: JointAuxiliaries(),
    "co-moving": lambda: CoMovingWeights(),
}
VARIANTS = {"paper": {}, "co-moving": {"variant": "co-moving"}}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
every_block = pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())


@pytest.fixture
def make(make_problem, refresh_state):
    """Return the function that draws a problem with the squared error and a random state."""

    def draw(widths=WIDTHS, *args, rows=16 if JIT_ENABLED else 4, dtype=np.float64, **options):
        options = {"output_bias": True} | options
        classes, state = make_problem(widths, *args, dtype=dtype, rows=rows, **options)
        T = np.random.default_rng(3).normal(size=(classes.n_samples, widths[-1])).astype(dtype)
        loss = SquaredError(T, classes.loss.sample_weight)
        norm = classes.objective.norm
        problem = TrainingProblem(
            classes.network, loss, classes.samples, classes.team, norm, alpha=classes.alpha
        )
        problem.blocks = row_blocks(problem.n_samples, rows)
        refresh_state(problem, state)
        return problem, state

    return draw


# --- the loss ----------------------------------------------------------------------------------


def drawn(n=7, K=3, weighted=True, dtype=np.float64):
    """Return a loss and outputs."""
    rng = np.random.default_rng(1)
    c = draw_weights(n).astype(dtype) if weighted else None
    U, T = (rng.normal(size=(n, K)).astype(dtype) for _ in range(2))
    return SquaredError(T, c), U


@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients_are_finite_differences(weighted):
    loss, U = drawn(weighted=weighted)
    n, rows = len(U), slice(0, len(U))
    c = loss.sample_weight if weighted else np.ones(n)
    e, G, value, doubt = np.empty(n), np.empty_like(U), np.empty(n), np.empty(n)

    def errors(V):
        return np.linalg.norm(V - loss.y, axis=1)

    loss.gradient(U, loss.y, e, G)
    np.testing.assert_allclose(e, errors(U), rtol=1e-14)
    wanted = finite_difference_gradient(lambda V: np.sum(errors(V)), U)
    np.testing.assert_allclose(G, wanted, atol=1e-8)
    loss.squares_gradient(U, rows, value, G)
    np.testing.assert_allclose(value, e**2, rtol=1e-13)
    wanted = finite_difference_gradient(lambda V: np.sum(errors(V) ** 2), U)
    np.testing.assert_allclose(G, wanted, atol=1e-8)
    sums = loss.measure_gradient(U, rows, Workspace(), G, doubt)
    wanted = finite_difference_gradient(lambda V: np.sum(c * errors(V) ** 2), U)
    np.testing.assert_allclose(G, wanted, atol=1e-8)
    np.testing.assert_array_equal(doubt, c)
    assert sums == pytest.approx((np.sum(c * e**2), np.sum(c * e**2), 0.0, np.sum(c * e**2)))
    bound = np.empty(n)
    loss.gradient_bound(G, doubt, bound)
    assert sums == pytest.approx(loss.measure(U, rows, Workspace(), doubt))
    np.testing.assert_allclose(bound, doubt, atol=1e-14)
    np.testing.assert_allclose(doubt, c * e, atol=1e-14)
    assert loss.reported(e, slice(0, len(e))) == pytest.approx(sums[:2])
    losses = np.empty(n)
    loss.losses(U, loss.y, losses)
    np.testing.assert_allclose(losses, e)


def test_a_perfect_fit_has_no_gradient_and_no_nan():
    loss, _ = drawn()
    U, e, G = loss.y.copy(), np.empty(7), np.empty((7, 3))
    loss.gradient(U, loss.y, e, G)
    assert not np.any(e)
    assert not np.any(G)
    assert loss.score(0.0, 0.0) == 1.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e120])
def test_standardising_is_undone_in_the_output_layer(weighted, centre, scale):
    rng = np.random.default_rng(0)
    T = scale * (5 + rng.normal(size=(20, 2)))
    c = draw_weights(20) if weighted else None
    loss = SquaredError.standardised(T, c, np.float64, centre=centre)
    mean = np.average(loss.y, axis=0, weights=c)
    np.testing.assert_allclose(np.average((loss.y - mean) ** 2, axis=0, weights=c), 1.0)
    assert loss.unit**2 == pytest.approx(np.mean(np.square(loss.units)))
    assert loss.variance == pytest.approx(2.0)
    S, W, b = rng.normal(size=(20, 3)), rng.normal(size=(2, 3)), np.array([0.5, -1.0]) * centre
    before, part = S @ W.T + b - loss.y, loss.take(slice(3, 9))
    part.restore([W], [b])
    np.testing.assert_allclose(
        S @ W.T + b - T, loss.units * before, rtol=1e-12, atol=1e-12 * scale
    )
    part.prepare([W], [b])
    np.testing.assert_allclose(S @ W.T + b - loss.y, before, rtol=1e-12, atol=1e-12)
    assert part.unit == loss.unit
    np.testing.assert_array_equal(part.y, loss.y[3:9])


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30])
def test_constant_targets_are_only_centred(value):
    loss = SquaredError.standardised(np.full((10, 1), value), None, np.float64, centre=True)
    assert loss.unit == 1.0
    assert np.abs(loss.y).max() <= 1e-15 * abs(value)


# --- the bound ---------------------------------------------------------------------------------


@settings(max_examples=60 if JIT_ENABLED else 5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(1, 5),
    activation=st.sampled_from(["tanh", "relu", "gelu", "sigmoid", "sin"]),
    norm=st.sampled_from(NORMS),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
    weighted=st.booleans(),
)
def test_the_separated_loss_bounds_the_mean_square_error(
    seed, depth, activation, norm, size, weighted
):
    rng = np.random.default_rng(seed)
    widths = (*rng.integers(1, 5, depth).tolist(), 2)
    network, n = Network.dense(widths, activation, output_bias=True), 6
    c = 3.0 * draw_weights(n) if weighted else None  # of any mean
    X, T = rng.normal(size=(n, widths[0])), size * rng.normal(size=(n, 2))
    problem = TrainingProblem(network, SquaredError(T, c), ArraySamples(X), Team(1), norm)
    W, b = network.initial_weights(rng, np.dtype(float))
    state = problem.synchronised_state([size * w for w in W], b)
    for l in range(1, depth):
        state.A[l] += size * rng.normal(size=state.A[l].shape)
    truth, C = Reference.of(problem, state), problem.objective.constant
    powers = network.lipschitz ** (2.0 * np.arange(1, depth))
    assert pytest.approx(math.sqrt(1 + np.sum(powers))) == C
    assert truth.loss() <= C**2 * truth.separated_loss() * (1 + 1e-9)


def test_the_bound_is_tighter_than_that_of_the_cross_entropy():
    assert bound_constant(5, 1.0, 1.0) == pytest.approx(math.sqrt(5))
    assert bound_constant(5) == pytest.approx(3.0)


# --- the blocks --------------------------------------------------------------------------------


@every_block
@every_option
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_block_keeps_the_contract(make, make_block, options, norm, dtype):
    problem, state = make(norm=norm, dtype=dtype, **options)
    assert check_contract(make_block(), problem, state).accepted > 0
    check_contract(make_block(), problem, state)


@pytest.mark.parametrize("output_bias", [False, True])
@every_option
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_the_closed_form_leaves_no_gradient_and_a_second_update_does_nothing(
    make, output_bias, options, dtype, tolerance
):
    problem, state = make(dtype=dtype, output_bias=output_bias, **options)
    block, truth = OutputLeastSquares(4, output_bias), Reference.of(problem, state)
    before = max(np.abs(g).max() for g in truth.output_gradient())
    assert block.update(problem, state).accepted == 1.0
    after = Reference.of(problem, state)
    assert max(np.abs(g).max() for g in after.output_gradient()) <= tolerance * before
    truth.update_output()
    np.testing.assert_allclose(state.W[4], truth.W[4], rtol=tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(state.b[4], truth.b[4], rtol=tolerance, atol=10 * tolerance)
    block.update(problem, state)
    np.testing.assert_allclose(state.W[4], after.W[4], rtol=tolerance, atol=10 * tolerance)


@every_option
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_formulas_of_the_reference_are_finite_differences(make, options, layer):
    problem, state = make(n=5, **options)
    truth = Reference.of(problem, state)
    (out_W, out_b), (in_W, _) = truth.output_gradient(), truth.weight_gradient(layer)
    for group, l, gradient in [
        ("A", layer, truth.auxiliary_gradient(layer)),
        ("W", layer, in_W),
        ("W", 4, out_W),
        ("b", 4, out_b),
    ]:
        wanted = finite_difference_gradient(replaced(truth, group, l), getattr(truth, group)[l])
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_passes_have_the_gradient_of_the_true_network(make, weighted):
    problem, state = make(n=9, sample_weight=weighted or None)
    truth, team = Reference.of(problem, state), problem.team
    found = gradient_pass(problem.network, state.W, state.b, problem.batch, team, grams=True)
    assert found.evaluation.loss == pytest.approx(9 * truth.loss())
    assert evaluate(problem.network, state.W, state.b, problem.batch, team) == found.evaluation
    assert found.gram_weight == pytest.approx(np.sum(truth.c))
    layers = Parameters.pack(batch_shapes(problem.network), state.W, state.b).layers
    batch = BatchPass(problem.network, layers, problem.samples, 9, team, [2])
    batch(np.arange(9), problem.loss, slice(0, 9), grams=True)
    W, b = [w.copy() for w in state.W], [v.copy() for v in state.b]
    unpacked(batch.gradient, W, b)
    for l in range(1, 5):
        for group, other in (("W", W[l]), ("b", b[l])):
            arrays = getattr(truth, group)

            def total(value, arrays=arrays, l=l):
                kept, arrays[l] = arrays[l], value
                result = 9 * truth.loss()
                arrays[l] = kept
                return result

            wanted = finite_difference_gradient(total, arrays[l])
            columns = slice(None, -1) if group == "W" else -1
            own = found.gradient.layers[l][:, columns]
            np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(other, wanted, rtol=1e-6, atol=1e-7)
    e = np.linalg.norm(truth.logits() - problem.loss.y, axis=1)
    np.testing.assert_allclose(batch.losses, e)


@every_variant
@every_option
@pytest.mark.parametrize("widths", [WIDTHS, (3, 5, 1), (3, 2)], ids=str)
def test_sweeps_are_monotone_and_keep_the_bound(make, variant, options, widths):
    problem, state = make(widths, residual=0.0, **options)
    problem.synchronise(state)
    solver = Alternating(**variant)
    solver.start(problem, state)
    first = before = Reference.of(problem, state).penalised()
    for _ in range(8 if JIT_ENABLED else 2):
        solver.step(problem, state)
        truth = Reference.of(problem, state)
        assert truth.penalised() <= before * (1 + 1e-12)
        assert truth.loss() <= problem.objective.constant**2 * truth.separated_loss() * (1 + 1e-9)
        before = truth.penalised()
    assert before < first


# --- targets far out ----------------------------------------------------------------------------


@pytest.mark.parametrize("far", [1e20, 1e110])
def test_a_target_of_weight_zero_may_be_as_far_out_as_it_likes(far):
    rng = np.random.default_rng(0)
    X, y, c = rng.normal(size=(30, 2)), rng.normal(size=30), np.ones(30)
    c[3], found = 0.0, []
    for y[3] in (0.0, far):
        found.append(
            train(
                X, y, sample_weight=c, loss="squared-error", hidden_layer_sizes=4, max_iter=5,
                random_state=0,
            )
        )  # fmt: skip
    near, away = (result.history[-1].loss for result in found)
    assert near < 2.0
    assert away == pytest.approx(near, rel=1e-9)


@pytest.mark.parametrize(("dtype", "far", "weight"), [(float, 1e120, 1e-260), ("f4", 1e14, 1e-37)])
def test_a_target_too_far_out_for_its_weight_is_refused(dtype, far, weight):
    X, y, c = np.linspace(-1, 1, 20)[:, None].astype(dtype), np.linspace(0, 1e-5, 20), np.ones(20)
    y[7], c[7] = far, weight
    with pytest.raises(ValueError, match=r"y\[7\] is .* float.*; leave .* sample_weight 0"):
        train(X, y, loss="squared-error", sample_weight=c)
