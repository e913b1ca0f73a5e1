"""Several labels per sample: the kernels, the loss, its bound, and the blocks that see it."""

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

from lysep_fast.blocks import (
    Auxiliaries,
    CoMovingWeights,
    LayerWeights,
    NewtonOutput,
    OutputWeights,
)
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.kernels.binary import binary_cross_entropy_into, labels_correct_into
from lysep_fast.layers.dense import NORMS
from lysep_fast.losses import BinaryCrossEntropy
from lysep_fast.network import Network
from lysep_fast.network.parameters import Parameters
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.batch import BatchPass, batch_shapes
from lysep_fast.passes.full import evaluate, gradient_pass
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import Alternating
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team, Workspace

WIDTHS = (3, 4, 5, 4, 2)
DTYPES = [np.float64, np.float32]
LONG = np.longdouble
OPTIONS = {"plain": {}, "everything": {"sample_weight": True, "alpha": 0.03}}
BLOCKS = {
    "newton": lambda: NewtonOutput(),
    "gradient": lambda: OutputWeights(),
    "last-rows": lambda: Auxiliaries(3, reach=4.0),
    "hidden-rows": lambda: Auxiliaries(1),
    "weights": lambda: LayerWeights(3, "joint"),
    "joint-auxiliaries": lambda: JointAuxiliaries(),
    "co-moving": lambda: CoMovingWeights(),
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def labelled(n, K, dtype=np.float64, scale=1.0, seed=0):
    """Return logits and labels."""
    rng = np.random.default_rng(seed)
    U = (scale * rng.normal(size=(n, K))).astype(dtype)
    return U, rng.integers(0, 2, (n, K)).astype(np.uint8)


def exact(U, Y):
    """Return losses and gradients in extended precision, by the definitions."""
    z = np.where(Y == 1, -U.astype(LONG), U.astype(LONG))
    e = np.sum(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), axis=1)
    slope = np.where(z >= 0, 1, np.exp(-np.abs(z))) / (1 + np.exp(-np.abs(z)))
    return e, np.where(Y == 1, -slope, slope)


# --- the kernels -------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("K", [1, 2, 33])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_kernels_against_the_definition(K, dtype, scale):
    U, Y = labelled(60 if JIT_ENABLED else 5, K, dtype, scale)
    e, G = exact(U, Y)
    rtol, tiny = 8 * np.finfo(dtype).eps, 4 * np.finfo(dtype).tiny  # below it there is 0
    for of, wanted in ((0, U), (1, G), (2, 2 * e[:, None] * G)):
        V, found = U.copy(), np.empty(len(U), dtype)
        binary_cross_entropy_into(V, Y, found, V, of)  # in place
        np.testing.assert_allclose(found.astype(LONG), e, rtol=rtol, atol=tiny)
        lost = tiny * (2 * e.max() if of == 2 else 1)
        np.testing.assert_allclose(V.astype(LONG), wanted, rtol=2 * rtol, atol=lost)


@every_dtype
def test_logits_of_any_size_give_finite_losses_and_gradients(dtype):
    U = np.array([[1e3, -1e3, 0.0], [-1e3, 1e3, 0.0], [-80.0, 80.0, -80.0]], dtype)
    Y = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 0]], np.uint8)
    e, G = np.empty(3, dtype), np.empty_like(U)
    binary_cross_entropy_into(U, Y, e, G, 1)
    np.testing.assert_allclose(e[:2], [math.log(2), 2000 + math.log(2)], rtol=1e-6)
    assert e[2] == pytest.approx(3 * math.exp(-80.0), rel=1e-5)  # not rounded to 0
    np.testing.assert_array_equal(G[1], [-1, 1, -0.5])
    assert G[2, 1] == pytest.approx(-math.exp(-80.0), rel=1e-5)
    binary_cross_entropy_into(U, Y, e, G, 2)
    assert np.all(np.isfinite(G))


def test_nan_stays_in_its_row_and_is_never_right():
    U, Y = np.array([[np.nan, 1.0], [2.0, -1.0], [0.0, -1.0]]), np.array([[0, 1], [1, 0], [0, 0]])
    e, G, hit = np.empty(3), np.empty((3, 2)), np.empty(3)
    Y = Y.astype(np.uint8)
    labels_correct_into(U, Y, hit)
    assert hit.tolist() == [0.0, 1.0, 1.0]
    labels_correct_into(U, np.ones_like(Y), hit)
    assert hit.tolist() == [0.0, 0.0, 0.0]
    binary_cross_entropy_into(U, Y, e, G, 1)
    assert np.isnan(e).tolist() == [True, False, False]
    loss = BinaryCrossEntropy(Y)
    loss.curvature(G, Y, e, size := np.empty(3), v := np.empty(3))
    assert np.isnan(size).tolist() == np.isnan(v).tolist() == [True, False, False]


# --- the loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients_are_finite_differences(weighted):
    U, Y = labelled(7, 3)
    n, rows = len(U), slice(0, len(U))
    c = draw_weights(n) if weighted else np.ones(n)
    loss = BinaryCrossEntropy(Y, c if weighted else None)
    e, G, value, doubt = np.empty(n), np.empty_like(U), np.empty(n), np.empty(n)

    def errors(V):
        return exact(V, Y)[0].astype(float)

    loss.losses(U, Y, value)
    loss.gradient(U, Y, e, G)
    np.testing.assert_allclose(e, errors(U), rtol=1e-14)
    np.testing.assert_allclose(value, e, rtol=1e-14)
    slope = finite_difference_gradient(lambda V: np.sum(errors(V)), U)
    np.testing.assert_allclose(G, slope, atol=1e-8)
    size = np.linalg.norm(G, axis=1)
    loss.squares_gradient(U, rows, value, G)
    np.testing.assert_allclose(value, e**2, rtol=1e-13)
    of_squares = finite_difference_gradient(lambda V: np.sum(errors(V) ** 2), U)
    np.testing.assert_allclose(G, of_squares, atol=1e-7)
    sums = loss.measure_gradient(U, rows, Workspace(), G, doubt)
    np.testing.assert_allclose(G, c[:, None] * slope, atol=1e-8)
    np.testing.assert_allclose(doubt, c * size, rtol=1e-12)
    hits = np.sum(c * np.all((U > 0) == Y, axis=1))
    assert sums == pytest.approx((np.sum(c * e), np.sum(c * e**2), hits, np.sum(c * e)))
    loss.gradient_bound(G, doubt, value)
    np.testing.assert_array_equal(value, doubt)
    assert loss.measure(U, rows, Workspace()) == sums
    assert loss.measure(U, rows, Workspace(), value) == pytest.approx(sums)
    np.testing.assert_allclose(value, doubt)
    assert loss.reported(e, rows) == pytest.approx(sums[:2])
    assert loss.score(sums[0] / n, sums[2] / n) == sums[2] / n
    for squared, wanted in ((False, slope), (True, of_squares)):
        V = U.copy()
        assert loss.batch_gradient(V, rows, value, squared) == pytest.approx(hits)
        np.testing.assert_allclose(V, c[:, None] * wanted, atol=1e-7)
        np.testing.assert_allclose(value, e)


numbers = st.lists(st.floats(-50, 50), min_size=4, max_size=4)


@settings(max_examples=200 if JIT_ENABLED else 10, deadline=None)
@given(a=numbers, b=numbers, labels=st.lists(st.integers(0, 1), min_size=4, max_size=4))
def test_losses_have_the_lipschitz_constant_and_the_curvature_that_they_say(a, b, labels):
    U, Y = np.array([a, b]), np.array([labels, labels], np.uint8)
    loss = BinaryCrossEntropy(Y)
    e, G, size, v = np.empty(2), np.empty((2, 4)), np.empty(2), np.empty(2)
    loss.gradient(U, Y, e, G)
    distance = np.linalg.norm(U[0] - U[1])
    assert abs(e[0] - e[1]) <= math.sqrt(loss.slope) * distance * (1 + 1e-12) + 1e-12
    loss.curvature(G, Y, e, size, v)
    bound = loss.half_curvature(e**2)
    for n in range(2):
        p = np.abs(G[n])
        half = np.outer(G[n], G[n]) + e[n] * np.diag(p * (1 - p))  # of e^2, as derived
        largest = np.linalg.eigvalsh(half)[-1]
        assert size[n] == pytest.approx(G[n] @ G[n])
        assert largest <= v[n] * (1 + 1e-12)
        assert v[n] <= bound[n] * (1 + 1e-12)


def test_the_constants_cannot_be_smaller():
    U, Y = np.array([[40.0] * 9, [41.0] * 9]), np.zeros((2, 9), np.uint8)
    e, _ = exact(U, Y)
    loss = BinaryCrossEntropy(Y)
    assert e[1] - e[0] == pytest.approx(3.0 * np.linalg.norm(U[1] - U[0]))  # sqrt(9)
    assert loss.half_curvature(np.array([1e4]))[0] == 9 + 25
    # The Hessian of e^2 by finite differences, where the labels are undecided.
    V, Z = np.zeros((1, 3)), np.zeros((1, 3), np.uint8)

    def gradient_in(k):
        return finite_difference_gradient(
            lambda W: float(exact(W, Z)[0][0] ** 2), V + 1e-4 * np.eye(3)[k]
        ) - finite_difference_gradient(
            lambda W: float(exact(W, Z)[0][0] ** 2), V - 1e-4 * np.eye(3)[k]
        )

    H = np.vstack([gradient_in(k) for k in range(3)]) / 2e-4
    e0 = 3 * math.log(2)
    np.testing.assert_allclose(H, 0.5 * np.ones((3, 3)) + 0.5 * e0 * np.eye(3), atol=1e-4)


# --- the bound ---------------------------------------------------------------------------------


@settings(max_examples=60 if JIT_ENABLED else 5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(1, 5),
    activation=st.sampled_from(["tanh", "relu", "gelu", "sigmoid", "sin"]),
    norm=st.sampled_from(NORMS),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
    K=st.sampled_from([1, 3, 12]),
    weighted=st.booleans(),
)
def test_the_separated_loss_bounds_the_loss(seed, depth, activation, norm, size, K, weighted):
    rng = np.random.default_rng(seed)
    widths = (*rng.integers(1, 5, depth).tolist(), K)
    network, n = Network.dense(widths, activation, output_bias=True), 6
    c = 3.0 * draw_weights(n) if weighted else None  # of any mean
    X, Y = rng.normal(size=(n, widths[0])), rng.integers(0, 2, (n, K)).astype(np.uint8)
    problem = TrainingProblem(network, BinaryCrossEntropy(Y, c), ArraySamples(X), Team(1), norm)
    W, b = network.initial_weights(rng, np.dtype(float))
    state = problem.synchronised_state([size * w for w in W], b)
    for l in range(1, depth):
        state.A[l] += size * rng.normal(size=state.A[l].shape)
    truth, C = Reference.of(problem, state), problem.objective.constant
    powers = network.lipschitz ** (2.0 * np.arange(1, depth))
    mean = 1.0 if c is None else math.sqrt(np.mean(c))
    assert pytest.approx(mean * math.sqrt(1 + K * np.sum(powers))) == C
    assert truth.loss() <= C * math.sqrt(truth.separated_loss()) * (1 + 1e-9)


def test_a_constant_without_the_number_of_labels_would_be_broken():
    K = 12
    network = Network.dense((1, 1, K), "identity", output_bias=False)
    loss = BinaryCrossEntropy(np.zeros((1, K), np.uint8))
    problem = TrainingProblem(network, loss, ArraySamples(np.ones((1, 1))), Team(1))
    W = [np.empty((0, 0)), np.array([[100.0]]), np.ones((K, 1))]
    state = problem.synchronised_state(W, [np.empty(0), np.zeros(1), np.zeros(K)])
    state.A[1][:] = 90.0  # the surrogate is 10 below the network, and pays as much as it gains
    truth = Reference.of(problem, state)
    ratio = truth.loss() / math.sqrt(truth.separated_loss())
    assert math.sqrt(1.0 + 0.01 * K) < ratio <= problem.objective.constant


# --- the blocks and passes ---------------------------------------------------------------------


@pytest.fixture
def make(make_problem, refresh_state):
    """Return the function that draws a problem with labels and a random state."""

    def draw(widths=WIDTHS, rows=16 if JIT_ENABLED else 4, **options):
        options = {"output_bias": True} | options
        classes, state = make_problem(widths, rows=rows, **options)
        _, Y = labelled(classes.n_samples, widths[-1], seed=3)
        problem = TrainingProblem(
            classes.network,
            BinaryCrossEntropy(Y, classes.loss.sample_weight),
            classes.samples,
            classes.team,
            classes.objective.norm,
            alpha=classes.alpha,
        )
        problem.blocks = row_blocks(problem.n_samples, rows)
        refresh_state(problem, state)
        return problem, state

    return draw


@pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
@every_option
@every_dtype
@pytest.mark.parametrize("output_bias", [False, True])
def test_every_block_keeps_the_contract(make, make_block, options, dtype, output_bias):
    problem, state = make(dtype=dtype, output_bias=output_bias, **options)
    assert check_contract(make_block(), problem, state).accepted > 0
    check_contract(make_block(), problem, state)


@every_option
def test_the_formulas_of_the_reference_are_finite_differences(make, options):
    problem, state = make(n=5, **options)
    truth = Reference.of(problem, state)
    out_W, out_b = truth.output_gradient()
    for group, l, gradient in [
        ("A", 3, truth.auxiliary_gradient(3)),
        ("W", 4, out_W),
        ("b", 4, out_b),
    ]:
        wanted = finite_difference_gradient(replaced(truth, group, l), getattr(truth, group)[l])
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


def test_newton_steps_keep_what_all_outputs_have_in_common(make):
    # Adding a number to all logits matters here: the common part must not be taken away.
    problem, state = make((3, 2), residual=0.0)
    problem.loss.y[:] = 1
    problem.synchronise(state)
    block = NewtonOutput(steps=8)
    before = Reference.of(problem, state).loss()
    block.update(problem, state)
    assert Reference.of(problem, state).loss() < 0.1 * before
    assert np.all(state.b[1] > 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_passes_have_the_gradient_of_the_true_network(make, weighted):
    problem, state = make(n=9, sample_weight=weighted or None)
    truth, team = Reference.of(problem, state), problem.team
    found = gradient_pass(problem.network, state.W, state.b, problem.batch, team, grams=True)
    assert found.evaluation.loss == pytest.approx(9 * truth.loss())
    assert evaluate(problem.network, state.W, state.b, problem.batch, team) == found.evaluation
    layers = Parameters.pack(batch_shapes(problem.network), state.W, state.b).layers
    batch = BatchPass(problem.network, layers, problem.samples, 9, team, [2])
    batch(np.arange(9), problem.loss, slice(0, 9), grams=True)
    W, b = [w.copy() for w in state.W], [v.copy() for v in state.b]
    unpacked(batch.gradient, W, b)
    for l in (1, 4):

        def total(value, l=l):
            kept, truth.W[l] = truth.W[l], value
            result = 9 * truth.loss()
            truth.W[l] = kept
            return result

        wanted = finite_difference_gradient(total, truth.W[l])
        own = found.gradient.layers[l][:, :-1]
        np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(W[l], wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("variant", ["paper", "co-moving"])
@every_option
def test_sweeps_are_monotone_and_keep_the_bound(make, variant, options):
    problem, state = make(residual=0.0, **options)
    problem.synchronise(state)
    solver = Alternating(variant=variant)
    solver.start(problem, state)
    first = before = Reference.of(problem, state).penalised()
    for _ in range(8 if JIT_ENABLED else 2):
        solver.step(problem, state)
        truth = Reference.of(problem, state)
        assert truth.penalised() <= before * (1 + 1e-12)
        LS = math.sqrt(truth.separated_loss())
        assert truth.loss() <= problem.objective.constant * LS * (1 + 1e-9)
        before = truth.penalised()
    assert before < first
