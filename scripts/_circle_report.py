"""Table and figures of the circle experiment, from its results alone."""

from __future__ import annotations

from pathlib import Path

from lysep_fast.datasets.synthetic import CIRCLE_RADIUS

from . import _classification_figures as figures
from ._classification_report import SHORT, ClassificationReport
from ._figures import write

__all__ = ["SHORT", "Report"]


class Report(ClassificationReport):
    """Turns the results into text and pictures; the arguments are those of `ReportBase`."""

    row_header = "row (depth, width)"
    heading = "Circle in/out: Table 5.1"

    def row_text(self) -> str:
        """Return what the name of a row consists of."""
        return "Row: number (depth, width)."

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].depth}, {self.rows[k].width})"

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        return f"depth {self.rows[k].depth}, width {self.rows[k].width}"

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        data = next(iter(self.cases.values())).data
        border = figures.circle(CIRCLE_RADIUS)
        shown = {
            m: style for m, style in self.models.items() if m in ("descent", "lysep", "frozen")
        }
        columns = []
        for k in self.cases:
            found = {model: self.prediction(k, model) for model in shown}
            known = {model: p for model, p in found.items() if p is not None}
            columns.append(figures.Maps(self.title(k), data, border, known))
        drawn = {
            "test_labels.png": figures.labels(data.X_test, data.y_test, border),
            **self.curve_figures(list(self.cases)),
            "predictions.png": figures.predictions(columns, shown),
        }
        return write(drawn, out)
