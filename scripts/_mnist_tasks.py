"""The runs of one convolutional network: solvers of lysep_fast, baselines in torch, seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lysep_fast import __version__

from . import _mnist_models, _mnist_torch
from ._mnist_figures import MODELS
from ._mnist_models import Architecture, Method, Rival, settings
from ._models import Data
from ._rates import rate_task
from ._runner import Results, Task
from ._tasks import summary

Advance = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A network, its data, and how each model is trained on them.

    Attributes
    ----------
    name : str
        First part of the runs' keys and labels.
    data, data_settings
        The samples, and what the results file says about them.
    architecture : Architecture
        The network.
    methods, rivals : dict
        By model: how it is trained, by lysep_fast and in torch.
    threads : int
        Threads of every model.
    most_seeds : dict
        By model: bound on its number of seeds, for those that take too long for all of them.
    """

    name: str
    data: Data
    data_settings: dict[str, Any]
    architecture: Architecture
    methods: dict[str, Method]
    rivals: dict[str, Rival]
    threads: int
    most_seeds: dict[str, int]

    def seeds(self, model: str, n_seeds: int) -> range:
        """Return the seeds of a model when so many are asked for."""
        return range(min(n_seeds, self.most_seeds.get(model, n_seeds)))

    def key(self, model: str, seed: int | str) -> str:
        """Return the name of a run in the results file."""
        return f"{self.name}/{model}/{seed}"

    def label(self, model: str, rest: str) -> str:
        """Return the name of a run for people."""
        return f"{self.name}, {MODELS[model].title}, {rest}"

    def settings(self, seed: int, how: Method | Rival) -> dict[str, Any]:
        """Return all that a result depends on."""
        return {
            **settings(self.architecture),
            "seed": seed,
            "data": self.data_settings,
            "curve_samples": _mnist_models.CURVE_SAMPLES,
            "lysep_fast": __version__,
            **settings(how),
        }


def make_tasks(case: Case, n_seeds: int, with_torch: bool) -> list[Task]:
    """Return the runs of all models, in the order in which they are done."""
    tasks = [method_task(case, m, s) for m in case.methods for s in case.seeds(m, n_seeds)]
    for model, rival in case.rivals.items():
        if rival.rates:
            tasks.append(rival_rate_task(case, model, with_torch))
        seeds = case.seeds(model, n_seeds)
        tasks += [rival_task(case, model, seed, with_torch) for seed in seeds]
    return tasks


def method_task(case: Case, model: str, seed: int) -> Task:
    """Return a run of a solver of lysep_fast."""
    method = case.methods[model]

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        return _mnist_models.lysep(
            case.data,
            architecture=case.architecture,
            method=method,
            seed=seed,
            n_threads=case.threads,
            with_predictions=seed == 0 and model == "lysep",
            advance=advance,
        )

    return Task(
        key=case.key(model, seed),
        label=case.label(model, f"seed {seed}"),
        settings=case.settings(seed, method),
        n_steps=method.n_iter,
        run=run,
        summary=summary,
    )


def rival_rate_task(case: Case, model: str, possible: bool) -> Task:
    """Return the search for a baseline's rate."""
    rival = case.rivals[model]

    def losses(rate: float, seed: int, advance: Advance) -> Any:
        return _mnist_torch.train(
            case.data.X,
            case.data.y,
            network=case.architecture.network(case.data),
            optimiser=rival.optimiser,
            rate=rate,
            n_iter=rival.tuning_iterations,
            batch_size=rival.batch_size,
            seed=seed,
            n_threads=case.threads,
            curve_samples=1,
            advance=advance,
        ).losses

    return rate_task(
        key=case.key(model, "rate"),
        label=f"{case.name}, {MODELS[model].title}",
        settings=case.settings(0, rival),
        rates=rival.rates,
        seeds=rival.tuning_seeds,
        n_iter=rival.tuning_iterations,
        losses=losses,
        possible=possible,
    )


def rival_task(case: Case, model: str, seed: int, possible: bool) -> Task:
    """Return a run of a baseline, with the rate that `rival_rate_task` found if it has one."""
    rival = case.rivals[model]

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        return _mnist_models.rival(
            case.data,
            architecture=case.architecture,
            how=rival,
            rate=results[case.key(model, "rate")]["rate"] if rival.rates else None,
            seed=seed,
            n_threads=case.threads,
            advance=advance,
        )

    return Task(
        key=case.key(model, seed),
        label=case.label(model, f"seed {seed}"),
        settings=case.settings(seed, rival),
        n_steps=rival.n_iter,
        run=run,
        summary=summary,
        possible=possible,
    )
