"""Fully connected regressor with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..losses import SquaredError
from ..result import HistoryRow
from ..validation import check_targets, check_weights
from ._base import NetworkEstimator  # first: it says what is missing without scikit-learn

# isort: split
from sklearn.base import RegressorMixin
from sklearn.preprocessing import StandardScaler

__all__ = ["LySepRegressor"]

_LOSS = SquaredError.name


class LySepRegressor(RegressorMixin, NetworkEstimator):
    """Neural network regressor trained by layer separation, for one or several outputs.

    The mean squared error, summed over the outputs, is minimised; scale outputs to about one
    spread where all of them matter alike.

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
    output_bias : bool, default True
        Whether the output layer has a bias.
    init : {"uniform", "orthogonal", "normalised", "normalised-small"}, optional
        Initial weights; default those that suit the solver.
    alpha : float, default 0.0
        Weight of ``alpha/2 sum_l ||W_l||^2`` beside the mean squared error, or beside F, for
        targets of unit variance.
    batch_size : int, optional
        Samples per step of the mini-batch solver.
    early_stopping : bool, default False
        Hold out `validation_fraction` of the samples, stop when its mean squared error has not
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
        Whether `fit` goes on from the weights of its last call, which had the same architecture.
        The solver starts afresh, with the parameters as they are now.
    n_threads : int, optional
        Threads for kernels and BLAS; default all CPUs.  Results do not depend on it.
    verbose : int, default 0
        1 prints one line per sweep.
    callback : callable, optional
        Called with every `lysep_fast.HistoryRow`; training stops when it returns True.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str
        Names of the features, if X had any.
    loss_curve_ : list of float
        Mean squared error of the true network on the training data after every sweep, summed over
        the outputs: with one output twice that of scikit-learn's MLPRegressor.
    separated_loss_curve_ : list of float
        LS = sqrt(F) after every sweep, without the penalty of `alpha`.
    validation_loss_curve_ : list of float
        The same of the held-out samples after every sweep; NaN without early stopping.
    validation_scores_ : list of float
        R^2 on the held-out samples after every sweep; NaN without early stopping.
    best_loss_, best_validation_score_ : float
        Loss and validation score of the weights that were kept.
    bound_constant_ : float
        C of ``sqrt(loss_curve_[k]) <= C * separated_loss_curve_[k]``.
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
    >>> from lysep_fast import LySepRegressor
    >>> X = np.random.default_rng(0).uniform(-2, 2, (300, 1))
    >>> model = LySepRegressor((30, 30), random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> bool(model.score(X, np.sin(3 * X[:, 0])) > 0.99)  # doctest: +SKIP
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
        output_bias: bool = True,
        init: str | None = None,
        alpha: float = 0.0,
        batch_size: int | None = None,
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LySepRegressor:
        """Train on X of shape (n, d), targets y of shape (n,) or (n, K), and sample weights.

        With ``warm_start=True`` training goes on from the weights of the last call.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=False)
        X, y = self._training_data(X, y, former, multi_output=True, y_numeric=True)
        self._spread = StandardScaler()
        self._unit(X, y, sample_weight)
        self._train(X, y, sample_weight, former, partial=False, loss=_LOSS)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LySepRegressor:
        """Go on with one sweep over a part of the data, from the weights as they are.

        For the mini-batch solver, which ``solver="auto"`` stands for here, a sweep is one pass in
        small steps.  The other solvers do one sweep of their own, which takes little account of
        the parts before.  Targets are scaled by the spread of all that were seen so far.

        Parameters
        ----------
        X, y : array-like
            A part of the data, as for `fit`.
        sample_weight : array-like, shape (n,), optional
            Weights of the samples beside each other; every part is scaled to mean 1.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=True)
        X, y = self._training_data(X, y, former, multi_output=True, y_numeric=True)
        if former is None:
            self._spread = StandardScaler()
        unit = self._unit(X, y, sample_weight)
        self._train(X, y, sample_weight, former, partial=True, loss=_LOSS, target_unit=unit)
        return self

    def _unit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> float | None:
        """Return the spread of all targets so far, with these; None if they are all the same."""
        T = check_targets(y, len(X), X.dtype)
        # The weighted variance of equal targets is what rounding leaves, of either sign; its
        # root, which the scaler takes, is not used here.
        with np.errstate(invalid="ignore"):
            self._spread.partial_fit(T, None, check_weights(sample_weight, X))
        rounding = 10.0 * np.finfo(np.float64).eps * self._spread.mean_**2
        variance = np.where(self._spread.var_ > rounding, self._spread.var_, 0.0)
        return float(np.sqrt(np.mean(variance))) or None

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions, in the shape of the targets: (n,) or (n, K)."""
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.predict(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
