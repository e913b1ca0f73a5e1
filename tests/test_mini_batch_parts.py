"""Parts of the mini-batch solver against plain NumPy."""

import numpy as np
import pytest
from helpers import unpacked
from reference_mini_batch import make

from lysep_fast.kernels import ACTIVATION_CODES, activation_and_derivative
from lysep_fast.kernels.batch import (
    add_into,
    averaged_step_into,
    gather_into,
    heavy_ball_into,
    momentum_into,
    soften_into,
)
from lysep_fast.metrics.averaging import MovingAverage, early_mean_weight
from lysep_fast.metrics.layers import MovingMetric
from lysep_fast.metrics.polar import PolarFactor
from lysep_fast.metrics.trust_region import trust_factor
from lysep_fast.network.parameters import Parameters
from lysep_fast.passes import batch as batch_pass
from lysep_fast.passes.batch import BatchPass, batch_shapes
from lysep_fast.passes.full import Batch, gradient_pass


def test_average_is_the_mean_first_and_exponential_later():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 4))
    average = MovingAverage(values[0], 0.9)
    expected = np.zeros(4)
    for k, x in enumerate(values):
        average.take(x)
        a = min(0.9, 1.0 - 1.0 / (k + 1))
        expected = a * expected + (1 - a) * x
        np.testing.assert_allclose(average.value, expected, rtol=1e-12)
        if k == 4:
            np.testing.assert_allclose(average.value, values[:5].mean(axis=0), rtol=1e-12)
    assert [early_mean_weight(k, 0.7) for k in (0, 1, 9)] == [0.0, 0.5, 0.7]


def test_average_with_a_period_takes_the_first_and_every_period_th_value():
    values = np.arange(1.0, 12.0)
    average = MovingAverage(np.zeros(1), 0.99, 4)
    taken = [average.offer(np.full(1, x)) for x in values]
    assert taken == [i % 4 == 0 for i in range(11)]
    np.testing.assert_allclose(average.value, np.mean([1.0, 5.0, 9.0]))
    assert average.limit == pytest.approx(0.99**4)


def test_trust_factor_cuts_the_step_to_the_ball():
    rng = np.random.default_rng(0)
    g, root = rng.normal(size=(3, 5)), rng.normal(size=(5, 7))
    M = root @ root.T
    p = g @ np.linalg.inv(M)
    factor = trust_factor(np.vdot(p, g), 0.2)
    assert 0.0 < factor < 1.0
    q = factor * p
    assert np.sqrt(np.vdot(q @ M, q)) == pytest.approx(0.2)
    assert trust_factor(0.03, 0.2) == 1.0
    assert trust_factor(0.0, 1.0) == 1.0
    assert trust_factor(float("nan"), 1.0) == 1.0  # the loss is what shows it


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moving_metric(dtype):
    rng = np.random.default_rng(0)
    metric = MovingMetric(5, 4, np.dtype(dtype), mu=0.1, limit=0.6, period=3)
    expected, renewed = np.zeros((5, 5)), []
    for k in range(14):
        S = rng.normal(size=(9, 5)).astype(dtype)
        S[:, -1] = 0.0  # the column of an absent bias
        gram = S.T @ S / 9
        a = min(0.6, 1 - 1 / (k + 1))
        expected = a * expected + (1 - a) * gram
        if metric.update(gram):
            renewed.append(k)
            M = expected + 0.1 * np.trace(expected) / 4 * np.eye(5)
            tolerance = 1e-12 if dtype == np.float64 else 1e-4
            np.testing.assert_allclose(metric.inverse @ M, np.eye(5), atol=tolerance)
            np.testing.assert_array_equal(metric.inverse, metric.inverse.T)
    assert renewed == [0, 1, 3, 6, 9, 12]
    assert metric.inverse.dtype == dtype


def test_moving_metric_keeps_its_inverse_when_a_gram_matrix_is_not_finite():
    metric = MovingMetric(3, 3, np.dtype(np.float64), mu=0.1, limit=0.9, period=1)
    metric.update(np.diag([1.0, 2.0, 3.0]))
    former = metric.inverse.copy()
    metric.update(np.full((3, 3), np.nan))
    np.testing.assert_array_equal(metric.inverse, former)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_polar_factor(shape, dtype):
    rng = np.random.default_rng(0)
    V = (1e-5 * rng.normal(size=shape)).astype(dtype)
    factor = PolarFactor(shape, np.dtype(dtype), damping=1e-3, period=3)
    out = factor.apply(V, np.empty_like(V))
    U, s, Vt = np.linalg.svd(V, full_matrices=False)
    shift = 1e-3 * np.sum(s**2) / min(shape)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(out, (U * (s / np.sqrt(s**2 + shift))) @ Vt, atol=tolerance)
    # Steepest descent: nothing of singular values up to 1 goes down by more than their sum.
    assert 0.98 * np.sum(s) < np.vdot(out, V) <= np.sum(s) * (1 + tolerance)


def test_roots_are_kept_and_the_last_rounding_errors_are_not_blown_up():
    V, out = np.diag([1.0, 2.0]), np.empty((2, 2))
    factor = PolarFactor((2, 2), np.dtype(np.float64), damping=0.1, period=5)
    renewed = []
    for k in range(1, 12):
        former = factor.root.copy()
        factor.apply((1.0 + k) * V, out)
        if np.any(factor.root != former):
            renewed.append(k)
    assert renewed == [1, 2, 4, 5, 10]
    factor.renew(1e-6 * V)
    small = factor.apply(1e-6 * V, out).copy()
    assert 0 < np.linalg.norm(small) < 1e-3
    former = factor.root.copy()
    for other in (np.full((2, 2), np.nan), np.full((2, 2), 1e200)):
        with np.errstate(over="ignore"):  # as in training
            factor.renew(other)
    np.testing.assert_array_equal(factor.root, former)
    nothing = PolarFactor((2, 2), np.dtype(np.float64), damping=0.1, period=5)
    np.testing.assert_array_equal(nothing.apply(np.zeros((2, 2)), out), 0.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_averaged_step(dtype):
    rng = np.random.default_rng(0)
    W, Z, X, p = rng.normal(size=(4, 3, 5)).astype(dtype)
    z = Z - 0.2 * p
    z[:, :-1] -= 0.05 * Z[:, :-1]
    x = X + 0.3 * (z - X)
    averaged_step_into(W, Z, X, p, 0.2, 0.95, 0.3, 0.7)
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(Z, z, **tolerance)
    np.testing.assert_allclose(X, x, **tolerance)
    np.testing.assert_allclose(W, 0.3 * z + 0.7 * x, **tolerance)
    moved = 0.9 * p + 0.1 * W
    momentum_into(p, W, 0.9, 0.1)
    np.testing.assert_allclose(p, moved, **tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernels(dtype):
    rng = np.random.default_rng(0)
    X, index = rng.normal(size=(9, 4)).astype(dtype), np.array([3, 0, 8])
    out = np.empty((3, 5), dtype)
    gather_into(X, index, out, 1.0)
    np.testing.assert_array_equal(out, np.column_stack([X[index], np.ones(3)]))
    A, B = rng.normal(size=(2, 3, 5)).astype(dtype)
    total = A + B
    assert add_into(A, B) == pytest.approx(np.sum(total.astype(float) ** 2), rel=1e-5)
    np.testing.assert_array_equal(A, total)
    W, V, p = rng.normal(size=(3, 3, 5)).astype(dtype)
    moved = 0.9 * V - 0.2 * p
    expected = W + moved
    expected[:, :-1] *= 0.95
    heavy_ball_into(W, V, p, 0.9, 0.2, 0.95)
    np.testing.assert_allclose(V, moved, rtol=1e-5)
    np.testing.assert_allclose(W, expected, rtol=1e-5, atol=1e-6)
    G, y = rng.normal(size=(4, 3)).astype(dtype), np.array([0, 2, 1, 1])
    softened = G - 0.3 / 3 + 0.3 * np.eye(3)[y]
    soften_into(G, y, 0.3)
    np.testing.assert_allclose(G, softened, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", list(ACTIVATION_CODES))
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_pass_agrees_with_the_full_gradient(activation, output_bias, weighted, split, monkeypatch):
    if split:
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    problem, state = make(
        activation=activation, output_bias=output_bias, weighted=weighted, smoothing=0.1
    )
    network, rows = problem.network, slice(3, 14)
    layers = Parameters.pack(batch_shapes(network), state.W, state.b).layers
    order = np.random.default_rng(5).permutation(problem.n_samples)
    loss = problem.loss.take(order)
    chosen = order[rows]
    with problem.team:
        single = BatchPass(
            network, layers, problem.samples, 12, problem.team, range(2, network.depth + 1)
        )
        square = single(order, loss, rows, grams=True)
        batch = Batch.make(problem.samples.take(chosen), problem.loss.take(chosen), network)
        expected = gradient_pass(network, state.W, state.b, batch, problem.team)
    assert len(single._pieces) == 1 + split
    W = [w.copy() for w in state.W]
    b = [v.copy() for v in state.b]
    unpacked(single.gradient, W, b)
    for l in range(1, network.depth + 1):
        np.testing.assert_allclose(W[l], expected.gradient.layers[l][:, :-1], atol=1e-12)
        np.testing.assert_allclose(b[l], expected.gradient.layers[l][:, -1], atol=1e-12)
        if l < network.depth:
            assert not np.any(single.gradient[l][-1])  # the row that makes room never moves
    assert square == pytest.approx(np.sum(expected.gradient.layers[1] ** 2))
    c = np.ones(len(chosen)) if loss.sample_weight is None else loss.sample_weight[rows]
    assert np.dot(c, single.losses[rows]) == pytest.approx(expected.evaluation.loss)
    assert single.correct == pytest.approx(expected.evaluation.correct)
    S = problem.samples.X[chosen]
    for l in range(2, network.depth + 1):
        S, _ = activation_and_derivative(activation, S @ state.W[l - 1].T + state.b[l - 1])
        ones = np.full((len(S), 1), float(network.has_bias(l)))
        bordered = np.hstack([S, ones])
        np.testing.assert_allclose(single.grams[l], bordered.T @ (c[:, None] * bordered))
