"""What the experiments with points in the square share: rows, settings, and the list of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lysep_fast.threads.team import available_cpus

from . import RunOptions, _torch_loop
from ._environment import require
from ._experiment import Job, Report, choose_rows, choose_solver, refuse_data, solver_options
from ._models import Data, warm_up
from ._rates import TUNING_SEEDS
from ._rival_tasks import FAST, make_rival_tasks
from ._runner import Results
from ._tasks import Case, make_tasks
from ._torch_classifier import RATES

SEEDS, QUICK_SEEDS = 10, 2
SOLVER, ACTIVATION, INIT, WEIGHTS = "alternating", "tanh", "uniform", "frobenius"
# With --sweeps N the other models get this many iterations per sweep.
ITERATIONS_PER_SWEEP = 4
# Share of the iterations that gradient descent tries every rate for.
QUICK_TUNING_SHARE = 0.5
FROZEN_ITERATIONS, QUICK_FROZEN_ITERATIONS = 3000, 500
#: Most steps of the fast solver; it and its rivals stop earlier at the last of `Row.levels`.
FAST_ITERATIONS = 200
#: By the largest depth that it is for: most steps of Adam, and most evaluations of L-BFGS.
RIVAL_ITERATIONS = {3: 600, 6: 200, 10: 100}
QUICK_RIVAL_SHARE = 0.25
MAP_POINTS = 120  # along each side

SETTINGS_NOTE = (
    "Depths, widths, numbers of sweeps and iterations, learning rates and step lengths are lost "
    "in the paper's text: those used here were chosen by us."
)


@dataclass(frozen=True)
class Row:
    """One row of a table: its network, our settings, and the paper's figures.

    Figures are (mean, standard deviation) on the training set; accuracies are shares.
    """

    depth: int
    width: int
    sweeps: int
    quick_sweeps: int
    iterations: int
    quick_iterations: int
    paper_ce_loss: tuple[float, float]
    paper_ce_accuracy: tuple[float, float]
    paper_lysep_loss: tuple[float, float]
    paper_lysep_accuracy: tuple[float, float]
    #: By the solver's name: its options.
    solver_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Number of the time slice, where there are several.
    part: int = 1
    #: Share of the iterations that gradient descent tries every rate for.
    tuning_share: float = 1.0

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers; the output layer counts in the depth."""
        return (self.width,) * (self.depth - 1)

    @property
    def rival_iterations(self) -> int:
        """Most steps of Adam and evaluations of L-BFGS."""
        return next(n for depth, n in RIVAL_ITERATIONS.items() if self.depth <= depth)

    @property
    def levels(self) -> tuple[float, float]:
        """Losses whose times are compared: the paper's, and a tenth of it."""
        return self.paper_lysep_loss[0], 0.1 * self.paper_lysep_loss[0]


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes
    ----------
    experiment, title : str
        Names of the experiment, and of the table.
    rows : mapping
        By number.
    quick_rows : tuple of int
        Those of the quick setting.
    curve_points : int
        See `Case`.
    data_note : str
        Why there are no data files to read.
    """

    experiment: str
    title: str
    rows: Mapping[int, Row]
    quick_rows: tuple[int, ...]
    curve_points: int
    data_note: str


@dataclass(frozen=True)
class Plan:
    """The options with every default filled in."""

    table: Table
    rows: tuple[int, ...]
    seeds: int
    sweeps: dict[int, int]
    iterations: dict[int, int]
    frozen_iterations: int
    rival_iterations: dict[int, dict[str, int]]
    threads: int
    solver: str
    quick: bool

    def describe(self, data_settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings common to all runs, for the results file."""
        rows = self.table.rows
        return {
            "quick": self.quick,
            "rows": {
                k: {"depth": rows[k].depth, "width": rows[k].width, "sweeps": self.sweeps[k],
                    "gradient_descent_iterations": self.iterations[k],
                    "rival_iterations": self.rival_iterations[k]}
                for k in self.rows
            },
            "solver": self.solver,
            "fast_solver": FAST,
            "seeds": self.seeds,
            "seeds_vary": "initial weights; the data are the same for all runs",
            "data": data_settings,
            "loss": "mean cross-entropy of the true network after the last sweep or iteration",
            "dtype": "float64",
            "output_bias": False,
            "gradient_descent_rates": list(RATES["descent"]),
            "adam_rates": list(RATES["adam"]),
            "tuning_seeds": list(TUNING_SEEDS),
            "note": SETTINGS_NOTE,
        }  # fmt: skip


def make_plan(options: RunOptions, table: Table) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    quick = options.quick
    refuse_data(options, table.data_note)
    rows = choose_rows(options, table.rows, table.quick_rows, table.title)
    sweeps, iterations, rivals = {}, {}, {}
    for k in rows:
        row = table.rows[k]
        sweeps[k] = row.quick_sweeps if quick else row.sweeps
        iterations[k] = row.quick_iterations if quick else row.iterations
        most = round((QUICK_RIVAL_SHARE if quick else 1.0) * row.rival_iterations)
        rivals[k] = {"fast": FAST_ITERATIONS, "adam": most, "lbfgs": most}
    if options.sweeps:
        sweeps = dict.fromkeys(rows, options.sweeps)
        iterations = dict.fromkeys(rows, ITERATIONS_PER_SWEEP * options.sweeps)
        most = ITERATIONS_PER_SWEEP * options.sweeps
        rivals = {k: {"fast": most, "adam": most, "lbfgs": most} for k in rows}
    return Plan(
        table=table,
        rows=rows,
        seeds=options.seeds or (QUICK_SEEDS if quick else SEEDS),
        sweeps=sweeps,
        iterations=iterations,
        frozen_iterations=QUICK_FROZEN_ITERATIONS if quick else FROZEN_ITERATIONS,
        rival_iterations=rivals,
        threads=options.threads or available_cpus(),
        solver=choose_solver(options, SOLVER),
        quick=quick,
    )


def make_case(k: int, plan: Plan, data: Data, data_settings: dict[str, Any]) -> Case:
    """Return what the runs of one row of the table have in common."""
    row = plan.table.rows[k]
    share = QUICK_TUNING_SHARE if plan.quick else row.tuning_share
    return Case(
        name=f"row {k}",
        data=data,
        data_settings=data_settings,
        hidden_layer_sizes=row.hidden_layer_sizes,
        activation=ACTIVATION,
        init=INIT,
        weights=WEIGHTS,
        solver=plan.solver,
        solver_options=solver_options(plan.solver, row.solver_options.get(plan.solver, {})),
        sweeps=plan.sweeps[k],
        iterations=plan.iterations[k],
        tuning_iterations=max(1, round(share * plan.iterations[k])),
        tuning_seeds=TUNING_SEEDS,
        frozen_iterations=plan.frozen_iterations,
        threads=plan.threads,
        levels=row.levels,
        rival_iterations=plan.rival_iterations[k],
        curve_points=plan.table.curve_points,
    )


def make_job(
    plan: Plan,
    cases: Mapping[int, Case],
    data_settings: dict[str, Any],
    report: Callable[[Results], Report],
) -> Job:
    """Return all runs of the experiment, seed by seed in every row."""
    require("matplotlib", "tqdm")
    with_torch = _torch_loop.available()
    tasks = []
    for case in cases.values():
        tasks += make_tasks(case, plan.seeds)
        tasks += make_rival_tasks(case, plan.seeds, with_torch)
    return Job(
        name=plan.table.experiment,
        settings=plan.describe(data_settings),
        threads=plan.threads,
        tasks=tasks,
        warm_up=warm_up,
        report=report,
    )


def map_points(n: int = MAP_POINTS) -> np.ndarray:
    """Return the points of the decision maps: middles of n x n cells, x_1 running fastest."""
    axis = (np.arange(n) + 0.5) / n * 2.0 - 1.0
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
