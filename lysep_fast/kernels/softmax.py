"""Softmax and cross-entropy of a block of samples as compiled kernels.

Accuracy: a difference of two logits is rounded once, which changes its exponential by at most
eps/2 |u_j - u*| relatively (u* is the largest logit of the row); everything else adds a few ulp.
Losses and gradients keep this relative accuracy when they are tiny.  Exponentials below exp(-708)
in float64 or exp(-87) in float32 count as 0.

NaN in a row makes the results of that row NaN.  A logit -inf is a class of probability 0 (and an
infinite loss if it is the true class); +inf gives loss 0 at the true class, NaN anywhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._elementary import exp, loss_and_sum
from ._jit import kernel
from ._views import part, row

__all__ = [
    "correct_count",
    "cross_entropy",
    "cross_entropy_gradient",
    "cross_entropy_gradient_into",
    "cross_entropy_into",
    "softmax",
    "softmax_into",
    "squared_cross_entropy_gradient",
    "squared_cross_entropy_gradient_into",
]

# Entries of the transposed buffer (it should stay in the L1 cache), and the largest and smallest
# number of rows in it.
_BUFFER, _MOST_ROWS, _FEWEST_ROWS = 2048, 128, 32


# --- kernels -------------------------------------------------------------------------------------
#
# With u* = max_j u_j, m = u* - u_y and others = sum_{j != y} exp(u_j - u*):
#
#     e = log(sum_j exp(u_j - u_y)) = m + log(1 + a),   1 + a = others + exp(-m),
#
# and a = others, without cancellation, when the true class has the largest logit (m = 0): a loss
# of 1e-30 is then as exact as one of 1.  P_j = exp(u_j - u*) / (1 + a), and P_y - 1 = -others /
# (1 + a).
#
# A loop over the classes of one row is too short to vectorise.  So 64 rows at a time are
# transposed into a buffer T, T[j, i] for class j of row i, and every loop runs over rows.  The
# buffers are the only allocation, a few kilobytes once per call; all rows of a block are read
# before any is written, so the result may overwrite U.


@kernel()
def _load(U: NDArray, T: NDArray, largest: NDArray) -> None:
    """Transpose U into T, and find the largest entry of every row."""
    n, K = U.shape
    for j in range(K):
        t = row(T, j)
        for i in range(n):
            t[i] = U[i, j]
    t = row(T, 0)
    for i in range(n):
        largest[i] = t[i]
    for j in range(1, K):
        t = row(T, j)
        for i in range(n):
            largest[i] = t[i] if t[i] > largest[i] else largest[i]


@kernel()
def _loss_parts(
    U: NDArray, y: NDArray, T: NDArray, m: NDArray, others: NDArray, own: NDArray
) -> None:
    """Fill T with exp(u_j - u*), and m, others and own = exp(-m) of the rows, as above."""
    n, K = U.shape
    zero = U.dtype.type(0)
    largest = own
    _load(U, T, largest)
    for i in range(n):
        u_y = U[i, y[i]]
        # Not equal for NaN, which must reach the loss even when there is one class.
        m[i] = zero if largest[i] == u_y else largest[i] - u_y
        others[i] = zero
    for j in range(K):
        t = row(T, j)
        for i in range(n):
            p = exp(t[i] - largest[i])
            t[i] = p
            others[i] += zero if y[i] == j else p
    for i in range(n):
        own[i] = exp(-m[i])


def cross_entropy_into(U: NDArray, y: NDArray, e: NDArray) -> None:
    """Write the cross-entropy of every sample, e_n = logsumexp(U_n) - U_n[y_n].

    Parameters
    ----------
    U : ndarray, shape (n, K), C-contiguous and writable, float64 or float32
        Logits.
    y : ndarray, shape (n,), int64
        Labels in 0..K-1; not checked.
    e : ndarray, shape (n,), dtype of U
        Losses, overwritten.
    """
    _cross_entropy(U, y, e, U, 0)


def cross_entropy_gradient_into(U: NDArray, y: NDArray, e: NDArray, G: NDArray) -> None:
    """Write the losses e_n and their gradients with respect to the logits, G = P - Y.

    Parameters
    ----------
    U : ndarray, shape (n, K), C-contiguous and writable, float64 or float32
        Logits.
    y : ndarray, shape (n,), int64
        Labels in 0..K-1; not checked.
    e : ndarray, shape (n,), dtype of U
        Losses, overwritten.
    G : ndarray, shape (n, K), C-contiguous, dtype of U
        Gradients, overwritten; may be U itself.
    """
    _cross_entropy(U, y, e, G, 1)


def squared_cross_entropy_gradient_into(U: NDArray, y: NDArray, e: NDArray, G: NDArray) -> None:
    """Write the losses e_n and the gradients of their squares, G = 2 e_n (P - Y) row by row.

    Parameters
    ----------
    U : ndarray, shape (n, K), C-contiguous and writable, float64 or float32
        Logits.
    y : ndarray, shape (n,), int64
        Labels in 0..K-1; not checked.
    e : ndarray, shape (n,), dtype of U
        Losses (not squared), overwritten.
    G : ndarray, shape (n, K), C-contiguous, dtype of U
        Gradients, overwritten; may be U itself.
    """
    _cross_entropy(U, y, e, G, 2)


@kernel(allocates=True)
def _cross_entropy(U: NDArray, y: NDArray, e: NDArray, G: NDArray, of: int) -> None:
    """Write the losses and, unless `of` is 0, the gradients of their powers `of`, 1 or 2.

    One kernel for all: to compile it takes longer than many a small fit.
    """
    n, K = U.shape
    one, two = U.dtype.type(1), U.dtype.type(2)
    rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _BUFFER // K // 16 * 16))
    # Apart from each other and made here, so that the compiler knows that they do not overlap.
    T = np.empty((K, rows), U.dtype)
    m, others, own = np.empty(rows, U.dtype), np.empty(rows, U.dtype), np.empty(rows, U.dtype)
    for first in range(0, n, rows):
        # Views that start at 0: with an index first + i Numba would test for negative indices,
        # and the loops would not vectorise.
        last = min(first + rows, n)
        u, labels, losses = part(U, first, last), part(y, first, last), part(e, first, last)
        count = losses.size
        _loss_parts(u, labels, T, m, others, own)
        for i in range(count):
            losses[i], own[i] = loss_and_sum(m[i], others[i], own[i])
        if of == 0:
            continue
        if of == 1:
            for i in range(count):
                own[i] = one / own[i]
        else:
            for i in range(count):
                own[i] = two * losses[i] / own[i]
        g = part(G, first, last)
        for j in range(K):
            t = row(T, j)
            for i in range(count):
                t[i] = (-others[i] if labels[i] == j else t[i]) * own[i]
        for i in range(count):
            for j in range(K):
                g[i, j] = T[j, i]


@kernel(allocates=True)
def softmax_into(U: NDArray, P: NDArray) -> None:
    """Write the softmax of every row, P_nj = exp(U_nj) / sum_k exp(U_nk).

    Parameters
    ----------
    U : ndarray, shape (n, K), C-contiguous and writable, float64 or float32
        Logits.
    P : ndarray, shape (n, K), C-contiguous, dtype of U
        Probabilities, overwritten; may be U itself.
    """
    n, K = U.shape
    zero, one = U.dtype.type(0), U.dtype.type(1)
    rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _BUFFER // K // 16 * 16))
    T = np.empty((K, rows), U.dtype)
    largest, total = np.empty(rows, U.dtype), np.empty(rows, U.dtype)
    for first in range(0, n, rows):
        last = min(first + rows, n)
        u, probabilities = part(U, first, last), part(P, first, last)
        _load(u, T, largest)
        count = u.shape[0]
        for i in range(count):
            total[i] = zero
        for j in range(K):
            t = row(T, j)
            for i in range(count):
                p = exp(t[i] - largest[i])
                t[i] = p
                total[i] += p
        for i in range(count):
            total[i] = one / total[i]
        for j in range(K):
            t = row(T, j)
            for i in range(count):
                t[i] *= total[i]
        for i in range(count):
            for j in range(K):
                probabilities[i, j] = T[j, i]


@kernel()
def correct_count(U: NDArray, y: NDArray) -> int:
    """Return the number of rows whose first largest entry is at the label; NaN is never correct.

    Parameters
    ----------
    U : ndarray, shape (n, K), float64 or float32
        Logits.
    y : ndarray, shape (n,), int64
        Labels in 0..K-1; not checked.

    Returns
    -------
    int
    """
    count = 0
    for n in range(U.shape[0]):
        label = y[n]
        u_y = U[n, label]
        wrong = 0
        # Loops of fixed length: one that ends at the label is mispredicted at every row.
        # Comparisons with NaN are false, so NaN anywhere makes the row wrong.
        for j in range(U.shape[1]):
            wrong |= (not U[n, j] <= u_y) | ((j < label) & (U[n, j] == u_y))
        count += 1 - wrong
    return count


# --- checked functions ---------------------------------------------------------------------------


def cross_entropy(U: ArrayLike, y: ArrayLike) -> NDArray:
    """Evaluate the cross-entropy of every sample, e_n = logsumexp(U_n) - U_n[y_n].

    Parameters
    ----------
    U : array_like, shape (n, K)
        Logits; float32 is kept, other real dtypes become float64.  Never changed.
    y : array_like of int, shape (n,)
        Labels in 0..K-1.

    Returns
    -------
    e : ndarray, shape (n,)
        Losses.  A loss that is tiny because the true class dominates keeps its relative
        accuracy, down to where exp of the margin leaves the normal numbers.

    Raises
    ------
    ValueError
        If a shape is wrong or a label lies outside 0..K-1.
    TypeError
        If U is not real numeric or y is not integer.
    """
    U = _logits(U)
    y = _labels(y, U)
    e = np.empty(U.shape[0], U.dtype)
    cross_entropy_into(U, y, e)
    return e


def cross_entropy_gradient(U: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    """Evaluate the cross-entropy and its gradient with respect to the logits, P - Y.

    Parameters
    ----------
    U : array_like, shape (n, K)
        Logits; float32 is kept, other real dtypes become float64.  Never changed.
    y : array_like of int, shape (n,)
        Labels in 0..K-1.

    Returns
    -------
    e : ndarray, shape (n,)
        Losses.
    G : ndarray, shape (n, K)
        Softmax minus one-hot labels.  The entry of the true class is minus the sum of the
        others, so it stays exact when it is tiny.

    Raises
    ------
    ValueError
        If a shape is wrong or a label lies outside 0..K-1.
    TypeError
        If U is not real numeric or y is not integer.
    """
    U = _logits(U)
    y = _labels(y, U)
    e, G = np.empty(U.shape[0], U.dtype), np.empty(U.shape, U.dtype)
    cross_entropy_gradient_into(U, y, e, G)
    return e, G


def squared_cross_entropy_gradient(U: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    """Evaluate the cross-entropy e_n and the gradient of e_n^2, 2 e_n (P - Y).

    Parameters
    ----------
    U : array_like, shape (n, K)
        Logits; float32 is kept, other real dtypes become float64.  Never changed.
    y : array_like of int, shape (n,)
        Labels in 0..K-1.

    Returns
    -------
    e : ndarray, shape (n,)
        Losses, not squared.
    G : ndarray, shape (n, K)
        Gradient of every squared loss with respect to its row of logits.

    Raises
    ------
    ValueError
        If a shape is wrong or a label lies outside 0..K-1.
    TypeError
        If U is not real numeric or y is not integer.
    """
    U = _logits(U)
    y = _labels(y, U)
    e, G = np.empty(U.shape[0], U.dtype), np.empty(U.shape, U.dtype)
    squared_cross_entropy_gradient_into(U, y, e, G)
    return e, G


def softmax(U: ArrayLike) -> NDArray:
    """Evaluate the softmax of every row, exp(U_n) / sum_k exp(U_nk).

    Parameters
    ----------
    U : array_like, shape (n, K)
        Logits; float32 is kept, other real dtypes become float64.  Never changed.

    Returns
    -------
    P : ndarray, shape (n, K)
        Probabilities; every row sums to 1 up to rounding.

    Raises
    ------
    ValueError
        If U is not two-dimensional or has no column.
    TypeError
        If U is not real numeric.
    """
    U = _logits(U)
    P = np.empty(U.shape, U.dtype)
    softmax_into(U, P)
    return P


def _logits(U: ArrayLike) -> NDArray:
    """Return U as a C-contiguous writable float array, without a copy when it is one."""
    logits = np.asarray(U)
    if logits.dtype.kind not in "biuf":
        raise TypeError(f"U must be real numbers, got dtype {logits.dtype}; convert it to float64")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"U has shape {logits.shape}, but must be (samples, classes) with at least one class; "
            "reshape it"
        )
    single = logits.dtype.newbyteorder("=") == np.float32
    logits = np.ascontiguousarray(logits, np.float32 if single else np.float64)
    # Compiled code for read-only or unaligned arrays would be a second specialisation.
    direct = logits.flags.writeable and logits.flags.aligned
    return logits if direct else logits.copy()


def _labels(y: ArrayLike, U: NDArray) -> NDArray:
    """Return y as a C-contiguous writable int64 array of labels that fit U."""
    labels = np.asarray(y)
    n, K = U.shape
    if labels.shape != (n,):
        raise ValueError(
            f"y has shape {labels.shape}, but U has {n} rows; give one label per row, shape ({n},)"
        )
    if labels.dtype.kind not in "biu" and labels.size > 0:
        raise TypeError(f"y must be integers, got dtype {labels.dtype}; use y.astype(np.int64)")
    if labels.size > 0 and (labels.min() < 0 or labels.max() >= K):
        wrong = labels[(labels < 0) | (labels >= K)][0]
        raise ValueError(
            f"y contains the label {wrong}, but U has {K} columns: labels run from 0 to {K - 1}; "
            "renumber them with np.unique(y, return_inverse=True)"
        )
    labels = np.ascontiguousarray(labels, np.int64)
    direct = labels.flags.writeable and labels.flags.aligned
    return labels if direct else labels.copy()
