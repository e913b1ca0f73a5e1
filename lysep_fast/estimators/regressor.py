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

from ._documented import documented

__all__ = ["LySepRegressor"]

_LOSS = SquaredError.name


@documented
class LySepRegressor(RegressorMixin, NetworkEstimator):
    """Neural network regressor trained by layer separation, for one or several outputs.

    The mean squared error, summed over the outputs, is minimised, every output in units of its
    standard deviation.

    Attributes
    ----------
    loss_curve_ : list of float
        Mean squared error of the true network on the training data after every sweep, summed over
        the outputs: with one output twice that of scikit-learn's MLPRegressor, with several in
        the root of their mean variance.
    validation_loss_curve_ : list of float or None
        The same of the held-out samples after every sweep; None without early stopping, NaN for
        those calls among several that were without.
    validation_scores_ : list of float or None
        R^2 on the held-out samples after every sweep; None or NaN like the losses.
    bound_constant_ : float
        C of ``sqrt(loss_curve_[k]) <= C * separated_loss_curve_[k]``.

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
        activation: str | None = None,
        *,
        solver: Any = "auto",
        solver_options: dict[str, Any] | None = None,
        weights: str = "frobenius",
        output_bias: bool | None = None,
        init: str | None = None,
        standardise: bool | None = None,
        alpha: float = 0.0,
        batch_size: int | str | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        random_state: Any = None,
        warm_start: bool = False,
        n_threads: int | None = None,
        verbose: bool | int = 0,
        callback: Callable[[HistoryRow], bool | None] | None = None,
    ) -> None:
        self._keep(locals())

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

    def _unit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> np.ndarray:
        """Return the spreads of all targets so far, with these; 1 for those that do not vary."""
        T = check_targets(y, X.shape[0], X.dtype)
        # The weighted variance of equal targets is what rounding leaves, of either sign; its
        # root, which the scaler takes, is not used here.
        with np.errstate(invalid="ignore"):
            self._spread.partial_fit(T, None, check_weights(sample_weight, X))
        rounding = 10.0 * np.finfo(np.float64).eps * self._spread.mean_**2
        variance = np.where(self._spread.var_ > rounding, self._spread.var_, 1.0)
        return np.asarray(np.sqrt(variance))

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions, in the shape of the targets: (n,) or (n, K)."""
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.predict(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
