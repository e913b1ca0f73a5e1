"""Numerical trouble: never a NaN out of finite input, never an endless loop, or it says why."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

from lysep_fast import Status, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.linalg.least_squares import solve_normal_equations, solve_triangular
from lysep_fast.solvers import QuasiNewton, training
from tools import _calls
from tools import _generated_inputs as trouble

#: Cases per entry point; a torture run takes 10,000 and more.
CASES = int(os.environ.get("LYSEP_CASES", 60 if JIT_ENABLED else 5))


@pytest.mark.parametrize("name", trouble.ENTRIES)
def test_a_generated_call_is_refused_by_name_or_gives_finite_numbers(name):
    if name.startswith("LySep"):
        pytest.importorskip("sklearn")

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize="LYSEP_CASES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(trouble.ENTRIES[name])
    def run(call):
        event(_calls.check(call))

    run()


def test_weights_without_finite_predictions_are_not_kept():
    """A huge penalty throws the weights away; the held-out class is right by luck all the same."""
    X, y = np.zeros((20, 2)), np.array([1] + [0] * 19)
    with np.errstate(all="raise"):  # the caller's settings do not matter
        result = train(
            X, y, hidden_layer_sizes=(4, 4), activation="relu", solver="mini-batch",
            init="uniform", alpha=1e300, early_stopping=True, max_iter=2, random_state=7,
            output_bias=False, standardise=False, label_smoothing=0.05,
        )  # fmt: skip
    assert result.history[1].validation_loss < result.history[0].validation_loss
    assert result.best_iter == 0
    assert result.status is Status.NOT_FINITE
    assert np.all(np.isfinite(result.predict_proba(X)))


def test_weights_with_infinite_logits_are_not_kept_though_their_loss_is_finite():
    X = np.linspace(-1e-5, 1e-5, 20)[:, None]
    y = (X[:, 0] > 0).astype(int)
    result = train(
        X, y, hidden_layer_sizes=2, activation="gelu", solver="mini-batch", alpha=1e300,
        max_iter=3, random_state=8, standardise=False,
    )  # fmt: skip
    assert np.all(np.isfinite([row.loss for row in result.history]))
    assert np.all(np.isfinite(result.decision_function(X)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predictions_are_looked_at_where_sizes_do_not_tell(make_problem, monkeypatch, dtype):
    problem, state = make_problem((3, 5, 4, 4, 2), "relu", dtype=dtype)
    run = training.NetworkTraining(problem, QuasiNewton(), SimpleNamespace(W=state.W, b=state.b))
    run.start()
    looked, original = [], training.outputs_are_finite
    monkeypatch.setattr(
        training, "outputs_are_finite", lambda *a: looked.append(1) or original(*a)
    )
    row, best = SimpleNamespace(loss=0.5, separated_loss=0.5), None
    assert run.is_better(row, best)
    assert not looked
    huge = np.sqrt(np.finfo(dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        for l in (2, 3):
            run.state.W[l][...] = huge
        assert not run.is_better(row, best)  # the row does not tell, the outputs do
        run.state.W[1][...] = run.state.b[1][...] = 0.0
        run.state.b[2][...] = run.state.b[3][...] = 0.0
        assert run.is_better(row, best)  # huge weights on nothing
    assert len(looked) == 2


# --- the checks can fail -------------------------------------------------------------------------


def check(function, *arrays):
    return _calls.check(_calls.Call(function, list(arrays)))


def test_the_check_sees_what_is_not_finite_changed_unnamed_or_warned_of():
    X = np.zeros(3)

    def change():
        X[1] = 1.0
        return "fine", {}

    def unnamed():
        raise ValueError("no good")

    def named():
        raise ValueError("alpha must be positive")

    with pytest.raises(AssertionError, match="p is not finite"):
        check(lambda: ("fine", {"p": np.array([1.0, np.nan])}))
    with pytest.raises(AssertionError):
        check(change, X)
    with pytest.raises(AssertionError, match="names no argument: no good"):
        check(unnamed)
    with pytest.raises(RuntimeWarning, match="divide by zero"):
        check(lambda: ("fine", {"p": np.ones(1) / np.zeros(1)}))
    assert check(named) == "refused"
    assert check(lambda: ("fine", {"p": 1.0}), X) == "fine"


def test_a_call_that_takes_for_ever_is_stopped(monkeypatch):
    monkeypatch.setattr(_calls, "PATIENCE", 0.05)

    def endless():
        while True:
            pass

    with pytest.raises(TimeoutError):
        check(endless)


# --- cases of their own --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "options"),
    [
        ("alternating", {}),
        ("alternating", {"variant": "co-moving"}),
        ("quasi-newton", {}),
        ("mini-batch", {"weight_decay": 0.0, "label_smoothing": 0.0}),
        ("measured-sweeps", {}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_separable_data_for_thousands_of_sweeps_stays_finite(solver, options, dtype):
    X = np.linspace(-1, 1, 20)[:, None].astype(dtype)
    result = train(
        X, (X[:, 0] > 0).astype(int), hidden_layer_sizes=(3,),
        solver=solver, solver_options=options, max_iter=2000 if JIT_ENABLED else 30, tol=0,
        n_iter_no_change=10**6, random_state=0, n_threads=1,
    )  # fmt: skip
    assert result.status in (Status.MAX_ITER, Status.NO_PROGRESS)
    assert all(np.isfinite(row.loss) and np.isfinite(row.separated_loss) for row in result.history)
    assert np.all(np.isfinite(result.predict_proba(X)))
    if JIT_ENABLED:
        assert result.history[-1].accuracy == 1.0


def test_gradients_whose_squares_underflow_are_no_progress_not_a_crash():
    rng = np.random.default_rng(0)
    X = 1e-300 * rng.normal(size=(25, 1))
    options = {"hidden_layer_sizes": (), "solver": "alternating", "standardise": False}
    result = train(X, np.arange(25) % 4, max_iter=3, **options)
    assert result.status is Status.NO_PROGRESS
    assert "could not be lowered" in result.message


def test_samples_to_train_or_validate_on_that_all_weigh_nothing_are_refused():
    # Whichever sample is held out: with a single weight one of both sides has none.
    rng, c = np.random.default_rng(0), np.eye(12)[0]
    with pytest.raises(ValueError, match=r"sample_weight is 0 for all .* set early_stopping"):
        train(
            rng.normal(size=(12, 2)), np.arange(12.0), loss="squared-error", sample_weight=c,
            early_stopping=True, max_iter=1, random_state=0,
        )  # fmt: skip


def test_output_weights_that_overflow_name_the_targets():
    X = np.array([[1e-30], [2e-30], [-1e-30], [0.0]], np.float32)
    with pytest.raises(ValueError, match="y is too large beside X"):
        train(
            X, np.array([1e15, 2e15, -1e15, 0.0]), loss="squared-error", hidden_layer_sizes=(),
            solver="alternating", max_iter=1, random_state=0,
        )  # fmt: skip


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_least_squares_of_overflown_sums_end_with_nan(bad):
    gram = np.array([[1.0, bad], [bad, 1.0]])
    found = [
        solve_normal_equations(gram, np.ones((3, 2))),
        solve_triangular(np.triu(gram), np.ones((2, 3)), 1e-16),
    ]
    for solution in found:
        assert solution.X.shape == (3, 2)
        assert solution.rank == 0
        assert np.all(np.isnan(solution.X))
