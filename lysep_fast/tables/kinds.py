"""How one column of a table becomes columns of numbers: what was learned of it, as plain data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..container.fields import choice, field
from .dates import DATE_FORMATS, PARTS, date_format, date_parts, text_seconds
from .frames import TableError, listed
from .text import NUMBER_FORMATS, date_label, number_format, number_label, numbers
from .values import Values

__all__ = ["GAP", "KINDS", "OTHER", "Category", "Column", "Date", "LeftOut", "Note", "Number"]

#: Takes messages on what was done to a column.
Note = Callable[[str], None]

GAP, OTHER = "(missing)", "(other)"


@dataclass(frozen=True)
class Column:
    """What was learned of a column.

    Attributes
    ----------
    name : str
        Name of the column.
    """

    kind: ClassVar[str]
    name: str

    @property
    def outputs(self) -> list[str]:
        """What the columns of numbers are, by words; one each."""
        raise NotImplementedError

    def encode(self, values: Values, note: Note) -> np.ndarray:
        """Return the columns of numbers, shape (n, len(outputs)), all finite."""
        raise NotImplementedError

    def described(self) -> str:
        """Return what becomes of the column, in a few words."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise ValueError if the parts, read from a file, do not fit together."""

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {"kind": self.kind} | dataclasses.asdict(self)

    @classmethod
    def restored(cls, state: Any) -> Column:
        """Return the column of a state, checked."""
        kinds = {"str": str, "bool": bool, "float": float, "list[str]": list}
        own = {f.name: field(state, f.name, kinds[str(f.type)]) for f in dataclasses.fields(cls)}
        if len(state) != len(own) + 1:
            raise ValueError("its encoding has parts that are unknown")
        for value in own.values():
            if type(value) is float and not math.isfinite(value):
                raise ValueError("its encoding has a number that is not finite")
            if type(value) is list and (
                any(type(text) is not str for text in value) or len(set(value)) < len(value)
            ):
                raise ValueError("its encoding has a list that is not of different texts")
        column = cls(**own)
        column.check()
        return column


@dataclass(frozen=True)
class Number(Column):
    """A column of numbers, kept as it is, with gaps filled by the median.

    Attributes
    ----------
    form : str
        How numbers are written where they are text; a key of `NUMBER_FORMATS`.
    median : float
        The lower median of the training.
    varies : bool
        Whether there were several numbers.
    gaps : bool
        Whether there were gaps, which have a column of their own then.
    """

    kind: ClassVar[str] = "number"
    form: str
    median: float
    varies: bool
    gaps: bool

    @property
    def outputs(self) -> list[str]:
        """See `Column`."""
        return ["" for _ in range(self.varies)] + [f"={GAP}" for _ in range(self.gaps)]

    def encode(self, values: Values, note: Note) -> np.ndarray:
        """See `Column`."""
        x = read_numbers(self.name, values, self.form, note)
        missing = np.isnan(x)
        parts = [np.where(missing, self.median, x)] if self.varies else []
        return _stacked(len(x), [*parts, *([missing] if self.gaps else [])])

    def described(self) -> str:
        """See `Column`."""
        form = "" if self.form == "point" else f" written with {self.form}"
        what = f"a number{form}" if self.varies else "always the same number"
        return f"{what}, gaps filled with {self.median:.6g}{_and_gap(self.gaps)}"

    def check(self) -> None:
        """See `Column`."""
        choice(vars(self), "form", tuple(NUMBER_FORMATS))


@dataclass(frozen=True)
class Date(Column):
    """A column of dates, taken apart; gaps are filled with the median date.

    Attributes
    ----------
    form : str
        How dates are written where they are text; "" for dates of pandas.
    first, median : float
        The first date of the training and the lower median, in seconds since 1970.
    parts : list of str
        What varied in the training.
    gaps : bool
        Whether there were gaps.
    """

    kind: ClassVar[str] = "date"
    form: str
    first: float
    median: float
    parts: list[str]
    gaps: bool

    @property
    def outputs(self) -> list[str]:
        """See `Column`."""
        return [f":{part}" for part in self.parts] + [f"={GAP}" for _ in range(self.gaps)]

    def encode(self, values: Values, note: Note) -> np.ndarray:
        """See `Column`."""
        seconds = read_dates(self.name, values, self.form, note)
        missing = np.isnan(seconds)
        parts = date_parts(np.where(missing, self.median, seconds), self.first)
        shown = [parts[part] for part in self.parts]
        return _stacked(len(seconds), [*shown, *([missing] if self.gaps else [])])

    def described(self) -> str:
        """See `Column`."""
        parts = ", ".join(self.parts) or "nothing of it varies"
        form = f" written as {self.form}" if self.form else ""
        return f"a date{form}: {parts}{_and_gap(self.gaps)}"

    def check(self) -> None:
        """See `Column`."""
        if self.form:
            choice(vars(self), "form", DATE_FORMATS)
        if not set(self.parts) <= set(PARTS):
            raise ValueError("its encoding has unknown parts of a date")
        if max(abs(self.first), abs(self.median)) > 9e12:  # what 64 bits of microseconds hold
            raise ValueError("its encoding has a date that is too far away")


@dataclass(frozen=True)
class Category(Column):
    """A column of text: one column of zeros and ones for every frequent text.

    Attributes
    ----------
    levels : list of str
        The texts that have a column.
    other : bool
        Whether there is a column for all other texts: the rare ones of the training, and unseen
        ones.  Without it these have zeros everywhere, as no row of the training has.
    gaps : bool
        Whether there were gaps.
    """

    kind: ClassVar[str] = "category"
    levels: list[str]
    other: bool
    gaps: bool

    @property
    def outputs(self) -> list[str]:
        """See `Column`."""
        more = [f"={OTHER}" for _ in range(self.other)] + [f"={GAP}" for _ in range(self.gaps)]
        return [f"={level}" for level in self.levels] + more

    def encode(self, values: Values, note: Note) -> np.ndarray:
        """See `Column`."""
        values = as_text(values)
        count = len(self.levels)
        # One more column for what has none, which is cut off at the end.
        other = count if self.other else -1
        gap = count + self.other if self.gaps else other
        place = {level: i for i, level in enumerate(self.levels)}
        places = np.array([*(place.get(level, other) for level in values.levels), gap], np.intp)
        encoded = np.zeros((len(values.codes), len(self.outputs) + 1))
        encoded[np.arange(len(encoded)), places[values.codes]] = 1.0
        return encoded[:, :-1]

    def described(self) -> str:
        """See `Column`."""
        other = ", one column for all others" if self.other else ""
        return f"a category: {listed(self.levels)}{other}{_and_gap(self.gaps)}"


@dataclass(frozen=True)
class LeftOut(Column):
    """A column that is not used.

    Attributes
    ----------
    why : str
        The reason.
    """

    kind: ClassVar[str] = "left out"
    why: str

    @property
    def outputs(self) -> list[str]:
        """See `Column`."""
        return []

    def encode(self, values: Values, note: Note) -> np.ndarray:
        """See `Column`."""
        raise NotImplementedError

    def described(self) -> str:
        """See `Column`."""
        return f"left out: {self.why}"


KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (Number, Date, Category, LeftOut)}


def read_numbers(name: str, values: Values, form: str, note: Note) -> np.ndarray:
    """Return the numbers of a column, NaN for gaps, and say what else was taken for one."""
    if values.kind == "date":
        raise TableError(
            f"column {name!r} held numbers in the training and holds dates now; give numbers"
        )
    x = values.numbers
    if values.is_text:
        of_levels = _read_levels(values.levels, form)
        unread = [text for text, x in zip(values.levels, of_levels, strict=True) if np.isnan(x)]
        if unread:
            here, count = number_format(unread)
            _check_form(name, "numbers", form, here if count > len(unread) / 2 else None, unread)
            note(f"column {name!r}: what is no number is taken as a gap: {listed(unread)}")
        x = values.spread(of_levels)
    infinite = np.isinf(x)
    if np.any(infinite):
        note(f"column {name!r}: {np.sum(infinite)} infinite numbers are taken as gaps")
        x = np.where(infinite, np.nan, x)
    return x


def _read_levels(levels: Sequence[str], form: str) -> np.ndarray:
    """Return texts as numbers, those with signs between thousands too if they can be nothing else.

    1.234,5 is such a number where 1,5 was one in the training; 1.234 might be another.
    """
    found = numbers(levels, form)
    clear = [
        i for i, x in enumerate(found) if np.isnan(x) and "," in levels[i] and "." in levels[i]
    ]
    if clear:
        here, _ = number_format([levels[i] for i in clear])
        if NUMBER_FORMATS[here][2] == NUMBER_FORMATS[form][2]:
            found[clear] = numbers([levels[i] for i in clear], here)
    return found


def read_dates(name: str, values: Values, form: str, note: Note) -> np.ndarray:
    """Return the dates of a column in seconds since 1970, NaN for gaps."""
    if not values.is_text and values.kind != "date":
        if np.all(np.isnan(values.numbers)):  # an empty column has no dtype of its own
            return values.numbers
        raise TableError(
            f"column {name!r} held dates in the training and holds numbers now; give dates"
        )
    if not values.is_text:
        return values.numbers
    how = form or DATE_FORMATS[0]
    of_levels = text_seconds(values.levels, how)
    unread = [text for text, s in zip(values.levels, of_levels, strict=True) if np.isnan(s)]
    if unread:
        _check_form(name, "dates", how, date_format(unread), unread)
        note(f"column {name!r}: what is no date ({how}) is taken as a gap: {listed(unread)}")
    return values.spread(of_levels)


def _check_form(name: str, what: str, form: str, here: str | None, texts: list[str]) -> None:
    """Raise if texts that could not be read are written in another format than in the training."""
    if here is not None:
        raise TableError(
            f"column {name!r}: {what} were written as {form!r} in the training, and are written "
            f"as {here!r} here, such as {listed(texts[:3])}; write them alike"
        )


def as_text(values: Values) -> Values:
    """Return values of any kind as text."""
    if values.is_text:
        return values
    levels, codes = np.unique(values.numbers, return_inverse=True)
    texts = [_written(float(level), values.kind) for level in levels]
    codes = np.where(np.isnan(values.numbers), -1, codes.reshape(-1))
    if len(values.truths):
        codes = np.where(values.truths, len(texts) + (values.numbers == 1.0), codes)
        texts += [str(False), str(True)]
    used = np.unique(codes[codes >= 0])
    codes = np.where(codes >= 0, np.searchsorted(used, codes), -1)
    return Values("text", codes=codes.astype(np.intp), levels=[texts[i] for i in used])


def _written(number: float, kind: str) -> str:
    if np.isnan(number):
        return ""  # no row has it: gaps have no text
    if kind == "date":
        return date_label(number)
    return str(bool(number)) if kind == "bool" else str(number_label(number))


def _and_gap(gaps: bool) -> str:
    return ", one column for gaps" if gaps else ""


def _stacked(n: int, columns: Sequence[np.ndarray]) -> np.ndarray:
    encoded = np.empty((n, len(columns)))
    for i, column in enumerate(columns):
        encoded[:, i] = column
    return encoded
