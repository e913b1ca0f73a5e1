"""The front door for differential equations: check the arguments, draw points, iterate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..loop import Stopping, run
from ..threads.team import Team
from .domains import box_for_weights
from .jets import Hidden, JetNetwork
from .problem import Problem
from .settings import PDE_SOLVERS, PdeSettings, default_scale
from .solution import PdeStatus, Solution
from .state import Discrete, PdeSolver, PdeState
from .training import Callback, EquationTraining

__all__ = ["PDE_SOLVERS", "default_scale", "solve"]


def solve(
    problem: Problem,
    hidden_layer_sizes: int | Sequence[int] = (40, 40),
    *,
    activation: str = "tanh",
    solver: str | PdeSolver = "variable-projection",
    solver_options: dict[str, Any] | None = None,
    n_interior: int = 512,
    n_boundary: int = 128,
    boundary_weight: float = 100.0,
    scale: float | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    n_iter_no_change: float = 20,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callback | None = None,
    verbose: bool | int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 10,
    checkpoint_errors: str = "raise",
    resume: str | os.PathLike[str] | None = None,
) -> Solution:
    """Solve a second-order differential equation by a neural network.

    Minimises ``J = (1/n) sum r^2 + (lam/n_b) sum rb^2``, r the residual of the equation at
    interior points and rb that of the boundary values at boundary points.

    Parameters
    ----------
    problem : Problem
        The equation, its domain and its boundary values.
    hidden_layer_sizes : int or sequence of int, default (40, 40)
        Widths of the hidden layers, at least one.
    activation : {"tanh", "sin", "softplus", "gelu", "sigmoid"}, default "tanh"
        Activation with continuous third derivatives.
    solver : str or PdeSolver, default "variable-projection"
        ``"variable-projection"`` (the best measured) trains the hidden layers by quasi-Newton
        steps with the output weights eliminated; ``"random-features"`` fits the output weights
        only; ``"nesterov"`` and ``"alternating"`` are layer separation with auxiliary jets.
    solver_options : dict, optional
        Keyword arguments of the solver's class.
    n_interior, n_boundary : int, default 512 and 128
        Numbers of points drawn from the domain.
    boundary_weight : float, default 100.0
        The factor lam.
    scale : float, optional
        Size of the first layer's initial weights for inputs scaled to (-1, 1), time to (0, 1).
        The default is the solver's: 0.6 up to three coordinates, and from five on 0.1 for
        variable projection, 0.3 for the others.  Larger for solutions that oscillate more.
    max_iter : int, default 200
        Largest number of iterations.
    tol : float, default 1e-4
        Stop when the lowest loss has fallen by less than this share in each of
        `n_iter_no_change` iterations in a row.
    n_iter_no_change : int or numpy.inf, default 20
        See `tol`; with infinity a loss that stands still never stops the run.
    random_state : int, numpy.random.Generator or None
        Seed of points and initial weights.
    n_threads : int, optional
        Threads, default all CPUs of the process.  Results do not depend on it, to the last bit.
    callback : callable, optional
        Called with every `PdeRow`; solving stops when it returns True.
    verbose : bool or int, default 0
        True, or a number above 0, prints one line per iteration.
    checkpoint : str or path-like, optional
        File to write the complete state of the run to, in place of what is there: before the first
        iteration, after every `checkpoint_every`, and at the end.  A run that is killed at any
        moment leaves a complete file behind.
    checkpoint_every : int, default 10
        See `checkpoint`.
    checkpoint_errors : {"raise", "warn"}, default "raise"
        Whether an error of the disk stops solving or is a warning.  A former checkpoint survives
        it.
    resume : str or path-like, optional
        Checkpoint to go on from, with the bits of a run that was never interrupted.  Data and
        arguments must be those of that run; only `max_iter` may be larger, and `random_state` left
        out.

    Returns
    -------
    Solution
        The network with the smallest J seen.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it, its value and the remedy.
    ModelFileError
        If the checkpoint to go on from is damaged.

    Notes
    -----
    Ctrl-C stops at the next block of points: a warning says so, and the result has the status
    ``INTERRUPTED`` and the best weights of the iterations that were complete.  Before the first
    iteration, and on pressing it again, it is a KeyboardInterrupt as usual.
    """
    return _solve(PdeSettings.of(locals()))


def _solve(settings: PdeSettings) -> Solution:
    """Solve as the settings say."""
    solver, rng = settings.make_solver(), settings.generator()
    checkpoints = settings.begin(solver, rng)
    with Team(settings.n_threads) as team, np.errstate(over="ignore", invalid="ignore"):
        training = _set_up(settings, solver, rng, team)
        run(
            training,
            _stopping(settings, solver),
            callback=settings.callback,
            verbose=settings.verbose,
            checkpoints=checkpoints,
        )
    return training.result


def _set_up(
    settings: PdeSettings, solver: PdeSolver, rng: np.random.Generator, team: Team
) -> EquationTraining:
    """Return the problem at its points with the initial weights and the solver."""
    problem, sampling, widths = settings.problem, settings.sampling, settings.widths
    activation = settings.activation
    sets = problem.collocate(
        sampling.n_interior, sampling.n_boundary, sampling.boundary_weight, rng
    )
    network = JetNetwork(sets, widths, activation, problem.operator.nonlinearity, team)
    hidden = Hidden.random(widths, settings.scale, box_for_weights(problem.domain), rng)
    state = PdeState(hidden, np.zeros(widths[-1]))
    solution = Solution(problem, hidden, state.w, activation, n_threads=settings.n_threads)
    discrete = Discrete(problem, network, sampling, rng)
    return EquationTraining(discrete, solver, state, solution)


def _stopping(settings: PdeSettings, solver: PdeSolver) -> Stopping:
    """Return when to stop; some solvers are done after their start."""
    max_iter, done = settings.max_iter, PdeStatus.MAX_ITER
    if not solver.iterates:
        max_iter, done = 0, PdeStatus.SOLVED
    return Stopping(max_iter, settings.tol, settings.n_iter_no_change, PdeStatus.CONVERGED, done)
