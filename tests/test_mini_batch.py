"""The mini-batch solver against its equations in plain NumPy, and what it learns."""

import numpy as np
import pytest
from helpers import evaluated
from reference_mini_batch import Naive, NaivePolar, make, run_epochs

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.losses import SquaredError
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes import batch as batch_pass
from lysep_fast.result import Status
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import MiniBatch, polar_steps
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


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({}, {}),
        ({"radius": 0.05, "interpolation": 0.8}, {"output_bias": True, "activation": "relu"}),
        ({"gram_period": 2, "polar_damping": 1.0}, {"weighted": True, "alpha": 0.03}),
        ({"weight_decay": 0.0, "momentum": 0.0, "polar_rate": 0.1}, {"activation": "gelu"}),
        ({"polar_decay": 2.0, "rate": 0.4}, {"smoothing": 0.2, "widths": (4, 9, 3)}),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_polar_steps_equal_the_equations(options, setting, split, monkeypatch):
    if split:
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
        monkeypatch.setattr(polar_steps, "_WORTH_SPLITTING", 1)
    problem, state = make(**setting)
    solver = MiniBatch(steps="polar", batch_size=6, polar_period=1, **options)
    expected = NaivePolar(problem, state, solver).run(np.random.default_rng(1), 12)
    run_epochs(solver, problem, state, 12)
    for l in range(1, problem.network.depth + 1):
        np.testing.assert_allclose(state.W[l], expected[l][:, :-1], rtol=0, atol=1e-8)
        np.testing.assert_allclose(state.b[l], expected[l][:, -1], rtol=0, atol=1e-8)


def test_the_kind_of_steps_follows_the_data():
    few, _ = make(n=23)
    solver = MiniBatch()
    solver.suit(999, True, few.samples, few.loss)
    assert (solver.kind, solver.init) == ("gram", "normalised-small")
    solver.suit(1000, True, few.samples, few.loss)
    assert (solver.kind, solver.chosen.polar_rate) == ("polar", 0.02)
    wide, _ = make((64, 5, 3))
    solver.suit(1000, True, wide.samples, wide.loss)
    assert (solver.chosen.polar_rate, solver.init) == (0.07, "normalised")
    solver.suit(60_000, True, wide.samples, wide.loss)
    assert solver.chosen.polar_rate is None  # between those of few and of many samples
    others = solver.others(1000, True, few.samples, few.loss)
    kinds = [(other.kind, other.chosen.polar_rate) for other in others]
    assert kinds == [("gram", None), ("polar", 0.07)]
    solver.suit(1000, False, few.samples, few.loss)
    assert solver.kind == "gram"  # nothing but the output layer
    assert MiniBatch(steps="gram").others(1000, True, few.samples, few.loss) == []
    given = MiniBatch(steps="polar", polar_rate=0.3)
    given.suit(5, True, few.samples, few.loss)
    assert (given.kind, given.chosen.polar_rate) == ("polar", 0.3)
    numbers = SquaredError(np.zeros((23, 1)))
    solver.suit(5000, True, few.samples, numbers)
    assert solver.kind == "gram"
    assert solver.others(5000, True, few.samples, numbers) == []


def test_many_samples_have_short_polar_steps():
    assert polar_steps._size(100) == polar_steps._size(10_000) == 0.0
    assert polar_steps._size(50_000) == polar_steps._size(10**7) == 1.0
    assert 0.3 < polar_steps._size(22_000) < 0.7


@pytest.mark.parametrize("steps", ["gram", "polar"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_do_not_change_a_bit(dtype, steps, monkeypatch):
    monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    monkeypatch.setattr(polar_steps, "_WORTH_SPLITTING", 1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 12)).astype(dtype), rng.integers(0, 4, 150)
    results = [
        train(
            X,
            y,
            hidden_layer_sizes=(9, 7),
            solver="mini-batch",
            solver_options={"steps": steps},
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


@pytest.mark.parametrize("steps", ["gram", "polar"])
def test_whole_batches_with_weights_equal_repetition(steps):
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
    run_epochs(MiniBatch(steps=steps, batch_size=23), problem, state, 30)
    run_epochs(MiniBatch(steps=steps, batch_size=len(X)), repeated, repeated_state, 30)
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


@pytest.mark.parametrize("output_bias", [False, True])
def test_the_kept_row_has_the_loss_of_its_weights(output_bias):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
    result = train(
        X, y, solver="mini-batch", solver_options={"monitor": "running"}, max_iter=4, tol=0,
        hidden_layer_sizes=(6,), random_state=0, output_bias=output_bias,
    )  # fmt: skip
    P = result.predict_proba(X)
    row = result.history[result.best_iter]
    assert row.loss == pytest.approx(-np.mean(np.log(P[np.arange(90), y])))
    assert row.accuracy == pytest.approx(np.mean(P.argmax(axis=1) == y))


@pytest.mark.parametrize("steps", ["gram", "polar"])
def test_a_longer_run_is_the_same_run_longer(steps):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    seen = {}
    for max_iter in (2, 5):
        rows = seen.setdefault(max_iter, [])
        train(
            X, y, solver="mini-batch", solver_options={"steps": steps}, max_iter=max_iter, tol=0,
            hidden_layer_sizes=(6,), random_state=0, callback=rows.append,
        )  # fmt: skip
    losses = {max_iter: [row.loss for row in rows] for max_iter, rows in seen.items()}
    assert len(losses[5]) == 6
    assert losses[2] == losses[5][:3]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_iter", [0, 2])
def test_a_part_tells_the_loss_of_the_initial_weights(monkeypatch, weighted, max_iter):
    monkeypatch.setattr("lysep_fast.solvers.training._GLANCED", 300)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 4)), rng.integers(0, 3, 900)
    c = rng.integers(0, 3, 900).astype(float) if weighted else None
    runs = [
        train(
            X, y, sample_weight=c, solver="mini-batch", solver_options={"monitor": monitor},
            max_iter=max_iter,
            hidden_layer_sizes=(6,), random_state=0, tol=0, n_threads=1,
        )
        for monitor in ("exact", "running")
    ]  # fmt: skip
    exact, seen = (run.history[0].loss for run in runs)
    assert seen == pytest.approx(exact, rel=0.2)
    assert (seen != exact) == (max_iter > 0)  # the kept row has its own loss
    assert runs[0].history[-1].loss == pytest.approx(runs[1].history[-1].loss, rel=1e-12)


@pytest.mark.parametrize("widths", [(4, 3), (4, 6, 3)])
@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("steps", ["gram", "polar"])
def test_shallow_networks_and_zero_inputs(widths, output_bias, steps):
    problem, state = make(widths, output_bias=output_bias)
    with problem.team:
        before = evaluated(problem, state)[0]
    run_epochs(MiniBatch(steps=steps, weight_decay=0.0), problem, state, 30)
    with problem.team:
        assert evaluated(problem, state)[0] < before
    problem.samples.X[:] = 0.0
    run_epochs(MiniBatch(steps=steps), problem, state, 2)
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
