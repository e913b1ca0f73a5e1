"""What is learned of one column: whether it holds numbers, dates or categories, and which."""

from __future__ import annotations

import numpy as np

from .dates import PARTS, date_format, date_parts
from .frames import listed
from .kinds import Category, Column, Date, LeftOut, Note, Number, as_text, read_dates, read_numbers
from .text import TRUTH, number_format
from .values import Values

__all__ = ["learn_column"]


def learn_column(
    name: str, values: Values, note: Note, *, max_categories: int, min_frequency: int
) -> Column:
    """Return what becomes of a column.

    Text whose values are all numbers, in one of the formats that are known, holds numbers; so does
    text most of which is numbers, more than could be categories, and the rest is gaps.  Text whose
    values are all dates of one format holds dates.  Other text holds categories.

    Parameters
    ----------
    name : str
        Name of the column.
    values : Values
        Its values in the training.
    note : callable
        Takes messages.
    max_categories, min_frequency : int
        See `Encoding`.
    """
    if values.kind in ("number", "bool"):
        return _number(name, values, "point", note)
    if values.kind == "date":
        return _date(name, values, "", note)
    if values.kind == "text" and values.levels:
        levels = values.levels
        form, count = number_format(levels)
        few_others = count > max(len(levels) / 2, max_categories)
        if count == len(levels) or few_others or {text.lower() for text in levels} <= set(TRUTH):
            return _number(name, values, form, note)
        dates = date_format(levels)
        if dates is not None:
            return _date(name, values, dates, note)
    return _category(name, values, note, max_categories, min_frequency)


def _number(name: str, values: Values, form: str, note: Note) -> Column:
    x = read_numbers(name, values, form, note)
    there = ~np.isnan(x)
    if not np.any(there):
        return _empty(name, note)
    known = x[there]
    varies, gaps = bool(np.min(known) < np.max(known)), not np.all(there)
    if not varies and not gaps:
        return LeftOut(name, f"it holds {known[0]:.6g} in every row")
    return Number(name, form, _lower_median(known), varies, bool(gaps))


def _date(name: str, values: Values, form: str, note: Note) -> Column:
    seconds = read_dates(name, values, form, note)
    there = ~np.isnan(seconds)
    if not np.any(there):
        return _empty(name, note)
    known = seconds[there]
    first, gaps = float(np.min(known)), not np.all(there)
    of_known = date_parts(known, first)
    parts = [part for part in PARTS if np.ptp(of_known[part]) > 0.0]
    if not parts and not gaps:
        return LeftOut(name, "it holds the same date in every row")
    return Date(name, form, first, _lower_median(known), parts, bool(gaps))


def _category(
    name: str, values: Values, note: Note, max_categories: int, min_frequency: int
) -> Column:
    """Return the frequent texts of a column; identifiers and free text have none."""
    values = as_text(values)
    gaps, different = bool(np.any(values.codes < 0)), len(values.levels)
    counts = np.bincount(values.codes[values.codes >= 0], minlength=different)
    total = int(np.sum(counts))
    if not total:
        return _empty(name, note)
    order = np.argsort(-counts, kind="stable")  # equals in alphabetical order
    frequent = [values.levels[i] for i in order if counts[i] >= min_frequency]
    if values.kind == "text" and different > max(max_categories, total / 2):
        frequent = []
    kept = frequent[:max_categories]
    other = total > int(np.sum(counts[order[: len(kept)]]))
    if len(kept) > 1 or (kept and other):
        return Category(name, kept, other, gaps)
    if different > 1:
        note(
            f"column {name!r}: {different} different texts in {total} rows, such as "
            f"{listed(values.levels[:3])}, hardly repeat and are left out"
        )
    if gaps:
        return Category(name, [], False, True)
    return LeftOut(
        name,
        f"it holds {values.levels[0]!r:.80} in every row"
        if different == 1
        else "identifiers or free text, which hardly repeat",
    )


def _empty(name: str, note: Note) -> Column:
    note(f"column {name!r} holds gaps only and is left out")
    return LeftOut(name, "it holds gaps only")


def _lower_median(known: np.ndarray) -> float:
    """Return a value that occurs: the mean of two might overflow, or be no date of the table."""
    middle = (len(known) - 1) // 2
    return float(np.partition(known, middle)[middle])
