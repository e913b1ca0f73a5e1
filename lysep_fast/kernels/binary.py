"""Binary cross-entropy of a block of samples with several labels each, as compiled kernels.

With the logit u of a label y, 0 or 1, and z = -u where y is 1 and u where it is 0,

    loss = log(1 + exp(z)),     derivative in u = sigmoid(z), with the sign of z / u.

No probability is subtracted from 1: losses and derivatives that are tiny keep their relative
accuracy, and logits of any size give finite ones.  NaN makes the results of its row NaN.
"""

from __future__ import annotations

from numpy.typing import NDArray

from ._elementary import softplus
from ._jit import kernel
from ._views import row

__all__ = ["binary_cross_entropy_into", "binary_curvature_rows", "labels_correct_into"]


@kernel()
def binary_cross_entropy_into(U: NDArray, Y: NDArray, e: NDArray, G: NDArray, of: int) -> None:
    """Write the losses ``e_n``, summed over the labels, and gradients of their powers.

    Parameters
    ----------
    U : ndarray, shape (n, K), C-contiguous, float64 or float32
        Logits.
    Y : ndarray of uint8, shape (n, K), C-contiguous
        Labels, 0 or 1; not checked.
    e : ndarray, shape (n,), dtype of U
        Losses, overwritten.
    G : ndarray, shape (n, K), C-contiguous, dtype of U
        Overwritten with the gradients of ``e_n``, or of ``e_n^2``, in the logits; may be U
        itself.  Not touched where `of` is 0.
    of : int
        0 for losses only, 1 for gradients of ``e_n``, 2 for gradients of ``e_n^2``.
    """
    n, K = U.shape
    number = U.dtype.type
    two = number(2)
    for i in range(n):
        u, y, g = row(U, i), row(Y, i), row(G, i)
        total = 0.0
        if of == 0:
            for j in range(K):
                total += softplus(-u[j] if y[j] else u[j])[0]
            e[i] = number(total)
            continue
        for j in range(K):
            loss, slope = softplus(-u[j] if y[j] else u[j])
            total += loss
            g[j] = -slope if y[j] else slope
        e[i] = number(total)
        if of == 2:
            factor = two * number(total)
            for j in range(K):
                g[j] *= factor


@kernel()
def binary_curvature_rows(G: NDArray, e: NDArray, size: NDArray, v: NDArray) -> None:
    """Write ``|G_n|^2`` and ``v_n = |G_n|^2 + e_n max_k p_k (1 - p_k)``.

    ``2 v_n`` bounds the curvature of ``e_n^2`` in the logits.

    Parameters
    ----------
    G : ndarray, shape (n, K)
        Gradients of ``e_n``; ``p_k (1 - p_k) = |G_k| (1 - |G_k|)``.
    e : ndarray, shape (n,)
        Losses.
    size, v : ndarray of float64, shape (n,)
        Overwritten.
    """
    n, K = G.shape
    for i in range(n):
        total, most = 0.0, 0.0
        for j in range(K):
            g = abs(float(G[i, j]))
            total += g * g
            most = max(most, g * (1.0 - g))
        size[i] = total
        v[i] = total + float(e[i]) * most


@kernel()
def labels_correct_into(U: NDArray, Y: NDArray, hit: NDArray) -> None:
    """Write 1 for every row whose labels are all those of its logits' signs, and 0 for others.

    Parameters
    ----------
    U : ndarray, shape (n, K), float64 or float32
        Logits: a label is predicted where they are positive; NaN is never correct.
    Y : ndarray of uint8, shape (n, K)
        Labels, 0 or 1; not checked.
    hit : ndarray of float64, shape (n,)
        Overwritten.
    """
    n, K = U.shape
    for i in range(n):
        wrong = 0
        for j in range(K):
            # Comparisons with NaN are false, so NaN anywhere makes the row wrong.
            right = U[i, j] > 0 if Y[i, j] else U[i, j] <= 0
            wrong |= not right
        hit[i] = 0.0 if wrong else 1.0
