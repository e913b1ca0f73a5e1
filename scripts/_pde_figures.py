"""Figures of the experiment on differential equations: errors, losses, solutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._figures import FONT, Style, band, new_figure, unique_handles
from ._pde_recorder import Judge
from ._pde_tasks import MAIN, MODELS

COLORS = {
    MAIN: "#0072b2",
    "nesterov": "#56b4e9",
    "alternating": "#009e73",
    "random-features": "#999999",
    "wide": "#000000",
    "adam": "#e69f00",
    "lbfgs": "#d55e00",
    "adam-lbfgs": "#cc79a7",
}
STYLES = {name: Style(model.title, COLORS[name]) for name, model in MODELS.items()}
#: Without iterations: a point instead of a curve.
ONE_SHOT = ("random-features", "wide")
Curves = Mapping[str, Sequence[Mapping[str, Any]]]
_POINTS = 80


def errors(problems: Mapping[str, Curves]) -> Any:
    """Draw the error of every model over seconds, one panel per equation."""
    columns = min(len(problems), 5)
    rows = -(-len(problems) // columns)
    figure = new_figure(max(3.2 * columns, 6.0), 2.9 * rows + 1.6)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (problem, curves) in zip(axes, problems.items(), strict=False):
        _panel(ax, curves, "error", "seconds", list(MODELS))
        main = curves[MAIN]
        ax.axvline(
            np.median([run["seconds"][-1] for run in main]), color="#444444", linewidth=0.9,
            linestyle=":", label="equal time",
        )  # fmt: skip
        ax.set_title(problem, fontsize=FONT)
        ax.set_xlabel("seconds", fontsize=FONT - 1)
    for ax in axes[len(problems) :]:
        ax.set_axis_off()
    for ax in axes[::columns]:
        ax.set_ylabel("relative $L^2$ error", fontsize=FONT)
    _legend(figure, axes, columns)
    return figure


def losses(problem: str, curves: Curves) -> Any:
    """Draw J of every model that iterates over iterations, mean and band."""
    figure = new_figure(7.0, 5.6)
    ax = figure.subplots()
    _panel(ax, curves, "J", "iterations", [name for name in MODELS if name not in ONE_SHOT])
    n = len(curves[MAIN])
    seeds = f"mean and range of {n} seeds" if n > 1 else "one seed"
    ax.set_title(f"{problem}: {seeds}", fontsize=FONT + 1)
    ax.set_xlabel("iterations or sweeps", fontsize=FONT)
    ax.set_ylabel("lowest J so far", fontsize=FONT)
    _legend(figure, [ax], 2)
    return figure


def solutions(
    maps: Mapping[str, tuple[Judge, Mapping[str, np.ndarray | None]]], shape: tuple[int, int]
) -> Any:
    """Draw exact solutions, and errors of some models at equal time, first seed."""
    models = [m for m in MODELS if any(found.get(m) is not None for _, found in maps.values())]
    columns = 1 + len(models)
    figure = new_figure(max(3.3 * columns, 6.0), max(2.8 * len(maps) + 0.4, 4.2))
    grid = figure.subplots(len(maps), columns, squeeze=False)
    for axes, (problem, (judge, found)) in zip(grid, maps.items(), strict=True):
        assert judge.problem.solution is not None
        assert judge.grid is not None
        ends = judge.grid[[0, -1]].T.ravel()
        exact = judge.problem.solution(judge.grid)
        _map(figure, axes[0], exact.reshape(shape), ends, f"{problem}: solution", "RdBu_r")
        for ax, model in zip(axes[1:], models, strict=True):
            difference = found.get(model)
            if difference is None:
                ax.set_axis_off()
                continue
            size = np.log10(np.maximum(np.abs(difference), 1e-16)).reshape(shape)
            title = f"log10 |error|, {STYLES[model].title}"
            _map(figure, ax, size, ends, title, "viridis")
    return figure


def _map(
    figure: Any, ax: Any, values: np.ndarray, ends: np.ndarray, title: str, colors: str
) -> None:
    image = ax.imshow(values.T, origin="lower", extent=tuple(ends), cmap=colors, aspect="equal")
    figure.colorbar(image, ax=ax)
    ax.set_title(title, fontsize=FONT - 1)
    ax.tick_params(labelsize=FONT - 2)


def _panel(ax: Any, curves: Curves, name: str, over: str, models: Sequence[str]) -> None:
    for model in models:
        runs, style = curves[model], STYLES[model]
        if not runs:
            continue
        if model in ONE_SHOT:
            points = [(run[over][-1], run[name][-1]) for run in runs]
            ax.plot(*zip(*points, strict=True), "o", color=style.color, markersize=4,
                    label=style.title)  # fmt: skip
        else:
            band(ax, _common(runs, name, over), name, over, style, label=style.title)
    ax.set(xscale="log", yscale="log")
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=FONT - 2)


def _common(
    runs: Sequence[Mapping[str, Any]], name: str, over: str
) -> list[dict[str, np.ndarray]]:
    """Return the runs' curves at common abscissae: the last value that is known there."""
    first = max(next((x for x in run[over] if x > 0), 1.0) for run in runs)
    last = max(first, min(run[over][-1] for run in runs))
    x = np.geomspace(first, last, _POINTS)
    found = []
    for run in runs:
        values = np.array([np.nan if v is None else v for v in run[name]], float)
        position = np.searchsorted(run[over], x * (1 + 1e-9), side="right") - 1
        found.append({over: x, name: values[np.maximum(position, 0)]})
    return found


def _legend(figure: Any, axes: Sequence[Any], columns: int) -> None:
    handles = unique_handles(axes)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", fontsize=FONT - 1,
        ncols=min(len(handles), max(2, columns)), frameon=False,
    )  # fmt: skip
