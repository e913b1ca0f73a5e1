"""The inputs of a training as one object: arrays in memory, and memory maps.

Whoever needs inputs asks here: for the rows of a block as a layer sees them, for some of the
samples, for a batch gathered into memory of its own, for the spread of the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.batch import gather_into
from ..layers.seen import Seen
from ..threads.blocks import Blocks, sample_blocks
from ..threads.team import Team, Workspace
from .scaling import Moments, Scaling, power_of_two

__all__ = ["ArraySamples", "MappedSamples", "Samples", "as_samples"]


class Samples:
    """Inputs of n samples with d columns each, which nobody writes to.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        C-contiguous float64 or float32, in memory or mapped.
    """

    #: Whether rows are dense arrays, and whether the columns are few enough for a Gram matrix.
    is_dense = has_gram = True

    def __init__(self, X: np.ndarray) -> None:
        self.X = X

    def __len__(self) -> int:
        return len(self.X)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of samples n and of columns d."""
        return len(self), self.n_features

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a digest of the inputs is made of."""
        return (self.X,)

    @property
    def row_entries(self) -> int:
        """Entries of a row that take part in products, in the mean."""
        return self.n_features

    @property
    def n_features(self) -> int:
        """Number of columns d."""
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that a training computes in."""
        return self.X.dtype

    def rows(self, rows: slice | np.ndarray, ws: Workspace) -> np.ndarray:
        """Return some rows as an array that is valid until the next call with the workspace."""
        raise NotImplementedError

    def take(self, index: np.ndarray) -> Samples:
        """Return some of the samples as inputs of their own, in the order of the indices."""
        raise NotImplementedError

    def seen_by(self, layer: Any, rows: slice | np.ndarray, ws: Workspace) -> Seen:
        """Return some rows as the first layer sees them."""
        return Seen(layer, self.rows(rows, ws))

    def blocks(self, width: int) -> Blocks:
        """Return the fixed blocks of a walk whose widest array has `width` columns."""
        return sample_blocks(len(self), width, self.dtype.itemsize)

    def batch(self, layer: Any, index: np.ndarray, out: np.ndarray, one: float | None) -> Seen:
        """Return the rows of the indices as the first layer sees them, gathered in `out`.

        They have a further column of `one` unless that is None.
        """
        self.gather(index, out, one)
        return Seen(layer, out)

    def gather(self, index: np.ndarray, out: np.ndarray, one: float | None) -> None:
        """Write the rows of the indices to `out`, and `one` to its last column unless None."""
        if one is None:
            np.take(self.X, index, axis=0, out=out, mode="clip")
        else:
            gather_into(self.X, index, out, one)

    def scaled(self, scaling: Scaling) -> Samples:
        """Return the samples with their columns scaled."""
        raise NotImplementedError

    def moments(self, team: Team, weight: np.ndarray | None = None) -> Moments:
        """Return the moments of the columns.

        Parameters
        ----------
        team : Team
            Threads.
        weight : ndarray, shape (n,), optional
            Weights ``c_n`` of the samples; None means 1.
        """
        blocks = sample_blocks(len(self), self.n_features, 8)

        def present(rows: slice, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
            """Return the rows with a weight, which may be of another size, and the weights."""
            X = self.rows(rows, ws)
            if weight is None:
                return X, np.ones(len(X))
            c = weight[rows].astype(np.float64)
            return (X, c) if np.all(c) else (X[c > 0.0], c[c > 0.0])

        def sizes(rows: slice, ws: Workspace) -> np.ndarray:
            X, _ = present(rows, ws)
            return np.max(np.abs(X), axis=0, initial=0.0).astype(np.float64)

        unit = power_of_two(team.reduce(sizes, blocks, np.maximum))

        def sums(rows: slice, ws: Workspace) -> tuple[np.ndarray, float]:
            X, c = present(rows, ws)
            return c @ (X / unit), float(np.sum(c))

        total, count = team.sum(sums, blocks)
        mean = (unit * (total / count)).astype(self.dtype).astype(np.float64)

        # Powers of what is left of the mean: those of the columns themselves would cancel.
        def powers(rows: slice, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
            X, c = present(rows, ws)
            D = np.subtract(X, mean, out=ws.array("differences", X.shape, np.float64))
            D /= unit
            second = c @ np.square(D, out=D)
            return second, c @ np.square(D, out=D)

        second, fourth = team.sum(powers, blocks)
        return Moments(count, mean, unit, second / count, fourth / count)

    def largest(self) -> float:
        """Return the largest absolute value."""
        return max(float(np.max(self.X)), -float(np.min(self.X)))


class ArraySamples(Samples):
    """Inputs in memory: blocks of rows are views, and taking some copies them."""

    def rows(self, rows: slice | np.ndarray, ws: Workspace) -> np.ndarray:
        """Return some rows, a view for a slice."""
        return self.X[rows]

    def take(self, index: np.ndarray) -> ArraySamples:
        """Return copies of some of the samples."""
        return ArraySamples(np.ascontiguousarray(self.X[index]))

    def scaled(self, scaling: Scaling) -> ArraySamples:
        """Return a scaled copy."""
        return ArraySamples(scaling.apply(self.X, np.empty_like(self.X)))


class MappedSamples(Samples):
    """Inputs in a memory-mapped file, of which a block at a time comes into memory.

    Parameters
    ----------
    X : ndarray, shape (N, d)
        The map, C-contiguous.
    index : ndarray of int, shape (n,), optional
        Which of its rows are the samples; default all of them.
    scaling : Scaling, optional
        What is done to the columns of rows on their way into memory.
    """

    def __init__(
        self,
        X: np.ndarray,
        index: np.ndarray | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__(X)
        self.index, self.scaling = index, scaling

    def __len__(self) -> int:
        return len(self.X) if self.index is None else len(self.index)

    def rows(self, rows: slice | np.ndarray, ws: Workspace) -> np.ndarray:
        """Return some rows: a view of the map where they lie together, else workspace memory."""
        if self.index is None and isinstance(rows, slice):
            found = self.X[rows]
            if self.scaling is None:
                return found
            return self.scaling.apply(found, ws.array("rows of the map", found.shape, self.dtype))
        chosen = self._places(rows)
        out = ws.array("rows of the map", (len(chosen), self.X.shape[1]), self.dtype)
        np.take(self.X, chosen, axis=0, out=out, mode="clip")
        return out if self.scaling is None else self.scaling.apply(out, out)

    def take(self, index: np.ndarray) -> MappedSamples:
        """Return some of the samples; they stay where they are, in the file."""
        return MappedSamples(self.X, self._places(index), self.scaling)

    def scaled(self, scaling: Scaling) -> MappedSamples:
        """Return the samples with rows that are scaled whenever they come into memory."""
        return MappedSamples(self.X, self.index, scaling)

    def gather(self, index: np.ndarray, out: np.ndarray, one: float | None) -> None:
        """Write the rows of the indices to `out`, and `one` to its last column unless None."""
        super().gather(self._places(index), out, one)
        if self.scaling is not None:
            inputs = out[:, : self.X.shape[1]]
            self.scaling.apply(inputs, inputs)

    def largest(self) -> float:
        """Return the largest absolute value in the file, of samples that were not taken too."""
        if self.scaling is None:
            return super().largest()
        ends = np.stack([self.X.min(axis=0), self.X.max(axis=0)])
        return float(np.max(np.abs(self.scaling.apply(ends, ends))))

    def _places(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the rows of the file that are these samples."""
        if self.index is not None:
            return self.index[rows]
        return np.arange(len(self.X))[rows] if isinstance(rows, slice) else rows


def as_samples(X: np.ndarray) -> Samples:
    """Return checked inputs as samples, mapped if their memory is that of a mapped file."""
    owner: Any = X
    while owner is not None and not isinstance(owner, np.memmap):
        owner = getattr(owner, "base", None)
    return ArraySamples(X) if owner is None else MappedSamples(X)
