"""Table and figures of the circle experiment, from its results alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lysep_fast.datasets.synthetic import CIRCLE_RADIUS

from . import _figures
from ._models import from_digits
from ._runner import Results
from ._tables import loss_text, markdown, mean_std, percent_text, plain
from ._tasks import Case

SHORT = "▼"
MODELS = ("descent", "lysep", "frozen")
TITLES = {model: _figures.MODELS[model].title for model in MODELS}
NEEDS_TORCH = "needs torch"

EXPLANATIONS = (
    "CE-FNN: the same network and data in torch, full-batch gradient descent on the mean "
    "cross-entropy, the rate chosen per row on the first seed.",
    "Frozen features: the hidden layers as LySep-FNN first draws them, only the last layer "
    "trained, to convergence and without regularisation. Wide random layers describe a disk well, "
    "so this task says little about how well hidden layers are trained; compare the test losses.",
    "Seconds are means per run; every model used the same threads (see results.json).",
)


class Report:
    """Turns the results into text and pictures.

    Parameters
    ----------
    rows : mapping
        Rows of the paper's table by number.
    cases : mapping
        What was run, by row number.
    n_seeds : int
        Number of seeds asked for.
    results : dict
        Results by key.
    note : str
        Sentence on whose choice the settings are.
    quick : bool
        Whether these are the quick settings.
    """

    def __init__(
        self,
        rows: Mapping[int, Any],
        cases: Mapping[int, Case],
        n_seeds: int,
        results: Results,
        note: str,
        quick: bool,
    ) -> None:
        self.rows, self.cases, self.n_seeds = rows, cases, n_seeds
        self.results, self.note, self.quick = results, note, quick

    # --- results -------------------------------------------------------------------------------

    def runs(self, k: int, model: str) -> list[dict[str, Any]]:
        """Return the finished runs of a row, in the order of their seeds."""
        keys = (self.cases[k].key(model, seed) for seed in range(self.n_seeds))
        return [self.results[key] for key in keys if key in self.results]

    @property
    def has_baseline(self) -> bool:
        """Whether every run of gradient descent is there."""
        return all(len(self.runs(k, "descent")) == self.n_seeds for k in self.cases)

    def statistics(self, k: int, model: str, name: str) -> tuple[float, float] | None:
        """Return mean and standard deviation over the seeds, None without runs."""
        runs = self.runs(k, model)
        return mean_std([run[name] for run in runs]) if runs else None

    def shortfalls(self) -> set[tuple[int, str, str]]:
        """Return where our LySep-FNN is worse than the paper's, in the digits that it prints."""
        short = set()
        for k in self.cases:
            loss, accuracy = (self.statistics(k, "lysep", name) for name in ("loss", "accuracy"))
            if loss and not float(f"{loss[0]:.2e}") <= self.rows[k].paper_lysep_loss[0]:
                short.add((k, "lysep", "loss"))
            if accuracy and not round(accuracy[0], 4) >= self.rows[k].paper_lysep_accuracy[0]:
                short.add((k, "lysep", "accuracy"))
        return short

    # --- cells ---------------------------------------------------------------------------------

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].depth}, {self.rows[k].width})"

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        return f"depth {self.rows[k].depth}, width {self.rows[k].width}"

    def ours(self, k: int, model: str, name: str) -> str:
        """Return mean ± deviation, with the mark when it falls short of the paper."""
        found = self.statistics(k, model, name)
        if found is None:
            return NEEDS_TORCH
        mark = f" {SHORT}" if (k, model, name) in self.shortfalls() else ""
        return _text(name, found) + mark

    def paper(self, k: int, model: str, name: str) -> str:
        """Return the paper's figure."""
        column = {"descent": "ce", "lysep": "lysep"}.get(model)
        return _text(name, getattr(self.rows[k], f"paper_{column}_{name}")) if column else ""

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        data = next(iter(self.cases.values())).data_settings
        quick = " **Quick settings**: fewer rows, seeds, sweeps and iterations."
        parts = [
            "# Circle in/out: Table 5.1",
            f"{data['n_train']} training and {data['n_test']} test points, the same for all runs; "
            f"mean ± sample standard deviation over {self.n_seeds} "
            f"seed{'s' if self.n_seeds > 1 else ''} of the initial weights. "
            f"Row: number (depth, width). {self.note}{quick if self.quick else ''}",
            f"{SHORT} marks where our LySep-FNN falls short of the paper's figure.",
            "## Training loss (mean cross-entropy of the network)",
            self._compared("loss"),
            "## Training accuracy in %",
            self._compared("accuracy"),
            "## Test points",
            self._test_table(),
            "## Work and time",
            self._work_table(),
            "## Remarks",
            "\n".join(f"- {remark}" for remark in self.remarks()),
        ]
        return "\n\n".join(parts) + "\n"

    def _compared(self, name: str) -> str:
        header = ["row"]
        for model in ("descent", "lysep"):
            header += [f"{TITLES[model]}, paper", f"{TITLES[model]}, ours"]
        header.append(f"{TITLES['frozen']}, ours")
        rows = []
        for k in self.cases:
            cells = [self.name(k)]
            for model in ("descent", "lysep"):
                cells += [self.paper(k, model, name), self.ours(k, model, name)]
            rows.append([*cells, self.ours(k, "frozen", name)])
        return markdown(header, rows)

    def _test_table(self) -> str:
        columns = [(model, name) for name in ("test_loss", "test_accuracy") for model in MODELS]
        units = {"test_loss": "loss", "test_accuracy": "accuracy %"}
        header = [f"{TITLES[model]}, {units[name]}" for model, name in columns]
        rows = [[self.name(k), *(self.ours(k, *column) for column in columns)] for k in self.cases]
        return markdown(["row", *header], rows)

    def _work_table(self) -> str:
        header = ["row", "CE-FNN iterations", "rate", "seconds", "LySep-FNN sweeps", "seconds"]
        rows = []
        for k in self.cases:
            descent, lysep, frozen = (self.runs(k, model) for model in MODELS)
            rows.append(
                [
                    self.name(k),
                    _span(descent, "n_iter") or NEEDS_TORCH,
                    f"{descent[0]['rate']:g}" if descent else "",
                    _seconds(descent),
                    _span(lysep, "n_iter"),
                    _seconds(lysep),
                    _span(frozen, "n_iter"),
                    _seconds(frozen),
                ]
            )
        return markdown([*header, "frozen: L-BFGS iterations", "seconds"], rows)

    def remarks(self) -> list[str]:
        """Return what a reader has to know about the numbers, the bad news first."""
        found = []
        for k, _, name in sorted(self.shortfalls()):
            sweeps = _span(self.runs(k, "lysep"), "n_iter")
            found.append(
                f"Row {k}: after {sweeps} sweeps LySep-FNN falls short of the paper's {name}."
            )
        for k in self.cases:
            lysep = self.statistics(k, "lysep", "loss")
            for model in ("descent", "frozen"):
                other = self.statistics(k, model, "loss")
                if lysep and other and other[0] < lysep[0]:
                    found.append(
                        f"Row {k}: {TITLES[model]} reached a lower training loss than LySep-FNN."
                    )
        return [*found, self._certificate(), *EXPLANATIONS]

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

    def summary(self) -> str:
        """Return a small table for the terminal."""
        header = ["row (depth, width)", "model", "training loss", "paper's"]
        header += ["accuracy %", "paper's", "test %", "seconds"]
        rows = []
        for k in self.cases:
            for model in MODELS:
                cells = [self.name(k), TITLES[model]]
                for name in ("loss", "accuracy"):
                    cells += [self.ours(k, model, name), self.paper(k, model, name)]
                cells += [self.ours(k, model, "test_accuracy"), _seconds(self.runs(k, model))]
                rows.append(["" if cell == NEEDS_TORCH else cell for cell in cells])
        mark = f"\n{SHORT} falls short of the paper's figure" if self.shortfalls() else ""
        return plain(header, rows) + mark

    # --- pictures ------------------------------------------------------------------------------

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        data = next(iter(self.cases.values())).data
        curves = []
        for k in self.cases:
            runs = {model: [run["curves"] for run in self.runs(k, model)] for model in MODELS[:2]}
            frozen = (self.statistics(k, "frozen", name) for name in ("loss", "accuracy"))
            curves.append((self.title(k), runs, *frozen))
        maps = [
            (self.title(k), {m: self._prediction(k, m) for m in MODELS if self.runs(k, m)})
            for k in self.cases
        ]
        figures = {
            "test_labels.png": _figures.labels(data.X_test, data.y_test, CIRCLE_RADIUS),
            "loss_accuracy.png": _figures.curves(curves, "iterations"),
            "loss_accuracy_time.png": _figures.curves(curves, "seconds"),
            "predictions.png": _figures.predictions(data, maps, CIRCLE_RADIUS),
        }
        for file, figure in figures.items():
            _figures.save(figure, out / file)
        return [out / file for file in figures]

    def _prediction(self, k: int, model: str) -> _figures.Prediction:
        run = self.runs(k, model)[0]
        return _figures.Prediction(from_digits(run["test_predictions"]), from_digits(run["map"]))


def _text(name: str, statistics: tuple[float, float]) -> str:
    return (loss_text if name.endswith("loss") else percent_text)(*statistics)


def _span(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the value of all runs, or smallest to largest."""
    values = sorted({run[name] for run in runs})
    return "" if not values else f"{values[0]}" + (f"-{values[-1]}" if values[1:] else "")


def _seconds(runs: Sequence[Mapping[str, Any]]) -> str:
    return f"{mean_std([run['seconds'] for run in runs])[0]:.1f}" if runs else ""
