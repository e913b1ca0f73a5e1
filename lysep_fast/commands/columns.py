"""Which columns of a .csv are inputs and target, and whether its first line names them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..tables.text import is_number
from .messages import CommandError

__all__ = ["Columns", "choose_columns", "column_number", "pick_columns"]


@dataclass(frozen=True)
class Columns:
    """The chosen columns of a table, by number from 0.

    Attributes
    ----------
    count : int
        Number of columns of the table.
    names : list of str or None
        Their names; None without a header.
    inputs : list of int
        Columns that are inputs, in this order.
    target : int or None
        Column that is the target.
    """

    count: int
    names: list[str] | None
    inputs: list[int]
    target: int | None

    @property
    def has_header(self) -> bool:
        """Whether the first line holds names."""
        return self.names is not None

    @property
    def input_names(self) -> list[str] | None:
        """Names of the inputs."""
        return None if self.names is None else [self.names[i] for i in self.inputs]

    def label(self, column: int) -> str:
        """Return how messages call a column."""
        return str(column) if self.names is None else repr(self.names[column])


def choose_columns(
    path: Path,
    head: Sequence[tuple[int, list[str]]],
    inputs: str | None,
    target: str | None,
    header: bool | None,
    wanted: Sequence[str] | None,
) -> Columns:
    """Return the columns that are asked for.

    Parameters
    ----------
    path : Path
        Name of the file, for messages.
    head : sequence of (int, list of str)
        Line numbers and cells of the first rows, one or two.
    inputs, target, header
        The options of these names.
    wanted : sequence of str, optional
        Names of the columns that a model was trained on: taken if the file has a header.
    """
    first = head[0][1]
    asked = [*([] if inputs is None else inputs.split(",")), *([] if target is None else [target])]
    if header is None:
        header = _has_header(path, head, asked, wanted or ())
    names = None
    if header:
        names = [cell.strip() or f"column {i}" for i, cell in enumerate(first)]
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CommandError(
            f"{path}, line {head[0][0]}: two columns have the name {twice!r}; rename one, or say "
            "--no-header if the line holds data"
        )
    if wanted is not None and names is not None and inputs is None:
        goal = None if target is None else column_number(path, target, names, len(first))
        return Columns(len(first), names, _find(path, wanted, names), goal)
    chosen, goal = pick_columns(path, inputs, target, names, len(first))
    return Columns(len(first), names, chosen, goal)


def pick_columns(
    path: Path, inputs: str | None, target: str | None, names: Sequence[str] | None, count: int
) -> tuple[list[int], int | None]:
    """Return the numbers of inputs and target; without inputs it is all but the target."""
    goal = None if target is None else column_number(path, target, names, count)
    chosen = [i for i in range(count) if i != goal]
    if inputs is not None:
        chosen = [column_number(path, part, names, count) for part in inputs.split(",")]
    if goal in chosen:
        raise CommandError(
            f"{path}: the target {target!r} is among the inputs; leave it out there"
        )
    if len(set(chosen)) < len(chosen):
        raise CommandError(f"{path}: --inputs {inputs} names a column twice")
    if not chosen:
        raise CommandError(f"{path} has no column beside the target; check --delimiter")
    return chosen, goal


def _find(path: Path, wanted: Sequence[str], names: list[str]) -> list[int]:
    """Return the columns that a model was trained on."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise CommandError(
            f"{path} lacks {len(missing)} of the {len(wanted)} columns that the model was trained "
            f"on: {_listed(missing)}; it has {_listed(names)}"
        )
    return [names.index(name) for name in wanted]


def column_number(path: Path, text: str, names: Sequence[str] | None, count: int) -> int:
    """Return the number of a column given by name or number; -1 is the last one."""
    text = text.strip()
    if names is not None and text in names:
        return list(names).index(text)
    try:
        number = int(text)
    except ValueError:
        known = "it has no header" if names is None else f"it has {_listed(names)}"
        raise CommandError(f"{path} has no column {text!r}; {known}") from None
    if not -count <= number < count:
        raise CommandError(
            f"{path} has no column {number}; columns count from 0 to {count - 1}, or from the end "
            "as -1, -2, ..."
        )
    return number % count


def _has_header(
    path: Path,
    head: Sequence[tuple[int, list[str]]],
    asked: Sequence[str],
    wanted: Sequence[str],
) -> bool:
    """Return whether the first line holds names, or raise where that cannot be seen."""
    line, first = head[0]
    names = {cell.strip() for cell in first}
    numbers = [cell.strip() for cell in first if is_number(cell.strip())]
    mixed = 0 < len(numbers) < len(first)
    # Names are of use with a header only, and so are numbers that are no numbers of columns.
    if any(
        not _is_integer(name) or (mixed and name in names and int(name) >= len(first))
        for name in asked
    ):
        return True
    if wanted and names.issuperset(wanted):
        return True
    if not numbers:
        return True
    second = head[1][1] if len(head) > 1 else []
    for cell, below in zip(map(str.strip, first), map(str.strip, second), strict=False):
        if is_number(cell) or cell in ("", "?") or not below:
            continue
        # A name above a number; or above text, beside names that count years or columns.
        if is_number(below) or _count_on(numbers):
            raise CommandError(
                f"{path}, line {line}: {cell[:80]!r} above {below[:80]!r} may be a name or a "
                "value; say --header or --no-header"
            )
    return False


def _count_on(numbers: Sequence[str]) -> bool:
    """Return whether several whole numbers follow each other, as names of columns do."""
    if len(numbers) < 2 or not all(_is_integer(number) for number in numbers):
        return False
    return all(int(b) == int(a) + 1 for a, b in itertools.pairwise(numbers))


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    """Return names for a message, not too many."""
    shown = ", ".join(map(repr, names[:10]))
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
