"""Units and offsets of inputs and targets do not matter: taken out, folded back, by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lysep_fast import train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.samples.scaling import Moments, Scaling
from lysep_fast.solvers import OnlineMiniBatch
from lysep_fast.threads.team import ALONE

N, D = (120 if JIT_ENABLED else 30), 4
SOLVERS = ("alternating", "quasi-newton", "mini-batch", "measured-sweeps")


def task(dtype=np.float64, seed=0):
    r = np.random.default_rng(seed)
    X = r.normal(size=(N, D))
    return X.astype(dtype), np.argmax(X[:, :3] + 0.3 * X[:, 1:], axis=1)


def logits(X, y, solver="mini-batch", **options):
    options = {"hidden_layer_sizes": (8,), "max_iter": 4, "tol": 0, "random_state": 0} | options
    result = train(X, y, solver=solver, n_threads=1, **options)
    if result.loss == "squared-error":
        return result.predict(X)
    return result.decision_function(X)


powers = st.lists(st.integers(-60, 60), min_size=D, max_size=D)
offsets = st.lists(st.floats(-100.0, 100.0), min_size=D, max_size=D)


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=5 if JIT_ENABLED else 2, deadline=None)
@given(powers)
def test_powers_of_two_change_no_bit(solver, exponents):
    X, y = task()
    np.testing.assert_array_equal(
        logits(X * 2.0 ** np.array(exponents), y, solver), logits(X, y, solver)
    )


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=5 if JIT_ENABLED else 2, deadline=None)
@given(powers, offsets)
def test_other_units_and_offsets_change_rounding_only(solver, exponents, offset):
    X, y = task()
    other = (X + np.array(offset)) * 1.7 ** np.array(exponents)
    np.testing.assert_allclose(
        logits(other, y, solver), logits(X, y, solver), rtol=1e-6, atol=1e-6
    )


@settings(max_examples=5 if JIT_ENABLED else 2, deadline=None)
@given(powers)
def test_powers_of_two_change_no_bit_in_float32(exponents):
    X, y = task(np.float32)
    scaled = X * np.float32(2.0) ** np.array(exponents, np.float32)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(logits(scaled, y), logits(X, y))


def test_columns_of_any_size_are_taken():
    X, y = task()
    scaled = X * np.array([1e300, 1e-200, 1.0, 1e150])
    np.testing.assert_allclose(logits(scaled, y), logits(X, y), rtol=1e-9, atol=1e-9)


def test_without_standardising_units_do_matter():
    """The property has a test that fails: this one's opposite."""
    X, y = task()
    other = X * np.array([1.0, 1.0, 1e3, 1.0])
    assert not np.allclose(
        logits(other, y, standardise=False), logits(X, y, standardise=False), rtol=0.1
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e15, -3.0])
def test_a_column_that_does_not_vary_has_no_influence(value):
    X, y = task()
    X[:, 2] = value
    result = train(X, y, random_state=0, max_iter=3, solver="mini-batch")
    np.testing.assert_array_equal(result.W[1][:, 2], 0.0)
    other = X.copy()
    other[:, 2] = value + 5.0
    np.testing.assert_array_equal(result.predict_proba(other), result.predict_proba(X))


def test_a_column_that_varies_by_rounding_only_counts_as_constant():
    X, y = task()
    X[:, 2] = 1e9 * (1.0 + np.finfo(float).eps * (np.arange(N) % 2))
    result = train(X, y, random_state=0, max_iter=3, solver="mini-batch")
    np.testing.assert_array_equal(result.W[1][:, 2], 0.0)


def test_a_column_too_small_for_its_weights_is_refused_by_name():
    X, y = task()
    X[:, 3] *= 1e-300
    with pytest.raises(ValueError, match=r"column 3 of X varies by .* multiply it"):
        train(X, y)


def test_convolutions_refuse_to_be_standardised():
    with pytest.raises(ValueError, match="standardise=True is for fully connected networks"):
        train(np.ones((4, 8, 8)), [0, 1, 0, 1], conv_channels=2, standardise=True)


@pytest.mark.parametrize("given", [1, "yes", 0.5])
def test_standardise_is_true_false_or_none(given):
    with pytest.raises(TypeError, match="standardise must be True or False"):
        train(*task(), standardise=given)


def test_rare_columns_are_not_blown_up():
    """Normal columns are scaled by their deviation, rarely different ones by more."""
    r = np.random.default_rng(0)
    X = np.c_[r.normal(size=20000), r.random(20000) < 0.01]
    scaling = Scaling.of(ArraySamples(X).moments(ALONE), X.dtype)
    assert scaling.scale[0] == pytest.approx(1.0, rel=0.03)
    assert scaling.scale[1] == pytest.approx((0.01 / 3) ** 0.25, rel=0.1)
    assert scaling.scale[1] > 2.0 * X[:, 1].std()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layer_of_scaled_columns_and_of_given_ones_are_the_same(dtype):
    r = np.random.default_rng(0)
    X = (r.normal(size=(50, 3)) * [1, 100, 0.01] + [0, 50, -1]).astype(dtype)
    scaling = Scaling.of(ArraySamples(X).moments(ALONE), X.dtype)
    W, b = r.normal(size=(4, 3)).astype(dtype), r.normal(size=4).astype(dtype)
    wanted = scaling.apply(X, np.empty_like(X)) @ W.T + b
    V, c = W.copy(), b.copy()
    scaling.restore(V, c)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(X @ V.T + c, wanted, rtol=1e4 * eps, atol=1e4 * eps)
    scaling.prepare(V, c)
    np.testing.assert_allclose(V, W, rtol=10 * eps)
    np.testing.assert_allclose(c, b, rtol=1e4 * eps, atol=1e4 * eps)


def test_moments_of_two_parts_are_those_of_all():
    r = np.random.default_rng(0)
    X = r.normal(size=(3000, 3)) * [1.0, 1e-3, 1e5] + [0.0, 7.0, 1e5]
    parts = [ArraySamples(X[rows]).moments(ALONE) for rows in (slice(0, 700), slice(700, 3000))]
    merged, whole = parts[0].merged(parts[1]), ArraySamples(X).moments(ALONE)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(merged.deviation, whole.deviation, rtol=1e-10)
    fourth = [m.fourth * m.unit**4 for m in (merged, whole)]
    np.testing.assert_allclose(*fourth, rtol=0.05)  # without the third moments
    assert merged.weight == whole.weight


def test_a_part_that_does_not_vary_is_merged_too():
    constant = Moments(5.0, np.array([2.0]), np.array([2.0]), np.zeros(1), np.zeros(1))
    varied = ArraySamples(np.array([[1.0], [3.0]])).moments(ALONE)
    merged = constant.merged(varied)
    X = np.array([2.0] * 5 + [1.0, 3.0])
    np.testing.assert_allclose(merged.mean, X.mean())
    np.testing.assert_allclose(merged.deviation, X.std())


def test_parts_of_a_stream_share_one_scaling():
    """What was learned is kept exactly when a part has other moments than those before."""
    X, y = task()
    solver = OnlineMiniBatch()
    first = train(X[: N // 2], y[: N // 2], n_classes=3, solver=solver, max_iter=1, random_state=0)
    again = OnlineMiniBatch(solver.memory)
    moments = again.with_former(ArraySamples(100.0 * X[N // 2 :]).moments(ALONE))
    assert moments.weight == N
    assert again.moments is moments
    W = [w.copy() for w in first.W]
    assert all(np.isfinite(w).all() for w in W)


@pytest.mark.parametrize("solver", ["alternating", "quasi-newton", "mini-batch"])
def test_units_of_targets_do_not_matter(solver):
    X, _ = task()
    Y = np.c_[np.sin(X[:, 0]), X[:, 1] * X[:, 2]]
    found = logits(X, Y, solver, loss="squared-error")
    scaled = logits(X, Y * [2.0**20, 2.0**-30], solver, loss="squared-error")
    np.testing.assert_array_equal(scaled, found * [2.0**20, 2.0**-30])
    moved = logits(X, Y * [1e6, 1e-3] + [5e6, -2e-3], solver, loss="squared-error")
    np.testing.assert_allclose((moved - [5e6, -2e-3]) / [1e6, 1e-3], found, rtol=1e-6, atol=1e-6)


def test_units_of_targets_may_be_given():
    X, _ = task()
    Y = np.c_[X[:, 0], 10.0 * X[:, 1]]
    one = logits(X, Y, loss="squared-error", target_unit=[1.0, 10.0])
    assert np.isfinite(one).all()
    with pytest.raises(ValueError, match="one number or one for each of the 2 outputs"):
        logits(X, Y, loss="squared-error", target_unit=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"target_unit\[1\]"):
        logits(X, Y, loss="squared-error", target_unit=[1.0, 0.0])


def test_outputs_that_overflow_are_named():
    X, y = task()
    result = train(X, y, random_state=0, max_iter=2, activation="relu", hidden_layer_sizes=(5,))
    result.W[1][:] *= 1e100
    X[7, 2] = 1e300
    with pytest.raises(ValueError, match=r"row 7 of X overflow float64: column 2 has 1.0e\+300"):
        result.predict_proba(X)
