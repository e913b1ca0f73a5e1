"""Rows stored by their non-zeros, and what a dense layer sees of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.sparse import sparse_correlation, sparse_gram, sparse_product, sparse_take
from ..threads.team import Workspace
from .seen import Seen

__all__ = ["SparseRows", "SparseSeen"]


class SparseRows:
    """Compressed sparse rows with sorted columns and no entry twice, which nobody writes to.

    Parameters
    ----------
    data : ndarray, shape (nnz,)
        Entries row by row, float64 or float32.
    indices : ndarray of int32, shape (nnz,)
        Their columns.
    indptr : ndarray of int64, shape (k + 1,)
        Row i has the entries ``indptr[i]:indptr[i+1]``; ``indptr[0]`` is 0.
    width : int
        Number of columns.
    """

    def __init__(
        self, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, width: int
    ) -> None:
        self.data, self.indices, self.indptr, self.width = data, indices, indptr, width

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self), self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.data.dtype

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels take: entries, columns, and where the rows begin."""
        return self.data, self.indices, self.indptr

    def places(self) -> np.ndarray:
        """Return the row of every entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def part(self, rows: slice) -> SparseRows:
        """Return some rows that lie together; their entries are views."""
        start, stop, _ = rows.indices(len(self))
        indptr = self.indptr[start : stop + 1]
        entries = slice(indptr[0], indptr[-1])
        return SparseRows(
            self.data[entries], self.indices[entries], indptr - indptr[0], self.width
        )

    def take(self, index: np.ndarray, one: float | None = None) -> SparseRows:
        """Return copies of the rows of the indices, with `one` in a further column unless None."""
        counts = np.diff(self.indptr)[index]
        extra = int(one is not None)
        indptr = np.zeros(len(index) + 1, np.int64)
        np.cumsum(counts + extra, out=indptr[1:])
        data = np.empty(indptr[-1], self.dtype)
        indices = np.empty(indptr[-1], np.int32)
        index = np.asarray(index, np.int64)
        sparse_take(*self.arrays, index, indptr, data, indices)
        if one is not None:
            last = indptr[1:] - 1
            data[last], indices[last] = one, self.width
        return SparseRows(data, indices, indptr, self.width + extra)

    def with_data(self, data: np.ndarray) -> SparseRows:
        """Return rows with the same places and other entries."""
        return SparseRows(data, self.indices, self.indptr, self.width)

    def toarray(self) -> np.ndarray:
        """Return the rows as a dense array."""
        out = np.zeros(self.shape, self.dtype)
        out[self.places(), self.indices] = self.data
        return out

    def column_sums(self, weights: np.ndarray) -> np.ndarray:
        """Return the sums, by column and in float64, of one number per entry."""
        return np.bincount(self.indices, weights, minlength=self.width)


class SparseSeen(Seen):
    """A dense layer and a block of sparse rows.

    Parameters
    ----------
    layer : Dense
        A layer that is the product with its matrix of weights.
    S : SparseRows
        What it sees.
    has_gram : bool
        Whether there are few enough columns for their Gram matrix.
    """

    S: SparseRows

    def __init__(self, layer: Any, S: SparseRows, has_gram: bool) -> None:
        super().__init__(layer, S)
        self.has_gram = has_gram

    def product(self, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write ``S W'`` to `out`."""
        sparse_product(*self.S.arrays, W, out)
        return out

    def correlation(self, T: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write ``T'S`` to `out`, which is dense."""
        out.fill(0.0)
        sparse_correlation(*self.S.arrays, T, out)
        return out

    def gram(self, out: np.ndarray) -> np.ndarray:
        """Write ``S'S`` to `out`."""
        sparse_gram(*self.S.arrays, out)
        return out

    def metric(self, ws: Workspace, name: str) -> np.ndarray:
        """Return the Gram matrix, or its diagonal in float64 where there are too many columns."""
        if self.has_gram:  # a batch has a column of ones, too
            return self.gram(ws.array(name, (self.S.width,) * 2, self.dtype))
        return self.S.column_sums(np.square(self.S.data, dtype=np.float64))

    def matrix(self) -> np.ndarray:
        """Return the rows as a dense array."""
        return self.S.toarray()

    def row_squares(self) -> np.ndarray:
        """Return ``|S_n|^2`` of every row, in its own dtype."""
        S = self.S
        squares = np.bincount(S.places(), np.square(S.data, dtype=np.float64), minlength=len(S))
        return squares.astype(S.dtype, copy=False)

    def column_sum(self, c: np.ndarray | None, rows: Any) -> np.ndarray:
        """Return ``sum_n c_n S_n`` in float64, c = 1 where it is None, of the samples `rows`."""
        if c is None:
            return self.S.column_sums(self.S.data)
        return self.weighted_sum(c[rows])

    def weighted_sum(self, c: np.ndarray) -> np.ndarray:
        """Return ``sum_n c_n S_n`` in float64."""
        return self.S.column_sums(self.S.data * c.astype(np.float64)[self.S.places()])

    def take(self, index: np.ndarray) -> SparseSeen:
        """Return copies of some of the rows."""
        return SparseSeen(self.layer, self.S.take(index), self.has_gram)

    def scaled(self, c: np.ndarray, ws: Workspace, name: str) -> SparseSeen:
        """Return the rows times ``c_n``."""
        data = self.S.data * c.astype(self.S.dtype, copy=False)[self.S.places()]
        return SparseSeen(self.layer, self.S.with_data(data), self.has_gram)

    def cast(self, dtype: Any, ws: Workspace, name: str) -> SparseSeen:
        """Return the rows in another dtype."""
        if self.S.dtype == dtype:
            return self
        return SparseSeen(self.layer, self.S.with_data(self.S.data.astype(dtype)), self.has_gram)
