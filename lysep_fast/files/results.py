"""Trained networks as model files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..parallel import available_cpus
from ..result import HistoryRow, Result, Status
from ..targets import LOSSES
from .archive import Archive, Expected, write_archive
from .fields import choice, field, integer
from .histories import expected_rows, pack_rows, unpack_rows
from .networks import (
    expected_weights,
    pack_network,
    pack_weights,
    unpack_network,
    unpack_weights,
)
from .values import decode, encode

__all__ = ["KIND", "expected_result", "pack_result", "read_result", "save_result", "unpack_result"]

KIND = "result"

_COLUMNS = (
    "sweep",
    "seconds",
    "loss",
    "accuracy",
    "separated_loss",
    "data",
    "validation_loss",
    "validation_accuracy",
    "r2",
    "validation_r2",
)


def save_result(result: Result, path: str | os.PathLike[str]) -> None:
    """Write a result; see `lysep_fast.Result.save`."""
    write_archive(path, KIND, *pack_result(result))


def read_result(archive: Archive) -> Result:
    """Read a result from an open file."""
    arrays = archive.arrays(expected_result)
    return unpack_result(archive.header, arrays)


def pack_result(result: Result) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a result."""
    dtype, weights = pack_weights(result.network, result.W, result.b)
    history, rows = pack_rows(result.history, _COLUMNS)
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
    width = result.network.depth - 1
    penalties = np.array([row.penalties for row in result.history], np.float64)
    return header, weights | rows | {"penalties": penalties.reshape(len(result.history), width)}


def expected_result(header: dict[str, Any]) -> Expected:
    """Return shapes and dtypes of the arrays of `pack_result`."""
    network = unpack_network(field(header, "network", dict))
    rows = expected_rows(field(header, "history", dict))
    penalties = (integer(header["history"], "rows"), network.depth - 1)
    weights = expected_weights(network, field(header, "dtype", str))
    return {**weights, **rows, "penalties": (penalties, np.float64)}


def unpack_result(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Result:
    """Return the result of a header and its arrays."""
    network = unpack_network(header["network"])
    W, b = unpack_weights(network, arrays)
    rows = unpack_rows(header["history"], arrays, _COLUMNS, "sweep")
    bound_constant = decode(header.get("bound_constant"))
    if type(bound_constant) is not float:
        raise ValueError("its header has no bound_constant, or a wrong one")
    return Result(
        network,
        W,
        b,
        history=[
            HistoryRow(**row, penalties=penalties.copy())
            for row, penalties in zip(rows, arrays["penalties"], strict=True)
        ],
        status=Status[choice(header, "status", tuple(Status.__members__))],
        bound_constant=bound_constant,
        # A file must not start more threads than there are processors.
        n_threads=min(integer(header, "n_threads", 1), available_cpus()),
        best_iter=integer(header, "best_iter"),
        loss=choice(header, "loss", LOSSES),
        flat=field(header, "flat", bool),
    )
