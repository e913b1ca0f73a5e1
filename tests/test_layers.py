"""Linear maps, feature maps and the loss object: the parts of the chain one by one."""

from __future__ import annotations

import numpy as np
import pytest
from reference import ACTIVATIONS, cross_entropy, squared_loss_gradient

from lysep_fast.features import Activation
from lysep_fast.kernels import ACTIVATION_CODES, LIPSCHITZ
from lysep_fast.layers import Dense
from lysep_fast.losses import CrossEntropy

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
    for actual, wanted in [
        (layer.apply(S, W, np.empty_like(G)), np.einsum("ni,ji->nj", S64, W64)),
        (layer.gram(S), np.einsum("ni,nj->ij", S64, S64)),
        (layer.correlation(G, S), np.einsum("nj,ni->ji", G64, S64)),
    ]:
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_gives_values_squares_and_gradient_of_a_block_of_rows(dtype):
    rng = np.random.default_rng(5)
    U = rng.normal(size=(12, 4)).astype(dtype)
    y = rng.integers(0, 4, 20)
    loss, rows = CrossEntropy(y, 4), slice(5, 17)
    e = cross_entropy(U.astype(float), y[rows])
    tolerance = {"rtol": 60 * np.finfo(dtype).eps, "atol": 10 * np.finfo(dtype).eps}
    value, G = np.empty(12, dtype), np.empty_like(U)
    loss.values(U, rows, value)
    np.testing.assert_allclose(value, e, **tolerance)
    loss.squares(U, rows, value)
    np.testing.assert_allclose(value, e**2, **tolerance)
    value[:] = 9
    loss.squares_gradient(U, rows, value, G)
    np.testing.assert_allclose(value, e**2, **tolerance)
    np.testing.assert_allclose(G, squared_loss_gradient(U.astype(float), y[rows]), **tolerance)
    total, correct = loss.evaluate(U, rows, value)
    np.testing.assert_allclose(total, e.sum(), **tolerance)
    assert correct == np.count_nonzero(np.argmax(U, axis=1) == y[rows])


def test_rows_of_the_loss_may_be_given_one_by_one():
    rng = np.random.default_rng(5)
    U, y, rows = rng.normal(size=(3, 4)), rng.integers(0, 4, 20), np.array([17, 2, 9])
    value = np.empty(3)
    CrossEntropy(y, 4).squares(U, rows, value)
    np.testing.assert_allclose(value, cross_entropy(U, y[rows]) ** 2, rtol=1e-13)
