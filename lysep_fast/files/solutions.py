"""Solutions of differential equations as headers and arrays, and back to their fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..container.archive import Expected
from ..container.fields import choice, field, integer, integers
from ..kernels.activation import ACTIVATION_CODES
from ..network.parameters import Packing, dense_shapes
from ..report import HistoryTable
from ..threads.team import available_cpus
from .networks import check_finite

__all__ = ["SOLUTION", "expected_solution", "pack_solution", "unpack_solution"]

#: Kind of the files that hold a solution.
SOLUTION = "pde-solution"


def pack_solution(
    solution: Any, table: HistoryTable
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a solution without its problem."""
    history, rows = table.extend(solution.history).packed()
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
    return header, weights | rows


def expected_solution(header: dict[str, Any], table: HistoryTable) -> Expected:
    """Return shapes and dtypes of the arrays of `pack_solution`."""
    widths = _widths(header)
    size = Packing(dense_shapes(widths)).size
    rows = table.expected(field(header, "history", dict))
    return {**rows, "theta": ((size,), np.float64), "w": (widths[-1:], np.float64)}


def unpack_solution(
    header: dict[str, Any], arrays: dict[str, np.ndarray], table: HistoryTable, statuses: Any
) -> tuple[dict[str, Any], tuple[int, ...], bool]:
    """Return fields of the solution by name, its widths, and whether its problem has a lift.

    The arguments are those of `unpack_result`.  ``theta`` among the fields is the flat vector of
    the hidden layers.
    """
    weights = {name: arrays[name] for name in ("theta", "w")}
    check_finite(weights)
    threads = header.get("n_threads")
    if threads is not None:
        threads = min(integer(header, "n_threads", 1), available_cpus())
    fields = {
        **weights,
        "activation": choice(header, "activation", tuple(ACTIVATION_CODES)),
        "history": table.rows(header["history"], arrays),
        "status": statuses[choice(header, "status", tuple(statuses.__members__))],
        "best_iter": integer(header, "best_iter"),
        "n_threads": threads,
    }
    return fields, _widths(header), field(header, "lifted", bool)


def _widths(header: dict[str, Any]) -> tuple[int, ...]:
    count = len(field(header, "widths", list))
    if not 2 <= count <= 1000:
        raise ValueError(f"its header has {count} widths")
    return tuple(integers(header, "widths", count))
