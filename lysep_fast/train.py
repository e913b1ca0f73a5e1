"""The training loop: sweep until stop, history, callback, stopping.  Start reading here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .layers.dense import NORMS
from .losses import CrossEntropy
from .network import INITIALISATIONS, Network
from .objective import Problem
from .parallel import Team, available_cpus
from .result import HistoryRow, Result, Status
from .solvers import Solver, make_solver
from .state import State
from .validation import (
    check_activation,
    check_choice,
    check_inputs,
    check_integer,
    check_labels,
    check_number,
    check_widths,
)

__all__ = ["train"]

Callback = Callable[[HistoryRow], bool | None]


def train(
    X: Any,
    y: Any,
    *,
    hidden_layer_sizes: int | Sequence[int] = (100,),
    activation: str = "tanh",
    solver: str | Solver = "alternating",
    solver_options: dict[str, Any] | None = None,
    weights: str = "frobenius",
    output_bias: bool = False,
    init: str = "uniform",
    n_classes: int | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    n_iter_no_change: int = 10,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callback | None = None,
    verbose: int = 0,
) -> Result:
    """Train a fully connected classifier by layer separation.

    Minimises ``F = (1/n) [ sum_n e_n^2 + sum_l w_l ||R_l||^2 ]`` over weights, biases and
    auxiliary variables; ``C sqrt(F)`` bounds the network's cross-entropy from above.

    Parameters
    ----------
    X : array-like, shape (n, d)
        Training inputs.  float32 data is trained in float32, everything else in float64.
    y : array-like of int, shape (n,)
        Class indices ``0..K-1``.
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the hidden layers; empty for a linear classifier.
    activation : str, default "tanh"
        One of ``lysep_fast.kernels.ACTIVATION_CODES``.
    solver : str or Solver, default "alternating"
        ``"alternating"`` is Algorithm 1.
    solver_options : dict, optional
        Keyword arguments of the solver's class, for instance those of
        `lysep_fast.solvers.Alternating`.
    weights : {"frobenius", "spectral"}, default "frobenius"
        Norm of the adaptive weights ``w_l``.
    output_bias : bool, default False
        Whether the output layer has a bias (the paper's has none).
    init : {"uniform", "orthogonal"}, default "uniform"
        Distribution of the initial weights.
    n_classes : int, optional
        Number of classes K; default ``max(y) + 1``.
    max_iter : int, default 200
        Largest number of sweeps.
    tol : float, default 1e-4
        Stop when the separated loss fell by less than this share of itself in each of
        `n_iter_no_change` sweeps in a row; 0 stops only when it does not fall at all.
    n_iter_no_change : int, default 10
        See `tol`.
    random_state : int, numpy.random.Generator or None
        Seed of the initial weights.
    n_threads : int, optional
        Threads for kernels and BLAS; default all CPUs of the process.  Results do not depend on
        it, to the last bit.
    callback : callable, optional
        Called with every `HistoryRow`, the initial one included; training stops when it returns
        True.
    verbose : int, default 0
        1 prints one line per sweep.

    Returns
    -------
    Result
        Network, weights, history and status.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it, its value and the remedy.

    References
    ----------
    Liu, Ng, Gu: A Layer Separation Optimization Framework for Cross-Entropy Training in Deep
    Learning.
    """
    X = check_inputs(X)
    labels, n_classes = check_labels(y, len(X), n_classes)
    widths = (X.shape[1], *check_widths(hidden_layer_sizes), n_classes)
    activation = check_activation(activation)
    check_choice(weights, "weights", NORMS)
    check_choice(init, "init", INITIALISATIONS)
    check_integer(max_iter, "max_iter", minimum=0)
    check_number(tol, "tol", 0.0)
    check_integer(n_iter_no_change, "n_iter_no_change", minimum=1)
    n_threads = available_cpus() if n_threads is None else n_threads
    check_integer(n_threads, "n_threads", minimum=1)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {callback!r}")
    method = make_solver(solver, solver_options)

    network = Network.dense(widths, activation, output_bias=output_bias)
    rng = np.random.default_rng(random_state)
    W, b = network.initial_weights(rng, X.dtype, init)
    result = Result(network, W, b, n_threads=n_threads)
    with Team(n_threads) as team:
        problem = Problem(network, CrossEntropy(labels, n_classes), X, team, weights)
        result.bound_constant = problem.objective.constant
        run(problem, method, result, max_iter, tol, n_iter_no_change, callback, verbose)
    return result


def run(
    problem: Problem,
    solver: Solver,
    result: Result,
    max_iter: int,
    tol: float,
    n_iter_no_change: int,
    callback: Callback | None = None,
    verbose: int = 0,
) -> State:
    """Sweep until stop, from the weights in `result` (updated in place); return the last state."""
    began = time.perf_counter()
    state = problem.synchronised_state(result.W, result.b)
    solver.start(problem, state)
    quiet_sweeps = 0
    row = _history_row(problem, state, 0, began, ())
    stop = _report(row, result, callback, verbose)
    while result.status is Status.RUNNING:
        if stop:
            result.status = Status.CALLBACK
        elif not np.isfinite(row.loss) or not np.isfinite(row.separated_loss):
            result.status = Status.NOT_FINITE
        elif row.steps and not any(step.accepted for step in row.steps):
            result.status = Status.NO_PROGRESS
        elif quiet_sweeps >= n_iter_no_change:
            result.status = Status.CONVERGED
        elif row.sweep >= max_iter:
            result.status = Status.MAX_ITER
        else:
            finite_W, finite_b = [w.copy() for w in state.W], [v.copy() for v in state.b]
            steps = tuple(solver.step(problem, state))
            former, row = row, _history_row(problem, state, row.sweep + 1, began, steps)
            improved = former.separated_loss - row.separated_loss > tol * former.separated_loss
            quiet_sweeps = 0 if improved else quiet_sweeps + 1
            stop = _report(row, result, callback, verbose)
    if result.status is Status.NOT_FINITE and row.sweep > 0:
        state.W, state.b = finite_W, finite_b
    result.W, result.b = state.W, state.b
    if verbose:
        print(f"stopped after {result.n_iter} sweeps: {result.message}")
    return state


def _history_row(
    problem: Problem, state: State, sweep: int, began: float, steps: tuple[Any, ...]
) -> HistoryRow:
    """Evaluate the true network and the separated loss."""
    loss, accuracy = problem.evaluate(state)
    separated = problem.objective.separated_loss(state)
    seconds = time.perf_counter() - began
    return HistoryRow(
        sweep, seconds, loss, accuracy, separated.root, separated.data, separated.penalties, steps
    )


def _report(row: HistoryRow, result: Result, callback: Callback | None, verbose: int) -> bool:
    """Store, print and hand out one history row; return whether the callback wants to stop."""
    result.history.append(row)
    if verbose:
        print(
            f"sweep {row.sweep:5d}  loss {row.loss:.4e}  separated {row.separated_loss:.4e}  "
            f"accuracy {100 * row.accuracy:6.2f} %  {row.seconds:8.2f} s"
        )
    return callback is not None and callback(row) is True
