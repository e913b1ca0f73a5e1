"""Nothing global is changed, and threads and processes get the bits of a plain fit."""

from __future__ import annotations

import hashlib
import locale
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import global_state
import numba
import numpy as np
import pytest
import threadpoolctl

import lysep_fast
from lysep_fast import pde, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.threads import blas
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team

ROOT = Path(lysep_fast.__file__).resolve().parents[1]
TIMEOUT = 120.0
# Imported first: it sets variables of the environment and loads an OpenMP library.
try:
    import sklearn.linear_model as SKLEARN
except ImportError:
    SKLEARN = None
SOLVERS = ("alternating", "quasi-newton", "mini-batch", "measured-sweeps")
SIZE = 200 if JIT_ENABLED else 12

# Python 3.12 warns of every fork in a process with threads, those of OpenBLAS included.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def unchanged():
    """Fail when a test leaves something of the process changed."""
    before = global_state.snapshot()
    yield
    assert global_state.changes(before, global_state.snapshot()) == []


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(SIZE, 3))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def digest(solver="mini-batch", n_threads=2, **options):
    """Return a fingerprint of the weights and probabilities of a fit."""
    X, y = data()
    result = train(
        X, y, hidden_layer_sizes=(6, 5), solver=solver, max_iter=2, random_state=0,
        n_threads=n_threads, **options,
    )  # fmt: skip
    arrays = [*result.W, *result.b, result.predict_proba(X)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def digest_pde(solver):
    problem = pde.Problem(pde.Box(-1, 1, 2), pde.Operator(-1.0), 1.0, boundary=0.0)
    solution = pde.solve(
        problem, (4, 3), solver=solver, max_iter=2, n_interior=40, n_boundary=20, random_state=0
    )
    return solution(np.zeros((1, 2))).tobytes()


# --- the checker ---------------------------------------------------------------------------------


def _other_threads():
    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        library.set_num_threads(library.num_threads + 1)


def _other_locale():
    now = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if now == "C" else "C")


CHANGES = {
    "numba threads": lambda: numba.get_num_threads(),  # starts the threading layer
    "floating-point errors": lambda: np.seterr(over="raise", under="raise"),
    "print options": lambda: np.set_printoptions(precision=3),
    "warning filters": lambda: warnings.simplefilter("ignore", ResourceWarning),
    "numpy.random": lambda: np.random.normal(),  # noqa: NPY002
    "random": random.random,
    "environment": lambda: os.environ.update(LYSEP_TEST="1"),
    "directory": lambda: os.chdir(".."),
    "signal handlers": lambda: signal.signal(signal.SIGTERM, lambda *_: None),
    "sys.path": lambda: sys.path.append("nowhere"),
    "hooks": lambda: setattr(sys, "excepthook", print),
    "limits": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "threads": lambda: threading.Thread(target=threading.Event().wait, daemon=True).start(),
    "thread pools": _other_threads,
    "locale": _other_locale,
}


def _change(name, queue):
    before = global_state.snapshot()
    if name == "locale":
        locale.setlocale(
            locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"
        )
    else:
        CHANGES[name]()
    queue.put(global_state.changes(before, global_state.snapshot()))


@pytest.mark.parametrize("name", CHANGES)
def test_the_checker_sees_a_change(name):
    assert name in in_process("fork", _change, name)


# --- nothing global is changed -------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_training_changes_nothing_global(solver):
    digest(solver)


@pytest.mark.parametrize("solver", pde.PDE_SOLVERS)
def test_solving_changes_nothing_global(solver):
    digest_pde(solver)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_exception_in_a_callback_changes_nothing_global(error):
    def callback(row):
        raise error("enough")

    with pytest.raises(error, match="enough"):
        digest(callback=callback)


def test_an_error_in_an_argument_changes_nothing_global():
    with pytest.raises(ValueError, match="rate"):
        digest(solver_options={"rate": 1e9, "weight_decay": 1.0})


@pytest.mark.skipif(SKLEARN is None, reason="no scikit-learn")
def test_an_estimator_with_a_seed_changes_nothing_global():
    from lysep_fast import LySepClassifier, LySepRegressor

    X, y = data()
    for kind in (LySepClassifier, LySepRegressor):
        model = kind((4,), max_iter=1, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y).predict(X)


def test_importing_changes_nothing_global():
    code = (
        "import numba, scipy.linalg, scipy.sparse, scipy.stats, threadpoolctl, global_state\n"
        "before = global_state.snapshot()\n"
        "import lysep_fast, lysep_fast.pde, lysep_fast.solvers\n"
        "print(global_state.changes(before, global_state.snapshot()))"
    )
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    # What Numba and SciPy add to the warning filters on import is theirs.
    assert done.stdout.strip() == "[]"


def test_numba_starts_no_threading_layer():
    # Its workqueue layer ends the process when two threads enter, that of OpenMP after a fork.
    digest()
    with pytest.raises(ValueError, match="not initialized"):
        numba.threading_layer()


# --- the limit on BLAS threads -------------------------------------------------------------------


@pytest.fixture
def two_blas_threads():
    """Give every BLAS library two threads, so that a limit of one can be seen."""
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    if not libraries:
        pytest.skip("no BLAS library with a number of threads")
    before = [library.num_threads for library in libraries]
    for library in libraries:
        library.set_num_threads(2)
    yield lambda: [library.num_threads for library in libraries]
    for library, count in zip(libraries, before, strict=True):
        library.set_num_threads(count)


def in_turns(*actions):
    """Run (thread name, function) one after the other, each in the thread of its name."""
    threads = {name: ThreadPoolExecutor(1) for name, _ in actions}
    try:
        return [threads[name].submit(function).result(TIMEOUT) for name, function in actions]
    finally:
        for thread in threads.values():
            thread.shutdown()


@pytest.mark.parametrize("order", ["abab", "abba"])
def test_the_last_of_several_threads_restores_the_limit(two_blas_threads, order):
    limit, seen = blas.SingleThreadedBlas(), []
    held = set()

    def turn(name):
        if name in held:
            held.remove(name)
            limit.release(name)
        else:
            held.add(name)
            limit.hold(name)
        seen.append(two_blas_threads())

    in_turns(*[(name, lambda name=name: turn(name)) for name in order])
    assert [set(counts) for counts in seen] == [{1}, {1}, {1}, {2}]


def test_a_limit_of_someone_else_neither_stops_ours_nor_stays(two_blas_threads):
    limit = blas.SingleThreadedBlas()
    theirs = threadpoolctl.threadpool_limits(2, user_api="blas")
    seen = []
    in_turns(
        ("a", lambda: limit.hold("a")),
        ("b", lambda: seen.append(two_blas_threads())),
        ("a", lambda: limit.release("a")),
    )
    theirs.restore_original_limits()
    assert set(seen[0]) == {1}
    assert set(two_blas_threads()) == {2}


def test_what_someone_else_sets_meanwhile_stays(two_blas_threads):
    limit = blas.SingleThreadedBlas()
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        limit.hold("a")
    assert set(two_blas_threads()) == {2}
    limit.release("a")
    assert set(two_blas_threads()) == {2}


class PerThread:
    """An OpenBLAS on OpenMP, which counts the threads for every Python thread."""

    internal_api, threading_layer = "openblas", "openmp"

    def __init__(self):
        self.counts = {}

    def get_num_threads(self):
        return self.counts.get(threading.get_ident(), 4)

    def set_num_threads(self, count):
        self.counts[threading.get_ident()] = count


def test_a_library_with_a_number_per_thread_is_limited_in_every_thread(monkeypatch):
    library, barrier = PerThread(), threading.Barrier(3, timeout=TIMEOUT)
    monkeypatch.setattr(blas.single_threaded_blas, "_libraries", ([], [library]))

    def task(rows, ws):
        barrier.wait()
        return library.get_num_threads()

    with Team(3) as team:
        assert team.map(task, row_blocks(3, 1)) == [1, 1, 1]
    assert library.get_num_threads() == 4


# --- threads -------------------------------------------------------------------------------------


def test_fits_in_several_threads_have_the_bits_of_a_plain_fit(two_blas_threads):
    jobs = [(solver, n) for n in (1, 2, 3) for solver in SOLVERS]
    plain = {solver: digest(solver) for solver in SOLVERS}
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(digest, *job) for job in jobs]
        assert not wait(futures, TIMEOUT).not_done
    for (solver, _), future in zip(jobs, futures, strict=True):
        assert future.result() == plain[solver]
    assert set(two_blas_threads()) == {2}


def test_many_more_threads_than_blocks_are_no_trouble():
    assert digest(n_threads=10**6) == digest(n_threads=1)


def test_a_thread_that_cannot_be_started_is_an_error_that_waits_for_the_others(monkeypatch):
    running = []
    with Team(4) as team:
        submit = team._executor.submit

        def scarce(*args):
            if running:
                raise RuntimeError("can't start new thread")
            running.append(submit(*args))
            return running[0]

        monkeypatch.setattr(team._executor, "submit", scarce)
        with pytest.raises(RuntimeError, match="start new thread"):
            team.map(lambda rows, ws: 1, row_blocks(40, 1))
        assert running[0].done()


# --- processes -----------------------------------------------------------------------------------


def put_digest(solver, queue):
    queue.put(digest(solver))


def in_process(method, target, *args):
    """Return what a target puts into its queue in a child process; kill it after a while."""
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=target, args=(*args, queue))
    child.start()
    try:
        child.join(TIMEOUT)
        assert child.exitcode == 0, f"exit code {child.exitcode} (None: it hangs)"
        return queue.get()
    finally:
        if child.is_alive():
            child.kill()
        child.join()
        child.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_forked_after_a_fit_fits_and_so_does_its_parent():
    plain = {solver: digest(solver) for solver in SOLVERS}
    for solver in SOLVERS:
        assert in_process("fork", put_digest, solver) == plain[solver]
        assert digest(solver) == plain[solver]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_started_otherwise_has_the_same_bits(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method}")
    assert in_process(method, put_digest, "mini-batch") == digest("mini-batch")
    if method == "forkserver":
        multiprocessing.forkserver._forkserver._stop()  # it would outlive the test


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_forked_while_another_thread_trains(two_blas_threads):
    plain, started, go = digest(), threading.Event(), threading.Event()

    def callback(row):
        started.set()
        go.wait(TIMEOUT)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(digest, callback=callback)
        try:
            assert started.wait(TIMEOUT)
            assert in_process("fork", put_counts) == [2] * len(two_blas_threads())
            assert in_process("fork", put_digest, "mini-batch") == plain
        finally:
            go.set()
        assert future.result(TIMEOUT) == plain


def put_counts(queue):
    """Put the numbers of BLAS threads that are found in a child, after a fit in it."""
    digest()
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    queue.put([library.num_threads for library in libraries])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("solver", ["alternating", "mini-batch"])
def test_a_child_forked_in_a_callback_can_go_on_alone(solver):
    plain, children = digest(solver), []
    reader, writer = os.pipe()

    def callback(row):
        if not children:
            children.append(os.fork())

    found = ""
    try:
        found = digest(solver, callback=callback)
    finally:
        if children == [0]:
            os.write(writer, found.encode() or b"failed")
            os._exit(0)
    os.close(writer)
    killer = threading.Timer(TIMEOUT, os.kill, (children[0], signal.SIGKILL))
    killer.start()
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(children[0], 0)
    killer.cancel()
    killer.join()
    assert found == plain
    assert answer == plain


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib_has_the_same_bits(backend, monkeypatch):
    joblib = pytest.importorskip("joblib")
    code = (
        "import joblib, sys, test_processes as t\n"
        f"with joblib.parallel_config(backend={backend!r}, n_jobs=2):\n"
        "    found = joblib.Parallel(timeout=t.TIMEOUT)(\n"
        "        joblib.delayed(t.digest)(solver, n) for solver in t.SOLVERS for n in (1, 2))\n"
        "wanted = [t.digest(solver) for solver in t.SOLVERS for n in (1, 2)]\n"
        "print(found == wanted, len(set(found)))"
    )
    assert joblib
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    # A process of its own: the workers of loky stay until it ends.
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=2 * TIMEOUT,
    )  # fmt: skip
    assert done.stdout.split() == ["True", str(len(SOLVERS))], done.stderr
