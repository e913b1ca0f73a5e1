"""The runs of the models that are not the paper's: the fast solver, Adam and L-BFGS.

They stop at the last of the case's levels of the loss, because times until a loss are what they
are compared by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _models, _torch_optimisers
from ._experiment import solver_options
from ._rates import rate_task
from ._runner import Results, Task
from ._tasks import Advance, Case, summary

FAST = "quasi-newton"
TORCH = {"adam": "Adam", "lbfgs": "L-BFGS"}
# Share of Adam's steps that each rate is tried for.
TUNING_SHARE = 0.5


def make_rival_tasks(case: Case, n_seeds: int, with_torch: bool) -> list[Task]:
    """Return the runs in the order in which they are done."""
    seeds = range(n_seeds)
    tasks = [fast_task(case, seed) for seed in seeds]
    tasks.append(adam_rate_task(case, with_torch))
    return tasks + [torch_task(case, method, s, with_torch) for method in TORCH for s in seeds]


def fast_task(case: Case, seed: int) -> Task:
    """Return a run of the fast solver, with all of its defaults."""
    settings = {"solver": FAST, "solver_options": solver_options(FAST, {})}
    n_iter = case.rival_iterations["fast"]

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        found = _models.lysep(
            case.data,
            sweeps=n_iter,
            stop_at=case.levels[-1],
            seed=seed,
            n_threads=case.threads,
            with_map=seed == 0,
            advance=advance,
            hidden_layer_sizes=case.hidden_layer_sizes,
            activation=case.activation,
            **settings,
        )
        return case.thinned(found, n_iter)

    return Task(
        key=case.key("fast", seed),
        label=f"{case.name}, {FAST}, seed {seed}",
        settings=_settings(case, seed, "fast", **settings),
        n_steps=n_iter,
        run=run,
        summary=summary,
    )


def adam_rate_task(case: Case, possible: bool) -> Task:
    """Return the search for Adam's rate."""
    rates = _torch_optimisers.ADAM_RATES
    n_iter = max(1, round(TUNING_SHARE * case.rival_iterations["adam"]))

    def losses(rate: float, seed: int, advance: Advance) -> np.ndarray:
        return _torch_optimisers.train(
            case.data.X,
            case.data.y,
            method="adam",
            widths=case.widths,
            rate=rate,
            n_iter=n_iter,
            seed=seed,
            n_threads=case.threads,
            activation=case.activation,
            advance=advance,
        ).loss

    return rate_task(
        key=case.key("adam", "rate"),
        label=f"{case.name}, Adam",
        settings=case.settings(0, rates=rates, iterations=n_iter, **case.tuning()),
        rates=rates,
        seeds=case.tuning_seeds,
        n_iter=n_iter,
        losses=losses,
        possible=possible,
    )


def torch_task(case: Case, method: str, seed: int, possible: bool) -> Task:
    """Return a run of Adam, with the rate that `adam_rate_task` found, or of L-BFGS."""
    n_iter = case.rival_iterations[method]
    own: dict[str, Any] = {}
    if method == "adam":
        own = {"rates": _torch_optimisers.ADAM_RATES, **case.tuning()}

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        rate = results[case.key("adam", "rate")]["rate"] if method == "adam" else 1.0
        found = _models.optimiser(
            case.data,
            method=method,
            widths=case.widths,
            rate=rate,
            n_iter=n_iter,
            stop_at=case.levels[-1],
            seed=seed,
            n_threads=case.threads,
            activation=case.activation,
            with_map=seed == 0,
            advance=advance,
        )
        return case.thinned(found, n_iter)

    return Task(
        key=case.key(method, seed),
        label=f"{case.name}, {TORCH[method]}, seed {seed}",
        settings=_settings(case, seed, method, **own),
        n_steps=n_iter,
        run=run,
        summary=summary,
        possible=possible,
    )


def _settings(case: Case, seed: int, model: str, **own: Any) -> dict[str, Any]:
    n_iter = case.rival_iterations[model]
    return case.settings(seed, iterations=n_iter, levels=case.levels, **own)
