"""Dates in text, by a rule that takes no number for one, and dates apart into numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .frames import need_pandas

__all__ = ["DATE_FORMATS", "PARTS", "date_format", "date_parts", "seconds_of", "text_seconds"]

_ISO = "ISO8601"
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_DAYS = (
    "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d %Y", "%B %d, %Y",
    "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y",
)  # fmt: skip
#: Formats that are tried, in this order: month first where both orders fit every value.
DATE_FORMATS = (
    _ISO,
    *(day + time for day in _DAYS for time in _TIMES),
    "%Y-%m", "%Y/%m", "%b %Y", "%B %Y", "%b-%Y", "%H:%M", "%H:%M:%S",
)  # fmt: skip

#: What a date is taken apart into; seconds are those since the first date of the training.
PARTS = ("seconds", "year", "month", "day", "weekday", "hour", "minute", "second")

_DIGITS = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}",
    "I": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}", "f": r"\d{1,6}", "p": "[AaPp][Mm]",
    "b": "[A-Za-z]{3}", "B": "[A-Za-z]{3,9}",
}  # fmt: skip
_PATTERNS = {
    _ISO: re.compile(
        r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?",
        re.ASCII,
    )
} | {
    form: re.compile(re.sub(r"%(\w)", lambda m: _DIGITS[m[1]], form.replace(".", r"\.")), re.ASCII)
    for form in DATE_FORMATS[1:]
}


def date_format(texts: Sequence[str]) -> str | None:
    """Return the format in which every text is a date, None if there is none."""
    for form in DATE_FORMATS:
        if all(_PATTERNS[form].fullmatch(text) for text in texts) and np.all(
            np.isfinite(text_seconds(texts, form))
        ):
            return form
    return None


def text_seconds(texts: Sequence[str], form: str) -> np.ndarray:
    """Return texts as seconds since 1970, NaN for what is no date of this format."""
    pattern = _PATTERNS[form]
    wanted = [text if pattern.fullmatch(text) else None for text in texts]
    found = need_pandas().to_datetime(
        np.array(wanted, object), format=form, errors="coerce", utc=True
    )
    return seconds_of(found)


def seconds_of(dates: Any) -> np.ndarray:
    """Return a DatetimeIndex as seconds since 1970 in UTC, NaN for gaps."""
    if dates.tz is not None:
        dates = dates.tz_convert("UTC").tz_localize(None)
    micro = np.asarray(dates.to_numpy()).astype("datetime64[us]")
    seconds = micro.astype(np.int64) / 1e6
    seconds[np.isnat(micro)] = np.nan
    return seconds


def date_parts(seconds: np.ndarray, first: float) -> dict[str, np.ndarray]:
    """Return the numbers of `PARTS`, each an array of float64; Monday is weekday 0."""
    micro = np.round(seconds * 1e6).astype(np.int64).astype("datetime64[us]")
    years, months, days = (micro.astype(f"datetime64[{unit}]") for unit in "YMD")
    parts = {
        "seconds": seconds - first,
        "year": years.astype(np.int64) + 1970,
        "month": (months - years).astype(np.int64) + 1,
        "day": (days - months).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,
    }
    of_day = (micro - days).astype("timedelta64[s]").astype(np.int64)
    parts |= {"hour": of_day // 3600, "minute": of_day // 60 % 60, "second": of_day % 60}
    return {name: np.asarray(part, np.float64) for name, part in parts.items()}
