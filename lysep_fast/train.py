"""The front door: check the arguments, build the problem, train.  Start reading here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .loop import Stopping, run
from .network import Network
from .objective import TrainingProblem
from .passes.full import Batch
from .passes.normalise import initial_weights
from .result import Result, Status
from .settings.data import Data
from .settings.train import Settings
from .solvers import Solver, choose_init
from .solvers.training import Callback, NetworkTraining
from .threads.team import Team

__all__ = ["train"]


def train(
    X: Any,
    y: Any,
    *,
    loss: str = "cross-entropy",
    hidden_layer_sizes: int | Sequence[int] = (100,),
    activation: str = "tanh",
    conv_channels: int | Sequence[int] = (),
    kernel_size: int | Sequence[int] = 3,
    pool_size: int | Sequence[int] = 2,
    padding: int | str = "same",
    image_shape: Sequence[int] | None = None,
    solver: str | Solver = "auto",
    solver_options: dict[str, Any] | None = None,
    weights: str = "frobenius",
    output_bias: bool | None = None,
    init: str | Result | None = None,
    alpha: float = 0.0,
    sample_weight: Any = None,
    label_smoothing: float | None = None,
    batch_size: int | None = None,
    refresh_every: int | None = None,
    early_stopping: bool = False,
    validation_fraction: float = 0.1,
    n_classes: int | None = None,
    target_unit: float | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    n_iter_no_change: int = 10,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callback | None = None,
    verbose: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 10,
    checkpoint_errors: str = "raise",
    resume: str | os.PathLike[str] | None = None,
) -> Result:
    """Train a fully connected or convolutional network by layer separation.

    Minimises ``F = (1/n) [ sum_n c_n e_n^2 + sum_l w_l sum_n c_n |R_{l,n}|^2 ]`` over weights,
    biases and auxiliary variables, with the weights c_n of the samples; ``C sqrt(F)`` bounds the
    network's cross-entropy from above, or for a regression, where ``e_n = |U_n - y_n|``, the root
    of its mean squared error.

    Parameters
    ----------
    X : array-like, shape (n, d), or (n, H, W) or (n, C, H, W) with `conv_channels`
        Training inputs.  float32 data is trained in float32, everything else in float64.  Without
        convolutions also a SciPy sparse array or matrix of any format, which is never made dense.
    y : array-like of int, shape (n,), or of numbers, shape (n,) or (n, K)
        Class indices ``0..K-1``, or the targets of a regression.
    loss : {"cross-entropy", "squared-error"}, default "cross-entropy"
        ``"squared-error"`` is regression: the mean over the samples of ``|U_n - y_n|^2``, summed
        over the outputs (their scales count; twice the loss of scikit-learn's MLPRegressor).
        Targets are standardised inside, so their unit does not matter, and the history is in
        their units.
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the fully connected hidden layers; empty for a linear model.
    activation : str, default "tanh"
        One of ``lysep_fast.kernels.ACTIVATION_CODES``.
    conv_channels : int or sequence of int, default ()
        Output channels of the convolutions below the fully connected layers, none by default.
    kernel_size, pool_size : int or sequence of int, default 3 and 2
        Edges of the square kernels and average-pooling windows, one for all convolutions or one
        each; a window larger than its image is cut to it.
    padding : int or "same", default "same"
        Zeros around the images of a convolution; ``"same"`` keeps their size.
    image_shape : sequence of int, optional
        ``(H, W)`` or ``(C, H, W)`` of the images when X has one row of features each; default a
        grey square if the features fill one, else one line.
    solver : str or Solver, default "auto"
        ``"alternating"`` is Algorithm 1, ``"quasi-newton"`` and ``"mini-batch"`` are the fast
        solvers, and ``"auto"`` takes the one of these two that suits the numbers of samples and
        features, for convolutions ``"mini-batch"``.  ``"measured-sweeps"`` is Algorithm 2 with
        measured weights; the literal one is ``"alternating"`` with a `batch_size`.
    solver_options : dict, optional
        Keyword arguments of the solver's class, for instance those of
        `lysep_fast.solvers.Alternating`.
    weights : {"frobenius", "patch", "spectral"}, default "frobenius"
        Norm of the adaptive weights ``w_l``; ``"patch"`` is a tighter one of convolutions.
    output_bias : bool, optional
        Whether the output layer has a bias; default False for a classifier (the paper's has
        none), True for a regression, whose targets need not be centred then.
    init : {"uniform", "orthogonal", "normalised", "normalised-small"} or Result, optional
        Initial weights, by default those that suit the solver: ``"uniform"`` in
        +-1/sqrt(fan_in) for the paper's algorithm, ``"normalised"`` (orthogonal, then every
        hidden neuron scaled and shifted over the data) or ``"normalised-small"`` (the same,
        closer to a linear network) for the others.  A `Result` of a network of the same
        architecture trains on from its weights, which are copied; the solver starts afresh.
    alpha : float, default 0.0
        Weight decay: ``alpha/2 sum_l ||W_l||^2`` is added to the mean cross-entropy, for
        ``"alternating"`` to F.  The history reports F without it; ``F + penalty`` never rises,
        and the bound holds for F.  In a regression it goes with targets of unit variance.
    sample_weight : array-like, shape (n,), optional
        Weights of the samples, scaled to mean 1; 0 is as if the sample were not there.
    label_smoothing : float, optional
        For classes: share of every target that is spread over all of them in what is minimised;
        default what suits the solver (0.05 for ``"mini-batch"``, 0 for the others).  The reported
        cross-entropy is never smoothed.  With ``"alternating"`` F is made of smoothed losses, so
        ``C sqrt(F)`` bounds the smoothed cross-entropy, not the reported one.
    batch_size : int, optional
        Samples per step of the mini-batch solver, or per subset of the sweeps.
    refresh_every : int, optional
        Sweeps on a subset before the next one is drawn.
    early_stopping : bool, default False
        Hold out `validation_fraction` of every class (or of all samples in a regression), stop
        when its loss has not improved for `n_iter_no_change` sweeps, and return the best iterate.
    validation_fraction : float, default 0.1
        See `early_stopping`.
    n_classes : int, optional
        Number of classes K, of which y may lack some; default ``max(y) + 1``.
    target_unit : float, optional
        For numbers: unit in which a regression sees its targets; default the root of their mean
        variance.  Give it when y is a small part of the data.
    max_iter : int, default 200
        Largest number of sweeps.
    tol : float, default 1e-4
        Stop when the loss (for ``"alternating"`` the separated loss), for these two with its
        penalty and its smoothing, has fallen by less than this share of its lowest value in each
        of `n_iter_no_change` sweeps in a row; 0 stops only when it does not fall at all.
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
    checkpoint : str or path-like, optional
        File to write the complete state of the run to, in place of what is there: before the first
        sweep, after every `checkpoint_every`, and at the end.  A run that is killed at any
        moment leaves a complete file behind.
    checkpoint_every : int, default 10
        See `checkpoint`.
    checkpoint_errors : {"raise", "warn"}, default "raise"
        Whether an error of the disk stops training or is a warning.  A former checkpoint survives
        it.
    resume : str or path-like, optional
        Checkpoint to go on from, with the bits of a run that was never interrupted.  Data and
        arguments must be those of that run; only `max_iter` may be larger, and `random_state` left
        out.

    Returns
    -------
    Result
        Network, weights, history and status.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it, its value and the remedy.
    ModelFileError
        If the checkpoint to go on from is damaged.

    Notes
    -----
    Ctrl-C stops training at the next block of samples: a warning says so, and the result has the
    status ``INTERRUPTED`` and the best weights of the sweeps that were complete.  Before the first
    sweep, and on pressing it again, it is a KeyboardInterrupt as usual.

    References
    ----------
    Liu, Ng, Gu: A Layer Separation Optimization Framework for Cross-Entropy Training in Deep
    Learning.
    """
    settings = Settings.of(locals(), beside=("X", "y", "sample_weight"))
    return _fit(X, y, sample_weight, settings)


def _fit(X: Any, y: Any, sample_weight: Any, settings: Settings) -> Result:
    """Train as the settings say."""
    data = Data.check(X, y, sample_weight, settings)
    size = len(data.samples), data.samples.n_features
    solver = settings.make_solver(*size, data.targets.loss.sample_weight)
    rng = settings.generator()
    checkpoints = settings.begin(solver, rng, data.compared)
    # Overflow is not a warning but a status: the loop looks at the loss after every sweep.
    with Team(settings.n_threads) as team, np.errstate(over="ignore", invalid="ignore"):
        problem, result, validation = _set_up(data, solver, settings, rng, team)
        del data  # with early stopping the samples to train on are copies
        run(
            NetworkTraining(problem, solver, result, validation),
            _stopping(settings),
            callback=settings.callback,
            verbose=settings.verbose,
            checkpoints=checkpoints,
        )
        problem.loss.restore(result.W, result.b)
    if not np.all(np.isfinite(result.W[-1])) or not np.all(np.isfinite(result.b[-1])):
        raise ValueError(
            f"y is too large beside X: the output weights overflow {result.W[-1].dtype}; divide y "
            "by a constant, or scale X to about unit size"
        )
    return result


def _set_up(
    data: Data, solver: Solver, settings: Settings, rng: np.random.Generator, team: Team
) -> tuple[TrainingProblem, Result, Batch | None]:
    """Return the problem, the result with the initial weights, and the held-out samples."""
    samples, loss, network = data.samples, data.targets.loss, _network(data, settings)
    validation = None
    if settings.early_stopping:
        kept, held_out = data.targets.hold_out(settings.validation_fraction, rng)
        validation = Batch.make(samples.take(held_out), loss.take(held_out), network)
        samples, loss = samples.take(kept), loss.take(kept)
    if isinstance(settings.init, Result):
        W, b = settings.init.copy_weights(network, samples.dtype)
        loss.prepare(W, b)
    else:
        init = settings.init or choose_init(solver, samples.n_features, settings.loss)
        W, b = initial_weights(network, samples, rng, init, loss.sample_weight, team=team)
    problem = TrainingProblem(
        network,
        loss,
        samples,
        team,
        settings.weights,
        alpha=settings.alpha,
        rng=rng,
        has_validation=settings.early_stopping,
    )
    flat, n_threads = data.targets.flat, settings.n_threads
    result = Result(network, W, b, n_threads=n_threads, loss=settings.loss, flat=flat)
    objective = problem.objective
    result.bound_constant = objective.constant
    if solver.synchronised:  # all residuals are zero
        result.bound_constant = objective.synchronised_constant
    return problem, result, validation


def _network(data: Data, settings: Settings) -> Network:
    """Return the network between the inputs and the outputs."""
    hidden, n_outputs = settings.hidden_layer_sizes, data.targets.loss.n_outputs
    activation, output_bias = settings.activation, settings.output_bias
    if data.image_shape is None:
        widths = (data.samples.n_features, *hidden, n_outputs)
        return Network.dense(widths, activation, output_bias=output_bias)
    return settings.convolutions.network(
        data.image_shape, hidden, n_outputs, activation, output_bias
    )


def _stopping(settings: Settings) -> Stopping:
    """Return when to stop; held-out losses count by their lowest one alone."""
    early = settings.early_stopping
    return Stopping(
        settings.max_iter,
        0.0 if early else settings.tol,
        settings.n_iter_no_change,
        Status.EARLY_STOPPED if early else Status.CONVERGED,
        Status.MAX_ITER,
    )
