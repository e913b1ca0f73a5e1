"""Tables and figure of bench_cnn.py; by itself, redraws them from a results.json.

Run ``python bench/cnn_report.py DIR`` in a folder with results.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from generalise_report import OURS, about_machine, spread
from plot_train import FONT, log_seconds, new_figure, save

__all__ = ["OURS", "figure", "table"]

#: Test accuracies in %.
MARKS = (98.5, 98.7, 98.9)
COLORS = {
    OURS: "#0072b2",
    "torch Adam, our start": "#e69f00",
    "torch Adam": "#cc79a7",
    "torch AdamW, our start": "#d55e00",
}

#: Records by peer and number of epochs, by seed.
Groups = dict[tuple[str, int], list[dict[str, Any]]]


def _groups(network: dict[str, Any]) -> Groups:
    """Return the records in the order of the peers, then of the epochs."""
    found: Groups = {}
    order = list(COLORS)
    for r in sorted(network["records"], key=lambda r: (order.index(r["peer"]), r["epochs"])):
        found.setdefault((r["peer"], r["epochs"]), []).append(r)
    return found


def table(results: dict[str, Any]) -> str:
    """Return the Markdown tables and the notes that belong to them."""
    lines = [
        "| channels | peer | epochs | s | test accuracy % | minus ours, paired "
        "| held-out accuracy % | held-out CE | training CE | setting |",
        "|" + "---|" * 10,
    ]
    for network in results["networks"]:
        groups = _groups(network)
        for (peer, epochs), records in groups.items():
            ours = groups.get((OURS, epochs), records)
            difference = _column(records, "accuracy", 100) - _column(ours, "accuracy", 100)
            cells = (
                network["channels"],
                peer,
                str(epochs),
                spread(_column(records, "total_seconds")),
                spread(_column(records, "accuracy", 100)),
                "" if peer == OURS else spread(difference, standard_error=True),
                spread(np.array([100 * r["validation_accuracy"][-1] for r in records])),
                spread(np.array([r["validation"][-1] for r in records]), digits=4),
                spread(_column(records, "train_loss"), digits=4),
                records[0]["setting"],
            )
            lines.append(f"| {' | '.join(cells)} |")
    parts = [*lines, "", *_marks_table(results), "", *(f"- {note}" for note in _notes(results))]
    return "\n".join(parts) + "\n"


def _column(records: list[dict[str, Any]], key: str, factor: float = 1.0) -> np.ndarray:
    return factor * np.array([r[key] for r in sorted(records, key=lambda r: r["seed"])])


def _marks_table(results: dict[str, Any]) -> list[str]:
    """Return the fastest run of every peer whose mean test accuracy is at a mark."""
    heads = " | ".join(f"{mark:g} %" for mark in MARKS)
    lines = [f"| channels | peer | {heads} |", "|---|---|" + "---|" * len(MARKS)]
    for network in results["networks"]:
        groups = _groups(network)
        for peer in dict.fromkeys(peer for peer, _ in groups):
            cells = [_at_mark(groups, peer, mark) for mark in MARKS]
            lines.append(f"| {network['channels']} | {peer} | {' | '.join(cells)} |")
    return lines


def _at_mark(groups: Groups, peer: str, mark: float) -> str:
    """Return mean seconds and epochs, and how many seeds are at the mark by themselves."""
    there = []
    for (name, epochs), records in groups.items():
        values = _column(records, "accuracy", 100)
        if name == peer and values.mean() >= mark - 1e-9:
            seconds = float(_column(records, "total_seconds").mean())
            there.append((seconds, epochs, int(np.sum(values >= mark - 1e-9)), len(values)))
    if not there:
        return "not reached"
    seconds, epochs, count, all_seeds = min(there)
    return f"{seconds:.2f} s, {epochs} epochs ({count}/{all_seeds})"


def _notes(results: dict[str, Any]) -> list[str]:
    """Say what the numbers are, how torch computed and what the search cost."""
    notes = [
        about_machine(results),
        f"{results['samples']} training and {results['held_out']} held-out images; two 3x3 "
        "convolutions that keep the size, each with tanh and 2x2 average pooling, 64 hidden "
        f"units, tanh, float32; mean ± standard deviation over {results['seeds']} seeds, the "
        "paired difference with its standard error. Every row is a training of its own, with "
        "the weights after its last epoch.",
        "Seconds include the held-out evaluation of every epoch, not those on test data, and for "
        "torch neither compiling nor initial weights. The rate of all torch rivals falls "
        'linearly to 0; AdamW is with averaging 0.99 and label smoothing 0.1. "Our start": the '
        "initial weights of lysep_fast, else torch's own.",
        "Second table: the fastest training (mean seconds) whose mean test accuracy is at the "
        "mark; in brackets the seeds that are there by themselves. Settings were chosen without "
        "test data, the training to show here by its test accuracy, for all peers alike.",
    ]
    for network in results["networks"]:
        speeds = "; ".join(f"batch {size}: {speed}" for size, speed in network["speeds"].items())
        notes.append(f"{network['channels']}: torch in the fastest of the ways tried, {speeds}.")
        for peer in dict.fromkeys(r["peer"] for r in network["tried"]):
            notes.append(_search_note(network, peer))
    return notes


def _search_note(network: dict[str, Any], peer: str) -> str:
    """Say what was chosen from, and whether a winner has the smallest or largest rate."""
    tried = [r for r in network["tried"] if r["peer"] == peer]
    winners = {r["epochs"]: r["setting"] for r in network["records"] if r["peer"] == peer}
    seconds = sum(r["total_seconds"] for r in tried)
    rates = sorted({_rate(r["setting"]) for r in tried})
    edges = [epochs for epochs, s in winners.items() if _rate(s) in (rates[0], rates[-1])]
    note = (
        f"{network['channels']}, {peer}: {len(tried) // max(1, len(winners))} settings for every "
        f"number of epochs, by the held-out loss of seed 0; this search took {seconds:.0f} s, not "
        "counted in the tables."
    )
    if edges and len(rates) > 1:
        note += (
            " **Warning: the winner has the smallest or largest rate of the list for "
            f"{', '.join(map(str, edges))} epochs.**"
        )
    return note


def _rate(setting: str) -> float:
    return float(setting.split(",")[0].removeprefix("rate "))


def figure(results: dict[str, Any]) -> Any:
    """Draw one row per network: test accuracy and held-out loss over seconds."""
    networks = results["networks"]
    drawn = new_figure(9.6, 0.9 + 3.7 * len(networks))
    axes = drawn.subplots(len(networks), 2, squeeze=False)
    for row, network in zip(axes, networks, strict=True):
        groups = _groups(network)
        for ax, last in zip(row, (_last_accuracy, _last_loss), strict=True):
            for peer in dict.fromkeys(peer for peer, _ in groups):
                _line(ax, groups, peer, last)
            log_seconds(ax)
            ax.set_xlabel("seconds", fontsize=FONT)
            ax.tick_params(labelsize=FONT - 2)
            ax.grid(which="major", alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
        for mark in MARKS:
            if row[0].dataLim.y0 - 0.2 <= mark <= row[0].dataLim.y1 + 0.2:
                row[0].axhline(mark, color="#888888", linewidth=0.9, linestyle="--", zorder=1)
        row[0].set_ylabel("test accuracy in %", fontsize=FONT)
        row[1].set_ylabel("held-out cross-entropy", fontsize=FONT)
        row[0].set_title(f"channels {network['channels']}", fontsize=FONT + 1, loc="left")
        row[1].set_title("dots: ends of trainings, mean ± sd", fontsize=FONT - 2, loc="right")
    handles, labels = axes[0][0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=2, fontsize=FONT, frameon=False
    )
    return drawn


def _last_accuracy(record: dict[str, Any]) -> float:
    return 100.0 * float(record["accuracy"])


def _last_loss(record: dict[str, Any]) -> float:
    return float(record["validation"][-1])


def _line(ax: Any, groups: Groups, peer: str, last: Any) -> None:
    """Draw the ends of a peer's trainings, one dot for every number of epochs."""
    x, y, width = [], [], []
    for (name, _), records in groups.items():
        if name == peer:
            values = np.array([last(r) for r in records])
            x.append(np.median(_column(records, "total_seconds")))
            y.append(values.mean())
            width.append(values.std(ddof=1) if len(values) > 1 else 0.0)
    bold = peer == OURS
    ax.errorbar(
        x, y, width, color=COLORS[peer], marker="o", markersize=7, markeredgecolor="white",
        linewidth=2.2 if bold else 1.5, capsize=3, label=peer, zorder=4 if bold else 3,
    )  # fmt: skip


def main() -> None:
    """Write cnn.md and cnn.png again."""
    folder = Path(sys.argv[1])
    results = json.loads((folder / "results.json").read_text())
    (folder / "cnn.md").write_text(table(results))
    save(figure(results), folder / "cnn.png")


if __name__ == "__main__":
    main()
