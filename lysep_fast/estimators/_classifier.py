"""What the classifiers share: class labels and their weights, and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..losses.targets import balanced
from ..validation import check_choice, check_weights
from ._base import NetworkEstimator  # first: it says what is missing without scikit-learn

# isort: split
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels

__all__ = ["NetworkClassifier"]


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Classifier whose parameters are arguments of `lysep_fast.train` by the same names.

    Parameters
    ----------
    output_bias : bool, default False
        Whether the output layer has a bias.
    class_weight : dict or "balanced", optional
        Weights by label, which multiply the sample weights; labels that a dict leaves out have 1.
        ``"balanced"`` gives every class the same total weight.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Class labels.
    loss_curve_ : list of float
        Cross-entropy of the true network on the training data after every sweep.
    validation_loss_curve_ : list of float or None
        Cross-entropy of the held-out samples after every sweep; None without early stopping, NaN
        for those calls among several that were without.
    validation_scores_ : list of float or None
        Accuracy on the held-out samples after every sweep; None or NaN like the losses.
    bound_constant_ : float
        C of ``loss_curve_[k] <= C * separated_loss_curve_[k]``; not promised for
        ``"alternating"`` with label smoothing, where F is made of smoothed losses.
    """

    class_weight: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on X of shape (n, d), labels y and optional sample weights of shape (n,).

        A convolutional classifier also takes images, (n, H, W) or (n, C, H, W).  With
        ``warm_start=True`` training goes on from the weights of the last call.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=False)
        X, y = self._training_data(X, y, former)
        check_classification_targets(y)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class only, {classes[0]!r}; the classifier needs samples of "
                "at least two"
            )
        if former is None:
            self.classes_ = classes
        elif not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True needs the classes of the last fit, {self.classes_}, but y has "
                f"{classes}; set it to False, or use partial_fit for a part of the classes"
            )
        labels = np.searchsorted(self.classes_, y)
        sample_weight = self._weigh(sample_weight, X, y, labels)
        n_classes = len(self.classes_)
        self._train(X, labels, sample_weight, former, partial=False, n_classes=n_classes)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go on with one sweep over a part of the data, from the weights as they are.

        For the mini-batch solver, which ``solver="auto"`` stands for here, a sweep is one pass in
        small steps.  The other solvers do one sweep of their own, which takes little account of
        the parts before.

        Parameters
        ----------
        X, y : array-like
            A part of the data, as for `fit`; y may lack some classes.
        classes : array-like, shape (K,)
            All labels that will ever occur.  The first call needs it, unless `fit` came before.
        sample_weight : array-like, shape (n,), optional
            Weights of the samples beside each other; every part is scaled to mean 1.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=True)
        classes = self._all_classes(classes, first=former is None)
        X, y = self._training_data(X, y, former)
        check_classification_targets(y)
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(f"y has the labels {unknown}, which are not in classes={classes}")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} does not go with partial_fit, which sees a "
                "part of the data only; give a dict of label: weight"
            )
        self.classes_ = classes
        labels = np.searchsorted(classes, y)
        sample_weight = self._weigh(sample_weight, X, y, labels)
        self._train(X, labels, sample_weight, former, partial=True, n_classes=len(classes))
        return self

    def _all_classes(self, classes: Any, *, first: bool) -> np.ndarray:
        """Return the sorted labels of all parts of the data."""
        if classes is None:
            if first:
                raise ValueError("classes must be passed on the first call to partial_fit")
            return self.classes_
        found = unique_labels(classes)
        if len(found) < 2:
            raise ValueError(f"classes must hold at least two labels, got {classes!r}")
        if not first and not np.array_equal(found, self.classes_):
            raise ValueError(
                f"classes={classes!r} are not those of the last call, {self.classes_}; leave it "
                "out after the first call"
            )
        return found

    def _weigh(self, sample_weight: Any, X: np.ndarray, y: np.ndarray, labels: np.ndarray) -> Any:
        """Return the sample weights times those of their classes."""
        if self.class_weight is None:
            return sample_weight
        own = check_weights(sample_weight, X)
        if isinstance(self.class_weight, Mapping):
            weights = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=y)
            if not np.all(np.isfinite(weights) & (weights >= 0.0)):
                raise ValueError(
                    f"class_weight must hold finite weights of at least 0, got "
                    f"{self.class_weight!r}"
                )
        else:
            check_choice(self.class_weight, "class_weight", ("balanced",))
            weights = balanced(labels, len(self.classes_), own)
        return weights[labels] if own is None else weights[labels] * own

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
