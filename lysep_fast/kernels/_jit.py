"""The one decorator and the bit casts that every compiled kernel of the package uses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.options import DefaultOptions
from numba.extending import intrinsic

from ._cache import attach_cache

__all__ = [
    "FASTMATH",
    "JIT_ENABLED",
    "bits_float32",
    "bits_float64",
    "float32_bits",
    "float64_bits",
    "kernel",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

JIT_ENABLED = not config.DISABLE_JIT
"""False when the environment sets ``NUMBA_DISABLE_JIT=1``: kernels are then plain Python."""

# Never nnan or ninf, which would let the compiler drop NaN and inf.  No reassoc either: it would
# undo the compensated reductions of the elementary functions.  A kernel that sums asks for it.
FASTMATH = frozenset({"contract", "nsz", "arcp"})


def kernel(**options: Any) -> Callable[[_Function], _Function]:
    """Compile a function with Numba under the settings shared by all kernels.

    The settings are ``nogil=True``, ``error_model="numpy"`` (a division that can raise keeps LLVM
    from vectorising the loop around it) and the fast-math flags ``contract``, ``nsz`` and
    ``arcp``, which keep NaN and inf.  Compiled code is kept on disk; see _cache.py.  With
    ``NUMBA_DISABLE_JIT=1`` the result is a plain Python function in which floating-point warnings
    are silenced, as compiled code has none.

    To compile less, kernels have no entry point for C and do not count references: one that
    allocates arrays has to say so.

    Parameters
    ----------
    **options
        Passed on to ``numba.njit``; they override the settings above.  ``reassoc=True`` adds the
        ``reassoc`` flag, so that a floating-point sum may be vectorised; ``cache=False`` keeps
        compiled code off the disk; ``allocates=True`` permits new arrays.

    Returns
    -------
    callable
        Decorator.
    """
    flags = set(options.pop("fastmath", FASTMATH))
    if options.pop("reassoc", False):
        flags.add("reassoc")
    if flags & {"nnan", "ninf", "fast"}:
        raise ValueError(
            f"fastmath={sorted(flags)} would drop NaN or inf: leave out nnan, ninf and fast"
        )
    cached = options.pop("cache", True)
    lighter = {"no_cfunc_wrapper": True, "_nrt": options.pop("allocates", False)}
    lighter = {name: lighter[name] for name in lighter if hasattr(DefaultOptions, name)}
    settings = {"nogil": True, "error_model": "numpy", "fastmath": flags, **lighter, **options}

    def decorate(function: _Function) -> _Function:
        if not JIT_ENABLED:
            return _without_warnings(function)
        compiled = numba.njit(**settings)(function)
        if cached:
            attach_cache(compiled)
        return compiled

    return decorate


def _without_warnings(function: _Function) -> _Function:
    """Return function wrapped so that NumPy scalars raise no floating-point warnings."""

    @functools.wraps(function)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return quiet


if JIT_ENABLED:

    def _bitcast(source: Any, target: Any, llvm_type: ir.Type) -> Callable[..., Any]:
        def cast(typing_context, value):
            def generate(context, builder, signature, args):
                return builder.bitcast(args[0], llvm_type)

            return (target(source), generate) if value == source else None

        return intrinsic(cast)

    float64_bits = _bitcast(types.float64, types.int64, ir.IntType(64))
    bits_float64 = _bitcast(types.int64, types.float64, ir.DoubleType())
    float32_bits = _bitcast(types.float32, types.int32, ir.IntType(32))
    bits_float32 = _bitcast(types.int32, types.float32, ir.FloatType())

else:

    def float64_bits(value: np.float64) -> np.int64:
        """Return the bits of a float64 as an int64."""
        return np.float64(value).view(np.int64)

    def bits_float64(value: np.int64) -> np.float64:
        """Return the float64 with the bits of an int64."""
        return np.int64(value).view(np.float64)

    def float32_bits(value: np.float32) -> np.int32:
        """Return the bits of a float32 as an int32."""
        return np.float32(value).view(np.int32)

    def bits_float32(value: np.int32) -> np.float32:
        """Return the float32 with the bits of an int32."""
        return np.int32(value).view(np.float32)
