"""Ctrl-C: training stops at the next block, and the last complete iteration is the result."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import global_state
import numpy as np
import pytest

import lysep_fast
from lysep_fast import Status, pde, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.pde.solution import PdeStatus

ROOT = Path(lysep_fast.__file__).resolve().parents[1]
PACKAGE = str(ROOT / "lysep_fast") + os.sep
SOLVERS = ("alternating", "quasi-newton", "mini-batch", "measured-sweeps")


def fit(solver, max_iter, **options):
    n = 150 if JIT_ENABLED else 12
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    return train(
        X, y, hidden_layer_sizes=(5, 4), solver=solver, max_iter=max_iter, random_state=0, tol=0,
        **options,
    )  # fmt: skip


def solve(max_iter, **options):
    problem = pde.Problem(pde.Box(-1, 1, 2), pde.Operator(-1.0), 1.0, boundary=0.0)
    return pde.solve(
        problem, (4, 3), max_iter=max_iter, n_interior=40, n_boundary=20, random_state=0, tol=0,
        **options,
    )  # fmt: skip


@contextlib.contextmanager
def interrupted_at(event):
    """Raise KeyboardInterrupt at the given event within the package, counted from 0.

    Events are where the interpreter looks for signals: at the start of a Python function and
    after the call of one that is compiled.
    """
    count, former = 0, sys.getprofile()

    def profile(frame, what, _):
        nonlocal count
        code = frame.f_code
        # What is raised while a generator is closed the interpreter drops.
        if code.co_name == "<genexpr>" or not code.co_filename.startswith(PACKAGE):
            return
        if what in ("call", "c_return"):
            count += 1
            if count == event + 1:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="interrupted by Ctrl-C")
            yield lambda: count
    finally:
        sys.setprofile(former)


def assert_interrupted_anywhere_is_whole(run, arrays, interrupted, rng):
    """Check that a run interrupted anywhere is a run of its `best_iter` iterations."""
    run(2)  # nothing is compiled or imported in the runs that count
    with interrupted_at(10**9) as events:
        run(2)
    before, whole = global_state.snapshot(), {}
    raised = 0
    for event in rng.choice(events(), 60, replace=False):
        with interrupted_at(event):
            try:
                result = run(2)
            except KeyboardInterrupt:
                result, raised = None, raised + 1
        assert global_state.changes(before, global_state.snapshot()) == [], event
        if result is None:
            continue
        assert result.status is interrupted
        k = result.best_iter
        assert k == result.n_iter or k == result.n_iter - 1  # the last weights are not kept yet
        if k not in whole:
            whole[k] = arrays(run(k))
        assert [a.tobytes() for a in arrays(result)] == [a.tobytes() for a in whole[k]]
    assert 0 < raised < 60


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_interrupted_anywhere_is_a_shorter_fit(solver):
    assert_interrupted_anywhere_is_whole(
        lambda k: fit(solver, k, n_threads=1),
        lambda result: [*result.W, *result.b],
        Status.INTERRUPTED,
        np.random.default_rng(1),
    )


def test_a_solution_interrupted_anywhere_is_a_shorter_one():
    assert_interrupted_anywhere_is_whole(
        lambda k: solve(k, n_threads=1),
        lambda solution: [solution.hidden.theta, solution.w],
        PdeStatus.INTERRUPTED,
        np.random.default_rng(2),
    )


def test_an_interrupted_fit_warns_and_says_so():
    def callback(row):
        if row.sweep == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Ctrl-C; the best weights so far are returned") as seen:
        result = fit("quasi-newton", 50, callback=callback)
    assert seen[0].filename == __file__
    assert (result.n_iter, result.best_iter, result.status) == (2, 2, Status.INTERRUPTED)
    assert "Ctrl-C" in result.message
    assert result.predict(np.zeros((1, 3))).shape == (1,)


def test_the_warning_points_at_the_line_outside_the_package():
    pytest.importorskip("sklearn")

    def callback(row):
        raise KeyboardInterrupt

    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = lysep_fast.LySepClassifier(2, callback=callback)
    for call in (lambda: model.fit(X, [0, 0, 1, 1]), lambda: solve(3, callback=callback)):
        with pytest.warns(UserWarning, match="Ctrl-C") as seen:
            call()
        assert [warning.filename for warning in seen] == [__file__]


def test_an_interrupted_estimator_is_fitted():
    pytest.importorskip("sklearn")
    from lysep_fast import LySepClassifier

    def callback(row):
        if row.sweep == 2:
            raise KeyboardInterrupt

    X = np.random.default_rng(0).normal(size=(40, 3))
    model = LySepClassifier((4,), random_state=0, callback=callback)
    with pytest.warns(UserWarning, match="Ctrl-C"):
        model.fit(X, X[:, 0] > 0)
    assert model.n_iter_ == 2
    assert set(model.predict(X)) <= {False, True}


REAL = """
import sys, time, threading, warnings
import numpy as np
import test_interrupt as t
def callback(row):
    if getattr(row, "sweep", getattr(row, "iteration", 0)) == 1:
        print("ready", flush=True)
def run(max_iter, **options):
    return WHAT
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    result = run(10**9, callback=callback)
ended = time.time()
print(ended, result.status.name, threading.active_count(), flush=True)
again = run(result.best_iter)
print(all(a.tobytes() == b.tobytes() for a, b in zip(t.arrays(result), t.arrays(again))))
"""


def arrays(result):
    return [*result.W, *result.b] if hasattr(result, "W") else [result.hidden.theta, result.w]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to another process")
@pytest.mark.parametrize(
    "what",
    ["t.fit('mini-batch', max_iter, n_threads=2, **options)", "t.solve(max_iter, **options)"],
)
def test_a_real_signal_stops_training(what):
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    child = subprocess.Popen(
        [sys.executable, "-c", REAL.replace("WHAT", what)],
        env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
        preexec_fn=global_state.heed_ctrl_c,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert out.split()[1:] == ["INTERRUPTED", "1", "True"]
