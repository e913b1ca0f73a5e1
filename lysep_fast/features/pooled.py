"""Activation followed by average pooling as a feature map, ``S = pool(s(A))``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.activation import (
    ACTIVATION_CODES,
    LIPSCHITZ,
    activation_derivative_into,
    activation_into,
)
from ..kernels.pooling import pool_images, spread_images

__all__ = ["PooledActivation"]

_NORMS = ("frobenius", "patch", "spectral")

# Values on their way from the activation to the pooling: a part of a core's private cache.
_SCRATCH_BYTES = 128 * 1024


class PooledActivation:
    """Entrywise activation, then the mean over cells of ``ph x pw`` pixels.

    Cells do not overlap; rows and columns behind the last whole cell are dropped.  A sample is
    one row: an image with its channels one after another, each in C order.

    Parameters
    ----------
    name : str
        One of ``lysep_fast.kernels.ACTIVATION_CODES``.
    image_shape : tuple of 3 int
        Channels, height and width of the input.
    pool_size : int or tuple of 2 int
        Height and width of a cell; 1 is the activation alone.

    Attributes
    ----------
    lipschitz : float
        Bound of ``|s'|``, as of `Activation`; the pooling has its own `squared_norm`.
    output_shape : tuple of 3 int
        Channels, height and width of the output.
    n_inputs, n_outputs : int
        Columns of input and output.

    Raises
    ------
    ValueError
        If a cell is larger than the image or not positive.
    """

    is_identity = False
    is_entrywise = False

    def __init__(
        self, name: str, image_shape: Sequence[int], pool_size: int | Sequence[int]
    ) -> None:
        self.name = name
        self.code = ACTIVATION_CODES[name]
        self.lipschitz = LIPSCHITZ[name]
        channels, height, width = (int(n) for n in image_shape)
        one = isinstance(pool_size, (int, np.integer))
        ph, pw = (int(n) for n in ((pool_size,) * 2 if one else pool_size))  # type: ignore
        if not (1 <= ph <= height and 1 <= pw <= width):
            raise ValueError(
                f"pool_size={pool_size!r} must be positive and fit into "
                f"image_shape={tuple(image_shape)}: use smaller cells"
            )
        self.image_shape = (channels, height, width)
        self.pool_size = (ph, pw)
        self.output_shape = (channels, height // ph, width // pw)
        self.n_inputs = int(np.prod(self.image_shape))
        self.n_outputs = int(np.prod(self.output_shape))

    @property
    def _geometry(self) -> tuple[int, ...]:
        return (*self.image_shape, *self.pool_size, *self.output_shape[1:])

    def _parts(self, A: np.ndarray) -> tuple[list[slice], np.ndarray]:
        """Return rows to treat at once, and scratch for the activation of so many."""
        few = max(1, min(len(A), _SCRATCH_BYTES // (self.n_inputs * A.itemsize)))
        parts = [slice(i, min(i + few, len(A))) for i in range(0, len(A), few)]
        return parts, np.empty((few, self.n_inputs), A.dtype)

    def forward(self, A: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``pool(s(A))`` into `out`, ``(rows, n_outputs)``."""
        if self.pool_size == (1, 1):
            activation_into(self.code, A, out)
            return out
        parts, scratch = self._parts(A)
        for part in parts:
            values = scratch[: part.stop - part.start]
            activation_into(self.code, A[part], values)
            pool_images(values, values, False, self._geometry, out[part])
        return out

    def forward_with_derivative(self, A: np.ndarray, S: np.ndarray, D: np.ndarray) -> None:
        """Write ``pool(s(A))`` to `S` and ``s'(A) / (ph * pw)`` to `D`, ``(rows, n_inputs)``.

        `D` is 0 at the pixels that pooling drops.
        """
        if self.pool_size == (1, 1):
            activation_derivative_into(self.code, A, S, D)
            return
        parts, scratch = self._parts(A)
        for part in parts:
            values = scratch[: part.stop - part.start]
            activation_derivative_into(self.code, A[part], values, D[part])
            pool_images(values, D[part], True, self._geometry, S[part])

    def pull_back(self, G: np.ndarray, D: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute the gradient in A from `G`, the one in S: every ``D`` times that of its cell.

        Parameters
        ----------
        G : ndarray, shape (rows, n_outputs)
        D : ndarray, shape (rows, n_inputs)
            As from `forward_with_derivative`.
        out : ndarray, shape (rows, n_inputs)
            Overwritten and returned; it may be `D`.
        """
        if self.pool_size == (1, 1):
            return np.multiply(G, D, out=out)
        wide = np.empty(self.output_shape[1] * self.image_shape[2], G.dtype)
        spread_images(G, D, self._geometry, wide, out)
        return out

    def squared_norm(self, kind: str) -> float:
        """Return a squared norm of the pooling matrix: "frobenius", or "patch" and "spectral"."""
        if kind not in _NORMS:
            raise ValueError(f"norm must be one of {_NORMS}, got {kind!r}")
        cell = self.pool_size[0] * self.pool_size[1]
        return (self.n_outputs if kind == "frobenius" else 1) / cell

    def __repr__(self) -> str:
        return f"PooledActivation({self.name!r}, {self.image_shape}, {self.pool_size})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, PooledActivation) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))
