"""Fully connected classifier with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..result import HistoryRow
from ._classifier import NetworkClassifier

__all__ = ["LySepClassifier"]


class LySepClassifier(NetworkClassifier):
    """Neural network classifier trained by layer separation.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Widths of the hidden layers.
    activation : str, default "tanh"
        Activation of the hidden layers, see ``lysep_fast.kernels.ACTIVATION_CODES``.
    solver : str or Solver, default "auto"
        ``"alternating"`` is Algorithm 1, ``"quasi-newton"`` and ``"mini-batch"`` are the fast
        solvers, and ``"auto"`` takes the one of these two that suits the numbers of samples and
        features.
    solver_options : dict, optional
        Keyword arguments of the solver's class in ``lysep_fast.solvers``.
    weights : {"frobenius", "spectral"}, default "frobenius"
        Norm of the adaptive penalty weights.
    output_bias : bool, default False
        Whether the output layer has a bias.
    init : {"uniform", "orthogonal", "normalised", "normalised-small"}, optional
        Initial weights; default those that suit the solver.
    alpha : float, default 0.0
        Weight of ``alpha/2 sum_l ||W_l||^2`` beside the mean cross-entropy, or beside F.
    batch_size : int, optional
        Samples per step of the mini-batch solver.
    label_smoothing : float, optional
        Share of every target that is spread over all classes; default what suits the solver.
        Reported losses are never smoothed.
    class_weight : dict or "balanced", optional
        Weights by label, which multiply the sample weights; labels that a dict leaves out have 1.
        ``"balanced"`` gives every class the same total weight.
    early_stopping : bool, default False
        Hold out `validation_fraction` of every class, stop when its cross-entropy has not
        improved for `n_iter_no_change` sweeps, and keep the best iterate.
    validation_fraction : float, default 0.1
        See `early_stopping`.
    max_iter : int, default 200
        Largest number of sweeps.
    tol : float, default 1e-4
        Stop when the loss that the solver works on fell by less than this share of itself in
        each of `n_iter_no_change` sweeps in a row.
    n_iter_no_change : int, default 10
        See `tol`.
    random_state : int, RandomState instance or None, default None
        Seed of the initial weights.
    warm_start : bool, default False
        Whether `fit` goes on from the weights of its last call, which had the same architecture
        and classes.  The solver starts afresh, with the parameters as they are now.
    n_threads : int, optional
        Threads for kernels and BLAS; default all CPUs.  Results do not depend on it.
    verbose : int, default 0
        1 prints one line per sweep.
    callback : callable, optional
        Called with every `lysep_fast.HistoryRow`; training stops when it returns True.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Class labels.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str
        Names of the features, if X had any.
    loss_curve_ : list of float
        Cross-entropy of the true network on the training data after every sweep.
    separated_loss_curve_ : list of float
        LS = sqrt(F) after every sweep, without the penalty of `alpha`.
    validation_loss_curve_ : list of float
        Cross-entropy of the held-out samples after every sweep; NaN without early stopping.
    validation_scores_ : list of float
        Accuracy on the held-out samples after every sweep; NaN without early stopping.
    best_loss_, best_validation_score_ : float
        Loss and validation score of the weights that were kept.
    bound_constant_ : float
        C of ``loss_curve_[k] <= C * separated_loss_curve_[k]``; not promised for
        ``"alternating"`` with label smoothing, where F is made of smoothed losses.
    n_iter_ : int
        Number of sweeps done in the last call; the curves go on over all calls since a fresh
        start.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (fan_in, fan_out) and biases, layer by layer.
    result_ : lysep_fast.Result
        Network, history and status.

    Examples
    --------
    >>> import numpy as np
    >>> from lysep_fast import LySepClassifier
    >>> X = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    >>> y = np.where(np.sum(X**2, axis=1) < 2 / np.pi, "inside", "outside")
    >>> model = LySepClassifier((50, 50), max_iter=60, tol=0, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)  # doctest: +SKIP
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "tanh",
        *,
        solver: Any = "auto",
        solver_options: dict[str, Any] | None = None,
        weights: str = "frobenius",
        output_bias: bool = False,
        init: str | None = None,
        alpha: float = 0.0,
        batch_size: int | None = None,
        label_smoothing: float | None = None,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        warm_start: bool = False,
        n_threads: int | None = None,
        verbose: int = 0,
        callback: Callable[[HistoryRow], bool | None] | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.solver_options = solver_options
        self.weights = weights
        self.output_bias = output_bias
        self.init = init
        self.alpha = alpha
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.warm_start = warm_start
        self.n_threads = n_threads
        self.verbose = verbose
        self.callback = callback
