"""Table and figures of the MNIST experiment, from its results alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import _figures, _mnist_figures
from ._models import from_digits
from ._report import NEEDS_TORCH, SHORT, ReportBase, listed, seconds, span
from ._tables import markdown
from ._torch_loop import how_to_get_torch

__all__ = ["SHORT", "Report"]

MODELS = _mnist_figures.MODELS

EXPLANATIONS = {
    "descent": "CE-CNN: the same network in torch (without an output bias either), plain "
    "mini-batch gradient descent on the mean cross-entropy, constant rate.",
    "adam": "Adam: the same network, batches and number of steps in torch.",
    "lbfgs": "L-BFGS: the same network in torch on all images, strong Wolfe conditions; the best "
    "network that it evaluated.",
    "literal": "Literal Algorithm 2: Frobenius norm products as weights, auxiliaries of its own "
    "for every subset, closed-form solves. The weights of the lower layers grow so large that "
    "its convolutions hardly move (see the changes of the kernels). It runs for fewer sweeps, "
    "because they are dear; more of them train the fully connected layers further.",
    "fast": "Mini-batch solver: the package's solver for test accuracy with its default label "
    "smoothing and weight decay, which keep its training loss up on purpose.",
}


class Report(ReportBase):
    """Turns the results into text and pictures; the arguments are those of `ReportBase`."""

    row_header = "row (layers, channels)"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        case = next(iter(self.cases.values()))
        self.baselines = tuple(case.rivals)
        self.models = {m: MODELS[m] for m in MODELS if m in case.methods or m in case.rivals}
        self.case = case

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].layers}, {self.rows[k].channels})"

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        layers = self.rows[k].layers
        return f"{layers} layer{'s' if layers > 1 else ''}, {self.rows[k].channels} channels"

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        parts = [
            "# MNIST digits: Table 5.3",
            self._introduction(),
            f"{SHORT} marks where our LySep-CNN falls short of the paper's figure.",
            "## Training loss (mean cross-entropy of the network)",
            self.compared_table("loss"),
            "## Training accuracy in %",
            self.compared_table("accuracy"),
            "## Test images",
            self.test_table(),
            "## Work and time",
            self._work_table(),
            "## Change of the convolution kernels",
            "Frobenius norm of the change of every layer's kernels over the training, divided by "
            "that of the initial kernels, from the input upwards; means over the seeds.",
            self._kernel_table(),
            "## Remarks",
            "\n".join(f"- {remark}" for remark in self.remarks()),
        ]
        return "\n\n".join(parts) + "\n"

    def seeds_of(self, model: str) -> range:
        return self.case.seeds(model, self.n_seeds)

    def _introduction(self) -> str:
        data, network = self.case.data_settings, self.case.architecture
        quick = " **Quick settings**: fewer rows, seeds, sweeps and steps." if self.quick else ""
        edge = network.kernel_size
        return (
            f"{data['n_train']} training and {data['n_test']} test images; mean ± sample standard "
            f"deviation over {self.seeds_text()}. Row: number (convolution layers, channels of "
            f"each). Kernels {edge} x {edge}, images of equal size before and after, average "
            f"pooling to equal sizes at the first fully connected layer, {network.hidden} hidden "
            f"units, {network.activation}, 10 outputs. {self.note}{quick}"
        )

    def _work_table(self) -> str:
        header = ["row", "model", "batch", "work", "passes", "rate", "seconds"]
        rows = []
        for k, case in self.cases.items():
            for model, style in self.models.items():
                runs, how = self.runs(k, model), (case.methods | case.rivals)[model]
                work = [NEEDS_TORCH, "", ""]
                if runs:
                    rate = f"{runs[0]['rate']:g}" if "rate" in runs[0] else ""
                    work = [f"{span(runs, 'n_iter')} {how.unit}", f"{runs[0]['passes']:.3g}", rate]
                size = f"{runs[0]['batch_size']}" if runs else ""
                rows.append([self.name(k), style.title, size, *work, seconds(runs)])
        return markdown(header, rows)

    def _kernel_table(self) -> str:
        rows = [[self.name(k), *(self._change(k, m) for m in self.models)] for k in self.cases]
        return markdown(["row", *(style.title for style in self.models.values())], rows)

    def _change(self, k: int, model: str) -> str:
        runs = self.runs(k, model)
        if not runs:
            return NEEDS_TORCH
        changes = np.array([run["kernel_change"] for run in runs], dtype=float)
        return ", ".join(f"{value:.2g}" for value in changes.mean(axis=0))

    def remarks(self) -> list[str]:
        """Return what a reader has to know about the numbers, the bad news first."""
        found = [*self.shortfall_remarks(), *self.rival_remarks()]
        found += self._stopped()
        method = self.case.methods["lysep"]
        found.append(
            f'LySep-CNN: solver "{method.solver}" of lysep_fast, see its options in results.json.'
        )
        found += [text for model, text in EXPLANATIONS.items() if model in self.models]
        for model, most in self.case.most_seeds.items():
            if self.n_seeds > most:
                seeds = f"{most} seed{'s' if most > 1 else ''}"
                found.append(f"{MODELS[model].title}: only {seeds}, its passes take too long.")
        for model, rival in self.case.rivals.items():
            if not rival.rates:
                continue
            rates = ", ".join(f"{rate:g}" for rate in rival.rates)
            share = rival.tuning_iterations / rival.n_iter
            found.append(
                f"{MODELS[model].title}: rate chosen per row out of {rates}, on the first "
                f"{len(rival.tuning_seeds)} seeds: the least mean loss in the last tenth of "
                f"trials with {share:.0%} of the steps."
            )
        found.append(
            "Curves: the network on the first images of the training set (curve_samples in "
            "results.json); tables: on all of them. Bands reach from the least to the largest "
            "seed."
        )
        found.append(
            "Seconds are means per run, initial weights included and evaluations for the curves "
            "left out; every model used the same threads (see results.json)."
        )
        return found

    def _stopped(self) -> list[str]:
        """Say which runs of our solvers ended before their time."""
        found = []
        for k, case in self.cases.items():
            for model in case.methods:
                early = {r["stopped"] for r in self.runs(k, model)} - {"MAX_ITER"}
                if early:
                    found.append(
                        f"Row {k}: runs of {MODELS[model].title} stopped early: "
                        f"{', '.join(sorted(early))}."
                    )
        return found

    def advice(self) -> str:
        """Return how to get the baselines when one is missing."""
        names = [MODELS[model].title for model in self.baselines]
        return "" if self.has_baseline else how_to_get_torch(f"baselines {listed(names)} need")

    # --- pictures ------------------------------------------------------------------------------

    def best_row(self) -> int:
        """Return the row whose LySep-CNN has the lowest training loss."""
        losses = {k: (self.statistics(k, "lysep", "loss") or (np.nan,))[0] for k in self.cases}
        return min(losses, key=lambda k: losses[k] if np.isfinite(losses[k]) else np.inf)

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        figures = {}
        for name in ("loss", "accuracy"):
            panels = [self._panel(k, name) for k in self.cases]
            figures[f"{name}.png"] = _mnist_figures.curves(panels, name, "passes")
            figures[f"{name}_time.png"] = _mnist_figures.curves(panels, name, "seconds")
        best = self.best_row()
        predicted = from_digits(self.runs(best, "lysep")[0]["test_predictions"])
        data = self.case.data
        figures["mistakes.png"] = _mnist_figures.mistakes(
            data.X_test, data.y_test, predicted, f"LySep-CNN, {self.title(best)}"
        )
        return _figures.write(figures, out)

    def _panel(self, k: int, name: str) -> _mnist_figures.Panel:
        runs = {m: [run["curves"] for run in self.runs(k, m)] for m in self.models}
        paper = {
            model: getattr(self.rows[k], f"paper_{column}_{name}")[0]
            for model, column in self.paper_columns.items()
        }
        return _mnist_figures.Panel(self.title(k), runs, paper)
