"""Count wins, ties, losses and ranks over tables, from the records of bench_tables.py.

A score of a table is the mean over those folds that all compared methods have.  A method that
failed in one of them has no score: it loses against every method that has one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

__all__ = [
    "METRICS",
    "Metric",
    "Tally",
    "outcome",
    "ranks",
    "ratios",
    "tables_of",
    "tally",
    "value",
]

Key = tuple[str, str, int]
Results = Mapping[Key, Mapping[str, Any]]


class Metric(NamedTuple):
    """How two values of a score compare.

    Attributes
    ----------
    label, task : str
        Its name in reports, and the task it belongs to.
    sign : int
        1 if more is better, -1 if less is.
    tie : float
        The largest difference that is a tie.
    relative : bool
        Whether that is a part of the larger value.
    """

    label: str
    task: str
    sign: int
    tie: float
    relative: bool = False


METRICS = {
    "auc": Metric("AUC", "classification", 1, 0.005),
    "log_loss": Metric("log-loss", "classification", -1, 0.01, relative=True),
    "accuracy": Metric("accuracy", "classification", 1, 0.005),
    "r2": Metric("R²", "regression", 1, 0.005),
    "rmse": Metric("RMSE", "regression", -1, 0.01, relative=True),
}


class Tally(NamedTuple):
    """Tables on which the first method was better, as good, and worse, and their names."""

    wins: list[str]
    ties: list[str]
    losses: list[str]

    def __str__(self) -> str:
        return f"{len(self.wins)} / {len(self.ties)} / {len(self.losses)}"


def outcome(ours: float, theirs: float, metric: Metric) -> int:
    """Return 1 for a win, 0 for a tie, -1 for a loss; NaN stands for a failure."""
    if np.isnan(ours) or np.isnan(theirs):
        return int(np.isnan(theirs)) - int(np.isnan(ours))
    limit = metric.tie * (max(abs(ours), abs(theirs)) if metric.relative else 1.0)
    # A difference of .005 that was rounded on its way is a tie still.
    if abs(ours - theirs) <= limit * (1.0 + 1e-9):
        return 0
    return metric.sign if ours > theirs else -metric.sign


def shared_folds(results: Results, table: str, methods: Iterable[str]) -> list[int]:
    """Return the folds of a table that all of the methods have, failed ones too."""
    there = [{f for t, m, f in results if (t, m) == (table, method)} for method in methods]
    return sorted(set.intersection(*there)) if there else []


def value(results: Results, table: str, method: str, folds: Collection[int], name: str) -> float:
    """Return the mean of a score, or of seconds, over folds; NaN after a failure."""
    found = [results[table, method, fold].get(name, np.nan) for fold in folds]
    return float(np.mean(found)) if found else float("nan")


def tables_of(results: Results, task: str, methods: Iterable[str]) -> list[str]:
    """Return the tables of a task for which the methods share at least a fold, by name."""
    methods = list(methods)
    names = sorted({r["table"] for r in results.values() if r["task"] == task})
    return [name for name in names if shared_folds(results, name, methods)]


def tally(results: Results, ours: str, theirs: str, name: str) -> Tally:
    """Return on which tables a method wins, ties and loses against another, by one score."""
    metric = METRICS[name]
    found = Tally([], [], [])
    for table in tables_of(results, metric.task, (ours, theirs)):
        folds = shared_folds(results, table, (ours, theirs))
        pair = [value(results, table, method, folds, name) for method in (ours, theirs)]
        found[1 - outcome(*pair, metric)].append(table)
    return found


def ranks(results: Results, methods: Collection[str], name: str) -> dict[str, float]:
    """Return the mean rank of every method (1 is the best) over the tables that all of them have.

    Equal scores share the mean of their ranks, and failures share the last ones; without a common
    table all ranks are NaN.
    """
    metric = METRICS[name]
    rows = []
    for table in tables_of(results, metric.task, methods):
        folds = shared_folds(results, table, methods)
        scores = np.array([value(results, table, method, folds, name) for method in methods])
        rows.append(rankdata(np.where(np.isnan(scores), np.inf, -metric.sign * scores)))
    means = np.mean(rows, axis=0) if rows else np.full(len(methods), np.nan)
    return {method: float(mean) for method, mean in zip(methods, means, strict=True)}


def ratios(results: Results, ours: str, theirs: str, name: str = "seconds") -> np.ndarray:
    """Return our time divided by theirs for each table where both did not fail."""
    found = []
    for task in ("classification", "regression"):
        for table in tables_of(results, task, (ours, theirs)):
            folds = shared_folds(results, table, (ours, theirs))
            pair = [value(results, table, method, folds, name) for method in (ours, theirs)]
            found.append(pair[0] / pair[1] if pair[1] > 0 else np.nan)
    return np.array([ratio for ratio in found if np.isfinite(ratio)])
