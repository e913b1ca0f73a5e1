"""Table and figures of the interface experiment, from its results and the solution's slices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lysep_fast.datasets.allen_cahn import interpolate_periodic

from . import _classification_figures as figures
from ._classification_report import SHORT, ClassificationReport
from ._figures import write

__all__ = ["SHORT", "Report"]

#: Rows of pictures in Figure 5.4.
SHOWN = {"truth": figures.TRUTH, **{m: figures.MODELS[m] for m in ("descent", "lysep")}}


class Report(ClassificationReport):
    """Turns the results into text and pictures.

    Parameters
    ----------
    arguments
        Those of `ReportBase`.
    fields : mapping
        The solution on its grid, by the number of the slice.
    """

    row_header = "row (depth, width), slice"
    heading = "Interface tracking: Table 5.2"

    def __init__(self, *arguments: Any, fields: Mapping[int, np.ndarray]) -> None:
        super().__init__(*arguments)
        self.fields = fields

    def row_text(self) -> str:
        """Return what the name of a row consists of, and the shares of the classes."""
        shares = ", ".join(f"{100 * np.mean(u > 0):.1f}" for u in self.fields.values())
        return (
            "Row: number (depth, width) and time of the slice. In the slices "
            f"{shares} % of the square are inside the interface: a network that sees nothing "
            "calls everything outside."
        )

    def time(self, k: int) -> float:
        """Return the time of a row's slice."""
        times = self.cases[k].data_settings["times"]
        return float(times[self.rows[k].part - 1])

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].depth}, {self.rows[k].width}), t = {self.time(k):g}"

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        return f"t = {self.time(k):g}"

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder, one of each kind for every network; return the paths."""
        drawn: dict[str, Any] = {}
        for network in dict.fromkeys(self._network(k) for k in self.cases):
            rows = [k for k in self.cases if self._network(k) == network]
            suffix = "_{}x{}".format(*network)
            columns = [self._column(k) for k in rows]
            drawn[f"interface{suffix}.png"] = figures.predictions(columns, SHOWN)
            drawn |= self.curve_figures(rows, suffix)
        return write(drawn, out)

    def _network(self, k: int) -> tuple[int, int]:
        return self.rows[k].depth, self.rows[k].width

    def _column(self, k: int) -> figures.Maps:
        data, u = self.cases[k].data, self.fields[self.rows[k].part]
        truth = (interpolate_periodic(u, data.map_points) > 0).astype(int)
        found = {model: self.prediction(k, model) for model in SHOWN if model != "truth"}
        known = {model: p for model, p in found.items() if p is not None}
        known["truth"] = figures.Prediction(data.y_test, truth)
        return figures.Maps(self.title(k), data, figures.zero_level(u), known)
