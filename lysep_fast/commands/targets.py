"""The column to learn: what it holds, and whether that is classes or amounts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..tables.frames import need_pandas
from ..tables.text import SPELLINGS, is_number, number_format, numbers
from .messages import CommandError

__all__ = ["MOST_CLASSES", "choose_task", "read_targets"]

#: More different whole numbers than this are amounts rather than names of classes, and so are
#: they with fewer rows each.
MOST_CLASSES = 20
_FEWEST_ROWS = 5


def read_targets(
    path: Path, column: Any, lines: Sequence[int], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of a table, and in which rows there is one.

    Parameters
    ----------
    path : Path
        Name of the file, for messages.
    column : Series of str
        The cells as they are.
    lines : sequence of int
        Their lines.
    where : str
        What messages call the column.

    Returns
    -------
    y : ndarray, shape (n,)
        Integers, floats or strings, whichever they all are.
    known : ndarray of bool, shape (n,)
        False where the target is missing; y means nothing there.
    """
    codes, found = need_pandas().factorize(column.str.strip())
    labels = np.array(found, np.str_)
    there = ~np.isin(labels, sorted(SPELLINGS))
    known = there[codes]
    if not np.any(known):
        raise CommandError(f"{path}, {where}: the target is missing in every row")
    targets, odd = _typed(labels[there].tolist())
    if odd is not None:
        line = lines[int(np.flatnonzero(codes == np.flatnonzero(there)[odd])[0])]
        raise CommandError(
            f"{path}, line {line}, {where}: {labels[there][odd][:80]!r} is not a finite number as "
            "most targets are; put it right, or leave the row out"
        )
    y = np.zeros(len(labels), targets.dtype)
    y[there] = targets
    return y[codes], known


def _typed(labels: list[str]) -> tuple[np.ndarray, int | None]:
    """Return different labels as integers, floats or strings, and the one that does not fit."""
    with contextlib.suppress(ValueError, OverflowError):
        whole = np.array([int(label) for label in labels], np.int64)
        canonical = list(map(str, whole)) == labels  # 007 is a name
        return (whole if canonical else np.array(labels)), None
    form, count = number_format([label for label in labels if _is_finite(label)])
    if count == len(labels):
        return numbers(labels, form), None
    if count > len(labels) / 2:
        odd = next(i for i, label in enumerate(labels) if np.isnan(_finite(label, form)))
        return np.empty(0), odd
    return np.array(labels, np.str_), None


def _is_finite(text: str) -> bool:
    """Return whether a text is not the name of an infinite number, nor too large for one."""
    return not (is_number(text) and np.isinf(float(text))) and "inf" not in text.lower()


def _finite(text: str, form: str) -> float:
    """Return a number, NaN if it is none or infinite."""
    value = float(numbers([text], form)[0])
    return value if np.isfinite(value) else np.nan


def choose_task(y: np.ndarray, n_different: int) -> tuple[str, str]:
    """Return "classify" or "regress", whichever suits the target, and the reason."""
    if y.ndim == 2:
        return "regress", "the target has several columns"
    if y.dtype.kind in "Ub":
        return "classify", f"the target holds {'strings' if y.dtype.kind == 'U' else 'bools'}"
    if y.dtype.kind == "f":
        return "regress", "the target holds decimals; --task classify would make them classes"
    if n_different > 2 and n_different > min(MOST_CLASSES, len(y) // _FEWEST_ROWS):
        return "regress", (
            f"{n_different} different whole numbers in {len(y)} rows; --task classify would make "
            "them classes"
        )
    return "classify", "the target holds whole numbers; --task regress would take them as amounts"
