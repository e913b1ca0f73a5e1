"""Parts of a header, checked as they are read: it may be anything that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["LARGEST", "choice", "field", "integer", "integers"]

#: No size in a header is larger, so that products of a few fit into 64 bits.
LARGEST = 1 << 31


def field(header: Any, name: str, kind: type) -> Any:
    """Return an entry of exactly this type."""
    value = header.get(name) if type(header) is dict else None
    if type(value) is not kind:
        raise ValueError(f"its header has no {name}, or a wrong one")
    return value


def choice(header: Any, name: str, choices: Sequence[str]) -> str:
    """Return an entry that is one of some strings."""
    value: str = field(header, name, str)
    if value not in choices:
        raise ValueError(f"its header has an unknown {name}: {value!r:.100}")
    return value


def integer(header: Any, name: str, minimum: int = 0) -> int:
    """Return an integer from `minimum` to `LARGEST`."""
    value: int = field(header, name, int)
    if not minimum <= value <= LARGEST:
        raise ValueError(f"its header has {name} outside of {minimum} to {LARGEST}")
    return value


def integers(header: Any, name: str, count: int, minimum: int = 1) -> list[int]:
    """Return a list of `count` integers from `minimum` to `LARGEST`."""
    values: list[int] = field(header, name, list)
    if len(values) != count or not all(
        type(value) is int and minimum <= value <= LARGEST for value in values
    ):
        raise ValueError(f"its header needs {count} integers from {minimum} for {name}")
    return values
