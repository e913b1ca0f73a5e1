"""The front door: check the arguments, build the problem, train.  Start reading here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .checkpoint import Checkpoints, digest, solver_settings
from .layers.conv import CONVOLUTION_NORMS
from .layers.dense import NORMS
from .loop import Stopping, run
from .losses import Loss, SquaredError
from .losses.targets import Targets
from .network import Network
from .network.architecture import ConvolutionLayers
from .objective import Problem
from .passes.full import Batch
from .passes.normalise import INIT_CHOICES, initial_weights
from .result import Result, Status
from .samples.images import image_rows
from .samples.kinds import as_samples
from .solvers import SOLVERS, Solver, choose_init, choose_solver, make_solver
from .solvers.training import Callback, NetworkTraining
from .threads.team import Team
from .validation import (
    check_activation,
    check_choice,
    check_flag,
    check_generator,
    check_inputs,
    check_number,
    check_run,
    check_widths,
)

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
        Training inputs.  float32 data is trained in float32, everything else in float64.
    y : array-like of int, shape (n,), or of numbers, shape (n,) or (n, K)
        Class indices ``0..K-1``, or the targets of a regression.
    loss : {"cross-entropy", "squared-error"}, default "cross-entropy"
        ``"squared-error"`` is regression: the mean over the samples of ``|U_n - y_n|^2``, summed
        over the outputs (their scales count; twice the loss of scikit-learn's MLPRegressor).
        Targets are standardised inside, so their unit does not matter, and the history is in
        their units.
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the fully connected hidden layers; empty for a linear classifier.
    activation : str, default "tanh"
        One of ``lysep_fast.kernels.ACTIVATION_CODES``.
    conv_channels : int or sequence of int, default ()
        Output channels of the convolutions below the fully connected layers, none by default.
    kernel_size, pool_size : int or sequence of int, default 3 and 2
        Edges of the square kernels and average-pooling windows, one for all convolutions or one
        each.
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
    init : {"uniform", "orthogonal", "normalised"} or Result, optional
        Initial weights, by default those that suit the solver: ``"uniform"`` in
        +-1/sqrt(fan_in) for the paper's algorithm, ``"normalised"`` (orthogonal, then every
        hidden neuron scaled and shifted over the data) for the others.  A `Result` of a network
        of the same architecture trains on from its weights, which are copied; the solver starts
        afresh.
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
    convolutions = ConvolutionLayers.check(conv_channels, kernel_size, pool_size, padding)
    X, shape = _inputs(X, image_shape, convolutions)
    if output_bias is None:
        output_bias = loss == SquaredError.name
    check_flag(output_bias, "output_bias")
    targets = Targets.check(
        loss,
        y,
        X,
        sample_weight,
        n_classes=n_classes,
        label_smoothing=label_smoothing,
        output_bias=output_bias,
        unit=target_unit,
    )
    bound = targets.loss
    hidden = check_widths(hidden_layer_sizes)
    activation = check_activation(activation)
    check_choice(weights, "weights", CONVOLUTION_NORMS if convolutions.channels else NORMS)
    if init is not None and not isinstance(init, Result):
        check_choice(init, "init", INIT_CHOICES)
    check_number(alpha, "alpha", 0.0)
    check_number(validation_fraction, "validation_fraction", 0.0, 1.0, exclusive=True)
    check_flag(early_stopping, "early_stopping")
    n_threads = check_run(max_iter, tol, n_iter_no_change, n_threads, callback, verbose)
    if isinstance(solver, str) and solver == "auto":
        solver = "mini-batch"
        if not convolutions.channels:
            solver = choose_solver(len(X), X.shape[1], loss, bound.sample_weight)
    checkpoints = Checkpoints(checkpoint, checkpoint_every, checkpoint_errors, resume)
    method = _method(solver, solver_options, batch_size=batch_size, refresh_every=refresh_every)
    _check_support(
        method,
        solver,
        weights=weights != "frobenius",
        alpha=alpha > 0.0,
        sample_weight=sample_weight is not None,
        label_smoothing=bool(label_smoothing),
        regression=loss == SquaredError.name,
    )

    if shape is None:
        widths = (X.shape[1], *hidden, bound.n_outputs)
        network = Network.dense(widths, activation, output_bias=output_bias)
    else:
        network = convolutions.network(shape, hidden, bound.n_outputs, activation, output_bias)
    rng = check_generator(random_state)
    checkpoints.begin(
        lambda: {
            **_data(X, bound),
            "loss": loss,
            "label_smoothing": label_smoothing,
            "image_shape": shape,
            "n_classes": bound.n_outputs,
            "hidden_layer_sizes": hidden,
            "activation": activation,
            "output_bias": output_bias,
            "convolutions": vars(convolutions),
            "weights": weights,
            "init": digest(*init.W, *init.b) if isinstance(init, Result) else init,
            "alpha": float(alpha),
            "validation_fraction": float(validation_fraction) if early_stopping else None,
            "tol": float(tol),
            "n_iter_no_change": n_iter_no_change,
            "random_state": random_state,
            **solver_settings(method),
        },
        rng,
    )
    validation, samples = None, as_samples(X)
    if early_stopping:
        kept, held_out = targets.hold_out(validation_fraction, rng)
        validation = Batch.make(samples.take(held_out), bound.take(held_out), network)
        samples, bound = samples.take(kept), bound.take(kept)
    # Overflow is not a warning but a status: the loop looks at the loss after every sweep.
    with Team(n_threads) as team, np.errstate(over="ignore", invalid="ignore"):
        if isinstance(init, Result):
            W, b = init.copy_weights(network, X.dtype)
            bound.prepare(W, b)
        else:
            init = init or choose_init(method, X.shape[1], loss)
            W, b = initial_weights(network, samples, rng, init, bound.sample_weight, team=team)
        result = Result(network, W, b, n_threads=n_threads, loss=loss, flat=targets.flat)
        problem = Problem(
            network,
            bound,
            samples,
            team,
            weights,
            alpha=alpha,
            rng=rng,
            has_validation=early_stopping,
        )
        result.bound_constant = problem.objective.constant
        if method.synchronised:  # all residuals are zero
            result.bound_constant = problem.objective.synchronised_constant
        quiet = Status.EARLY_STOPPED if early_stopping else Status.CONVERGED
        # Held-out losses count by their lowest one alone.
        tol = 0.0 if early_stopping else tol
        stopping = Stopping(max_iter, tol, n_iter_no_change, quiet, Status.MAX_ITER)
        training = NetworkTraining(problem, method, result, validation)
        run(training, stopping, callback=callback, verbose=verbose, checkpoints=checkpoints)
        bound.restore(result.W, result.b)
        if not np.all(np.isfinite(result.W[-1])) or not np.all(np.isfinite(result.b[-1])):
            raise ValueError(
                f"y is too large beside X: the output weights overflow {X.dtype}; divide y by a "
                "constant, or scale X to about unit size"
            )
    return result


def _inputs(
    X: Any, image_shape: Any, convolutions: ConvolutionLayers
) -> tuple[np.ndarray, tuple[int, int, int] | None]:
    """Return checked inputs as rows, and the shape of the images if there are convolutions."""
    shape = None
    if convolutions.channels:
        X, shape = image_rows(X, image_shape)
    elif image_shape is not None:
        raise ValueError(
            f"image_shape={image_shape!r} needs convolutions; set conv_channels, or leave it out"
        )
    return check_inputs(X), shape


def _data(X: np.ndarray, loss: Loss) -> dict[str, str]:
    """Return fingerprints of the training data."""
    given = [np.array(loss.unit), getattr(loss, "mean", None)]  # what standardising took away
    weights = digest(loss.sample_weight)
    return {"X": digest(X), "y": digest(loss.y, *given), "sample_weight": weights}


def _method(solver: str | Solver, options: dict[str, Any] | None, **subsets: int | None) -> Solver:
    """Return the solver with its options, those of `subsets` that are set among them."""
    given = {name: value for name, value in subsets.items() if value is not None}
    if given and isinstance(options, Mapping | None):
        for name in given.keys() & (options or {}).keys():
            raise ValueError(
                f"{name} is given twice: {name}={given[name]!r} and in solver_options as "
                f"{(options or {})[name]!r}; leave one of them out"
            )
        options = {**(options or {}), **given}
    method = make_solver(solver, options)
    if "refresh_every" in given and getattr(method, "batch_size", None) is None:
        raise ValueError(
            f"refresh_every={given['refresh_every']} needs subsets to refresh; set batch_size, or "
            "leave it out"
        )
    return method


def _check_support(method: Solver, solver: str | Solver, **wanted: bool) -> None:
    """Raise when an argument is set that the solver cannot take into account."""
    for name, is_set in wanted.items():
        if is_set and name not in method.supports:
            able = [key for key, kind in SOLVERS.items() if name in kind.supports]
            what, else_ = f"{name} into account", "leave it at its default, or "
            if name == "regression":
                what, else_ = "loss='squared-error'", ""
            raise ValueError(
                f"solver={solver!r} cannot take {what}; {else_}choose one of "
                f"{', '.join(map(repr, able))}"
            )
