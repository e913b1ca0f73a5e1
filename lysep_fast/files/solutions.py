"""Solutions of differential equations as model files."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np

from ..kernels.activation import ACTIVATION_CODES
from ..parallel import available_cpus
from ..pde.jets import Hidden
from ..pde.problem import Problem
from ..pde.solution import PdeRow, PdeStatus, Solution
from .archive import Archive, Expected, write_archive
from .fields import choice, field, integer, integers
from .histories import expected_rows, pack_rows, unpack_rows
from .networks import check_finite

__all__ = ["KIND", "load_solution", "read_solution", "save_solution"]

KIND = "pde-solution"

_COLUMNS = ("iteration", "seconds", "loss", "equation", "boundary", "separated_loss")


def save_solution(solution: Solution, path: str | os.PathLike[str]) -> None:
    """Write a solution without its problem; see `lysep_fast.pde.Solution.save`."""
    history, rows = pack_rows(solution.history, _COLUMNS)
    weights = {"theta": solution.hidden.theta, "w": solution.w}
    check_finite(weights)
    header = {
        "widths": [int(m) for m in solution.hidden.widths],
        "activation": solution.activation,
        "status": solution.status.name,
        "best_iter": int(solution.best_iter),
        "n_threads": solution.n_threads and int(solution.n_threads),
        "lifted": solution.problem is not None and solution.problem.lift is not None,
        "history": history,
    }
    write_archive(path, KIND, header, weights | rows)


def load_solution(path: str | os.PathLike[str], problem: Problem | None) -> Solution:
    """Read a solution; see `lysep_fast.pde.Solution.load`."""
    with Archive.open(path) as archive:
        archive.check_kind((KIND,))
        solution, lifted = read_solution(archive)
    if lifted and (problem is None or problem.lift is None):
        raise ValueError(
            f"{os.fsdecode(path)} holds a solution with boundary values built in: pass the "
            "problem with its lift=(D, E) to Solution.load"
        )
    solution.problem = problem
    return solution


def read_solution(archive: Archive) -> tuple[Solution, bool]:
    """Return the solution of an open file, and whether its problem has a lift."""
    arrays, header = archive.arrays(_expected), archive.header
    weights = {name: arrays[name] for name in ("theta", "w")}
    check_finite(weights)
    threads = header.get("n_threads")
    if threads is not None:
        threads = min(integer(header, "n_threads", 1), available_cpus())
    rows = unpack_rows(header["history"], arrays, _COLUMNS, "iteration")
    solution = Solution(
        None,
        Hidden(_widths(header), arrays["theta"]),
        arrays["w"],
        choice(header, "activation", tuple(ACTIVATION_CODES)),
        [PdeRow(**row) for row in rows],
        PdeStatus[choice(header, "status", tuple(PdeStatus.__members__))],
        integer(header, "best_iter"),
        threads,
    )
    return solution, field(header, "lifted", bool)


def _expected(header: dict[str, Any]) -> Expected:
    widths = _widths(header)
    size = sum(m * (k + 1) for k, m in itertools.pairwise(widths))
    rows = expected_rows(field(header, "history", dict))
    return {**rows, "theta": ((size,), np.float64), "w": (widths[-1:], np.float64)}


def _widths(header: dict[str, Any]) -> tuple[int, ...]:
    count = len(field(header, "widths", list))
    if not 2 <= count <= 1000:
        raise ValueError(f"its header has {count} widths")
    return tuple(integers(header, "widths", count))
