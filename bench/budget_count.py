"""Pick winners, medians and leads from the records of bench_budgets.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from budget_settings import DEFAULT, SPACES, label

__all__ = [
    "FINAL",
    "LATE",
    "MARGIN",
    "TUNE",
    "Cell",
    "Key",
    "Tally",
    "cells",
    "chosen",
    "key",
    "leaders",
    "middle",
    "outcome",
    "tally",
]

TUNE, FINAL = "tune", "final"
#: Accuracies that differ by no more are a tie.
MARGIN = 0.001
#: Of the budget, before a run counts as late.
LATE = 1.1

#: Set, method, setting in words, seed, stage, budget.
Key = tuple[str, str, str, int, str, float]
Records = Mapping[Key, Mapping[str, Any]]


def key(record: Mapping[str, Any]) -> Key:
    """Return what a line of the results belongs to."""
    return (
        record["set"],
        record["method"],
        label(record["setting"]),
        int(record["seed"]),
        record["stage"],
        float(record["budget"]),
    )


def middle(budgets: Iterable[float]) -> float:
    """Return the budget that settings are chosen at: the upper one of two middle ones."""
    ordered = sorted(budgets)
    return ordered[len(ordered) // 2]


def chosen(
    results: Records, name: str, method: str, settings: Sequence[Mapping[str, Any]], budget: float
) -> dict[str, Any] | None:
    """Return the setting with the best held-out accuracy, None before all have been tried.

    Of equal accuracies, which small held-out parts give often, the smaller loss wins; a setting
    that failed cannot, unless there is no other.
    """
    if not SPACES[method]:
        return {}
    words = {label(setting) for setting in settings}
    found = [
        record
        for k, record in results.items()
        if k[:2] == (name, method) and k[2] in words and k[4:] == (TUNE, budget)
    ]
    if {label(record["setting"]) for record in found} != words:
        return None
    best = min(found, key=lambda r: (-r.get("accuracy", -1.0), r.get("loss") or np.inf))
    return dict(best["setting"])


class Cell(NamedTuple):
    """Test accuracies of a method on a set within a budget, over the seeds; NaN if all failed.

    Attributes
    ----------
    median, low, high : float
        Of the accuracies.
    seconds, units : float
        Medians.
    runs : int
        Number of those that did not fail.
    fits : bool
        Whether a single step or epoch ends within the budget at all.
    """

    median: float
    low: float
    high: float
    seconds: float
    units: float
    runs: int
    fits: bool = True

    @property
    def counted(self) -> float:
        """Accuracy in comparisons: what does not fit into the budget has failed."""
        return self.median if self.fits else float("nan")


def cells(
    results: Records, winners: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[tuple[str, str, float], Cell]:
    """Return what the final runs of the chosen settings have come to, by set, method, budget."""
    runs: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for (name, method, words, _, stage, budget), record in results.items():
        winner = winners.get((name, method))
        if stage == FINAL and winner is not None and words == label(winner):
            runs.setdefault((name, method, budget), []).append(record)
    return {k: _cell(records, k[2]) for k, records in runs.items()}


def _cell(records: Sequence[Mapping[str, Any]], budget: float) -> Cell:
    good = [record for record in records if "error" not in record]
    # A failure counts as nothing right: it can cost the median.
    values = [record["accuracy"] for record in good] + [0.0] * (len(records) - len(good))
    if not good:
        return Cell(*[float("nan")] * 5, 0)
    seconds, units = (float(np.median([r[n] for r in good])) for n in ("seconds", "units"))
    spread = float(np.median(values)), float(min(values)), float(max(values))
    # Plans of several units can be late by the machine's moods; those of one had no choice.
    fits = units > 1.0 or seconds <= LATE * budget
    return Cell(*spread, seconds, units, len(good), fits)


def outcome(ours: float, theirs: float, margin: float = MARGIN) -> int:
    """Return 1 for a win, 0 for a tie, -1 for a loss; NaN stands for a failure."""
    if np.isnan(ours) or np.isnan(theirs):
        return int(np.isnan(theirs)) - int(np.isnan(ours))
    # A difference of .001 that was rounded on its way is a tie still.
    if abs(ours - theirs) <= margin + 1e-9:
        return 0
    return 1 if ours > theirs else -1


class Tally(NamedTuple):
    """How often the first method was better, as good, and worse."""

    wins: int
    ties: int
    losses: int

    def __str__(self) -> str:
        return f"{self.wins} / {self.ties} / {self.losses}"


def tally(
    found: Mapping[tuple[str, str, float], Cell],
    ours: str,
    theirs: str,
    budgets: Iterable[float] | None = None,
) -> Tally:
    """Compare two methods on all sets and budgets that both have, or on these budgets only."""
    wanted = None if budgets is None else set(budgets)
    counts = [0, 0, 0]
    for (name, method, budget), cell in found.items():
        other = found.get((name, theirs, budget))
        if method == ours and other and (wanted is None or budget in wanted):
            counts[1 - outcome(cell.counted, other.counted)] += 1
    return Tally(*counts)


def leaders(found: Mapping[tuple[str, str, float], Cell], name: str, budget: float) -> list[str]:
    """Return who is not behind the best median by more than the margin; one alone is ahead.

    Our default is left out: it is there to be compared with our chosen setting.
    """
    medians = {
        method: cell.counted
        for (own, method, own_budget), cell in found.items()
        if (own, own_budget) == (name, budget) and method != DEFAULT
    }
    good = [value for value in medians.values() if not np.isnan(value)]
    if not good:
        return []
    return [m for m, value in medians.items() if outcome(value, max(good)) == 0]
