"""What cells of text mean: gaps, truth values, and numbers in the ways that people write them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = [
    "GAPS",
    "NUMBER_FORMATS",
    "SPELLINGS",
    "TRUTH",
    "date_label",
    "is_number",
    "label",
    "number_format",
    "number_label",
    "numbers",
]

#: How a gap is spelled where any text may stand, as in a column of class labels.
SPELLINGS = frozenset(
    ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "-NaN", "<NA>", "NULL", "null", "?"]
)
#: The same among inputs, where it costs nothing to take a name for a gap: it has its own column.
GAPS = SPELLINGS | {"None", "none", "na", "-", "--", ".", "#NA", "#NULL!", "NaT", "missing"}

_SIGN, _POWER = r"[+-]?", r"(?:[eE][+-]?\d+)?"
_SPACES = "[ \u00a0\u2009\u202f']"
#: By name: the pattern, what separates thousands, and whether the decimals follow a comma.
NUMBER_FORMATS: dict[str, tuple[re.Pattern[str], str, bool]] = {
    "point": (re.compile(rf"{_SIGN}(?:\d+\.?\d*|\.\d+){_POWER}", re.ASCII), "", False),
    "comma between thousands": (
        re.compile(rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:,\d{{3}})+|\d+)(?:\.\d*)?{_POWER}", re.ASCII),
        ",",
        False,
    ),
    "comma": (re.compile(rf"{_SIGN}(?:\d+,?\d*|,\d+){_POWER}", re.ASCII), "", True),
    "comma, point between thousands": (
        re.compile(rf"{_SIGN}(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+|\d+)(?:,\d*)?{_POWER}", re.ASCII),
        r"\.",
        True,
    ),
    "point, space between thousands": (
        re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:{_SPACES}\d{{3}})+|\d+)(?:\.\d*)?{_POWER}", re.ASCII),
        _SPACES,
        False,
    ),
    "comma, space between thousands": (
        re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:{_SPACES}\d{{3}})+|\d+)(?:,\d*)?{_POWER}", re.ASCII),
        _SPACES,
        True,
    ),
}
_INFINITE = re.compile(rf"{_SIGN}inf(?:inity)?", re.IGNORECASE)
#: Truth values, in any mixture of capitals.
TRUTH = {"true": 1.0, "false": 0.0}


def is_number(text: str, kind: str = "point") -> bool:
    """Return whether all of a text is a number of this format."""
    return NUMBER_FORMATS[kind][0].fullmatch(text) is not None


def number_format(texts: Sequence[str]) -> tuple[str, int]:
    """Return the format in which most texts are numbers, and how many are; the simplest of equals.

    Where all commas could be thousands, as in 1,234, they are: taken for decimals they would turn
    1,234 and 999 around, while numbers that all have three decimals lose no more than their unit.
    """
    finite = [text for text in texts if not _INFINITE.fullmatch(text)]
    counts = {
        kind: sum(pattern.fullmatch(text) is not None for text in finite)
        for kind, (pattern, _, _) in NUMBER_FORMATS.items()
    }
    best = max(counts, key=lambda kind: counts[kind])  # the first of the best
    return best, counts[best] + len(texts) - len(finite)


def numbers(texts: Sequence[str], kind: str) -> np.ndarray:
    """Return texts as numbers: NaN for what is no number of this format.

    Numbers with a point and truth values are read in every format, if they mean nothing else.
    """
    pattern, thousands, comma = NUMBER_FORMATS[kind]
    found = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        plain = text
        if pattern.fullmatch(text):
            plain = re.sub(thousands, "", text) if thousands else text
            plain = plain.replace(",", ".") if comma else plain
        if is_number(plain) or _INFINITE.fullmatch(plain):
            found[i] = float(plain)
        else:
            found[i] = TRUTH.get(text.lower(), np.nan)
    return found


def label(value: Any) -> str | None:
    """Return the text of a value, the same for 2, 2.0 and "2"; None for a gap."""
    if isinstance(value, str):
        text = value.strip()
        return None if text in GAPS else text
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.integer | np.floating | Decimal | Fraction):
        try:
            return number_label(float(value))
        except OverflowError:
            return str(value)
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo is None else value.astimezone(datetime.timezone.utc)
        return moment.replace(tzinfo=None).isoformat(" ", "seconds")
    if isinstance(value, datetime.date):
        return f"{value} 00:00:00"
    return str(value).strip()


def number_label(number: float) -> str | None:
    """Return the text of a number, None for NaN."""
    if number != number:
        return None
    return str(int(number)) if abs(number) < 1 << 53 and number == int(number) else str(number)


def date_label(seconds: float) -> str:
    """Return the text of a date in seconds since 1970, to the second."""
    return str(np.datetime64(int(np.floor(seconds)), "s")).replace("T", " ")
