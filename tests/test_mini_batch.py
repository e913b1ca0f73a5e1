"""The mini-batch solver against its equations in plain NumPy, and what it learns."""

import numpy as np
import pytest
from helpers import evaluated
from reference_mini_batch import Naive, make, run_epochs

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes import batch as batch_pass
from lysep_fast.result import Status
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import MiniBatch
from lysep_fast.solvers.mini_batch import _default_batch_size, _even_batches
from lysep_fast.threads.team import Team
from lysep_fast.train import train

slow_without_jit = pytest.mark.skipif(not JIT_ENABLED, reason="too slow without compilation")


@pytest.mark.parametrize(("n", "size", "count"), [(10, 3, 3), (7, 7, 1), (128 * 3 + 5, 128, 3)])
def test_batches_cover_the_samples_evenly(n, size, count):
    batches = _even_batches(n, size)
    assert len(batches) == count
    np.testing.assert_array_equal(
        np.concatenate([np.arange(n)[rows] for rows in batches]), range(n)
    )
    sizes = {rows.stop - rows.start for rows in batches}
    assert max(sizes) - min(sizes) <= 1


def test_default_batch_size():
    sizes = [_default_batch_size(n, 128) for n in (2, 31, 1300, 1797, 3000, 9000, 60000)]
    assert sizes == [2, 31, 32, 32, 64, 128, 128]


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({}, {}),
        ({"radius": 0.05, "average_period": 1}, {"output_bias": True}),
        ({"gram_period": 2, "inverse_period": 2}, {"weighted": True, "alpha": 0.03}),
        ({"weight_decay": 0.0, "label_smoothing": 0.0, "momentum": 0.0}, {"activation": "gelu"}),
        ({"damping": 0.01, "averaging": 0.8}, {"smoothing": 0.2, "activation": "relu"}),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_steps_equal_the_equations(options, setting, split, monkeypatch):
    if split:
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    problem, state = make(**setting)
    solver = MiniBatch(batch_size=6, **options)
    expected = Naive(problem, state, solver).run(np.random.default_rng(1), 12)
    run_epochs(solver, problem, state, 12)
    for l in range(1, problem.network.depth + 1):
        np.testing.assert_allclose(state.W[l], expected[l][:, :-1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(state.b[l], expected[l][:, -1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_do_not_change_a_bit(dtype, monkeypatch):
    monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 12)).astype(dtype), rng.integers(0, 4, 150)
    results = [
        train(
            X,
            y,
            hidden_layer_sizes=(9, 7),
            solver="mini-batch",
            max_iter=4,
            random_state=0,
            n_threads=n_threads,
            output_bias=False,
        )
        for n_threads in (1, 2, 3)
    ]
    for other in results[1:]:
        for l in range(1, 4):
            np.testing.assert_array_equal(other.W[l], results[0].W[l])
            np.testing.assert_array_equal(other.b[l], results[0].b[l])
    assert results[0].W[1].dtype == dtype
    assert results[0].predict_proba(X).dtype == dtype
    assert not np.any(results[0].b[3])


def test_whole_batches_with_weights_equal_repetition():
    # With one batch per epoch all sums run over the data, so weight 3 and three copies agree.
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, 23)
    problem, state = make(weighted=True)
    problem.loss.sample_weight = counts / counts.mean()
    repeated, repeated_state = make()
    repeated_state.W, repeated_state.b = [w.copy() for w in state.W], [v.copy() for v in state.b]
    repeated_loss = repeated.loss.take(np.repeat(np.arange(23), counts))
    X = np.repeat(repeated.samples.X, counts, axis=0)
    np.testing.assert_array_equal(repeated.samples.X, problem.samples.X)
    repeated = TrainingProblem(repeated.network, repeated_loss, ArraySamples(X), Team(1))
    run_epochs(MiniBatch(batch_size=23), problem, state, 30)
    run_epochs(MiniBatch(batch_size=len(X)), repeated, repeated_state, 30)
    for l in range(1, 4):
        np.testing.assert_allclose(state.W[l], repeated_state.W[l], atol=1e-10)
        np.testing.assert_allclose(state.b[l], repeated_state.b[l], atol=1e-10)


def test_running_monitor_is_what_the_batches_saw():
    problem, state = make(weighted=True, smoothing=0.2)
    with problem.team:
        before = evaluated(problem, state)
    solver = MiniBatch(batch_size=problem.n_samples, monitor="running")
    run_epochs(solver, problem, state, 1)
    seen = solver.evaluation
    assert seen.loss / problem.n_samples == pytest.approx(before[0])
    assert seen.correct / problem.n_samples == pytest.approx(before[1])
    assert seen.squares >= seen.loss**2 / problem.n_samples
    exact = MiniBatch()
    run_epochs(exact, problem, state, 1)
    assert exact.evaluation is None


@pytest.mark.parametrize("widths", [(4, 3), (4, 6, 3)])
@pytest.mark.parametrize("output_bias", [False, True])
def test_shallow_networks_and_zero_inputs(widths, output_bias):
    problem, state = make(widths, output_bias=output_bias)
    with problem.team:
        before = evaluated(problem, state)[0]
    run_epochs(MiniBatch(weight_decay=0.0, label_smoothing=0.0), problem, state, 30)
    with problem.team:
        assert evaluated(problem, state)[0] < before
    problem.samples.X[:] = 0.0
    run_epochs(MiniBatch(), problem, state, 2)
    assert all(np.all(np.isfinite(w)) for w in state.W[1:])


@slow_without_jit
def test_learns_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    test = np.arange(len(X)) % 4 == 0
    result = train(
        X[~test], y[~test], solver="mini-batch", early_stopping=True, random_state=0, n_threads=1
    )
    assert np.mean(result.predict(X[test]) == y[test]) > 0.965
    assert result.status is Status.EARLY_STOPPED


@slow_without_jit
def test_learns_the_circle():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2000, 2))
    y = (np.sum(X**2, axis=1) < 0.5).astype(int)
    result = train(
        X,
        y,
        hidden_layer_sizes=(30, 30),
        solver="mini-batch",
        max_iter=60,
        tol=0.0,
        random_state=0,
        n_threads=1,
    )
    assert result.history[-1].accuracy > 0.98


def test_early_stopping_returns_the_best_validation_iterate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    y = ((X[:, 0] > 0) ^ (rng.uniform(size=120) < 0.3)).astype(int)  # noisy labels: it overfits
    options = {"batch_size": 16, "rate": 2.0, "weight_decay": 0.0, "label_smoothing": 0.0}

    def fit(epochs):
        return train(
            X,
            y,
            hidden_layer_sizes=(20,),
            solver="mini-batch",
            solver_options=options,
            early_stopping=True,
            validation_fraction=0.3,
            n_iter_no_change=5,
            max_iter=epochs,
            random_state=0,
            n_threads=1,
        )

    result = fit(200)
    losses = [row.validation_loss for row in result.history]
    assert result.status is Status.EARLY_STOPPED
    assert result.best_iter == np.argmin(losses) == result.n_iter - 5
    np.testing.assert_array_equal(fit(result.best_iter).W[1], result.W[1])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
        ({"rate": -0.5}, ValueError, "rate"),
        ({"rate": float("nan")}, ValueError, "rate"),
        ({"momentum": 1.0}, ValueError, "momentum must be below 1"),
        ({"momentum": -0.1}, ValueError, "momentum"),
        ({"weight_decay": -1e-3}, ValueError, "weight_decay"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be below 1"),
        ({"damping": 0.0}, ValueError, "damping"),
        ({"radius": 0.0}, ValueError, "radius"),
        ({"averaging": 1.5}, ValueError, "averaging"),
        ({"average_period": 0}, ValueError, "average_period"),
        ({"metric_averaging": 1.0}, ValueError, "metric_averaging must be below 1"),
        ({"gram_period": 0}, ValueError, "gram_period"),
        ({"inverse_period": 0}, ValueError, "inverse_period"),
        ({"monitor": "none"}, ValueError, "'exact', 'running'"),
    ],
)
def test_options_are_checked(options, error, match):
    with pytest.raises(error, match=match):
        MiniBatch(**options)


def test_a_batch_larger_than_the_data_and_too_much_decay_are_refused():
    problem, state = make()
    with pytest.raises(ValueError, match=r"batch_size must be at most .* got 24 for 23"):
        MiniBatch(batch_size=24).start(problem, state)
    with pytest.raises(ValueError, match=r"rate \* weight_decay must be below 1, got 10.0 \* 0.1"):
        MiniBatch(rate=10.0, weight_decay=0.1).start(problem, state)


def test_divergence_is_reported():
    rng = np.random.default_rng(0)
    X = np.float32(1e15) * rng.normal(size=(60, 3)).astype(np.float32)
    y = rng.integers(0, 2, 60)
    with np.errstate(all="ignore"):
        result = train(
            X, y, activation="relu", solver="mini-batch", max_iter=5, init="uniform", n_threads=1
        )
    assert all(np.all(np.isfinite(w)) for w in result.W[1:])
