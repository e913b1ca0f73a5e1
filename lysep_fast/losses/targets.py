"""From targets as given to the loss that is trained, and the split for early stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation import check_labels, check_targets, check_weights
from . import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError

__all__ = ["LOSSES", "Targets", "balanced"]

Split = tuple[np.ndarray, np.ndarray]

LOSSES = (CrossEntropy.name, BinaryCrossEntropy.name, SquaredError.name)


@dataclass(frozen=True)
class Targets:
    """Checked targets.

    Attributes
    ----------
    loss : Loss
        The loss bound to them.
    groups : ndarray of int, shape (n,)
        Held-out samples are drawn from every group: the classes, or one group of all samples for
        labels and numbers.
    flat : bool
        Whether there was one number per sample.
    """

    loss: Loss
    groups: np.ndarray
    flat: bool

    @classmethod
    def check(
        cls,
        loss: str,
        y: Any,
        X: Any,
        sample_weight: Any,
        *,
        n_classes: int | None,
        label_smoothing: float | None,
        output_bias: bool,
        unit: float | tuple[float, ...] | None = None,
    ) -> Targets:
        """Return the targets of the named loss; settings that go with them are checked already.

        Of the inputs X only shape and dtype are looked at.

        Raises
        ------
        ValueError, TypeError
            If they are not as `lysep_fast.train` says.
        """
        if loss == CrossEntropy.name:
            labels, n_classes = check_labels(y, X.shape[0], n_classes)
            c = check_weights(sample_weight, X)
            return cls(CrossEntropy(labels, n_classes, c, label_smoothing), labels, True)
        n_samples = X.shape[0]
        if loss == BinaryCrossEntropy.name:
            Y, c = _check_label_matrix(y, n_samples), check_weights(sample_weight, X)
            return cls(BinaryCrossEntropy(Y, c), np.zeros(n_samples, np.int64), False)
        T, c = check_targets(y, n_samples, X.dtype), check_weights(sample_weight, X)
        squared = SquaredError.standardised(T, c, X.dtype, centre=output_bias, unit=unit)
        return cls(squared, np.zeros(n_samples, np.int64), np.ndim(y) == 1)

    def hold_out(self, fraction: float, rng: np.random.Generator) -> Split:
        """Return sorted indices of training and validation samples.

        Held-out samples are spread over the groups as evenly as possible; every group keeps a
        sample to train on.
        """
        order = self._shuffled(rng)
        first = np.ones(len(order), bool)  # of its group
        first[1:] = self.groups[order[1:]] != self.groups[order[:-1]]
        others = order[~first]
        count = min(round(fraction * len(order)), len(others))
        if not count:
            raise ValueError(
                f"validation_fraction={fraction} of {len(order)} samples leaves none to validate "
                "on, as every class keeps one to train on; raise it, or set early_stopping=False"
            )
        # In the order of the groups, every so-many-th: no group gives much more than its share.
        chosen = np.linspace(0.0, len(others), count, endpoint=False) + rng.uniform(
            0.0, len(others) / count
        )
        return self._split(others[chosen.astype(np.int64)])

    def folds(self, count: int, rng: np.random.Generator, key: np.ndarray) -> list[Split]:
        """Return sorted indices of training and validation samples, every sample held out once.

        There are none where fewer than two different samples per fold are left.

        The samples of a group, and of all groups together, are shared out evenly.  Equal samples
        stay together, and those of weight 0 are never held out, so that a weight says the same as
        repeating a row or leaving it out.

        Parameters
        ----------
        count : int
            Number of folds.
        rng : numpy.random.Generator
            Source of the order.
        key : ndarray, shape (n,)
            A number of every sample, the same for equal inputs.
        """
        c = self.loss.sample_weight
        present = np.arange(len(key)) if c is None else np.flatnonzero(c)
        y = self.loss.y[present].reshape(len(present), -1)
        columns = (*y.T, key[present], self.groups[present])
        order = present[np.lexsort(columns)]
        same = np.ones(len(order), bool)
        for values in (self.groups, key, *self.loss.y.reshape(len(key), -1).T):
            same[1:] &= values[order[1:]] == values[order[:-1]]
        same[0] = False
        which = np.cumsum(~same) - 1  # of the different samples, in the order of their groups
        groups = self.groups[order[~same]]
        if len(groups) < 2 * count:
            return []
        drawn = rng.permutation(len(groups))
        drawn = drawn[np.argsort(groups[drawn], kind="stable")]
        fold = np.empty(len(groups), np.int64)
        fold[drawn] = np.arange(len(groups)) % count
        return [self._split(order[fold[which] == k]) for k in range(count)]

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of all samples in random order, group by group."""
        order = rng.permutation(len(self.groups))
        return order[np.argsort(self.groups[order], kind="stable")]

    def _split(self, held_out: np.ndarray) -> Split:
        """Return all other samples and the held-out ones, both in order."""
        held_out = np.sort(held_out)
        kept = np.setdiff1d(np.arange(len(self.groups)), held_out)
        c = self.loss.sample_weight
        for rows, use in ((kept, "train"), (held_out, "validate")):
            if c is not None and not np.any(c[rows]):
                raise ValueError(
                    f"sample_weight is 0 for all {len(rows)} samples to {use} on; leave out the "
                    "samples of weight 0, or set early_stopping=False"
                )
        return kept, held_out


def _check_label_matrix(y: Any, n_samples: int) -> np.ndarray:
    """Return labels 0 or 1, of any dtype, as a C-contiguous matrix of uint8.

    Raises
    ------
    ValueError
        If they are not a matrix of zeros and ones with a row per sample.
    """
    array = np.asarray(y)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(
            f"y must have the shape (samples, labels) for loss={BinaryCrossEntropy.name!r}, got "
            f"{array.shape}; use y.reshape(-1, 1) for one label, or "
            f"loss={CrossEntropy.name!r} for class indices"
        )
    if len(array) != n_samples:
        raise ValueError(
            f"X and y must have the same length, got {n_samples} samples and {len(array)} rows "
            "of labels"
        )
    wrong = ~np.isin(array, (0, 1))
    if np.any(wrong):
        raise ValueError(
            f"y must hold labels 0 and 1 for loss={BinaryCrossEntropy.name!r}, got "
            f"{array[wrong].tolist()[0]!r}; several outputs of more classes need a classifier each"
        )
    return np.ascontiguousarray(array, np.uint8)


def balanced(
    labels: np.ndarray, n_classes: int, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return weights by class with which all classes that occur have the same total weight.

    With sample weights a class has as many samples as they say.
    """
    counts = np.bincount(labels, sample_weight, minlength=n_classes)
    return np.divide(1.0, counts, out=np.zeros_like(counts, float), where=counts > 0.0)
