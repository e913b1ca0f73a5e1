"""Convolutional classifier with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..result import HistoryRow, Result
from ..samples.images import image_rows, is_images, rows_like
from ._classifier import NetworkClassifier

__all__ = ["LySepConvClassifier"]


class LySepConvClassifier(NetworkClassifier):
    """Convolutional network classifier trained by layer separation.

    Convolutions, each followed by the activation and average pooling, then fully connected
    layers.  X holds images, (n, H, W) or (n, C, H, W), or one row of pixels per sample.

    Parameters
    ----------
    conv_channels : int or sequence of int, default (8, 8)
        Output channels of the convolutions.
    kernel_size, pool_size : int or sequence of int, default 3 and 2
        Edges of the square kernels and of the average-pooling windows, one for all convolutions
        or one each; a window larger than its image is cut to it.
    hidden_layer_sizes : int or sequence of int, default (64,)
        Widths of the fully connected hidden layers.
    activation : str, default "tanh"
        Activation of all hidden layers, see ``lysep_fast.kernels.ACTIVATION_CODES``.
    batch_size : int, optional
        Samples per step, or per subset of the sweeps; default what suits the solver.
    refresh_every : int, optional
        Sweeps on a subset before the next one is drawn; for ``"measured-sweeps"`` and
        ``"alternating"`` only.
    image_shape : sequence of int, optional
        ``(H, W)`` or ``(C, H, W)`` of a row of pixels; default a grey square if the features fill
        one, else one line.
    padding : int or "same", default "same"
        Zeros around the images; ``"same"`` keeps their size.
    solver : str or Solver, default "auto"
        ``"mini-batch"`` (which ``"auto"`` takes) is the fast one, ``"measured-sweeps"`` is
        Algorithm 2 with measured weights, ``"alternating"`` with a `batch_size` the literal one.
    solver_options : dict, optional
        Keyword arguments of the solver's class in ``lysep_fast.solvers``.
    weights : {"frobenius", "patch", "spectral"}, default "frobenius"
        Norm of the adaptive penalty weights.
    output_bias : bool, default False
        Whether the output layer has a bias.
    init : {"uniform", "orthogonal", "normalised", "normalised-small"}, optional
        Initial weights; default those that suit the solver.
    alpha : float, default 0.0
        Weight of ``alpha/2 sum_l ||W_l||^2`` beside the mean cross-entropy, or beside F.
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
    >>> from lysep_fast import LySepConvClassifier
    >>> X = np.random.default_rng(0).uniform(0, 1, (200, 12, 12))
    >>> y = np.where(X[:, :6].mean(axis=(1, 2)) > X[:, 6:].mean(axis=(1, 2)), "top", "bottom")
    >>> model = LySepConvClassifier((4,), hidden_layer_sizes=(8,), random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)  # doctest: +SKIP
    True
    """

    def __init__(
        self,
        conv_channels: int | Sequence[int] = (8, 8),
        kernel_size: int | Sequence[int] = 3,
        pool_size: int | Sequence[int] = 2,
        hidden_layer_sizes: int | Sequence[int] = (64,),
        activation: str = "tanh",
        *,
        batch_size: int | None = None,
        refresh_every: int | None = None,
        image_shape: Sequence[int] | None = None,
        padding: int | str = "same",
        solver: Any = "auto",
        solver_options: dict[str, Any] | None = None,
        weights: str = "frobenius",
        output_bias: bool = False,
        init: str | None = None,
        alpha: float = 0.0,
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
        self.conv_channels = conv_channels
        self.kernel_size = kernel_size
        self.pool_size = pool_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.batch_size = batch_size
        self.refresh_every = refresh_every
        self.image_shape = image_shape
        self.padding = padding
        self.solver = solver
        self.solver_options = solver_options
        self.weights = weights
        self.output_bias = output_bias
        self.init = init
        self.alpha = alpha
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

    def _first_rows(self, X: Any) -> Any:
        self._shape = image_rows(X, self.image_shape)[1] if is_images(X) else None
        return self._rows(X)

    def _rows(self, X: Any) -> Any:
        """Return images as rows; they need the shape of the training images."""
        return X if self._shape is None else rows_like(X, self._shape)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `train`: rows of pixels need the shape they came from."""
        arguments = super()._arguments()
        if arguments["image_shape"] is None:
            arguments["image_shape"] = self._shape
        return arguments

    def _record(self, result: Result, *, afresh: bool) -> None:
        super()._record(result, afresh=afresh)
        # What predictions are for, also when rows of pixels were given.
        self._shape = getattr(result.network.layer(1), "image_shape", None)
