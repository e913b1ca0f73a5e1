"""Chain rule of a jet through an activation: value, directional derivatives, second-order part.

A jet ``J``, shape (2 + r, n, m), stacks ``A = J[0]`` (value), ``B_k = J[k]`` (derivatives along r
directions) and ``C = J[1 + r]`` (a second-order operator applied to the value, the "forward
Laplacian").  An entrywise activation s maps it to ``P = (S, T_1..T_r, Q)``:

    S = s(A),   T_k = s'(A) B_k,   Q = s''(A) sum_k B_k^2 + s'(A) C,

and the adjoint of that map takes cotangents ``G = (gS, gT_1..gT_r, gQ)`` to

    gA   = s' gS + s'' sum_k B_k gT_k + (s''' sum_k B_k^2 + s'' C) gQ,
    gB_k = s' gT_k + 2 s'' B_k gQ,
    gC   = s' gQ.

s and s' come from one evaluation (kernels/activation.py), s'' and s''' from those two by algebra:
no second transcendental function, except gelu's density.  The chain rule itself does not know the
activation.  Errors of s'' and s''' are absolute, of the size of the rounding unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .activation import (
    ACTIVATION_CODES,
    GELU,
    SIGMOID,
    SIN,
    SOFTPLUS,
    TANH,
    activation_derivative_into,
)

__all__ = ["JET_CODES", "jet_adjoint_into", "jet_derivatives_into", "jet_forward_into"]

JET_CODES: dict[str, int] = {
    name: ACTIVATION_CODES[name] for name in ("tanh", "sin", "softplus", "gelu", "sigmoid")
}
"""Name of an activation with three continuous derivatives -> its code."""

# A chunk of every array of the chain rule stays in the innermost cache.
_CHUNK = 1024
_INV_SQRT_2PI = 0.3989422804014327


# --- higher derivatives of the activations -------------------------------------------------------
# Arguments: A, S = s(A) and D = (s', s'', s''')[:, ...] with s' given, the others overwritten.


@kernel()
def _tanh_higher(A: NDArray, S: NDArray, D: NDArray) -> None:
    s, d = S.reshape(S.size), D.reshape(3, S.size)
    first, second, third = d[0], d[1], d[2]
    number = A.dtype.type
    for i in range(s.size):
        t, slope = s[i], first[i]
        second[i] = number(-2) * t * slope
        third[i] = slope * (number(6) * t * t - number(2))


@kernel()
def _sin_higher(A: NDArray, S: NDArray, D: NDArray) -> None:
    s, d = S.reshape(S.size), D.reshape(3, S.size)
    first, second, third = d[0], d[1], d[2]
    for i in range(s.size):
        second[i] = -s[i]
        third[i] = -first[i]


@kernel()
def _softplus_higher(A: NDArray, S: NDArray, D: NDArray) -> None:
    d = D.reshape(3, S.size)
    first, second, third = d[0], d[1], d[2]
    number = A.dtype.type
    for i in range(first.size):
        sigma = first[i]
        curvature = sigma * (number(1) - sigma)
        second[i] = curvature
        third[i] = curvature * (number(1) - number(2) * sigma)


@kernel()
def _sigmoid_higher(A: NDArray, S: NDArray, D: NDArray) -> None:
    s, d = S.reshape(S.size), D.reshape(3, S.size)
    first, second, third = d[0], d[1], d[2]
    number = A.dtype.type
    for i in range(s.size):
        slope = first[i]
        second[i] = slope * (number(1) - number(2) * s[i])
        third[i] = slope * (number(1) - number(6) * slope)


@kernel()
def _gelu_higher(A: NDArray, S: NDArray, D: NDArray) -> None:
    """Turn ``exp(-A^2 / 2)``, found in the place of s'', into s'' and s'''."""
    a, d = A.reshape(A.size), D.reshape(3, A.size)
    second, third = d[1], d[2]
    number = A.dtype.type
    for i in range(a.size):
        x = a[i]
        density = number(_INV_SQRT_2PI) * second[i]
        # Where the density underflows the polynomial may be infinite; the limit is 0.
        x = number(0) if density == number(0) else x
        second[i] = density * (number(2) - x * x)
        third[i] = density * x * (x * x - number(4))


_HIGHER_KERNELS = {
    TANH: _tanh_higher,
    SIN: _sin_higher,
    SOFTPLUS: _softplus_higher,
    GELU: _gelu_higher,
    SIGMOID: _sigmoid_higher,
}


def jet_derivatives_into(code: int, A: NDArray, S: NDArray, D: NDArray) -> None:
    """Write ``S = s(A)`` and ``D = (s'(A), s''(A), s'''(A))`` without any validation.

    Parameters
    ----------
    code : int
        One of ``JET_CODES.values()``.
    A : ndarray, shape (n, m), C-contiguous and writable, float64 or float32
        Argument.
    S : ndarray, shape (n, m)
        Value, overwritten; not `A`.
    D : ndarray, shape (3, n, m), C-contiguous
        Derivatives, overwritten.
    """
    activation_derivative_into(code, A, S, D[0])
    if code == GELU:
        # NumPy's exp is vectorised, a call inside the kernel's loop would not be.
        with np.errstate(over="ignore", under="ignore"):
            np.multiply(A, A, out=D[1])
            np.multiply(D[1], A.dtype.type(-0.5), out=D[1])
            np.exp(D[1], out=D[1])
    _HIGHER_KERNELS[code](A, S, D)


# --- chain rule ----------------------------------------------------------------------------------
# Several short loops per chunk: a loop with many arrays needs more overlap checks than LLVM is
# willing to make, and stays scalar; the chunk is in the innermost cache anyway.


@kernel()
def jet_forward_into(J: NDArray, D: NDArray, P: NDArray) -> None:
    """Write ``T_k = s' B_k`` and ``Q = s'' sum_k B_k^2 + s' C`` without any validation.

    Parameters
    ----------
    J : ndarray, shape (2 + r, n, m), C-contiguous
        Jet.
    D : ndarray, shape (3, n, m), C-contiguous
        Derivatives of the activation at ``J[0]``; the third is not read.
    P : ndarray, shape (2 + r, n, m), C-contiguous
        ``P[1:]`` is overwritten, ``P[0]`` left alone.  It may be `J` itself, but may not overlap
        it in any other way.
    """
    channels = J.shape[0]
    size = J.shape[1] * J.shape[2]
    j, p, d = J.reshape(channels, size), P.reshape(channels, size), D.reshape(3, size)
    in_place = J.ctypes.data == P.ctypes.data
    for start in range(0, size, _CHUNK):
        part = slice(start, min(start + _CHUNK, size))
        first, second, q = d[0][part], d[1][part], p[channels - 1][part]
        if in_place:
            # The overlap check of the other branch would fail and leave it scalar.
            for i in range(q.size):
                q[i] = first[i] * q[i]
            for k in range(1, channels - 1):
                t = p[k][part]
                for i in range(q.size):
                    q[i] += second[i] * t[i] * t[i]
                    t[i] = first[i] * t[i]
            continue
        c = j[channels - 1][part]
        for i in range(q.size):
            q[i] = 0
        for k in range(1, channels - 1):
            b, t = j[k][part], p[k][part]
            for i in range(q.size):
                t[i] = first[i] * b[i]
                q[i] += b[i] * b[i]
        for i in range(q.size):
            q[i] = second[i] * q[i] + first[i] * c[i]


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
    channels = J.shape[0]
    size = J.shape[1] * J.shape[2]
    j, g = J.reshape(channels, size), G.reshape(channels, size)
    o, d = out.reshape(channels, size), D.reshape(3, size)
    number = J.dtype.type
    for start in range(0, size, _CHUNK):
        part = slice(start, min(start + _CHUNK, size))
        first, second, third = d[0][part], d[1][part], d[2][part]
        gs, gq = g[0][part], g[channels - 1][part]
        ga, gc, c = o[0][part], o[channels - 1][part], j[channels - 1][part]
        # Until the end, ga holds sum_k B_k gT_k and gc holds sum_k B_k^2.
        if channels == 2:
            for i in range(ga.size):
                ga[i] = 0
                gc[i] = 0
        for k in range(1, channels - 1):
            b, gt, gb = j[k][part], g[k][part], o[k][part]
            if k == 1:
                for i in range(ga.size):
                    ga[i] = b[i] * gt[i]
                    gc[i] = b[i] * b[i]
            else:
                for i in range(ga.size):
                    ga[i] += b[i] * gt[i]
                    gc[i] += b[i] * b[i]
            for i in range(ga.size):
                gb[i] = first[i] * gt[i] + number(2) * second[i] * b[i] * gq[i]
        for i in range(ga.size):
            curved = second[i] * (ga[i] + c[i] * gq[i]) + third[i] * gc[i] * gq[i]
            ga[i] = curved + first[i] * gs[i]
        for i in range(ga.size):
            gc[i] = first[i] * gq[i]
