"""scikit-learn's own tests of its MLP, with the estimators here behind its names."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lysep_fast.kernels._jit import JIT_ENABLED
from tools import mlp_conformance
from tools.mlp_conformance import DEFAULTS, LEFT_OUT, find_tests, main, run, translated

ROOT = Path(__file__).resolve().parents[1]
#: Runs one test and prints what came of it; left out is nothing.
ONE = "from tools.mlp_conformance import run; print(run(['-q', '-k', {!r}], {{}}))"


def child(*arguments):
    """Run Python in a process of its own: pytest in pytest would share plugins and filters."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONWARNINGS", None)
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, text=True, capture_output=True
    )


@pytest.fixture
def tests():
    """Return the tests of scikit-learn as a syntax tree."""
    pytest.importorskip("sklearn", minversion="1.7")
    path = find_tests()
    if path is None:
        pytest.skip("scikit-learn is installed without its tests")
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.skipif(not JIT_ENABLED, reason="takes hours without compiled kernels")
def test_all_that_is_not_left_out_passes(tests):
    done = child("-m", "tools.mlp_conformance", "-q", "--tb=short")
    assert done.returncode == 0, done.stdout[-4000:]
    for name in LEFT_OUT:
        assert f"left out: {name}: " in done.stdout


@pytest.mark.slow
def test_a_test_that_fails_is_noticed(tests):
    done = child("-c", ONE.format("test_gradient"))
    assert done.stdout.rstrip().endswith("{'test_gradient': 'failed'}"), done.stdout + done.stderr
    done = child("-m", "tools.mlp_conformance", "-k", "no_test_has_this_name")
    assert done.returncode == 1


def test_what_is_left_out_exists_and_has_a_reason(tests):
    names = {node.name for node in tests.body if isinstance(node, ast.FunctionDef)}
    assert LEFT_OUT.keys() <= names
    assert len(LEFT_OUT) < len(names) / 2
    assert all(len(reason.split()) > 1 for reason in LEFT_OUT.values())


def test_options_of_gradient_descent_are_dropped_and_solvers_have_other_names():
    given = {"solver": "lbfgs", "alpha": 1e-5, "momentum": 0, "learning_rate_init": 0.2}
    assert translated(given) == DEFAULTS | {"solver": "quasi-newton", "alpha": 1e-5}
    assert translated({"solver": "sgd"}) == translated({"solver": "adam"})
    kept = {"max_iter": 3, "activation": "logistic", "alpha": 0.0}
    assert translated(kept) == DEFAULTS | kept
    assert translated({}) == DEFAULTS


def test_errors_may_have_other_words_but_no_other_kind():
    other = mlp_conformance._AnyWords(pytest)
    assert other.mark is pytest.mark
    with other.raises(ValueError, match="these words"):
        raise ValueError("others")
    with pytest.raises(TypeError), other.raises(ValueError, match="these words"):
        raise TypeError("these words")


def test_without_the_tests_of_scikit_learn_it_says_so(monkeypatch):
    def nothing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(mlp_conformance.importlib.util, "find_spec", nothing)
    assert find_tests() is None
    for call in (run, lambda: main([])):
        with pytest.raises(FileNotFoundError, match="install scikit-learn with its tests"):
            call()
