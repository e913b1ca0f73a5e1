"""What a column of a frame holds, whatever its dtype: numbers, dates or text."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from .dates import seconds_of
from .frames import TableError, need_pandas
from .text import label

__all__ = ["Values", "read_values"]

_NUMBERS = (int, float, np.integer, np.floating, np.bool_, Decimal, Fraction)
_DATES = (datetime.date, np.datetime64)  # a Timestamp is a datetime, which is a date


@dataclass(frozen=True)
class Values:
    """The values of a column.

    Attributes
    ----------
    kind : str
        "number", "bool", "date", "text" or, for text that is declared to be one, "category".
    numbers : ndarray of float64, shape (n,)
        Numbers, truth values as 0 and 1, or dates as seconds since 1970; NaN for gaps.
        Empty for text.
    codes : ndarray of intp, shape (n,)
        For text the index into `levels`, -1 for gaps.
    levels : list of str
        Different texts, in alphabetical order.
    truths : ndarray of bool, shape (n,)
        Which numbers are truth values among other numbers; empty if none are.
    """

    kind: str
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0))
    codes: np.ndarray = field(default_factory=lambda: np.empty(0, np.intp))
    levels: list[str] = field(default_factory=list)
    truths: np.ndarray = field(default_factory=lambda: np.empty(0, np.bool_))

    @property
    def is_text(self) -> bool:
        """Whether there are codes and levels."""
        return self.kind in ("text", "category")

    def spread(self, of_levels: np.ndarray) -> np.ndarray:
        """Return what holds for every level as what holds for every row; NaN for gaps."""
        return np.append(of_levels, np.nan)[self.codes]


def read_values(name: str, column: Any) -> Values:
    """Return the values of a column.

    Parameters
    ----------
    name : str
        Its name, for messages.
    column : Series
        The column.

    Raises
    ------
    TableError
        If it holds complex numbers.
    """
    types, dtype = need_pandas().api.types, column.dtype
    if types.is_complex_dtype(dtype):
        raise TableError(f"Complex data not supported: column {name!r} has dtype {dtype}")
    if isinstance(dtype, need_pandas().CategoricalDtype):
        return _text(column.astype(object), "category")
    if types.is_bool_dtype(dtype) or types.is_numeric_dtype(dtype):
        kind = "bool" if types.is_bool_dtype(dtype) else "number"
        return Values(kind, column.to_numpy(np.float64, na_value=np.nan))
    if types.is_timedelta64_dtype(dtype):
        return Values("number", column.dt.total_seconds().to_numpy(np.float64, na_value=np.nan))
    if isinstance(dtype, need_pandas().PeriodDtype):
        column = column.dt.to_timestamp()
    if types.is_datetime64_any_dtype(column.dtype):
        return Values("date", seconds_of(need_pandas().DatetimeIndex(column)))
    return _objects(name, column.astype(object))


def _objects(name: str, column: Any) -> Values:
    """Return the values of a column of Python objects."""
    present = ~column.isna().to_numpy()
    objects = column.to_numpy(object)
    kinds = {type(value) for value in objects[present]}
    if not kinds:
        return Values("number", np.full(len(objects), np.nan))
    if any(issubclass(kind, complex | np.complexfloating) for kind in kinds):
        raise TableError(f"Complex data not supported: column {name!r} holds complex numbers")
    if all(issubclass(kind, _NUMBERS) for kind in kinds):
        numbers = np.full(len(objects), np.nan)
        numbers[present] = [_float(value) for value in objects[present]]
        bools = [issubclass(kind, bool | np.bool_) for kind in kinds]
        if all(bools) or not any(bools):
            return Values("bool" if all(bools) else "number", numbers)
        # Beside text they are "True" and "False": a part without the text has to say the same.
        truths = np.array([isinstance(value, bool | np.bool_) for value in objects])
        return Values("number", numbers, truths=truths)
    if all(issubclass(kind, _DATES) for kind in kinds):
        found = need_pandas().to_datetime(objects, errors="coerce", utc=True)
        return Values("date", seconds_of(found))
    return _text(column, "text")


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _text(column: Any, kind: str) -> Values:
    """Return a column as text: stripped, with gaps however they are spelled."""
    pandas = need_pandas()
    if pandas.api.types.infer_dtype(column, skipna=True) == "string":
        codes, found = pandas.factorize(column.to_numpy(object))
        texts = [label(text) for text in found]
    else:
        present = ~column.isna().to_numpy()
        objects = column.to_numpy(object)
        texts = [label(objects[i]) if present[i] else None for i in range(len(objects))]
        codes = np.arange(len(texts))
    levels = sorted({text for text in texts if text is not None})
    place = {text: i for i, text in enumerate(levels)}
    place_of = np.array([*(place.get(text, -1) if text is not None else -1 for text in texts), -1])
    return Values(kind, codes=place_of[codes].astype(np.intp), levels=levels)
