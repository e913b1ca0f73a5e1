"""The front door: check the arguments, build the problem, train.  Start reading here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .loop import Stopping, run
from .result import Result, Status
from .runs.finish import finish
from .runs.set_up import Inputs, Start, set_up
from .runs.sweeps import choose_plan
from .settings.data import Data
from .settings.train import Settings
from .solvers import Solver
from .solvers.training import Callback, NetworkTraining
from .threads.team import Team

__all__ = ["train"]


def train(
    X: Any,
    y: Any,
    *,
    loss: str = "cross-entropy",
    hidden_layer_sizes: int | Sequence[int] = (100,),
    activation: str | None = None,
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
    standardise: bool | None = None,
    alpha: float = 0.0,
    sample_weight: Any = None,
    label_smoothing: float | None = None,
    batch_size: int | str | None = None,
    refresh_every: int | None = None,
    early_stopping: bool | str = False,
    validation_fraction: float = 0.1,
    n_classes: int | None = None,
    target_unit: float | Sequence[float] | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    n_iter_no_change: float = 10,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
    callback: Callback | None = None,
    verbose: bool | int = 0,
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
    y : array-like of int, shape (n,) or (n, K), or of numbers, shape (n,) or (n, K)
        Class indices ``0..K-1``, (n,), labels 0 or 1, (n, K), or the targets of a regression.
    loss : {"cross-entropy", "binary-cross-entropy", "squared-error"}, default "cross-entropy"
        ``"binary-cross-entropy"`` is for labels, any number of which a sample may have: its mean
        over the samples, summed over the labels.
        ``"squared-error"`` is regression: the mean over the samples of ``|U_n - y_n|^2``, summed
        over the outputs (twice the loss of scikit-learn's MLPRegressor).  Every output is
        standardised inside, so that units do not matter; the history is in those of the targets,
        for several outputs in the root of their mean variance.
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the fully connected hidden layers; empty for a linear model.
    activation : str, optional
        One of ``lysep_fast.kernels.ACTIVATION_CODES``, or ``"logistic"`` for ``"sigmoid"``;
        default ``"relu"`` for classes and labels learned by mini-batches, ``"gelu"`` where these
        take long polar steps (images), otherwise the papers' ``"tanh"``.
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
        Whether the output layer has a bias, which is made exact at the end: mean residuals of a
        regression are 0 then, and mean predicted probabilities the shares of the classes.
        Default True; with classes False for the paper's algorithms ``"alternating"`` and
        ``"measured-sweeps"``, whose networks have none.
    init : str or Result, optional
        Initial weights, by default those that suit the solver: ``"uniform"`` in
        +-1/sqrt(fan_in) for the paper's algorithm, ``"normalised"`` (orthogonal, then every
        hidden neuron scaled and shifted over the data), ``"normalised-small"`` (the same,
        closer to a linear network) or ``"normalised-wide"`` (far from it, for targets that go up
        and down many times) for the others; or ``"orthogonal"``.  A `Result` of a network of the
        same architecture trains on from its weights, which are copied; the solver starts afresh.
    standardise : bool, optional
        Whether training sees every column of X with mean 0 and about unit spread, so that its
        unit and its offset do not matter (see `lysep_fast.samples.scaling`); afterwards that is
        part of the first layer, which takes X as it is.  A column that does not vary has no
        influence.  Default True for fully connected networks; a convolution, which has one
        kernel for all its pixels, sees them as they are.
    alpha : float, default 0.0
        Weight decay: ``alpha/2 sum_l ||W_l||^2`` is added to the mean cross-entropy, for
        ``"alternating"`` to F.  The history reports F without it; ``F + penalty`` never rises,
        and the bound holds for F.  In a regression it goes with targets of unit variance.
    sample_weight : array-like, shape (n,), optional
        Weights of the samples, scaled to mean 1; 0 is as if the sample were not there.
    label_smoothing : float, optional
        For classes: share of every target that is spread over all of them in what is minimised;
        default 0, as smoothed probabilities are not those of the data.  The reported
        cross-entropy is never smoothed.  With ``"alternating"`` F is made of smoothed losses, so
        ``C sqrt(F)`` bounds the smoothed cross-entropy, not the reported one.
    batch_size : int or "auto", optional
        Samples per step of the mini-batch solver, or per subset of the sweeps; ``"auto"``, like
        None, leaves the choice to the solver.
    refresh_every : int, optional
        Sweeps on a subset before the next one is drawn.
    early_stopping : bool or "auto", default False
        True: hold out `validation_fraction` of the samples, spread over the classes, stop when
        their loss has not improved for `n_iter_no_change` sweeps, and return the best iterate.
        ``"auto"``: with 10 to 10,000 samples the number of sweeps, at most `max_iter`, is what
        did best in a cross-validation before training, which then takes all samples; where
        ``solver="auto"`` explains hardly anything, a wider start and a second solver are tried
        as well.  With more samples, with convolutions and from given weights it is False.
    validation_fraction : float, default 0.1
        See `early_stopping`.
    n_classes : int, optional
        Number of classes K, of which y may lack some; default ``max(y) + 1``.
    target_unit : float or sequence of float, optional
        For numbers: unit in which a regression sees its targets, one for all outputs or one for
        each; default the standard deviation of each.  Give it when y is a small part of the data.
    max_iter : int, default 200
        Largest number of sweeps.
    tol : float, default 1e-4
        Stop when the loss (for ``"alternating"`` the separated loss), for these two with its
        penalty and its smoothing, has fallen by less than this share of its lowest value in each
        of `n_iter_no_change` sweeps in a row; 0 stops only when it does not fall at all.  Also
        stop when the cross-entropy is below ``10 tol``, or the mean squared error below
        ``(tol / 10)^2`` of the variance (a larger `tol` counts as 1e-4 here).
    n_iter_no_change : int or numpy.inf, default 10
        See `tol`; with infinity a loss that stands still never stops training.
    random_state : int, numpy.random.Generator or None
        Seed of the initial weights.
    n_threads : int, optional
        Threads for kernels and BLAS; default all CPUs of the process.  Results do not depend on
        it, to the last bit.
    callback : callable, optional
        Called with every `HistoryRow`, the initial one included; training stops when it returns
        True.
    verbose : bool or int, default 0
        True, or a number above 0, prints one line per sweep.
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
    return _fit(X, y, sample_weight, Settings.of(locals(), beside=("X", "y", "sample_weight")))


def _fit(X: Any, y: Any, sample_weight: Any, settings: Settings) -> Result:
    """Train as the settings say."""
    data = Data.check(X, y, sample_weight, settings)
    size = len(data.samples), data.samples.n_features
    solver = settings.make_solver(*size, data.targets.loss.sample_weight)
    rng = settings.generator()
    checkpoints = settings.begin(solver, rng, data.compared)
    # Overflow is not a warning but a status: the loop looks at the loss after every sweep.
    with Team(settings.n_threads) as team, np.errstate(over="ignore", invalid="ignore"):
        training, stopping = _prepared(data, settings, solver, rng, team)
        del data  # with early stopping the samples to train on are copies
        run(
            training,
            stopping,
            callback=settings.callback,
            verbose=settings.verbose,
            checkpoints=checkpoints,
        )
        finish(training)
        result = training.result
        training.problem.restore(result.W, result.b)
    if not all(np.all(np.isfinite(a)) for a in (result.W[-1], result.b[-1])):
        raise ValueError(
            f"y is too large beside X: the output weights overflow {result.W[-1].dtype}; divide y "
            "by a constant, or scale X to about unit size"
        )
    return result


def _prepared(
    data: Data, settings: Settings, solver: Solver, rng: np.random.Generator, team: Team
) -> tuple[NetworkTraining, Stopping]:
    """Return what is trained, and for how long."""
    inputs = Inputs.of(data, settings, solver, team)
    start, split, plan = Start(solver, settings.init), None, None
    if settings.cross_validates(len(inputs.samples)):
        plan = choose_plan(data, inputs, settings, start, rng, team)
    if plan is not None:
        start, stopping = plan.start, Stopping.after(plan.sweeps, plan.status)
    else:
        early, tol = settings.early_stopping is True, settings.tol
        if early:
            split = data.targets.hold_out(settings.validation_fraction, rng)
        quiet = Status.EARLY_STOPPED if early else Status.CONVERGED
        patience = settings.n_iter_no_change
        endless = np.isinf(patience) or (early and inputs.loss.constant > 0.0)
        mark = 0.0 if endless else inputs.loss.unit**2 * inputs.loss.mark(tol)
        watched = 0.0 if early else tol  # held-out losses count by their lowest one alone
        stopping = Stopping(settings.max_iter, watched, patience, quiet, Status.MAX_ITER, mark)
    return set_up(data, inputs, settings, start, rng, team, split), stopping
