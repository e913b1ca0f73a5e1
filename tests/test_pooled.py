"""Activation and average pooling against loops, finite differences and their adjoint."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATIONS, pooling_matrix

from lysep_fast.features import Activation, PooledActivation
from lysep_fast.kernels import ACTIVATION_CODES, LIPSCHITZ
from lysep_fast.kernels._jit import JIT_ENABLED

DTYPES = [np.float64, np.float32]
GEOMETRIES = [
    ((1, 4, 4), 2),
    ((3, 5, 7), 2),  # a row and a column are left over
    ((2, 7, 6), 3),
    ((2, 8, 9), (2, 3)),
    ((1, 9, 5), (4, 1)),
    ((2, 5, 9), (1, 5)),
    ((2, 3, 4), (3, 4)),  # the whole image
    ((2, 3, 5), 1),  # no pooling
]


@pytest.fixture(params=GEOMETRIES, ids=str)
def geometry(request):
    return request.param


def draw(feature, rows, dtype):
    rng = np.random.default_rng(3)
    A = rng.normal(size=(rows, feature.n_inputs)).astype(dtype)
    return A, rng.normal(size=(rows, feature.n_outputs)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "relu", "identity"])
def test_the_feature_is_the_mean_of_the_activation_over_cells(geometry, name, dtype):
    feature = PooledActivation(name, *geometry)
    A, G = draw(feature, 5, dtype)
    kept, P = A.copy(), pooling_matrix(feature)
    value, slope = ACTIVATIONS[name]
    atol = 20 * np.finfo(dtype).eps
    S, D = np.full_like(G, 9), np.full_like(A, 9)
    feature.forward_with_derivative(A, S, D)
    np.testing.assert_allclose(S, value(A.astype(float)) @ P.T, atol=atol)
    np.testing.assert_allclose(D, slope(A.astype(float)) * P.sum(axis=0), atol=atol)
    out = np.full_like(G, 9)
    assert feature.forward(A, out) is out
    np.testing.assert_array_equal(out, S)
    np.testing.assert_array_equal(A, kept)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pull_back_is_the_transposed_pooling_times_the_slopes(geometry, dtype):
    feature = PooledActivation("sigmoid", *geometry)
    A, G = draw(feature, 5, dtype)
    P = pooling_matrix(feature)
    slope = ACTIVATIONS["sigmoid"][1](A.astype(float))
    S, D = np.empty_like(G), np.empty_like(A)
    feature.forward_with_derivative(A, S, D)
    out = np.full_like(A, 9)
    assert feature.pull_back(G, D, out) is out
    np.testing.assert_allclose(out, (G.astype(float) @ P) * slope, atol=20 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(feature.pull_back(G, D, D), out)


@pytest.mark.parametrize("name", [name for name in ACTIVATION_CODES if name != "relu"])
def test_pull_back_agrees_with_finite_differences(name):
    feature = PooledActivation(name, (2, 5, 4), (2, 3))
    A, G = draw(feature, 3, np.float64)
    direction = np.random.default_rng(4).normal(size=A.shape)
    S, D, step = np.empty_like(G), np.empty_like(A), 1e-5
    feature.forward_with_derivative(A, S, D)
    slope = np.sum(feature.pull_back(G, D, np.empty_like(A)) * direction)
    above = feature.forward(A + step * direction, np.empty_like(G))
    below = feature.forward(A - step * direction, np.empty_like(G))
    assert slope == pytest.approx(np.sum(G * (above - below)) / (2 * step), rel=1e-7, abs=1e-9)


@settings(max_examples=60 if JIT_ENABLED else 20, deadline=None)
@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
    rows=st.integers(1, 4),
)
def test_pooling_and_pull_back_are_adjoint(image, data, rows):
    pool = [data.draw(st.integers(1, size)) for size in image[1:]]
    feature = PooledActivation("identity", image, pool)
    A, G = draw(feature, rows, np.float64)
    S, D = np.empty_like(G), np.empty_like(A)
    feature.forward_with_derivative(A, S, D)
    forward = np.sum(S * G)
    backward = np.sum(feature.pull_back(G, D, np.full_like(A, 9)) * A)
    assert forward == pytest.approx(backward, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cell_of_one_pixel_is_the_activation(dtype):
    feature, plain = PooledActivation("tanh", (2, 3, 4), 1), Activation("tanh")
    A, G = draw(feature, 5, dtype)
    results = []
    for one in (feature, plain):
        S, D = np.empty_like(A), np.empty_like(A)
        one.forward_with_derivative(A, S, D)
        results.append((S, D, one.forward(A, np.empty_like(A))))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    out = feature.pull_back(G, results[0][1], np.empty_like(A))
    np.testing.assert_array_equal(out, G * results[0][1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_the_cut_into_blocks(geometry, dtype, monkeypatch):
    feature = PooledActivation("tanh", *geometry)
    A, G = draw(feature, 11, dtype)
    whole, parts = [(np.empty_like(G), np.empty_like(A)) for _ in range(2)]
    feature.forward_with_derivative(A, *whole)
    # Also cut inside: scratch for two samples only.
    monkeypatch.setattr(
        "lysep_fast.features.pooled._SCRATCH_BYTES", 2 * feature.n_inputs * A.itemsize
    )
    for block in (slice(0, 1), slice(1, 4), slice(4, 11)):
        feature.forward_with_derivative(A[block], parts[0][block], parts[1][block])
        np.testing.assert_array_equal(
            feature.forward(A[block], np.empty_like(G[block])), whole[0][block]
        )
    for mine, theirs in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_nan_stays_in_its_cell(geometry):
    feature = PooledActivation("tanh", *geometry)
    A, G = draw(feature, 3, np.float64)
    A[1, 0] = np.nan
    S, D = np.empty_like(G), np.empty_like(A)
    feature.forward_with_derivative(A, S, D)
    for array in (S, D, feature.pull_back(G, D, np.empty_like(A))):
        bad = np.zeros(array.shape, bool)
        bad[1, 0] = True
        np.testing.assert_array_equal(np.isnan(array), bad)


def test_dropped_pixels_have_a_zero_slope_even_when_they_are_nan():
    feature = PooledActivation("tanh", (1, 3, 3), 2)
    A = np.zeros((1, 9))
    A[0, [2, 5, 6, 7, 8]] = np.nan
    S, D = np.empty((1, 1)), np.empty_like(A)
    feature.forward_with_derivative(A, S, D)
    out = feature.pull_back(np.ones((1, 1)), D, np.empty_like(A))
    np.testing.assert_array_equal(out, [[0.25, 0.25, 0, 0.25, 0.25, 0, 0, 0, 0]])
    assert S[0, 0] == 0


def test_the_squared_norms_are_those_of_the_pooling_matrix(geometry):
    feature = PooledActivation("tanh", *geometry)
    P = pooling_matrix(feature)
    assert feature.squared_norm("frobenius") == pytest.approx(np.sum(P**2))
    for kind in ("patch", "spectral"):
        assert feature.squared_norm(kind) == pytest.approx(np.linalg.norm(P, 2) ** 2)
    with pytest.raises(ValueError, match="nuclear"):
        feature.squared_norm("nuclear")


def test_attributes_equality_and_pickle():
    feature = PooledActivation("sin", (2, 7, 9), (2, 4))
    assert (feature.output_shape, feature.n_inputs, feature.n_outputs) == ((2, 3, 2), 126, 12)
    assert (feature.name, feature.code) == ("sin", ACTIVATION_CODES["sin"])
    assert feature.lipschitz == LIPSCHITZ["sin"]
    assert not PooledActivation("identity", (1, 2, 2), 1).is_identity
    copy = pickle.loads(pickle.dumps(feature))
    assert copy == feature
    assert hash(copy) == hash(feature)
    assert copy != PooledActivation("sin", (2, 7, 9), (2, 3))
    assert "sin" in repr(copy)


@pytest.mark.parametrize("pool", [0, 5, (1, 6), (-1, 2)])
def test_a_cell_has_to_fit(pool):
    with pytest.raises(ValueError, match="pool_size"):
        PooledActivation("tanh", (1, 4, 5), pool)
