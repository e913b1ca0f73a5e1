"""The chain of layers: shapes, initial weights, forward pass."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import logits
from reference import Reference

from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.network import INITIALISATIONS, Network
from lysep_fast.threads.team import Workspace

WIDTHS = (3, 6, 2, 5, 4)


def initial(network, scheme="uniform", dtype=np.float64, seed=0):
    return network.initial_weights(np.random.default_rng(seed), np.dtype(dtype), scheme)


@pytest.mark.parametrize("widths", [(3, 2), (1, 1, 2), WIDTHS], ids=str)
def test_widths_and_depth_are_those_asked_for(widths):
    network = Network.dense(widths)
    assert network.widths == widths
    assert network.depth == len(widths) - 1
    assert network.layer(1).weight_shape == (widths[1], widths[0])


@pytest.mark.parametrize("output_bias", [False, True])
def test_only_the_output_layer_may_go_without_a_bias(output_bias):
    network = Network.dense(WIDTHS, output_bias=output_bias)
    assert [network.has_bias(l) for l in (1, 2, 3, 4)] == [True, True, True, output_bias]


@pytest.mark.parametrize("scheme", INITIALISATIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_initial_weights_have_shape_dtype_and_a_silent_index_0(scheme, dtype):
    W, b = initial(Network.dense(WIDTHS), scheme, dtype)
    assert W[0].size == b[0].size == 0
    for l in range(1, 5):
        assert W[l].shape == (WIDTHS[l], WIDTHS[l - 1])
        assert b[l].shape == (WIDTHS[l],)
        assert W[l].dtype == b[l].dtype == dtype
        assert W[l].flags.c_contiguous
    assert not np.any(b[4])


def test_uniform_weights_fill_plus_minus_one_over_root_fan_in():
    network = Network.dense((50, 40, 30), output_bias=True)
    W, b = initial(network)
    for l, fan_in in ((1, 50), (2, 40)):
        limit = fan_in**-0.5
        assert 0.9 * limit < np.abs(W[l]).max() <= limit
        assert 0.5 * limit < np.abs(b[l]).max() <= limit
        assert np.std(W[l]) == pytest.approx(limit / np.sqrt(3), rel=0.1)


def test_orthogonal_weights_have_orthonormal_rows_or_columns_and_no_bias():
    W, b = initial(Network.dense(WIDTHS, output_bias=True), "orthogonal")
    for l in range(1, 5):
        short = W[l] if W[l].shape[0] < W[l].shape[1] else W[l].T
        np.testing.assert_allclose(short @ short.T, np.eye(len(short)), atol=1e-14)
        assert not np.any(b[l])


@pytest.mark.parametrize("scheme", INITIALISATIONS)
def test_the_seed_decides_the_weights_and_the_precision_only_rounds_them(scheme):
    network = Network.dense(WIDTHS)
    one, same, other = (initial(network, scheme, seed=seed)[0] for seed in (1, 1, 2))
    single = initial(network, scheme, np.float32, seed=1)[0]
    for l in range(1, 5):
        np.testing.assert_array_equal(one[l], same[l])
        assert np.all(one[l] != other[l])
        np.testing.assert_array_equal(one[l].astype(np.float32), single[l])


@pytest.mark.parametrize("activation", ACTIVATION_CODES)
@pytest.mark.parametrize("output_bias", [False, True])
def test_logits_are_those_of_the_reference(activation, output_bias):
    network = Network.dense(WIDTHS, activation, output_bias=output_bias)
    W, b = initial(network)
    X = np.random.default_rng(1).normal(size=(7, 3))
    kept = X.copy()
    truth = Reference(X, np.zeros(7, int), W, b, [X], activation)
    ws = Workspace()
    np.testing.assert_allclose(
        logits(network, X, W, b, ws), truth.logits(), rtol=1e-12, atol=1e-13
    )
    np.testing.assert_array_equal(X, kept)
    assert np.any(b[4]) == output_bias


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_logits_of_float32_weights_are_float32(activation):
    network = Network.dense(WIDTHS, activation)
    W, b = initial(network, dtype=np.float32)
    X = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    found = logits(network, X, W, b, Workspace())
    truth = Reference(
        X.astype(float), np.zeros(7, int), [w.astype(float) for w in W],
        [v.astype(float) for v in b], [X], activation,
    )  # fmt: skip
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, truth.logits(), atol=1e-6)
