"""The runs of one network on one data set: layer separation and frozen features, several seeds.

The other models are in `_rival_tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from lysep_fast import __version__

from . import _models
from ._curves import reached, thin
from ._runner import Results, Task

Advance = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A network, its data, and how each model is trained on them.

    Attributes
    ----------
    name : str
        First part of the runs' keys and labels.
    data : Data
        The samples; `data_settings` is what the results file says about them.
    solver, solver_options, init, weights : see `lysep_fast.train`
    sweeps : int
        Sweeps of layer separation.
    iterations, tuning_iterations : int
        Iterations of gradient descent, and of its trial with every rate.
    tuning_seeds : tuple of int
        Seeds that gradient descent and Adam try every rate with.
    frozen_iterations : int
        Bound on the iterations of L-BFGS for the last layer.
    threads : int
        Threads of every model.
    levels : tuple of float
        Losses whose times are compared: the paper's, then a smaller one at which the rivals stop.
    rival_iterations : mapping
        By model, "fast", "adam" or "lbfgs": bound on its steps, or evaluations for L-BFGS.
    curve_points : int
        About how many entries of a curve are kept.
    """

    name: str
    data: _models.Data
    data_settings: dict[str, Any]
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    init: str
    weights: str
    solver: str
    solver_options: dict[str, Any]
    sweeps: int
    iterations: int
    tuning_iterations: int
    tuning_seeds: tuple[int, ...]
    frozen_iterations: int
    threads: int
    levels: tuple[float, ...]
    rival_iterations: Mapping[str, int]
    curve_points: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of the input, the hidden layers and the output."""
        return (self.data.X.shape[1], *self.hidden_layer_sizes, int(self.data.y.max()) + 1)

    def key(self, model: str, seed: int | str) -> str:
        """Return the name of a run in the results file."""
        return f"{self.name}/{model}/{seed}"

    def settings(self, seed: int, **own: Any) -> dict[str, Any]:
        """Return all that a model's result depends on."""
        return {
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "activation": self.activation,
            "seed": seed,
            "data": self.data_settings,
            "lysep_fast": __version__,
            **own,
        }

    def thinned(self, result: dict[str, Any], n_iter: int) -> dict[str, Any]:
        """Return a result with thin curves, `n_iter` the most steps that they can have."""
        curves = result["curves"]
        times = reached(curves, self.levels)
        found = thin(curves, self.curve_points, n_iter + 1)
        return {**result, "curves": found, "reached": times}

    def thinning(self) -> dict[str, Any]:
        """Return the settings of `thinned`."""
        return {"levels": self.levels, "curve_points": self.curve_points}

    def tuning(self) -> dict[str, Any]:
        """Return the settings that all searches for a rate share."""
        return {"tuning_seeds": self.tuning_seeds}


def make_tasks(case: Case, n_seeds: int) -> list[Task]:
    """Return the runs in the order in which they are done."""
    seeds = range(n_seeds)
    return [lysep_task(case, s) for s in seeds] + [frozen_task(case, s) for s in seeds]


def lysep_task(case: Case, seed: int) -> Task:
    """Return a run of layer separation."""
    settings = {
        "solver": case.solver,
        "solver_options": case.solver_options,
        "init": case.init,
        "weights": case.weights,
    }

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        found = _models.lysep(
            case.data,
            sweeps=case.sweeps,
            seed=seed,
            n_threads=case.threads,
            with_map=seed == 0,
            advance=advance,
            hidden_layer_sizes=case.hidden_layer_sizes,
            activation=case.activation,
            **settings,
        )
        return case.thinned(found, case.sweeps)

    return Task(
        key=case.key("lysep", seed),
        label=f"{case.name}, LySep-FNN, seed {seed}",
        settings=case.settings(seed, sweeps=case.sweeps, **settings, **case.thinning()),
        n_steps=case.sweeps,
        run=run,
        summary=summary,
    )


def frozen_task(case: Case, seed: int) -> Task:
    """Return a run with the hidden layers as drawn."""

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        with threadpool_limits(case.threads, user_api="blas"):
            return _models.frozen(
                case.data,
                hidden_layer_sizes=case.hidden_layer_sizes,
                activation=case.activation,
                init=case.init,
                max_iter=case.frozen_iterations,
                seed=seed,
                with_map=seed == 0,
            )

    return Task(
        key=case.key("frozen", seed),
        label=f"{case.name}, frozen features, seed {seed}",
        settings=case.settings(seed, init=case.init, max_iter=case.frozen_iterations),
        n_steps=1,
        run=run,
        summary=summary,
    )


def summary(result: dict[str, Any]) -> str:
    """Return a finished run in a few words."""
    loss = "not finite" if result["loss"] is None else f"{result['loss']:.2e}"
    return f"CE {loss}, {100 * result['accuracy']:.2f} %, {result['seconds']:.1f} s"
