"""The quasi-Newton solver and its parts: passes, metric, direction, working set, start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    ACTIVATIONS,
    Reference,
    cross_entropy,
    finite_difference_gradient,
    softmax,
    targets,
)

from lysep_fast import train
from lysep_fast.datasets import make_checkerboard, make_circle
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.linalg.limited_memory import LimitedMemory
from lysep_fast.losses import CrossEntropy
from lysep_fast.metrics.layers import LayerMetric, measured_weights
from lysep_fast.network import Network
from lysep_fast.network.parameters import Parameters, parameter_shapes
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.full import Batch, evaluate, gradient_pass
from lysep_fast.passes.normalise import forward_normalisation, initial_weights
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.samples.working_set import doubtful_samples
from lysep_fast.solvers import QuasiNewton
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team

WIDTHS = (3, 4, 5, 3)
N = 23 if JIT_ENABLED else 7
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="too slow without compiled kernels")


def draw(
    activation="tanh",
    *,
    dtype=np.float64,
    output_bias=False,
    weighted=False,
    rows=8,
    smoothing=None,
):
    """Return a network, random parameters, and a batch in several blocks."""
    rng = np.random.default_rng(3)
    network = Network.dense(WIDTHS, activation, output_bias=output_bias)
    X, y = rng.normal(size=(N, 3)).astype(dtype), rng.integers(0, 3, N)
    c = rng.uniform(0.2, 2.0, N).astype(dtype) if weighted else None
    W, b = network.initial_weights(rng, np.dtype(dtype))
    if output_bias:
        b[3][:] = rng.normal(size=3)
    return (
        network,
        W,
        b,
        Batch(ArraySamples(X), CrossEntropy(y, 3, c, smoothing), row_blocks(N, rows)),
    )


def reference(network, W, b, batch):
    W, b = ([array.astype(float) for array in group] for group in (W, b))
    X = batch.samples.X.astype(float)
    truth = Reference(X, batch.loss.y, W, b, [X], network.features[-1].name)
    for l in range(1, network.depth):
        truth.A.append(truth.prediction(l))
    return truth


def sample_weights(batch):
    c = batch.loss.sample_weight
    return np.ones(len(batch)) if c is None else c.astype(float)


def plain_deltas(truth, c):
    G = softmax(truth.logits())
    G[np.arange(len(G)), truth.y] -= 1
    delta = [None] * truth.depth + [c[:, None] * G]
    for l in range(truth.depth - 1, 0, -1):
        delta[l] = (delta[l + 1] @ truth.W[l + 1]) * truth.ds(truth.A[l])
    return delta


# --- passes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_that_of_finite_differences(activation, output_bias, weighted, smoothing):
    network, W, b, batch = draw(
        activation, output_bias=output_bias, weighted=weighted, smoothing=smoothing
    )
    with Team(1) as team:
        found = gradient_pass(network, W, b, batch, team)
    truth, c = reference(network, W, b, batch), sample_weights(batch)
    theta = Parameters.pack(parameter_shapes(network), truth.W, truth.b)

    def loss(vector):
        theta.like(vector).unpack(truth.W, truth.b)
        return np.sum(c * cross_entropy(truth.logits(), truth.y, smoothing))

    assert found.evaluation.objective == pytest.approx(loss(theta.theta), rel=1e-12)
    wanted = theta.like(finite_difference_gradient(loss, theta.theta))
    if not output_bias:
        wanted.layers[3][:, -1] = 0.0
    size = np.abs(wanted.theta).max()
    np.testing.assert_allclose(found.gradient.theta, wanted.theta, rtol=1e-5, atol=1e-7 * size)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_the_sums_of_a_pass_are_those_of_plain_numpy(dtype, rtol, weighted):
    network, W, b, batch = draw(dtype=dtype, output_bias=True, weighted=weighted)
    with Team(1) as team:
        found = gradient_pass(network, W, b, batch, team, grams=True)
        doubt = np.empty(N, dtype)
        seen = evaluate(network, W, b, batch, team, doubt)
    truth, c = reference(network, W, b, batch), sample_weights(batch)
    e, P = cross_entropy(truth.logits(), truth.y), softmax(truth.logits())
    q = 1 - P[np.arange(N), truth.y]
    delta = plain_deltas(truth, c)
    correct = np.sum(c * (np.argmax(truth.logits(), axis=1) == truth.y))
    for evaluation in (seen, found.evaluation):
        assert evaluation.loss == pytest.approx(np.sum(c * e), rel=rtol)
        assert evaluation.squares == pytest.approx(np.sum(c * e**2), rel=rtol)
        assert evaluation.correct == pytest.approx(correct, rel=1e-6)
    np.testing.assert_allclose(doubt, c * q, rtol=rtol)
    assert found.gram_weight == pytest.approx(np.sum(c * q), rel=rtol)
    for l in (1, 2, 3):
        S = np.hstack([truth.features(l - 1), np.ones((N, 1))])
        gram = S.T @ ((c * q)[:, None] * S)
        np.testing.assert_allclose(found.grams[l], gram, rtol=rtol, atol=rtol * gram.max())
        gradient = delta[l].T @ S
        atol = rtol * np.abs(gradient).max()
        np.testing.assert_allclose(found.gradient.layers[l], gradient, rtol=rtol, atol=atol)
    assert np.all(found.sizes[1:] > 0)
    if not weighted:
        sizes = [np.sum(d**2) for d in delta[1:]]
        np.testing.assert_allclose(found.sizes[1:], sizes, rtol=rtol)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_doubt_of_smoothed_targets_is_the_distance_from_them(weighted):
    network, W, b, batch = draw(output_bias=True, weighted=weighted, smoothing=0.3)
    doubts, c = np.empty((2, N)), sample_weights(batch)
    with Team(1) as team:
        seen = evaluate(network, W, b, batch, team, doubts[0])
        found = gradient_pass(network, W, b, batch, team, grams=True, doubt_out=doubts[1])
    truth = reference(network, W, b, batch)
    P = softmax(truth.logits())
    distance = np.abs(P - targets(truth.y, 3, 0.3)).sum(axis=1) / 2
    np.testing.assert_allclose(doubts[0], c * distance, rtol=1e-11)
    np.testing.assert_allclose(doubts[1], c * distance, rtol=1e-11)
    # The metric stays that of 1 - p: the curvature of the loss does not vanish at the targets.
    q = 1 - P[np.arange(N), truth.y]
    assert found.gram_weight == pytest.approx(np.sum(c * q), rel=1e-11)
    objective = np.sum(c * cross_entropy(truth.logits(), truth.y, 0.3))
    assert seen.objective == pytest.approx(objective, rel=1e-12)
    assert seen.loss == pytest.approx(np.sum(c * cross_entropy(truth.logits(), truth.y)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_passes_do_not_depend_on_the_number_of_threads(dtype):
    network, W, b, batch = draw(dtype=dtype, weighted=True, rows=2)
    results = []
    for threads in (1, 2, 3):
        with Team(threads) as team:
            results.append(gradient_pass(network, W, b, batch, team, grams=True))
    for other in results[1:]:
        assert other.evaluation == results[0].evaluation
        np.testing.assert_array_equal(other.gradient.theta, results[0].gradient.theta)
        for mine, first in zip(other.grams[1:], results[0].grams[1:], strict=True):
            np.testing.assert_array_equal(mine, first)


# --- metric and direction ----------------------------------------------------------------------


@pytest.mark.parametrize("mu", [1e-6, 3e-2, 1.0])
def test_the_inverse_metric_is_that_of_a_dense_solve(mu):
    network, W, b, batch = draw(output_bias=True)
    with Team(1) as team:
        found = gradient_pass(network, W, b, batch, team, grams=True)
    weights = np.array([0.0, 0.3, 2.0, 1.0])
    out = found.gradient.like(np.empty_like(found.gradient.theta))
    LayerMetric(found.grams, weights, mu, [True] * 4).apply_inverse(found.gradient, out)
    for l in (1, 2, 3):
        M = found.grams[l] + mu * np.trace(found.grams[l]) / len(found.grams[l]) * np.eye(
            len(found.grams[l])
        )
        wanted = np.linalg.solve(M, found.gradient.layers[l].T).T / weights[l]
        np.testing.assert_allclose(
            out.layers[l], wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max()
        )


def test_measured_weights_never_exceed_the_spectral_ones():
    for activation in sorted(set(ACTIVATIONS) - {"gelu"}):  # the others are 1-Lipschitz
        network, W, b, batch = draw(activation)
        with Team(1) as team:
            found = gradient_pass(network, W, b, batch, team)
        w = measured_weights(found.sizes)
        spectral = 1.0
        for l in (2, 1):
            spectral *= np.linalg.norm(W[l + 1], 2) ** 2
            assert w[l] <= spectral * (1 + 1e-12)
        assert w[3] == 1.0


def test_vanishing_measured_weights_have_a_floor():
    w = measured_weights(np.array([0.0, 1e-40, 5.0, 1.0]))
    np.testing.assert_allclose(w[1:], [5e-12, 5.0, 1.0])
    assert np.all(measured_weights(np.zeros(4))[1:] > 0)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_the_limited_memory_direction_is_that_of_dense_bfgs(count):
    rng = np.random.default_rng(count)
    p, history = 7, 4
    root = rng.normal(size=(p, p))
    metric = root @ root.T + np.eye(p)
    curvature = rng.normal(size=(p, p))
    curvature = curvature @ curvature.T + 0.1 * np.eye(p)
    memory, pairs = LimitedMemory(history), []
    for _ in range(count):
        s = rng.normal(size=p)
        assert memory.remember(s, curvature @ s)
        pairs.append((s, curvature @ s))
    H = metric.copy()
    if pairs:
        s, y = pairs[-1]
        H *= (s @ y) / (y @ metric @ y)
    for s, y in pairs[-history:]:
        V = np.eye(p) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    g = rng.normal(size=p)
    direction = memory.direction(g, lambda vector: metric @ vector)
    np.testing.assert_allclose(direction, -H @ g, rtol=1e-9, atol=1e-11)
    assert g @ direction < 0
    memory.forget()
    np.testing.assert_allclose(memory.direction(g, lambda vector: metric @ vector), -metric @ g)


@pytest.mark.parametrize("curvature", [-1.0, 0.0, np.nan])
def test_pairs_without_curvature_are_refused(curvature):
    memory, s = LimitedMemory(3), np.array([1.0, 2.0])
    assert not memory.remember(s, curvature * s)
    assert not memory.pairs


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize(("cosine", "kept"), [(2e-12, True), (5e-13, False), (-2e-12, False)])
def test_pairs_are_kept_by_their_angle_whatever_their_size(size, cosine, kept):
    memory = LimitedMemory(3)
    s, y = np.array([size, 0.0]), np.array([cosine, 1.0])
    assert memory.remember(s, y) is kept
    assert len(memory.pairs) == kept


# --- working set -------------------------------------------------------------------------------


@settings(max_examples=100 if JIT_ENABLED else 20, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.floats(0.0, 0.5),
    st.floats(0.05, 1.0),
    st.floats(0.0, 20.0),
)
def test_a_working_set_leaves_out_little_doubt_and_few_samples(seed, n, share, keep, spread):
    doubt = np.exp(-spread * np.random.default_rng(seed).uniform(size=n))
    before = doubt.copy()
    chosen = doubtful_samples(doubt, share, keep)
    np.testing.assert_array_equal(doubt, before)
    if chosen is None:
        return
    assert np.all(np.diff(chosen) > 0)
    assert chosen[0] >= 0
    assert chosen[-1] < n
    left_out = np.setdiff1d(np.arange(n), chosen)
    assert np.sum(doubt[left_out]) <= share * np.sum(doubt) * (1 + 1e-9)
    assert len(chosen) >= keep * n - 1e-9
    assert len(left_out) >= 0.1 * n
    assert doubt[left_out].max() <= doubt[chosen].min()


def test_a_working_set_of_equal_samples_is_all_of_them():
    assert doubtful_samples(np.ones(50), 1e-3, 0.1) is None


# --- the start ---------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "sin"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_forward_normalisation_sets_spread_and_offset(activation, dtype, tolerance):
    rng = np.random.default_rng(0)
    n = 300 if JIT_ENABLED else 40
    network = Network.dense((2, 12, 9, 8, 2), activation)
    X = (5 * rng.normal(size=(n, 2)) + 3).astype(dtype)
    W, b = network.initial_weights(rng, np.dtype(dtype), "orthogonal")
    last = W[4].copy()
    forward_normalisation(network, W, b, ArraySamples(X), rng, spread=0.4, offset=0.7)
    np.testing.assert_array_equal(W[4], last)
    s, S, means = ACTIVATIONS[activation][0], X.astype(float), []
    for l in (1, 2, 3):
        Z = S @ W[l].T.astype(float) + b[l]
        varied = Z.std(axis=0) > 1e-6
        assert varied.sum() >= len(varied) - 2
        np.testing.assert_allclose(Z.std(axis=0)[varied], 0.4, rtol=tolerance)
        assert np.abs(Z.mean(axis=0)).max() <= 0.7 * (1 + tolerance)
        means += list(Z.mean(axis=0))
        S = s(Z)
    assert np.ptp(means) > 0.7


def test_forward_normalisation_survives_inputs_that_do_not_vary():
    network, rng = Network.dense((2, 4, 3, 2)), np.random.default_rng(0)
    X = np.ones((9, 2))
    W, b = initial_weights(network, ArraySamples(X), rng, "normalised")
    for array in (*W[1:], *b[1:]):
        assert np.all(np.isfinite(array))


# --- the promise: the loss does not increase ---------------------------------------------------


def objectives(
    X,
    y,
    network,
    *,
    sample_weight=None,
    alpha=0.0,
    smoothing=0.0,
    steps=30,
    threads=1,
    options=None,
):
    """Return the training objective in plain NumPy after every step."""
    loss = CrossEntropy(y, network.widths[-1], sample_weight, smoothing)
    c = np.ones(len(y)) if sample_weight is None else sample_weight.astype(float)
    values = []
    with Team(threads) as team:
        problem = TrainingProblem(network, loss, ArraySamples(X), team, alpha=alpha)
        W, b = initial_weights(network, ArraySamples(X), np.random.default_rng(0), "normalised")
        state = problem.synchronised_state(W, b, auxiliaries=False)
        solver = QuasiNewton(**(options or {}))
        solver.start(problem, state)
        for step in range(steps + 1):
            if step:
                solver.step(problem, state)
            truth = reference(network, state.W, state.b, problem.batch)
            truth.output_bias = network.output_bias
            value = np.mean(c * cross_entropy(truth.logits(), truth.y, smoothing))
            values.append(value + 0.5 * alpha * sum(np.sum(w**2) for w in truth.W[1:]))
    return np.array(values)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_training_objective_never_increases(blobs, activation, dtype):
    X, y = blobs
    network = Network.dense((2, 6, 5, 3), activation, output_bias=activation == "relu")
    values = objectives(X.astype(dtype), y, network, steps=30 if JIT_ENABLED else 4)
    assert np.all(np.diff(values) <= 20 * np.finfo(dtype).eps * values[:-1])
    assert values[-1] < values[0]


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("working_set", [0.0, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_objective_with_weights_and_decay_never_increases(
    blobs, alpha, weighted, working_set, smoothing
):
    X, y = blobs
    c = None
    if weighted:
        c = np.random.default_rng(1).uniform(0.0, 2.0, len(y))
        c *= len(y) / np.sum(c)
    network = Network.dense((2, 6, 5, 3))
    values = objectives(
        X,
        y,
        network,
        sample_weight=c,
        alpha=alpha,
        smoothing=smoothing,
        steps=40 if JIT_ENABLED else 4,
        options={"working_set": working_set, "refresh": 2},
    )
    assert np.all(np.diff(values) <= 1e-13 * values[:-1])
    assert values[-1] < values[0]


@pytest.mark.parametrize("activation", ["relu", "gelu", "sin"])
def test_the_smoothed_objective_never_increases_in_single_precision(blobs, activation):
    X, y = blobs
    network = Network.dense((2, 6, 5, 3), activation, output_bias=activation == "relu")
    steps = 30 if JIT_ENABLED else 4
    values = objectives(X.astype(np.float32), y, network, smoothing=0.2, steps=steps)
    assert np.all(np.diff(values) <= 20 * np.finfo(np.float32).eps * values[:-1])
    assert values[-1] < values[0]


@needs_jit
def test_with_smoothing_it_leaves_its_first_share_as_soon_as_it_is_fitted():
    # The smoothed loss has a floor; progress is measured above it.
    X, y = make_circle(4000, 1)
    network = Network.dense((2, 30, 30, 2))
    with Team(1) as team:
        problem = TrainingProblem(network, CrossEntropy(y, 2, None, 0.2), ArraySamples(X), team)
        W, b = initial_weights(network, ArraySamples(X), np.random.default_rng(0), "normalised")
        state, solver = problem.synchronised_state(W, b, auxiliaries=False), QuasiNewton()
        solver.start(problem, state)
        assert solver.warming
        steps = [solver.step(problem, state)[0] for _ in range(8)]
    assert not solver.warming
    assert all(step.accepted == 1.0 for step in steps)


@needs_jit
def test_with_smoothing_it_comes_close_to_the_smallest_loss():
    X, y = make_circle(4000, 0)
    result = short(X, y, hidden_layer_sizes=(30, 30), label_smoothing=0.2, max_iter=80)
    truth = Reference(X, y, result.W, result.b, [X], smoothing=0.2)
    floor = CrossEntropy(y, 2, None, 0.2).floor
    assert truth.smoothed_loss() < 1.15 * floor
    assert result.history[-1].accuracy > 0.98
    P = softmax(truth.logits())[np.arange(len(y)), y]
    assert np.median(P) == pytest.approx(0.9, abs=0.02)


def short(X, y, **options):
    settings = {
        "hidden_layer_sizes": (6, 5),
        "solver": "quasi-newton",
        "max_iter": 25 if JIT_ENABLED else 4,
        "tol": 0.0,
        "random_state": 0,
    }
    return train(X, y, **(settings | options))


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_history_says_what_happened(blobs, alpha, early_stopping):
    X, y = blobs
    result = short(
        X,
        y,
        alpha=alpha,
        early_stopping=early_stopping,
        n_iter_no_change=5,
        sample_weight=np.linspace(0.5, 1.5, len(y)),
        output_bias=False,  # the end of a run would make it exact in the row of the best
    )
    rows = result.history
    losses = np.array([row.loss for row in rows])
    if not alpha:
        assert np.all(np.diff(losses) <= 1e-12 * losses[:-1])
    assert losses[-1] < losses[0]
    if early_stopping:
        held_out = [row.validation_loss for row in rows]
        assert rows[result.best_iter].validation_loss == min(held_out)
    else:
        assert all(np.isnan(row.validation_loss) for row in rows)


def test_whole_runs_do_not_depend_on_the_number_of_threads(blobs):
    one, two = (short(*blobs, n_threads=threads) for threads in (1, 2))
    for a, b in zip(one.W + one.b, two.W + two.b, strict=True):
        assert a.tobytes() == b.tobytes()


@needs_jit
@pytest.mark.parametrize(
    ("make_data", "depth", "dtype"),
    [
        (make_circle, 3, np.float64),
        (make_circle, 6, np.float64),
        (make_circle, 10, np.float32),
        (make_checkerboard, 6, np.float64),
        (make_checkerboard, 6, np.float32),
    ],
)
def test_it_reaches_a_small_loss_where_hidden_layers_must_learn(make_data, depth, dtype):
    X, y = make_data(2000, random_state=1)
    result = short(
        X.astype(dtype),
        y,
        hidden_layer_sizes=(50,) * (depth - 1),
        max_iter=200,
        callback=lambda row: row.loss < 1e-3,
    )
    assert result.history[-1].loss < 1e-3
    assert result.W[1].dtype == dtype


@needs_jit
def test_a_rise_of_the_squared_losses_is_not_taken_for_convergence():
    # The root mean square of e_n may rise for many steps while the mean falls.
    X, y = make_checkerboard(1000, random_state=0)
    result = train(
        X, y, hidden_layer_sizes=(20, 20), solver="quasi-newton", max_iter=40, tol=0,
        n_iter_no_change=3, random_state=0,
    )  # fmt: skip
    losses = [row.loss for row in result.history]
    roots = [row.separated_loss for row in result.history]
    assert min(np.diff(roots[: result.n_iter])) < 0 < max(np.diff(roots[: result.n_iter]))
    assert result.n_iter == 40 or losses[-1] >= min(losses[:-3])
