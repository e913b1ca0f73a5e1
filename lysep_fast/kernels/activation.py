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
_LOG1P64 = (
    1.0,
    -0.4999999999999908,
    0.33333333333197523,
    -0.24999999992009514,
    0.19999999749856245,
    -0.1666666184824366,
    0.1428565197521892,
    -0.12499427063045579,
    0.11107211582481989,
    -0.09979768083879731,
    0.09009095771410466,
    -0.08070954461771965,
    0.07015295994740274,
    -0.057189781439054226,
    0.041925704968664955,
    -0.026398774790505206,
    0.013598774704408597,
    -0.0054217322132286425,
    0.0015535237630673524,
    -0.00028274197246592943,
    2.4437959499510565e-05,
)
_LOG1P32 = (
    np.float32(1.0),
    np.float32(-0.49999893),
    np.float32(0.3332971),
    np.float32(-0.24951616),
    np.float32(0.19663274),
    np.float32(-0.15269667),
    np.float32(0.10543623),
    np.float32(-0.056373607),
    np.float32(0.019542523),
    np.float32(-0.003176056),
)
_SIN64 = (
    -0.16666666666666666,
    0.008333333333330945,
    -0.00019841269836751364,
    2.7557316098812687e-06,
    -2.505113106573605e-08,
    1.5918073162923074e-10,
)
_SIN32 = (
    np.float32(-0.16666664),
    np.float32(0.008332748),
    np.float32(-0.0001958779),
)
_COS64 = (
    0.041666666666666664,
    -0.0013888888888887393,
    2.4801587298761176e-05,
    -2.755731726939027e-07,
    2.0876145780903544e-09,
    -1.1382597309861877e-11,
)
_COS32 = (
    np.float32(0.041666664),
    np.float32(-0.0013888302),
    np.float32(2.454784e-05),
)
_TAIL64 = (
    0.7552851304157515,
    -0.6078966419718917,
    0.38713740074221825,
    -0.18652185795969484,
    0.060396574890731844,
    -0.007540188965560099,
    -0.003479692362873318,
    0.001630818441212178,
    0.00013334426020351686,
    -0.00023109481111711493,
    -1.9079008757924953e-06,
    3.514413715663019e-05,
    7.151188942665675e-07,
    -5.918729578150156e-06,
    -6.253522599268145e-07,
    1.0194320693695775e-06,
    2.639102139158228e-07,
    -1.5375081842043707e-07,
    -7.64520325130159e-08,
    1.4190342715873654e-08,
    1.3855244351357435e-08,
    1.9724457151374222e-10,
    -9.158509835089211e-10,
)
_TAIL32 = (
    np.float32(0.75528514),
    np.float32(-0.6078966),
    np.float32(0.3871367),
    np.float32(-0.18652213),
    np.float32(0.060406856),
    np.float32(-0.007533082),
    np.float32(-0.0035303042),
    np.float32(0.001578704),
    np.float32(0.00021335202),
    np.float32(-0.000115112416),
)
_LN2_PARTS64 = (
    0.6931471805598903,
    5.497923018708371e-14,
)
_LN2_PARTS32 = (
    np.float32(0.69314575),
    np.float32(1.4286068e-06),
)
_HALF_PI_PARTS64 = (
    1.5707963267341256,
    6.077100506303966e-11,
    2.0222662487959506e-21,
)
_HALF_PI_PARTS32 = (
    np.float32(1.5705566),
    np.float32(0.00023967028),
    np.float32(1.5890691e-08),
    np.float32(2.563344e-12),
)

_F = np.float32
_BIAS32, _SHIFT32, _ONE32I, _TWO32I = np.int32(127), np.int32(23), np.int32(1), np.int32(2)
_SIGN32 = np.int32(30)
# Clearing the low bits leaves a number whose square is exact.
_HIGH64 = np.int64(-(1 << 27))
_HIGH32 = np.int32(-(1 << 12))

# Adding 1.5 * 2^52 (2^23) rounds to the nearest integer and leaves it in the low mantissa bits.
_MAGIC64, _MAGIC32 = 6755399441055744.0, _F(12582912.0)
_LOG2_E64, _LOG2_E32 = 1.4426950408889634, _F(1.4426950408889634)
_TWO_OVER_PI64, _TWO_OVER_PI32 = 0.6366197723675814, _F(0.6366197723675814)
_INV_SQRT_2PI64, _INV_SQRT_2PI32 = 0.3989422804014327, _F(0.3989422804014327)
_ZERO32, _HALF32, _ONE32, _TWO32 = _F(0), _F(0.5), _F(1), _F(2)

# exp(-cap) is still a normal number.
_CAP64, _CAP32 = 708.0, _F(87.0)
# exp(-cap^2 / 2) is still a normal number.
_GELU_CAP64, _GELU_CAP32 = 37.63, _F(13.19)
_TAIL_CENTRE64, _TAIL_CENTRE32 = 4.0, _F(4.0)
# Up to here k times the leading parts of pi / 2 is exact; larger arguments take the C library.
SIN_LIMIT64, SIN_LIMIT32 = 1e5, _F(3000.0)


# --- scalar cores: (value, derivative) of one number, branch-free so that loops vectorise -------


@kernel(forceinline=True)
def _exp_reduced64(y: float, correction: float) -> tuple[float, float]:
    """Return (2^k, p) with exp(y + correction) = 2^k (1 + p), |y| <= 709, tiny correction."""
    shifted = y * _LOG2_E64 + _MAGIC64
    k = shifted - _MAGIC64
    r = (y - k * _LN2_PARTS64[0]) - k * _LN2_PARTS64[1] + correction
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
    return bits_float64((float64_bits(shifted) + 1023) << 52), p


@kernel(forceinline=True)
def _exp_reduced32(y: float, correction: float) -> tuple[float, float]:
    """Return (2^k, p) with exp(y + correction) = 2^k (1 + p), |y| <= 88, tiny correction."""
    shifted = y * _LOG2_E32 + _MAGIC32
    k = shifted - _MAGIC32
    r = (y - k * _LN2_PARTS32[0]) - k * _LN2_PARTS32[1] + correction
    p = _EXP32[4]
    p = p * r + _EXP32[3]
    p = p * r + _EXP32[2]
    p = p * r + _EXP32[1]
    p = p * r + _EXP32[0]
    p = p * (r * r) + r
    return bits_float32(np.int32(np.int32(float32_bits(shifted) + _BIAS32) << _SHIFT32)), p


@kernel(forceinline=True)
def _tanh64(x: float) -> tuple[float, float]:
    a = 2.0 * abs(x)
    y = _CAP64 if a > _CAP64 else a
    two_k, p = _exp_reduced64(y, 0.0)
    # em = exp(y) - 1; then tanh = em / (em + 2) and 1 - tanh = 2 / (em + 2) has no cancellation.
    em = two_k * p + (two_k - 1.0)
    q = 1.0 / (em + 2.0)
    t = em * q
    d = 2.0 * q * (1.0 + t)
    return np.copysign(t, x), 0.0 if a > _CAP64 else d


@kernel(forceinline=True)
def _tanh32(x: float) -> tuple[float, float]:
    a = _TWO32 * abs(x)
    y = _CAP32 if a > _CAP32 else a
    two_k, p = _exp_reduced32(y, _ZERO32)
    em = two_k * p + (two_k - _ONE32)
    q = _ONE32 / (em + _TWO32)
    t = em * q
    d = _TWO32 * q * (_ONE32 + t)
    return np.copysign(t, x), _ZERO32 if a > _CAP32 else d


@kernel(forceinline=True)
def _sigmoid64(x: float) -> tuple[float, float]:
    a = abs(x)
    y = -_CAP64 if a > _CAP64 else -a
    two_k, p = _exp_reduced64(y, 0.0)
    z = two_k * p + two_k
    z = 0.0 if a > _CAP64 else z
    r = 1.0 / (1.0 + z)
    zr = z * r
    return (r if x >= 0.0 else zr), zr * r


@kernel(forceinline=True)
def _sigmoid32(x: float) -> tuple[float, float]:
    a = abs(x)
    y = -_CAP32 if a > _CAP32 else -a
    two_k, p = _exp_reduced32(y, _ZERO32)
    z = two_k * p + two_k
    z = _ZERO32 if a > _CAP32 else z
    r = _ONE32 / (_ONE32 + z)
    zr = z * r
    return (r if x >= _ZERO32 else zr), zr * r


@kernel(forceinline=True)
def _softplus64(x: float) -> tuple[float, float]:
    a = abs(x)
    y = -_CAP64 if a > _CAP64 else -a
    two_k, p = _exp_reduced64(y, 0.0)
    z = two_k * p + two_k
    z = 0.0 if a > _CAP64 else z
    s = _LOG1P64[20]
    s = s * z + _LOG1P64[19]
    s = s * z + _LOG1P64[18]
    s = s * z + _LOG1P64[17]
    s = s * z + _LOG1P64[16]
    s = s * z + _LOG1P64[15]
    s = s * z + _LOG1P64[14]
    s = s * z + _LOG1P64[13]
    s = s * z + _LOG1P64[12]
    s = s * z + _LOG1P64[11]
    s = s * z + _LOG1P64[10]
    s = s * z + _LOG1P64[9]
    s = s * z + _LOG1P64[8]
    s = s * z + _LOG1P64[7]
    s = s * z + _LOG1P64[6]
    s = s * z + _LOG1P64[5]
    s = s * z + _LOG1P64[4]
    s = s * z + _LOG1P64[3]
    s = s * z + _LOG1P64[2]
    s = s * z + _LOG1P64[1]
    s = s * z + _LOG1P64[0]
    r = 1.0 / (1.0 + z)
    return (0.0 if x <= 0.0 else x) + z * s, (r if x >= 0.0 else z * r)


@kernel(forceinline=True)
def _softplus32(x: float) -> tuple[float, float]:
    a = abs(x)
    y = -_CAP32 if a > _CAP32 else -a
    two_k, p = _exp_reduced32(y, _ZERO32)
    z = two_k * p + two_k
    z = _ZERO32 if a > _CAP32 else z
    s = _LOG1P32[9]
    s = s * z + _LOG1P32[8]
    s = s * z + _LOG1P32[7]
    s = s * z + _LOG1P32[6]
    s = s * z + _LOG1P32[5]
    s = s * z + _LOG1P32[4]
    s = s * z + _LOG1P32[3]
    s = s * z + _LOG1P32[2]
    s = s * z + _LOG1P32[1]
    s = s * z + _LOG1P32[0]
    r = _ONE32 / (_ONE32 + z)
    return (_ZERO32 if x <= _ZERO32 else x) + z * s, (r if x >= _ZERO32 else z * r)


@kernel(forceinline=True)
def _relu64(x: float) -> tuple[float, float]:
    # The comparisons are false for NaN, which therefore reaches both results.
    return (0.0 if x <= 0.0 else x), (0.0 if x <= 0.0 else (1.0 if x > 0.0 else x))


@kernel(forceinline=True)
def _relu32(x: float) -> tuple[float, float]:
    value = _ZERO32 if x <= _ZERO32 else x
    return value, (_ZERO32 if x <= _ZERO32 else (_ONE32 if x > _ZERO32 else x))


@kernel(forceinline=True)
def _sin64(x: float) -> tuple[float, float]:
    """Return (sin x, cos x) for |x| <= SIN_LIMIT64."""
    shifted = x * _TWO_OVER_PI64 + _MAGIC64
    k = shifted - _MAGIC64
    quadrant = float64_bits(shifted)
    r = (x - k * _HALF_PI_PARTS64[0]) - k * _HALF_PI_PARTS64[1]
    r = r - k * _HALF_PI_PARTS64[2]
    w = r * r
    s = _SIN64[5]
    s = s * w + _SIN64[4]
    s = s * w + _SIN64[3]
    s = s * w + _SIN64[2]
    s = s * w + _SIN64[1]
    s = s * w + _SIN64[0]
    s = s * (w * r) + r
    c = _COS64[5]
    c = c * w + _COS64[4]
    c = c * w + _COS64[3]
    c = c * w + _COS64[2]
    c = c * w + _COS64[1]
    c = c * w + _COS64[0]
    c = c * (w * w) + (1.0 - 0.5 * w)
    odd = (quadrant & 1) != 0
    value = float64_bits(c if odd else s) ^ ((quadrant & 2) << 62)
    slope = float64_bits(s if odd else c) ^ (((quadrant + 1) & 2) << 62)
    return bits_float64(value), bits_float64(slope)


@kernel(forceinline=True)
def _sin32(x: float) -> tuple[float, float]:
    """Return (sin x, cos x) for |x| <= SIN_LIMIT32."""
    shifted = x * _TWO_OVER_PI32 + _MAGIC32
    k = shifted - _MAGIC32
    quadrant = float32_bits(shifted)
    r = (x - k * _HALF_PI_PARTS32[0]) - k * _HALF_PI_PARTS32[1]
    r = (r - k * _HALF_PI_PARTS32[2]) - k * _HALF_PI_PARTS32[3]
    w = r * r
    s = _SIN32[2]
    s = s * w + _SIN32[1]
    s = s * w + _SIN32[0]
    s = s * (w * r) + r
    c = _COS32[2]
    c = c * w + _COS32[1]
    c = c * w + _COS32[0]
    c = c * (w * w) + (_ONE32 - _HALF32 * w)
    odd = np.int32(quadrant & _ONE32I) != np.int32(0)
    next_quadrant = np.int32(quadrant + _ONE32I)
    flip = np.int32(np.int32(quadrant & _TWO32I) << _SIGN32)
    next_flip = np.int32(np.int32(next_quadrant & _TWO32I) << _SIGN32)
    value = np.int32(float32_bits(c if odd else s) ^ flip)
    slope = np.int32(float32_bits(s if odd else c) ^ next_flip)
    return bits_float32(value), bits_float32(slope)


@kernel(forceinline=True)
def _gelu64(x: float) -> tuple[float, float, float]:
    """Return value, derivative and exp(-x^2 / 2)."""
    a = abs(x)
    y = _GELU_CAP64 if a > _GELU_CAP64 else a
    # exp(-y^2 / 2): the part of y^2 that does not fit into one number joins the reduced argument,
    # or the far tail would lose up to nine bits.
    high = bits_float64(float64_bits(y) & _HIGH64)
    two_k, p = _exp_reduced64(-0.5 * high * high, -0.5 * (y - high) * (y + high))
    e = two_k * p + two_k
    e = 0.0 if a > _GELU_CAP64 else e
    # Phi(-y) = e * m, with m from a polynomial in t = (y - 4) / (y + 4).
    q = 1.0 / (y + _TAIL_CENTRE64)
    t = (y - _TAIL_CENTRE64) * q
    m = _TAIL64[22]
    m = m * t + _TAIL64[21]
    m = m * t + _TAIL64[20]
    m = m * t + _TAIL64[19]
    m = m * t + _TAIL64[18]
    m = m * t + _TAIL64[17]
    m = m * t + _TAIL64[16]
    m = m * t + _TAIL64[15]
    m = m * t + _TAIL64[14]
    m = m * t + _TAIL64[13]
    m = m * t + _TAIL64[12]
    m = m * t + _TAIL64[11]
    m = m * t + _TAIL64[10]
    m = m * t + _TAIL64[9]
    m = m * t + _TAIL64[8]
    m = m * t + _TAIL64[7]
    m = m * t + _TAIL64[6]
    m = m * t + _TAIL64[5]
    m = m * t + _TAIL64[4]
    m = m * t + _TAIL64[3]
    m = m * t + _TAIL64[2]
    m = m * t + _TAIL64[1]
    m = m * t + _TAIL64[0]
    m = m * q
    slope = e * (m - y * _INV_SQRT_2PI64)
    value = x * (1.0 - e * m) if x >= 0.0 else -(e * (y * m))
    return value, (1.0 - slope if x >= 0.0 else slope), e


@kernel(forceinline=True)
def _gelu32(x: float) -> tuple[float, float, float]:
    """Return value, derivative and exp(-x^2 / 2)."""
    a = abs(x)
    y = _GELU_CAP32 if a > _GELU_CAP32 else a
    high = bits_float32(np.int32(float32_bits(y) & _HIGH32))
    two_k, p = _exp_reduced32(-_HALF32 * high * high, -_HALF32 * (y - high) * (y + high))
    e = two_k * p + two_k
    e = _ZERO32 if a > _GELU_CAP32 else e
    q = _ONE32 / (y + _TAIL_CENTRE32)
    t = (y - _TAIL_CENTRE32) * q
    m = _TAIL32[9]
    m = m * t + _TAIL32[8]
    m = m * t + _TAIL32[7]
    m = m * t + _TAIL32[6]
    m = m * t + _TAIL32[5]
    m = m * t + _TAIL32[4]
    m = m * t + _TAIL32[3]
    m = m * t + _TAIL32[2]
    m = m * t + _TAIL32[1]
    m = m * t + _TAIL32[0]
    m = m * q
    slope = e * (m - y * _INV_SQRT_2PI32)
    value = x * (_ONE32 - e * m) if x >= _ZERO32 else -(e * (y * m))
    return value, (_ONE32 - slope if x >= _ZERO32 else slope), e


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


_tanh = _by_dtype(_tanh64, _tanh32)
_sigmoid = _by_dtype(_sigmoid64, _sigmoid32)
_relu = _by_dtype(_relu64, _relu32)
_softplus = _by_dtype(_softplus64, _softplus32)
_sin = _by_dtype(_sin64, _sin32)
_gelu = _by_dtype(_gelu64, _gelu32)


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
            s[i] = _tanh(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _tanh(x[i])[0]


@kernel()
def _tanh_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _tanh(x[i])


@kernel()
def _sigmoid_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _sigmoid(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _sigmoid(x[i])[0]


@kernel()
def _sigmoid_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _sigmoid(x[i])


@kernel()
def _relu_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _relu(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _relu(x[i])[0]


@kernel()
def _relu_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _relu(x[i])


@kernel()
def _softplus_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _softplus(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _softplus(x[i])[0]


@kernel()
def _softplus_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i] = _softplus(x[i])


@kernel()
def _gelu_value(X: NDArray, S: NDArray) -> None:
    x, s = X.reshape(X.size), S.reshape(S.size)
    if X.ctypes.data == S.ctypes.data:
        for i in range(s.size):
            s[i] = _gelu(s[i])[0]
    else:
        for i in range(x.size):
            s[i] = _gelu(x[i])[0]


@kernel()
def _gelu_both(X: NDArray, S: NDArray, D: NDArray) -> None:
    x, s, d = X.reshape(X.size), S.reshape(S.size), D.reshape(D.size)
    for i in range(x.size):
        s[i], d[i], _ = _gelu(x[i])


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
                v[i] = np.sin(u[i]) if abs(u[i]) > limit else _sin(u[i])[0]
        elif X.ctypes.data == S.ctypes.data:
            for i in range(v.size):
                v[i] = _sin(v[i])[0]
        else:
            for i in range(u.size):
                v[i] = _sin(u[i])[0]


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
                    v[i], w[i] = _sin(t)
        else:
            for i in range(u.size):
                v[i], w[i] = _sin(u[i])


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
