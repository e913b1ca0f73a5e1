"""Table 5.2 and Figure 5.4: on which side of a moving interface is a point?

The interface is the zero set of a solution of the Allen-Cahn equation at four times; it starts as
a flower with a droplet and ends as a disk, so the early slices are the hard ones.  Points are
drawn once, the same for all times; the seeds vary the initial weights of the networks.
"""

from __future__ import annotations

import numpy as np

from lysep_fast.datasets import make_interface
from lysep_fast.datasets.allen_cahn import EPS, GRID, INTERFACE_TIMES, STEP

from . import RunOptions, _classification
from ._classification import MAP_POINTS, SETTINGS_NOTE, Plan, Row, Table, map_points
from ._experiment import Job, carry_out
from ._interface_report import Report
from ._models import Data
from ._runner import Results
from ._tasks import Case

WIDTH = 100

# By depth and slice: sweeps of layer separation and iterations of gradient descent (both: full,
# quick), which are lost in the paper's text and our choice; then the paper's figures.
_ROWS = (
    (3, 1, 2200, 200, 800, 150,
     (1.50e-1, 1.05e-2), (0.9452, 0.0047), (1.67e-2, 1.96e-3), (0.9943, 0.0010)),
    (3, 2, 700, 200, 800, 150,
     (1.25e-1, 9.05e-3), (0.9527, 0.0057), (1.41e-2, 2.73e-3), (0.9948, 0.0015)),
    (3, 3, 400, 150, 800, 150,
     (8.22e-2, 6.91e-3), (0.9689, 0.0033), (8.33e-3, 2.68e-3), (0.9969, 0.0006)),
    (3, 4, 1700, 200, 800, 150,
     (4.75e-2, 6.11e-3), (0.9920, 0.0030), (2.06e-3, 4.36e-4), (0.9998, 0.0003)),
    (6, 1, 180, 40, 300, 80,
     (4.30e-1, 1.81e-1), (0.8192, 0.0843), (4.12e-2, 3.47e-3), (0.9843, 0.0025)),
    (6, 2, 60, 20, 300, 80,
     (3.26e-1, 2.25e-1), (0.8635, 0.0995), (3.82e-2, 3.99e-3), (0.9841, 0.0027)),
    (6, 3, 60, 20, 300, 80,
     (4.21e-1, 1.84e-1), (0.8270, 0.0768), (2.01e-2, 2.14e-3), (0.9914, 0.0009)),
    (6, 4, 120, 30, 300, 80,
     (2.06e-1, 1.88e-1), (0.9302, 0.0678), (6.63e-3, 9.33e-4), (0.9975, 0.0005)),
    (10, 1, 30, 15, 120, 40,
     (5.43e-1, 1.14e-2), (0.7670, 0.0095), (1.19e-1, 2.64e-2), (0.9649, 0.0141)),
    (10, 2, 30, 15, 120, 40,
     (5.35e-1, 1.18e-2), (0.7730, 0.0095), (1.15e-1, 2.64e-2), (0.9611, 0.0150)),
    (10, 3, 30, 15, 120, 40,
     (5.10e-1, 1.15e-2), (0.7929, 0.0086), (9.06e-2, 1.02e-2), (0.9657, 0.0060)),
    (10, 4, 30, 15, 120, 40,
     (3.97e-1, 1.51e-2), (0.8644, 0.0081), (2.61e-2, 3.62e-3), (0.9941, 0.0014)),
)  # fmt: skip
# The many iterations of depth 3 need no full trials; in deep networks too large a rate shows late.
TUNING_SHARES = {3: 0.25, 6: 1.0, 10: 1.0}
ROWS: dict[int, Row] = {
    k: Row(
        depth, WIDTH, *rest, solver_options={"alternating": {}}, part=part,
        tuning_share=TUNING_SHARES[depth],
    )
    for k, (depth, part, *rest) in enumerate(_ROWS, start=1)
}  # fmt: skip

QUICK_ROWS = (1, 12)
N_TRAIN, N_TEST, DATA_SEED = 3000, 1000, 0
N_GRID, TIME_STEP = GRID, STEP
# Curves are thinned, more than those of the circle: there are twelve rows.
CURVE_POINTS = 80


def run(options: RunOptions) -> str:
    """Run the experiment and return its report for the terminal."""
    return carry_out(make_job(options), options.out)


def make_job(options: RunOptions) -> Job:
    """Return what is to be done; refuse what does not fit."""
    plan = make_plan(options)
    data, fields = make_data()
    cases = {k: make_case(k, plan, data) for k in plan.rows}

    def report(found: Results) -> Report:
        settings = (ROWS, cases, plan.seeds, found, SETTINGS_NOTE, plan.quick)
        return Report(*settings, fields=fields)

    return _classification.make_job(plan, cases, data_settings(), report)


def make_plan(options: RunOptions) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    table = Table(
        experiment="interface",
        title="Table 5.2",
        rows=ROWS,
        quick_rows=QUICK_ROWS,
        curve_points=CURVE_POINTS,
        data_note="the interface experiment solves its own equation",
    )
    return _classification.make_plan(options, table)


def data_settings() -> dict[str, object]:
    """Return what the data depend on."""
    return {
        "n_train": N_TRAIN,
        "n_test": N_TEST,
        "seed": DATA_SEED,
        "eps": EPS,
        "n_grid": N_GRID,
        "time_step": TIME_STEP,
        "times": INTERFACE_TIMES,
    }


def make_data() -> tuple[dict[int, Data], dict[int, np.ndarray]]:
    """Solve the equation; return the data of every slice, and the solution on the grid."""
    slices = make_interface(
        N_TRAIN, N_TEST, INTERFACE_TIMES, DATA_SEED, n_grid=N_GRID, step=TIME_STEP
    )
    points = map_points(MAP_POINTS)
    data = {
        part: Data(s.X_train, s.y_train, s.X_test, s.y_test, points)
        for part, s in enumerate(slices, start=1)
    }
    return data, {part: s.u for part, s in enumerate(slices, start=1)}


def make_case(k: int, plan: Plan, data: dict[int, Data]) -> Case:
    """Return what the runs of one row of the table have in common."""
    part = ROWS[k].part
    settings = {**data_settings(), "slice": part}
    return _classification.make_case(k, plan, data[part], settings)
