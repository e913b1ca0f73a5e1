"""Chain rule of a jet through an activation: value, directional derivatives, second-order part.

A jet ``J``, shape (2 + r, n, m), stacks ``A = J[0]`` (value), ``B_k = J[k]`` (derivatives along r
directions) and ``C = J[1 + r]`` (a second-order operator applied to the value, the "forward
Laplacian").  An entrywise activation s maps it to ``P = (S, T_1..T_r, Q)``:

    S = s(A),   T_k = s'(A) B_k,   Q = s''(A) sum_k B_k^2 + s'(A) C,

and the adjoint of that map takes cotangents ``G = (gS, gT_1..gT_r, gQ)`` to

    gA   = s' gS + s'' sum_k B_k gT_k + (s''' sum_k B_k^2 + s'' C) gQ,
    gB_k = s' gT_k + 2 s'' B_k gQ,
    gC   = s' gQ.

s and s' come from one evaluation (kernels/activation.py), s'' and s''' from those two by algebra,
without a second transcendental function.  The chain rule itself does not know the activation.
Errors of s'' and s''' are absolute, of the size of the rounding unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._elementary import gelu
from ._jet_tiles import adjoint_chain, forward_chain
from ._jit import kernel
from .activation import (
    ACTIVATION_CODES,
    GELU,
    SIGMOID,
    SIN,
    SOFTPLUS,
    TANH,
    _sigmoid_both,
    _sin_both,
    _softplus_both,
    _tanh_both,
)

__all__ = ["JET_CODES", "jet_adjoint_into", "jet_forward_into"]

JET_CODES: dict[str, int] = {
    name: ACTIVATION_CODES[name] for name in ("tanh", "sin", "softplus", "gelu", "sigmoid")
}
"""Name of an activation with three continuous derivatives -> its code."""

# Entries whose value and slope wait in the cache for the chain rule.  To begin a chunk costs time:
# those of 512 entries fit the innermost cache, and were slower.
_CHUNK = 2048

_tanh_chain, _sin_chain = forward_chain(TANH), forward_chain(SIN)
_softplus_chain, _gelu_chain = forward_chain(SOFTPLUS), forward_chain(GELU)
_sigmoid_chain, _adjoint = forward_chain(SIGMOID), adjoint_chain()


@kernel(allocates=True)
def _flat(J, P, D):
    """Return flat arrays, the extents of J and D, and memory for the values of a chunk.

    An empty D stands for memory of one chunk.
    """
    r, size = J.shape[0] - 2, J.shape[1] * J.shape[2]
    length = min(size, _CHUNK)
    d_size = size if D.size > 0 else length
    d = D.reshape(D.size) if D.size > 0 else np.empty(3 * length, J.dtype)
    s = np.empty(length, J.dtype)
    return J.reshape(J.size), P.reshape(P.size), d, r, size, d_size, s


# --- forward: one kernel per activation, so that a program compiles only what it uses ------------


@kernel(allocates=True)
def _tanh_forward(J, P, D):
    j, p, d, r, size, d_size, s = _flat(J, P, D)
    for start in range(0, size, _CHUNK):
        n, i = min(_CHUNK, size - start), start if d_size == size else 0
        _tanh_both(j[start : start + n], s[:n], d[i : i + n])
        _tanh_chain(j, p, start, n, size, r, s, d, i, d_size)


@kernel(allocates=True)
def _sin_forward(J, P, D):
    j, p, d, r, size, d_size, s = _flat(J, P, D)
    for start in range(0, size, _CHUNK):
        n, i = min(_CHUNK, size - start), start if d_size == size else 0
        _sin_both(j[start : start + n], s[:n], d[i : i + n])
        _sin_chain(j, p, start, n, size, r, s, d, i, d_size)


@kernel(allocates=True)
def _softplus_forward(J, P, D):
    j, p, d, r, size, d_size, s = _flat(J, P, D)
    for start in range(0, size, _CHUNK):
        n, i = min(_CHUNK, size - start), start if d_size == size else 0
        _softplus_both(j[start : start + n], s[:n], d[i : i + n])
        _softplus_chain(j, p, start, n, size, r, s, d, i, d_size)


@kernel(allocates=True)
def _gelu_forward(J, P, D):
    j, p, d, r, size, d_size, s = _flat(J, P, D)
    for start in range(0, size, _CHUNK):
        n, i = min(_CHUNK, size - start), start if d_size == size else 0
        a, first, density = j[start : start + n], d[i : i + n], d[i + d_size : i + d_size + n]
        for k in range(n):
            s[k], first[k], density[k] = gelu(a[k])
        _gelu_chain(j, p, start, n, size, r, s, d, i, d_size)


@kernel(allocates=True)
def _sigmoid_forward(J, P, D):
    j, p, d, r, size, d_size, s = _flat(J, P, D)
    for start in range(0, size, _CHUNK):
        n, i = min(_CHUNK, size - start), start if d_size == size else 0
        _sigmoid_both(j[start : start + n], s[:n], d[i : i + n])
        _sigmoid_chain(j, p, start, n, size, r, s, d, i, d_size)


_FORWARD = {
    TANH: _tanh_forward,
    SIN: _sin_forward,
    SOFTPLUS: _softplus_forward,
    GELU: _gelu_forward,
    SIGMOID: _sigmoid_forward,
}


def jet_forward_into(code: int, J: NDArray, P: NDArray, D: NDArray | None = None) -> None:
    """Write ``P = (S, T_1..T_r, Q)`` and the derivatives of s, without any validation.

    Parameters
    ----------
    code : int
        One of ``JET_CODES.values()``.
    J : ndarray, shape (2 + r, n, m), C-contiguous and writable, float64 or float32
        Jet.
    P : ndarray, shape (2 + r, n, m), C-contiguous
        Overwritten.  It may be `J` itself, but may not overlap it in any other way.
    D : ndarray, shape (3, n, m), C-contiguous, optional
        Overwritten with ``(s', s'', s''')`` at ``J[0]``; by default they stay in the cache.
    """
    if D is None:
        D = np.empty((3, 0, 0), J.dtype)
    _FORWARD[code](J, P, D)


# --- adjoint -------------------------------------------------------------------------------------


@kernel()
def jet_adjoint_into(J: NDArray, D: NDArray, G: NDArray, out: NDArray) -> None:
    """Write the adjoint ``(gA, gB_1..gB_r, gC)`` of the chain rule without any validation.

    Parameters
    ----------
    J : ndarray, shape (2 + r, n, m), C-contiguous
        Jet at which the chain rule was applied.
    D : ndarray, shape (3, n, m), C-contiguous
        ``(s', s'', s''')`` at ``J[0]``.
    G : ndarray, shape (2 + r, n, m), C-contiguous
        Cotangents ``(gS, gT_1..gT_r, gQ)``.
    out : ndarray, shape (2 + r, n, m), C-contiguous
        Overwritten; no overlap with the other arrays.
    """
    r, size = J.shape[0] - 2, J.shape[1] * J.shape[2]
    j, g, o, d = J.reshape(J.size), G.reshape(G.size), out.reshape(out.size), D.reshape(D.size)
    _adjoint(j, g, o, size, r, d)
