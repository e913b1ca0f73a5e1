"""Activation functions and their derivatives as vectorised elementwise kernels.

Every function is one branch-free polynomial core per dtype, so that LLVM vectorises the loop
around it; float32 is computed in float32.  NaN propagates, infinities give the limits (``sin`` of
an infinity is NaN), and the sign of a zero is not specified.

Errors in units in the last place (ulp), as "bound that the tests check / largest seen".  Seen in
float32 on every number of the range from 1e-5 on, in float64 on 3.6 million points, there also
without fused multiply-add:

==========  =========  ===========  ==================  ==================
activation  value      derivative   range in float64    range in float32
==========  =========  ===========  ==================  ==================
identity    0 / 0      0 / 0        all                 all
tanh        4 / 3.0    5 / 3.9 [1]  all                 all
sigmoid     4 / 2.9    6 / 5.0      -700 to 700         -86 to 86
relu        0 / 0      0 / 0        all                 all
softplus    4 / 2.5    4 / 2.9      from -700           from -86
sin         4 / 2.4    4 / 2.4      -1e5 to 1e5 [2]     -3000 to 3000 [2]
gelu        8 / 6.1    8 / 6.1 [3]  from -37.5          from -13.1
==========  =========  ===========  ==================  ==================

[1] From -353 to 353 in float64, -43 to 43 in float32.
[2] Larger arguments take the sine of the C library, element by element: slow but right.
[3] In ulp of the larger term of Phi(x) + x phi(x): the two cancel near x = -0.75.

Where a range ends, the exact result (or its distance from a constant) is below 1e-304 in float64
and 2e-37 in float32; it falls to 0 from there on, before it would become subnormal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import ArrayLike, NDArray

from . import _elementary
from ._elementary import SIN_LIMIT32, SIN_LIMIT64
from ._jit import JIT_ENABLED, kernel

__all__ = [
    "ACTIVATION_CODES",
    "GELU",
    "IDENTITY",
    "LIPSCHITZ",
    "RELU",
    "SIGMOID",
    "SIN",
    "SOFTPLUS",
    "TANH",
    "activation",
    "activation_and_derivative",
    "activation_derivative_into",
    "activation_into",
]

IDENTITY, TANH, SIGMOID, RELU, SOFTPLUS, SIN, GELU = range(7)

ACTIVATION_CODES: dict[str, int] = {
    "identity": IDENTITY,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": RELU,
    "softplus": SOFTPLUS,
    "sin": SIN,
    "gelu": GELU,
}
"""Name of an activation -> integer code that the raw kernels take."""

ULP_BOUNDS: dict[str, tuple[float, float]] = {
    "identity": (0.0, 0.0),
    "tanh": (4.0, 5.0),
    "sigmoid": (4.0, 6.0),
    "relu": (0.0, 0.0),
    "softplus": (4.0, 4.0),
    "sin": (4.0, 4.0),
    "gelu": (8.0, 8.0),
}
"""Name of an activation -> bounds on the error of value and derivative; see the module."""

LIPSCHITZ: dict[str, float] = {
    "identity": 1.0,
    "tanh": 1.0,
    "sigmoid": 0.25,
    "relu": 1.0,
    "softplus": 1.0,
    "sin": 1.0,
    # Largest at x = sqrt(2): Phi(sqrt 2) + sqrt(2) phi(sqrt 2) = 1.12890414518...
    "gelu": 1.1289041452,
}
"""Name of an activation -> smallest constant (rounded up) that bounds its derivative."""


def _sin_limit(x: Any) -> float:
    """Return the largest |x| of the fast reduction for the dtype of an array."""
    return SIN_LIMIT64 if x.dtype == np.float64 else SIN_LIMIT32


if JIT_ENABLED:

    @overload(_sin_limit)
    def _choose_sin_limit(x):
        if x.dtype == types.float64:
            return lambda x: SIN_LIMIT64
        return lambda x: SIN_LIMIT32


# --- loops ---------------------------------------------------------------------------------------
# One kernel per function, so that a program compiles only what it uses.  The vectorised loop is
# guarded by a run-time overlap check; working in place would fail it and fall to scalar code, so
# that case has a loop over one array.


@kernel()
def _identity_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    for i in range(x.size):
        s[i] = x[i]


@kernel()
def _identity_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i] = x[i]
        d[i] = 1


@kernel()
def _tanh_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _elementary.tanh(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _elementary.tanh(x[i])[0]


@kernel()
def _tanh_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _elementary.tanh(x[i])


@kernel()
def _sigmoid_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _elementary.sigmoid(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _elementary.sigmoid(x[i])[0]


@kernel()
def _sigmoid_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _elementary.sigmoid(x[i])


@kernel()
def _relu_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _elementary.relu(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _elementary.relu(x[i])[0]


@kernel()
def _relu_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _elementary.relu(x[i])


@kernel()
def _softplus_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _elementary.softplus(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _elementary.softplus(x[i])[0]


@kernel()
def _softplus_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _elementary.softplus(x[i])


@kernel()
def _gelu_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _elementary.gelu(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _elementary.gelu(x[i])[0]


@kernel()
def _gelu_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i], _ = _elementary.gelu(x[i])


_SIN_BLOCK = 1024


@kernel()
def _sin_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    limit = _sin_limit(x)
    for start in range(0, x.size, _SIN_BLOCK):
        # Views that start at 0: Numba tests other indices for negative values in every step.
        u, v = x[start : start + _SIN_BLOCK], s[start : start + _SIN_BLOCK]
        # Counted before anything is written, since s may be x.
        large = 0
        for i in range(u.size):
            large += 1 if abs(u[i]) > limit else 0
        if large > 0:
            for i in range(u.size):
                v[i] = np.sin(u[i]) if abs(u[i]) > limit else _elementary.sin(u[i])[0]
        elif X.ctypes.data == S.ctypes.data:
            for i in range(v.size):
                v[i] = _elementary.sin(v[i])[0]
        else:
            for i in range(u.size):
                v[i] = _elementary.sin(u[i])[0]


@kernel()
def _sin_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    limit = _sin_limit(x)
    for start in range(0, x.size, _SIN_BLOCK):
        block = slice(start, start + _SIN_BLOCK)
        u, v, w = x[block], s[block], d[block]
        large = 0
        for i in range(u.size):
            large += 1 if abs(u[i]) > limit else 0
        if large > 0:
            for i in range(u.size):
                t = u[i]
                if abs(t) > limit:
                    v[i], w[i] = np.sin(t), np.cos(t)
                else:
                    v[i], w[i] = _elementary.sin(t)
        else:
            for i in range(u.size):
                v[i], w[i] = _elementary.sin(u[i])


_VALUE_KERNELS = (
    _identity_value,
    _tanh_value,
    _sigmoid_value,
    _relu_value,
    _softplus_value,
    _sin_value,
    _gelu_value,
)
_BOTH_KERNELS = (
    _identity_both,
    _tanh_both,
    _sigmoid_both,
    _relu_both,
    _softplus_both,
    _sin_both,
    _gelu_both,
)


def activation_into(code: int, X: NDArray, S: NDArray) -> None:
    """Write S = s(X) for the activation with the given code, without any validation.

    Parameters
    ----------
    code : int
        One of ``IDENTITY``, ``TANH``, ..., ``GELU``; see ``ACTIVATION_CODES``.
    X : ndarray, C-contiguous and writable, float64 or float32
        Argument.
    S : ndarray, C-contiguous and writable, shape and dtype of X
        Result, overwritten.  It may be X itself, but may not overlap X in any other way.

    Notes
    -----
    Runs without the GIL; the kernel of an activation is compiled at its first use.  It is a
    Python function, to be called once per block of samples, never inside compiled code.
    """
    _VALUE_KERNELS[code](X, S)


def activation_derivative_into(code: int, X: NDArray, S: NDArray, D: NDArray) -> None:
    """Write S = s(X) and D = s'(X) in one pass, without any validation.

    Parameters
    ----------
    code : int
        One of ``IDENTITY``, ``TANH``, ..., ``GELU``; see ``ACTIVATION_CODES``.
    X : ndarray, C-contiguous and writable, float64 or float32
        Argument.
    S, D : ndarray, C-contiguous and writable, shape and dtype of X
        Value and derivative, overwritten.  One of them may be X itself (correct, but the loop is
        then not vectorised); no other overlap is allowed.

    Notes
    -----
    Runs without the GIL; the kernel of an activation is compiled at its first use.  It is a
    Python function, to be called once per block of samples, never inside compiled code.
    """
    _BOTH_KERNELS[code](X, S, D)


def activation(name: str, X: ArrayLike, out: NDArray | None = None) -> NDArray:
    """Evaluate an activation function entrywise, s(X).

    Parameters
    ----------
    name : str
        A key of ``ACTIVATION_CODES``.
    X : array_like, any shape and memory layout
        Argument; never changed, unless it is also ``out``.  float32 and float64 keep their dtype,
        integers and booleans become float64.
    out : ndarray, optional
        Array of the shape of X and the dtype of the result to write into; may be X itself.

    Returns
    -------
    ndarray, shape of X
        ``out`` when given, else a new C-contiguous array.

    Raises
    ------
    ValueError
        If the name is unknown or ``out`` has the wrong shape or is read-only.
    TypeError
        If X is not real numeric, or ``out`` is not an array of the right dtype.
    """
    code = _code(name)
    x = _real_array(X)
    result = _output("out", out, x)
    work = _workspace(result)
    if not _is_direct(x) or (np.may_share_memory(x, work) and not _same_memory(x, work)):
        np.copyto(work, x)
        x = work
    activation_into(code, x.reshape(1, -1), work.reshape(1, -1))
    return _deliver(work, result)


def activation_and_derivative(
    name: str,
    X: ArrayLike,
    out: NDArray | None = None,
    derivative: NDArray | None = None,
) -> tuple[NDArray, NDArray]:
    """Evaluate an activation function and its derivative entrywise in one pass.

    Parameters
    ----------
    name : str
        A key of ``ACTIVATION_CODES``.
    X : array_like, any shape and memory layout
        Argument; never changed, unless it is also an output.  float32 and float64 keep their
        dtype, integers and booleans become float64.
    out, derivative : ndarray, optional
        Arrays of the shape of X and the dtype of the result for s(X) and s'(X); they may not
        share memory with each other.

    Returns
    -------
    value, derivative : ndarray, shape of X
        s(X) and s'(X).  The derivative of relu at 0 is 0.

    Raises
    ------
    ValueError
        If the name is unknown, or an output has the wrong shape, is read-only, or shares memory
        with the other.
    TypeError
        If X is not real numeric, or an output is not an array of the right dtype.
    """
    code = _code(name)
    x = _real_array(X)
    value, slope = _output("out", out, x), _output("derivative", derivative, x)
    if np.may_share_memory(value, slope):
        raise ValueError("out and derivative share memory: pass two separate arrays")
    if not _is_direct(x) or np.may_share_memory(x, value) or np.may_share_memory(x, slope):
        x = np.array(x, order="C")
    s, d = _workspace(value), _workspace(slope)
    activation_derivative_into(code, x.reshape(1, -1), s.reshape(1, -1), d.reshape(1, -1))
    return _deliver(s, value), _deliver(d, slope)


def _code(name: str) -> int:
    """Return the code of an activation."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {name!r}; use one of {_known_names()}")
    if name not in ACTIVATION_CODES:
        raise ValueError(f"unknown activation name={name!r}; use one of {_known_names()}")
    return ACTIVATION_CODES[name]


def _known_names() -> str:
    return ", ".join(repr(known) for known in ACTIVATION_CODES)


def _real_array(X: ArrayLike) -> NDArray:
    """Return X as a float64 or float32 array, without a copy when it is one."""
    x = np.asarray(X)
    if x.dtype in (np.float64, np.float32):
        return x
    if x.dtype.kind not in "biuf":
        raise TypeError(f"X must be real numbers, got dtype {x.dtype}; convert it to float64")
    return x.astype(np.float32 if x.dtype == np.dtype(np.float32).newbyteorder() else np.float64)


def _output(name: str, out: NDArray | None, x: NDArray) -> NDArray:
    """Return the array for a result like x: the checked out, or a new one."""
    if out is None:
        return np.empty(x.shape, x.dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array or None, got {type(out).__name__}")
    if out.dtype != x.dtype:
        raise TypeError(
            f"{name} has dtype {out.dtype}, but the result is {x.dtype}; "
            f"allocate it with np.empty(X.shape, np.{x.dtype})"
        )
    if out.shape != x.shape:
        raise ValueError(
            f"{name} has shape {out.shape}, but X has shape {x.shape}; give both the same shape"
        )
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; pass a writable array")
    return out


def _is_direct(array: NDArray) -> bool:
    """Tell whether a kernel can take the array as it is."""
    flags = array.flags
    return flags.c_contiguous and flags.writeable and flags.aligned


def _same_memory(a: NDArray, b: NDArray) -> bool:
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0]


def _workspace(result: NDArray) -> NDArray:
    """Return result itself, or a contiguous array of its shape when kernels cannot write it."""
    return np.asarray(result) if _is_direct(result) else np.empty(result.shape, result.dtype)


def _deliver(work: NDArray, result: NDArray) -> NDArray:
    """Copy work to result unless it is the same memory."""
    if not _is_direct(result):
        result[...] = work
    return result
