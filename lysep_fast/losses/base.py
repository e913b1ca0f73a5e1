"""What blocks, solvers and the loop ask of a loss, and the weights of its samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..threads.team import ALONE, Workspace

__all__ = ["Loss"]


class Loss(ABC):
    """Sample losses ``e_n`` of the network's outputs U against targets, with weights ``c_n``.

    The separated loss is made of their squares, ``F = (1/n) [ sum_n c_n e_n^2 + ... ]``; solvers
    without auxiliaries minimise the objective of `measure`, a mean over the samples.

    Attributes
    ----------
    y : ndarray, shape (n,) or (n, K)
        Targets: class indices, labels 0 or 1, or numbers.
    n_outputs : int
        Number of outputs K.
    sample_weight : ndarray of shape (n,) or None
        Weights ``c_n`` of the samples; None means 1.
    unit : float
        What one unit of e_n is in the units of the given targets; its square is that of F.
    """

    #: Name in `lysep_fast.train`.
    name: str
    #: Field of the history that `score` fills.
    score_name: str
    #: Whether e_n^2 is quadratic in U, so that the output layer has a closed form.
    quadratic: bool
    #: Whether it does not matter if one number is added to all outputs of a sample.
    shift_invariant: bool = False
    #: Square of the Lipschitz constant of e_n in U: ``C = sqrt(1 + slope sum_k c^(2k))``.
    slope: float
    #: Inverse of twice the largest curvature of the objective's sample losses, the natural
    #: scale of steps in a metric made of features.
    step_scale: float

    def __init__(
        self, y: np.ndarray, n_outputs: int, sample_weight: np.ndarray | None = None
    ) -> None:
        self.y = y
        self.n_outputs = int(n_outputs)
        self.sample_weight = sample_weight
        self.unit = 1.0

    @property
    def floor(self) -> float:
        """What no sample's part of the objective is below."""
        return 0.0

    @property
    def total_weight(self) -> float:
        """``sum_n c_n``."""
        if self.sample_weight is None:
            return float(len(self.y))
        return float(ALONE.total(self.sample_weight))

    @property
    def synchronised_constant(self) -> float:
        """C of the bound where all residuals are zero."""
        return 1.0

    @property
    @abstractmethod
    def constant(self) -> float:
        """Mean loss of the best constant outputs, in units of the training."""

    @abstractmethod
    def mark(self, tol: float) -> float:
        """Return the mean loss, in units of the training, below which nothing is left to do."""

    @abstractmethod
    def output_sums(self, U: np.ndarray, rows: slice) -> tuple[np.ndarray, ...]:
        """Return sums over the rows that `output_shift` needs, from outputs U."""

    @abstractmethod
    def output_shift(self, *sums: np.ndarray) -> np.ndarray:
        """Return what to add to the output bias, towards its minimum, from the sums over all."""

    @abstractmethod
    def take(self, rows: Any) -> Loss:
        """Return the loss of a subset of the samples, given by a slice or by indices."""

    def smoothed(self, share: float) -> Loss:
        """Return the loss with label smoothing `share` unless it has a choice of its own."""
        return self

    def restore(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Fold into the output layer (in place) what was done to the targets for training.

        With ``moves=True`` the arrays are differences of weights and of biases.
        """
        return

    def prepare(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Take out of the output layer (in place) what `restore` folds into it."""
        return

    # --- sample losses, not weighted ----------------------------------------------------------

    @abstractmethod
    def gradient(self, U: np.ndarray, y: np.ndarray, e: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n`` against the targets `y` to `e`, its gradient to `G`, which may be `U`."""

    @abstractmethod
    def squares(self, U: np.ndarray, rows: Any, value: np.ndarray) -> None:
        """Write ``e_n^2`` of the rows to `value`."""

    @abstractmethod
    def squares_gradient(self, U: np.ndarray, rows: Any, value: np.ndarray, G: np.ndarray) -> None:
        """Write ``e_n^2`` to `value` and its gradient in U to `G`, which may be `U`."""

    @abstractmethod
    def half_curvature(self, squares: np.ndarray) -> np.ndarray:
        """Return a bound of half the curvature of ``e_n^2`` in U, from ``e_n^2``."""

    @abstractmethod
    def curvature(
        self, G: np.ndarray, y: np.ndarray, e: np.ndarray, size: np.ndarray, v: np.ndarray
    ) -> None:
        """Write the squares of the gradient's rows to `size`, and curvature weights to `v`."""

    # --- sample weights -----------------------------------------------------------------------

    def weigh(
        self, values: np.ndarray, rows: Any, out: np.ndarray | None = None, *, root: bool = False
    ) -> np.ndarray:
        """Return ``c_n values_n``, or ``sqrt(c_n) values_n``, of the rows.

        Without sample weights that is `values` itself, and `out` is not used.
        """
        if self.sample_weight is None:
            return values
        c = self.sample_weight[rows]
        if root:
            c = np.sqrt(c)
        return np.multiply(values, c if values.ndim == 1 else c[:, None], out=out)

    def weighted_sum(self, values: np.ndarray, rows: Any) -> Any:
        """Return ``sum_n c_n values_n`` over the rows in float64, column by column."""
        if self.sample_weight is None:
            return values.sum(axis=0, dtype=np.float64)
        return np.dot(self.sample_weight[rows].astype(np.float64), values)

    # --- the true network ---------------------------------------------------------------------

    @abstractmethod
    def measure(
        self, U: np.ndarray, rows: slice, ws: Workspace, doubt: np.ndarray | None = None
    ) -> tuple[float, float, float, float]:
        """Return the weighted sums of the reported losses, ``e_n^2``, hits, and the objective.

        Parameters
        ----------
        U : ndarray, shape (k, K)
            Outputs of the network for the rows.
        rows : slice
            The samples.
        ws : Workspace
            Scratch memory.
        doubt : ndarray, shape (k,), optional
            Overwritten with what bounds each sample's share of the gradient.
        """

    @abstractmethod
    def measure_gradient(
        self, U: np.ndarray, rows: slice, ws: Workspace, G: np.ndarray, doubt: np.ndarray
    ) -> tuple[float, float, float, float]:
        """Return the sums of `measure`; write the gradient of the objective to `G`.

        `G` may be `U`; `doubt` is overwritten with the samples' weights in the Gram matrices.
        """

    @abstractmethod
    def gradient_bound(self, G: np.ndarray, doubt: np.ndarray, out: np.ndarray) -> None:
        """Write the `doubt` of `measure` to `out`, from what `measure_gradient` left."""

    @abstractmethod
    def batch_gradient(self, U: np.ndarray, rows: slice, e: np.ndarray, squared: bool) -> float:
        """Overwrite U with the gradient of the objective, or of ``c_n e_n^2``.

        Writes ``e_n`` to `e` and returns the weighted hits.
        """

    @abstractmethod
    def reported(self, e: np.ndarray, rows: slice) -> tuple[float, float]:
        """Return the weighted sums of the reported losses and of ``e_n^2`` of the rows."""

    @abstractmethod
    def score(self, loss: float, hits: float) -> float:
        """Return the number that people look at, from the mean loss and the mean hits."""
