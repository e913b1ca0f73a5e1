"""A layer together with a block of what it sees: the products that passes and blocks form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..threads.team import Workspace

__all__ = ["Seen"]


class Seen:
    """A linear map and the rows of a block that it is applied to.

    Passes and blocks ask this object and not the array for products, so that a block of inputs may
    be stored in another way than as a dense array.

    Parameters
    ----------
    layer : Dense or Convolution
        The map.
    S : ndarray, shape (rows, n_inputs)
        What it sees, C-contiguous; never written to.
    """

    S: Any

    def __init__(self, layer: Any, S: Any) -> None:
        self.layer, self.S = layer, S

    def __len__(self) -> int:
        return len(self.S)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the rows."""
        dtype: np.dtype[Any] = self.S.dtype
        return dtype

    def product(self, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write what the layer makes of the rows, ``S W'`` of a dense one, to `out`."""
        made: np.ndarray = self.layer.apply(self.S, W, out)
        return made

    def correlation(self, T: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write the gradient of ``<T, product(W)>`` in W, ``T'S`` of a dense layer, to `out`."""
        made: np.ndarray = self.layer.correlation(T, self.S, out)
        return made

    def gram(self, out: np.ndarray) -> np.ndarray:
        """Write the Gram matrix of the rows (of the patches in them) to `out`."""
        made: np.ndarray = self.layer.gram(self.S, out)
        return made

    def metric(self, ws: Workspace, name: str) -> np.ndarray:
        """Return the Gram matrix, or its diagonal where there are too many columns for it.

        It may be in workspace memory that belongs to `name`.
        """
        p = self.layer.weight_shape[1]
        return self.gram(ws.array(name, (p, p), self.dtype))

    def matrix(self) -> np.ndarray:
        """Return the rows that W multiplies, positions of a sample together."""
        made: np.ndarray = self.layer.patch_matrix(self.S)
        return made

    def row_squares(self) -> np.ndarray:
        """Return ``|S_n|^2`` of every row, in its own dtype."""
        return np.asarray(np.einsum("ij,ij->i", self.S, self.S))

    def column_sum(self, c: np.ndarray | None, rows: Any) -> np.ndarray:
        """Return ``sum_n c_n S_n`` in float64, c = 1 where it is None, of the samples `rows`."""
        if c is None:
            return np.asarray(self.S.sum(axis=0, dtype=np.float64))
        return np.asarray(np.dot(c[rows].astype(np.float64), self.S))

    def weighted_sum(self, c: np.ndarray) -> np.ndarray:
        """Return ``sum_n c_n`` times the rows that W multiplies, in float64.

        Sums over patches are linear in the images: one weighted sum of images will do.
        """
        made: np.ndarray = self.layer.patch_sum(np.dot(c, self.S)[None, :])
        return made

    def take(self, index: np.ndarray) -> Seen:
        """Return copies of some of the rows."""
        return Seen(self.layer, self.S[index])

    def scaled(self, c: np.ndarray, ws: Workspace, name: str) -> Seen:
        """Return the rows times ``c_n``, in workspace memory that belongs to `name`."""
        out = ws.array(name, self.S.shape, self.S.dtype)
        return Seen(self.layer, np.multiply(self.S, c[:, None], out=out))

    def cast(self, dtype: Any, ws: Workspace, name: str) -> Seen:
        """Return the rows in another dtype, in workspace memory if that is a copy."""
        if self.S.dtype == dtype:
            return self
        out = ws.array(name, self.S.shape, dtype)
        out[...] = self.S
        return Seen(self.layer, out)
