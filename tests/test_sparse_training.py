"""Training and prediction on sparse inputs: the same as on their dense copies, in less memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sparse_inputs import FORMATS, random_dense

import lysep_fast
from lysep_fast import train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.samples import sparse

ROOT = Path(lysep_fast.__file__).resolve().parents[1]
N, D, SWEEPS = (300, 12, 4) if JIT_ENABLED else (60, 6, 2)
RUNS = {
    "paper": {"solver": "alternating"},
    "paper, joint": {"solver": "alternating", "solver_options": {"bias": "joint"}},
    "paper, subsets": {"solver": "alternating", "batch_size": N // 3},
    "co-moving": {"solver": "alternating", "solver_options": {"variant": "co-moving"}},
    "quasi-newton": {"solver": "quasi-newton"},
    "mini-batch": {"solver": "mini-batch"},
    "polar": {"solver": "mini-batch", "solver_options": {"steps": "polar"}},
    "measured": {"solver": "measured-sweeps", "batch_size": N // 3},
}
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
#: Runs whose first layer has another metric, the diagonal, where the columns are many.
OTHER = ("co-moving", "quasi-newton", "measured")


@pytest.fixture
def data():
    X = random_dense(N, D, density=0.4)
    y = (X[:, 0] + X[:, 1] ** 2 > 0.1).astype(int) + (X[:, 2] > 0.3)
    return X, y


@pytest.fixture
def many(monkeypatch):
    """Let all columns be too many for a Gram matrix."""
    monkeypatch.setattr(sparse, "MOST_GRAM_COLUMNS", 0)


def fit(X, y, run, **options):
    # Columns as they are: those of the dense copy would be centred as well.
    settings = {"hidden_layer_sizes": (6, 5), "max_iter": SWEEPS, "random_state": 0, "tol": 0}
    return train(X, y, **(settings | {"n_threads": 1, "standardise": False} | run | options))


def weights(result):
    return np.concatenate([a.ravel() for a in (*result.W, *result.b)])


def assert_close(own, other, rtol=1e-10):
    a, b = weights(own), weights(other)
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())


@every_run
@pytest.mark.parametrize("extra", [{}, {"early_stopping": True}, {"weighted": True}], ids=str)
def test_training_is_that_on_the_dense_copy(data, run, extra):
    X, y = data
    if extra.pop("weighted", False):
        extra = {"sample_weight": np.random.default_rng(0).uniform(0.0, 2.0, N)}
    own, dense = (fit(A, y, run, **extra) for A in (sp.csr_array(X), X))
    assert_close(own, dense)
    np.testing.assert_allclose(own.predict_proba(sp.csc_array(X)), dense.predict_proba(X))


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("name", [name for name in RUNS if name not in OTHER])
def test_with_many_columns_the_closed_form_and_the_batches_stay_the_same(data, name):
    X, y = data
    own, dense = (fit(A, y, RUNS[name]) for A in (sp.csr_array(X), X))
    assert_close(own, dense, rtol=1e-5)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("hidden", [(6, 5), ()], ids=str)
def test_with_many_columns_the_diagonal_metric_trains_as_well(data, name, hidden):
    X, y = data
    own, dense = (
        fit(A, y, RUNS[name], max_iter=4 * SWEEPS, hidden_layer_sizes=hidden)
        for A in (sp.csr_array(X), X)
    )
    first, last = dense.history[0].loss, dense.history[-1].loss
    assert own.history[-1].loss < first - 0.7 * (first - last)


@every_run
@pytest.mark.parametrize("wide", [False, True])
def test_the_bits_do_not_depend_on_threads(data, run, wide, monkeypatch):
    if wide:
        monkeypatch.setattr(sparse, "MOST_GRAM_COLUMNS", 0)
    X, y = sp.csr_array(data[0]), data[1]
    results = [weights(fit(X, y, run, n_threads=n)) for n in (1, 3)]
    assert results[0].tobytes() == results[1].tobytes()


@every_run
@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
def test_all_formats_give_the_same_bits_and_stay_as_they_were(data, run):
    X, y = data
    results = set()
    for name in FORMATS:
        given = getattr(sp, f"{name}_matrix")(X)
        results.add(weights(fit(given, y, run, max_iter=1)).tobytes())
        np.testing.assert_array_equal(given.toarray(), X)
    assert len(results) == 1


def test_explicit_zeros_and_duplicates_change_nothing(data):
    X, y = data
    whole = sp.coo_array(X)
    row, column = np.r_[whole.row, whole.row, 0], np.r_[whole.col, whole.col, 1]
    twice = sp.coo_array((np.r_[whole.data / 2, whole.data / 2, 0.0], (row, column)), X.shape)
    own, other = (fit(A, y, RUNS["mini-batch"]) for A in (twice, whole))
    assert_close(own, other, rtol=1e-12)


@every_run
def test_the_unit_of_a_column_does_not_matter(data, run):
    X, y = data
    units = np.ldexp(1.0, np.arange(D) - 3)
    own, other = (
        fit(A, y, run, standardise=True) for A in (sp.csr_array(X * units), sp.csr_array(X))
    )
    own.W[1] *= units
    assert weights(own).tobytes() == weights(other).tobytes()
    units = np.linspace(0.3, 1e3, D)
    scaled = fit(sp.csr_array(X * units), y, run, standardise=True)
    found = scaled.predict_proba(sp.csr_array(X * units))
    np.testing.assert_allclose(found, other.predict_proba(sp.csr_array(X)), atol=1e-6)


def test_float32_is_trained_in_float32(data):
    X, y = data
    result = fit(sp.csr_array(X.astype(np.float32)), y, RUNS["quasi-newton"])
    assert result.W[1].dtype == np.float32
    assert result.predict_proba(sp.csr_array(X)).dtype == np.float32


@pytest.mark.parametrize("solver", ["alternating", "quasi-newton", "mini-batch"])
def test_regression(data, solver):
    X, _ = data
    T = np.c_[X[:, 0] - X[:, 1], X[:, 2] ** 2]
    own, dense = (
        fit(A, T, {"solver": solver, "loss": "squared-error"}) for A in (sp.csr_array(X), X)
    )
    assert_close(own, dense)
    np.testing.assert_allclose(own.predict(sp.coo_array(X)), dense.predict(X), atol=1e-9)


@every_run
def test_an_interrupted_run_goes_on_with_the_same_bits(data, run, tmp_path):
    X, y = sp.csr_array(data[0]), data[1]
    path = tmp_path / "c.npz"
    whole = fit(X, y, run)
    fit(X, y, run, max_iter=1, checkpoint=path)
    assert weights(fit(X, y, run, resume=path)).tobytes() == weights(whole).tobytes()
    other = X.copy()
    other.data[3] *= 2.0
    with pytest.raises(ValueError, match="X"):
        fit(other, y, run, resume=path)


@pytest.mark.usefixtures("many")
def test_a_checkpoint_keeps_the_diagonal_metric(data, tmp_path):
    X, y = sp.csr_array(data[0]), data[1]
    path, run = tmp_path / "c.npz", RUNS["measured"]
    fit(X, y, run, max_iter=1, checkpoint=path)
    again, whole = fit(X, y, run, resume=path), fit(X, y, run)
    assert weights(again).tobytes() == weights(whole).tobytes()


def test_a_saved_model_takes_sparse_inputs(data, tmp_path):
    X, y = sp.csr_array(data[0]), data[1]
    result = fit(X, y, RUNS["mini-batch"])
    result.save(tmp_path / "model.npz")
    found = lysep_fast.load(tmp_path / "model.npz").predict_proba(X)
    assert found.tobytes() == result.predict_proba(X).tobytes()


def test_convolutions_refuse_sparse_images_by_name():
    X, y = random_dense(20, 9), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"X is sparse \(csr_array\).* conv_channels=\(2,\)"):
        train(sp.csr_array(X), y, conv_channels=2)
    result = train(X, y, conv_channels=2, hidden_layer_sizes=(3,), max_iter=1)
    with pytest.raises(ValueError, match=r"X is sparse \(csc_array\).* layer Convolution"):
        result.predict(sp.csc_array(X))


def test_another_number_of_columns_is_refused(data):
    result = fit(sp.csr_array(data[0]), data[1], RUNS["mini-batch"])
    with pytest.raises(ValueError, match=f"3 features, but the network was trained with {D}"):
        result.predict(sp.csr_array(np.ones((2, 3))))


# --- memory ------------------------------------------------------------------------------------

MEMORY = """
import sys
import numpy as np, scipy.sparse as sp
from lysep_fast import train
n, d, solver, variant = int(sys.argv[1]), 20_000, sys.argv[2], sys.argv[3]
rng = np.random.default_rng(0)
columns = np.sort(rng.integers(0, d, (n, 20)), axis=1)
X = sp.csr_array((np.ones(20 * n), columns.ravel(), 20 * np.arange(n + 1)), (n, d))
options = {"variant": variant} if variant else {}
result = train(X.astype(np.float32), columns[:, 0] % 2, solver=solver, solver_options=options,
               hidden_layer_sizes=(4,), max_iter=1, n_threads=2, random_state=0)
result.predict(X)
# Of this program: getrusage would count what the parent held when it was forked.
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak(n, solver, variant):
    """Return the largest memory of a process that trains on n rows of 20,000 columns, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(n), solver, variant],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not JIT_ENABLED, reason="too slow without compiled kernels")
@pytest.mark.skipif(sys.platform != "linux", reason="other units of the peak")
@pytest.mark.parametrize(
    ("solver", "variant"),
    [
        ("mini-batch", ""),
        ("quasi-newton", ""),
        ("measured-sweeps", ""),
        ("alternating", "paper"),
        ("alternating", "co-moving"),
    ],
)
def test_memory_follows_the_entries(solver, variant):
    # Dense, the rows would take 1600 MB, and a matrix of 20,000 columns squared as much.
    assert peak(20_000, solver, variant) < 500
