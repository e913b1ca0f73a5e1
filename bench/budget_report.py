"""Tables and the picture of bench_budgets.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from budget_count import LATE, MARGIN, Cell, leaders, tally
from budget_sets import HELD_OUT, RECIPES
from budget_settings import ABOUT, DEFAULT, METHODS, OURS, RIVALS, label
from generalise_report import about_machine
from plot_train import FONT, new_figure

__all__ = ["figure", "markdown"]

Cells = Mapping[tuple[str, str, float], Cell]
Winners = Mapping[tuple[str, str], Mapping[str, Any]]

#: Line, marker: colours that differ for the colour-blind, and shapes for those without colours.
STYLES = {
    OURS: ("#0072b2", "o", "-"),
    DEFAULT: ("#56b4e9", "o", "--"),
    "AdamW": ("#d55e00", "s", "-"),
    "Muon": ("#009e73", "^", "-"),
    "SOAP": ("#cc79a7", "D", "-"),
    "schedule-free AdamW": ("#e69f00", "v", "-"),
}
COLUMNS = 4
#: Accuracies below the best that a panel shows: a multiple of how far the median is, and bounds.
DEPTH, SHALLOWEST, DEEPEST = 3.0, 0.01, 0.08


def markdown(found: Cells, winners: Winners, about: Mapping[str, Any]) -> str:
    """Return counts, a table per set with the settings, and notes."""
    names = list(dict.fromkeys(name for name, _, _ in found))
    budgets = sorted({budget for _, _, budget in found})
    parts = ["# Test accuracy within fixed times", _summary(found, budgets)]
    parts += [_set(found, winners, name, budgets) for name in names]
    parts.append("\n".join(f"- {note}" for note in _notes(found, about)))
    return "\n\n".join(parts) + "\n"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(found: Cells, budgets: Sequence[float]) -> str:
    """Count wins against each rival, and how often each method is ahead of all."""
    head = ["", *(f"{b:g} s" for b in budgets), "all"]
    rows = [
        [
            f"{ours} against {rival}",
            *(str(tally(found, ours, rival, [b])) for b in budgets),
            str(tally(found, ours, rival)),
        ]
        for ours in (OURS, DEFAULT)
        for rival in METHODS
        if rival in RIVALS and any(tally(found, ours, rival))
    ]
    places = sorted({(name, budget) for name, _, budget in found})
    first = {place: leaders(found, *place) for place in places}
    for method in METHODS:
        if method == DEFAULT or not any(m == method for _, m, _ in found):
            continue
        alone = {b: sum(first[p] == [method] for p in places if p[1] == b) for b in budgets}
        among = {
            b: sum(method in first[p] and len(first[p]) > 1 for p in places if p[1] == b)
            for b in budgets
        }
        cells = [f"{alone[b]} + {among[b]}" for b in budgets]
        total = f"{sum(alone.values())} + {sum(among.values())}"
        rows.append([f"{method} ahead of all + among the best", *cells, total])
    title = f"Wins / ties / losses over the sets, a tie within {100 * MARGIN:g} points:"
    return f"{title}\n\n{_grid(head, rows)}"


def _set(found: Cells, winners: Winners, name: str, budgets: Sequence[float]) -> str:
    """Return the table of one set."""
    methods = [m for m in METHODS if any(k[:2] == (name, m) for k in found)]
    rows = []
    for method in methods:
        cells = [found.get((name, method, budget)) for budget in budgets]
        rows.append([method, *(_accuracy(c) for c in cells), label(winners[name, method])])
    ahead = []
    for budget in budgets:
        first = leaders(found, name, budget)
        ahead.append(f"**{first[0]}**" if len(first) == 1 else "tie: " + ", ".join(first))
    rows.append(["ahead", *ahead, ""])
    hidden = "-".join(map(str, RECIPES[name].hidden))
    head = ["median % (min..max)", *(f"{b:g} s" for b in budgets), "setting"]
    return f"## {name}, hidden layers {hidden}\n\n{_grid(head, rows)}"


def _accuracy(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if not cell.runs:
        return "failed"
    late = "" if cell.fits else f", but after {cell.seconds:.3g} s"
    return f"{100 * cell.median:.2f} ({100 * cell.low:.2f}..{100 * cell.high:.2f}){late}"


def _notes(found: Cells, about: Mapping[str, Any]) -> list[str]:
    """Say how it was measured, and which plans took longer than they should."""
    plan = (
        "Every run is planned from the pace of a short run just before it, which does not count: "
        "steps in torch, whole epochs here, at least one. The clock covers scaling, initial "
        "weights and training, not the test."
    )
    chosen = (
        f"Settings: the best of {about.get('trials', '?')} on {100 * HELD_OUT:g} % of the "
        "training data held out, with the middle budget and a seed of its own."
    )
    notes = [about_machine(dict(about)) if "versions" in about else "", plan, chosen]
    notes += [f"{m}: {words}." for m, words in ABOUT.items() if any(k[1] == m for k in found)]
    late = [
        f"{name}, {method}, {budget:g} s took {cell.seconds:.3g} s ({cell.units:g} units)"
        for (name, method, budget), cell in found.items()
        if cell.runs and cell.seconds > LATE * budget
    ]
    if late:
        notes.append(
            "A single step or epoch that does not fit into the budget counts as a failure."
        )
        notes.append(f"**More than {100 * (LATE - 1):.0f} % over time:** {'; '.join(late)}.")
    return [note for note in notes if note]


def figure(found: Cells) -> Any:
    """Draw a panel per set: test accuracy over the seconds that runs took."""
    names = list(dict.fromkeys(name for name, _, _ in found))
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    drawn = new_figure(max(6.4, 3.5 * columns), 3.1 * rows + 0.9)
    axes = drawn.subplots(rows, columns, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        _panel(ax, found, name)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy in %", fontsize=FONT)
    for i, ax in enumerate(axes.flat[: len(names)]):
        if i + columns >= len(names):
            ax.set_xlabel("seconds", fontsize=FONT)
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, words in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(words, handle)
    ordered = [m for m in METHODS if m in handles]
    drawn.legend(
        [handles[m] for m in ordered], ordered, loc="outside lower center",
        ncols=min(len(ordered), 2 * columns, 6), fontsize=FONT, frameon=False,
    )  # fmt: skip
    return drawn


def _panel(ax: Any, found: Cells, name: str) -> None:
    """Draw medians with bars from the worst to the best seed."""
    own = {k: cell for k, cell in found.items() if k[0] == name and cell.runs}
    top = max((cell.high for cell in own.values()), default=1.0)
    low = min((cell.low for cell in own.values()), default=0.0)
    middle = float(np.median([cell.median for cell in own.values()])) if own else low
    bottom = max(low, top - float(np.clip(DEPTH * (top - middle), SHALLOWEST, DEEPEST)))
    for method in METHODS:
        line = [cell for (_, m, _), cell in sorted(own.items()) if m == method]
        if not line:
            continue
        color, marker, dashes = STYLES[method]
        median = 100 * np.array([cell.median for cell in line])
        bars = np.abs(100 * np.array([[c.low, c.high] for c in line]).T - median)
        ax.errorbar(
            [cell.seconds for cell in line], median, yerr=bars, color=color, marker=marker,
            linestyle=dashes, linewidth=1.8 if method == OURS else 1.3, elinewidth=0.8,
            markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, alpha=0.95,
            label=method, zorder=5 if method == OURS else 3,
        )  # fmt: skip
    _axes(ax, sorted({budget for _, _, budget in own}))
    room = 0.04 * (top - bottom) or 0.001
    ax.set_ylim(100 * (bottom - room), 100 * (top + room))
    ax.set_title(name, fontsize=FONT + 1)
    below = [m for (_, m, _), c in own.items() if c.median < bottom]
    if below:
        ax.text(
            0.98, 0.03, "below: " + ", ".join(dict.fromkeys(below)), transform=ax.transAxes,
            fontsize=FONT - 3, color="#555555", ha="right",
        )  # fmt: skip


def _axes(ax: Any, budgets: Sequence[float]) -> None:
    """Mark the budgets on a logarithmic axis of seconds."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(budgets))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.tick_params(labelsize=FONT - 2)
    ax.grid(which="major", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
