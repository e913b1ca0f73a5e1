"""Fixed blocks of samples, the leaves of the binary tree in which sums over samples are formed.

The leaves follow from the number of samples alone: a power of two of runs of rows (up to rounding
to whole vectors), neighbours of which are added first, then neighbouring pairs, and so on.  What
is added to what depends on nothing else, whoever forms the parts and when they are ready.  A leaf
is cut into blocks whose working set stays in a core's cache; they are added one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

__all__ = ["Blocks", "row_blocks", "sample_blocks"]

# A block's working set should stay in a core's private cache (0.5 to 2 MiB on current CPUs).
_BLOCK_BYTES = 256 * 1024
_MIN_ROWS, _MAX_ROWS = 64, 2048
# Leaves of small data give every core of a usual machine several to take; leaves of large data
# are long enough to hide what a sum of matrices costs, and enough for many machines.
_FEW_LEAVES, _MOST_LEAVES, _LEAF_ROWS = 8, 256, 512


class Blocks(Sequence[slice]):
    """Consecutive ranges of rows that cover all of them, in leaves of one or several each.

    Parameters
    ----------
    leaves : sequence of sequences of slice
        The blocks of every leaf, in order.
    """

    def __init__(self, leaves: Sequence[Sequence[slice]]) -> None:
        self.leaves = tuple(tuple(leaf) for leaf in leaves)
        self._flat = [block for leaf in self.leaves for block in leaf]

    def __len__(self) -> int:
        return len(self._flat)

    def __iter__(self) -> Iterator[slice]:
        return iter(self._flat)

    @overload
    def __getitem__(self, index: int) -> slice: ...
    @overload
    def __getitem__(self, index: slice) -> list[slice]: ...
    def __getitem__(self, index: int | slice) -> slice | list[slice]:
        return self._flat[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocks) and self.leaves == other.leaves

    def __hash__(self) -> int:
        return hash(tuple((block.start, block.stop) for block in self._flat))

    def merged(self, rows: int, most: int) -> Blocks:
        """Return the blocks of a level further up the tree, for work that wants tall ones.

        Parameters
        ----------
        rows : int
            Rows that a leaf shall have at least: pairs of neighbours are joined until it has.
        most : int
            Rows of a block at most.
        """
        spans = [slice(leaf[0].start, leaf[-1].stop) for leaf in self.leaves]
        while len(spans) > 1 and spans[0].stop - spans[0].start < rows:
            pairs = (spans[i : i + 2] for i in range(0, len(spans), 2))
            spans = [slice(pair[0].start, pair[-1].stop) for pair in pairs]
        return Blocks([_cut(span, most) for span in spans])


def sample_blocks(n_samples: int, width: int, itemsize: int) -> Blocks:
    """Cut the samples into fixed blocks that fit a core's cache.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    width : int
        Largest number of columns any one array has.
    itemsize : int
        Bytes per element.

    Returns
    -------
    Blocks
        Ranges that cover ``0..n_samples``.  They depend on the arguments only, never on the number
        of threads; their leaves depend on `n_samples` only.
    """
    wanted = max(n_samples / _LEAF_ROWS, min(_FEW_LEAVES, n_samples / _MIN_ROWS), 1.0)
    count = 2 ** int(np.log2(min(wanted, _MOST_LEAVES)))
    leaf = _whole(-(-n_samples // count))
    cached = int(np.clip(_BLOCK_BYTES // max(1, width * itemsize), _MIN_ROWS, _MAX_ROWS))
    pieces = max(-(-leaf // _MAX_ROWS), round(leaf / cached), 1)
    rows = _whole(-(-leaf // pieces))
    starts = range(0, n_samples, leaf)
    return Blocks([_cut(slice(i, min(i + leaf, n_samples)), rows) for i in starts])


def row_blocks(n_samples: int, rows: int) -> Blocks:
    """Cut ``0..n_samples`` into ranges of `rows` rows, the last one shorter; each is a leaf."""
    return Blocks([[block] for block in _cut(slice(0, n_samples), rows)])


def _whole(rows: int) -> int:
    """Return the number of rows, rounded up to whole vectors."""
    return -(-rows // 16) * 16


def _cut(span: slice, rows: int) -> list[slice]:
    return [slice(i, min(i + rows, span.stop)) for i in range(span.start, max(span.stop, 0), rows)]
