"""Versions and machine for result files, without names of hosts, users or folders."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from lysep_fast import __version__
from lysep_fast.parallel import available_cpus

from . import ExperimentError

_PACKAGES = ("numpy", "scipy", "numba", "matplotlib", "torch")


def environment(threads: int, n_at_once: int = 1) -> dict[str, Any]:
    """Return what a reader needs to judge times and to repeat runs.

    `threads` are those of one run, of which `n_at_once` are done at the same time.
    """
    versions = {"lysep_fast": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpus_available": available_cpus(),
        "threads": threads,
        **({"runs_at_once": n_at_once} if n_at_once > 1 else {}),
        "versions": versions,
    }


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
