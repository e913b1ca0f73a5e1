"""Versions and machine for result files, without names of hosts, users or folders."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from lysep_fast.commands.environment import environment as machine_and_versions

from . import ExperimentError

_PACKAGES = ("numpy", "scipy", "numba", "matplotlib", "torch")


def environment(threads: int, n_at_once: int = 1) -> dict[str, Any]:
    """Return what a reader needs to judge times and to repeat runs.

    `threads` are those of one run, of which `n_at_once` are done at the same time.
    """
    found = machine_and_versions(_PACKAGES, threads)
    return found | ({"runs_at_once": n_at_once} if n_at_once > 1 else {})


def peak_memory() -> float:
    """Return the largest memory of this process so far, in MiB; NaN if not known."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def require(*modules: str) -> None:
    """Raise an error that says how to install what is missing."""
    missing = []
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ExperimentError(
            f"this experiment needs {' and '.join(missing)}; install what is missing with\n"
            f"    pip install {' '.join(missing)}\n"
            "or the extra that brings all of it, in a checkout: pip install -e '.[reproduce]'"
        )
