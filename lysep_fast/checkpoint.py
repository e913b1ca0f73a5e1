"""Checkpoints: the complete state of a run in a file, from which it goes on bit for bit.

A file holds the settings of the run with digests of its data, the state of the random generator
before the first draw, and the state of the loop after a number of iterations.  A run that goes on
is set up anew from the same draws, and takes over the state.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ._version import __version__
from .container.archive import Archive, Expected, write_archive
from .container.errors import ModelFileError, model_file_errors
from .container.stateful import flatten, restore
from .validation import check_choice, check_integer

__all__ = ["Checkpoints", "digest", "solver_settings"]

_KIND = "checkpoint"
# Raised when the same arguments give other bits, or the state has other parts: 2 since sums over
# samples follow a fixed binary tree, 3 since inputs and targets are standardised inside,
# 4 since mini-batches have two kinds of steps.
_STATE_VERSION = 4
_START = "start"
_DIGEST = "sha256:"

Path = str | os.PathLike[str]


def digest(*arrays: np.ndarray | None) -> str:
    """Return a fingerprint of arrays: dtypes, shapes and entries."""
    total = hashlib.sha256()
    for array in arrays:
        if array is None:
            total.update(b"none")
            continue
        total.update(f"{array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return _DIGEST + total.hexdigest()


def solver_settings(solver: Any) -> dict[str, Any]:
    """Return class and options of a solver under names for messages.

    Raises
    ------
    TypeError
        If it has no state to keep.
    """
    kind = type(solver)
    for method in ("state_dict", "resume"):
        if not callable(getattr(solver, method, None)):
            raise TypeError(
                f"the solver {kind.__name__} has no method {method!r}, which checkpoints need; "
                "add it, or leave checkpoint and resume out"
            )
    found = {"solver": kind.__name__}
    for name in inspect.signature(kind).parameters:
        # Where a method has the name of the option, the attribute has a longer one.
        known = vars(solver)
        found[f"the solver's {name}"] = known.get(name, known.get(f"{name}_length"))
    return found


class Checkpoints:
    """Where a run leaves its checkpoints, and the one that it begins from.

    Parameters
    ----------
    path : str or path-like, optional
        File to write; without it nothing is written.
    every : int
        Iterations between two checkpoints.
    errors : {"raise", "warn"}
        What to do when writing fails: stop, or warn and go on.
    resume : str or path-like, optional
        File to go on from.

    Attributes
    ----------
    saved : dict or None
        The state to go on from, after `begin`.
    """

    def __init__(self, path: Path | None, every: int, errors: str, resume: Path | None) -> None:
        for name, value in (("checkpoint", path), ("resume", resume)):
            if value is not None and not isinstance(value, str | os.PathLike):
                raise TypeError(f"{name} must be the path of a file or None, got {value!r}")
        self.path, self.resume = path, resume
        self.every = check_integer(every, "checkpoint_every", minimum=1)
        self.errors = check_choice(errors, "checkpoint_errors", ("raise", "warn"))
        self.saved: dict[str, Any] | None = None
        self._written = -1

    def begin(self, settings: Callable[[], Mapping[str, Any]], rng: np.random.Generator) -> None:
        """Read the file to go on from, if there is one, and rewind the generator to its start.

        Parameters
        ----------
        settings : callable
            Returns what has to be the same in both runs, under the names of the arguments.
        rng : numpy.random.Generator
            The generator of the run, before anything is drawn.

        Raises
        ------
        ValueError
            If the file belongs to a run with other settings; the message names them.
        ModelFileError
            If it is damaged.
        """
        if self.path is None and self.resume is None:
            return
        complete = {
            "version of lysep_fast": __version__,
            "version of the state": _STATE_VERSION,
            "random generator": type(rng.bit_generator).__name__,
            **settings(),
        }
        # As they come back from a file.
        self.settings = json.loads(json.dumps(complete, default=_plain))
        if self.resume is not None:
            self.saved = self._read(self.resume)
            with self.loading():
                restore(self.saved, _START, rng)
        self.start = flatten({_START: rng})

    def offer(self, iteration: int, state: Callable[[], dict[str, Any]], last: bool) -> None:
        """Write the state after an iteration if its turn has come, or if it is the last one."""
        if self.path is None or iteration == self._written:
            return
        if not last and iteration % self.every:
            return
        try:
            self._write(self.path, self.start | state())
        except OSError as error:
            text = (
                f"no checkpoint could be written to {os.fsdecode(self.path)} after iteration "
                f"{iteration}: {error.strerror or error}; a former one is unchanged"
            )
            if self.errors == "raise":
                text += ". Make room, or go on without by checkpoint_errors='warn'"
                raise OSError(error.errno, text) from error
            warnings.warn(f"{text}; training goes on", RuntimeWarning, stacklevel=2)
        else:
            self._written = iteration

    def resumed(self, iteration: int) -> None:
        """Note that the file to go on from holds this iteration."""
        if self.path is None or self.resume is None:
            return
        if os.path.realpath(self.path) == os.path.realpath(self.resume):
            self._written = iteration

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Turn what a state that does not fit raises into `ModelFileError`."""
        assert self.resume is not None
        with model_file_errors(self.resume):
            yield

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        scalars = {name: value for name, value in state.items() if name not in arrays}
        header = {
            "settings": self.settings,
            "scalars": {name: _encoded(value) for name, value in scalars.items()},
            "arrays": {name: [a.dtype.str, list(a.shape)] for name, a in arrays.items()},
        }
        write_archive(path, _KIND, header, arrays)

    def _read(self, path: Path) -> dict[str, Any]:
        """Return the state in a file whose settings are those of this run."""
        with Archive.open(path) as archive:
            archive.check_kind((_KIND,))
            differences = self._differences(archive.header["settings"])
            if not differences:
                arrays = archive.arrays(_expected)
                scalars = archive.header["scalars"]
                return {name: _decoded(value) for name, value in scalars.items()} | arrays
        raise ValueError(
            f"resume={os.fsdecode(path)!r} belongs to another run: {'; '.join(differences)}. Give "
            "the arguments and the data of that run, or train anew without resume"
        )

    def _differences(self, former: Any) -> list[str]:
        """Return in words what differs from the settings of the file."""
        if not isinstance(former, dict):
            raise ModelFileError(f"{self.resume!r} has no settings")
        found, absent = [], "nothing"
        for name in sorted({*former, *self.settings}):
            there, here = former.get(name, absent), self.settings.get(name, absent)
            if there != here and not (name == "random_state" and here is None):
                is_data = isinstance(here, str) and here.startswith(_DIGEST)
                found.append(
                    f"{name} holds other values"
                    if is_data
                    else f"{name} was {there!r}, not {here!r}"
                )
        return found


def _expected(header: dict[str, Any]) -> Expected:
    """Return names, shapes and dtypes of the arrays; the container compares them with the file."""
    return {
        name: (tuple(int(extent) for extent in shape), np.dtype(str(dtype)))
        for name, (dtype, shape) in header["arrays"].items()
    }


def _encoded(value: Any) -> Any:
    """Return a scalar as JSON has it; it knows no infinity and no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _decoded(value: Any) -> Any:
    return float(value["float"]) if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    """Return what JSON holds for a setting that is no plain Python value."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, np.random.Generator) else type(value).__name__
