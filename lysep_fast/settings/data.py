"""The data of `lysep_fast.train`, checked as its settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint import digest
from ..losses.targets import Targets
from ..samples.checked import checked_samples, difference_limit, refuse_sparse
from ..samples.images import image_rows
from ..samples.kinds import Samples
from ..validation import size_limit
from .train import Settings

__all__ = ["Data"]


@dataclass(frozen=True)
class Data:
    """Checked data.

    Attributes
    ----------
    samples : Samples
        The inputs, one row per sample.
    image_shape : tuple of 3 int or None
        Channels, height and width of a row if there are convolutions.
    targets : Targets
        The loss bound to the targets and the weights of the samples.
    """

    samples: Samples
    image_shape: tuple[int, int, int] | None
    targets: Targets

    @classmethod
    def check(cls, X: Any, y: Any, sample_weight: Any, settings: Settings) -> Data:
        """Return the data that the settings go with."""
        shape = None
        if settings.conv_channels:
            refuse_sparse(X, f"conv_channels={settings.conv_channels!r}")
            X, shape = image_rows(X, settings.image_shape)
        # Standardising takes sizes away: what is left over is that numbers have a difference.
        samples = checked_samples(
            X, limit=difference_limit if settings.standardise else size_limit
        )
        targets = Targets.check(
            settings.loss,
            y,
            samples,
            sample_weight,
            n_classes=settings.n_classes,
            label_smoothing=settings.label_smoothing,
            output_bias=settings.output_bias,
            unit=settings.target_unit,
        )
        return cls(samples, shape, targets)

    def compared(self) -> dict[str, Any]:
        """Return what has to be the same in a run that goes on from a checkpoint."""
        loss = self.targets.loss
        # What standardising took away.
        given = [np.array(loss.unit), getattr(loss, "mean", None), getattr(loss, "units", None)]
        return {
            "X": digest(*self.samples.arrays),
            "y": digest(loss.y, *given),
            "sample_weight": digest(loss.sample_weight),
            "image_shape": self.image_shape,
            "n_classes": loss.n_outputs,
        }
