"""Values on the command line, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "add_table_arguments",
    "add_threads",
    "fraction",
    "natural",
    "not_negative",
    "positive",
    "sizes",
]


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Return a whole number of at least 0."""
    return _whole(text, 0)


def not_negative(text: str) -> float:
    """Return a finite number of at least 0."""
    return _number(text, lambda value: value >= 0.0, "a number of at least 0")


def fraction(text: str) -> float:
    """Return a number between 0 and 1."""
    return _number(text, lambda value: 0.0 < value < 1.0, "a number between 0 and 1")


def sizes(text: str) -> tuple[int, ...]:
    """Return positive whole numbers written like 100,50; "none" for none."""
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(positive(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers of at least 1; write them like 100,50"
        ) from None


def _whole(text: str, minimum: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if value < minimum:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
    return value


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def _delimiter(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one character; tab and space have names"
        )
    return text


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads (default: all CPUs)"
    )


def add_table_arguments(parser: argparse.ArgumentParser, target: str, *, needed: bool) -> None:
    """Add the data file and how it is read; `target` is the help of --target."""
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="a table: .csv, also compressed, .npz or .npy")
    add("--target", metavar="COLUMN", required=needed, help=target)
    add(
        "--inputs",
        metavar="NAMES",
        help="columns by name or number, like a,b,c (default: all but the target); in an .npz "
        "the name of the array (default: X)",
    )
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether line 1 of a .csv has the names of the columns (default: it does if it "
        "holds no number)",
    )
    add(
        "--delimiter",
        type=_delimiter,
        metavar="C",
        help="what separates columns of a .csv (default: seen from the file; tab and space have "
        "these names)",
    )
