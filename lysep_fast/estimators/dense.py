"""Fully connected classifier with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..result import HistoryRow
from ._classifier import NetworkClassifier
from ._documented import documented

__all__ = ["LySepClassifier"]


@documented
class LySepClassifier(NetworkClassifier):
    """Neural network classifier trained by layer separation.

    Examples
    --------
    >>> import numpy as np
    >>> from lysep_fast import LySepClassifier
    >>> X = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    >>> y = np.where(np.sum(X**2, axis=1) < 2 / np.pi, "inside", "outside")
    >>> model = LySepClassifier((50, 50), max_iter=60, tol=0, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)  # doctest: +SKIP
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
