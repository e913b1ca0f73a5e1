"""From targets as given to the loss that is trained, and the split for early stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation import check_labels, check_targets, check_weights
from . import CrossEntropy, Loss, SquaredError

__all__ = ["LOSSES", "Targets", "balanced"]

LOSSES = (CrossEntropy.name, SquaredError.name)


@dataclass(frozen=True)
class Targets:
    """Checked targets.

    Attributes
    ----------
    loss : Loss
        The loss bound to them.
    groups : ndarray of int, shape (n,)
        Held-out samples are drawn from every group: the classes, or one group of all samples.
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
        unit: float | None = None,
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
        T, c = check_targets(y, X.shape[0], X.dtype), check_weights(sample_weight, X)
        squared = SquaredError.standardised(T, c, X.dtype, centre=output_bias, unit=unit)
        return cls(squared, np.zeros(X.shape[0], np.int64), np.ndim(y) == 1)

    def hold_out(self, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return sorted indices of training and validation samples.

        Every group keeps a sample to train on.
        """
        chosen = []
        for group in np.unique(self.groups):
            members = np.flatnonzero(self.groups == group)
            count = min(round(fraction * len(members)), len(members) - 1)
            chosen.append(rng.choice(members, count, replace=False))
        held_out = np.sort(np.concatenate(chosen))
        if not len(held_out):
            raise ValueError(
                f"validation_fraction={fraction} of {len(self.groups)} samples leaves none to "
                "validate on; raise it, or set early_stopping=False"
            )
        kept = np.setdiff1d(np.arange(len(self.groups)), held_out)
        c = self.loss.sample_weight
        for rows, use in ((kept, "train"), (held_out, "validate")):
            if c is not None and not np.any(c[rows]):
                raise ValueError(
                    f"sample_weight is 0 for all {len(rows)} samples to {use} on; leave out the "
                    "samples of weight 0, or set early_stopping=False"
                )
        return kept, held_out


def balanced(
    labels: np.ndarray, n_classes: int, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return weights by class with which all classes that occur have the same total weight.

    With sample weights a class has as many samples as they say.
    """
    counts = np.bincount(labels, sample_weight, minlength=n_classes)
    return np.divide(1.0, counts, out=np.zeros_like(counts, float), where=counts > 0.0)
