"""Draw train_circle.png and train_checkerboard.png from the train.json of bench_train.py.

Run ``python bench/plot_train.py DIR`` (or the path of a train.json).  Bold lines are the lowest
loss so far of the seed with the median time to the target; faint ones are all its evaluations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FONT", "figure", "log_seconds", "new_figure", "save"]

FONT = 11
FROZEN = "frozen features"
COLORS = {
    "quasi-newton": "#0072b2",
    "alternating": "#56b4e9",
    "torch L-BFGS": "#009e73",
    FROZEN: "#555555",
}
#: One hue for all rates of Adam, darker for larger ones.
ADAM_COLORS = ("#f6c177", "#ee9a3a", "#d55e00", "#8f3a00")
OTHER_COLORS = ("#cc79a7", "#7b5ea7", "#999933", "#000000")


def new_figure(width: float, height: float) -> Any:
    """Return a figure with a canvas of its own (pyplot would keep it and pick a window system)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def log_seconds(ax: Any) -> None:
    """Make the x axis logarithmic, with plain numbers that do not collide in a short range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    low, high = np.log10(ax.dataLim.intervalx) if np.isfinite(ax.dataLim.width) else (0.0, 9.0)
    subs = (1.0, 2.0, 5.0) if high - low < 1.6 else (1.0,)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> None:
    """Write a PNG whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=150, format="png", facecolor="white")
    part.replace(path)


def figure(records: Sequence[dict[str, Any]], target: float) -> Any:
    """Draw one panel per network shape, in the order of the records."""
    shapes = list(dict.fromkeys(record["shape"] for record in records))
    peers = list(dict.fromkeys(record["peer"] for record in records))
    colors = _colors(peers)
    drawn = new_figure(max(5.4, 3.3 * len(shapes)), 4.4)
    axes = drawn.subplots(1, len(shapes), squeeze=False, sharey=True)[0]
    bottom = 0.4 * target
    for ax, shape in zip(axes, shapes, strict=True):
        ax.set_yscale("log")
        for peer in peers:
            runs = [r for r in records if (r["shape"], r["peer"]) == (shape, peer)]
            if runs and peer == FROZEN:
                _frozen(ax, runs, bottom)
            elif runs:
                _line(ax, median_run(runs), peer, colors[peer])
        ax.axhline(target, color="#888888", linewidth=1.0, linestyle="--", label="target")
        log_seconds(ax)
        ax.set_title(shape, fontsize=FONT + 1)
        ax.set_xlabel("seconds", fontsize=FONT)
        ax.tick_params(labelsize=FONT - 2)
        ax.grid(which="major", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(bottom, 3.0)
    axes[0].set_ylabel("training cross-entropy", fontsize=FONT)
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    drawn.legend(
        handles.values(), handles.keys(), loc="outside lower center",
        ncols=max(3, min(5, 1 + len(shapes))), fontsize=FONT, frameon=False,
    )  # fmt: skip
    return drawn


def median_run(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the (lower) median time to the target; failures come last, by loss."""
    ordered = sorted(runs, key=lambda run: (run["reached"], run["best"]))
    return ordered[(len(ordered) - 1) // 2]


def _line(ax: Any, run: dict[str, Any], peer: str, color: str) -> None:
    """Draw the lowest loss so far, and all evaluations faintly."""
    seconds, loss = np.array(run["seconds"], float), np.array(run["loss"], float)
    shown = (seconds > 0.0) & np.isfinite(loss)
    seconds, loss = seconds[shown], loss[shown]
    ours = not peer.startswith("torch")
    ax.plot(seconds, loss, color=color, linewidth=0.7, alpha=0.3)
    ax.plot(
        seconds, np.minimum.accumulate(loss), color=color, linewidth=2.2 if ours else 1.5,
        label=peer, zorder=4 if ours else 3, drawstyle="steps-post",
    )  # fmt: skip
    if np.isfinite(run["reached"]):
        ax.plot(
            seconds[-1], loss[-1], "o", color=color, markersize=6, markeredgecolor="white",
            markeredgewidth=1.0, zorder=5,
        )  # fmt: skip


def _frozen(ax: Any, runs: Sequence[dict[str, Any]], bottom: float) -> None:
    """Draw the median of where the frozen features end; below the panel, say so in words."""
    value = float(np.median([run["best"] for run in runs]))
    ax.axhline(value, color=COLORS[FROZEN], linewidth=1.6, linestyle=":", label=FROZEN)
    if value < bottom:
        ax.text(
            0.03, 0.02, f"{FROZEN} end below, at {value:.0e}", transform=ax.transAxes,
            fontsize=FONT - 2, color=COLORS[FROZEN],
        )  # fmt: skip


def _colors(peers: Sequence[str]) -> dict[str, str]:
    """Return a colour for every peer."""
    adam = sorted((p for p in peers if p.startswith("torch Adam ")), key=lambda p: float(p[11:]))
    shades = dict(zip(adam, _spaced(ADAM_COLORS, len(adam)), strict=True))
    found, others = {}, iter(OTHER_COLORS * len(peers))
    for peer in peers:
        found[peer] = COLORS.get(peer) or shades.get(peer) or next(others)
    return found


def _spaced(colors: Sequence[str], count: int) -> list[str]:
    """Return `count` of the colours, evenly spaced."""
    positions = np.linspace(0, len(colors) - 1, max(count, 1)) if count > 1 else [2]
    return [colors[round(float(p))] for p in positions][:count]


def main() -> None:
    """Write one picture per task of train.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="train.json, or the folder it is in")
    parser.add_argument("--out", type=Path, help="folder for the pictures; default beside it")
    parser.add_argument("--target", type=float, default=1e-3)
    arguments = parser.parse_args()
    source = arguments.source
    source = source / "train.json" if source.is_dir() else source
    out = source.parent if arguments.out is None else arguments.out
    out.mkdir(parents=True, exist_ok=True)
    records = json.loads(source.read_text())
    for task in dict.fromkeys(record["task"] for record in records):
        path = out / f"train_{task}.png"
        save(figure([r for r in records if r["task"] == task], arguments.target), path)
        print(path)


if __name__ == "__main__":
    main()
