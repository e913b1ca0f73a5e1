"""Inputs stored by their non-zeros: memory and work follow the entries, not the columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.sparse import SparseRows, SparseSeen
from ..threads.blocks import Blocks, sample_blocks
from ..threads.team import Team, Workspace
from .kinds import Samples
from .scaling import Moments, Scaling, power_of_two

__all__ = ["MOST_GRAM_COLUMNS", "SparseSamples"]

#: Most columns for which Gram matrices are formed: beyond, they take more memory and time than
#: the entries do (bench/bench_sparse.py gram).
MOST_GRAM_COLUMNS = 2000
# Rows of a block at most.
_MOST_ROWS = 4096


class SparseSamples(Samples):
    """Inputs of n samples with d columns each, most of them zero.

    Parameters
    ----------
    entries : SparseRows
        The n rows; nobody writes to them.
    """

    is_dense = False

    def __init__(self, entries: SparseRows) -> None:
        self.entries = entries
        self.has_gram = entries.width <= MOST_GRAM_COLUMNS

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def n_features(self) -> int:
        """Number of columns d."""
        return self.entries.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that a training computes in."""
        return self.entries.dtype

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a digest of the inputs is made of."""
        return (*self.entries.arrays, np.array(self.n_features))

    @property
    def row_entries(self) -> int:
        """Entries of a row that take part in products, in the mean."""
        return -(-len(self.entries.data) // len(self))

    def blocks(self, width: int) -> Blocks:
        """Return the fixed blocks of a walk whose widest array has `width` columns.

        Gradients of the first layer are dense: a leaf has so many rows that their entries are
        not fewer than the columns, as long as there are leaves for several threads.
        """
        own = sample_blocks(len(self), width, self.dtype.itemsize)
        rows = min(self.n_features // max(self.row_entries, 1), -(-len(self) // 8))
        return own.merged(rows, _MOST_ROWS)

    def rows(self, rows: slice | np.ndarray, ws: Workspace) -> np.ndarray:
        """Return some rows as a dense array."""
        return self._part(rows).toarray()

    def take(self, index: np.ndarray) -> SparseSamples:
        """Return copies of some of the samples."""
        return SparseSamples(self.entries.take(index))

    def seen_by(self, layer: Any, rows: slice | np.ndarray, ws: Workspace) -> SparseSeen:
        """Return some rows as the first layer sees them."""
        return self._seen(layer, self._part(rows))

    def batch(
        self, layer: Any, index: np.ndarray, out: np.ndarray, one: float | None
    ) -> SparseSeen:
        """Return the rows of the indices as the first layer sees them; `out` is not used.

        They have a further column of `one` unless that is None.
        """
        return self._seen(layer, self.entries.take(index, one))

    def gather(self, index: np.ndarray, out: np.ndarray, one: float | None) -> None:
        """Write the rows of the indices to the dense `out`, and `one` to its last column."""
        out[...] = self.entries.take(index, one).toarray()

    def scaled(self, scaling: Scaling) -> SparseSamples:
        """Return the samples with scaled entries; columns and places of the entries are shared."""
        entries = self.entries
        data = entries.data * (1.0 / scaling.scale).astype(entries.dtype)[entries.indices]
        return SparseSamples(SparseRows(data, *entries.arrays[1:], entries.width))

    def moments(self, team: Team, weight: np.ndarray | None = None) -> Moments:
        """Return the moments of the columns about zero: centred, they would not be sparse.

        Parameters
        ----------
        team : Team
            Threads.
        weight : ndarray, shape (n,), optional
            Weights ``c_n`` of the samples; None means 1.
        """
        c = np.ones(len(self)) if weight is None else weight.astype(np.float64)
        size = np.zeros(self.n_features)
        present = c[self.entries.places()] > 0.0
        np.maximum.at(size, self.entries.indices[present], np.abs(self.entries.data[present]))
        unit = power_of_two(size)

        def powers(rows: slice, ws: Workspace) -> tuple[np.ndarray, np.ndarray, float]:
            part = self.entries.part(rows)
            share = c[rows][part.places()]
            # Entries without a weight may be of any size.
            given = np.where(share > 0.0, part.data, 0.0)
            squares = np.square(given / unit[part.indices])
            second = part.column_sums(share * squares)
            return second, part.column_sums(share * np.square(squares)), float(np.sum(c[rows]))

        second, fourth, count = team.sum(powers, self.blocks(1))
        return Moments(count, np.zeros(self.n_features), unit, second / count, fourth / count)

    def largest(self) -> float:
        """Return the largest absolute value."""
        return float(np.max(np.abs(self.entries.data), initial=0.0))

    def _part(self, rows: slice | np.ndarray) -> SparseRows:
        return self.entries.part(rows) if isinstance(rows, slice) else self.entries.take(rows)

    def _seen(self, layer: Any, entries: SparseRows) -> SparseSeen:
        if not layer.is_matrix:
            raise ValueError(
                f"{layer!r} does not take sparse X: it is not the product with its matrix of "
                "weights; pass X.toarray()"
            )
        return SparseSeen(layer, entries, self.has_gram)
