"""Row kernels of the joint blocks: injected residuals, back-propagation, rank-one steps.

All matrices are C-contiguous and of one dtype; sums over a row are formed in float64.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

__all__ = [
    "add_bias_rows",
    "add_inner_rows",
    "chain_rows",
    "inject_rows",
    "loss_curvature_rows",
    "rank_one_rows",
    "scale_rows",
]


@kernel()
def add_bias_rows(Z, b):
    """Add `b`, shape (m,), to every row of `Z`, in place."""
    rows, m = Z.shape
    for i in range(rows):
        for j in range(m):
            Z[i, j] += b[j]


@kernel()
def inject_rows(Z, b, R):
    """Add ``b + R`` to `Z` in place: the forward pass with a residual injected.

    Parameters
    ----------
    Z, R : ndarray, shape (rows, m)
        Prediction without bias (modified in place) and residual.
    b : ndarray, shape (m,)
        Bias.
    """
    rows, m = Z.shape
    for i in range(rows):
        for j in range(m):
            Z[i, j] += b[j] + R[i, j]


@kernel(reassoc=True)
def chain_rows(delta, D, size):
    """Multiply `delta` by the activation's derivative in place and sum its squares.

    Parameters
    ----------
    delta, D : ndarray, shape (rows, m)
        Derivative in the features (modified in place) and ``s'(A)``.
    size : ndarray of float64, shape (rows,)
        Overwritten with ``|delta_n|^2``.
    """
    rows, m = delta.shape
    for i in range(rows):
        total = 0.0
        for j in range(m):
            value = delta[i, j] * D[i, j]
            delta[i, j] = value
            total += np.float64(value) * np.float64(value)
        size[i] = total


@kernel(reassoc=True)
def add_inner_rows(delta, R, total):
    """Add ``<delta_n, R_n>`` to `total`.

    Parameters
    ----------
    delta, R : ndarray, shape (rows, m)
        Derivative of the sample loss and residual.
    total : ndarray of float64, shape (rows,)
        Modified in place.
    """
    rows, m = delta.shape
    for i in range(rows):
        value = 0.0
        for j in range(m):
            value += np.float64(delta[i, j]) * np.float64(R[i, j])
        total[i] += value


@kernel(reassoc=True)
def rank_one_rows(R, delta, keep, scale, R_new, r2):
    """Write ``R_new = keep_n R_n + scale_n delta_n`` and its row sums of squares.

    Parameters
    ----------
    R, delta : ndarray, shape (rows, m)
        Residual and derivative of the sample loss.
    keep, scale : ndarray of float64, shape (rows,)
        Factors of every row.
    R_new : ndarray, shape (rows, m)
        Overwritten; may be `R`.
    r2 : ndarray of float64, shape (rows,)
        Overwritten with ``||R_new||^2`` per row.
    """
    rows, m = R.shape
    number = R.dtype.type
    for i in range(rows):
        old, new = number(keep[i]), number(scale[i])
        total = 0.0
        for j in range(m):
            value = old * R[i, j] + new * delta[i, j]
            R_new[i, j] = value
            total += np.float64(value) * np.float64(value)
        r2[i] = total


@kernel()
def scale_rows(delta, factor):
    """Multiply every row of `delta` by its entry of `factor` (float64), in place."""
    rows, m = delta.shape
    number = delta.dtype.type
    for i in range(rows):
        scale = number(factor[i])
        for j in range(m):
            delta[i, j] *= scale


@kernel(reassoc=True)
def loss_curvature_rows(G, y, e, size, v):
    """Write ``|G_n|^2`` and the curvature weight ``v_n = |G_n|^2 + 2 e_n q_n (1 - q_n)``.

    For two classes ``2 v_n`` is the second derivative of ``e_n^2`` along the one direction of the
    logits that matters; for more classes it is a scalar model of the Hessian.

    Parameters
    ----------
    G : ndarray, shape (rows, K)
        ``P - Y``.
    y : ndarray of int64, shape (rows,)
        Labels; ``q_n = -G[n, y_n]``.
    e : ndarray, shape (rows,)
        Sample losses.
    size, v : ndarray of float64, shape (rows,)
        Overwritten.
    """
    rows, K = G.shape
    for i in range(rows):
        total = 0.0
        for j in range(K):
            total += np.float64(G[i, j]) * np.float64(G[i, j])
        q = -np.float64(G[i, y[i]])
        size[i] = total
        v[i] = total + 2.0 * np.float64(e[i]) * q * (1.0 - q)
