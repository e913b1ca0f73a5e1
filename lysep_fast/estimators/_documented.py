"""Docstrings of the estimators: what is said of a parameter elsewhere is not written again."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from ..train import train

__all__ = ["described", "documented"]

Kind = TypeVar("Kind", bound=type[Any])

_HERE = f"{__package__}."
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


def documented(kind: Kind) -> Kind:
    """Complete parameters and attributes in the numpydoc docstring of an estimator.

    Parameters come in the order of the signature.  What the class does not describe has the words
    of its bases, and a parameter then those of `lysep_fast.train`.
    """
    if kind.__doc__ is None:  # python -OO
        return kind
    bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith(_HERE)]
    parameters: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for known in (train, *bases):
        parameters |= described(known, "Parameters")
        attributes |= described(known, "Attributes")
    wanted = [name for name in inspect.signature(kind).parameters if name in parameters]
    summary, *rest = _HEADING.split(inspect.cleandoc(kind.__doc__))
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    sections |= {
        "Parameters": _joined(parameters[name] for name in wanted),
        "Attributes": _joined(attributes.values()),
    }
    parts = [summary.strip()]
    for title in sorted(sections, key=("Parameters", "Attributes", "Examples").index):
        parts.append(f"{title}\n{'-' * len(title)}\n{sections[title].strip()}")
    kind.__doc__ = "\n\n".join(parts) + "\n"
    return kind


def described(thing: Any, title: str) -> dict[str, str]:
    """Return the entries in one section of a docstring, by name; several may share an entry."""
    # Not inspect.getdoc: that gives a class without docstring the one of its base.
    _, *rest = _HEADING.split(inspect.cleandoc(thing.__doc__ or ""))
    section = dict(zip(rest[::2], rest[1::2], strict=True)).get(title)
    return {} if section is None else dict(_named(section))


def _named(section: str) -> Iterator[tuple[str, str]]:
    """Yield the entries of a section with their names."""
    for entry in re.split(r"\n(?=\S)", section.strip()):
        for name in entry.partition(" : ")[0].split(", "):
            yield name, entry


def _joined(entries: Iterable[str]) -> str:
    """Return entries below each other, those of several names once."""
    return "\n".join(dict.fromkeys(entries))
