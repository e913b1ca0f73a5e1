"""What the classifiers share: class labels, and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import NetworkEstimator  # first: it says what is missing without scikit-learn

# isort: split
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

__all__ = ["NetworkClassifier"]


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Classifier whose parameters are arguments of `lysep_fast.train` by the same names."""

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
        self._train(X, labels, sample_weight, n_classes=len(self.classes_))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits, shape (n, K), or for two classes their difference, shape (n,)."""
        U = self._logits(X)
        return U[:, 1] - U[:, 0] if len(self.classes_) == 2 else U

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape (n, K), columns in the order of ``classes_``."""
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every sample, shape (n,)."""
        index = np.argmax(self._logits(X), axis=1)
        return self.classes_[index]

    def _logits(self, X: Any) -> np.ndarray:
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.decision_function(X)
