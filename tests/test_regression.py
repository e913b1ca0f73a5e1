"""Regression from the front door: fits, units, weights, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import draw_weights
from reference import RegressionReference

from lysep_fast import train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.solvers import choose_solver

SOLVERS = {
    "paper": {"solver": "alternating"},
    "paper-matrix": {
        "solver": "alternating",
        "solver_options": {"bias": "joint", "line_search": "matrix"},
    },
    "co-moving": {"solver": "alternating", "solver_options": {"variant": "co-moving"}},
    "quasi-newton": {"solver": "quasi-newton"},
    "mini-batch": {"solver": "mini-batch"},
}
every_solver = pytest.mark.parametrize("options", SOLVERS.values(), ids=SOLVERS.keys())
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="takes minutes without compiled kernels")


def fit(X, T, **options):
    settings = {"hidden_layer_sizes": (8, 6), "max_iter": 8 if JIT_ENABLED else 2, "tol": 0.0}
    options = {"random_state": 0} | settings | options
    return train(X, T, loss="squared-error", **options)


@pytest.fixture
def data():
    """Return inputs and two noisy targets of unlike spread."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(90 if JIT_ENABLED else 20, 3))
    T = np.stack([np.tanh(X[:, 0] - X[:, 1]), 3 + 2 * X[:, 2] * X[:, 0]], axis=1)
    return X, T + 0.1 * rng.normal(size=T.shape)


def r2(T, P):
    return 1 - np.sum((T - P) ** 2) / np.sum((T - T.mean(axis=0)) ** 2)


# --- fits --------------------------------------------------------------------------------------


@needs_jit
@every_solver
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_solver_fits_a_sine(options, dtype):
    X = np.random.default_rng(0).uniform(-2, 2, (400, 1)).astype(dtype)
    y = np.sin(3 * X[:, 0])
    result = fit(X, y, hidden_layer_sizes=(30, 30), max_iter=200, **options)
    X_test = np.linspace(-1.9, 1.9, 200, dtype=dtype)[:, None]
    prediction = result.predict(X_test)
    assert prediction.dtype == dtype
    assert prediction.shape == (200,)
    assert r2(np.sin(3 * X_test[:, 0]), prediction) > 0.998
    assert result.history[-1].r2 > 0.998


@needs_jit
@every_solver
def test_several_outputs_are_fitted_together(data, options):
    X, T = data
    result = fit(X, T, max_iter=150, **options)
    assert result.predict(X).shape == T.shape
    # Algorithm 1 as in the paper hardly trains its hidden layers: width helps it, sweeps do not.
    co_moving = options.get("solver_options") == {"variant": "co-moving"}
    least = 0.9 if co_moving or options["solver"] != "alternating" else 0.5
    assert r2(T[:, 0], result.predict(X)[:, 0]) > least
    assert r2(T[:, 1], result.predict(X)[:, 1]) > least


@every_solver
def test_a_column_of_targets_gives_a_column(data, options):
    X, T = data
    flat, column = fit(X, T[:, 0], **options), fit(X, T[:, :1], **options)
    assert column.predict(X).shape == (len(X), 1)
    np.testing.assert_array_equal(column.predict(X)[:, 0], flat.predict(X))
    np.testing.assert_array_equal(fit(X, T[:, 0].tolist(), **options).predict(X), flat.predict(X))


@every_solver
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("scale", [1e6, 1e-7])
def test_the_unit_of_the_targets_does_not_matter(data, options, scale, alpha):
    X, T = data
    alpha = {} if not alpha else {"alpha": alpha}
    one = fit(X, T, **options, **alpha)
    other = fit(X, scale * (T + 7), **options, **alpha)
    np.testing.assert_allclose(other.predict(X), scale * (one.predict(X) + 7), rtol=1e-4)
    for a, b in zip(one.history, other.history, strict=True):
        assert b.loss == pytest.approx(scale**2 * a.loss, rel=1e-4)
        assert b.r2 == pytest.approx(a.r2, abs=1e-5)


@every_solver
@pytest.mark.parametrize("value", [0.0, 0.1, -4e5])
def test_constant_targets_are_predicted(data, options, value):
    X, _ = data
    result = fit(X, np.full(len(X), value), max_iter=30 if JIT_ENABLED else 2, **options)
    assert np.isnan(result.history[-1].r2)
    if JIT_ENABLED:
        np.testing.assert_allclose(result.predict(X), value, atol=0.1)
        assert np.isfinite(result.history[-1].loss)


@every_solver
@pytest.mark.parametrize("output_bias", [False, True])
def test_history_and_bound_are_in_the_units_of_the_targets(data, options, output_bias):
    X, T = data
    c = draw_weights(len(X))
    result = fit(X, 50 * T, sample_weight=7 * c, output_bias=output_bias, **options)
    assert np.any(result.b[-1]) == output_bias
    mean = np.average(50 * T, axis=0, weights=c)
    variance = np.average((50 * T - mean) ** 2, axis=0, weights=c)
    W, b = list(result.W), list(result.b)
    W[-1], b[-1] = W[-1] / np.sqrt(variance)[:, None], b[-1] / np.sqrt(variance)
    truth = RegressionReference(X, 50 * T / np.sqrt(variance), W, b, [X], sample_weight=c)
    best = result.history[result.best_iter]
    assert best.loss == pytest.approx(np.mean(variance) * truth.loss(), rel=1e-9)
    assert best.r2 == pytest.approx(1 - truth.loss() / T.shape[1])
    assert np.isnan(best.accuracy)
    for row in result.history:
        assert np.sqrt(row.loss) <= result.bound_constant * row.separated_loss * (1 + 1e-9)
        assert row.separated_loss**2 == pytest.approx(row.data + np.sum(row.penalties))
    if options["solver"] == "alternating":
        falls = np.diff([row.separated_loss for row in result.history])
        assert np.all(falls <= 1e-12 * result.history[0].separated_loss)


@pytest.mark.parametrize(("solver", "most"), [("paper", 4), ("co-moving", 4), ("quasi-newton", 2)])
def test_integer_weights_are_repeated_samples(data, solver, most):
    # Quasi-newton: only samples that are there or not, because its layer weights square c_n.
    X, T = data
    counts = np.random.default_rng(2).integers(0, most, len(X))
    index = np.repeat(np.arange(len(X)), counts)
    options = SOLVERS[solver] | {"max_iter": 3, "init": "orthogonal"}
    weighted = fit(X, T, sample_weight=counts, **options)
    repeated = fit(X[index], T[index], **options)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-5, atol=1e-6)


@every_solver
def test_results_do_not_depend_on_the_number_of_threads(data, options):
    X, T = data
    one, two = (fit(X, T, n_threads=k, **options) for k in (1, 2))
    for a, b in zip(one.W + one.b, two.W + two.b, strict=True):
        assert a.tobytes() == b.tobytes()


@every_solver
def test_early_stopping_judges_by_the_held_out_error(data, options, capsys):
    X, T = data
    result = fit(X, T, early_stopping=True, validation_fraction=0.3, verbose=1, **options)
    losses = [row.validation_loss for row in result.history]
    assert result.best_iter == int(np.argmin(losses))
    assert np.all([row.validation_r2 < 1 for row in result.history])
    assert "R^2" in capsys.readouterr().out


def test_a_shallow_and_a_convolutional_network_are_fitted_too():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (30, 6, 6))
    y = images[:, :3].mean(axis=(1, 2))
    linear = fit(images.reshape(30, 36)[:, :5], images[:, 0, 2], hidden_layer_sizes=())
    assert linear.predict(images.reshape(30, 36)[:, :5]).shape == (30,)
    for solver in ("auto", "alternating", "quasi-newton"):
        result = fit(images, y, conv_channels=2, hidden_layer_sizes=(), solver=solver)
        assert result.history[-1].loss <= result.history[0].loss
        assert result.predict(images).shape == (30,)


@needs_jit
def test_a_linear_network_is_ordinary_least_squares(data):
    X, T = data
    result = fit(X, T, hidden_layer_sizes=(), solver="alternating")
    S = np.hstack([X, np.ones((len(X), 1))])
    np.testing.assert_allclose(result.predict(X), S @ np.linalg.lstsq(S, T)[0], atol=1e-9)


@pytest.mark.parametrize(
    ("n", "d", "solver"),
    [(50, 1, "quasi-newton"), (999, 2, "mini-batch"), (1000, 2, "quasi-newton"),
     (20_000, 1, "mini-batch"), (500, 3, "mini-batch"), (50, 10, "mini-batch")],
)  # fmt: skip
def test_auto_chooses_by_samples_and_features(n, d, solver):
    assert choose_solver(n, d, "squared-error") == solver


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"T": [1.0, np.nan, 3.0]}, r"y must be finite, got nan in row 1.*impute"),
        ({"T": ["a", "b", "c"]}, r"y must be numeric.*astype"),
        ({"T": [1.0, 2.0]}, r"same length, got 3 samples and 2 targets"),
        ({"T": [[1.0], [2.0, 3.0], [4.0]]}, r"y must be numbers, one row per sample"),
        ({"T": np.ones((3, 2, 2))}, r"y must have two dimensions.*\(3, 2, 2\)"),
        ({"T": [1j, 2, 3]}, r"y must be real.*y.real"),
        ({"T": [1e200, 2, 3]}, r"y must be below 2.0e\+123.*1.0e\+200; divide"),
        ({"label_smoothing": 0.1}, r"label_smoothing=0.1 belongs to classes.*leave it out"),
        ({"n_classes": 3}, r"n_classes=3 belongs to classes.*leave it out"),
        (
            {"loss": "hinge"},
            r"loss must be one of .*'squared-error', got 'hinge'",
        ),
        ({"solver": "measured-sweeps"}, r"'measured-sweeps' cannot take loss=.*choose one of"),
        ({"output_bias": 1}, r"output_bias must be True or False, got 1"),
    ],
)
def test_unusable_arguments_are_named(options, message):
    options = {"T": [1.0, 2.0, 4.0], "loss": "squared-error"} | options
    with pytest.raises((ValueError, TypeError), match=message):
        train(np.eye(3), options.pop("T"), **options)


def test_logits_are_for_classifiers(data):
    result = fit(*data)
    for method in (result.decision_function, result.predict_proba):
        with pytest.raises(ValueError, match=r"classifier's.*use predict"):
            method(data[0])
