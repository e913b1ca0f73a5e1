"""What importing brings along, and what a second process has to compile (nothing)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lysep_fast
from lysep_fast.kernels._jit import JIT_ENABLED

ROOT = Path(lysep_fast.__file__).resolve().parents[1]
OPTIONAL = ("sklearn", "matplotlib", "torch", "tqdm", "pandas", "hypothesis")


def python(code, **environment):
    """Run code in a new interpreter that finds this checkout, and return what it prints."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=variables, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_brings_no_optional_package_along():
    code = f"import sys, lysep_fast; print([name for name in {OPTIONAL} if name in sys.modules])"
    assert python(code) == "[]"


def test_training_needs_no_optional_package():
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"
        "import lysep_fast as lf\n"
        "r = lf.train([[0.], [1.], [2.], [3.]], [0, 0, 1, 1], hidden_layer_sizes=2, max_iter=2)\n"
        "print(r.status.name, r.predict([[0.]]).shape)"
    )
    assert python(code) == "MAX_ITER (1,)"


def test_the_estimator_says_what_to_install_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import lysep_fast\n"
        "try:\n"
        "    lysep_fast.LySepClassifier\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    message = python(code)
    for word in ("scikit-learn", "pip install 'lysep_fast[sklearn]'", "lysep_fast.train"):
        assert word in message


def test_differential_equations_are_loaded_on_first_use():
    code = (
        "import sys, lysep_fast\n"
        "print('lysep_fast.pde' in sys.modules, 'pde' in dir(lysep_fast))\n"
        "print(callable(lysep_fast.pde.solve))"
    )
    assert python(code).split() == ["False", "True", "True"]


def test_the_public_names_exist_and_are_listed():
    names = {
        "LySepClassifier",
        "LySepConvClassifier",
        "Network",
        "Result",
        "Status",
        "pde",
        "train",
    }
    assert names <= set(lysep_fast.__all__)
    assert set(lysep_fast.__all__) <= set(dir(lysep_fast))
    for name in lysep_fast.__all__:
        if name not in lysep_fast._ESTIMATORS:
            assert getattr(lysep_fast, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="LySepForest"):
        lysep_fast.LySepForest  # noqa: B018


FIT = """
import numpy as np
from lysep_fast import train
X = np.random.default_rng(0).normal(size=(80, 3))
y = np.arange(80) % 2
for solver in ("alternating", "quasi-newton", "mini-batch"):
    train(X.astype(DTYPE), y, hidden_layer_sizes=(4, 4), max_iter=2, solver=solver)
for options in ({"line_search": "matrix", "bias": "joint"}, {"variant": "co-moving"}):
    train(X.astype(DTYPE), y, hidden_layer_sizes=(4, 4), max_iter=2, solver="alternating",
          solver_options=options)
images = np.random.default_rng(0).normal(size=(80, 6, 6)).astype(DTYPE)
for solver in ("alternating", "quasi-newton", "mini-batch", "measured-sweeps"):
    options = {"batch_size": 20} if solver == "alternating" else {}
    train(images, y, conv_channels=(2, 3), hidden_layer_sizes=(4,), max_iter=2, solver=solver,
          solver_options=options).predict(images)
if DTYPE == np.float64:
    import lysep_fast
    pde = lysep_fast.pde
    problem = pde.Problem(pde.Box(-1, 1, 2), pde.Operator(-1.0), 1.0, boundary=0.0)
    for solver in pde.PDE_SOLVERS:
        pde.solve(problem, (4, 4), solver=solver, max_iter=2).grad([[0.0, 0.0]])
"""


@pytest.mark.slow
@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_a_second_process_compiles_nothing(tmp_path):
    def cached():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ci]")}

    def fit(code, dtype):
        python(code.replace("DTYPE", f"np.{dtype}"), NUMBA_CACHE_DIR=str(tmp_path))
        return cached()

    first = fit(FIT, "float64")
    assert len(first) > 5
    assert fit(FIT, "float64") == first
    # The measure sees a compilation: float32 was not in the cache yet.
    assert len(fit(FIT[: FIT.index("for options")], "float32")) > len(first)
