"""Torture: kill -9 at random moments of training; what goes on from there has the same bits."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scripts import ExperimentError

from . import _checkpoint_runs as runs

__all__ = ["Victim", "n_cases", "prepared"]

# A run that ends before the signal reaches it is killed again after a shorter time.
_TRIALS = 20


def n_cases(mode: str, count: int) -> int:
    """Return the number of cases, one killed run each."""
    return count


@contextlib.contextmanager
def prepared(mode: str, seed: int) -> Iterator[Callable[[int], Counter[str]]]:
    """Give the function that kills the run of a case and goes on from its checkpoint."""
    if not hasattr(os, "fork"):
        raise ExperimentError("kills need a system with fork: Linux or macOS")
    known = runs.RUNS | runs.PDE_RUNS
    names, victims = list(known), {}
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:

        def attempt(case: int) -> Counter[str]:
            name = names[case % len(names)]
            if name not in victims:
                victims[name] = Victim(name, known[name], Path(folder))
            rng = np.random.default_rng((seed, case))
            return Counter([f"{name}: {victims[name].suffer(rng)}"])

        yield attempt


class Victim:
    """A run that is killed in child processes, which need no imports and no compiling."""

    def __init__(self, name: str, run: dict[str, Any], folder: Path) -> None:
        self.name, self.run = name, run
        self.folder, self.path = folder, folder / "killed.npz"
        self.print = runs.fingerprint(runs.perform(run))
        self.seconds = self._whole_run()

    def suffer(self, rng: np.random.Generator) -> str:
        """Kill the run once, go on from what is there, and return what had been there."""
        share = rng.uniform()
        for _ in range(_TRIALS):
            self._clean()
            if self._killed(share * self.seconds):
                return self._go_on()
            share *= 0.8
        raise AssertionError(f"{self.name} ended {_TRIALS} times before it could be killed")

    def _go_on(self) -> str:
        """Resume, compare, and return in which moment the run was killed."""
        half_written = [path for path in self.folder.iterdir() if path != self.path]
        if not self.path.exists():
            return "killed before the first checkpoint"
        try:
            result = runs.perform(self.run, resume=self.path)
        except Exception as error:
            raise AssertionError(f"{self.name} does not go on: {error!r}") from error
        if runs.fingerprint(result) != self.print:
            raise AssertionError(f"{self.name} goes on with other bits")
        return "killed while writing" if half_written else "killed between checkpoints"

    def _whole_run(self) -> float:
        """Return the seconds that a run in a child takes, from fork to end."""
        start = time.monotonic()
        if os.waitpid(self._begin(), 0)[1]:
            raise AssertionError(f"{self.name} fails in a child process")
        self._clean()
        return time.monotonic() - start

    def _killed(self, delay: float) -> bool:
        """Begin the run in a child and kill it after a time; return whether it was still going."""
        child = self._begin()
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise AssertionError(f"{self.name} fails in a child process")
        return os.WIFSIGNALED(status)

    def _begin(self) -> int:
        """Start the run in a child that writes a checkpoint after every sweep."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
            child = os.fork()
        if child:
            return child
        code = 1
        try:
            runs.perform(self.run, checkpoint=self.path, checkpoint_every=1)
            code = 0
        finally:
            os._exit(code)  # nothing of the parent's is cleaned up

    def _clean(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
