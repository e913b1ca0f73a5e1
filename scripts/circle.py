"""Table 5.1 and Figures 5.1-5.3: is a point inside a circle?  LySep-FNN against CE-FNN.

The data are drawn once; the seeds vary the initial weights of the networks.  Every row also has
the frozen-features baseline: wide random hidden layers describe a disk well without any training,
so the last layer alone goes far on this task.
"""

from __future__ import annotations

import numpy as np

from lysep_fast.datasets import make_circle

from . import RunOptions, _classification
from ._circle_report import Report
from ._classification import MAP_POINTS, SETTINGS_NOTE, Plan, Row, Table, map_points
from ._experiment import Job, carry_out
from ._models import Data
from ._runner import Results
from ._tasks import Case

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
# Curves are thinned: results files stay small.
CURVE_POINTS = 100
N_TRAIN, N_TEST, DATA_SEED = 3000, 1000, 0
DATA_SETTINGS = {"n_train": N_TRAIN, "n_test": N_TEST, "seed": DATA_SEED}


def run(options: RunOptions) -> str:
    """Run the experiment and return its report for the terminal."""
    return carry_out(make_job(options), options.out)


def make_job(options: RunOptions) -> Job:
    """Return what is to be done; refuse what does not fit."""
    plan = make_plan(options)
    data = make_data()
    cases = {k: make_case(k, plan, data) for k in plan.rows}

    def report(found: Results) -> Report:
        return Report(ROWS, cases, plan.seeds, found, SETTINGS_NOTE, plan.quick)

    return _classification.make_job(plan, cases, DATA_SETTINGS, report)


def make_plan(options: RunOptions) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    table = Table(
        experiment="circle",
        title="Table 5.1",
        rows=ROWS,
        quick_rows=QUICK_ROWS,
        curve_points=CURVE_POINTS,
        data_note="the circle experiment draws its own points",
    )
    return _classification.make_plan(options, table)


def make_data() -> Data:
    """Draw training and test points, and lay out the points of the decision maps."""
    rng = np.random.default_rng(DATA_SEED)
    X, y = make_circle(N_TRAIN, rng)
    X_test, y_test = make_circle(N_TEST, rng)
    return Data(X, y, X_test, y_test, map_points(MAP_POINTS))


def make_case(k: int, plan: Plan, data: Data) -> Case:
    """Return what the runs of one row of the table have in common."""
    return _classification.make_case(k, plan, data, DATA_SETTINGS)
