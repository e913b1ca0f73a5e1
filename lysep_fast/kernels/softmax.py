"""Softmax and cross-entropy of a block of samples as compiled kernels.

Accuracy: a difference of two logits is rounded once, which changes its exponential by at most
eps/2 |u_j - u*| relatively (u* is the largest logit of the row); everything else adds a few ulp.
Losses and gradients keep this relative accuracy when they are tiny.  Exponentials below exp(-708)
in float64 or exp(-87) in float32 count as 0.

NaN in a row makes the results of that row NaN.  A logit -inf is a class of probability 0 (and an
infinite loss if it is the true class); +inf gives loss 0 at the true class, NaN anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import ArrayLike, NDArray

from lysep_fast.kernels._jit import (
    JIT_ENABLED,
    bits_float32,
    bits_float64,
    float32_bits,
    float64_bits,
    kernel,
)

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

# Polynomial tables, lowest power first, printed by tools/fit_polynomials.py.
_EXP64 = (
    0.5000000000000001,
    0.16666666666666669,
    0.041666666666624094,
    0.00833333333333006,
    0.0013888888917230724,
    0.00019841269863066696,
    2.4801521269532122e-05,
    2.7557268439678e-06,
    2.7620101012098e-07,
    2.5100395159429243e-08,
)
_EXP32 = (
    np.float32(0.5),
    np.float32(0.16666576),
    np.float32(0.041666556),
    np.float32(0.008363185),
    np.float32(0.0013926191),
)
_LOG64 = (
    1.0,
    -0.5000000000000004,
    0.33333333333332743,
    -0.24999999999974262,
    0.20000000000149173,
    -0.1666666667140979,
    0.14285714273416777,
    -0.12499999599654292,
    0.1111111141565012,
    -0.10000018291722658,
    0.09090918152343491,
    -0.08332849434269736,
    0.07691593695416457,
    -0.07150275443209085,
    0.06684365498991587,
    -0.061900279059384715,
    0.05666197710354513,
    -0.05707180881706825,
    0.06527130869877659,
    -0.059266839056608935,
    0.025503180479502754,
)
_LOG32 = (
    np.float32(1.0),
    np.float32(-0.49999988),
    np.float32(0.33333346),
    np.float32(-0.25001583),
    np.float32(0.2000095),
    np.float32(-0.16608289),
    np.float32(0.14199375),
    np.float32(-0.13266455),
    np.float32(0.12808762),
    np.float32(-0.07452896),
)
_LN2_PARTS64 = (
    0.6931471805598903,
    5.497923018708371e-14,
)
_LN2_PARTS32 = (
    np.float32(0.69314575),
    np.float32(1.4286068e-06),
)

_F = np.float32
_ZERO32, _ONE32 = _F(0), _F(1)
_MAGIC64, _MAGIC32 = 6755399441055744.0, _F(12582912.0)
_LOG2_E64, _LOG2_E32 = 1.4426950408889634, _F(1.4426950408889634)
# exp(-cap) is still a normal number.
_CAP64, _CAP32 = 708.0, _F(87.0)
_BIAS32, _SHIFT32 = np.int32(127), np.int32(23)
# Subtracting the bits of sqrt(1/2) moves the exponent boundary from 1 to there.
_SQRT_HALF64, _ONE_BITS64 = np.int64(0x3FE6A09E667F3BCD), np.int64(0x3FF0000000000000)
_SQRT_HALF32, _ONE_BITS32 = np.int32(0x3F3504F3), np.int32(0x3F800000)

# Entries of the transposed buffer (it should stay in the L1 cache), and the largest and smallest
# number of rows in it.
_BUFFER, _MOST_ROWS, _FEWEST_ROWS = 2048, 128, 32


# --- scalar cores --------------------------------------------------------------------------------


@kernel(forceinline=True)
def _exp64(t: float) -> float:
    """Return exp(t) for t <= 0, and 0 below -708."""
    y = -_CAP64 if t < -_CAP64 else t
    shifted = y * _LOG2_E64 + _MAGIC64
    k = shifted - _MAGIC64
    r = (y - k * _LN2_PARTS64[0]) - k * _LN2_PARTS64[1]
    p = _EXP64[9]
    p = p * r + _EXP64[8]
    p = p * r + _EXP64[7]
    p = p * r + _EXP64[6]
    p = p * r + _EXP64[5]
    p = p * r + _EXP64[4]
    p = p * r + _EXP64[3]
    p = p * r + _EXP64[2]
    p = p * r + _EXP64[1]
    p = p * r + _EXP64[0]
    p = p * (r * r) + r
    two_k = bits_float64((float64_bits(shifted) + 1023) << 52)
    return 0.0 if t < -_CAP64 else two_k * p + two_k


@kernel(forceinline=True)
def _exp32(t: float) -> float:
    """Return exp(t) for t <= 0, and 0 below -87."""
    y = -_CAP32 if t < -_CAP32 else t
    shifted = y * _LOG2_E32 + _MAGIC32
    k = shifted - _MAGIC32
    r = (y - k * _LN2_PARTS32[0]) - k * _LN2_PARTS32[1]
    p = _EXP32[4]
    p = p * r + _EXP32[3]
    p = p * r + _EXP32[2]
    p = p * r + _EXP32[1]
    p = p * r + _EXP32[0]
    p = p * (r * r) + r
    two_k = bits_float32(np.int32(np.int32(float32_bits(shifted) + _BIAS32) << _SHIFT32))
    return _ZERO32 if t < -_CAP32 else two_k * p + two_k


@kernel(forceinline=True)
def _log1p64(a: float) -> float:
    """Return log(1 + a) for 0 <= a < 2^52."""
    w = 1.0 + a
    k = (float64_bits(w) - _SQRT_HALF64) >> 52
    scale = bits_float64(_ONE_BITS64 - (k << 52))
    # 1 + g = (1 + a) / 2^k, with what the sum 1 + a rounded away: exact for small a.
    g = (w * scale - 1.0) + (a - (w - 1.0)) * scale
    p = _LOG64[20]
    p = p * g + _LOG64[19]
    p = p * g + _LOG64[18]
    p = p * g + _LOG64[17]
    p = p * g + _LOG64[16]
    p = p * g + _LOG64[15]
    p = p * g + _LOG64[14]
    p = p * g + _LOG64[13]
    p = p * g + _LOG64[12]
    p = p * g + _LOG64[11]
    p = p * g + _LOG64[10]
    p = p * g + _LOG64[9]
    p = p * g + _LOG64[8]
    p = p * g + _LOG64[7]
    p = p * g + _LOG64[6]
    p = p * g + _LOG64[5]
    p = p * g + _LOG64[4]
    p = p * g + _LOG64[3]
    p = p * g + _LOG64[2]
    p = p * g + _LOG64[1]
    p = p * g + _LOG64[0]
    # k as a number by the inverse of the rounding trick: vectorises where int -> float does not.
    e = bits_float64(float64_bits(_MAGIC64) + k) - _MAGIC64
    return e * _LN2_PARTS64[0] + (g * p + e * _LN2_PARTS64[1])


@kernel(forceinline=True)
def _log1p32(a: float) -> float:
    """Return log(1 + a) for 0 <= a < 2^23."""
    w = _ONE32 + a
    k = np.int32(np.int32(float32_bits(w) - _SQRT_HALF32) >> _SHIFT32)
    scale = bits_float32(np.int32(_ONE_BITS32 - np.int32(k << _SHIFT32)))
    g = (w * scale - _ONE32) + (a - (w - _ONE32)) * scale
    p = _LOG32[9]
    p = p * g + _LOG32[8]
    p = p * g + _LOG32[7]
    p = p * g + _LOG32[6]
    p = p * g + _LOG32[5]
    p = p * g + _LOG32[4]
    p = p * g + _LOG32[3]
    p = p * g + _LOG32[2]
    p = p * g + _LOG32[1]
    p = p * g + _LOG32[0]
    e = bits_float32(np.int32(float32_bits(_MAGIC32) + k)) - _MAGIC32
    return e * _LN2_PARTS32[0] + (g * p + e * _LN2_PARTS32[1])


def _by_dtype(core64: Callable[..., Any], core32: Callable[..., Any]) -> Callable[..., Any]:
    """Join two scalar cores into one function that Numba resolves by the type of its argument."""

    def core(x: Any) -> Any:
        return core64(x) if x.dtype == np.float64 else core32(x)

    if JIT_ENABLED:

        @overload(core, jit_options={"forceinline": True})
        def _choose(x):
            if x == types.float64:
                return lambda x: core64(x)
            if x == types.float32:
                return lambda x: core32(x)
            return None

    return core


_exp = _by_dtype(_exp64, _exp32)
_log1p = _by_dtype(_log1p64, _log1p32)


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
        t = T[j]
        for i in range(n):
            t[i] = U[i, j]
    t = T[0]
    for i in range(n):
        largest[i] = t[i]
    for j in range(1, K):
        t = T[j]
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
        t = T[j]
        for i in range(n):
            p = _exp(t[i] - largest[i])
            t[i] = p
            others[i] += zero if y[i] == j else p
    for i in range(n):
        own[i] = _exp(-m[i])


@kernel()
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
    n, K = U.shape
    zero, one = U.dtype.type(0), U.dtype.type(1)
    rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _BUFFER // K // 16 * 16))
    T = np.empty((K, rows), U.dtype)
    m, others, own = np.empty(rows, U.dtype), np.empty(rows, U.dtype), np.empty(rows, U.dtype)
    for first in range(0, n, rows):
        # Views that start at 0: with an index first + i Numba would test for negative indices,
        # and the loops would not vectorise.
        block = slice(first, min(first + rows, n))
        u, labels, losses = U[block], y[block], e[block]
        _loss_parts(u, labels, T, m, others, own)
        for i in range(losses.size):
            a = others[i] if m[i] == zero else others[i] + (own[i] - one)
            losses[i] = m[i] + _log1p(a)


@kernel()
def _gradient(U: NDArray, y: NDArray, e: NDArray, G: NDArray, squared: bool) -> None:
    n, K = U.shape
    zero, one, two = U.dtype.type(0), U.dtype.type(1), U.dtype.type(2)
    rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _BUFFER // K // 16 * 16))
    T = np.empty((K, rows), U.dtype)
    m, others, own = np.empty(rows, U.dtype), np.empty(rows, U.dtype), np.empty(rows, U.dtype)
    for first in range(0, n, rows):
        # Views that start at 0: with an index first + i Numba would test for negative indices,
        # and the loops would not vectorise.
        block = slice(first, min(first + rows, n))
        u, labels, losses, g = U[block], y[block], e[block], G[block]
        _loss_parts(u, labels, T, m, others, own)
        scale = own
        for i in range(losses.size):
            a = others[i] if m[i] == zero else others[i] + (own[i] - one)
            loss = m[i] + _log1p(a)
            losses[i] = loss
            scale[i] = (two * loss if squared else one) / (one + a)
        for j in range(K):
            t = T[j]
            for i in range(losses.size):
                t[i] = (-others[i] if labels[i] == j else t[i]) * scale[i]
        for i in range(losses.size):
            for j in range(K):
                g[i, j] = T[j, i]


@kernel()
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
    _gradient(U, y, e, G, False)


@kernel()
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
    _gradient(U, y, e, G, True)


@kernel()
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
        block = slice(first, min(first + rows, n))
        u, probabilities = U[block], P[block]
        _load(u, T, largest)
        count = u.shape[0]
        for i in range(count):
            total[i] = zero
        for j in range(K):
            t = T[j]
            for i in range(count):
                p = _exp(t[i] - largest[i])
                t[i] = p
                total[i] += p
        for i in range(count):
            total[i] = one / total[i]
        for j in range(K):
            t = T[j]
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
