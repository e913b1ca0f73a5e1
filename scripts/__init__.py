"""The experiments behind `lysep-fast reproduce`: one file per table or figure of the papers.

The command line loads this folder as a package of a private name; every experiment is a module
with a function ``run(options)`` that takes a `RunOptions` and returns a short text for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ExperimentError(Exception):
    """Something the reader has to mend; the message says what and how."""

    exit_code = 1


class MissingData(ExperimentError):
    """The files that an experiment reads are not there."""


class UsageError(ExperimentError):
    """An argument of the command line that does not fit the experiment."""

    exit_code = 2


@dataclass(frozen=True)
class RunOptions:
    """What the command line asks of an experiment; None means the experiment's own choice."""

    out: Path
    quick: bool = False
    rows: Sequence[int] | None = None
    seeds: int | None = None
    sweeps: int | None = None
    threads: int | None = None
    solver: str | None = None
    data: Path | None = None
    problems: Sequence[str] | None = None
    jobs: int | None = None
