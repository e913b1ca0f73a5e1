"""What the classifiers share: fitting through `lysep_fast.train`, and prediction."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "the estimators need scikit-learn 1.6 or newer; install it with "
        "pip install 'lysep_fast[sklearn]', or use lysep_fast.train, which does without"
    ) from error

from ..result import Result, Status
from ..train import train

__all__ = ["NetworkClassifier"]


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Classifier whose parameters are arguments of `lysep_fast.train` by the same names."""

    random_state: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on X of shape (n, d), labels y and optional sample weights of shape (n,).

        A convolutional classifier also takes images, (n, H, W) or (n, C, H, W).

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        X, y = validate_data(self, self._rows(X), y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_[0]!r}; the classifier needs samples of "
                "at least two"
            )
        arguments = self._arguments()
        random_state = check_random_state(arguments.pop("random_state"))
        result: Result = train(
            X,
            labels,
            sample_weight=sample_weight,
            n_classes=len(self.classes_),
            random_state=random_state.randint(np.iinfo(np.int32).max),
            **arguments,
        )
        self.result_ = result
        self.n_iter_ = result.n_iter
        self.loss_curve_ = [row.loss for row in result.history[1:]]
        self.separated_loss_curve_ = [row.separated_loss for row in result.history[1:]]
        self.validation_loss_curve_ = [row.validation_loss for row in result.history[1:]]
        self.bound_constant_ = result.bound_constant
        if result.status in (Status.MAX_ITER, Status.NOT_FINITE):
            warnings.warn(
                f"{type(self).__name__} stopped after {result.n_iter} sweeps: {result.message}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of shape (fan_in, fan_out), layer by layer."""
        check_is_fitted(self, "result_")
        return [W.T for W in self.result_.W[1:]]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases, layer by layer (zeros in the output layer without `output_bias`)."""
        check_is_fitted(self, "result_")
        return list(self.result_.b[1:])

    def _arguments(self) -> dict[str, Any]:
        """Return the parameters as arguments of `lysep_fast.train`."""
        return dict(self.get_params(deep=False))

    def _rows(self, X: Any) -> Any:
        """Return X with one row per sample; images override it."""
        return X

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits, shape (n, K), or for two classes their difference, shape (n,)."""
        U = self._logits(X)
        return U[:, 1] - U[:, 0] if len(self.classes_) == 2 else U

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape (n, K), columns in the order of ``classes_``."""
        check_is_fitted(self, "result_")
        X = validate_data(self, self._rows(X), dtype=(np.float64, np.float32), reset=False)
        return self.result_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every sample, shape (n,)."""
        index = np.argmax(self._logits(X), axis=1)
        return self.classes_[index]

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "result_")
        X = validate_data(self, self._rows(X), dtype=(np.float64, np.float32), reset=False)
        return self.result_.decision_function(X)
