"""Functions of one number, written once: LLVM code in a compiled kernel, NumPy arithmetic without.

Numba takes a tenth of a second and more for each function that it compiles, and a polynomial is
many statements to it.  A scalar function here is run once for every place that calls it, on values
whose operators emit the instruction: nothing of it is typed, compiled or cached by itself.

It has the form ``f(of, x, ...)``, with all arguments of one dtype.  `of` makes constants and holds
what Python has no operator for; constants take the dtype of x, integers its width, and conditions
go into ``of.where``.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import FASTMATH, JIT_ENABLED

__all__ = ["scalar"]

# In a fixed order, so that the same code is the same text.
_FLAGS = tuple(sorted(FASTMATH))


class _Value:
    """A number of the code that is being emitted."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value
        self.is_float = isinstance(value.type, ir.FloatType | ir.DoubleType)

    def _new(self, value: Any) -> _Value:
        return _Value(self.builder, value)

    def _arithmetic(self, name: str, other: _Value) -> _Value:
        # Flags of its own: a kernel that sums with reassoc must not get into a compensated sum.
        flags = _FLAGS if self.is_float else ()
        emit = getattr(self.builder, "f" + name if self.is_float else name)
        return self._new(emit(self.value, other.value, flags=flags))

    def _bitwise(self, name: str, other: _Value) -> _Value:
        return self._new(getattr(self.builder, name)(self.value, other.value))

    def _compare(self, sign: str, other: _Value) -> _Value:
        if self.is_float:
            return self._new(
                self.builder.fcmp_ordered(sign, self.value, other.value, flags=_FLAGS)
            )
        return self._new(self.builder.icmp_signed(sign, self.value, other.value))

    def __neg__(self) -> _Value:
        return self._new(ir.Constant(self.value.type, -0.0))._arithmetic("sub", self)

    def __add__(self, other: _Value) -> _Value:
        return self._arithmetic("add", other)

    def __sub__(self, other: _Value) -> _Value:
        return self._arithmetic("sub", other)

    def __mul__(self, other: _Value) -> _Value:
        return self._arithmetic("mul", other)

    def __truediv__(self, other: _Value) -> _Value:
        return self._arithmetic("div", other)

    def __and__(self, other: _Value) -> _Value:
        return self._bitwise("and_", other)

    def __xor__(self, other: _Value) -> _Value:
        return self._bitwise("xor", other)

    def __lshift__(self, other: _Value) -> _Value:
        return self._bitwise("shl", other)

    def __rshift__(self, other: _Value) -> _Value:
        return self._bitwise("ashr", other)

    def __lt__(self, other: _Value) -> _Value:
        return self._compare("<", other)

    def __le__(self, other: _Value) -> _Value:
        return self._compare("<=", other)

    def __gt__(self, other: _Value) -> _Value:
        return self._compare(">", other)

    def __ge__(self, other: _Value) -> _Value:
        return self._compare(">=", other)


class _Code:
    """What a scalar function gets for `of` while it is emitted."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.double = dtype == types.float64
        self._float, self._int = context.get_value_type(dtype), ir.IntType(dtype.bitwidth)

    def number(self, x: float) -> _Value:
        return _Value(self.builder, ir.Constant(self._float, float(x)))

    def integer(self, x: int) -> _Value:
        return _Value(self.builder, ir.Constant(self._int, int(x)))

    def bits(self, x: _Value) -> _Value:
        return _Value(self.builder, self.builder.bitcast(x.value, self._int))

    def from_bits(self, x: _Value) -> _Value:
        return _Value(self.builder, self.builder.bitcast(x.value, self._float))

    def where(self, condition: _Value, a: _Value, b: _Value) -> _Value:
        return _Value(self.builder, self.builder.select(condition.value, a.value, b.value))

    def equal(self, a: _Value, b: _Value) -> _Value:
        return a._compare("==", b)

    def abs(self, x: _Value) -> _Value:
        return self._call("fabs", x)

    def copysign(self, x: _Value, sign: _Value) -> _Value:
        return self._call("copysign", x, sign)

    def _call(self, name: str, *values: _Value) -> _Value:
        arguments = [x.value for x in values]
        kind = ir.FunctionType(self._float, [self._float] * len(arguments))
        name = f"llvm.{name}.{self._float.intrinsic_name}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return _Value(self.builder, self.builder.call(function, arguments))


class _Plain:
    """What a scalar function gets for `of` without the JIT: NumPy scalars."""

    abs, copysign = staticmethod(operator.abs), staticmethod(np.copysign)
    equal = staticmethod(operator.eq)
    where = staticmethod(lambda condition, a, b: a if condition else b)

    def __init__(self, number: Any, integer: Any) -> None:
        self.double = number is np.float64
        self.number, self.integer = number, integer
        self.bits, self.from_bits = lambda x: x.view(integer), lambda x: x.view(number)


def scalar(results: int) -> Callable[[Callable[..., Any]], Any]:
    """Turn ``f(of, x, ...)`` with that many results into a function of x, ... for kernels."""

    def decorate(function: Callable[..., Any]) -> Any:
        return (_compiled if JIT_ENABLED else _plain)(function, results)

    return decorate


def _compiled(function: Callable[..., Any], results: int) -> Any:
    def emitted(typing_context, *arguments):
        kind = arguments[0]
        if kind not in (types.float64, types.float32) or any(x != kind for x in arguments):
            return None
        result = kind if results == 1 else types.UniTuple(kind, results)

        def generate(context, builder, signature, values):
            of = _Code(context, builder, kind)
            found = function(of, *(_Value(builder, value) for value in values))
            if results == 1:
                return found.value
            return context.make_tuple(builder, result, [value.value for value in found])

        return result(*arguments), generate

    # Numba counts the arguments by the signature; `of` stands where its typing context does.
    emitted.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return intrinsic(emitted)


def _plain(function: Callable[..., Any], results: int) -> Any:
    double, single = _Plain(np.float64, np.int64), _Plain(np.float32, np.int32)

    def plain(x, *others):
        return function(double if x.dtype == np.float64 else single, x, *others)

    return plain
