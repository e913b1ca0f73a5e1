"""Table and figures of the circle experiment, from its results alone."""

from __future__ import annotations

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
NEEDS_TORCH = "needs torch"


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

    def loss(self, k: int, model: str, name: str = "loss") -> str:
        """Return a loss for the table, with the mark when it falls short of the paper."""
        found = self.statistics(k, model, name)
        if found is None:
            return NEEDS_TORCH
        mark = f" {SHORT}" if (k, model, name) in self.shortfalls() else ""
        return loss_text(*found) + mark

    def percent(self, k: int, model: str, name: str = "accuracy") -> str:
        """Return an accuracy for the table, with the mark when it falls short of the paper."""
        found = self.statistics(k, model, name)
        if found is None:
            return NEEDS_TORCH
        mark = f" {SHORT}" if (k, model, name) in self.shortfalls() else ""
        return percent_text(*found) + mark

    def shortfalls(self) -> set[tuple[int, str, str]]:
        """Return where our LySep-FNN is worse than the paper's, in the digits that it prints."""
        short = set()
        for k in self.cases:
            loss, accuracy = (
                self.statistics(k, "lysep", name) or (float("nan"),) * 2
                for name in ("loss", "accuracy")
            )
            if not float(f"{loss[0]:.2e}") <= self.rows[k].paper_lysep_loss[0]:
                short.add((k, "lysep", "loss"))
            if not round(accuracy[0], 4) >= self.rows[k].paper_lysep_accuracy[0]:
                short.add((k, "lysep", "accuracy"))
        return short

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        return f"{k} ({self.rows[k].depth}, {self.rows[k].width})"

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        sizes = {len(self.runs(k, model)) for k in self.cases for model in ("lysep", "frozen")}
        seeds = "/".join(map(str, sorted(sizes)))
        data = next(iter(self.cases.values())).data_settings
        parts = [
            "# Circle in/out: Table 5.1",
            f"{data['n_train']} training and {data['n_test']} test points, the same for all runs; "
            f"mean ± sample standard deviation over {seeds} seeds of the initial weights. "
            f"Row: number (depth, width). {self.note}"
            + (" **Quick settings**: fewer rows, seeds and sweeps." if self.quick else ""),
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
        header = ["row", "CE-FNN, paper", "CE-FNN, ours", "LySep-FNN, paper", "LySep-FNN, ours"]
        text, ours = (loss_text, self.loss) if name == "loss" else (percent_text, self.percent)
        rows = [
            [
                self.name(k),
                text(*getattr(self.rows[k], f"paper_ce_{name}")),
                ours(k, "descent"),
                text(*getattr(self.rows[k], f"paper_lysep_{name}")),
                ours(k, "lysep"),
                ours(k, "frozen"),
            ]
            for k in self.cases
        ]
        return markdown([*header, "frozen features, ours"], rows)

    def _test_table(self) -> str:
        titles = [_figures.MODELS[model].title for model in MODELS]
        header = [f"{title}, {what}" for what in ("loss", "accuracy %") for title in titles]
        rows = [
            [
                self.name(k),
                *(self.loss(k, model, "test_loss") for model in MODELS),
                *(self.percent(k, model, "test_accuracy") for model in MODELS),
            ]
            for k in self.cases
        ]
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
        """Return what a reader has to know about the numbers, the bad news included."""
        found = []
        short = self.shortfalls()
        for k in self.cases:
            sweeps = _span(self.runs(k, "lysep"), "n_iter")
            if (k, "lysep", "loss") in short:
                found.append(
                    f"Row {k}: LySep-FNN falls short of the paper's loss after {sweeps} sweeps."
                )
            if (k, "lysep", "accuracy") in short:
                found.append(
                    f"Row {k}: LySep-FNN falls short of the paper's accuracy after {sweeps} sweeps."
                )
            lysep = self.statistics(k, "lysep", "loss")
            for model in ("descent", "frozen"):
                other = self.statistics(k, model, "loss")
                if lysep and other and not lysep[0] <= other[0]:
                    title = _figures.MODELS[model].title
                    found.append(f"Row {k}: {title} reached a lower training loss than LySep-FNN.")
        return [*found, *self._certificates(), *_EXPLANATIONS]

    def _certificates(self) -> list[str]:
        runs = [run for k in self.cases for run in self.runs(k, "lysep")]
        if not runs:
            return []
        count = sum(run["F_rises"] > 0 for run in runs)
        largest = max(run["F_largest_rise"] for run in runs)
        ratio = max(run["loss_over_bound"] for run in runs)
        rose = (
            f"rose in {count} of {len(runs)} runs" if count else f"never rose in {len(runs)} runs"
        )
        return [
            f"The separated loss F {rose} (largest relative change of a sweep: {largest:+.1e}); "
            f"the cross-entropy was at most {ratio:.2f} of its bound C sqrt(F)."
        ]

    def summary(self) -> str:
        """Return a small table for the terminal."""
        header = [
            "row (depth, width)",
            "model",
            "training loss",
            "accuracy %",
            "test %",
            "seconds",
        ]
        rows = []
        for k in self.cases:
            for model in MODELS:
                runs = self.runs(k, model)
                if runs:
                    rows.append(
                        [
                            self.name(k),
                            _figures.MODELS[model].title,
                            self.loss(k, model),
                            self.percent(k, model),
                            self.percent(k, model, "test_accuracy"),
                            _seconds(runs),
                        ]
                    )
            row = self.rows[k]
            for title, loss, accuracy in (
                ("CE-FNN, paper", row.paper_ce_loss, row.paper_ce_accuracy),
                ("LySep-FNN, paper", row.paper_lysep_loss, row.paper_lysep_accuracy),
            ):
                rows.append(
                    [self.name(k), title, loss_text(*loss), percent_text(*accuracy), "", ""]
                )
        lines = [plain(header, rows)]
        if self.shortfalls():
            lines.append(f"{SHORT} falls short of the paper's figure")
        return "\n".join(lines)

    # --- pictures ------------------------------------------------------------------------------

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        curves = [
            (self.title(k), {m: [run["curves"] for run in self.runs(k, m)] for m in MODELS[:2]},
             self.statistics(k, "frozen", "loss"), self.statistics(k, "frozen", "accuracy"))
            for k in self.cases
        ]  # fmt: skip
        data = next(iter(self.cases.values())).data
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

    def title(self, k: int) -> str:
        """Return a row's name in figures."""
        return f"depth {self.rows[k].depth}, width {self.rows[k].width}"

    def _prediction(self, k: int, model: str) -> _figures.Prediction:
        run = self.runs(k, model)[0]
        return _figures.Prediction(
            from_digits(run["test_predictions"]), from_digits(run["map"]), run["test_accuracy"]
        )


_EXPLANATIONS = (
    "CE-FNN: the same network and data in torch, full-batch gradient descent on the mean "
    "cross-entropy, the rate chosen per row on the first seed.",
    "Frozen features: the hidden layers as LySep-FNN first draws them, only the last layer "
    "trained. Wide random layers describe a disk well, so this task says little about how well "
    "hidden layers are trained.",
    "Seconds are means per run; every model used the same threads (see results.json).",
)


def _span(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the value of all runs, or smallest to largest."""
    values = sorted({run[name] for run in runs})
    return "" if not values else f"{values[0]}" + (f"-{values[-1]}" if values[1:] else "")


def _seconds(runs: Sequence[Mapping[str, Any]]) -> str:
    return f"{mean_std([run['seconds'] for run in runs])[0]:.1f}" if runs else ""
