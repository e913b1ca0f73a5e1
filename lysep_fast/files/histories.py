"""The rows of a history as arrays, whichever training they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blocks import Step
from .archive import Expected
from .fields import field, integer

__all__ = ["expected_rows", "pack_rows", "unpack_rows"]

_STEP_NUMBERS = ("accepted", "trials", "rcond")


def pack_rows(
    rows: Sequence[Any], columns: Sequence[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of history rows.

    Parameters
    ----------
    rows : sequence of HistoryRow or PdeRow
    columns : sequence of str
        Their attributes that are numbers.
    """
    steps = [(index, step) for index, row in enumerate(rows) for step in row.steps]
    names = sorted({name for _, step in steps for name in (step.block, step.method)})
    code = {name: number for number, name in enumerate(names)}
    numbers = [[getattr(row, name) for name in columns] for row in rows]
    codes = [[index, code[step.block], code[step.method]] for index, step in steps]
    values = [[getattr(step, name) for name in _STEP_NUMBERS] for _, step in steps]
    arrays: dict[str, np.ndarray] = {
        "history": np.array(numbers, np.float64).reshape(len(rows), len(columns)),
        "step_codes": np.array(codes, np.int32).reshape(len(steps), 3),
        "step_numbers": np.array(values, np.float64).reshape(len(steps), len(_STEP_NUMBERS)),
    }
    header = {"rows": len(rows), "columns": list(columns), "steps": len(steps), "names": names}
    return header, arrays


def expected_rows(header: Any) -> Expected:
    """Return shapes and dtypes of the arrays of `pack_rows`."""
    rows, steps = integer(header, "rows"), integer(header, "steps")
    return {
        "history": ((rows, len(_names(header, "columns"))), np.float64),
        "step_codes": ((steps, 3), np.int32),
        "step_numbers": ((steps, len(_STEP_NUMBERS)), np.float64),
    }


def unpack_rows(
    header: dict[str, Any],
    arrays: dict[str, np.ndarray],
    columns: Sequence[str],
    whole: str,
) -> list[dict[str, Any]]:
    """Return the attributes of every row by name.

    Parameters
    ----------
    header, arrays : dict
        As from `pack_rows`; columns may be missing.
    columns : sequence of str
        The columns that may be there.
    whole : str
        The one that counts, and is an integer; it has to be there.
    """
    stored, names = _names(header, "columns"), _names(header, "names")
    if not set(stored) <= set(columns) or len(set(stored)) != len(stored) or whole not in stored:
        raise ValueError(f"its history has the columns {stored!r:.200}")
    rows = [dict(zip(stored, numbers, strict=True)) for numbers in arrays["history"].tolist()]
    steps: list[list[Step]] = [[] for _ in rows]
    codes = arrays["step_codes"]
    if codes.size and np.min(codes) < 0:
        raise ValueError("its history has negative positions")
    for (row, block, method), values in zip(
        codes.tolist(), arrays["step_numbers"].tolist(), strict=True
    ):
        numbers = dict(zip(_STEP_NUMBERS, values, strict=True))
        steps[row].append(Step(block=names[block], method=names[method], **numbers))
    for row, own in zip(rows, steps, strict=True):
        row |= {whole: int(row[whole]), "steps": tuple(own)}
    return rows


def _names(header: Any, name: str) -> list[str]:
    names: list[str] = field(header, name, list)
    if not all(type(text) is str for text in names):
        raise ValueError(f"its header has {name} that are no strings")
    return names
