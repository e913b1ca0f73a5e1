"""The contract of a block: which variables it may touch, and what its update reports."""

from __future__ import annotations

from typing import Any, Protocol

from ..report import Step

__all__ = ["Block"]


class Block(Protocol):
    """One update of the sweep over the variables of a separated problem."""

    name: str

    def touches(self, state: Any) -> set[str]:
        """Return the names (``"W2"``, ``"b2"``, ``"A1"``, ``"R2"``) that an update may change."""
        ...

    def update(self, problem: Any, state: Any) -> Step:
        """Update the variables in place without increasing F."""
        ...
