"""What the tests of the experiments share: modules by name, and the runs of a results file."""

import importlib.util
import json

import pytest

from lysep_fast import cli

NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


def part(name):
    """Return a module of the experiments."""
    return cli.load_experiment(name)[1]


def runs(out):
    """Return the runs by key."""
    return json.loads((out / "results.json").read_text(encoding="utf-8"))["runs"]
