"""Tables of the experiment on differential equations, from its results alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _figures, _pde_figures
from ._pde_recorder import UNDISTURBED
from ._pde_tasks import ADAM_SHARE, FACTORS, MAIN, MODELS, RATES, Case
from ._report import NEEDS_TORCH, SHORT
from ._runner import Results
from ._store import write_atomically
from ._tables import markdown, plain
from ._torch_loop import how_to_get_torch

RIVAL = "lbfgs"
WIDE = "wide"
OURS = tuple(name for name, model in MODELS.items() if model.kind == "ours")
TORCH = tuple(name for name, model in MODELS.items() if model.kind == "torch")
FIELDS = ("iterations", "seconds", "J", "error")

EXPLANATIONS = (
    "Equal time: every method gets the seconds that 200 iterations of variable projection (or "
    "the number in the results file) took on the same seed; an iteration under way is finished. "
    "Compiling, importing, drawing points and measuring errors do not count. Figures are those of "
    "the iterate with the lowest J until then.",
    "J = mean square of the residual + 100 times the mean square of the boundary error, on 512 "
    "interior and 128 boundary points (hard-boundary-2d: none); errors on 4000 other points.",
    "PINN: same network, points, loss, float64 and first hidden weights, all weights trained, in "
    "torch; derivatives in space are carried forward through the layers, which is faster here "
    f"than nested automatic differentiation. Adam: the best of the rates {RATES} on the first "
    f"seed; Adam then L-BFGS: {ADAM_SHARE:.0%} of the equal time for Adam.",
    "References are one seed of an earlier prototype after 200 iterations or sweeps (1000 of "
    "Adam, 500 of L-BFGS), not at equal time; sweeps are several times slower than iterations of "
    "variable projection, so equal time is fewer than 200 of them.",
    "One wide random layer: width 200, nothing trained but the output weights, the scale chosen "
    "out of seven on fresh points. It is no network of the same size; it is what to try first.",
    "Seeds begin at 3: the solvers were tuned on the seeds 0, 1 and 2.",
    "Burgers' equation is not here: its term u u_x is a product of the solution and a "
    "derivative, and the package's operator has nonlinearities h(u) only.",
)


class Report:
    """Turns the results into text and pictures.

    `cases` and `results` go by name and by key; `elliptic` is the equation whose loss is drawn
    over iterations, `shape` that of the grid of pictures.
    """

    def __init__(
        self,
        cases: Mapping[str, Case],
        results: Results,
        elliptic: str,
        quick: bool,
        shape: tuple[int, int],
    ) -> None:
        self.cases, self.results, self.elliptic = cases, results, elliptic
        self.quick, self.shape = quick, shape

    # --- results -------------------------------------------------------------------------------

    def runs(self, problem: str, model: str) -> list[dict[str, Any]]:
        """Return the finished runs of an equation, in the order of their seeds."""
        case = self.cases[problem]
        keys = (case.key(model, seed) for seed in case.seeds)
        return [self.results[key] for key in keys if key in self.results]

    def values(self, problem: str, model: str, name: str, budget: int = 0) -> np.ndarray:
        """Return a figure of all seeds at one of the times; infinite where training diverged."""
        found = [
            run["at"][min(budget, len(run["at"]) - 1)][name] for run in self.runs(problem, model)
        ]
        return np.array([np.inf if value is None else value for value in found], float)

    def median(self, problem: str, model: str, name: str, budget: int = 0) -> float:
        """Return the median over the seeds, NaN without runs."""
        values = self.values(problem, model, name, budget)
        return float(np.median(values)) if len(values) else float("nan")

    def reference(self, problem: str, model: str, name: str) -> float | None:
        """Return the reference figure, None where there is none."""
        found = self.cases[problem].example.reference.get(model)
        return None if found is None else found[0 if name == "J" else 1]

    @property
    def has_torch(self) -> bool:
        """Whether every run that needs torch is there."""
        return all(
            len(self.runs(problem, model)) == len(case.seeds)
            for problem, case in self.cases.items()
            for model in TORCH
        )

    def falls_short(self, problem: str, name: str) -> bool:
        """Return whether our main solver is worse than its reference."""
        goal = self.reference(problem, MAIN, name)
        return goal is not None and self.median(problem, MAIN, name) > goal

    def wins(self, problem: str, rival: str, budget: int) -> tuple[int, int, float]:
        """Return in how many runs our error is lower, of how many, and the median ratio."""
        theirs = self.values(problem, rival, "error", budget)
        ours = self.values(problem, MAIN, "error")[: len(theirs)]
        ratio = float(np.median(theirs / ours)) if len(theirs) else float("nan")
        return int(np.sum(ours < theirs)), len(theirs), ratio

    # --- tables --------------------------------------------------------------------------------

    def cell(self, problem: str, model: str, name: str, budget: int = 0) -> str:
        """Return a median, marked where our main solver misses its reference."""
        if not self.runs(problem, model):
            return NEEDS_TORCH
        value = self.median(problem, model, name, budget)
        text = f"{value:.1e}" if np.isfinite(value) else "diverged"
        mark = model == MAIN and self.falls_short(problem, name)
        return f"{text} {SHORT}" if mark else text

    def equal_time_table(self, name: str) -> str:
        """Return medians at equal time, reference figures beside ours."""
        header = ["problem"]
        for model in MODELS:
            if any(self.reference(p, model, name) is not None for p in self.cases):
                header.append(f"{MODELS[model].title}, reference")
            header.append(f"{MODELS[model].title}, ours" if model in OURS else MODELS[model].title)

        def row(problem: str) -> list[str]:
            cells = [problem]
            for model in MODELS:
                goal = self.reference(problem, model, name)
                cells += [] if goal is None else [f"{goal:.1e}"]
                cells.append(self.cell(problem, model, name))
            return cells

        return self._table(header, row)

    def longer_table(self) -> str:
        """Return errors of torch with more time beside ours, and who wins how often."""
        header = ["problem", MODELS[MAIN].title]
        for model in TORCH:
            header += [f"{MODELS[model].title}, {f}x time" for f in FACTORS]
        header += [f"our error is lower than that of L-BFGS, {f}x time" for f in FACTORS]
        header += [f"their error / ours, {f}x time" for f in FACTORS]

        def row(problem: str) -> list[str]:
            cells = [problem, self.cell(problem, MAIN, "error")]
            budgets = range(len(FACTORS))
            for model in TORCH:
                cells += [self.cell(problem, model, "error", k) for k in budgets]
            won = [self.wins(problem, RIVAL, k) for k in budgets]
            cells += [f"{w} of {n}" if n else NEEDS_TORCH for w, n, _ in won]
            return cells + [f"{ratio:.2g}" if n else NEEDS_TORCH for _, n, ratio in won]

        return self._table(header, row)

    def work_table(self) -> str:
        """Return the equal time, and the iterations that each model did in it."""
        header = ["problem", "seeds", "equal time [s]"]
        header += [f"{MODELS[model].title}" for model in MODELS]

        def row(problem: str) -> list[str]:
            n, seconds = len(self.cases[problem].seeds), self.median(problem, MAIN, "seconds")
            cells = [problem, str(n), f"{seconds:.2f}"]
            for model in MODELS:
                found = self.runs(problem, model)
                value = self.median(problem, model, "iterations") if found else 0
                cells.append(f"{value:.0f}" if found else NEEDS_TORCH)
            return cells

        return self._table(header, row)

    def _table(self, header: list[str], row: Callable[[str], list[str]]) -> str:
        return markdown(header, [row(problem) for problem in self.cases])

    def summary(self) -> str:
        """Return a small table for the terminal."""
        header = ["relative L2 error", "reference", "ours", "random", "wide random", "Adam"]
        header += [f"L-BFGS {f}x" for f in FACTORS]
        rows = []
        for problem in self.cases:
            goal = self.reference(problem, MAIN, "error")
            cells = [problem, f"{goal:.1e}"]
            cells += [
                self.cell(problem, model, "error")
                for model in (MAIN, "random-features", WIDE, "adam")
            ]
            cells += [self.cell(problem, RIVAL, "error", k) for k in range(len(FACTORS))]
            rows.append(["" if cell == NEEDS_TORCH else cell for cell in cells])
        note = "\nours: variable projection; medians over the seeds, at equal time"
        return plain(header, rows) + note + f"; {SHORT} misses the reference"

    # --- text ----------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Return the text of table.md."""
        quick = " **Quick settings**: fewer equations and seeds." if self.quick else ""
        parts = [
            "# Differential equations",
            f"Medians over the seeds. {SHORT} marks where variable projection is worse than its "
            f"reference.{quick}",
            "## Relative L2 error at equal time",
            self.equal_time_table("error"),
            "## J at equal time",
            self.equal_time_table("J"),
            "## Relative L2 error with more time for torch",
            self.longer_table(),
            "## Iterations at equal time",
            self.work_table(),
            "## Remarks",
            "\n".join(f"- {remark}" for remark in (*self.remarks(), *EXPLANATIONS)),
        ]
        return "\n\n".join(parts) + "\n"

    def remarks(self) -> list[str]:
        """Return the bad news."""
        return [self._disturbance(), *self._bad_news()]

    def shortcomings(self) -> list[str]:
        """Say where our figures fall short of others', and which of them are missing."""
        found = self._bad_news()
        found += [self._disturbance()] if any(self._disturbed()) else []
        return found if self.has_torch else [*found, "Runs of PINNs are missing: they need torch."]

    def _bad_news(self) -> list[str]:
        found = []
        for name in ("error", "J"):
            short = [problem for problem in self.cases if self.falls_short(problem, name)]
            if short:
                found.append(
                    f"Variable projection misses its reference for {name}: {', '.join(short)}."
                )
        for model, style in MODELS.items():
            ahead = [
                problem
                for problem in self.cases
                if self.median(problem, model, "error") < self.median(problem, MAIN, "error")
            ]
            if ahead:
                found.append(
                    f"Lower error than variable projection at equal time, {style.title}: "
                    f"{', '.join(ahead)}."
                )
        return found

    def _disturbed(self) -> list[bool]:
        """Return for every run that is long enough to tell whether it was disturbed."""
        runs = [run for p in self.cases for m in MODELS for run in self.runs(p, m)]
        return [run["disturbed"] for run in runs if "disturbed" in run]

    def _disturbance(self) -> str:
        """Say how many runs shared the processors with something else."""
        disturbed = self._disturbed()
        count = sum(disturbed)
        return (
            f"{count} of {len(disturbed)} runs got less than {UNDISTURBED:.0%} of a processor: "
            + ("comparisons at equal time are not to be trusted." if count else "no other work.")
        )

    def advice(self) -> str:
        """Return how to get the rivals when they are missing."""
        return "" if self.has_torch else how_to_get_torch("PINN baselines need")

    def csv(self) -> str:
        """Return one line per equation, model, seed and time."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["problem", "model", "seed", "times", *FIELDS, "reference J",
                        "reference error"])  # fmt: skip
        for problem, case in self.cases.items():
            for model, seed in ((m, s) for m in MODELS for s in case.seeds):
                goals = [self.reference(problem, model, name) for name in ("J", "error")]
                run = self.results.get(case.key(model, seed))
                for factor, at in zip(FACTORS, run["at"] if run else (), strict=False):
                    lines.writerow(
                        [problem, model, seed, factor, *(at[name] for name in FIELDS), *goals]
                    )
        return text.getvalue()

    # --- pictures ------------------------------------------------------------------------------

    def draw(self, out: Path) -> list[Path]:
        """Write table.csv, draw all figures into a folder, and return their paths."""
        table = out / "table.csv"
        write_atomically(table, self.csv())
        curves = {
            problem: {m: [run["curves"] for run in self.runs(problem, m)] for m in MODELS}
            for problem in self.cases
        }
        figures = {"error_time.png": _pde_figures.errors(curves)}
        if self.elliptic in self.cases:
            figures["loss_iterations.png"] = _pde_figures.losses(
                self.elliptic, curves[self.elliptic]
            )
        maps = {
            problem: (case.judge, {m: self._difference(case, m) for m in (MAIN, RIVAL, WIDE)})
            for problem, case in self.cases.items()
            if case.judge.grid is not None
        }
        if maps:
            figures["solutions.png"] = _pde_figures.solutions(maps, self.shape)
        return [table, *_figures.write(figures, out)]

    def _difference(self, case: Case, model: str) -> np.ndarray | None:
        """Return u minus the exact solution on the grid, first seed."""
        found = self.results.get(case.key(model, case.seeds[0]), {}).get("difference")
        return None if found is None else np.array(found, float)
