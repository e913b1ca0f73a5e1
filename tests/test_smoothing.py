"""The cross-entropy against smoothed targets: values, gradients, curvature, reports."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    cross_entropy,
    finite_difference_gradient,
    softmax,
    squared_loss_gradient,
    targets,
)

from lysep_fast.losses import CrossEntropy
from lysep_fast.threads.team import Workspace

SHARES = [0.01, 0.1, 0.9]
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
every_share = pytest.mark.parametrize("share", SHARES)


def draw(share, *, dtype=np.float64, weighted=False, rows=9, classes=4, scale=2.0):
    """Return logits and a smoothed loss of as many samples."""
    rng = np.random.default_rng(2)
    U = (scale * rng.normal(size=(rows, classes))).astype(dtype)
    c = rng.uniform(0.0, 2.0, rows).astype(dtype) if weighted else None
    return U, CrossEntropy(rng.integers(0, classes, rows), classes, c, share)


def close(dtype, share=0.0):
    # Margins of either sign are added to the loss: 1/(1 - share) bounds what may cancel.
    return {"rtol": 100 * np.finfo(dtype).eps / (1 - share), "atol": 20 * np.finfo(dtype).eps}


@every_share
@every_dtype
def test_losses_and_gradients_are_those_of_plain_numpy(dtype, share):
    U, loss = draw(share, dtype=dtype)
    U64, T = U.astype(float), targets(loss.y, 4, share)
    wanted = cross_entropy(U64, loss.y, share)
    np.testing.assert_allclose(wanted, cross_entropy(U64, loss.y) + share * (
        U64[np.arange(9), loss.y] - U64.mean(axis=1)
    ))  # fmt: skip
    e, G = np.empty(9, dtype), np.empty_like(U)
    loss.losses(U, loss.y, e)
    np.testing.assert_allclose(e, wanted, **close(dtype, share))
    loss.gradient(U, loss.y, e, G)
    np.testing.assert_allclose(e, wanted, **close(dtype, share))
    np.testing.assert_allclose(G, softmax(U64) - T, **close(dtype))
    V = U.copy()  # the gradient may take the place of the logits
    loss.gradient(V, loss.y, e, V)
    np.testing.assert_array_equal(V, G)
    loss.squares_gradient(U, slice(0, 9), e, G)
    np.testing.assert_allclose(e, wanted**2, **close(dtype, share))
    np.testing.assert_allclose(G, squared_loss_gradient(U64, loss.y, share), **close(dtype, share))


@every_share
@pytest.mark.parametrize("classes", [2, 5])
def test_gradients_are_finite_differences(share, classes):
    U, loss = draw(share, classes=classes)
    e, G = np.empty(9), np.empty_like(U)

    def total(V, power):
        value = np.empty(9)
        loss.losses(np.ascontiguousarray(V), loss.y, value)
        return np.sum(value**power)

    loss.gradient(U, loss.y, e, G)
    wanted = finite_difference_gradient(lambda V: total(V, 1), U)
    np.testing.assert_allclose(G, wanted, rtol=1e-6, atol=1e-8)
    loss.squares_gradient(U, slice(0, 9), e, G)
    wanted = finite_difference_gradient(lambda V: total(V, 2), U)
    np.testing.assert_allclose(G, wanted, rtol=1e-6, atol=1e-8)


@every_share
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_no_loss_is_below_the_entropy_of_its_target(share, scale):
    U, loss = draw(share, rows=200, scale=scale)
    e, T = np.empty(200), targets(loss.y, 4, share)
    loss.losses(U, loss.y, e)
    assert e.min() >= loss.floor * (1 - 1e-12) > 0
    loss.losses(np.log(T), loss.y, e)
    np.testing.assert_allclose(e, loss.floor, rtol=1e-12)
    assert loss.floor == pytest.approx(-np.sum(T[0] * np.log(T[0])))


def test_without_smoothing_the_floor_is_zero_and_tiny_losses_stay_exact():
    U, y = np.array([[0.0, -200.0]]), np.array([0])
    for share in (None, 0.0):
        loss, e, G = CrossEntropy(y, 2, None, share), np.empty(1), np.empty((1, 2))
        assert (loss.floor, loss.smoothing) == (0.0, 0.0)
        loss.gradient(U, y, e, G)
        assert e[0] == pytest.approx(np.exp(-200.0), rel=1e-12)
        assert G[0, 0] == -G[0, 1] == pytest.approx(-np.exp(-200.0), rel=1e-12)


@every_share
def test_the_smoothed_loss_is_lipschitz_in_the_logits_as_the_bound_needs(share):
    U, loss = draw(share, rows=500, scale=20.0)
    e, G = np.empty(500), np.empty_like(U)
    loss.gradient(U, loss.y, e, G)
    assert np.linalg.norm(G, axis=1).max() <= np.sqrt(2.0)


@every_share
def test_the_curvature_weight_is_half_the_second_derivative_for_two_classes(share):
    U, loss = draw(share, classes=2)
    e, G, size, v = np.empty(9), np.empty_like(U), np.empty(9), np.empty(9)
    loss.gradient(U, loss.y, e, G)
    loss.curvature(G, loss.y, e, size, v)
    h, z = 1e-4, np.array([1.0, -1.0]) / np.sqrt(2)
    squares = [cross_entropy(U + t * h * z, loss.y, share) ** 2 for t in (-1, 0, 1)]
    second = (squares[0] - 2 * squares[1] + squares[2]) / h**2
    np.testing.assert_allclose(2 * v, second, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(size, np.sum(G**2, axis=1), rtol=1e-13)


@every_dtype
def test_the_curvature_weight_is_never_negative_and_nan_is_not_lost(dtype):
    # The true class has all the probability: rounding decides on the sign of q = 1 - p.
    U, y = np.zeros((6, 3), dtype), np.zeros(6, np.int64)
    U[:, 0] = 80.0
    U[5, 1] = np.nan
    loss = CrossEntropy(y, 3, None, 1e-9)
    e, G, size, v = np.empty(6, dtype), np.empty_like(U), np.empty(6), np.empty(6)
    loss.gradient(U, y, e, G)
    loss.curvature(G, y, e, size, v)
    assert np.all(v[:5] >= 0.0)
    assert np.isnan(v[5])


@every_dtype
@every_share
@pytest.mark.parametrize("weighted", [False, True])
def test_reports_are_plain_and_the_objective_is_smoothed(share, weighted, dtype):
    U, loss = draw(share, dtype=dtype, weighted=weighted)
    U64 = U.astype(float)
    c = loss.sample_weight.astype(float) if weighted else np.ones(9)
    e, P, T = cross_entropy(U64, loss.y), softmax(U64), targets(loss.y, 4, share)
    hits = np.sum(c * (np.argmax(U64, axis=1) == loss.y))
    smoothed = c @ cross_entropy(U64, loss.y, share)
    wanted, bound = [c @ e, c @ e**2, hits, smoothed], c * np.abs(P - T).sum(axis=1) / 2
    rows, ws, doubt = slice(0, 9), Workspace(), np.full(9, dtype(9))
    np.testing.assert_allclose(loss.measure(U, rows, ws), wanted, **close(dtype, share))
    np.testing.assert_allclose(loss.measure(U, rows, ws, doubt), wanted, **close(dtype, share))
    np.testing.assert_allclose(doubt, bound, **close(dtype))
    q, G = np.empty(9, dtype), U.copy()
    sums = loss.measure_gradient(G, rows, ws, G, q)
    np.testing.assert_allclose(sums, wanted, **close(dtype, share))
    np.testing.assert_allclose(G, c[:, None] * (P - T), **close(dtype))
    np.testing.assert_allclose(q, c * (1 - P[np.arange(9), loss.y]), **close(dtype))
    loss.gradient_bound(G, q, doubt)
    np.testing.assert_allclose(doubt, bound, **close(dtype))


def test_a_sample_that_is_too_sure_has_a_gradient_and_its_bound_says_so():
    U, y = np.array([[30.0, 0.0, 0.0]]), np.array([0])
    for share, wanted in ((0.0, 2 * np.exp(-30.0)), (0.3, 0.2)):
        doubt = np.empty(1)
        CrossEntropy(y, 3, None, share).measure(U, slice(0, 1), Workspace(), doubt)
        assert doubt[0] == pytest.approx(wanted, rel=1e-9)


@every_dtype
def test_weights_multiply_rows_and_sums(dtype):
    rng = np.random.default_rng(0)
    c, V = rng.uniform(0, 2, 7).astype(dtype), rng.normal(size=(4, 3)).astype(dtype)
    rows, y = slice(2, 6), np.zeros(7, np.int64)
    weighted, plain = CrossEntropy(y, 2, c), CrossEntropy(y, 2)
    wide = c[rows].astype(float)[:, None] * V
    np.testing.assert_allclose(weighted.weigh(V, rows), wide, rtol=1e-6)
    np.testing.assert_allclose(weighted.weigh(V, rows, root=True) ** 2, wide * V, rtol=1e-5)
    np.testing.assert_allclose(weighted.weighted_sum(V, rows), wide.sum(axis=0), rtol=1e-12)
    assert weighted.weighted_sum(V[:, 0], rows) == pytest.approx(wide[:, 0].sum(), rel=1e-12)
    assert weighted.total_weight == pytest.approx(c.sum(dtype=float), rel=1e-14)
    assert plain.weigh(V, rows) is V
    np.testing.assert_array_equal(plain.weighted_sum(V, rows), V.sum(axis=0, dtype=float))
    assert plain.total_weight == 7.0
