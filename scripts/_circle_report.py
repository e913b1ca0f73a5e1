"""Table and figures of the circle experiment, from its results alone."""

from __future__ import annotations

import math
from pathlib import Path

from lysep_fast.datasets.synthetic import CIRCLE_RADIUS

from . import _circle_figures, _figures
from ._models import from_digits
from ._report import NEEDS_TORCH, SHORT, ReportBase, seconds, span
from ._tables import markdown
from ._torch_baseline import how_to_get_torch

__all__ = ["SHORT", "Report"]

MODELS = _circle_figures.MODELS

EXPLANATIONS = (
    "CE-FNN: the same network and data in torch, full-batch gradient descent on the mean "
    "cross-entropy, the rate chosen per row on the first seed.",
    "Frozen features: the hidden layers as LySep-FNN first draws them, only the last layer "
    "trained, to convergence and without regularisation. Wide random layers describe a disk well, "
    "so this task says little about how well hidden layers are trained; compare the test losses.",
    "Seconds are means per run; every model used the same threads (see results.json).",
)


class Report(ReportBase):
    """Turns the results into text and pictures; the arguments are those of `ReportBase`."""

    models = MODELS
    row_header = "row (depth, width)"

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].depth}, {self.rows[k].width})"

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        return f"depth {self.rows[k].depth}, width {self.rows[k].width}"

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        data = next(iter(self.cases.values())).data_settings
        quick = " **Quick settings**: fewer rows, seeds, sweeps and iterations."
        parts = [
            "# Circle in/out: Table 5.1",
            f"{data['n_train']} training and {data['n_test']} test points, the same for all runs; "
            f"mean ± sample standard deviation over {self.seeds_text()}. "
            f"Row: number (depth, width). {self.note}{quick if self.quick else ''}",
            f"{SHORT} marks where our LySep-FNN falls short of the paper's figure.",
            "## Training loss (mean cross-entropy of the network)",
            self.compared_table("loss"),
            "## Training accuracy in %",
            self.compared_table("accuracy"),
            "## Test points",
            self.test_table(),
            "## Work and time",
            self._work_table(),
            "## Remarks",
            "\n".join(f"- {remark}" for remark in self.remarks()),
        ]
        return "\n\n".join(parts) + "\n"

    def _work_table(self) -> str:
        header = ["row", "CE-FNN iterations", "rate", "seconds", "LySep-FNN sweeps", "seconds"]
        rows = []
        for k in self.cases:
            descent, lysep, frozen = (self.runs(k, model) for model in MODELS)
            rows.append(
                [
                    self.name(k),
                    span(descent, "n_iter") or NEEDS_TORCH,
                    f"{descent[0]['rate']:g}" if descent else "",
                    seconds(descent),
                    span(lysep, "n_iter"),
                    seconds(lysep),
                    span(frozen, "n_iter"),
                    seconds(frozen),
                ]
            )
        return markdown([*header, "frozen: L-BFGS iterations", "seconds"], rows)

    def remarks(self) -> list[str]:
        """Return what a reader has to know about the numbers, the bad news first."""
        found = [*self.shortfall_remarks(), *self.rival_remarks()]
        return [*found, self._certificate(), *EXPLANATIONS]

    def advice(self) -> str:
        """Return how to get the baseline when it is missing."""
        return "" if self.has_baseline else how_to_get_torch("CE-FNN baseline needs")

    def _certificate(self) -> str:
        runs = [run for k in self.cases for run in self.runs(k, "lysep")]
        rising = sum(run["F_rises"] > 0 for run in runs)
        largest, ratio = (
            max(math.nan if run[name] is None else run[name] for run in runs)
            for name in ("F_largest_rise", "loss_over_bound")
        )
        rose = (
            f"rose in {rising} of {len(runs)} runs"
            if rising
            else f"never rose in {len(runs)} runs"
        )
        return (
            f"The separated loss F {rose} (largest relative change of a sweep: {largest:+.1e}); "
            f"the cross-entropy was at most {ratio:.2f} of its bound C sqrt(F)."
        )

    # --- pictures ------------------------------------------------------------------------------

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        data = next(iter(self.cases.values())).data
        curves = []
        for k in self.cases:
            runs = {m: [run["curves"] for run in self.runs(k, m)] for m in self.paper_columns}
            frozen = (self.statistics(k, "frozen", name) for name in ("loss", "accuracy"))
            curves.append((self.title(k), runs, *frozen))
        maps = [
            (self.title(k), {m: self._prediction(k, m) for m in MODELS if self.runs(k, m)})
            for k in self.cases
        ]
        figures = {
            "test_labels.png": _circle_figures.labels(data.X_test, data.y_test, CIRCLE_RADIUS),
            "loss_accuracy.png": _circle_figures.curves(curves, "iterations"),
            "loss_accuracy_time.png": _circle_figures.curves(curves, "seconds"),
            "predictions.png": _circle_figures.predictions(data, maps, CIRCLE_RADIUS),
        }
        return _figures.write(figures, out)

    def _prediction(self, k: int, model: str) -> _circle_figures.Prediction:
        run = self.runs(k, model)[0]
        test, points = (from_digits(run[name]) for name in ("test_predictions", "map"))
        return _circle_figures.Prediction(test, points)
