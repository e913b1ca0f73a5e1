"""The number of sweeps by cross-validation, and the end of a run: exact bias, honest status."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast import train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.losses.targets import Targets
from lysep_fast.result import Status
from lysep_fast.runs.sweeps import n_folds

needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="takes minutes without compiled kernels")
OPTIONS = {"hidden_layer_sizes": (10,), "random_state": 0, "n_threads": 1}


def classes(y, sample_weight=None):
    return Targets.check(
        "cross-entropy",
        y,
        np.zeros((len(y), 1)),
        sample_weight,
        n_classes=None,
        label_smoothing=None,
        output_bias=True,
    )


def noisy(n=200, seed=0):
    """Return a table with a linear signal under noise, and a fresh draw of it."""
    r = np.random.default_rng(seed)
    X = r.normal(size=(2 * n, 8))
    y = (X[:, 0] + 1.5 * r.normal(size=2 * n) > 0).astype(int)
    return X[:n], y[:n], X[n:], y[n:]


def log_loss(result, X, y):
    P = result.predict_proba(X)
    return -np.mean(np.log(P[np.arange(len(y)), y]))


@pytest.mark.parametrize(
    ("n", "folds"), [(20, 5), (400, 5), (700, 3), (1000, 2), (3000, 1), (9000, 1)]
)
def test_few_samples_have_more_folds(n, folds):
    assert n_folds(n) == folds


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_hold_out_every_sample_once_and_every_class_evenly(count):
    y = np.repeat(np.arange(7), [5, 5, 9, 2, 30, 11, 6])
    splits = classes(y).folds(count, np.random.default_rng(0), np.arange(len(y)))
    held_out = [held for _, held in splits]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(len(y)))
    for kept, held in splits:
        np.testing.assert_array_equal(np.sort(np.r_[kept, held]), np.arange(len(y)))
        counts = np.bincount(y[held], minlength=7)
        assert np.all(np.abs(counts - np.bincount(y) / count) <= 1.0)


@pytest.mark.parametrize(("n_classes", "each"), [(10, 5), (1000, 5), (3, 40)])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.7])
def test_held_out_samples_are_pooled_over_small_classes(n_classes, each, fraction):
    y = np.repeat(np.arange(n_classes), each)
    kept, held_out = classes(y).hold_out(fraction, np.random.default_rng(0))
    assert len(held_out) == round(fraction * len(y))
    assert len(np.unique(held_out)) == len(held_out)
    np.testing.assert_array_equal(np.unique(y[kept]), np.arange(n_classes))


def test_a_class_of_one_sample_is_trained_on():
    y = np.array([0] * 30 + [1] + [2] * 3)
    for seed in range(20):
        kept, _ = classes(y).hold_out(0.5, np.random.default_rng(seed))
        assert set(y[kept]) == {0, 1, 2}


def test_nothing_to_hold_out_is_said():
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 of 3 samples leaves none"):
        classes(np.array([0, 1, 2])).hold_out(0.1, np.random.default_rng(0))


@needs_jit
def test_cross_validated_sweeps_do_better_on_new_data_than_all():
    X, y, X_new, y_new = noisy()
    base = {**OPTIONS, "solver": "mini-batch", "max_iter": 200}
    chosen = train(X, y, early_stopping="auto", **base)
    all_of_them = train(X, y, tol=0, **base)
    assert chosen.status is Status.CROSS_VALIDATED
    assert chosen.n_iter < 200
    assert log_loss(chosen, X_new, y_new) < log_loss(all_of_them, X_new, y_new)


def test_the_choice_follows_from_the_seed_alone():
    X, y, *_ = noisy()
    runs = [
        train(X, y, early_stopping="auto", max_iter=20, **{**OPTIONS, "n_threads": n})
        for n in (1, 2)
    ]
    assert runs[0].n_iter == runs[1].n_iter
    np.testing.assert_array_equal(runs[0].W[1], runs[1].W[1])


@needs_jit
def test_a_resumed_run_makes_the_same_choice(tmp_path):
    X, y, *_ = noisy()
    options = {**OPTIONS, "early_stopping": "auto", "max_iter": 30}
    path = tmp_path / "run.npz"
    whole = train(X, y, **options)
    train(
        X, y, **options, checkpoint=path, checkpoint_every=1, callback=lambda row: row.sweep == 2
    )
    again = train(X, y, **options, resume=path)
    assert again.n_iter == whole.n_iter
    for one, other in zip(again.W + again.b, whole.W + whole.b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("given", ["yes", 1, None])
def test_early_stopping_takes_what_is_said(given):
    X, y, *_ = noisy(20)
    with pytest.raises((ValueError, TypeError), match="early_stopping"):
        train(X, y, early_stopping=given)


def test_sweeps_of_folds_are_shown(capsys):
    X, y, *_ = noisy(400)
    train(X, y, early_stopping="auto", verbose=1, max_iter=3, **OPTIONS)
    shown = capsys.readouterr().out
    assert all(f"fold {k} of 5: held-out loss" in shown for k in range(1, 6))


def test_from_given_weights_all_sweeps_are_done():
    X, y, *_ = noisy(60)
    first = train(X, y, early_stopping="auto", max_iter=3, **OPTIONS)
    more = train(X, y, early_stopping="auto", init=first, max_iter=4, tol=0, **OPTIONS)
    assert more.n_iter == 4


@needs_jit
def test_a_signal_without_a_linear_part_is_found():
    r = np.random.default_rng(0)
    X = r.normal(size=(2000, 10))
    y = np.sin(3 * X[:, 0]) * X[:, 1]
    found = train(X, y, loss="squared-error", early_stopping="auto", random_state=0, n_threads=1)
    assert found.history[found.best_iter].r2 > 0.8


@needs_jit
def test_many_waves_are_found_by_a_wider_start():
    x = np.random.default_rng(0).uniform(size=(300, 1))
    y = np.sin(10 * np.pi * x[:, 0])
    options = {"loss": "squared-error", "random_state": 0, "n_threads": 1}
    assert train(x, y, **options).history[-1].r2 < 0.5
    found = train(x, y, early_stopping="auto", **options)
    assert found.history[found.best_iter].r2 > 0.99


@needs_jit
def test_noise_ends_with_a_status_that_says_so():
    r = np.random.default_rng(0)
    X, y = r.normal(size=(300, 5)), r.integers(0, 2, 300)
    found = train(X, y, early_stopping="auto", max_iter=50, **OPTIONS)
    assert found.status is Status.NOTHING_FOUND
    assert "best constant" in found.message


@needs_jit
def test_a_plateau_is_not_called_convergence():
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    found = train(bits, bits.sum(axis=1) % 2, solver="mini-batch", random_state=0, n_threads=1)
    row = found.history[found.best_iter]
    assert (found.status is Status.NOTHING_FOUND) == (row.loss > 0.98 * np.log(2.0))
    assert found.status is not Status.CONVERGED or row.accuracy > 0.9


@needs_jit
@pytest.mark.parametrize("early", [False, "auto"])
def test_separable_data_end_as_done(early):
    r = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = np.c_[6.0 * y, r.normal(size=200)]
    found = train(X, y, solver="quasi-newton", max_iter=1000, early_stopping=early, **OPTIONS)
    assert found.status is (Status.CROSS_VALIDATED if early else Status.CONVERGED)
    assert found.history[-1].loss < (1e-2 if early else 1e-3)


@pytest.mark.parametrize("solver", ["quasi-newton", "mini-batch", "alternating"])
def test_mean_residuals_of_a_regression_are_zero(solver):
    r = np.random.default_rng(0)
    X = r.normal(size=(150, 3))
    Y = np.c_[X[:, 0] ** 2, 40.0 + X[:, 1]]
    c = r.uniform(0.5, 2.0, 150)
    found = train(
        X, Y, loss="squared-error", solver=solver, sample_weight=c, max_iter=4, tol=0, **OPTIONS
    )
    mean = np.average(Y - found.predict(X), axis=0, weights=c)
    np.testing.assert_allclose(mean / Y.std(axis=0), 0.0, atol=1e-10)
    error, spread = (
        np.average(np.square(Y - centre), axis=0, weights=c)
        for centre in (found.predict(X), np.average(Y, axis=0, weights=c))
    )
    assert found.history[found.best_iter].r2 == pytest.approx(1.0 - np.mean(error / spread))


def test_held_out_samples_do_not_keep_the_bias_from_being_exact():
    """Their row has the running mean of the batches as its loss, which is another one."""
    r = np.random.default_rng(0)
    X = r.normal(size=(150, 3))
    y = 40.0 + X[:, 1]
    found = train(X, y, loss="squared-error", solver="mini-batch", early_stopping=True,
                  max_iter=4, **OPTIONS)  # fmt: skip
    row, error = found.history[found.best_iter], found.predict(X) - y
    assert abs(error.mean()) < 0.2
    parts = row.loss * 135 + row.validation_loss * 15
    assert parts == pytest.approx(np.sum(error**2), rel=1e-9)


def test_inputs_that_tell_nothing_give_the_mean():
    y = np.arange(50.0)
    found = train(np.ones((50, 3)), y, loss="squared-error", random_state=0)
    np.testing.assert_allclose(found.predict(np.ones((1, 3))), 24.5, rtol=1e-12)
    assert found.status is Status.NOTHING_FOUND


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_outputs_that_explain_nothing_are_made_smaller(loss):
    # Long steps away from the data: worse than the best constant, before the end of the run.
    r = np.random.default_rng(0)
    X, y = r.normal(size=(60, 3)), np.arange(60) % 2
    other = {"solver": "mini-batch", "solver_options": {"rate": 50.0, "radius": 1e3}}
    found = train(X, y, loss=loss, max_iter=2, tol=0, **other, **OPTIONS)
    constant = np.log(2.0) if loss == "cross-entropy" else 0.25
    assert found.history[1].loss > 1.1 * constant
    assert found.history[found.best_iter].loss <= constant * (1 + 1e-12)
    if loss == "cross-entropy":
        P = found.predict_proba(X)
        assert -np.mean(np.log(P[np.arange(60), y])) <= constant * (1 + 1e-12)
    else:
        assert np.mean((found.predict(X).ravel() - y) ** 2) <= constant * (1 + 1e-12)


@needs_jit
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_mean_probabilities_are_the_shares_of_the_classes(share):
    r = np.random.default_rng(0)
    X = r.normal(size=(3000, 4))
    y = (r.random(3000) < share).astype(int)
    found = train(X, y, solver="mini-batch", max_iter=3, tol=0, **OPTIONS)
    mean = found.predict_proba(X)[:, 1].mean()
    assert mean == pytest.approx(y.mean(), rel=1e-2)
    base = y.mean()
    entropy = -(base * np.log(base) + (1.0 - base) * np.log(1.0 - base))
    assert log_loss(found, X, y) < entropy


def test_mean_probabilities_of_labels_are_their_shares():
    r = np.random.default_rng(0)
    X = r.normal(size=(800, 4))
    Y = np.c_[X[:, 0] > 1.0, r.random(800) < 0.02, np.zeros(800)].astype(int)
    found = train(
        X, Y, loss="binary-cross-entropy", solver="mini-batch", max_iter=4, tol=0, **OPTIONS
    )
    mean = found.predict_proba(X).mean(axis=0)
    np.testing.assert_allclose(mean[:2], Y.mean(axis=0)[:2], rtol=1e-2)


def test_the_kept_row_describes_the_result():
    r = np.random.default_rng(0)
    X = r.normal(size=(150, 3))
    y = X[:, 0] + 3.0
    found = train(X, y, loss="squared-error", solver="mini-batch", max_iter=3, tol=0, **OPTIONS)
    loss = np.mean(np.square(found.predict(X) - y))
    assert found.history[found.best_iter].loss == pytest.approx(loss, rel=1e-9)
