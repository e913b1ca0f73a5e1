"""Table and figures of bench_generalise.py; by itself, redraws them from a results.json.

Run ``python bench/generalise_report.py DIR`` in a folder with results.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plot_train import FONT, log_seconds, new_figure, save

__all__ = ["COLORS", "MARKS", "OURS", "about_machine", "figure", "reached", "spread", "table"]

OURS = "lysep_fast"
COLORS = {
    OURS: "#0072b2",
    "torch Adam": "#e69f00",
    "torch AdamW": "#d55e00",
    "scikit-learn MLP": "#009e73",
    "frozen features": "#555555",
}
#: Test accuracies in % whose first times the table has.
MARKS = {"mnist-10000": (94.0, 96.0), "mnist-60000": (97.5, 98.0), "digits": (96.0, 97.5)}


def _by_peer(task: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the records by peer, ours first, by seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(task["records"], key=lambda r: (r["peer"] != OURS, r["seed"])):
        found.setdefault(record["peer"], []).append(record)
    return found


def table(results: dict[str, Any]) -> str:
    """Return a Markdown table and the notes that belong to it."""
    lines = [
        "| task | peer | test accuracy % | minus ours, paired | best validation CE "
        "| s to best epoch | total s | epochs | s to lower mark | s to upper mark | setting |",
        "|" + "---|" * 11,
    ]
    notes = [_about(results)]
    for task in results["tasks"]:
        by_peer = _by_peer(task)
        ours = np.array([100 * r["accuracy"] for r in by_peer[OURS]])
        for peer, records in by_peer.items():
            values = np.array([100 * r["accuracy"] for r in records])
            cells = (
                task["task"],
                peer,
                spread(values),
                "" if peer == OURS else spread(values - ours, standard_error=True),
                _middle([r["best_validation"] for r in records], 4),
                _middle([r["best_seconds"] for r in records], 2),
                _middle([r["total_seconds"] for r in records], 2),
                _middle([r["epochs"] for r in records], 0),
                *(reached(records, mark) for mark in task["marks"]),
                records[0]["setting"],
            )
            lines.append(f"| {' | '.join(cells)} |")
        notes += _task_notes(task, len(ours))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _middle(values: Sequence[float | None], digits: int) -> str:
    """Return the median of what is there."""
    there = [v for v in values if v is not None]
    return f"{np.median(there):.{digits}f}" if there else ""


def reached(records: Sequence[dict[str, Any]], mark: float) -> str:
    """Return the median time at which the test accuracy first is at the mark (in %).

    A run that does not come there counts as infinitely late; without a curve there is no answer.
    """
    if not all(record["test"] for record in records):
        return ""
    times = []
    for record in records:
        there = np.flatnonzero(100 * np.array(record["test"]) >= mark - 1e-9)
        times.append(record["seconds"][there[0]] if len(there) else np.inf)
    arrived = int(np.sum(np.isfinite(times)))
    count = "" if arrived == len(times) else f" ({arrived}/{len(times)})"
    # The upper of two middle times: no mean with infinity.
    middle = sorted(times)[len(times) // 2]
    return (f"{middle:.2f}" if np.isfinite(middle) else "not reached") + count


def spread(values: np.ndarray, standard_error: bool = False, digits: int = 2) -> str:
    """Return mean and standard deviation, or the mean's standard error."""
    if len(values) < 2:
        return f"{values.mean():.{digits}f}"
    width = values.std(ddof=1) / (np.sqrt(len(values)) if standard_error else 1.0)
    return f"{values.mean():.{digits}f} ± {width:.{digits}f}"


def about_machine(results: dict[str, Any]) -> str:
    """Say where it was measured, with which versions, and whether it was a measurement."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    quick = " **A quick trial, not a measurement.**" if results["quick"] else ""
    return (
        f"{results['cpus_available']} CPUs ({results['cpu']}); python {results['python']}, "
        f"{versions}.{quick}"
    )


def _about(results: dict[str, Any]) -> str:
    return (
        f"{about_machine(results)} Accuracy: mean ± "
        "standard deviation over seeds; the paired difference has its standard error. All else "
        "are medians; seconds include the held-out evaluations, not those on test data. Marks: "
        "the first epoch whose test accuracy is there, in brackets how many seeds come there."
    )


def _task_notes(task: dict[str, Any], seeds: int) -> list[str]:
    """Say how threads and settings were found, and what finding them cost."""
    runs = "splits" if task["task"] == "digits" else "seeds"
    low, high = task["marks"]
    note = f"`{task['task']}`: {task['about']}; {seeds} {runs}; marks {low:g} % and {high:g} %."
    for rival, threads in task["threads"].items():
        times = task["thread_seconds"][rival]
        tried = "; ".join(f"{n} took {seconds:.3f} s" for n, seconds in times.items())
        reason = f", the fastest in a short trial ({tried})" if tried else ""
        note += f" {rival} on {threads} thread(s){reason}."
    return [f"{note} {OURS} on all CPUs.", *(_search_note(task, s) for s in task["searches"])]


def _search_note(task: dict[str, Any], search: dict[str, Any]) -> str:
    """Say what was chosen from, and whether the winner is at an edge of it."""
    losses = ", ".join(
        f"{setting}: {'failed' if loss is None else f'{loss:.4f}'}"
        for setting, loss in search["tried"].items()
    )
    note = (
        f"`{task['task']}`, {search['peer']}: setting chosen by the validation loss of seed 0 "
        f"({losses}); this search took {search['seconds']:.1f} s, not counted in the table."
    )
    if search["around"]:
        note += (
            f" The list was shortened to the {len(search['tried'])} settings nearest to the "
            f"winner of `{search['around']}` ({search['around_setting']})."
        )
    if search["edges"]:
        note += (
            f" **Warning: the winner ({search['winner']}) lies at an edge of what was tried "
            f"({', '.join(search['edges'])}).**"
        )
    return note


def figure(task: dict[str, Any]) -> Any:
    """Draw one task: validation loss and test accuracy over seconds."""
    by_peer = _by_peer(task)
    drawn = new_figure(9.6, 4.6)
    loss, accuracy = drawn.subplots(1, 2)
    _loss_panel(loss, by_peer)
    _accuracy_panel(accuracy, by_peer)
    for ax in (loss, accuracy):
        log_seconds(ax)
        ax.set_xlabel("seconds", fontsize=FONT)
        ax.tick_params(labelsize=FONT - 2)
        ax.grid(which="major", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(f"{task['task']}: {task['about']}", fontsize=FONT + 1)
    handles, labels = accuracy.get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=len(handles), fontsize=FONT,
        frameon=False,
    )  # fmt: skip
    return drawn


def _median_run(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the (lower) median of the best held-out loss."""
    ordered = sorted(records, key=lambda r: r["best_validation"])
    return ordered[(len(ordered) - 1) // 2]


def _curves(ax: Any, records: list[dict[str, Any]], peer: str, key: str, factor: float) -> None:
    """Draw every seed, the median one in bold with its best epoch as a dot."""
    median = _median_run(records)
    for record in records:
        bold = record is median
        ax.plot(
            record["seconds"], factor * np.array(record[key], float), color=COLORS[peer],
            linewidth=2.0 if bold else 0.9, alpha=1.0 if bold else 0.3, zorder=3 if bold else 2,
            label=peer if bold else None,
        )  # fmt: skip
    ax.plot(
        median["best_seconds"], factor * median[key][median["best_epoch"] - 1], "o",
        color=COLORS[peer], markersize=8, markeredgecolor="white", markeredgewidth=1.3, zorder=4,
    )  # fmt: skip


def _with_curves(by_peer: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        peer: records
        for peer, records in by_peer.items()
        if all(record["best_epoch"] for record in records)
    }


def _loss_panel(ax: Any, by_peer: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the validation loss; the first epochs are no news, the room is for the end."""
    drawn = _with_curves(by_peer)
    for peer, records in drawn.items():
        _curves(ax, records, peer, "validation", 1.0)
    best = [r["best_validation"] for records in drawn.values() for r in records]
    lowest = min(best)
    highest = max(r["validation"][0] for records in drawn.values() for r in records)
    top = min(highest, max(4.0 * lowest, 1.3 * max(best)), 8.0 * lowest)
    ax.set_yscale("log")
    ax.set_ylim(0.9 * lowest, 1.1 * top)
    _plain_numbers(ax)
    ax.set_ylabel("validation cross-entropy", fontsize=FONT)
    ax.text(
        0.98, 0.97, "bold: median seed\ndot: its best epoch", transform=ax.transAxes,
        ha="right", va="top", fontsize=FONT - 2, color="#555555",
    )  # fmt: skip


def _plain_numbers(ax: Any) -> None:
    """Label a logarithmic y axis of a decade or less with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _accuracy_panel(ax: Any, by_peer: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the test accuracy; a peer without a curve has a point for every run."""
    with_curves = _with_curves(by_peer)
    finals = {p: 100 * np.array([r["accuracy"] for r in by_peer[p]]) for p in by_peer}
    top = max(float(values.max()) for values in finals.values())
    bottom = max(min(float(values.min()) for values in finals.values()) - 0.5, top - 8.0)
    for peer, records in by_peer.items():
        if peer in with_curves:
            _curves(ax, records, peer, "test", 100.0)
            continue
        x = [r["total_seconds"] for r in records]
        ax.scatter(x, finals[peer], s=36, color=COLORS[peer], alpha=0.4, linewidths=0)
        ax.plot(
            np.median(x), np.mean(finals[peer]), "D", color=COLORS[peer], markersize=9,
            markeredgecolor="white", markeredgewidth=1.3, label=f"{peer} (end)",
        )  # fmt: skip
    low = [f"{p} at {v.mean():.1f} %" for p, v in finals.items() if v.mean() < bottom]
    if low:
        ax.text(
            0.02, 0.02, f"below: {', '.join(low)}", transform=ax.transAxes, fontsize=FONT - 2,
            color="#555555",
        )  # fmt: skip
    ax.set_ylim(bottom, top + 0.05 * (top - bottom))
    ax.set_ylabel("test accuracy in %", fontsize=FONT)


def main() -> None:
    """Write generalise.md and the figures again."""
    folder = Path(sys.argv[1])
    results = json.loads((folder / "results.json").read_text())
    (folder / "generalise.md").write_text(table(results))
    for task in results["tasks"]:
        save(figure(task), folder / f"generalise_{task['task']}.png")


if __name__ == "__main__":
    main()
