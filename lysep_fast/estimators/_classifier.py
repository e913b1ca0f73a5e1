"""What the classifiers share: class labels and their weights, and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
import scipy.special

from ..losses import BinaryCrossEntropy, CrossEntropy
from ..losses.targets import balanced
from ..result import Result
from ..validation import check_choice, check_weights
from ._base import NetworkEstimator  # first: it says what is missing without scikit-learn

# isort: split
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import column_or_1d

__all__ = ["NetworkClassifier"]


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Classifier whose parameters are arguments of `lysep_fast.train` by the same names.

    Parameters
    ----------
    class_weight : dict or "balanced", optional
        Weights by label, which multiply the sample weights; labels that a dict leaves out have 1.
        ``"balanced"`` gives every class the same total weight.  Not for several labels per sample.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Class labels, for several labels per sample the numbers of the columns.
    loss_curve_ : list of float
        Cross-entropy of the true network on the training data after every sweep, summed over the
        labels if there are several per sample.
    validation_loss_curve_ : list of float or None
        Cross-entropy of the held-out samples after every sweep; None without early stopping, NaN
        for those calls among several that were without.
    validation_scores_ : list of float or None
        Accuracy on the held-out samples after every sweep, where a sample counts if all of its
        labels are right; None or NaN like the losses.
    bound_constant_ : float
        C of ``loss_curve_[k] <= C * separated_loss_curve_[k]``; not promised for
        ``"alternating"`` with label smoothing, where F is made of smoothed losses.
    """

    class_weight: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on X of shape (n, d), labels y and optional sample weights of shape (n,).

        y of shape (n, K), K > 1, holds 0 and 1, any number of ones per sample: then the K labels
        are learned together, each with a probability of its own.  A convolutional classifier also
        takes images, (n, H, W) or (n, C, H, W).  With ``warm_start=True`` training goes on from
        the weights of the last call.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=False)
        X, y = self._training_data(X, y, former, multi_output=True)
        y = _classes_or_labels(y)
        classes = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
        if former is None:
            self.classes_ = classes
        elif not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True needs the classes of the last fit, {self.classes_}, but y has "
                f"{classes}; set it to False, or use partial_fit for a part of the classes"
            )
        targets, sample_weight, more = self._targets(X, y, sample_weight, former)
        self._train(X, targets, sample_weight, former, partial=False, **more)
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
            For several labels per sample it may be left out; they are the numbers of the columns.
        sample_weight : array-like, shape (n,), optional
            Weights of the samples beside each other; every part is scaled to mean 1.

        Raises
        ------
        ValueError
            If the data or a parameter is unusable; the message names it.
        """
        former = self._former(partial=True)
        X, y = self._training_data(X, y, former, multi_output=True)
        y = _classes_or_labels(y)
        if y.ndim == 1:
            classes = self._all_classes(classes, first=former is None)
            unknown = np.setdiff1d(y, classes)
            if len(unknown):
                raise ValueError(f"y has the labels {unknown}, which are not in classes={classes}")
        else:
            classes = _columns(classes, y)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} does not go with partial_fit, which sees a "
                "part of the data only; give a dict of label: weight"
            )
        self.classes_ = classes
        targets, sample_weight, more = self._targets(X, y, sample_weight, former)
        self._train(X, targets, sample_weight, former, partial=True, **more)
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

    def _targets(
        self, X: np.ndarray, y: np.ndarray, sample_weight: Any, former: Result | None
    ) -> tuple[np.ndarray, Any, dict[str, Any]]:
        """Return targets and sample weights of `train`, and what else it has to know."""
        several = y.ndim == 2
        loss = BinaryCrossEntropy.name if several else CrossEntropy.name
        if former is not None and former.loss != loss:
            now, then = ("labels", "one class") if several else ("one class", "labels")
            raise ValueError(
                f"y has {now} per sample, but the last call had {then}; start afresh with "
                "warm_start=False and fit"
            )
        if not several:
            labels = np.searchsorted(self.classes_, y)
            weights = self._weigh(sample_weight, X, y, labels)
            return labels, weights, {"loss": loss, "n_classes": len(self.classes_)}
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r} does not go with several labels per sample; "
                "set it to None, or weigh samples by sample_weight"
            )
        return y, sample_weight, {"loss": loss}

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
        return U[:, 1] - U[:, 0] if U.shape[1] == 2 and not self._has_labels else U

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape (n, K), columns in the order of ``classes_``.

        Those of several labels per sample do not add up to 1.
        """
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.predict_proba(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`, finite where a probability underflows."""
        P = self.predict_proba(X)
        if self._has_labels:
            return np.asarray(np.log(P))
        log = scipy.special.log_softmax(self._logits(X), axis=1)
        # The logarithm of the rounded probability elsewhere: what is a tie in one is in the other.
        return np.asarray(np.log(P, where=np.finfo(P.dtype).tiny <= P, out=log))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every sample, (n,), or all its labels, (n, K)."""
        U = self._logits(X)
        return (U > 0.0).astype(np.int64) if self._has_labels else self.classes_[U.argmax(axis=1)]

    @property
    def _has_labels(self) -> bool:
        return bool(self.result_.loss == BinaryCrossEntropy.name)

    def _logits(self, X: Any) -> np.ndarray:
        X = self._checked(X)  # says so when there is no result yet
        return self.result_.decision_function(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _columns(classes: Any, y: np.ndarray) -> np.ndarray:
    """Return the numbers of the columns of labels, which `classes` may say as well."""
    found = np.arange(y.shape[1])
    if classes is not None and not np.array_equal(unique_labels(classes), found):
        raise ValueError(
            f"classes={classes!r} are not the numbers of the {len(found)} columns of labels in y; "
            "leave it out"
        )
    return found


def _classes_or_labels(y: Any) -> np.ndarray:
    """Return classes as a vector, or labels 0 and 1 as a matrix.

    Raises
    ------
    ValueError
        If there are several columns that are not labels, or no classes at all.
    """
    if scipy.sparse.issparse(y):
        y = y.toarray()
    check_classification_targets(y)
    kind = type_of_target(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"y has {y.shape[1]} columns that hold more than 0 and 1; fit one classifier per "
            "column, for instance by sklearn.multioutput.MultiOutputClassifier"
        )
    return np.asarray(y if kind == "multilabel-indicator" else column_or_1d(y, warn=True))
