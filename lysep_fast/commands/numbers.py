"""Tables that have to be numbers already, for models that take no other: the first wrong cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tables.text import is_number, numbers
from ..tables.values import Values, read_values
from .messages import CommandError

__all__ = ["first_not_finite", "frame_numbers"]


def frame_numbers(
    path: Path,
    frame: Any,
    names: Sequence[str] | None,
    lines: Sequence[int],
    dtype: type,
) -> np.ndarray:
    """Return a frame as an array of finite numbers.

    Raises
    ------
    CommandError
        If a cell is no number, missing or infinite; the message names line and column.
    """
    X = np.empty(frame.shape, dtype)
    for i in range(frame.shape[1]):
        values = read_values(str(i), frame.iloc[:, i])
        of_levels = numbers(values.levels, "point")
        with np.errstate(over="ignore"):  # what single precision does not hold is infinite
            X[:, i] = values.spread(of_levels) if values.is_text else values.numbers
        column = f"column {i if names is None else repr(names[i])}"
        if values.kind == "date":
            raise CommandError(f"{path}, {column}: dates are no numbers; {_WITHOUT}")
        wrong = np.flatnonzero(~np.isfinite(X[:, i]))
        if len(wrong):
            row = int(wrong[0])
            _refuse(f"{path}, line {lines[row]}, {column}", values, row, float(X[row, i]))
    return X


_WITHOUT = "leave the column out with --inputs, or turn its values into numbers"


def _refuse(where: str, values: Values, row: int, value: float) -> None:
    """Raise the error of a cell."""
    if np.isinf(value):
        raise CommandError(f"{where}: the value is {value}; fill it in, or leave the row out")
    if not values.is_text or values.codes[row] < 0:
        raise CommandError(f"{where}: the value is missing; fill it in, or leave the row out")
    cell = values.levels[values.codes[row]]
    hint = "write decimals with a point" if is_number(cell.replace(",", ".")) else _WITHOUT
    raise CommandError(f"{where}: {cell[:80]!r} is not a number; {hint}")


def first_not_finite(X: np.ndarray) -> tuple[int, ...] | None:
    """Return the place of the first NaN or infinity, without another array of this size."""
    rows = max(1, (1 << 20) // max(1, X[:1].size))
    for start in range(0, len(X), rows):
        finite = np.isfinite(X[start : start + rows])
        if not np.all(finite):
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            return (start + row, *rest)
    return None
