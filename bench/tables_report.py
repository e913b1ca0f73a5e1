"""Markdown and pictures from the records of bench_tables.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from generalise_report import about_machine
from plot_train import FONT, new_figure
from tables_count import (
    METRICS,
    Results,
    ranks,
    ratios,
    shared_folds,
    tables_of,
    tally,
    value,
)

__all__ = ["differences", "markdown", "wins"]

#: Of a win, a tie and a loss.
OUTCOME_COLORS = ("#0072b2", "#cccccc", "#d55e00")
#: By rival, as often as it takes.
COLORS = ("#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#d55e00", "#7b5ea7", "#999933")
#: Scores that the table of tables and the picture of differences have.
SHOWN = {"classification": ("auc", "log_loss"), "regression": ("r2",)}


def markdown(results: Results, methods: Sequence[str], ours: str, about: dict[str, Any]) -> str:
    """Return counts, ranks, times, the scores of every table, and what has failed."""
    rivals = [method for method in methods if method != ours]
    parts = []
    if ours in methods:
        parts += [_counts(results, rivals, ours), _losses(results, rivals, ours)]
    parts += [_ranks(results, methods), _times(results, methods, ours)]
    for task, shown in SHOWN.items():
        parts += [_scores(results, methods, task, name) for name in shown]
    parts.append(_notes(results, methods, about))
    return "\n\n".join(part for part in parts if part) + "\n"


def _grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its title; nothing if it has no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counts(results: Results, rivals: Sequence[str], ours: str) -> str:
    """Return wins, ties and losses against each rival."""
    rows = []
    for rival in rivals:
        tallies = [tally(results, ours, rival, name) for name in METRICS]
        rows.append([rival, *(str(t) if any(t) else "" for t in tallies)])
    title = f"Wins / ties / losses of {ours} against each rival"
    return _grid(title, ["rival", *(m.label for m in METRICS.values())], rows)


def _losses(results: Results, rivals: Sequence[str], ours: str) -> str:
    """Return the names of the tables that were lost."""
    rows = []
    for rival in rivals:
        lost = [
            ", ".join(tally(results, ours, rival, n).losses) for n in ("auc", "log_loss", "r2")
        ]
        rows.append([rival, *lost])
    head = ["rival", *(METRICS[name].label for name in ("auc", "log_loss", "r2"))]
    return _grid(f"Tables that {ours} loses", head, rows)


def _ranks(results: Results, methods: Collection[str]) -> str:
    """Return the mean ranks, with the number of tables they are over."""
    found = {name: ranks(results, methods, name) for name in METRICS}
    rows = [[method, *(_number(found[n][method], 2) for n in METRICS)] for method in methods]
    tables = [len(tables_of(results, metric.task, methods)) for metric in METRICS.values()]
    head = [f"{m.label} ({n} tables)" for m, n in zip(METRICS.values(), tables, strict=True)]
    return _grid("Mean rank, 1 is the best", ["method", *head], rows)


def _times(results: Results, methods: Collection[str], ours: str) -> str:
    """Return the seconds of a fit, and how they compare with ours."""
    rows = []
    for method in methods:
        fits = [r for k, r in results.items() if k[1] == method and "error" not in r]
        times = [[r[name] for r in fits] for name in ("seconds", "cpu_seconds")]
        names = ("seconds", "cpu_seconds") if method != ours else ()
        with_ours = [ratios(results, ours, method, name) for name in names]
        medians = [float(np.median(v)) if len(v) else float("nan") for v in (*times, *with_ours)]
        cells = [_number(v, 3) for v in medians]
        rows.append([method, str(len(fits)), *cells, *[""] * (4 - len(cells))])
    head = ["method", "fits", "seconds", "CPU seconds"]
    head += [f"{ours} / method", f"{ours} / method, CPU"]
    return _grid("Median time of a fit, and median of the ratios by table", head, rows)


def _scores(results: Results, methods: Sequence[str], task: str, name: str) -> str:
    """Return one score of every table and method; the best of each table is bold."""
    metric = METRICS[name]
    rows = []
    for table in _names(results, task):
        values = [
            value(results, table, method, shared_folds(results, table, [method]), name)
            for method in methods
        ]
        signed = [metric.sign * v for v in values if not np.isnan(v)]
        best = metric.sign * max(signed) if signed else np.nan
        cells = [f"**{_number(v, 4)}**" if v == best else _number(v, 4) for v in values]
        rows.append([table, *_shape(results, table), *cells])
    return _grid(f"{metric.label}, mean over folds", ["table", "rows", "columns", *methods], rows)


def _names(results: Results, task: str) -> list[str]:
    """Return the tables of a task that any method has."""
    return sorted({r["table"] for r in results.values() if r["task"] == task})


def _shape(results: Results, table: str) -> list[str]:
    """Return the numbers of rows and columns of a table."""
    record = next(r for r in results.values() if r["table"] == table)
    return [str(record["rows"]), str(record["columns"])]


def _number(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def _notes(results: Results, methods: Sequence[str], about: dict[str, Any]) -> str:
    """Say what was compared how, where, and what is missing or has failed."""
    ties = ", ".join(
        f"{m.label} {m.tie:.0%}" if m.relative else f"{m.label} {m.tie:g}"
        for m in METRICS.values()
    )
    lines = [about_machine({"quick": False, **about})] if about else []
    lines.append(f"A tie is a difference of at most: {ties}.")
    lines.append("Two methods are compared on the folds that both have; ranks on those of all.")
    for method in methods:
        keys = [k for k in results if k[1] == method]
        lines.append(f"{method}: {len(keys)} folds of {len({k[0] for k in keys})} tables.")
    for (table, method, fold), record in sorted(results.items()):
        if "error" in record and method in methods:
            lines.append(f"Failed: {method} on {table}, fold {fold}: {record['error']}")
    return "\n".join(f"- {line}" for line in lines)


def wins(results: Results, methods: Sequence[str], ours: str) -> Any:
    """Draw wins, ties and losses against each rival, one panel per score."""
    rivals = [method for method in methods if method != ours][::-1]
    drawn = new_figure(3.0 * len(METRICS), 1.2 + 0.45 * len(rivals))
    axes = drawn.subplots(1, len(METRICS), sharey=True)
    for ax, (name, metric) in zip(axes, METRICS.items(), strict=True):
        counts = np.array([[len(part) for part in tally(results, ours, r, name)] for r in rivals])
        left = np.zeros(len(rivals))
        for part, color, label in zip(
            counts.T, OUTCOME_COLORS, ("wins", "ties", "losses"), strict=True
        ):
            bars = ax.barh(rivals, part, left=left, color=color, label=label)
            shown = [str(n) if n else "" for n in part]
            ax.bar_label(bars, shown, label_type="center", fontsize=FONT - 2)
            left += part
        ax.set_title(metric.label, fontsize=FONT + 1)
        ax.set_xlabel("tables", fontsize=FONT)
        ax.tick_params(labelsize=FONT - 2)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=FONT, frameon=False
    )
    return drawn


def differences(results: Results, methods: Sequence[str], ours: str) -> Any:
    """Draw how much better (to the right) or worse we are, one row per table, a dot per rival."""
    rivals = [method for method in methods if method != ours]
    shown = [(task, name) for task, names in SHOWN.items() for name in names]
    most = max([len(_names(results, task)) for task in SHOWN] + [1])
    drawn = new_figure(4.2 * len(shown), 1.6 + 0.17 * most)
    for ax, (task, name) in zip(drawn.subplots(1, len(shown)), shown, strict=True):
        _difference_panel(ax, results, rivals, ours, task, name)
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=FONT, frameon=False
    )
    return drawn


def _difference_panel(
    ax: Any, results: Results, rivals: Sequence[str], ours: str, task: str, name: str
) -> None:
    """Draw one score; the band is the ties, and the scale is linear within it."""
    metric = METRICS[name]
    tables = _names(results, task)[::-1]
    for rival, color in zip(rivals, COLORS * len(rivals), strict=False):
        for row, table in enumerate(tables):
            folds = shared_folds(results, table, (ours, rival))
            pair = [value(results, table, method, folds, name) for method in (ours, rival)]
            scale = max(map(abs, pair)) if metric.relative else 1.0
            # A failed R² can be anything below zero: more than one is drawn as one.
            apart = np.clip(metric.sign * (pair[0] - pair[1]) / scale, -1.0, 1.0)
            label = rival if row == 0 else None
            ax.plot(apart, row, "o", color=color, markersize=4, alpha=0.8, label=label)
    ax.axvspan(-metric.tie, metric.tie, color="#dddddd", zorder=0)
    ax.set_xscale("symlog", linthresh=metric.tie, linscale=0.4)
    ax.set_xlim(-1.2, 1.2)
    ticks = (-1.0, -0.1, -metric.tie, metric.tie, 0.1, 1.0)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(tables)), tables, fontsize=FONT - 5)
    ax.set_ylim(-1, max(len(tables), 1))
    part = ", as a part of the larger one" if metric.relative else ""
    ax.set_title(f"{metric.label}: better than the rival by{part}", fontsize=FONT)
    ax.tick_params(axis="x", labelsize=FONT - 4)
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
