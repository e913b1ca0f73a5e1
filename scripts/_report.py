"""What the reports of all experiments share: cells, the marks, comparisons with the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._figures import Style
from ._runner import Results
from ._tables import loss_text, markdown, mean_std, percent_text, plain

SHORT = "▼"
NEEDS_TORCH = "needs torch"
#: Figures that are compared between models, and how a better one is called.
BETTER = {
    "loss": "a lower training loss",
    "accuracy": "a higher training accuracy",
    "test_loss": "a lower test loss",
    "test_accuracy": "a higher test accuracy",
}


class ReportBase:
    """Cells and tables of an experiment with one table of the paper.

    Subclasses set the attributes and add sections of their own.  The rows have the paper's
    figures, ``paper_ce_loss`` and so on, as (mean, standard deviation).

    Attributes
    ----------
    models : mapping
        How every model is called and drawn, in the order of the tables.
    main : str
        The model that is marked where it is worse than the paper's figure.
    paper_columns : mapping
        By model: its name in the rows' attributes.
    baselines : tuple of str
        The models that need torch.
    row_header : str
        What the name of a row consists of.

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

    models: Mapping[str, Style]
    main = "lysep"
    paper_columns: Mapping[str, str] = {"descent": "ce", "lysep": "lysep"}
    baselines: tuple[str, ...] = ("descent",)
    row_header = "row"

    def __init__(
        self,
        rows: Mapping[int, Any],
        cases: Mapping[int, Any],
        n_seeds: int,
        results: Results,
        note: str,
        quick: bool,
    ) -> None:
        self.rows, self.cases, self.n_seeds = rows, cases, n_seeds
        self.results, self.note, self.quick = results, note, quick

    def name(self, k: int) -> str:
        """Return a row's name in tables."""
        raise NotImplementedError

    # --- results -------------------------------------------------------------------------------

    def seeds_of(self, model: str) -> range:
        """Return the seeds that a model is run with."""
        return range(self.n_seeds)

    def runs(self, k: int, model: str) -> list[dict[str, Any]]:
        """Return the finished runs of a row, in the order of their seeds."""
        keys = (self.cases[k].key(model, seed) for seed in self.seeds_of(model))
        return [self.results[key] for key in keys if key in self.results]

    @property
    def has_baseline(self) -> bool:
        """Whether every run that needs torch is there."""
        return all(self.complete(model) for model in self.baselines)

    def complete(self, model: str) -> bool:
        """Return whether every run of a model is there."""
        return all(len(self.runs(k, model)) == len(self.seeds_of(model)) for k in self.cases)

    def statistics(self, k: int, model: str, name: str) -> tuple[float, float] | None:
        """Return mean and standard deviation (NaN for one seed), None without runs."""
        runs = self.runs(k, model)
        return mean_std([run[name] for run in runs]) if runs else None

    def shortfalls(self) -> set[tuple[int, str, str]]:
        """Return where our main model is worse than the paper's, in the digits that it prints."""
        short = set()
        column = self.paper_columns[self.main]
        for k, row in ((k, self.rows[k]) for k in self.cases):
            loss, accuracy = (self.statistics(k, self.main, name) for name in ("loss", "accuracy"))
            if loss and not float(f"{loss[0]:.2e}") <= getattr(row, f"paper_{column}_loss")[0]:
                short.add((k, self.main, "loss"))
            paper = getattr(row, f"paper_{column}_accuracy")[0]
            if accuracy and not round(accuracy[0], 4) >= paper:
                short.add((k, self.main, "accuracy"))
        return short

    # --- cells and tables ----------------------------------------------------------------------

    def ours(self, k: int, model: str, name: str) -> str:
        """Return mean ± deviation, with the mark when it falls short of the paper."""
        found = self.statistics(k, model, name)
        if found is None:
            return NEEDS_TORCH
        mark = f" {SHORT}" if (k, model, name) in self.shortfalls() else ""
        return _text(name, found) + mark

    def paper(self, k: int, model: str, name: str) -> str:
        """Return the paper's figure, or nothing."""
        column = self.paper_columns.get(model)
        return _text(name, getattr(self.rows[k], f"paper_{column}_{name}")) if column else ""

    def compared_table(self, name: str) -> str:
        """Return a table of one figure, the paper's columns beside ours."""
        columns = [model for model in self.models if model in self.paper_columns]
        others = [model for model in self.models if model not in self.paper_columns]
        header = ["row"]
        for model in columns:
            title = self.models[model].title
            header += [f"{title}, paper", f"{title}, ours"]
        header += [f"{self.models[model].title}, ours" for model in others]
        rows = []
        for k in self.cases:
            cells = [self.name(k)]
            for model in columns:
                cells += [self.paper(k, model, name), self.ours(k, model, name)]
            rows.append(cells + [self.ours(k, model, name) for model in others])
        return markdown(header, rows)

    def test_table(self) -> str:
        """Return a table of all models' test losses and accuracies."""
        units = {"test_loss": "loss", "test_accuracy": "accuracy %"}
        columns = [(model, name) for name in units for model in self.models]
        header = [f"{self.models[model].title}, {units[name]}" for model, name in columns]
        rows = [[self.name(k), *(self.ours(k, *column) for column in columns)] for k in self.cases]
        return markdown(["row", *header], rows)

    def summary(self) -> str:
        """Return a small table for the terminal."""
        header = [self.row_header, "model", "training loss", "paper's"]
        header += ["accuracy %", "paper's", "test %", "seconds"]
        rows = []
        for k in self.cases:
            for model, style in self.models.items():
                cells = [self.name(k), style.title]
                for name in ("loss", "accuracy"):
                    cells += [self.ours(k, model, name), self.paper(k, model, name)]
                cells += [self.ours(k, model, "test_accuracy"), seconds(self.runs(k, model))]
                rows.append(["" if cell == NEEDS_TORCH else cell for cell in cells])
        mark = f"\n{SHORT} falls short of the paper's figure" if self.shortfalls() else ""
        return plain(header, rows) + mark

    # --- sentences -----------------------------------------------------------------------------

    def seeds_text(self) -> str:
        """Return over what means are taken."""
        return f"{self.n_seeds} seed{'s' if self.n_seeds > 1 else ''} of the initial weights"

    def shortfall_remarks(self) -> list[str]:
        """Say where our main model falls short of the paper."""
        title = self.models[self.main].title
        return [
            f"Row {k}: after {span(self.runs(k, self.main), 'n_iter')} sweeps {title} falls short "
            f"of the paper's {name}: {_text(name, self.statistics(k, self.main, name))}, the "
            f"paper {self.paper(k, self.main, name)}."
            for k, _, name in sorted(self.shortfalls())
        ]

    def rival_remarks(self) -> list[str]:
        """Say which models reached better figures than our main one, and in which rows."""
        title, found = self.models[self.main].title, []
        for model, style in self.models.items():
            rows: dict[str, list[int]] = {}
            for k in self.cases:
                better = [text for name, text in BETTER.items() if self.beats(k, model, name)]
                if better:
                    rows.setdefault(listed(better), []).append(k)
            found += [
                f"{style.title} reached {better} than {title} in {rows_text(there)}."
                for better, there in rows.items()
            ]
        return found

    def beats(self, k: int, model: str, name: str) -> bool:
        """Return whether a model's mean is better than our main one's."""
        own, other = (self.statistics(k, m, name) for m in (self.main, model))
        if own is None or other is None:
            return False
        return other[0] < own[0] if name.endswith("loss") else other[0] > own[0]

    def shortcomings(self) -> list[str]:
        """Say where our figures fall short of others', and which of them are missing."""
        found = [*self.shortfall_remarks(), *self.rival_remarks()]
        missing = [
            self.models[model].title for model in self.baselines if not self.complete(model)
        ]
        if missing:
            found.append(f"Runs of {listed(missing)} are missing: they need torch.")
        return found


def _text(name: str, statistics: tuple[float, float]) -> str:
    return (loss_text if name.endswith("loss") else percent_text)(*statistics)


def listed(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def span(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the value of all runs, or smallest to largest."""
    values = sorted({run[name] for run in runs})
    return "" if not values else f"{values[0]}" + (f"-{values[-1]}" if values[1:] else "")


def seconds(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean time of the runs."""
    return f"{mean_std([run['seconds'] for run in runs])[0]:.1f}" if runs else ""


def rows_text(rows: Sequence[int]) -> str:
    """Return "row 1" or "rows 1, 2"."""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"
