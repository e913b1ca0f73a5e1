"""What the figures of all experiments share, without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FONT = 11


@dataclass(frozen=True)
class Style:
    """How a model is named and drawn."""

    title: str
    color: str


def new_figure(width: float, height: float) -> Any:
    """Return a figure with a canvas of its own (pyplot would keep it and pick a window system)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a PNG whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=150, format="png", facecolor="white")
    part.replace(path)


def write(figures: Mapping[str, Any], out: Path) -> list[Path]:
    """Save figures by their file names into a folder; return the paths."""
    for name, figure in figures.items():
        save(figure, out / name)
    return [out / name for name in figures]


def band(
    ax: Any,
    runs: Sequence[Mapping[str, Any]],
    name: str,
    over: str,
    style: Style,
    *,
    label: str | None = None,
    **line: Any,
) -> None:
    """Draw the mean over the seeds and the band from the smallest to the largest value.

    The curve `over` of the runs has the abscissae; without it the values are counted from 0.
    `line` goes to ``Axes.plot``.
    """
    length = min(len(run[name]) for run in runs)
    values = np.array([run[name][:length] for run in runs], dtype=float) * scale(name)
    x = np.arange(length)
    if over in runs[0]:
        x = np.mean([run[over][:length] for run in runs], axis=0)
    if label is None:
        label = style.title
        label += f", mean and range of {len(runs)} seeds" if len(runs) > 1 else ", one seed"
    ax.plot(x, values.mean(axis=0), color=style.color, linewidth=1.8, label=label, **line)
    if len(runs) > 1:
        ax.fill_between(
            x, values.min(axis=0), values.max(axis=0), color=style.color, alpha=0.22, linewidth=0
        )


def scale(name: str) -> float:
    """Return the factor from a curve's values to those drawn: accuracies are in per cent."""
    return 100.0 if name == "accuracy" else 1.0


def unique_handles(axes: Sequence[Any]) -> dict[str, Any]:
    """Return one legend handle by label."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found
