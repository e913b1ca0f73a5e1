"""The runs of one equation: the package's solvers, and a network in torch given the same time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from lysep_fast import __version__
from lysep_fast.pde import PDE_SOLVERS
from lysep_fast.pde.solve import default_scale

from . import _pde_methods, _pde_torch
from ._pde_examples import Example
from ._pde_recorder import Judge, Recorder
from ._runner import Results, Task

Advance = Callable[[], None]
MAIN = "variable-projection"
#: Times that torch gets, as multiples of what variable projection took.
FACTORS = (1, 5)
#: Settings of torch: rates of Adam, and the share of the time after which L-BFGS takes over.
RATES, ADAM_SHARE = (3e-3, 1e-2, 3e-2), 0.5
UNLIMITED = 10**9


@dataclass(frozen=True)
class Model:
    """A method of the comparison.

    Attributes
    ----------
    title : str
        For people.
    kind : {"ours", "torch"}
        Who computes.
    method : str
        Name of the solver, or of the method in `_pde_torch.train`.
    options : dict
        Options of the solver.
    widths : tuple of int or None
        Hidden layers, where they are not the example's.
    """

    title: str
    kind: str
    method: str
    options: dict[str, Any]
    widths: tuple[int, ...] | None = None

    @property
    def all_options(self) -> dict[str, Any]:
        """All options of a solver, so that a changed default counts as a changed setting."""
        parameters = inspect.signature(PDE_SOLVERS[self.method]).parameters.values()
        return {**{p.name: p.default for p in parameters}, **self.options}


MODELS = {
    MAIN: Model("variable projection", "ours", MAIN, {}),
    "nesterov": Model("Nesterov sweeps", "ours", "nesterov", {}),
    "alternating": Model("alternating sweeps", "ours", "alternating", {}),
    "random-features": Model("random features", "ours", "random-features", {}),
    "wide": Model(
        "one wide random layer", "ours", "random-features",
        {"scales": (0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0)}, (200,),
    ),
    "adam": Model("PINN, Adam", "torch", "adam", {}),
    "lbfgs": Model("PINN, L-BFGS", "torch", "lbfgs", {}),
    "adam-lbfgs": Model("PINN, Adam then L-BFGS", "torch", "adam-lbfgs", {}),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One equation and how it is solved.

    Attributes
    ----------
    example : Example
        Equation, network and reference figures.
    judge : Judge
        Without a grid, or with one for the pictures of the first seed.
    points : dict
        Numbers of points, and weight of the boundary term.
    max_iter : int
        Iterations of variable projection, which set the time for all.
    seeds : tuple of int
        Seeds of points and first weights.
    threads : int
        Threads of every model.
    """

    example: Example
    judge: Judge
    points: dict[str, Any]
    max_iter: int
    seeds: tuple[int, ...]
    threads: int

    def key(self, model: str, seed: int | str) -> str:
        """Return the name of a run in the results file."""
        return f"{self.example.name}/{model}/{seed}"

    def main_settings(self, seed: int) -> dict[str, Any]:
        """Return all that the solution by variable projection depends on."""
        return {
            "hidden_layer_sizes": self.example.widths,
            "solver_options": MODELS[MAIN].all_options,
            "max_iter": self.max_iter,
            "seed": seed,
            "threads": self.threads,
            "lysep_fast": __version__,
            "scale": self.scale(MAIN),
            **self.points,
        }

    def scale(self, model: str) -> float:
        """Return the scale of the first weights that one of the package's solvers starts from."""
        solver = PDE_SOLVERS[MODELS[model].method]()
        return default_scale(self.judge.problem.dimension, solver)

    def judge_for(self, seed: int) -> Judge:
        """Return the judge; only the first seed is drawn."""
        judge = self.judge
        return judge if seed == self.seeds[0] else Judge(judge.problem, judge.activation, judge.X)


def make_tasks(case: Case, with_torch: bool) -> list[Task]:
    """Return the runs of all models, in the order in which they are done."""
    ours = [name for name, model in MODELS.items() if model.kind == "ours"]
    rivals = [name for name, model in MODELS.items() if model.kind == "torch"]
    tasks = [solver_task(case, name, seed) for seed in case.seeds for name in ours]
    tasks.append(rate_task(case, with_torch))
    return tasks + [
        torch_task(case, name, seed, with_torch) for seed in case.seeds for name in rivals
    ]


def solver_task(case: Case, name: str, seed: int) -> Task:
    """Return a run of one of the package's solvers."""
    model, main = MODELS[name], name == MAIN
    widths = model.widths or case.example.widths
    settings = case.main_settings(seed)
    if not main:
        settings["main"] = dict(settings)  # which sets the time
        settings |= {"hidden_layer_sizes": widths, "solver_options": model.all_options}
        settings["scale"] = case.scale(name)

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        budgets = [] if main else [results[case.key(MAIN, seed)]["seconds"]]
        recorder = Recorder(case.judge_for(seed), budgets, advance)
        return _pde_methods.run_solver(
            case.judge.problem,
            recorder,
            solver=model.method,
            solver_options=model.options,
            hidden_layer_sizes=widths,
            max_iter=case.max_iter if main else UNLIMITED,
            seed=seed,
            n_threads=case.threads,
            **case.points,
        )

    return Task(
        key=case.key(name, seed),
        label=f"{case.example.name}, {model.title}, seed {seed}",
        settings=settings,
        n_steps=case.max_iter if main else 100,
        run=run,
        summary=_summary,
    )


def rate_task(case: Case, with_torch: bool) -> Task:
    """Return the search for the rate of Adam: the lowest J on the first seed, in equal time."""
    seed = case.seeds[0]

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        budget = results[case.key(MAIN, seed)]["seconds"]
        losses = []
        for rate in RATES:
            recorder = Recorder(case.judge_for(-1), [budget], advance)
            losses.append(_train(case, "adam", seed, recorder, rate)["J"])
        return {"rate": RATES[losses.index(min(losses))], "rates": RATES, "J": losses}

    return Task(
        key=case.key("adam", "rate"),
        label=f"{case.example.name}, rate of Adam",
        settings={"rates": RATES, "main": case.main_settings(seed)},
        n_steps=100 * len(RATES),
        run=run,
        summary=lambda result: f"{result['rate']:g}",
        possible=with_torch,
    )


def torch_task(case: Case, name: str, seed: int, with_torch: bool) -> Task:
    """Return a run of torch."""
    first = case.seeds[0]
    settings: dict[str, Any] = {
        "method": name,
        "factors": FACTORS,
        "history": _pde_torch.HISTORY,
        "main": case.main_settings(seed),
    }
    if name != "lbfgs":
        settings |= {"rates": RATES, "adam_share": ADAM_SHARE, "rate_of_seed": first}

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        budget = results[case.key(MAIN, seed)]["seconds"]
        rate = results[case.key("adam", "rate")]["rate"]
        recorder = Recorder(case.judge_for(seed), [f * budget for f in FACTORS], advance)
        found = _train(case, name, seed, recorder, rate)
        return found if name == "lbfgs" else {**found, "rate": rate}

    return Task(
        key=case.key(name, seed),
        label=f"{case.example.name}, {MODELS[name].title}, seed {seed}",
        settings=settings,
        n_steps=100,
        run=run,
        summary=_summary,
        possible=with_torch,
    )


def _train(case: Case, name: str, seed: int, recorder: Recorder, rate: float) -> dict[str, Any]:
    problem = case.judge.problem
    with threadpool_limits(case.threads):
        pinn = _pde_torch.Pinn(
            problem,
            (problem.dimension, *case.example.widths),
            scale=case.scale(MAIN),  # better for torch, too, than the other solvers' scale
            seed=seed,
            **case.points,
        )
        return _pde_torch.train(pinn, recorder, name, rate, ADAM_SHARE, case.threads)


def _summary(result: dict[str, Any]) -> str:
    J, error = (float("nan") if result[k] is None else result[k] for k in ("J", "error"))
    return (
        f"J {J:.1e}, relative L2 error {error:.1e} after {result['seconds']:.2f} s "
        f"and {result['iterations']} iterations"
    )
