"""Torture: mutated model files and checkpoints are refused, or the same as the intact file."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lysep_fast
from lysep_fast import ModelFileError
from scripts import ExperimentError
from scripts._environment import peak_memory

from . import _checkpoint_runs as runs
from . import _mutate

__all__ = ["Checkpointed", "Saved", "n_cases", "prepared"]

# Reading may take no more than this above what was in use before, in MiB.
_MEMORY = 200.0
# Addresses that the process may use, in bytes: far above its need, below most machines' memory.
_ADDRESSES = 6 << 30
# Checkpoints of every solver and of both kinds of problem.
_RUNS = (
    "paper", "paper, subsets, convolution", "co-moving, subsets", "measured sweeps",
    "quasi-newton", "mini-batch, held out", "variable-projection, cubic", "nesterov, linear",
    "alternating, linear",
)  # fmt: skip
_SWEEPS = 2


def n_cases(mode: str, count: int) -> int:
    """Return the number of cases, one file each."""
    return count


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Turn a request for all memory of the machine into MemoryError, where that is possible."""
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    lower = _ADDRESSES if hard == resource.RLIM_INFINITY else min(_ADDRESSES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (lower, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def prepared(mode: str, seed: int) -> Iterator[Callable[[int], Counter[str]]]:
    """Give the function that mutates and reads the file of a case."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name, _limited():
        folder = Path(name)
        kinds: list[Any] = [Checkpointed(name, folder) for name in _RUNS]
        if mode == "files":
            saved = Saved(folder)
            kinds = [kind for state in kinds for kind in (saved, state)]
        limit: list[float] = []

        def attempt(case: int) -> Counter[str]:
            kind = kinds[case % len(kinds)]
            if not limit:
                limit.append(peak_memory() + _MEMORY)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                outcome = _mutate.attempt(
                    kind.files,
                    folder,
                    case,
                    seed=seed,
                    read=kind.read,
                    same=kind.same,
                    use=kind.use,
                )
            if peak_memory() > limit[0]:
                raise AssertionError(f"memory grew to {peak_memory():.0f} MiB: {outcome}")
            return Counter([f"{kind.name}: {outcome}"])

        yield attempt


class Saved:
    """Model files of every kind."""

    name = "model"

    def __init__(self, folder: Path) -> None:
        self.folder, self.makers = folder, _makers()
        self.files = {
            name: self.makers.saved(make(), folder) for name, make in self.makers.MAKERS.items()
        }

    def read(self, path: Path) -> Any:
        """Load a model; a solution may be forged into one that asks for its problem."""
        try:
            return lysep_fast.load(path)
        except ValueError as error:
            if "boundary values built in: pass the problem" not in str(error):
                raise
            raise ModelFileError(str(error)) from error

    def same(self, name: str, model: Any) -> bool:
        """Return whether a model that was read is the one of the intact file."""
        return self.makers.saved(model, self.folder) == self.files[name]

    def use(self, model: Any) -> None:
        """Predict with a forged model."""
        self.makers.use(model)


class Checkpointed:
    """The checkpoint of one run, read by a run that goes on from it."""

    name = "checkpoint"

    def __init__(self, name: str, folder: Path) -> None:
        self.run, path = (runs.RUNS | runs.PDE_RUNS)[name], folder / "whole.npz"
        result = runs.perform(self.run, max_iter=_SWEEPS, checkpoint=path)
        self.print, self.files = runs.fingerprint(result), {name: path.read_bytes()}

    def read(self, path: Path) -> Any:
        """Go on from a checkpoint; settings that were forged belong to another run."""
        try:
            return runs.perform(self.run, max_iter=_SWEEPS, resume=path)
        except ValueError as error:
            if "belongs to another run" not in str(error):
                raise
            raise ModelFileError(str(error)) from error

    def same(self, name: str, result: Any) -> bool:
        """Return whether a run that went on has the bits of the uninterrupted one."""
        return runs.fingerprint(result) == self.print

    def use(self, result: Any) -> None:
        """Do nothing: the run went on already."""


def _makers() -> Any:
    """Return the module of the tests that makes small models."""
    folder = Path(__file__).resolve().parents[1] / "tests"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        return importlib.import_module("model_files")
    except ImportError as error:
        raise ExperimentError(
            f"torture of model files needs a checkout and scikit-learn: {error}"
        ) from error
