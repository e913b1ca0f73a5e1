"""The runs of the rivals: gradient descent as in the paper, the fast solver, Adam and L-BFGS.

All but gradient descent stop at the last of the case's levels of the loss, because times until a
loss are what they are compared by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _models, _torch_classifier
from ._experiment import solver_options
from ._rates import rate_task
from ._runner import Results, Task
from ._tasks import Advance, Case, summary
from ._torch_classifier import RATES

FAST = "quasi-newton"
TORCH = {"descent": "CE-FNN", "adam": "Adam", "lbfgs": "L-BFGS"}
# Share of Adam's steps that each rate is tried for.
TUNING_SHARE = 0.5


def make_rival_tasks(case: Case, n_seeds: int, with_torch: bool) -> list[Task]:
    """Return the runs in the order in which they are done."""
    tasks = []
    for method in TORCH:
        if method == "adam":
            tasks += [fast_task(case, seed) for seed in range(n_seeds)]
        if method in RATES:
            tasks.append(rate_search(case, method, with_torch))
        tasks += [torch_task(case, method, seed, with_torch) for seed in range(n_seeds)]
    return tasks


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
        settings=case.settings(seed, iterations=n_iter, levels=case.levels, **settings),
        n_steps=n_iter,
        run=run,
        summary=summary,
    )


def rate_search(case: Case, method: str, possible: bool) -> Task:
    """Return the search for the rate of gradient descent or Adam."""
    rates = RATES[method]
    n_iter = case.tuning_iterations
    if method != "descent":
        n_iter = max(1, round(TUNING_SHARE * case.rival_iterations[method]))

    def losses(rate: float, seed: int, advance: Advance) -> np.ndarray:
        return _torch_classifier.train(
            case.data.X,
            case.data.y,
            rate=rate,
            n_iter=n_iter,
            advance=advance,
            **_common(case, method, seed),
        ).loss

    return rate_task(
        key=case.key(method, "rate"),
        label=f"{case.name}, {TORCH[method]}",
        settings=case.settings(0, rates=rates, iterations=n_iter, **case.tuning()),
        rates=rates,
        seeds=case.tuning_seeds,
        n_iter=n_iter,
        losses=losses,
        possible=possible,
    )


def torch_task(case: Case, method: str, seed: int, possible: bool) -> Task:
    """Return a run in torch, with the rate that `rate_search` found if there is one."""
    descent = method == "descent"
    n_iter = case.iterations if descent else case.rival_iterations[method]
    own: dict[str, Any] = {"iterations": n_iter, "levels": case.levels}
    if method in RATES:
        own |= {"rates": RATES[method], **case.tuning()}
    if descent:
        own |= {"tuning_iterations": case.tuning_iterations, **case.thinning()}

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        found = _models.in_torch(
            case.data,
            rate=results[case.key(method, "rate")]["rate"] if method in RATES else 1.0,
            n_iter=n_iter,
            stop_at=0.0 if descent else case.levels[-1],
            with_map=seed == 0,
            advance=advance,
            **_common(case, method, seed),
        )
        return case.thinned(found, n_iter)

    return Task(
        key=case.key(method, seed),
        label=f"{case.name}, {TORCH[method]}, seed {seed}",
        settings=case.settings(seed, **own),
        n_steps=n_iter,
        run=run,
        summary=summary,
        possible=possible,
    )


def _common(case: Case, method: str, seed: int) -> dict[str, Any]:
    return {
        "method": method,
        "widths": case.widths,
        "activation": case.activation,
        "seed": seed,
        "n_threads": case.threads,
    }
