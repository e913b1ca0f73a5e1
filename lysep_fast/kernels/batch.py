"""Compiled kernels of a mini-batch step: gather rows, add gradients, move weights."""

from __future__ import annotations

from numpy.typing import NDArray

from ._jit import kernel
from ._views import row

__all__ = [
    "add_into",
    "averaged_step_into",
    "gather_into",
    "heavy_ball_into",
    "momentum_into",
    "soften_into",
]


@kernel()
def gather_into(X: NDArray, index: NDArray, out: NDArray, last: float) -> None:
    """Write the rows ``X[index]`` to the first columns of `out` and `last` to its last column.

    Parameters
    ----------
    X : ndarray, shape (n, d), C-contiguous
        Source.
    index : ndarray of int64, shape (k,)
        Rows; not checked.
    out : ndarray, shape (k, d+1), C-contiguous, dtype of X
        Overwritten.
    last : float
        The value of the last column.
    """
    d = X.shape[1]
    for i in range(out.shape[0]):
        target, source = row(out, i), row(X, index[i])
        for j in range(d):
            target[j] = source[j]
        target[d] = last


@kernel(reassoc=True)
def add_into(G: NDArray, other: NDArray) -> float:
    """Add `other` to the matrix `G` in place and return the new ``||G||^2``.

    Squares are summed in the dtype of `G` within a row, in float64 over the rows.
    """
    total = 0.0
    zero = G.dtype.type(0)
    for i in range(G.shape[0]):
        g, h = row(G, i), row(other, i)
        squares = zero
        for j in range(g.size):
            value = g[j] + h[j]
            g[j] = value
            squares += value * value
        total += squares
    return total


@kernel()
def heavy_ball_into(
    W: NDArray, V: NDArray, p: NDArray, momentum: float, step: float, keep: float
) -> None:
    """Do ``V <- momentum V - step p``, ``W <- keep (W + V)`` in place, one layer ``[W, b]``.

    The last column, the biases, is not multiplied by `keep`.
    """
    beta, tau, shrink = W.dtype.type(momentum), W.dtype.type(step), W.dtype.type(keep)
    last = W.shape[1] - 1
    for i in range(W.shape[0]):
        w, v, g = row(W, i), row(V, i), row(p, i)
        bias = w[last]
        for j in range(last + 1):
            v[j] = beta * v[j] - tau * g[j]
            w[j] = shrink * (w[j] + v[j])
        w[last] = bias + v[last]


@kernel()
def momentum_into(V: NDArray, G: NDArray, momentum: float, share: float) -> None:
    """Do ``V <- momentum V + share G`` in place, for matrices of one shape and dtype."""
    beta, part = V.dtype.type(momentum), V.dtype.type(share)
    for i in range(V.shape[0]):
        v, g = row(V, i), row(G, i)
        for j in range(v.size):
            v[j] = beta * v[j] + part * g[j]


@kernel()
def averaged_step_into(
    W: NDArray,
    Z: NDArray,
    X: NDArray,
    p: NDArray,
    step: float,
    keep: float,
    weight: float,
    share: float,
) -> None:
    """Do ``Z <- keep Z - step p``, ``X <- X + weight (Z - X)``, ``W <- Z + share (X - Z)``.

    All are one layer ``[W, b]``; the last column of Z, the biases, is not multiplied by `keep`.
    """
    tau, shrink = W.dtype.type(step), W.dtype.type(keep)
    own, part = W.dtype.type(weight), W.dtype.type(share)
    last = W.shape[1] - 1
    for i in range(W.shape[0]):
        w, z, x, g = row(W, i), row(Z, i), row(X, i), row(p, i)
        for j in range(last):
            z[j] = shrink * z[j] - tau * g[j]
            x[j] += own * (z[j] - x[j])
            w[j] = z[j] + part * (x[j] - z[j])
        z[last] -= tau * g[last]
        x[last] += own * (z[last] - x[last])
        w[last] = z[last] + part * (x[last] - z[last])


@kernel()
def soften_into(G: NDArray, y: NDArray, share: float) -> None:
    """Turn ``P - Y`` into ``P - (1 - share) Y - share/K`` in place: smoothed targets.

    Parameters
    ----------
    G : ndarray, shape (k, K)
        Gradients in the logits.
    y : ndarray of int64, shape (k,)
        Labels; not checked.
    share : float
        Share of every target that is spread evenly over the classes.
    """
    whole = G.dtype.type(share)
    even = G.dtype.type(share / G.shape[1])
    for i in range(G.shape[0]):
        g = row(G, i)
        for j in range(g.size):
            g[j] -= even
        g[y[i]] += whole
