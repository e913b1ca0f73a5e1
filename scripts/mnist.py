"""Table 5.3: handwritten digits.  LySep-CNN against CE-CNN, on all 60000 training images of MNIST.

LySep-CNN is Algorithm 2 with measured weights on fresh subsets.  Beside it stand Algorithm 2 to
the letter, whose norm products freeze the convolutions, the package's solver for test accuracy,
and torch: gradient descent and Adam, which work through as many images as LySep-CNN, and L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lysep_fast.datasets import load_mnist
from lysep_fast.threads.team import available_cpus

from . import ExperimentError, MissingData, RunOptions, _torch_loop
from ._environment import require
from ._experiment import Job, carry_out, choose_rows, choose_solver, solver_options
from ._mnist_models import Architecture, Method, Rival, warm_up
from ._mnist_report import Report
from ._mnist_tasks import Case, make_tasks
from ._models import Data
from ._rates import TUNING_SEEDS


@dataclass(frozen=True)
class Row:
    """One row of Table 5.3: its network, our sweeps, and the paper's figures.

    Figures are (mean, standard deviation) on the training set; accuracies are shares.
    """

    layers: int
    channels: int
    sweeps: int
    quick_sweeps: int
    paper_ce_loss: tuple[float, float]
    paper_ce_accuracy: tuple[float, float]
    paper_lysep_loss: tuple[float, float]
    paper_lysep_accuracy: tuple[float, float]

    @property
    def architecture(self) -> Architecture:
        """The network; all pool down to 7 x 7 positions, 49 features per channel."""
        return Architecture((self.channels,) * self.layers, POOL_SIZES[self.layers], HIDDEN)


POOL_SIZES = {1: (4,), 2: (2, 2), 3: (2, 2, 1)}
HIDDEN = 64

# Which of the two groupings of Table 5.3 is the depth and which the channels, the channels
# themselves and the numbers of sweeps (full, quick) are lost in the paper's text: our choice.
ROWS: dict[int, Row] = {
    1: Row(
        1, 4, 240, 240,
        (3.24e-1, 2.62e-2), (0.9052, 0.0092), (2.15e-1, 4.94e-2), (0.9439, 0.0176),
    ),
    2: Row(
        1, 8, 480, 240,
        (2.60e-1, 2.89e-2), (0.9239, 0.0104), (8.67e-2, 2.12e-2), (0.9932, 0.0037),
    ),
    3: Row(
        1, 16, 720, 240,
        (1.96e-1, 2.13e-2), (0.9442, 0.0094), (2.92e-2, 4.87e-3), (0.9980, 0.0009),
    ),
    4: Row(
        2, 4, 240, 240,
        (3.04e-1, 2.68e-2), (0.9077, 0.0082), (2.02e-1, 4.44e-2), (0.9528, 0.0180),
    ),
    5: Row(
        2, 8, 480, 240,
        (2.18e-1, 2.65e-2), (0.9351, 0.0103), (8.81e-2, 3.51e-2), (0.9915, 0.0095),
    ),
    6: Row(
        2, 16, 720, 240,
        (1.64e-1, 1.69e-2), (0.9537, 0.0046), (2.80e-2, 9.59e-3), (0.9983, 0.0008),
    ),
    7: Row(
        3, 4, 240, 240,
        (2.79e-1, 3.30e-2), (0.9170, 0.0095), (2.32e-1, 7.19e-2), (0.9408, 0.0262),
    ),
    8: Row(
        3, 8, 480, 240,
        (2.09e-1, 2.84e-2), (0.9408, 0.0112), (9.82e-2, 3.47e-2), (0.9891, 0.0087),
    ),
    9: Row(
        3, 16, 720, 240,
        (1.43e-1, 1.71e-2), (0.9597, 0.0065), (5.09e-2, 2.82e-2), (0.9968, 0.0014),
    ),
}  # fmt: skip

QUICK_ROWS = (4,)
SEEDS, QUICK_SEEDS = 10, 1
#: The solvers that train convolutions.
SOLVER, SOLVERS = "measured-sweeps", ("alternating", "measured-sweeps", "mini-batch")
# Algorithm 2 draws subsets of BATCH images; to the letter it does so every REFRESH sweeps.
BATCH, REFRESH = 500, 10
# Below the default of 0.3: late in long runs the losses are so small that 0.3 makes them jump.
STEP = 0.2
LITERAL_SWEEPS, QUICK_LITERAL_SWEEPS = 60, 20
FAST_BATCH = 64  # the solver's own choice for convolutions
TORCH_BATCH = 128
RATES, ADAM_RATES = (0.03, 0.1, 0.3, 1.0), (1e-3, 3e-3)
# Share of the steps that the baselines try every rate for.
TUNING_SHARE = 0.25
# L-BFGS evaluates all images at once. With as many images as the others it would see two to six
# networks; it gets more, and so takes too long for more seeds.
LBFGS_EVALUATIONS, QUICK_LBFGS_EVALUATIONS, LBFGS_SEEDS = 12, 4, 1

SETTINGS_NOTE = (
    "Channels, kernel and pooling sizes, the hidden width, batch sizes, refresh period, numbers "
    "of sweeps, learning rates, and which rows are which depth are lost in the paper's text: "
    "those used here were chosen by us."
)


@dataclass(frozen=True)
class Plan:
    """The options with every default filled in."""

    rows: tuple[int, ...]
    seeds: int
    sweeps: dict[int, int]
    literal_sweeps: int
    lbfgs_evaluations: int
    threads: int
    solver: str
    quick: bool

    def describe(self) -> dict[str, Any]:
        """Return the settings common to all runs, for the results file."""
        return {
            "quick": self.quick,
            "rows": {
                k: {"layers": ROWS[k].layers, "channels": ROWS[k].channels,
                    "pool_sizes": POOL_SIZES[ROWS[k].layers], "sweeps": self.sweeps[k]}
                for k in self.rows
            },
            "solver": self.solver,
            "literal_sweeps": self.literal_sweeps,
            "lbfgs_evaluations": self.lbfgs_evaluations,
            "seeds": self.seeds,
            "seeds_vary": "initial weights and subsets; the data are the same for all runs",
            "loss": "mean cross-entropy of the true network at the end, on all training images",
            "output_bias": False,
            "note": SETTINGS_NOTE,
        }  # fmt: skip


def run(options: RunOptions) -> str:
    """Run the experiment and return its report for the terminal."""
    return carry_out(make_job(options), options.out)


def make_job(options: RunOptions) -> Job:
    """Return what is to be done; refuse what does not fit."""
    plan = make_plan(options)
    require("matplotlib", "tqdm")
    with_torch = _torch_loop.available()
    data = load(options.data)
    cases = {k: make_case(k, plan, data) for k in plan.rows}
    methods = list(next(iter(cases.values())).methods.values())
    return Job(
        name="mnist",
        settings=plan.describe(),
        threads=plan.threads,
        tasks=[t for case in cases.values() for t in make_tasks(case, plan.seeds, with_torch)],
        warm_up=lambda: warm_up(methods),
        report=lambda found: Report(ROWS, cases, plan.seeds, found, SETTINGS_NOTE, plan.quick),
    )


def make_plan(options: RunOptions) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    quick = options.quick
    rows = choose_rows(options, ROWS, QUICK_ROWS, "Table 5.3")
    literal = QUICK_LITERAL_SWEEPS if quick else LITERAL_SWEEPS
    evaluations = QUICK_LBFGS_EVALUATIONS if quick else LBFGS_EVALUATIONS
    return Plan(
        rows=rows,
        seeds=options.seeds or (QUICK_SEEDS if quick else SEEDS),
        sweeps={
            k: options.sweeps or (ROWS[k].quick_sweeps if quick else ROWS[k].sweeps) for k in rows
        },
        literal_sweeps=min(literal, options.sweeps or literal),
        lbfgs_evaluations=min(evaluations, options.sweeps or evaluations),
        threads=options.threads or available_cpus(),
        solver=choose_solver(options, SOLVER, SOLVERS),
        quick=quick,
    )


def load(folder: Path | None) -> Data:
    """Return the images; say where to get them when they are not there."""
    try:
        found = load_mnist(folder)
    except FileNotFoundError as error:
        raise MissingData(f"{error}\nHere --data DIR names their folder.") from None
    except ValueError as error:
        raise ExperimentError(str(error)) from None
    return Data(*found)


def make_case(k: int, plan: Plan, data: Data) -> Case:
    """Return what the runs of one row of the table have in common."""
    n, sweeps = len(data.X), plan.sweeps[k]
    methods = {
        "lysep": make_method(plan.solver, sweeps, n),
        "literal": make_method("alternating", plan.literal_sweeps, n),
        "fast": make_method("mini-batch", sweeps, n),
    }
    methods = {
        model: method
        for model, method in methods.items()
        if model == "lysep" or method.solver != plan.solver
    }
    steps = max(1, round(sweeps * BATCH / TORCH_BATCH))
    tuning = max(1, round(TUNING_SHARE * steps))
    return Case(
        name=f"row {k}",
        data=data,
        data_settings={"name": "MNIST", "n_train": n, "n_test": len(data.X_test)},
        architecture=ROWS[k].architecture,
        methods=methods,
        rivals={
            "descent": Rival("descent", RATES, steps, tuning, TUNING_SEEDS, TORCH_BATCH),
            "adam": Rival("adam", ADAM_RATES, steps, tuning, TUNING_SEEDS, TORCH_BATCH),
            "lbfgs": Rival("lbfgs", (), plan.lbfgs_evaluations, 0, (), None, "evaluations"),
        },
        threads=plan.threads,
        most_seeds={"lbfgs": LBFGS_SEEDS},
    )


def make_method(solver: str, sweeps: int, n: int) -> Method:
    """Return how a solver works through as many images as so many sweeps on n images.

    The alternating method runs in float64: in float32 most of its fits of the first fully
    connected layer fall back to QR.
    """
    size = min(BATCH, n)
    chosen: dict[str, Any] = {"batch_size": size, "report_every": 1}
    if solver == "alternating":
        chosen["refresh_every"] = REFRESH
        return Method(solver, solver_options(solver, chosen), sweeps, dtype="float64")
    if solver == "mini-batch":
        chosen = {"batch_size": min(FAST_BATCH, n), "monitor": "running"}
        epochs = max(1, round(sweeps * size / n))
        return Method(solver, solver_options(solver, chosen), epochs, "epochs")
    chosen["step"] = STEP
    return Method(solver, solver_options(solver, chosen), sweeps)
