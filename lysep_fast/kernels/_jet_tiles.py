"""The chain rule of jets and its adjoint, written as LLVM vector code.

A loop over entries with a loop over channels inside keeps the sums over channels in registers and
touches every number of a jet once; LLVM vectorises innermost loops only, and not those over so
many arrays that could overlap.  The functions made here take flat arrays and check nothing.  A
jet of r directions is r + 2 rows of `stride` elements; all that an entry needs is read before it
is written, channel by channel, so the result may be the jet itself.  With ``NUMBA_DISABLE_JIT=1``
they are NumPy expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import JIT_ENABLED
from ._tiles import VECTORS, Vectors
from .activation import GELU, SIGMOID, SIN, SOFTPLUS, TANH

__all__ = ["adjoint_chain", "forward_chain"]

# Twice what the sums and factors of the adjoint leave in registers: the runs of memory in every
# row are longer, which outweighs the spills from about five directions on.
_VECTORS = 2 * VECTORS
_INV_SQRT_2PI = 0.3989422804014327


class _Entries:
    """Emit code for the entries of one tile: a list holds one value per vector."""

    def __init__(self, builder: Any, context: Any, array_type: Any, wide: bool) -> None:
        self.vectors = Vectors(builder, context, array_type, None if wide else 1)
        self.builder = builder
        self.range = range(_VECTORS if wide else 1)
        self.length = len(self.range) * self.vectors.lanes

    def row(self, address: Any, index: Any, stride: Any) -> Any:
        """Return the address of the tile in another row."""
        number = ir.Constant(stride.type, index) if isinstance(index, int) else index
        return self.builder.gep(address, [self.builder.mul(number, stride)])

    def load(self, address: Any) -> list[Any]:
        return [self.vectors.load(address, v) for v in self.range]

    def store(self, values: list[Any], address: Any) -> None:
        for v in self.range:
            self.vectors.store(values[v], address, v)

    def splat(self, number: float) -> list[Any]:
        """Return the number in every entry."""
        vector = ir.Constant(self.vectors.type, [number] * self.vectors.lanes)
        return [vector for _ in self.range]

    def mul(self, a: list[Any], b: list[Any]) -> list[Any]:
        flags = ("contract",)
        return [self.builder.fmul(x, y, flags=flags) for x, y in zip(a, b, strict=True)]

    def add(self, a: list[Any], b: list[Any]) -> list[Any]:
        flags = ("contract",)
        return [self.builder.fadd(x, y, flags=flags) for x, y in zip(a, b, strict=True)]

    def where(self, condition: list[Any], values: list[Any]) -> list[Any]:
        """Return the values where the condition is not 0, else 0."""
        zero = ir.Constant(self.vectors.type, None)
        met = [self.builder.fcmp_unordered("!=", x, zero) for x in condition]
        return [self.builder.select(x, y, zero) for x, y in zip(met, values, strict=True)]

    def sums(self) -> list[Any]:
        return self.vectors.zeros(1, len(self.range))[0]

    def add_products(self, a: list[Any], b: list[Any], sums: list[Any]) -> None:
        for v in self.range:
            self.vectors.add_product(a[v], b[v], sums[v])

    def read(self, sums: list[Any]) -> list[Any]:
        return [self.builder.load(slot) for slot in sums]

    def channels(self, r: Any) -> Any:
        """Loop over the rows 1..r."""
        one = ir.Constant(r.type, 1)
        return cgutils.for_range_slice(
            self.builder, one, self.builder.add(r, one), one, intp=r.type
        )


class _Plain:
    """The arithmetic of `_Entries` on NumPy arrays."""

    splat = staticmethod(lambda number: number)
    mul = staticmethod(lambda a, b: a * b)
    add = staticmethod(lambda a, b: a + b)
    where = staticmethod(lambda condition, a: np.where(condition != 0, a, np.zeros_like(a)))


# --- second and third derivative from a, s, s' and, for gelu, exp(-a^2 / 2) ----------------------


def _tanh(of: Any, a: Any, s: Any, first: Any, extra: Any) -> tuple[Any, Any]:
    second = of.mul(of.mul(of.splat(-2.0), s), first)
    return second, of.mul(first, of.add(of.mul(of.mul(of.splat(6.0), s), s), of.splat(-2.0)))


def _sin(of: Any, a: Any, s: Any, first: Any, extra: Any) -> tuple[Any, Any]:
    return of.mul(of.splat(-1.0), s), of.mul(of.splat(-1.0), first)


def _softplus(of: Any, a: Any, s: Any, first: Any, extra: Any) -> tuple[Any, Any]:
    second = of.mul(first, of.add(of.splat(1.0), of.mul(of.splat(-1.0), first)))
    return second, of.mul(second, of.add(of.splat(1.0), of.mul(of.splat(-2.0), first)))


def _sigmoid(of: Any, a: Any, s: Any, first: Any, extra: Any) -> tuple[Any, Any]:
    second = of.mul(first, of.add(of.splat(1.0), of.mul(of.splat(-2.0), s)))
    return second, of.mul(first, of.add(of.splat(1.0), of.mul(of.splat(-6.0), first)))


def _gelu(of: Any, a: Any, s: Any, first: Any, extra: Any) -> tuple[Any, Any]:
    density = of.mul(of.splat(_INV_SQRT_2PI), extra)
    # Where the density underflows the polynomial may be infinite; the limit is 0.
    a = of.where(density, a)
    squared = of.mul(a, a)
    second = of.mul(density, of.add(of.splat(2.0), of.mul(of.splat(-1.0), squared)))
    return second, of.mul(of.mul(density, a), of.add(squared, of.splat(-4.0)))


_HIGHER = {TANH: _tanh, SIN: _sin, SOFTPLUS: _softplus, GELU: _gelu, SIGMOID: _sigmoid}


# --- compiled ------------------------------------------------------------------------------------


def _tiles(builder: Any, context: Any, array_type: Any, count: Any, tile: Any) -> None:
    """Emit wide tiles over `count` entries and single entries over what is left."""
    wide, narrow = (_Entries(builder, context, array_type, w) for w in (True, False))
    width = ir.Constant(count.type, wide.length)
    rounded = builder.mul(builder.sdiv(count, width), width)
    zero, one = ir.Constant(count.type, 0), ir.Constant(count.type, 1)
    for of, begin, end, step in ((wide, zero, rounded, width), (narrow, rounded, count, one)):
        loop = cgutils.for_range_slice(builder, begin, end, step, intp=count.type)
        with loop as (i, _):
            tile(of, i)


def _compiled_forward(code: int) -> Callable[..., None]:
    @intrinsic
    def chain(typing_context, j, p, start, count, stride, r, s, d, d_start, d_stride):
        size = types.intp
        signature = types.void(j, p, size, size, size, size, s, d, size, size)

        def generate(context, builder, signature, args):
            j, p, start, count, stride, r, s, d, d_start, d_stride = args
            array_types = signature.args

            def tile(of, i):
                here = builder.add(start, i)
                jet = of.vectors.data(array_types[0], j, here)
                target = of.vectors.data(array_types[1], p, here)
                slopes = of.vectors.data(array_types[7], d, builder.add(d_start, i))
                slopes = [of.row(slopes, k, d_stride) for k in range(3)]
                value = of.load(of.vectors.data(array_types[6], s, i))
                first, extra = of.load(slopes[0]), of.load(slopes[1])
                second, third = _HIGHER[code](of, of.load(jet), value, first, extra)
                of.store(second, slopes[1])
                of.store(third, slopes[2])
                of.store(value, target)
                squares = of.sums()
                with of.channels(r) as (k, _):
                    b = of.load(of.row(jet, k, stride))
                    of.add_products(b, b, squares)
                    of.store(of.mul(first, b), of.row(target, k, stride))
                last = builder.add(r, ir.Constant(r.type, 1))
                flat = of.mul(first, of.load(of.row(jet, last, stride)))
                curved = of.add(of.mul(second, of.read(squares)), flat)
                of.store(curved, of.row(target, last, stride))

            _tiles(builder, context, array_types[0], count, tile)
            return context.get_dummy_value()

        return signature, generate

    return chain


def _compiled_adjoint() -> Callable[..., None]:
    @intrinsic
    def chain(typing_context, j, g, out, stride, r, d):
        size = types.intp
        signature = types.void(j, g, out, size, size, d)

        def generate(context, builder, signature, args):
            j, g, out, stride, r, d = args
            array_types = signature.args

            def tile(of, i):
                jet = of.vectors.data(array_types[0], j, i)
                cotangent = of.vectors.data(array_types[1], g, i)
                target = of.vectors.data(array_types[2], out, i)
                slopes = of.vectors.data(array_types[5], d, i)
                last = builder.add(r, ir.Constant(r.type, 1))
                first, second = of.load(slopes), of.load(of.row(slopes, 1, stride))
                gq = of.load(of.row(cotangent, last, stride))
                bend = of.mul(of.add(second, second), gq)
                products, squares = of.sums(), of.sums()
                with of.channels(r) as (k, _):
                    b, gt = of.load(of.row(jet, k, stride)), of.load(of.row(cotangent, k, stride))
                    of.add_products(b, gt, products)
                    of.add_products(b, b, squares)
                    gb = of.add(of.mul(bend, b), of.mul(first, gt))
                    of.store(gb, of.row(target, k, stride))
                c = of.load(of.row(jet, last, stride))
                third = of.load(of.row(slopes, 2, stride))
                curved = of.mul(second, of.add(of.mul(c, gq), of.read(products)))
                curved = of.add(of.mul(of.mul(third, of.read(squares)), gq), curved)
                of.store(of.add(of.mul(first, of.load(cotangent)), curved), target)
                of.store(of.mul(first, gq), of.row(target, last, stride))

            _tiles(builder, context, array_types[0], stride, tile)
            return context.get_dummy_value()

        return signature, generate

    return chain


# --- plain ---------------------------------------------------------------------------------------


def _plain_forward(code: int) -> Callable[..., None]:
    def chain(j, p, start, count, stride, r, s, d, d_start, d_stride):
        jet, target = (x.reshape(r + 2, stride)[:, start : start + count] for x in (j, p))
        slopes = d.reshape(3, d_stride)[:, d_start : d_start + count]
        slopes[1:] = _HIGHER[code](_Plain, jet[0], s[:count], slopes[0], slopes[1])
        squares = (jet[1:-1] * jet[1:-1]).sum(0)
        target[-1] = slopes[1] * squares + slopes[0] * jet[-1]
        target[1:-1] = slopes[0] * jet[1:-1]
        target[0] = s[:count]

    return chain


def _plain_adjoint() -> Callable[..., None]:
    def chain(j, g, out, stride, r, d):
        jet, cotangent, target = (x.reshape(r + 2, stride) for x in (j, g, out))
        first, second, third = d.reshape(3, stride)
        b, gt, gq = jet[1:-1], cotangent[1:-1], cotangent[-1]
        target[0] = first * cotangent[0] + second * ((b * gt).sum(0) + jet[-1] * gq)
        target[0] += third * (b * b).sum(0) * gq
        target[1:-1] = first * gt + 2 * second * gq * b
        target[-1] = first * gq

    return chain


def forward_chain(code: int) -> Callable[..., None]:
    """Return the chain rule of an activation, with its second and third derivative.

    ``chain(j, p, start, count, stride, r, s, d, d_start, d_stride)`` writes `count` entries of all
    rows of the jet p, from those of the jet j (both begin at `start`) and from the values s and
    the first derivatives, which are row 0 of d (it begins at `d_start`).  It overwrites rows 1 and
    2 of d; for gelu row 1 holds ``exp(-a^2 / 2)`` before.
    """
    return (_compiled_forward if JIT_ENABLED else _plain_forward)(code)


def adjoint_chain() -> Callable[..., None]:
    """Return the adjoint of the chain rule.

    ``chain(j, g, out, stride, r, d)`` writes all rows of `out`, from the jet j, the cotangents g
    and the three derivatives d of the activation.
    """
    return (_compiled_adjoint if JIT_ENABLED else _plain_adjoint)()
