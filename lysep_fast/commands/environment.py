"""Versions and machine for results, without names of hosts, users or folders."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..threads.team import available_cpus

__all__ = ["cpu_name", "environment"]


def environment(packages: Sequence[str], threads: int) -> dict[str, Any]:
    """Return what a reader needs to judge times and to repeat runs.

    Parameters
    ----------
    packages : sequence of str
        Distributions whose versions matter; those that are missing are left out.
    threads : int
        Threads of one run.
    """
    versions = {"lysep_fast": __version__}
    for name in packages:
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
