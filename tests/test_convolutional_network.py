"""Convolutional networks: forward pass, gradients, Gram matrices and F against the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import CONVOLUTIONAL, conv_network
from helpers import evaluated, logits, unpacked
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference, cross_entropy, softmax
from test_objective import check_bound

from lysep_fast.features import Activation, PooledActivation
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers import Convolution, Dense
from lysep_fast.layers.conv import CONVOLUTION_NORMS
from lysep_fast.network import Network
from lysep_fast.network.parameters import Parameters
from lysep_fast.objective import bound_constant, mean_loss
from lysep_fast.passes import batch as batch_pass
from lysep_fast.passes.batch import BatchPass, batch_shapes
from lysep_fast.passes.full import Batch, gradient_pass
from lysep_fast.passes.normalise import forward_normalisation
from lysep_fast.threads.team import Workspace

every_network = pytest.mark.parametrize("name", CONVOLUTIONAL)
every_norm = pytest.mark.parametrize("norm", CONVOLUTION_NORMS)
DTYPES = [np.float64, np.float32] if JIT_ENABLED else [np.float64]
ROWS = {"n": 23, "rows": 9} if JIT_ENABLED else {"n": 5, "rows": 2}


def close(found, wanted, dtype=np.float64, factor=300.0):
    """Check to rounding, relative to the largest entry."""
    size = max(np.abs(wanted).max(), np.finfo(dtype).tiny)
    atol = factor * np.finfo(dtype).eps * size
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


# --- shapes and the forward pass -----------------------------------------------------------------


def test_the_chain_of_layers_and_features():
    network = Network.convolutional(
        (3, 9, 8), (4, 5), (7, 6), 10, "relu", kernel_size=(3, 2), pool_size=(2, 3), padding=1
    )
    first, second = network.layers[:2]
    assert first == Convolution((3, 9, 8), 4, 3, padding=1)
    assert network.features[1] == PooledActivation("relu", (4, 9, 8), 2)
    assert second == Convolution((4, 4, 4), 5, 2, padding=1)
    assert network.features[2] == PooledActivation("relu", (5, 5, 5), 3)
    assert network.layers[2:] == (Dense(5, 7), Dense(7, 6), Dense(6, 10))
    assert network.widths == (216, 288, 125, 7, 6, 10)
    assert [type(f) for f in network.features[3:]] == [Activation, Activation]
    assert network.features[0].is_identity
    assert (network.depth, network.has_bias(4), network.has_bias(5)) == (5, True, False)


def test_a_window_larger_than_its_image_is_cut_to_it():
    network = Network.convolutional((1, 3, 8), (2, 2), (), 2, pool_size=4)
    assert [f.pool_size for f in network.features[1:]] == [(3, 4), (1, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 5, "padding": 0}, r"kernel_size=\(5, 5\).*image_shape=\(1, 4, 4\)"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size.*2 convolutions.*\(3, 3, 3\)"),
        ({"pool_size": (2,)}, r"pool_size.*2 convolutions.*\(2,\)"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Network.convolutional((1, 4, 4), (2, 2), (3,), 2, **options)


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_the_logits_are_those_of_the_explicit_matrices(make_problem, name, dtype, activation):
    network = conv_network(name, activation, output_bias=True)
    problem, state = make_problem(network, dtype=dtype, **ROWS)
    state.b[-1][...] = [0.5, -1.0, 2.0]
    truth = Reference.of(problem, state)
    X = problem.samples.X.copy()
    found = logits(network, X, state.W, state.b, Workspace())
    assert found.dtype == dtype
    close(found, truth.logits(), dtype)
    np.testing.assert_array_equal(X, problem.samples.X)
    loss, accuracy = evaluated(problem, state)
    assert loss == pytest.approx(truth.loss(), rel=1e-4 if dtype == np.float32 else 1e-12)
    assert accuracy == truth.accuracy()


@every_network
def test_a_synchronised_state_holds_the_forward_pass(make_problem, name):
    problem, state = make_problem(conv_network(name, output_bias=True), **ROWS)
    problem.synchronise(state)
    truth = Reference.of(problem, state)
    Z = truth.pre_activations()
    for l in range(1, truth.depth):
        close(state.A[l], Z[l])
        assert not np.any(state.R[l])
    assert state.e2 == pytest.approx(np.sum(cross_entropy(Z[-1], truth.y) ** 2), rel=1e-12)
    assert not np.any(state.r2)


# --- the separated loss --------------------------------------------------------------------------

SETTINGS = {"sample_weight": True, "label_smoothing": 0.1, "alpha": 0.05}


@every_network
@every_norm
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extra", [{}, SETTINGS], ids=["plain", "weighted"])
def test_the_separated_loss_agrees_term_by_term(make_problem, name, norm, dtype, extra):
    network = conv_network(name, "softplus")
    problem, state = make_problem(network, norm=norm, dtype=dtype, **ROWS, **extra)
    truth, objective = Reference.of(problem, state), problem.objective
    rtol = 1e-11 if dtype == np.float64 else 2e-5
    loss = objective.separated_loss(state)
    assert loss.data == pytest.approx(truth.data(), rel=rtol)
    np.testing.assert_allclose(loss.penalties, truth.penalties(), rtol=rtol)
    weights = [truth.weight(l) for l in range(1, truth.depth)]
    np.testing.assert_allclose(loss.weights, weights, rtol=rtol)
    assert objective.penalised(state) == pytest.approx(truth.penalised(), rel=rtol)
    for l in range(1, truth.depth + 1):
        own = objective.squared_norm(l, state.W[l])
        np.testing.assert_allclose(own, truth.nu(l), rtol=rtol)
        np.testing.assert_allclose(objective.ridge(l, state), truth.ridge(l), rtol=rtol)
        if norm != "spectral":
            D = objective.ridge_diagonal(l, 3.0, 0.5)
            np.testing.assert_allclose(D, 3.0 * truth.norm_diagonal(l) + 0.5, rtol=1e-12)
            np.testing.assert_allclose(np.sum(truth.W[l] ** 2 * D), 3 * own + 0.5 * np.sum(
                truth.W[l] ** 2
            ), rtol=rtol)  # fmt: skip


def test_the_norms_are_ordered_and_dominate_the_operators(make_problem):
    for name in CONVOLUTIONAL:
        problem, state = make_problem(conv_network(name), **ROWS)
        truth = Reference.of(problem, state)
        for l in range(1, truth.depth + 1):
            C = truth.matrix(l)
            if l > 1:
                C = truth.unpooled(l - 1, C)
            values = []
            for norm in CONVOLUTION_NORMS:
                truth.norm = norm
                values.append(truth.nu(l))
            frobenius, patch, spectral = values
            operator = np.linalg.norm(C, 2) ** 2 * (1 - 1e-12)
            assert operator <= min(frobenius, spectral)
            assert spectral <= patch * (1 + 1e-12)


@settings(deadline=None, max_examples=150 if JIT_ENABLED else 12)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(list(CONVOLUTIONAL)),
    activation=st.sampled_from(list(ACTIVATION_CODES)),
    norm=st.sampled_from(CONVOLUTION_NORMS),
    scale=st.sampled_from([0.01, 1.0, 3.0, 30.0]),
    residual=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    output_bias=st.booleans(),
    weighted=st.booleans(),
)
def test_the_cross_entropy_is_bounded_by_the_separated_loss(
    make_problem, seed, name, activation, norm, scale, residual, output_bias, weighted
):
    problem, state = make_problem(
        conv_network(name, activation, output_bias=output_bias), n=4, rows=3, seed=seed,
        norm=norm, scale=scale, residual=residual, sample_weight=weighted or None,
    )  # fmt: skip
    loss, _ = evaluated(problem, state)
    separated = problem.objective.separated_loss(state).root
    check_bound(loss, problem.objective.constant, separated, rtol=1e-9)
    truth, L = Reference.of(problem, state), problem.network.depth
    assert problem.objective.constant == bound_constant(L, problem.network.lipschitz)
    # The middle of the proof: what residuals cost at the output.
    c, gap = problem.network.lipschitz, truth.logits() - truth.surrogate_logits()
    steps = [
        c ** (L - l) * math.sqrt(truth.weight(l)) * np.linalg.norm(truth.residual(l), axis=1)
        for l in range(1, L)
    ]
    size = 1e-9 * (1 + np.abs(truth.logits()).max())
    assert np.all(np.linalg.norm(gap, axis=1) <= sum(steps) * (1 + 1e-9) + size)


@every_norm
def test_the_bound_is_nearly_reached_and_a_smaller_norm_would_be_noticed(make_problem, norm):
    # A kernel of one tap on one pixel: every norm is the number itself, and all is one chain.
    network = Network.convolutional(
        (1, 1, 1), (1,), (), 2, "identity", kernel_size=1, padding=0, pool_size=1
    )
    problem, state = make_problem(network, n=1, residual=0.0, norm=norm)
    problem.loss.y[:] = 0
    state.W[1][...], state.W[2][...] = 2.0, [[-1.0], [1.0]]
    state.b[1][...] = -2.0 * problem.samples.X[0, 0]
    state.W[2] *= 50.0
    problem.synchronise(state)
    truth = Reference.of(problem, state)
    truth.A[1][...] = 1.0  # surrogate loss 100
    R = -math.sqrt(2 * 100.0**2 / truth.weight(1))
    truth.b[1][...] += 1.0 - R
    bound = problem.objective.constant * math.sqrt(truth.separated_loss())
    assert truth.loss() <= bound * (1 + 1e-12)
    # ||W_2||_F^2 is twice the squared operator norm that acts here.
    assert truth.loss() >= (0.999 if norm == "spectral" else 0.75) * bound


def test_the_mean_of_separated_losses_is_term_by_term(make_problem):
    losses = []
    for seed in range(3):
        problem, state = make_problem(conv_network("two"), seed=seed, **ROWS)
        losses.append(problem.objective.separated_loss(state))
    mean = mean_loss(losses)
    assert mean.total == pytest.approx(np.mean([loss.total for loss in losses]))
    np.testing.assert_allclose(mean.penalties, np.mean([t.penalties for t in losses], axis=0))
    np.testing.assert_allclose(mean.weights, np.mean([t.weights for t in losses], axis=0))


# --- gradients -----------------------------------------------------------------------------------


def directional_difference(truth, group, l, direction, step=1e-6):
    """Return the central difference of the summed smoothed loss along a direction."""
    arrays, kept = getattr(truth, group), getattr(truth, group)[l]
    values = []
    for sign in (1, -1):
        arrays[l] = kept + sign * step * direction
        values.append(truth.smoothed_loss() * len(truth.y))
    arrays[l] = kept
    return (values[0] - values[1]) / (2 * step)


@every_network
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_gradient_pass_agrees_with_finite_differences(make_problem, name, activation):
    network = conv_network(name, activation, output_bias=True)
    problem, state = make_problem(network, **ROWS, **SETTINGS)
    truth, rng = Reference.of(problem, state), np.random.default_rng(1)
    found = gradient_pass(network, state.W, state.b, problem.batch, problem.team)
    for l in range(1, network.depth + 1):
        for group, own in (
            ("W", found.gradient.layers[l][:, :-1]),
            ("b", found.gradient.layers[l][:, -1]),
        ):
            direction = rng.normal(size=own.shape)
            wanted = directional_difference(truth, group, l, direction)
            assert np.vdot(own, direction) == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def explicit_gram(truth, l, S, weight):
    """Return ``sum weight [M, 1]'[M, 1]`` over the patches of all samples and positions."""
    M = truth.rows(l, S)
    c = np.repeat(weight, len(M) // len(S))[:, None]
    M = np.hstack([M, np.full((len(M), 1), 1.0)])
    gram = M.T @ (c * M)
    if not (l < truth.depth or truth.output_bias):
        gram[-1, :-1] = gram[:-1, -1] = 0.0
    return gram


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("extra", [{}, SETTINGS], ids=["plain", "weighted"])
def test_the_gradient_pass_agrees_with_the_explicit_matrices(
    make_problem, name, dtype, output_bias, extra
):
    network = conv_network(name, output_bias=output_bias)
    problem, state = make_problem(network, dtype=dtype, **ROWS, **extra)
    truth = Reference.of(problem, state)
    batch = Batch(problem.samples, problem.loss, problem.blocks)
    found = gradient_pass(network, state.W, state.b, batch, problem.team, grams=True)
    in_W, in_b, deltas = truth.loss_gradient()
    Z = truth.pre_activations()
    doubt = truth.c * (1 - softmax(Z[-1])[np.arange(len(truth.y)), truth.y])
    assert found.gram_weight == pytest.approx(np.sum(doubt), rel=1e-5)
    for l in range(1, network.depth + 1):
        S = truth.X if l == 1 else truth.features_of(l - 1, Z[l - 1])
        close(found.gradient.layers[l][:, :-1], in_W[l], dtype)
        close(found.gradient.layers[l][:, -1], in_b[l], dtype)
        assert found.sizes[l] == pytest.approx(np.sum(deltas[l] ** 2), rel=1e-4)
        close(found.grams[l], explicit_gram(truth, l, S, doubt), dtype)
    rtol = 1e-11 if dtype == np.float64 else 1e-5
    assert found.evaluation.loss == pytest.approx(truth.loss() * len(truth.y), rel=rtol)
    objective = truth.smoothed_loss() * len(truth.y)
    assert found.evaluation.objective == pytest.approx(objective, rel=rtol)


@every_network
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("extra", [{}, {"sample_weight": True}], ids=["plain", "weighted"])
@pytest.mark.parametrize("split", [False, True])
def test_the_batch_pass_agrees_with_the_explicit_matrices(
    make_problem, name, dtype, squared, extra, split, monkeypatch
):
    if split:
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    network = conv_network(name, output_bias=name == "one")
    problem, state = make_problem(network, dtype=dtype, **ROWS, **extra)
    order = np.random.default_rng(5).permutation(problem.n_samples)
    rows, loss = slice(1, len(order) - 1), problem.loss.take(order)
    layers = Parameters.pack(batch_shapes(network), state.W, state.b).layers
    metrics = range(1, network.depth + 1)
    found = BatchPass(
        network, layers, problem.samples, len(order), problem.team, metrics, squared=squared
    )
    assert len(found._pieces) == 1 + split
    with problem.team:
        square = found(order, loss, rows, grams=True)
    part = problem.subset(order[rows])
    truth = Reference.of(part, part.synchronised_state(state.W, state.b))
    in_W, in_b, deltas = truth.loss_gradient(squared)
    W, b = [w.copy() for w in state.W], [v.copy() for v in state.b]
    unpacked(found.gradient, W, b)
    for l in range(1, network.depth + 1):
        close(W[l], in_W[l], dtype)
        close(b[l], in_b[l], dtype)
        assert found.sizes[l] == pytest.approx(np.sum(deltas[l] ** 2), rel=1e-4)
        wanted = explicit_gram(truth, l, truth.features(l - 1), truth.c)
        if not network.has_bias(l):
            wanted[-1, -1] = 0.0
        close(found.grams[l], wanted, dtype)
    assert square == pytest.approx(np.sum(found.gradient[1].astype(float) ** 2), rel=1e-5)
    e = cross_entropy(truth.logits(), truth.y)
    close(found.losses[rows], e, dtype)
    hits = np.argmax(truth.logits(), axis=1) == truth.y
    assert found.correct == pytest.approx(np.sum(truth.c * hits), rel=1e-6)


@every_network
def test_a_batch_of_one_sample_leaves_the_second_piece_empty(make_problem, name, monkeypatch):
    network = conv_network(name)
    problem, state = make_problem(network, n=4)
    gradients = []
    for limit in (1, 1 << 40):
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", limit)
        layers = Parameters.pack(batch_shapes(network), state.W, state.b).layers
        metrics = range(1, network.depth + 1)
        one = BatchPass(network, layers, problem.samples, 3, problem.team, metrics)
        one(np.arange(4), problem.loss, slice(0, 3), grams=True)
        one(np.arange(4), problem.loss, slice(3, 4), grams=True)
        gradients.append([np.array(a) for a in one.gradient + one.grams])
    for split, whole in zip(*gradients, strict=True):
        np.testing.assert_allclose(split, whole, rtol=0, atol=1e-12)


# --- initial weights -----------------------------------------------------------------------------


@every_network
@pytest.mark.parametrize("scheme", ["uniform", "orthogonal"])
def test_initial_weights_suit_the_kernels(name, scheme):
    network = conv_network(name)
    W, b = network.initial_weights(np.random.default_rng(0), np.dtype(np.float32), scheme)
    for l, layer in enumerate(network.layers, 1):
        assert W[l].shape == layer.weight_shape
        assert b[l].shape == layer.weight_shape[:1]
        assert W[l].dtype == b[l].dtype == np.float32
        if scheme == "uniform":
            assert 0 < np.abs(W[l]).max() <= layer.weight_shape[1] ** -0.5
        else:
            small = min(W[l].shape)
            gram = W[l] @ W[l].T if small == len(W[l]) else W[l].T @ W[l]
            np.testing.assert_allclose(gram, np.eye(small), atol=1e-5)


@every_network
@pytest.mark.parametrize("weighted", [None, True])
def test_normalisation_sets_spread_and_mean_by_channel(make_problem, name, weighted):
    network = conv_network(name)
    problem, state = make_problem(network, sample_weight=weighted, **ROWS)
    c = problem.loss.sample_weight
    forward_normalisation(
        network,
        state.W,
        state.b,
        problem.samples,
        np.random.default_rng(0),
        c,
        spread=0.7,
        offset=0.4,
    )
    truth = Reference.of(problem, state)
    for l, Z in enumerate(truth.pre_activations()[1:-1], 1):
        T = truth.targets(l, Z)
        weight = np.repeat(truth.c, len(T) // len(Z))
        mean = np.average(T, axis=0, weights=weight)
        assert np.all(np.abs(mean) <= 0.4 + 1e-12)
        spread = np.sqrt(np.average((T - mean) ** 2, axis=0, weights=weight))
        np.testing.assert_allclose(spread, 0.7, rtol=1e-8)
