"""Figures of the classification experiments: labels, curves, decision maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._figures import FONT, Style, band, new_figure, scale, unique_handles
from ._models import Data

MODELS = {
    "descent": Style("CE-FNN", "#d55e00"),
    "lysep": Style("LySep-FNN", "#0072b2"),
    "fast": Style("fast solver", "#009e73"),
    "lbfgs": Style("L-BFGS", "#cc79a7"),
    "adam": Style("Adam", "#e0a000"),
    "frozen": Style("frozen features", "#555555"),
}
TRUTH = Style("true interface", "black")
# Class colours for points, and pale ones of the same hue for the map behind them.
CLASS_COLORS = ("#3b6fb6", "#e08a1e")
MAP_COLORS = ("#d3e1f2", "#fae3c3")
WRONG_COLOR = "#c00000"

Statistics = tuple[float, float] | None
#: Draws the true border of the classes.
Border = Callable[[Any], None]
#: Title, curves of every run by model, and mean and spread of the frozen features' figures.
CurveColumn = tuple[str, Mapping[str, Sequence[Mapping[str, Any]]], Statistics, Statistics]


@dataclass(frozen=True)
class Prediction:
    """Predicted classes of the test points and of the points of the map."""

    test: np.ndarray
    map: np.ndarray


@dataclass(frozen=True)
class Maps:
    """A column of decision maps: its data, the true border, and predictions by model."""

    title: str
    data: Data
    border: Border
    predictions: Mapping[str, Prediction]


def labels(X: np.ndarray, y: np.ndarray, border: Border) -> Any:
    """Draw points by their class, and the border (Figure 5.1)."""
    figure = new_figure(5.6, 5.2)
    ax = figure.subplots()
    for value, text in ((0, "outside"), (1, "inside")):
        chosen = y == value
        ax.scatter(
            *X[chosen].T, s=14, color=CLASS_COLORS[value], linewidths=0,
            label=f"{text}: {int(chosen.sum())} points",
        )  # fmt: skip
    border(ax)
    _square(ax, f"Labels of the {len(y)} test points")
    ax.set_xlabel("$x_1$", fontsize=FONT)
    ax.set_ylabel("$x_2$", fontsize=FONT)
    figure.legend(loc="outside lower center", ncols=2, fontsize=FONT, frameon=False, markerscale=2)
    return figure


def curves(columns: Sequence[CurveColumn], over: str) -> Any:
    """Draw loss and accuracy of every column over iterations or seconds (Figure 5.2)."""
    figure = new_figure(max(3.3 * len(columns), 5.2), 7.0)
    grid = figure.subplots(2, len(columns), squeeze=False, sharey="row", sharex="col")
    for (title, by_model, frozen_loss, frozen_accuracy), (top, bottom) in zip(
        columns, grid.T, strict=True
    ):
        top.set_yscale("log")
        for ax, name, frozen in (
            (top, "loss", frozen_loss),
            (bottom, "accuracy", frozen_accuracy),
        ):
            for model, runs in by_model.items():
                if runs:
                    band(ax, runs, name, over, MODELS[model])
            if over == "iterations":
                ax.set_xscale("symlog", linthresh=1.0, linscale=0.3)
            else:
                ax.set_xscale("log")
            if frozen is not None:
                _level(ax, name, frozen[0])
            ax.tick_params(labelsize=FONT - 1)
            ax.grid(alpha=0.3)
        top.set_title(title, fontsize=FONT + 1)
        x_label = "sweep or iteration" if over == "iterations" else "seconds"
        bottom.set_xlabel(x_label, fontsize=FONT)
    grid[0, 0].set_ylabel("training loss (mean CE)", fontsize=FONT)
    grid[1, 0].set_ylabel("training accuracy in %", fontsize=FONT)
    handles = unique_handles(grid.ravel())
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center",
        ncols=3 if len(columns) > 2 else 1, fontsize=FONT, frameon=False,
    )  # fmt: skip
    return figure


def _level(ax: Any, name: str, value: float) -> None:
    """Draw where the frozen features end; far below the curves' losses, say so in words."""
    style = MODELS["frozen"]
    lowest = ax.dataLim.minposy  # infinite when there is nothing to draw
    below = name == "loss" and np.isfinite(lowest) and value < 0.1 * lowest
    ax.axhline(
        value * scale(name), color=style.color, linestyle="--", linewidth=1.4,
        label=f"{style.title}, at the end",
    )  # fmt: skip
    if below:
        ax.set_ylim(bottom=0.1 * lowest)
        ax.text(
            0.03, 0.03, f"{style.title} end at {value:.0e}, below", transform=ax.transAxes,
            fontsize=FONT - 1, color=style.color,
        )  # fmt: skip


def predictions(columns: Sequence[Maps], styles: Mapping[str, Style]) -> Any:
    """Draw decision maps and the test points that they get wrong (Figures 5.3 and 5.4).

    There is a row for every style whose key has a prediction in some column.
    """
    models = [model for model in styles if any(model in c.predictions for c in columns)]
    figure = new_figure(max(3.1 * len(columns), 5.0), 3.3 * len(models) + 0.5)
    grid = figure.subplots(len(models), len(columns), squeeze=False)
    for column, axes in zip(columns, grid.T, strict=True):
        for model, ax in zip(models, axes, strict=True):
            if model not in column.predictions:
                ax.set_axis_off()
                continue
            title = f"{styles[model].title}\n{column.title}"
            if styles[model] is not TRUTH:
                y = column.data.y_test
                title += f"\n{int(np.sum(column.predictions[model].test != y))} of {len(y)} wrong"
            _decision_map(ax, column, column.predictions[model])
            _square(ax, title)
    figure.legend(
        handles=_map_legend(), loc="outside lower center", ncols=2, fontsize=FONT, frameon=False
    )
    return figure


def _decision_map(ax: Any, column: Maps, prediction: Prediction) -> None:
    from matplotlib.colors import ListedColormap

    side = int(np.sqrt(len(prediction.map)))
    ax.imshow(
        prediction.map.reshape(side, side), origin="lower", extent=(-1, 1, -1, 1), vmin=0, vmax=1,
        cmap=ListedColormap(MAP_COLORS), interpolation="nearest",
    )  # fmt: skip
    X = column.data.X_test
    right = prediction.test == column.data.y_test
    colors = np.array(CLASS_COLORS)[prediction.test]
    ax.scatter(*X[right].T, s=4, c=colors[right], linewidths=0)
    ax.scatter(*X[~right].T, s=26, marker="x", color=WRONG_COLOR, linewidths=1.2)
    column.border(ax)


def _map_legend() -> list[Any]:
    from matplotlib.lines import Line2D

    def point(color: str, text: str, marker: str = "o") -> Any:
        return Line2D([], [], color=color, marker=marker, linestyle="", markersize=7, label=text)

    return [
        point(CLASS_COLORS[1], "predicted inside"),
        point(CLASS_COLORS[0], "predicted outside"),
        point(WRONG_COLOR, "wrong", "x"),
        Line2D([], [], color="black", linewidth=1.2, label="true border"),
    ]


def circle(radius: float) -> Border:
    """Return the border that is a circle around the origin."""

    def draw(ax: Any) -> None:
        from matplotlib.patches import Circle

        ax.add_patch(Circle((0, 0), radius, fill=False, color="black", linewidth=1.2))

    return draw


def zero_level(u: np.ndarray) -> Border:
    """Return the border where a periodic function on the grid of (-1, 1)^2 is zero."""
    n = len(u)

    def draw(ax: Any) -> None:
        x = -1.0 + 2.0 / n * np.arange(n + 1)
        whole = np.pad(u, (0, 1), mode="wrap")
        ax.contour(x, x, whole.T, levels=[0.0], colors="black", linewidths=1.2)

    return draw


def _square(ax: Any, title: str) -> None:
    # A little more than the square, so that marks at its border are whole.
    limits = (-1.04, 1.04)
    ax.set(xlim=limits, ylim=limits, aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.set_title(title, fontsize=FONT)
    ax.tick_params(labelsize=FONT - 1)
