"""Tables of the classification experiments, and the figures they have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import _classification_figures as figures
from ._curves import times_to
from ._models import from_digits
from ._report import NEEDS_TORCH, SHORT, ReportBase, rows_text, seconds, span
from ._tables import loss_text, markdown, mean_std
from ._torch_classifier import RATES
from ._torch_loop import how_to_get_torch

__all__ = ["SHORT", "ClassificationReport"]

MODELS = figures.MODELS
#: Those whose times until a loss are compared.
TIMED = ("lysep", "fast", "lbfgs", "adam", "descent")

#: By model: the rates that are tried.

EXPLANATIONS = (
    "CE-FNN: the same network and data in torch, full-batch gradient descent on the mean "
    "cross-entropy, the rate chosen per row on the first two seeds.",
    "LySep-FNN is the paper's method. The fast solver is `quasi-newton` with its defaults.",
    "L-BFGS and Adam: the same network in torch, on all data; strong Wolfe conditions for L-BFGS, "
    "for Adam the best of three rates per row on the first two seeds. They and the fast solver "
    "stop at a tenth of the paper's LySep loss: compare their times, not how far they got.",
    "Frozen features: the hidden layers as LySep-FNN first draws them, only the last layer "
    "trained, to convergence and without regularisation. What this reaches says little about how "
    "well hidden layers are trained; compare the test losses.",
    "Seconds are means per run; every model used the same threads (see results.json).",
)


class ClassificationReport(ReportBase):
    """Turns the results into text and pictures; the arguments are those of `ReportBase`.

    Subclasses add `heading`, the names of the rows, `row_text` and `draw`.
    """

    models = MODELS
    baselines = ("descent", "lbfgs", "adam")
    heading = ""

    def row_text(self) -> str:
        """Return what the name of a row consists of."""
        raise NotImplementedError

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        raise NotImplementedError

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        data = next(iter(self.cases.values())).data_settings
        quick = " **Quick settings**: fewer rows, seeds, sweeps and iterations."
        parts = [
            f"# {self.heading}",
            f"{data['n_train']} training and {data['n_test']} test points, the same for all runs; "
            f"mean ± sample standard deviation over {self.seeds_text()}. "
            f"{self.row_text()} {self.note}{quick if self.quick else ''}",
            f"{SHORT} marks where our LySep-FNN falls short of the paper's figure.",
            "## Training loss (mean cross-entropy of the network)",
            self.compared_table("loss"),
            "## Training accuracy in %",
            self.compared_table("accuracy"),
            "## Test points",
            self.test_table(),
            "## Seconds until a training loss",
            "Means; in brackets how many of the runs got there, if not all, the others counted "
            "with the whole of their time (≥).",
            self.time_table(),
            "## Work and time",
            self._work_table(),
            "## Searches for a rate",
            "Training loss at the end of short runs with every rate, mean over the seeds that the "
            "search uses; the rate with the least is taken.",
            self.rate_table(),
            "## Remarks",
            "\n".join(f"- {remark}" for remark in self.remarks()),
        ]
        return "\n\n".join(parts) + "\n"

    def time_to(self, k: int, model: str, level: int) -> tuple[float, int, int] | None:
        """Return mean seconds until a level of the loss, how many runs reach it, and of how many.

        A run that does not is counted with all of its time, which makes the mean a lower bound.
        """
        runs = self.runs(k, model)
        if not runs:
            return None
        times = [times_to(run, self.cases[k].levels)[level] for run in runs]
        waited = [run["seconds"] if t is None else t for run, t in zip(runs, times, strict=True)]
        return mean_std(waited)[0], sum(t is not None for t in times), len(runs)

    def time_table(self) -> str:
        """Return the table of the times until the paper's loss and until a tenth of it."""
        titles = [self.models[model].title for model in TIMED]
        rivals = [model for model in TIMED if model not in self.paper_columns]
        header = ["row", "loss", *titles, "a tenth of it"]
        header += [self.models[model].title for model in rivals]
        rows = []
        for k in self.cases:
            paper, tenth = (loss_text(level, 0.0).split("±")[0] for level in self.cases[k].levels)
            cells = [self.name(k), paper, *(self._time_cell(k, model, 0) for model in TIMED)]
            rows.append([*cells, tenth, *(self._time_cell(k, model, 1) for model in rivals)])
        return markdown(header, rows)

    def _time_cell(self, k: int, model: str, level: int) -> str:
        found = self.time_to(k, model, level)
        if found is None:
            return NEEDS_TORCH
        mean, count, total = found
        return f"{mean:.2f}" if count == total else f"≥ {mean:.2f} ({count} of {total})"

    def _work_table(self) -> str:
        units = {"lysep": "sweeps", "lbfgs": "evaluations", "frozen": "L-BFGS iterations"}
        header = ["row"]
        for model, style in self.models.items():
            header += [f"{style.title}: {units.get(model, 'iterations')}"]
            header += ["rate"] * (model in ("descent", "adam")) + ["seconds"]
        rows = []
        for k in self.cases:
            cells = [self.name(k)]
            for model in self.models:
                runs = self.runs(k, model)
                cells.append(span(runs, "n_iter") or NEEDS_TORCH)
                if model in ("descent", "adam"):
                    cells.append(f"{runs[0]['rate']:g}" if runs else "")
                cells.append(seconds(runs))
            rows.append(cells)
        return markdown(header, rows)

    def rate_table(self) -> str:
        """Return the table of what the searches for the rates of the baselines found."""
        header, rows = ["row"], [[self.name(k)] for k in self.cases]
        for model, rates in RATES.items():
            header += [f"{self.models[model].title}, {rate:g}" for rate in rates]
            for k, cells in zip(self.cases, rows, strict=True):
                found = self.results.get(self.cases[k].key(model, "rate"))
                if found is None:
                    cells += [NEEDS_TORCH] * len(rates)
                else:
                    losses = [math.nan if x is None else x for x in found["losses"]]
                    cells += [loss_text(loss, math.nan) for loss in losses]
        return markdown(header, rows)

    # --- sentences -----------------------------------------------------------------------------

    def remarks(self) -> list[str]:
        """Return what a reader has to know about the numbers, the bad news first."""
        found = [*self.shortfall_remarks(), *self.rival_remarks(), *self.race_remarks()]
        return [*found, self._certificate(), *self.rate_remarks(), *EXPLANATIONS]

    def race_remarks(self) -> list[str]:
        """Say where the fast solver needed less time until the paper's loss than L-BFGS."""
        won, lost, open_ = [], [], []
        for k in self.cases:
            fast, other = (self.time_to(k, model, 0) for model in ("fast", "lbfgs"))
            if not fast or not other:
                continue
            if fast[1] < fast[2]:
                open_.append(k)
            else:
                (won if fast[0] < other[0] else lost).append(k)
        text = "reach the paper's LySep loss"
        found = []
        if open_:
            found.append(f"The fast solver did not {text} in all runs of {rows_text(open_)}.")
        if lost:
            found.append(
                f"L-BFGS needed less time than the fast solver to {text} in {rows_text(lost)}."
            )
        if won:
            found.append(
                f"The fast solver needed less time than L-BFGS to {text} in {rows_text(won)}."
            )
        return found

    def rate_remarks(self) -> list[str]:
        """Say where the best rate is at an edge of those tried, and where it fails."""
        found = []
        for model, rates in RATES.items():
            keys = {k: case.key(model, "rate") for k, case in self.cases.items()}
            searches = {k: self.results.get(key) for k, key in keys.items()}
            for edge, which in ((rates[0], "smallest"), (rates[-1], "largest")):
                rows = [k for k, search in searches.items() if search and search["rate"] == edge]
                text = f"{self.models[model].title}: the best rate is the {which} that was tried"
                if rows:
                    found.append(f"{text}, {edge:g}, in {rows_text(rows)}.")
            for k in self.cases:
                runs = self.runs(k, model)
                worse = sum(not is_better_than_at_first(run) for run in runs)
                if worse:
                    found.append(
                        f"{self.models[model].title}: {worse} of {len(runs)} runs of row {k} end "
                        "above their initial loss; with these seeds the rate is too large."
                    )
        return found

    def advice(self) -> str:
        """Return how to get the baselines when they are missing."""
        missing = "baselines CE-FNN, L-BFGS and Adam need"
        return "" if self.has_baseline else how_to_get_torch(missing)

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

    def curve_figures(self, rows: Sequence[int], suffix: str = "") -> dict[str, Any]:
        """Return the curves of some rows by their file names.

        Over iterations those of the paper's models; over seconds those of all models.
        """
        found = {}
        timed = [model for model in self.models if model in TIMED]
        for file, over, models in (
            ("loss_accuracy", "iterations", list(self.paper_columns)),
            ("loss_accuracy_time", "seconds", timed),
        ):
            columns = []
            for k in rows:
                runs = {m: [run["curves"] for run in self.runs(k, m)] for m in models}
                frozen = (self.statistics(k, "frozen", name) for name in ("loss", "accuracy"))
                columns.append((self.title(k), runs, *frozen))
            found[f"{file}{suffix}.png"] = figures.curves(columns, over)
        return found

    def prediction(self, k: int, model: str) -> figures.Prediction | None:
        """Return what the network of the first seed predicts, if there is a run."""
        runs = self.runs(k, model)
        if not runs:
            return None
        test, points = (from_digits(runs[0][name]) for name in ("test_predictions", "map"))
        return figures.Prediction(test, points)


def is_better_than_at_first(run: Mapping[str, Any]) -> bool:
    """Return whether a run ends below the loss of its initial network; NaN (stored as None) no."""
    first, last = run["curves"]["loss"][0], run["loss"]
    return last is not None and first is not None and bool(last < first)
