"""Table 5.1 and Figures 5.1-5.3: is a point inside a circle?  LySep-FNN against CE-FNN.

The data are drawn once; the seeds vary the initial weights of the networks.  Every row also has
the frozen-features baseline: wide random hidden layers describe a disk well without any training,
so the last layer alone goes far on this task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lysep_fast.datasets import make_circle
from lysep_fast.parallel import available_cpus

from . import RunOptions, _torch_baseline
from ._circle_report import Report
from ._environment import require
from ._experiment import (
    Job,
    carry_out,
    choose_rows,
    choose_solver,
    refuse_data,
    solver_options,
)
from ._models import Data, warm_up
from ._tasks import Case, make_tasks


@dataclass(frozen=True)
class Row:
    """One row of Table 5.1: its network, our settings, and the paper's figures.

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

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers; the output layer counts in the depth."""
        return (self.width,) * (self.depth - 1)


# Depth, width, sweeps of layer separation and iterations of gradient descent (both: full, quick)
# are lost in the paper's text: they are our choice.
ROWS: dict[int, Row] = {
    1: Row(
        3, 50, 1000, 600, 1200, 600,
        (5.27e-2, 6.01e-3), (0.9910, 0.0029), (6.75e-3, 3.00e-3), (0.9983, 0.0015),
        solver_options={"alternating": {}},
    ),
    2: Row(
        3, 100, 800, 700, 1200, 600,
        (8.03e-2, 4.51e-3), (0.9877, 0.0031), (3.63e-3, 1.11e-3), (0.9996, 0.0005),
        solver_options={"alternating": {}},
    ),
    3: Row(
        3, 200, 800, 700, 1200, 300,
        (7.62e-2, 5.68e-3), (0.9903, 0.0030), (3.46e-3, 8.56e-4), (0.9999, 0.0002),
        solver_options={"alternating": {}},
    ),
    4: Row(
        6, 100, 300, 150, 1200, 200,
        (2.55e-1, 3.03e-1), (0.8409, 0.2052), (5.56e-3, 1.90e-3), (0.9986, 0.0013),
        solver_options={"alternating": {}},
    ),
    5: Row(
        10, 100, 150, 60, 1200, 150,
        (6.92e-1, 1.52e-3), (0.5227, 0.0156), (3.39e-2, 1.16e-2), (0.9940, 0.0033),
        solver_options={"alternating": {}},
    ),
}  # fmt: skip

QUICK_ROWS = (1, 4)
SEEDS, QUICK_SEEDS = 10, 2
N_TRAIN, N_TEST, DATA_SEED = 3000, 1000, 0
SOLVER, ACTIVATION, INIT, WEIGHTS = "alternating", "tanh", "uniform", "frobenius"
# With --sweeps N gradient descent gets this many iterations per sweep.
ITERATIONS_PER_SWEEP = 4
# Share of the iterations that gradient descent tries every rate for.
TUNING_SHARE, QUICK_TUNING_SHARE = 1.0, 0.5
FROZEN_ITERATIONS, QUICK_FROZEN_ITERATIONS = 3000, 500
MAP_POINTS = 120  # along each side

SETTINGS_NOTE = (
    "Depths, widths, numbers of sweeps and iterations, learning rates and step lengths are lost "
    "in the paper's text: those used here were chosen by us."
)


@dataclass(frozen=True)
class Plan:
    """The options with every default filled in."""

    rows: tuple[int, ...]
    seeds: int
    sweeps: dict[int, int]
    iterations: dict[int, int]
    frozen_iterations: int
    threads: int
    solver: str
    quick: bool

    def describe(self) -> dict[str, Any]:
        """Return the settings common to all runs, for the results file."""
        return {
            "quick": self.quick,
            "rows": {
                k: {"depth": ROWS[k].depth, "width": ROWS[k].width, "sweeps": self.sweeps[k],
                    "gradient_descent_iterations": self.iterations[k]}
                for k in self.rows
            },
            "solver": self.solver,
            "seeds": self.seeds,
            "seeds_vary": "initial weights; the data are the same for all runs",
            "data": DATA_SETTINGS,
            "loss": "mean cross-entropy of the true network after the last sweep or iteration",
            "dtype": "float64",
            "output_bias": False,
            "gradient_descent_rates": list(_torch_baseline.RATES),
            "note": SETTINGS_NOTE,
        }  # fmt: skip


DATA_SETTINGS = {"n_train": N_TRAIN, "n_test": N_TEST, "seed": DATA_SEED}


def run(options: RunOptions) -> str:
    """Run the experiment and return its report for the terminal."""
    return carry_out(make_job(options), options.out)


def make_job(options: RunOptions) -> Job:
    """Return what is to be done; refuse what does not fit."""
    plan = make_plan(options)
    require("matplotlib", "tqdm")
    with_torch = _torch_baseline.available()
    data = make_data()
    cases = {k: make_case(k, plan, data) for k in plan.rows}
    return Job(
        name="circle",
        settings=plan.describe(),
        threads=plan.threads,
        tasks=[t for case in cases.values() for t in make_tasks(case, plan.seeds, with_torch)],
        warm_up=warm_up,
        report=lambda found: Report(ROWS, cases, plan.seeds, found, SETTINGS_NOTE, plan.quick),
    )


def make_plan(options: RunOptions) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    quick = options.quick
    refuse_data(options, "the circle experiment draws its own points")
    rows = choose_rows(options, ROWS, QUICK_ROWS, "Table 5.1")
    sweeps = {
        k: options.sweeps or (ROWS[k].quick_sweeps if quick else ROWS[k].sweeps) for k in rows
    }
    iterations = {
        k: ITERATIONS_PER_SWEEP * options.sweeps
        if options.sweeps
        else (ROWS[k].quick_iterations if quick else ROWS[k].iterations)
        for k in rows
    }
    return Plan(
        rows=rows,
        seeds=options.seeds or (QUICK_SEEDS if quick else SEEDS),
        sweeps=sweeps,
        iterations=iterations,
        frozen_iterations=QUICK_FROZEN_ITERATIONS if quick else FROZEN_ITERATIONS,
        threads=options.threads or available_cpus(),
        solver=choose_solver(options, SOLVER),
        quick=quick,
    )


def make_data() -> Data:
    """Draw training and test points, and lay out the points of the decision maps."""
    rng = np.random.default_rng(DATA_SEED)
    X, y = make_circle(N_TRAIN, rng)
    X_test, y_test = make_circle(N_TEST, rng)
    axis = (np.arange(MAP_POINTS) + 0.5) / MAP_POINTS * 2.0 - 1.0
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return Data(X, y, X_test, y_test, grid)


def make_case(k: int, plan: Plan, data: Data) -> Case:
    """Return what the runs of one row of the table have in common."""
    row = ROWS[k]
    share = QUICK_TUNING_SHARE if plan.quick else TUNING_SHARE
    return Case(
        name=f"row {k}",
        data=data,
        data_settings=DATA_SETTINGS,
        hidden_layer_sizes=row.hidden_layer_sizes,
        activation=ACTIVATION,
        init=INIT,
        weights=WEIGHTS,
        solver=plan.solver,
        solver_options=solver_options(plan.solver, row.solver_options.get(plan.solver, {})),
        sweeps=plan.sweeps[k],
        iterations=plan.iterations[k],
        tuning_iterations=max(1, round(share * plan.iterations[k])),
        frozen_iterations=plan.frozen_iterations,
        threads=plan.threads,
    )
