"""Softmax and cross-entropy kernels against extended-precision references and edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import config

from lysep_fast.kernels import (
    correct_count,
    cross_entropy,
    cross_entropy_gradient,
    cross_entropy_gradient_into,
    cross_entropy_into,
    softmax,
    softmax_into,
    squared_cross_entropy_gradient,
    squared_cross_entropy_gradient_into,
)

DTYPES = [np.float64, np.float32]
ROWS = 40 if config.DISABLE_JIT else 500
LONG = np.longdouble


def reference(U, y):
    """Return e, P and P - Y in extended precision, by the definitions."""
    rows = np.arange(len(y))
    d = U.astype(LONG)
    d = d - d[rows, y][:, None]
    m = np.maximum(d.max(axis=1), 0)
    E = np.exp(d - m[:, None])
    P = E / E.sum(axis=1)[:, None]
    E[rows, y] = 0
    others = E.sum(axis=1)
    # own = exp(-m) is 1 where the true class is the largest.
    e = np.where(m == 0, np.log1p(others), m + np.log(others + np.exp(-m)))
    G = P.copy()
    G[rows, y] = -others / (others + np.exp(-m))
    return e, P, G


def sample(n, K, dtype, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=(n, K))).astype(dtype), rng.integers(0, K, n)


def close(actual, wanted, logits, factor=1.0):
    """Assert agreement up to the rounding of the logits' differences, and a few last places.

    The difference of two logits is rounded once; that alone changes exp by eps |u_j - u*|.
    """
    dtype = actual.dtype
    spread = np.ptp(logits[np.isfinite(logits)]) if logits.size else 0.0
    rtol = factor * (16 + float(spread)) * np.finfo(dtype).eps
    tiny = 2.0**-1000 if dtype == np.float64 else 2.0**-120
    np.testing.assert_allclose(actual.astype(LONG), wanted, rtol=rtol, atol=tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [1, 2, 3, 10, 33, 150])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 12.0])
def test_against_the_definition(K, dtype, scale):
    n = max(ROWS // K, 3) if config.DISABLE_JIT else ROWS
    U, y = sample(n, K, dtype, scale)
    before = U.copy()
    e, P, G = reference(U, y)
    close(cross_entropy(U, y), e, U)
    loss, gradient = cross_entropy_gradient(U, y)
    close(loss, e, U)
    close(gradient, G, U)
    loss, gradient = squared_cross_entropy_gradient(U, y)
    close(loss, e, U)
    close(gradient, 2 * e[:, None] * G, U, factor=2)
    close(softmax(U), P, U)
    assert correct_count(U, y) == np.count_nonzero(U.argmax(axis=1) == y)
    np.testing.assert_array_equal(U, before)
    assert loss.dtype == gradient.dtype == softmax(U).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 10])
def test_tiny_losses_keep_relative_accuracy(K, dtype):
    margins = np.array([1.0, 10.0, 30.0, 60.0, 80.0] + [300.0, 600.0] * (dtype == np.float64))
    U = np.zeros((len(margins), K), dtype)
    U[:, 1] = margins
    y = np.ones(len(margins), np.int64)
    exact = np.log1p((K - 1) * np.exp(-margins.astype(LONG)))
    e, G = cross_entropy_gradient(U, y)
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(cross_entropy(U, y).astype(LONG), exact, rtol=rtol)
    np.testing.assert_allclose(e.astype(LONG), exact, rtol=rtol)
    np.testing.assert_allclose(G[:, 1].astype(LONG), np.expm1(-exact), rtol=2 * rtol)
    assert np.all(e > 0)
    assert np.all(G[:, 1] < 0)


@pytest.mark.parametrize("K", [2, 5])
def test_gradients_agree_with_finite_differences(K):
    U, y = sample(7, K, np.float64, 2.0)
    e, G = cross_entropy_gradient(U, y)
    _, H = squared_cross_entropy_gradient(U, y)
    h = 1e-6
    for j in range(K):
        shift = h * (np.arange(K) == j)
        up, down = cross_entropy(U + shift, y), cross_entropy(U - shift, y)
        np.testing.assert_allclose(G[:, j], (up - down) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(H[:, j], (up**2 - down**2) / (2 * h), atol=1e-7)
    np.testing.assert_allclose(H, 2 * e[:, None] * G, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 127, 128, 129, 257])
@pytest.mark.parametrize("K", [1, 2, 7, 64])
def test_block_boundaries(n, K, dtype):
    if config.DISABLE_JIT and n * K > 700:
        pytest.skip("too slow without the JIT")
    U, y = sample(n, K, dtype)
    e, P, G = reference(U, y)
    loss, gradient = cross_entropy_gradient(U, y)
    close(loss, e, U)
    close(gradient, G, U)
    close(softmax(U), P, U)
    close(cross_entropy(U, y), e, U)
    assert correct_count(U, y) == np.count_nonzero(U.argmax(axis=1) == y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [1, 2, 5, 40])
def test_results_may_overwrite_the_logits(K, dtype):
    U, y = sample(70 if not config.DISABLE_JIT else 20, K, dtype)
    e = np.empty(len(y), dtype)
    for kernel, wanted in (
        (cross_entropy_gradient_into, cross_entropy_gradient(U, y)),
        (squared_cross_entropy_gradient_into, squared_cross_entropy_gradient(U, y)),
    ):
        V = U.copy()
        kernel(V, y, e, V)
        np.testing.assert_array_equal(e, wanted[0])
        np.testing.assert_array_equal(V, wanted[1])
    V = U.copy()
    softmax_into(V, V)
    np.testing.assert_array_equal(V, softmax(U))
    cross_entropy_into(U, y, e)
    np.testing.assert_array_equal(e, cross_entropy(U, y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_class_costs_nothing(dtype):
    U, y = np.array([[3.0], [-1e30], [0.0]], dtype), np.zeros(3, np.int64)
    e, G = cross_entropy_gradient(U, y)
    np.testing.assert_array_equal(e, 0)
    np.testing.assert_array_equal(G, 0)
    np.testing.assert_array_equal(softmax(U), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [1, 2, 3, 10])
def test_nan_reaches_its_row_and_no_other(K, dtype):
    U, y = sample(13, K, dtype)
    clean = cross_entropy_gradient(U, y)
    for row, column in ((0, 0), (5, K - 1), (12, K // 2)):
        U[row, column] = np.nan
    bad = np.isin(np.arange(13), (0, 5, 12))
    e, G = cross_entropy_gradient(U, y)
    e2, H = squared_cross_entropy_gradient(U, y)
    P = softmax(U)
    for values in (e, e2, cross_entropy(U, y), G.sum(axis=1), H.sum(axis=1), P.sum(axis=1)):
        np.testing.assert_array_equal(np.isnan(values), bad)
    np.testing.assert_array_equal(e[~bad], clean[0][~bad])
    np.testing.assert_array_equal(G[~bad], clean[1][~bad])
    assert correct_count(U[bad], y[bad]) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_and_infinite_logits(dtype):
    big = np.finfo(dtype).max / 4
    U = np.array([[big, -big, 0.0], [-big, big, 0.0], [0.0, -np.inf, 0.0]], dtype)
    y = np.zeros(3, np.int64)
    e, G = cross_entropy_gradient(U, y)
    np.testing.assert_allclose(e, np.array([0.0, 2 * big, np.log(2)], dtype), rtol=1e-6)
    np.testing.assert_allclose(G, [[0, 0, 0], [-1, 1, 0], [-0.5, 0, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(softmax(U), [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 3, 10])
def test_infinite_logits_of_the_true_class(K, dtype):
    U = np.zeros((2, K), dtype)
    U[:, 0] = np.inf, -np.inf
    e, G = cross_entropy_gradient(U, [0, 0])
    np.testing.assert_array_equal(e, [0, np.inf])
    np.testing.assert_array_equal(G[0], np.zeros(K))
    np.testing.assert_allclose(G[1], [-1.0] + [1 / (K - 1)] * (K - 1), rtol=1e-6)


def test_correct_count_takes_the_first_of_equal_entries():
    U = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [np.nan, 1.0, 0.0]])
    assert correct_count(U, np.array([0, 1, 1, 1])) == 2
    assert correct_count(U[:0], np.array([], np.int64)) == 0


@settings(deadline=None, max_examples=15 if config.DISABLE_JIT else 200)
@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_properties(data, dtype):
    n, K = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    width = 64 if dtype == np.float64 else 32
    U = data.draw(hnp.arrays(dtype, (n, K), elements=st.floats(-50, 50, width=width)))
    y = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, K - 1)))
    eps = float(np.finfo(dtype).eps)
    e, G = cross_entropy_gradient(U, y)
    P = softmax(U)
    assert np.all(e >= 0)
    assert P.min() >= 0
    assert P.max() <= 1 + eps
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=(8 + K) * eps)
    np.testing.assert_allclose(G.sum(axis=1), 0, atol=(8 + K) * eps)
    # exp(-e) is the probability of the true class.
    tiny = float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(np.exp(-e), P[np.arange(n), y], rtol=120 * eps, atol=4 * tiny)
    # ||P - Y|| <= sqrt(2) min(1, e): the loss is sqrt(2)-Lipschitz in the logits.
    norms = np.linalg.norm(G.astype(np.float64), axis=1)
    assert np.all(norms <= np.sqrt(2) * np.minimum(1, e) * (1 + 20 * eps))
    # Independent of a constant added to a row: 64 is a power of two, but rounds the entries.
    np.testing.assert_allclose(cross_entropy(U + dtype(64), y), e, atol=300 * eps, rtol=300 * eps)
    close(e, reference(U, y)[0], U)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(dtype):
    U, y = sample(24, 6, dtype)
    read_only = U.copy()
    read_only.flags.writeable = False
    labels = y.copy()
    labels.flags.writeable = False
    wanted = cross_entropy_gradient(U, y)
    wide = np.zeros((48, 12), dtype)
    wide[::2, 1::2] = U
    for V, z in (
        (read_only, labels),
        (np.asfortranarray(U), y.astype(np.uint8)),
        (wide[::2, 1::2], np.repeat(y, 2)[::2]),
        (U.astype(U.dtype.newbyteorder()), y.astype(">i4")),
        (U, y.tolist()),
    ):
        got = cross_entropy_gradient(V, z)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])
        assert got[0].dtype == got[1].dtype == dtype
        np.testing.assert_array_equal(softmax(V), softmax(U))
        np.testing.assert_array_equal(
            squared_cross_entropy_gradient(V, z)[1], squared_cross_entropy_gradient(U, y)[1]
        )
    whole = cross_entropy([[1, 0], [0, 1]], [0, 1])
    assert whole.dtype == np.float64
    np.testing.assert_allclose(whole, np.log1p(np.exp(-1)), rtol=1e-15)
    assert cross_entropy(np.empty((0, 3)), []).shape == (0,)


def test_messages():
    U = np.zeros((3, 2))
    for function in (cross_entropy, cross_entropy_gradient, squared_cross_entropy_gradient):
        with pytest.raises(ValueError, match=r"label 2, but U has 2 columns.*return_inverse"):
            function(U, [0, 1, 2])
        with pytest.raises(ValueError, match=r"label -1"):
            function(U, [0, 1, -1])
        with pytest.raises(ValueError, match=r"y has shape \(2,\), but U has 3 rows"):
            function(U, [0, 1])
        with pytest.raises(TypeError, match=r"y must be integers, got dtype float64"):
            function(U, [0.0, 1.0, 1.0])
        with pytest.raises(ValueError, match=r"U has shape \(3,\)"):
            function(np.zeros(3), [0, 0, 0])
    with pytest.raises(ValueError, match=r"at least one class"):
        softmax(np.zeros((3, 0)))
    with pytest.raises(TypeError, match=r"U must be real numbers, got dtype complex128"):
        softmax(np.zeros((3, 2), complex))
