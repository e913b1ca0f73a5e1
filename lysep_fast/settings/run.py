"""Settings of any run of the training loop, and which of them a checkpoint compares.

Annotations are those of checked values: what may be left out has its default after the checks.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ..checkpoint import Checkpoints, solver_settings
from ..validation import (
    check_callback,
    check_generator,
    check_integer,
    check_number,
    check_threads,
)

__all__ = ["IN_SOLVER", "NOT_GIVEN", "PATIENCE", "RunSettings", "compared_as", "free"]

Path = str | os.PathLike[str]
Own = TypeVar("Own", bound="RunSettings")

_WHY_FREE, _SHOWN = "why checkpoints do not compare it", "what checkpoints compare"


def free(why: str) -> dict[str, str]:
    """Return metadata of a field that may differ in a run that goes on from a checkpoint."""
    return {_WHY_FREE: why}


def compared_as(shown: Callable[[Any], Any]) -> dict[str, Any]:
    """Return metadata of a field of which checkpoints compare what `shown` returns for all."""
    return {_SHOWN: shown}


#: Default of a field that the checks fill in.
NOT_GIVEN: Any = None
#: Infinity, which JSON does not know, is compared as None.
PATIENCE = compared_as(lambda own: own.n_iter_no_change if own.n_iter_no_change < np.inf else None)
IN_SOLVER = free("the solver that is made of it is compared by its class and options")


@dataclass(frozen=True, eq=False, kw_only=True)
class RunSettings:
    """Checked settings of a run of the training loop.

    A field is compared by checkpoints, by its name and value, unless it is `free`.
    """

    max_iter: int = field(default=200, metadata=free("a run may go on for longer"))
    tol: float = 1e-4
    n_iter_no_change: float = field(default=10, metadata=PATIENCE)
    random_state: int | np.random.Generator | None = None
    n_threads: int = field(default=NOT_GIVEN, metadata=free("results do not depend on it"))
    callback: Callable[[Any], bool | None] | None = field(
        default=None, metadata=free("it looks at rows only")
    )
    verbose: int = field(default=0, metadata=free("it decides what is printed"))
    checkpoint: Path | None = field(default=None, metadata=free("files may move"))
    checkpoint_every: int = field(default=10, metadata=free("it decides how much a crash costs"))
    checkpoint_errors: str = field(
        default="raise", metadata=free("it decides what a full disk costs")
    )
    resume: Path | None = field(default=None, metadata=free("files may move"))

    @classmethod
    def of(cls: type[Own], given: Mapping[str, Any], *, beside: Sequence[str] = ()) -> Own:
        """Return the settings among the arguments of a function, all but those `beside` them."""
        return cls(**{name: value for name, value in given.items() if name not in beside})

    def __post_init__(self) -> None:
        self._keep(
            max_iter=check_integer(self.max_iter, "max_iter", minimum=0),
            tol=check_number(self.tol, "tol", 0.0),
            n_iter_no_change=_check_patience(self.n_iter_no_change),
            n_threads=check_threads(self.n_threads),
            callback=check_callback(self.callback),
            verbose=_check_verbose(self.verbose),
        )
        # What is made of the others checks them.
        self.generator()
        self._checkpoints()

    def generator(self) -> np.random.Generator:
        """Return the random generator of the run."""
        return check_generator(self.random_state)

    def begin(
        self,
        solver: Any,
        rng: np.random.Generator,
        data: Callable[[], Mapping[str, Any]] = dict,
    ) -> Checkpoints:
        """Return the checkpoints of a run, with the one that it goes on from read.

        Parameters
        ----------
        solver : Solver
            What was made of the solver's settings.
        rng : numpy.random.Generator
            That of the run, before anything is drawn.
        data : callable
            Returns what else has to be the same, in place of fields of these names.
        """
        checkpoints = self._checkpoints()
        checkpoints.begin(lambda: {**self.compared(), **solver_settings(solver), **data()}, rng)
        return checkpoints

    def compared(self) -> dict[str, Any]:
        """Return what has to be the same in a run that goes on, but for the solver."""
        found = {}
        for own in dataclasses.fields(self):
            if _WHY_FREE not in own.metadata:
                shown = own.metadata.get(_SHOWN)
                found[own.name] = getattr(self, own.name) if shown is None else shown(self)
        return found

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(
            self.checkpoint, self.checkpoint_every, self.checkpoint_errors, self.resume
        )

    def _keep(self, **checked: Any) -> None:
        """Set fields to their checked values, during construction."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def _check_patience(value: Any) -> float:
    """Return a number of iterations as an int, or infinity, which never comes."""
    if isinstance(value, numbers.Real) and value == np.inf:
        return np.inf
    return check_integer(value, "n_iter_no_change", minimum=1)


def _check_verbose(value: Any) -> int:
    """Return how much to print, for a flag 1 or 0."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    return check_integer(value, "verbose", minimum=0)
