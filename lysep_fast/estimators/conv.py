"""Convolutional classifier with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..result import HistoryRow, Result
from ..samples.images import image_rows, is_images, rows_like
from ._classifier import NetworkClassifier
from ._documented import documented

__all__ = ["LySepConvClassifier"]


@documented
class LySepConvClassifier(NetworkClassifier):
    """Convolutional network classifier trained by layer separation.

    Convolutions, each followed by the activation and average pooling, then fully connected
    layers.  X holds images, (n, H, W) or (n, C, H, W), or one row of pixels per sample.

    Parameters
    ----------
    conv_channels : int or sequence of int, default (8, 8)
        Output channels of the convolutions.
    hidden_layer_sizes : int or sequence of int, default (64,)
        Widths of the fully connected hidden layers.

    Examples
    --------
    >>> import numpy as np
    >>> from lysep_fast import LySepConvClassifier
    >>> X = np.random.default_rng(0).uniform(0, 1, (200, 12, 12))
    >>> y = np.where(X[:, :6].mean(axis=(1, 2)) > X[:, 6:].mean(axis=(1, 2)), "top", "bottom")
    >>> model = LySepConvClassifier((4,), hidden_layer_sizes=(8,), random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)  # doctest: +SKIP
    True
    """

    image_shape: Any
    _accept_sparse = False  # an image has no zeros to leave out

    def __init__(
        self,
        conv_channels: int | Sequence[int] = (8, 8),
        kernel_size: int | Sequence[int] = 3,
        pool_size: int | Sequence[int] = 2,
        hidden_layer_sizes: int | Sequence[int] = (64,),
        activation: str | None = None,
        *,
        batch_size: int | str | None = None,
        refresh_every: int | None = None,
        image_shape: Sequence[int] | None = None,
        padding: int | str = "same",
        solver: Any = "auto",
        solver_options: dict[str, Any] | None = None,
        weights: str = "frobenius",
        output_bias: bool | None = None,
        init: str | None = None,
        standardise: bool | None = None,
        alpha: float = 0.0,
        label_smoothing: float | None = None,
        class_weight: Any = None,
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

    def _first_rows(self, X: Any) -> Any:
        self._shape = image_rows(X, self.image_shape)[1] if is_images(X) else None
        return self._rows(X)

    def _rows(self, X: Any) -> Any:
        """Return images as rows; they need the shape of the training images."""
        return X if self._shape is None else rows_like(X, self._shape)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `train`: rows of pixels need the shape they came from."""
        arguments = super()._arguments()
        if arguments["image_shape"] is None:
            arguments["image_shape"] = self._shape
        return arguments

    def _record(self, result: Result, *, afresh: bool) -> None:
        super()._record(result, afresh=afresh)
        # What predictions are for, also when rows of pixels were given.
        self._shape = getattr(result.network.layer(1), "image_shape", None)
