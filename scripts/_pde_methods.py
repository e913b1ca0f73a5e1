"""The package's solvers in the experiment on differential equations, followed by a recorder."""

from __future__ import annotations

from typing import Any

from lysep_fast.pde import PDE_SOLVERS, Problem, solve
from lysep_fast.pde.jets import Hidden

from ._pde_recorder import Network, Recorder


class Followed:
    """A solver whose every iterate goes to a recorder."""

    def __init__(self, solver: Any, recorder: Recorder) -> None:
        self._solver, self._recorder, self._count = solver, recorder, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._solver, name)

    def start(self, problem: Any, state: Any) -> None:
        """Start the clock and the solver."""
        self._recorder.begin()
        self._solver.start(problem, state)
        self._offer(state)

    def step(self, problem: Any, state: Any) -> list[Any]:
        """Do a step of the solver."""
        steps: list[Any] = self._solver.step(problem, state)
        self._count += 1
        self._offer(state)
        return steps

    def _offer(self, state: Any) -> None:
        def network() -> Network:
            hidden = Hidden(state.hidden.widths, state.hidden.theta.copy())
            return Network(hidden, state.w.copy())

        self._recorder.offer(self._count, state.loss, network)


def run_solver(
    problem: Problem,
    recorder: Recorder,
    *,
    solver: str,
    solver_options: dict[str, Any],
    hidden_layer_sizes: tuple[int, ...],
    max_iter: int,
    seed: int,
    n_threads: int,
    **settings: Any,
) -> dict[str, Any]:
    """Solve until the recorder's time is up, or for `max_iter` iterations."""
    followed: Any = Followed(PDE_SOLVERS[solver](**solver_options), recorder)
    solution = solve(
        problem,
        hidden_layer_sizes,
        solver=followed,
        max_iter=max_iter,
        tol=0.0,
        n_iter_no_change=10**9,
        random_state=seed,
        n_threads=n_threads,
        callback=lambda row: recorder.done,
        **settings,
    )
    return {**recorder.finish(), "status": solution.status.name}


def warm_up(problem: Problem) -> None:
    """Compile, or load, what the solvers need."""
    for solver in PDE_SOLVERS:
        solve(problem, (4, 4), solver=solver, max_iter=2, n_interior=20, n_boundary=8)
