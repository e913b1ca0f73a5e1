"""Trained networks as headers and arrays, and back to the fields of a result."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..container.archive import Expected
from ..container.fields import choice, field, integer
from ..container.values import decode, encode
from ..losses.targets import LOSSES
from ..report import HistoryTable
from ..threads.team import available_cpus
from .networks import (
    expected_weights,
    pack_network,
    pack_weights,
    unpack_network,
    unpack_weights,
)

__all__ = ["RESULT", "expected_result", "pack_result", "unpack_result"]

#: Kind of the files that hold a result and nothing else.
RESULT = "result"


def pack_result(result: Any, table: HistoryTable) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a result, whose history goes into the new `table`."""
    dtype, weights = pack_weights(result.network, result.W, result.b)
    history, rows = table.extend(result.history).packed()
    header = {
        "network": pack_network(result.network),
        "dtype": dtype,
        "status": result.status.name,
        "bound_constant": encode(float(result.bound_constant), "bound_constant"),
        "n_threads": int(result.n_threads),
        "best_iter": int(result.best_iter),
        "loss": result.loss,
        "flat": bool(result.flat),
        "history": history,
    }
    if not result.history:
        rows["penalties"] = np.empty((0, result.network.depth - 1))
    return header, weights | rows


def expected_result(header: dict[str, Any], table: HistoryTable) -> Expected:
    """Return shapes and dtypes of the arrays of `pack_result`."""
    network = unpack_network(field(header, "network", dict))
    rows = table.expected(field(header, "history", dict), penalties=network.depth - 1)
    return {**expected_weights(network, field(header, "dtype", str)), **rows}


def unpack_result(
    header: dict[str, Any], arrays: dict[str, np.ndarray], table: HistoryTable, statuses: Any
) -> dict[str, Any]:
    """Return the fields of the result of a header and its arrays, by name.

    Parameters
    ----------
    header, arrays : dict
        As from `pack_result`.
    table : HistoryTable
        Knows the rows of the history.
    statuses : type
        The enum of statuses.
    """
    network = unpack_network(header["network"])
    W, b = unpack_weights(network, arrays)
    bound_constant = decode(header.get("bound_constant"))
    if type(bound_constant) is not float:
        raise ValueError("its header has no bound_constant, or a wrong one")
    return {
        "network": network,
        "W": W,
        "b": b,
        "history": table.rows(header["history"], arrays),
        "status": statuses[choice(header, "status", tuple(statuses.__members__))],
        "bound_constant": bound_constant,
        # A file must not start more threads than there are processors.
        "n_threads": min(integer(header, "n_threads", 1), available_cpus()),
        "best_iter": integer(header, "best_iter"),
        "loss": choice(header, "loss", LOSSES),
        "flat": field(header, "flat", bool),
    }
