"""Table and figure of bench_generalise.py; by itself, redraws them from a generalise.json.

Run ``python bench/generalise_report.py DIR`` in a folder with generalise.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from plot_train import FONT, log_seconds, new_figure, save

OURS = "lysep_fast"
COLORS = {
    OURS: "#0072b2",
    "torch Adam": "#e69f00",
    "torch AdamW": "#d55e00",
    "scikit-learn MLP": "#009e73",
}


def _chosen(task: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of the chosen settings by peer, ours first, by seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(task["records"], key=lambda r: (r["peer"] != OURS, r["seed"])):
        if record["chosen"]:
            found.setdefault(record["peer"], []).append(record)
    return found


def table(results: dict[str, Any]) -> str:
    """Return a Markdown table and the notes that belong to it."""
    lines = [
        "| task | peer | test accuracy % | minus ours, paired | s to best epoch | total s "
        "| epochs | setting |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = [_about(results)]
    for task in results["tasks"]:
        by_peer = _chosen(task)
        ours = np.array([100 * r["accuracy"] for r in by_peer[OURS]])
        for peer, records in by_peer.items():
            values = np.array([100 * r["accuracy"] for r in records])
            best = [r["best_seconds"] for r in records if r["best_seconds"] is not None]
            cells = (
                task["task"],
                peer,
                _spread(values, "± "),
                "" if peer == OURS else _spread(values - ours, "± ", standard_error=True),
                f"{np.median(best):.2f}" if best else "",
                f"{np.median([r['total_seconds'] for r in records]):.2f}",
                f"{np.median([r['epochs'] for r in records]):.0f}",
                records[0]["setting"],
            )
            lines.append(f"| {' | '.join(cells)} |")
        notes += _task_notes(task, len(ours))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _spread(values: np.ndarray, sign: str, standard_error: bool = False) -> str:
    """Return mean and standard deviation, or the mean's standard error."""
    if len(values) < 2:
        return f"{values.mean():.2f}"
    spread = values.std(ddof=1) / (np.sqrt(len(values)) if standard_error else 1.0)
    return f"{values.mean():.2f} {sign}{spread:.2f}"


def _about(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    quick = " **A quick trial, not a measurement.**" if results["quick"] else ""
    return (
        f"{results['cpus']} CPUs ({results['processor']}); {versions}.{quick} Accuracy: mean ± "
        "standard deviation over seeds; the paired difference has its standard error. Seconds and "
        "epochs are medians; seconds include the held-out evaluations, not those on test data."
    )


def _task_notes(task: dict[str, Any], seeds: int) -> list[str]:
    """Say how threads and settings were found, and what finding them cost."""
    times = task["thread_seconds"]
    runs = "splits" if task["task"] == "digits" else "seeds"
    tried = "; ".join(f"{n} took {seconds:.3f} s" for n, seconds in times.items())
    notes = [
        f"`{task['task']}`: {task['about']}; {seeds} {runs}. {task['rival']} on {task['threads']} "
        f"thread(s){f', the fastest in a short trial ({tried})' if tried else ''}; "
        f"{OURS} on all CPUs."
    ]
    for peer, settings in task["lists"].items():
        runs = [r for r in task["records"] if r["peer"] == peer and r["seed"] == 0]
        seconds = sum(r["total_seconds"] for r in runs)
        losses = ", ".join(
            f"{r['setting']}: {r['best_validation']:.4f}"
            for r in sorted(runs, key=lambda r: settings.index(r["setting"]))
        )
        notes.append(
            f"`{task['task']}`, {peer}: setting chosen by the validation loss of seed 0 "
            f"({losses}); this search took {seconds:.1f} s, not counted in the table."
        )
    return notes


def figure(results: dict[str, Any]) -> Any:
    """Draw one panel per task: validation loss over seconds, else accuracy over seconds."""
    tasks = results["tasks"]
    drawn = new_figure(max(5.2, 4.3 * len(tasks)), 4.4)
    for ax, task in zip(drawn.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        by_peer = _chosen(task)
        if all(r["validation"] for records in by_peer.values() for r in records):
            _loss_panel(ax, by_peer)
        else:
            _accuracy_panel(ax, by_peer)
        ax.set_title(f"{task['task']}\n{task['about']}", fontsize=FONT)
        log_seconds(ax)
        ax.tick_params(labelsize=FONT - 2)
        ax.grid(which="major", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    handles = {}
    for ax in drawn.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    drawn.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles),
        fontsize=FONT, frameon=False,
    )  # fmt: skip
    return drawn


def _loss_panel(ax: Any, by_peer: dict[str, list[dict[str, Any]]]) -> None:
    """Draw every seed, the one with the median best loss in bold, and its best epoch."""
    for peer, records in by_peer.items():
        ordered = sorted(records, key=lambda r: r["best_validation"])
        median = ordered[(len(ordered) - 1) // 2]
        for record in ordered:
            bold = record is median
            ax.plot(
                record["seconds"], record["validation"], color=COLORS[peer],
                linewidth=2.0 if bold else 0.9, alpha=1.0 if bold else 0.3,
                zorder=3 if bold else 2, label=peer if bold else None,
            )  # fmt: skip
        ax.plot(
            median["best_seconds"], median["best_validation"], "o", color=COLORS[peer],
            markersize=8, markeredgecolor="white", markeredgewidth=1.3, zorder=4,
        )  # fmt: skip
    lowest = min(r["best_validation"] for records in by_peer.values() for r in records)
    highest = max(r["validation"][0] for records in by_peer.values() for r in records)
    # The first epochs are no news: the room is for the end.
    ax.set_ylim(lowest - 0.08 * lowest, min(highest, 4.0 * lowest) + 0.08 * lowest)
    ax.set_xlabel("seconds", fontsize=FONT)
    ax.set_ylabel("validation cross-entropy", fontsize=FONT)
    ax.text(
        0.98, 0.97, "bold: median seed\ndot: its best epoch", transform=ax.transAxes,
        ha="right", va="top", fontsize=FONT - 2, color="#555555",
    )  # fmt: skip


def _accuracy_panel(ax: Any, by_peer: dict[str, list[dict[str, Any]]]) -> None:
    """Draw test accuracy over seconds: every split, and mean accuracy at the median time."""
    for peer, records in by_peer.items():
        x = [r["total_seconds"] for r in records]
        y = [100 * r["accuracy"] for r in records]
        ax.scatter(x, y, s=42, color=COLORS[peer], alpha=0.45, linewidths=0)
        ax.plot(
            np.median(x), np.mean(y), "D", color=COLORS[peer], markersize=9,
            markeredgecolor="white", markeredgewidth=1.3, label=peer,
        )  # fmt: skip
    ax.set_xlabel("seconds (dots: splits, diamond: middle)", fontsize=FONT)
    ax.set_ylabel("test accuracy in %", fontsize=FONT)
    ax.margins(0.12)


def main() -> None:
    """Write generalise.md and generalise.png again."""
    folder = Path(sys.argv[1])
    results = json.loads((folder / "generalise.json").read_text())
    (folder / "generalise.md").write_text(table(results))
    save(figure(results), folder / "generalise.png")


if __name__ == "__main__":
    main()
