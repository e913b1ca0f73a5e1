"""Linear maps, feature maps and the loss object: the parts of the chain one by one."""

from __future__ import annotations

import numpy as np
import pytest
from reference import ACTIVATIONS, cross_entropy, softmax, squared_loss_gradient

from lysep_fast.features import Activation
from lysep_fast.kernels import ACTIVATION_CODES, LIPSCHITZ
from lysep_fast.layers import Dense
from lysep_fast.losses import CrossEntropy
from lysep_fast.threads.team import Workspace

SHAPES = [(1, 1, 1), (1, 4, 3), (7, 1, 5), (13, 6, 1), (21, 5, 8)]
DTYPES = [np.float64, np.float32]


def draw(rows, n_inputs, n_outputs, dtype):
    rng = np.random.default_rng(rows)
    shapes = (rows, n_inputs), (rows, n_outputs), (n_outputs, n_inputs)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_adjoint_is_the_transposed_map(shape, dtype):
    S, G, W = draw(*shape, dtype)
    layer = Dense(*shape[1:])
    forward = layer.apply(S, W, np.empty_like(G))
    backward = layer.adjoint(G, W, np.empty_like(S))
    assert forward.dtype == backward.dtype == dtype
    size = np.linalg.norm(S) * np.linalg.norm(G) * np.linalg.norm(W)
    assert abs(np.sum(forward * G) - np.sum(S * backward)) <= 10 * np.finfo(dtype).eps * size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_apply_gram_and_correlation_agree_with_explicit_sums(shape, dtype):
    S, G, W = draw(*shape, dtype)
    layer = Dense(*shape[1:])
    S64, G64, W64 = S.astype(float), G.astype(float), W.astype(float)
    rtol = 50 * np.finfo(dtype).eps
    gram, correlation = np.full((shape[1], shape[1]), dtype(9)), np.full_like(W, 9)
    for actual, wanted in [
        (layer.apply(S, W, np.empty_like(G)), np.einsum("ni,ji->nj", S64, W64)),
        (layer.gram(S, gram), np.einsum("ni,nj->ij", S64, S64)),
        (layer.correlation(G, S, correlation), np.einsum("nj,ni->ji", G64, S64)),
    ]:
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_norms_are_accumulated_in_float64(shape, dtype):
    _, _, W = draw(*shape, dtype)
    layer, W64 = Dense(*shape[1:]), W.astype(float)
    values = np.linalg.svd(W64, compute_uv=False)
    np.testing.assert_allclose(layer.squared_norm(W, "frobenius"), np.sum(values**2), rtol=1e-13)
    np.testing.assert_allclose(layer.squared_norm(W, "spectral"), values[0] ** 2, rtol=1e-13)


def test_an_unknown_norm_is_named():
    with pytest.raises(ValueError, match="nuclear"):
        Dense(2, 2).squared_norm(np.eye(2), "nuclear")


def test_layers_of_one_shape_are_equal():
    assert Dense(2, 3) == Dense(2, 3)
    assert hash(Dense(2, 3)) == hash(Dense(2, 3))
    assert Dense(2, 3) != Dense(3, 2)
    assert "2, 3" in repr(Dense(2, 3))


@pytest.mark.parametrize("name", ACTIVATION_CODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_features_are_the_activation_and_its_derivative(name, dtype):
    A = np.linspace(-4, 4, 30).reshape(6, 5).astype(dtype)
    feature, kept = Activation(name), A.copy()
    S, D = np.full_like(A, 9), np.full_like(A, 9)
    feature.forward_with_derivative(A, S, D)
    value, derivative = ACTIVATIONS[name]
    atol = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(S, value(A.astype(float)), atol=atol)
    np.testing.assert_allclose(D, derivative(A.astype(float)), atol=atol)
    np.testing.assert_array_equal(feature.forward(A, np.empty_like(A)), S)
    np.testing.assert_array_equal(A, kept)
    assert name in repr(feature)


def test_the_identity_hands_its_input_through():
    A = np.ones((2, 3))
    assert Activation("identity").forward(A, np.empty_like(A)) is A
    assert not Activation("tanh").is_identity


@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_the_lipschitz_constant_bounds_the_derivative_and_is_attained(name):
    slopes = np.abs(ACTIVATIONS[name][1](np.linspace(-50, 50, 20001)))
    assert slopes.max() <= LIPSCHITZ[name] * (1 + 1e-12)
    assert slopes.max() >= LIPSCHITZ[name] * (1 - 1e-5)
    assert Activation(name).lipschitz == LIPSCHITZ[name]


def draw_loss(dtype, weighted=False, smoothing=0.0):
    """Return logits of 12 rows, their true classes, weights, and a loss of 20 samples."""
    rng = np.random.default_rng(5)
    U, y, c = rng.normal(size=(12, 4)).astype(dtype), rng.integers(0, 4, 20), np.ones(20, dtype)
    if weighted:
        c = rng.uniform(0.5, 2.0, 20).astype(dtype)
    loss = CrossEntropy(y, 4, c if weighted else None, smoothing)
    return U, y[5:17], c[5:17].astype(float), loss


def tolerance(dtype):
    return {"rtol": 60 * np.finfo(dtype).eps, "atol": 10 * np.finfo(dtype).eps}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_gives_squares_and_their_gradient_of_a_block_of_rows(dtype):
    U, y, _, loss = draw_loss(dtype)
    e = cross_entropy(U.astype(float), y)
    value, G = np.full(12, dtype(9)), np.full_like(U, 9)
    loss.squares(U, slice(5, 17), value)
    np.testing.assert_allclose(value, e**2, **tolerance(dtype))
    value[:] = 9
    loss.squares_gradient(U, slice(5, 17), value, G)
    np.testing.assert_allclose(value, e**2, **tolerance(dtype))
    np.testing.assert_allclose(G, squared_loss_gradient(U.astype(float), y), **tolerance(dtype))


def test_rows_of_the_loss_may_be_given_one_by_one():
    rng = np.random.default_rng(5)
    U, y, rows = rng.normal(size=(3, 4)), rng.integers(0, 4, 20), np.array([17, 2, 9])
    value = np.empty(3)
    CrossEntropy(y, 4).squares(U, rows, value)
    np.testing.assert_allclose(value, cross_entropy(U, y[rows]) ** 2, rtol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_measures_sums_and_doubt_of_a_block_of_rows(dtype, weighted):
    U, y, c, loss = draw_loss(dtype, weighted)
    U64 = U.astype(float)
    e, P, doubt = cross_entropy(U64, y), softmax(U64), np.empty(12, dtype)
    correct = np.sum(c * (np.argmax(U64, axis=1) == y))
    sums = loss.measure(U, slice(5, 17), Workspace(), doubt)
    wanted = [c @ e, c @ e**2, correct, c @ e]
    np.testing.assert_allclose(sums, wanted, rtol=100 * np.finfo(dtype).eps)
    np.testing.assert_allclose(doubt, c * (1 - P[np.arange(12), y]), **tolerance(dtype))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_the_true_loss_has_weights_and_smoothed_targets(
    dtype, weighted, smoothing
):
    U, y, c, loss = draw_loss(dtype, weighted, smoothing)
    plain = loss.measure(U, slice(5, 17), Workspace())
    targets = (1 - smoothing) * np.eye(4)[y] + smoothing / 4
    wanted = c[:, None] * (softmax(U.astype(float)) - targets)
    doubt = np.empty(12, dtype)
    G = U.copy()  # the gradient may take the place of the logits
    sums = loss.measure_gradient(G, slice(5, 17), Workspace(), G, doubt)
    np.testing.assert_allclose(G, wanted, **tolerance(dtype))
    np.testing.assert_allclose(sums, plain, rtol=100 * np.finfo(dtype).eps)
    own = c * (1 - softmax(U.astype(float))[np.arange(12), y])
    np.testing.assert_allclose(doubt, own, **tolerance(dtype))


def test_a_subset_of_the_loss_takes_labels_and_weights_along():
    _, y, c, loss = draw_loss(np.float64, weighted=True, smoothing=0.1)
    subset = loss.take(slice(5, 17))
    assert (subset.n_outputs, subset.label_smoothing) == (4, 0.1)
    np.testing.assert_array_equal(subset.y, y)
    np.testing.assert_array_equal(subset.sample_weight, c)
    assert CrossEntropy(y, 4).take(np.array([3, 1])).sample_weight is None
