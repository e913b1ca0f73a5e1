"""Elementary functions of one number: branch-free polynomials, so that loops vectorise.

Each gives what its kernels need in one pass, most of them value and derivative.  See activation.py
for the errors, softmax.py for those of `exp` and `log1p`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _tables as tables
from ._scalar import scalar

__all__ = [
    "SIN_LIMIT32",
    "SIN_LIMIT64",
    "exp",
    "gelu",
    "loss_and_sum",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "tanh",
]

# Up to here k times the leading parts of pi / 2 is exact; larger arguments take the C library.
SIN_LIMIT64, SIN_LIMIT32 = 1e5, np.float32(3000.0)

# The first of a pair is for float64, the second for float32.
# Adding 1.5 * 2^52 (2^23) rounds to the nearest integer and leaves it in the low mantissa bits.
_MAGIC = 6755399441055744.0, 12582912.0
_BIAS, _SHIFT = (1023, 127), (52, 23)
# exp(-cap) is still a normal number.
_CAP = 708.0, 87.0
# exp(-cap^2 / 2) is still a normal number.
_GELU_CAP = 37.63, 13.19
# Clearing the low bits leaves a number whose square is exact.
_HIGH = -(1 << 27), -(1 << 12)
# Subtracting the bits of sqrt(1/2) moves the exponent boundary from 1 to there.
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD, 0x3F3504F3
_ONE_BITS = 0x3FF0000000000000, 0x3F800000
_LOG2_E, _TWO_OVER_PI, _INV_SQRT_2PI = 1.4426950408889634, 0.6366197723675814, 0.3989422804014327
_TAIL_CENTRE = 4.0


def _pick(of: Any, pair: tuple[Any, Any]) -> Any:
    return pair[0] if of.double else pair[1]


def _number(of: Any, pair: tuple[Any, Any]) -> Any:
    return of.number(_pick(of, pair))


def _integer(of: Any, pair: tuple[Any, Any]) -> Any:
    return of.integer(_pick(of, pair))


def _polynomial(of: Any, pair: tuple[Any, Any], x: Any) -> Any:
    *rest, highest = _pick(of, pair)
    p = of.number(highest)
    for coefficient in reversed(rest):
        p = p * x + of.number(coefficient)
    return p


def _exp_reduced(of: Any, y: Any, correction: Any = None) -> tuple[Any, Any]:
    """Return (2^k, p) with exp(y + correction) = 2^k (1 + p), |y| <= 709, tiny correction."""
    shifted = y * of.number(_LOG2_E) + _number(of, _MAGIC)
    k = shifted - _number(of, _MAGIC)
    upper, lower = _pick(of, (tables.LN2_PARTS64, tables.LN2_PARTS32))
    r = (y - k * of.number(upper)) - k * of.number(lower)
    r = r if correction is None else r + correction
    p = _polynomial(of, (tables.EXP64, tables.EXP32), r)
    p = p * (r * r) + r
    two_k = of.from_bits((of.bits(shifted) + _integer(of, _BIAS)) << _integer(of, _SHIFT))
    return two_k, p


def _exp_of_minus(of: Any, a: Any) -> Any:
    """Return exp(-a) for a >= 0, and 0 above the cap."""
    cap = _number(of, _CAP)
    two_k, p = _exp_reduced(of, of.where(a > cap, -cap, -a))
    return of.where(a > cap, of.number(0), two_k * p + two_k)


@scalar(1)
def exp(of: Any, t: Any) -> Any:
    """Return exp(t) for t <= 0, and 0 below -708 (-87 in float32)."""
    low = -_number(of, _CAP)
    two_k, p = _exp_reduced(of, of.where(t < low, low, t))
    return of.where(t < low, of.number(0), two_k * p + two_k)


@scalar(2)
def loss_and_sum(of: Any, m: Any, others: Any, own: Any) -> tuple[Any, Any]:
    """Return m + log(1 + a) and 1 + a for 1 + a = others + own; see softmax.py."""
    zero, one = of.number(0), of.number(1)
    a = of.where(of.equal(m, zero), others, others + (own - one))
    return m + _log1p(of, a), one + a


def _log1p(of: Any, a: Any) -> Any:
    """Return log(1 + a) for 0 <= a < 2^52 (2^23 in float32)."""
    one, magic, shift = of.number(1), _number(of, _MAGIC), _integer(of, _SHIFT)
    w = one + a
    k = (of.bits(w) - _integer(of, _SQRT_HALF_BITS)) >> shift
    scale = of.from_bits(_integer(of, _ONE_BITS) - (k << shift))
    # 1 + g = (1 + a) / 2^k, with what the sum 1 + a rounded away: exact for small a.
    g = (w * scale - one) + (a - (w - one)) * scale
    p = _polynomial(of, (tables.LOG64, tables.LOG32), g)
    # k as a number by the inverse of the rounding trick: vectorises where int -> float does not.
    e = of.from_bits(of.bits(magic) + k) - magic
    upper, lower = _pick(of, (tables.LN2_PARTS64, tables.LN2_PARTS32))
    return e * of.number(upper) + (g * p + e * of.number(lower))


@scalar(2)
def tanh(of: Any, x: Any) -> tuple[Any, Any]:
    """Return value and derivative."""
    one, two, cap = of.number(1), of.number(2), _number(of, _CAP)
    a = two * of.abs(x)
    two_k, p = _exp_reduced(of, of.where(a > cap, cap, a))
    # em = exp(y) - 1; then tanh = em / (em + 2) and 1 - tanh = 2 / (em + 2) has no cancellation.
    em = two_k * p + (two_k - one)
    q = one / (em + two)
    t = em * q
    d = two * q * (one + t)
    return of.copysign(t, x), of.where(a > cap, of.number(0), d)


@scalar(2)
def sigmoid(of: Any, x: Any) -> tuple[Any, Any]:
    """Return value and derivative."""
    one = of.number(1)
    z = _exp_of_minus(of, of.abs(x))
    r = one / (one + z)
    zr = z * r
    return of.where(x >= of.number(0), r, zr), zr * r


@scalar(2)
def softplus(of: Any, x: Any) -> tuple[Any, Any]:
    """Return value and derivative."""
    zero, one = of.number(0), of.number(1)
    z = _exp_of_minus(of, of.abs(x))
    s = _polynomial(of, (tables.LOG1P64, tables.LOG1P32), z)
    r = one / (one + z)
    return of.where(x <= zero, zero, x) + z * s, of.where(x >= zero, r, z * r)


@scalar(2)
def relu(of: Any, x: Any) -> tuple[Any, Any]:
    """Return value and derivative."""
    zero, one = of.number(0), of.number(1)
    # The comparisons are false for NaN, which therefore reaches both results.
    slope = of.where(x <= zero, zero, of.where(x > zero, one, x))
    return of.where(x <= zero, zero, x), slope


@scalar(2)
def sin(of: Any, x: Any) -> tuple[Any, Any]:
    """Return (sin x, cos x) for |x| <= SIN_LIMIT64 (SIN_LIMIT32)."""
    shifted = x * of.number(_TWO_OVER_PI) + _number(of, _MAGIC)
    k = shifted - _number(of, _MAGIC)
    quadrant = of.bits(shifted)
    r = x
    for part in _pick(of, (tables.HALF_PI_PARTS64, tables.HALF_PI_PARTS32)):
        r = r - k * of.number(part)
    w = r * r
    s = _polynomial(of, (tables.SIN64, tables.SIN32), w)
    s = s * (w * r) + r
    c = _polynomial(of, (tables.COS64, tables.COS32), w)
    c = c * (w * w) + (of.number(1) - of.number(0.5) * w)
    one, two = of.integer(1), of.integer(2)
    sign = _integer(of, (62, 30))
    odd = (quadrant & one) > of.integer(0)
    value = of.bits(of.where(odd, c, s)) ^ ((quadrant & two) << sign)
    slope = of.bits(of.where(odd, s, c)) ^ (((quadrant + one) & two) << sign)
    return of.from_bits(value), of.from_bits(slope)


@scalar(3)
def gelu(of: Any, x: Any) -> tuple[Any, Any, Any]:
    """Return value, derivative and exp(-x^2 / 2)."""
    zero, one, half = of.number(0), of.number(1), of.number(-0.5)
    cap, centre = _number(of, _GELU_CAP), of.number(_TAIL_CENTRE)
    a = of.abs(x)
    y = of.where(a > cap, cap, a)
    # exp(-y^2 / 2): the part of y^2 that does not fit into one number joins the reduced argument,
    # or the far tail would lose up to nine bits.
    high = of.from_bits(of.bits(y) & _integer(of, _HIGH))
    two_k, p = _exp_reduced(of, half * high * high, half * (y - high) * (y + high))
    e = of.where(a > cap, zero, two_k * p + two_k)
    # Phi(-y) = e * m, with m from a polynomial in t = (y - 4) / (y + 4).
    q = one / (y + centre)
    m = _polynomial(of, (tables.TAIL64, tables.TAIL32), (y - centre) * q) * q
    slope = e * (m - y * of.number(_INV_SQRT_2PI))
    value = of.where(x >= zero, x * (one - e * m), -(e * (y * m)))
    return value, of.where(x >= zero, one - slope, slope), e
