"""Products of rows that are stored by their non-zeros, and how such rows are picked.

A block of k rows is ``data``, ``indices`` (int32) and ``indptr`` (int64, k+1 entries from 0) as in
compressed sparse rows: row i has the entries ``indptr[i]:indptr[i+1]``, columns ascending.  Four
neurons share a walk over the entries: their weights stay in cache, and entries are read less
often.  Sums run over the entries in their order.
"""

from __future__ import annotations

from numpy.typing import NDArray

from ._jit import kernel
from ._views import row

__all__ = ["sparse_correlation", "sparse_gram", "sparse_product", "sparse_take"]


@kernel()
def sparse_product(
    data: NDArray, indices: NDArray, indptr: NDArray, W: NDArray, out: NDArray
) -> None:
    """Write ``S W'`` to `out`.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The k rows S.
    W : ndarray, shape (m, d), C-contiguous
        Weights; d is larger than any index.
    out : ndarray, shape (k, m), C-contiguous
        Overwritten.
    """
    m, zero = W.shape[0], out.dtype.type(0)
    for tile in range(0, m - 3, 4):
        w0, w1, w2, w3 = row(W, tile), row(W, tile + 1), row(W, tile + 2), row(W, tile + 3)
        for i in range(out.shape[0]):
            a0, a1, a2, a3 = zero, zero, zero, zero
            for e in range(indptr[i], indptr[i + 1]):
                x, j = data[e], indices[e]
                a0 += x * w0[j]
                a1 += x * w1[j]
                a2 += x * w2[j]
                a3 += x * w3[j]
            z = row(out, i)
            z[tile], z[tile + 1], z[tile + 2], z[tile + 3] = a0, a1, a2, a3
    for k in range(m - m % 4, m):
        w0 = row(W, k)
        for i in range(out.shape[0]):
            a0 = zero
            for e in range(indptr[i], indptr[i + 1]):
                a0 += data[e] * w0[indices[e]]
            row(out, i)[k] = a0


@kernel()
def sparse_correlation(
    data: NDArray, indices: NDArray, indptr: NDArray, T: NDArray, out: NDArray
) -> None:
    """Add ``T'S`` to `out`.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The k rows S.
    T : ndarray, shape (k, m), C-contiguous
        Their cotangents.
    out : ndarray, shape (m, d), C-contiguous
        Added to; d is larger than any index.
    """
    m = out.shape[0]
    for tile in range(0, m - 3, 4):
        g0, g1 = row(out, tile), row(out, tile + 1)
        g2, g3 = row(out, tile + 2), row(out, tile + 3)
        for i in range(T.shape[0]):
            t = row(T, i)
            t0, t1, t2, t3 = t[tile], t[tile + 1], t[tile + 2], t[tile + 3]
            for e in range(indptr[i], indptr[i + 1]):
                x, j = data[e], indices[e]
                g0[j] += t0 * x
                g1[j] += t1 * x
                g2[j] += t2 * x
                g3[j] += t3 * x
    for k in range(m - m % 4, m):
        g0 = row(out, k)
        for i in range(T.shape[0]):
            t0 = row(T, i)[k]
            for e in range(indptr[i], indptr[i + 1]):
                g0[indices[e]] += t0 * data[e]


@kernel()
def sparse_gram(data: NDArray, indices: NDArray, indptr: NDArray, out: NDArray) -> None:
    """Write ``S'S`` to the matrix `out`, C-contiguous, with as many rows as S has columns."""
    for i in range(out.shape[0]):
        g = row(out, i)
        for j in range(g.size):
            g[j] = out.dtype.type(0)
    for i in range(indptr.size - 1):
        stop = indptr[i + 1]
        for e in range(indptr[i], stop):
            x, g = data[e], row(out, indices[e])
            for f in range(e, stop):
                g[indices[f]] += x * data[f]
    for i in range(out.shape[0]):
        g = row(out, i)
        for j in range(i):
            g[j] = row(out, j)[i]


@kernel()
def sparse_take(
    data: NDArray,
    indices: NDArray,
    indptr: NDArray,
    index: NDArray,
    starts: NDArray,
    data_out: NDArray,
    indices_out: NDArray,
) -> None:
    """Copy the entries of the rows ``index[i]``, not checked, to the places from ``starts[i]``."""
    for i in range(index.size):
        place = starts[i]
        for e in range(indptr[index[i]], indptr[index[i] + 1]):
            data_out[place], indices_out[place] = data[e], indices[e]
            place += 1
