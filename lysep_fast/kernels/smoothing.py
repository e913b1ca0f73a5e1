"""What label smoothing adds to the cross-entropy of a sample and to its bounds.

With the smoothed target ``t = (1 - s) Y + s/K`` and the margin ``m = U_y - mean_j U_j``,

    e = logsumexp(U) - <t, U> = [ logsumexp(U) - U_y ] + s m
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

__all__ = ["add_margin_into", "half_absolute_sums_into", "smoothed_curvature_rows"]


@kernel()
def add_margin_into(U: NDArray, y: NDArray, share: float, e: NDArray) -> None:
    """Add ``share (U_n[y_n] - mean U_n)`` to `e`.

    Parameters
    ----------
    U : ndarray, shape (k, K)
        Logits.
    y : ndarray of int64, shape (k,)
        Labels; not checked.
    share : float
        Share s of every target that is spread evenly over the classes.
    e : ndarray, shape (k,), dtype of U
        Modified in place.
    """
    rows, K = U.shape
    number = U.dtype.type
    for i in range(rows):
        u, own = U[i], U[i, y[i]]
        total = 0.0
        # Differences first: logits with a large common part keep their accuracy.
        for j in range(K):
            total += np.float64(own - u[j])
        e[i] += number(share * total / K)


@kernel()
def half_absolute_sums_into(G: NDArray, out: NDArray) -> None:
    """Write ``|G_n|_1 / 2`` of every row to `out`, shape (k,), dtype of G."""
    rows, K = G.shape
    for i in range(rows):
        g = G[i]
        total = 0.0
        for j in range(K):
            total += np.float64(abs(g[j]))
        out[i] = 0.5 * total


@kernel()
def smoothed_curvature_rows(G, y, e, spread, size, v):
    """Write ``v_n = |G_n|^2 + 2 e_n q_n (1 - q_n)`` with ``q_n = 1 - p_{y_n}``.

    Apart from `loss_curvature_rows` because there q is an entry of G, without rounding.

    Parameters
    ----------
    G : ndarray, shape (rows, K)
        ``P - t``; ``q_n = spread - G[n, y_n]``.
    y : ndarray of int64, shape (rows,)
        Labels; not checked.
    e : ndarray, shape (rows,)
        Sample losses.
    spread : float
        ``1 - t_{n, y_n}``, what a target gives to the other classes together.
    size : ndarray of float64, shape (rows,)
        ``|G_n|^2``.
    v : ndarray of float64, shape (rows,)
        Overwritten.
    """
    for i in range(len(G)):
        q = spread - np.float64(G[i, y[i]])
        weight = size[i] + 2.0 * np.float64(e[i]) * q * (1.0 - q)
        # Rounding may take q out of [0, 1]; a comparison with NaN is false and keeps the NaN.
        v[i] = 0.0 if weight < 0.0 else weight
