"""What all estimators share: fitting through `lysep_fast.train`, and what is read afterwards."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "the estimators need scikit-learn 1.6 or newer; install it with "
        "pip install 'lysep_fast[sklearn]', or use lysep_fast.train, which does without"
    ) from error

from ..files.estimators import save_estimator
from ..result import Result, Status
from ..train import train

__all__ = ["NetworkEstimator"]


class NetworkEstimator(BaseEstimator):
    """Estimator whose parameters are arguments of `lysep_fast.train` by the same names."""

    random_state: Any

    def _train(self, X: np.ndarray, y: np.ndarray, sample_weight: Any, **more: Any) -> None:
        """Train on checked data and set the attributes that do not depend on the task."""
        arguments = self._arguments()
        random_state = check_random_state(arguments.pop("random_state"))
        result: Result = train(
            X,
            y,
            sample_weight=sample_weight,
            random_state=random_state.randint(np.iinfo(np.int32).max),
            **more,
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
                stacklevel=3,
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and everything learned to a model file for `lysep_fast.load`.

        Raises
        ------
        TypeError
            If a parameter is neither None, number, string nor a list, tuple or dict of these,
            or the class labels are neither numbers, bools nor strings.
        OSError
            If the file cannot be written; one that was there before is kept.
        """
        check_is_fitted(self, "result_")
        save_estimator(self, path)

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

    def _checked(self, X: Any) -> np.ndarray:
        """Return the inputs of a prediction, checked against those of the training."""
        check_is_fitted(self, "result_")
        checked: np.ndarray = validate_data(
            self, self._rows(X), dtype=(np.float64, np.float32), reset=False
        )
        return checked
