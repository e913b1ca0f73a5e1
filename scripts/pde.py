"""Differential equations with known solutions: the package's solvers against networks in torch.

For every equation and seed, variable projection does 200 iterations, and every other method gets
the time that this took; torch goes on to five times as much.  Points and first hidden weights are
the same for all.  The seeds start at 3, because the solvers were tuned on 0, 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lysep_fast.threads.team import available_cpus

from . import RunOptions, UsageError, _torch_loop
from ._environment import require
from ._experiment import Job, carry_out, refuse_data
from ._pde_examples import EXAMPLES, Example
from ._pde_methods import warm_up
from ._pde_recorder import Judge
from ._pde_report import Report
from ._pde_tasks import ADAM_SHARE, FACTORS, RATES, Case, make_tasks

KNOWN = {example.name: example for example in EXAMPLES}
#: The equation of the second paper's figure: more seeds than the others.
ELLIPTIC = "poisson-2d"
QUICK_PROBLEMS = (ELLIPTIC, "poisson-5d", "heat")
FIRST_SEED, SEEDS, ELLIPTIC_SEEDS, QUICK_SEEDS = 3, 5, 10, 2
ITERATIONS = 200
POINTS = {"n_interior": 512, "n_boundary": 128, "boundary_weight": 100.0}
TEST_POINTS, TEST_SEED, GRID = 4000, 99, 41
ACTIVATION = "tanh"


@dataclass(frozen=True)
class Plan:
    """The options with every default filled in."""

    problems: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]
    iterations: int
    threads: int
    quick: bool

    def describe(self) -> dict[str, Any]:
        """Return the settings common to all runs, for the results file."""
        return {
            "quick": self.quick,
            "seeds": self.seeds,
            "seeds_vary": "collocation points and first weights; tuning used the seeds 0, 1, 2",
            "iterations_of_variable_projection": self.iterations,
            "factors_of_time": FACTORS,
            "test_points": TEST_POINTS,
            "adam": {"rates": RATES, "share_before_lbfgs": ADAM_SHARE},
            **POINTS,
        }


def run(options: RunOptions) -> str:
    """Run the experiment and return its report for the terminal."""
    return carry_out(make_job(options), options.out)


def make_job(options: RunOptions) -> Job:
    """Return what is to be done; refuse what does not fit."""
    plan = make_plan(options)
    require("matplotlib", "tqdm")
    with_torch = _torch_loop.available()
    cases = {name: make_case(KNOWN[name], plan) for name in plan.problems}
    problem = next(iter(cases.values())).judge.problem
    return Job(
        name="pde",
        settings=plan.describe(),
        threads=plan.threads,
        tasks=[task for case in cases.values() for task in make_tasks(case, with_torch)],
        warm_up=lambda: warm_up(problem),
        report=lambda found: Report(cases, found, ELLIPTIC, plan.quick, (GRID, GRID)),
    )


def make_plan(options: RunOptions) -> Plan:
    """Fill the defaults in; refuse what does not fit."""
    refuse_data(options, "the equations have known solutions and need no files")
    if options.rows is not None:
        raise UsageError("--rows: this experiment has named problems; choose with --problems")
    if options.solver is not None:
        raise UsageError("--solver: this experiment runs all solvers; leave it out")
    chosen = options.problems or (QUICK_PROBLEMS if options.quick else KNOWN)
    for name in chosen:
        if name not in KNOWN:
            raise UsageError(
                f"--problems: {name!r} is unknown; choose among {', '.join(KNOWN)}, for instance "
                f"--problems {','.join(QUICK_PROBLEMS)}"
            )
    problems = tuple(name for name in KNOWN if name in chosen)
    default = QUICK_SEEDS if options.quick else SEEDS
    counts = {
        name: options.seeds
        or (ELLIPTIC_SEEDS if name == ELLIPTIC and not options.quick else default)
        for name in problems
    }
    return Plan(
        problems=problems,
        seeds={k: tuple(range(FIRST_SEED, FIRST_SEED + n)) for k, n in counts.items()},
        iterations=options.sweeps or ITERATIONS,
        threads=options.threads or available_cpus(),
        quick=options.quick,
    )


def make_case(example: Example, plan: Plan) -> Case:
    """Return what the runs of one equation have in common."""
    problem = example.make()
    X = problem.domain.interior(TEST_POINTS, np.random.default_rng(TEST_SEED))
    grid = None
    if problem.dimension == 2:
        low, high = problem.domain.bounds()
        axes = [np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    return Case(
        example=example,
        judge=Judge(problem, ACTIVATION, X, grid),
        points=POINTS,
        max_iter=plan.iterations,
        seeds=plan.seeds[example.name],
        threads=plan.threads,
    )
