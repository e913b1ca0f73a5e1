"""Figures of the MNIST experiment: curves of every network, and a page of wrong digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._figures import FONT, Style, band, new_figure, scale, unique_handles

MODELS = {
    "descent": Style("CE-CNN", "#d55e00"),
    "lysep": Style("LySep-CNN", "#0072b2"),
    "literal": Style("literal Algorithm 2", "#cc79a7"),
    "fast": Style("mini-batch solver", "#009e73"),
    "adam": Style("Adam", "#555555"),
    "lbfgs": Style("L-BFGS", "#e69f00"),
}
COLUMNS = 3
MOST_DIGITS = 60
Y_LABELS = {"loss": "training loss (mean CE)", "accuracy": "training accuracy in %"}
X_LABELS = {"passes": "passes over the training images", "seconds": "seconds"}
# Up to here the abscissae are linear, from here on logarithmic.
LINEAR_UP_TO = {"passes": 0.1, "seconds": 1.0}


@dataclass(frozen=True)
class Panel:
    """A network: its name, the curves of every run by model, and the paper's figures by model."""

    title: str
    runs: Mapping[str, Sequence[Mapping[str, Any]]]
    paper: Mapping[str, float]


def curves(panels: Sequence[Panel], name: str, over: str) -> Any:
    """Draw the loss or the accuracy of every network over passes or seconds."""
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(max(3.7 * columns, 6.4), (3.0 if lines > 1 else 3.6) * lines + 1.4)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for panel, ax in zip(panels, axes.ravel(), strict=False):
        _panel(ax, panel, name, over)
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    if name == "accuracy":
        axes[0, 0].set_ylim(_floor(panels), 100.4)
    for ax in axes[:, 0]:
        ax.set_ylabel(Y_LABELS[name], fontsize=FONT)
    for ax in axes[-1]:
        ax.set_xlabel(X_LABELS[over], fontsize=FONT)
    handles = unique_handles(axes.ravel())
    n_seeds = max(len(runs) for panel in panels for runs in panel.runs.values())
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center",
        ncols=COLUMNS if columns == COLUMNS else 2, fontsize=FONT, frameon=False,
        title=f"mean and range of {n_seeds} seeds" if n_seeds > 1 else "one seed",
        title_fontsize=FONT,
    )  # fmt: skip
    return figure


def _panel(ax: Any, panel: Panel, name: str, over: str) -> None:
    """Draw one network."""
    for model, runs in panel.runs.items():
        if runs:
            band(ax, runs, name, over, MODELS[model], label=MODELS[model].title, marker=".")
    lysep = panel.runs.get("lysep")
    if name == "loss":
        ax.set_yscale("log")
        if lysep:
            label = f"{MODELS['lysep'].title}, separated loss LS"
            band(ax, lysep, "separated_loss", over, MODELS["lysep"], label=label, linestyle="--")
    for model, value in panel.paper.items():
        ax.axhline(
            value * scale(name), color=MODELS[model].color, linestyle=":", linewidth=1.4,
            label=f"{MODELS[model].title} in the paper, at the end",
        )  # fmt: skip
    ax.set_xscale("symlog", linthresh=LINEAR_UP_TO[over], linscale=0.4)
    ax.set_xlim(left=0.0)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_title(panel.title, fontsize=FONT + 1)
    ax.tick_params(labelsize=FONT - 1)
    ax.grid(alpha=0.3)


def _floor(panels: Sequence[Panel]) -> float:
    """Return the least accuracy to be drawn, in per cent: a little below the worst at the end."""
    ends = [
        100.0 * run["accuracy"][-1]
        for panel in panels
        for runs in panel.runs.values()
        for run in runs
        if run["accuracy"][-1] is not None
    ]
    lowest = min([*ends, *(100.0 * v for panel in panels for v in panel.paper.values())])
    return float(max(0.0, 5.0 * np.floor(lowest / 5.0 - 0.2)))


def mistakes(
    X: np.ndarray, y: np.ndarray, predicted: np.ndarray, title: str, columns: int = 10
) -> Any:
    """Draw the images that are classified wrongly, at most `MOST_DIGITS`, with both labels."""
    wrong = np.flatnonzero(predicted != y)
    shown = wrong[:MOST_DIGITS]
    lines = max(1, -(-len(shown) // columns))
    figure = new_figure(0.98 * columns, 1.16 * lines + 0.9)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    edge = int(np.sqrt(X.shape[1]))
    for ax in axes:
        ax.set_axis_off()
    for ax, i in zip(axes, shown, strict=False):
        ax.imshow(X[i].reshape(edge, edge), cmap="gray_r", vmin=0.0, vmax=1.0)
        ax.set_title(f"{y[i]} as {predicted[i]}", fontsize=FONT - 1, pad=2.0)
    count = f"{len(wrong)} of {len(y)} test images wrong"
    if len(shown) < len(wrong):
        count += f", the first {len(shown)} of them"
    figure.suptitle(f"{title}: {count}\n(true label as predicted label)", fontsize=FONT + 1)
    return figure
