"""Activation kernels against extended-precision references, finite differences and edge cases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config

import lysep_fast
from lysep_fast.kernels import (
    ACTIVATION_CODES,
    LIPSCHITZ,
    _jit,
    activation,
    activation_and_derivative,
    activation_derivative_into,
    activation_into,
)
from lysep_fast.kernels.activation import SIN_LIMIT32, SIN_LIMIT64, ULP_BOUNDS

NAMES = list(ACTIVATION_CODES)
DTYPES = [np.float64, np.float32]
# Without the JIT one value costs a hundred microseconds.
GRID = 400 if config.DISABLE_JIT else 40_000
LONG = np.longdouble
EXTENDED = np.finfo(LONG).nmant > np.finfo(np.float64).nmant
PACKAGES = str(Path(lysep_fast.__file__).resolve().parents[1])


# --- reference ---------------------------------------------------------------------------------


def normal_tail(a):
    """Return Phi(-a) for a >= 0 in the precision of a: a series, or Laplace's fraction."""
    density = np.exp(-a * a / 2) / np.sqrt(2 * LONG(np.pi) + LONG(2.4492935982947064e-16))
    small = np.minimum(a, 2)
    term, total = small, small
    for k in range(1, 60):
        term = term * small * small / (2 * k + 1)
        total = total + term
    series = LONG(0.5) - total * density
    large = np.maximum(a, 2)
    fraction = large
    for k in range(400, 0, -1):
        fraction = large + k / fraction
    return np.where(a < 2, series, density / fraction)


def reference(name, x):
    """Return s(x), s'(x) and the size of the largest term of s'(x), in extended precision."""
    x = np.asarray(x).astype(LONG)
    a, one = np.abs(x), np.ones_like(x)
    z = np.exp(-a)
    if name == "identity":
        return x, one, one
    if name == "tanh":
        slope = 1 / np.cosh(x) ** 2
        return np.tanh(x), slope, slope
    if name == "sigmoid":
        slope = z / (1 + z) ** 2
        return np.where(x >= 0, 1, z) / (1 + z), slope, slope
    if name == "relu":
        return np.maximum(x, 0), (x > 0).astype(LONG), one
    if name == "softplus":
        slope = np.where(x >= 0, 1, z) / (1 + z)
        return np.maximum(x, 0) + np.log1p(z), slope, slope
    if name == "sin":
        return np.sin(x), np.cos(x), np.abs(np.cos(x))
    tail = normal_tail(a)
    density = np.exp(-a * a / 2) / np.sqrt(2 * LONG(np.pi) + LONG(2.4492935982947064e-16))
    cdf = np.where(x >= 0, 1 - tail, tail)
    return x * cdf, cdf + x * density, np.maximum(cdf, a * density)


def ulps(value, exact, scale):
    """Return the error in units of the last place of scale, 0 where scale is not normal."""
    dtype = value.dtype
    size = np.maximum(np.abs(scale), 16 * np.finfo(dtype).tiny).astype(dtype)
    error = np.abs(value.astype(LONG) - exact) / np.spacing(size).astype(LONG)
    return np.where(np.abs(scale) < 16 * np.finfo(dtype).tiny, 0, error)


def limit_of(name, dtype):
    """Return how far from zero the documented bounds hold."""
    double = dtype == np.float64
    if name == "sin":
        return float(SIN_LIMIT64 if double else SIN_LIMIT32)
    if name == "gelu":
        return 37.5 if double else 13.1
    if name == "tanh":
        return 353.0 if double else 43.0
    return 700.0 if double else 86.0


def points(name, dtype, count=GRID, seed=0):
    """Return arguments that are dense near zero and cover the whole documented range."""
    rng = np.random.default_rng(seed)
    limit = limit_of(name, dtype)
    sign = rng.choice([-1.0, 1.0], size=count)
    x = np.concatenate(
        [
            np.linspace(-8, 8, count),
            rng.uniform(-limit, limit, count),
            sign * 10 ** rng.uniform(-20, np.log10(limit), count),
            rng.normal(size=count),
            # Around the points where the range reductions switch.
            np.arange(-40, 41) * np.log(2) / 4 + rng.normal(size=81) * 1e-7,
            np.arange(-40, 41) * np.pi / 4 + rng.normal(size=81) * 1e-7,
        ]
    )
    return np.clip(x, -limit, limit).astype(dtype)


# --- accuracy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_error_stays_within_the_documented_bound(name, dtype):
    if dtype == np.float64 and not EXTENDED:
        pytest.skip("no extended precision on this platform")
    x = points(name, dtype)
    value, slope = activation_and_derivative(name, x)
    exact, exact_slope, scale = reference(name, x)
    bound, slope_bound = ULP_BOUNDS[name]
    assert ulps(value, exact, exact).max() <= bound
    assert ulps(slope, exact_slope, scale).max() <= slope_bound
    assert ulps(activation(name, x), exact, exact).max() <= bound


@pytest.mark.parametrize("name", NAMES)
def test_derivative_agrees_with_finite_differences(name):
    x = np.linspace(-4.03, 4.05, 81)
    h = 1e-5
    difference = (activation(name, x + h) - activation(name, x - h)) / (2 * h)
    np.testing.assert_allclose(activation_and_derivative(name, x)[1], difference, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_lipschitz_constant_bounds_the_derivative_and_is_tight(name):
    x = np.concatenate([np.linspace(-6, 6, GRID // 2 * 2 + 1), [np.sqrt(2), 40.0, 0.0]])
    largest = np.abs(activation_and_derivative(name, x)[1]).max()
    assert largest <= LIPSCHITZ[name] * (1 + 1e-15)
    assert largest >= LIPSCHITZ[name] * (1 - 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sin_beyond_the_fast_reduction(dtype):
    limit = limit_of("sin", dtype)
    x = np.linspace(-1, 1, 2500).astype(dtype) if not config.DISABLE_JIT else np.ones(40, dtype)
    top = 1e300 if dtype == np.float64 else 1e38
    x[[3, 17, -1]] = limit * 1.5, -limit * 1e3, top
    value, slope = activation_and_derivative("sin", x)
    np.testing.assert_allclose(value, np.sin(x.astype(LONG)), rtol=0, atol=3 * np.finfo(dtype).eps)
    np.testing.assert_allclose(slope, np.cos(x.astype(LONG)), rtol=0, atol=3 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(activation("sin", x), value)
    in_place = x.copy()
    activation("sin", in_place, out=in_place)
    np.testing.assert_array_equal(in_place, value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_multiples_of_half_pi_keep_relative_accuracy(dtype):
    if dtype == np.float64 and not EXTENDED:
        pytest.skip("no extended precision on this platform")
    top = limit_of("sin", dtype) / (np.pi / 2)
    k = np.unique(np.round(np.linspace(1, top - 1, min(GRID, 20_000))))
    x = (k * (np.pi / 2)).astype(dtype)
    value, slope = activation_and_derivative("sin", x)
    exact, exact_slope, _ = reference("sin", x)
    # The extended reference itself is only absolutely accurate to its own last place of pi.
    noise = 4 if dtype == np.float64 else 0
    assert ulps(value, exact, exact).max() <= ULP_BOUNDS["sin"][0] + noise
    assert ulps(slope, exact_slope, exact_slope).max() <= ULP_BOUNDS["sin"][1] + noise


# --- special values ----------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
SPECIAL = {
    "identity": [(INF, INF, 1), (-INF, -INF, 1), (0, 0, 1), (NAN, NAN, 1)],
    "tanh": [(INF, 1, 0), (-INF, -1, 0), (0, 0, 1), (NAN, NAN, NAN)],
    "sigmoid": [(INF, 1, 0), (-INF, 0, 0), (0, 0.5, 0.25), (NAN, NAN, NAN)],
    "relu": [(INF, INF, 1), (-INF, 0, 0), (0, 0, 0), (NAN, NAN, NAN)],
    "softplus": [(INF, INF, 1), (-INF, 0, 0), (0, np.log(2), 0.5), (NAN, NAN, NAN)],
    "sin": [(INF, NAN, NAN), (-INF, NAN, NAN), (0, 0, 1), (NAN, NAN, NAN)],
    "gelu": [(INF, INF, 1), (-INF, 0, 0), (0, 0, 0.5), (NAN, NAN, NAN)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype):
    for x, value, slope in SPECIAL[name]:
        # In the vectorised part and in the remainder of the loop.
        s, d = activation_and_derivative(name, np.full(67, x, dtype))
        np.testing.assert_array_equal(s, np.full(67, value, dtype))
        np.testing.assert_array_equal(d, np.full(67, slope, dtype))
        np.testing.assert_array_equal(activation(name, np.full(67, x, dtype)), s)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_huge_and_tiny_arguments(name, dtype):
    info = np.finfo(dtype)
    x = np.array(
        [info.max, -info.max, info.tiny, -info.tiny, info.smallest_subnormal, -0.0], dtype
    )
    s, d = activation_and_derivative(name, x)
    assert np.all(np.isfinite(s))
    assert np.all(np.isfinite(d))
    limits = {"tanh": (1, -1), "sigmoid": (1, 0), "relu": (info.max, 0)}
    limits |= {"softplus": (info.max, 0), "gelu": (info.max, 0), "identity": (info.max, -info.max)}
    if name in limits:
        np.testing.assert_array_equal(s[:2], np.array(limits[name], dtype))
    if name in ("tanh", "sin", "identity"):
        np.testing.assert_array_equal(s[2:], x[2:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_of_a_saturated_argument_is_not_that_of_a_capped_one(dtype):
    x = np.array([25.0, 40.0], dtype)
    exact = 4 * np.exp(-2 * x.astype(np.float64))
    np.testing.assert_allclose(activation_and_derivative("tanh", x)[1], exact, rtol=1e-6)


@settings(deadline=None, max_examples=10 if config.DISABLE_JIT else 100)
@given(
    name=st.sampled_from(NAMES),
    dtype=st.sampled_from(DTYPES),
    size=st.integers(1, 70),
    data=st.data(),
)
def test_nan_and_inf_change_only_their_own_entry(name, dtype, size, data):
    x = np.linspace(-3, 3, size).astype(dtype)
    clean, clean_slope = activation_and_derivative(name, x)
    at = data.draw(st.integers(0, size - 1))
    x[at] = data.draw(st.sampled_from([NAN, INF, -INF]))
    value, slope = activation_and_derivative(name, x)
    if np.isnan(x[at]):
        assert np.isnan(value[at])
    rest = np.arange(size) != at
    np.testing.assert_allclose(value[rest], clean[rest], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(
        slope[rest], clean_slope[rest], rtol=0, atol=4 * np.finfo(dtype).eps
    )


# --- identities --------------------------------------------------------------------------------

VALUES = st.lists(
    st.floats(-500, 500) | st.floats(-4, 4) | st.floats(-1e-6, 1e-6), min_size=1, max_size=20
)


@settings(deadline=None, max_examples=10 if config.DISABLE_JIT else 200)
@given(VALUES, st.sampled_from(DTYPES))
def test_identities(values, dtype):
    x = np.array(values, dtype)
    eps = 8 * np.finfo(dtype).eps
    tiny = float(np.finfo(dtype).tiny)
    t = activation("tanh", x)
    np.testing.assert_array_equal(activation("tanh", -x), -t)
    assert np.all(np.abs(t) <= 1)
    s = activation("sigmoid", x)
    np.testing.assert_allclose(s + activation("sigmoid", -x), 1, rtol=eps)
    assert np.all((s >= 0) & (s <= 1))
    for name in ("softplus", "gelu"):
        # s(x) - s(-x) = x for both.
        f, g = activation(name, x), activation(name, -x)
        np.testing.assert_allclose(f - g, x, rtol=eps, atol=eps + tiny)
    v, c = activation_and_derivative("sin", x)
    np.testing.assert_allclose(v * v + c * c, 1, rtol=eps)
    np.testing.assert_allclose(activation("sin", -x), -v, rtol=eps)
    assert np.all((np.abs(v) <= 1) & (np.abs(c) <= 1))


# --- shapes and memory -------------------------------------------------------------------------


def expected(name, x):
    """Return value and slope of an array computed one contiguous row at a time."""
    flat = np.ascontiguousarray(x).ravel()
    value, slope = activation_and_derivative(name, flat)
    return value.reshape(np.shape(x)), slope.reshape(np.shape(x))


def layouts(dtype):
    """Yield arrays of every memory layout, as (label, array)."""
    base = np.linspace(-3, 3, 120).astype(dtype)
    yield "vector", base
    yield "matrix", base.reshape(8, 15)
    yield "one row", base.reshape(1, 120)
    yield "one column", base.reshape(120, 1)
    yield "cube", base.reshape(4, 5, 6)
    yield "fortran", np.asfortranarray(base.reshape(8, 15))
    yield "strided", base.reshape(8, 15)[::2, 1::3]
    yield "reversed", base[::-1]
    yield "broadcast", np.broadcast_to(base[:5], (3, 5))
    yield "scalar", np.array(0.3, dtype)
    yield "empty", np.empty((0, 4), dtype)
    yield "empty columns", np.empty((4, 0), dtype)
    yield "one", base[:1]
    read_only = base[:33].copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    raw = np.zeros(33 * base.itemsize + 1, np.uint8)
    unaligned = raw[1:].view(dtype)
    unaligned[:] = base[:33]
    yield "unaligned", unaligned


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_layout(name, dtype):
    for label, x in layouts(dtype):
        before = x.copy()
        value, slope = expected(name, before)
        s, d = activation_and_derivative(name, x)
        only = activation(name, x)
        for result, wanted in ((s, value), (d, slope), (only, value)):
            assert result.dtype == dtype, label
            assert result.shape == x.shape, label
            np.testing.assert_allclose(
                result,
                wanted,
                rtol=4 * np.finfo(dtype).eps,
                atol=np.finfo(dtype).eps,
                err_msg=label,
            )
        np.testing.assert_array_equal(x, before, err_msg=label)
        assert not np.may_share_memory(only, x) or x.size == 0, label


@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes_become_float64(name):
    wanted = activation(name, np.array([0.0, 1.0, 2.0]))
    for x in ([0, 1, 2], (0.0, 1.0, 2.0), np.arange(3, dtype=np.int8), np.arange(3, dtype=">f8")):
        result = activation(name, x)
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, wanted)
    assert activation(name, np.arange(3, dtype=">f4")).dtype == np.float32
    assert activation(name, np.arange(3, dtype=np.float16)).dtype == np.float64
    assert activation(name, [True, False]).dtype == np.float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_given_by_the_caller(name, dtype):
    x = np.linspace(-2, 2, 77).astype(dtype)
    value, slope = activation_and_derivative(name, x)
    s, d = np.empty_like(x), np.empty((154,), dtype)[::2]
    got = activation_and_derivative(name, x, out=s, derivative=d)
    assert got[0] is s
    assert got[1] is d
    np.testing.assert_array_equal(s, value)
    np.testing.assert_array_equal(d, slope)
    assert activation(name, x, out=s) is s
    np.testing.assert_array_equal(s, value)
    # In place, and into an array that overlaps the argument.
    close = {"rtol": 4 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}
    y = x.copy()
    assert activation(name, y, out=y) is y
    np.testing.assert_allclose(y, value, **close)
    long = np.concatenate([x, x[:1]])
    activation(name, long[:-1], out=long[1:])
    np.testing.assert_allclose(long[1:], value, **close)
    y = x.copy()
    activation_and_derivative(name, y, out=y, derivative=d)
    np.testing.assert_allclose(y, value, **close)
    np.testing.assert_allclose(d, slope, **close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 7), (0, 5), (1, 1025), (33, 67)])
def test_raw_kernels(name, dtype, shape):
    if config.DISABLE_JIT and shape[0] * shape[1] > 100:
        shape = (5, 7)
    code = ACTIVATION_CODES[name]
    x = np.linspace(-3, 3, shape[0] * shape[1]).astype(dtype).reshape(shape)
    before = x.copy()
    value, slope = expected(name, x)
    close = {"rtol": 4 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}
    s, d = np.empty_like(x), np.empty_like(x)
    activation_into(code, x, s)
    np.testing.assert_allclose(s, value, **close)
    activation_derivative_into(code, x, s, d)
    np.testing.assert_allclose(s, value, **close)
    np.testing.assert_allclose(d, slope, **close)
    np.testing.assert_array_equal(x, before)
    # The aliases that the docstrings allow.
    a = x.copy()
    activation_into(code, a, a)
    np.testing.assert_allclose(a, value, **close)
    a = x.copy()
    activation_derivative_into(code, a, a, d)
    np.testing.assert_allclose(a, value, **close)
    np.testing.assert_allclose(d, slope, **close)
    a = x.copy()
    activation_derivative_into(code, a, s, a)
    np.testing.assert_allclose(s, value, **close)
    np.testing.assert_allclose(a, slope, **close)


# --- messages ----------------------------------------------------------------------------------


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'swish'.*'tanh'.*'gelu'"):
        activation("swish", [1.0])
    with pytest.raises(ValueError, match="'swish'"):
        activation_and_derivative("swish", [1.0])
    with pytest.raises(TypeError, match="name must be a str, got 1"):
        activation(1, [1.0])


@pytest.mark.parametrize("bad", [np.array([1j]), np.array(["a"]), np.array([None])])
def test_not_real_numbers(bad):
    with pytest.raises(TypeError, match=r"X must be real numbers.*float64"):
        activation("tanh", bad)


@pytest.mark.parametrize("argument", ["out", "derivative"])
def test_bad_outputs(argument):
    x = np.zeros((2, 3))
    read_only = np.zeros((2, 3))
    read_only.flags.writeable = False
    for bad, error, words in (
        (np.zeros((3, 2)), ValueError, r"shape \(3, 2\), but X has shape \(2, 3\)"),
        (np.zeros((2, 3), np.float32), TypeError, "dtype float32, but the result is float64"),
        ([[0.0] * 3] * 2, TypeError, "must be a NumPy array or None, got list"),
        (read_only, ValueError, "read-only; pass a writable array"),
    ):
        with pytest.raises(error, match=f"{argument} .*{words}"):
            activation_and_derivative("tanh", x, **{argument: bad})
        if argument == "out":
            with pytest.raises(error, match=f"{argument} .*{words}"):
                activation("tanh", x, out=bad)


def test_outputs_that_share_memory():
    a = np.zeros(4)
    with pytest.raises(ValueError, match="share memory: pass two separate arrays"):
        activation_and_derivative("tanh", np.ones(4), out=a, derivative=a)


# --- the decorator, the tables, the modes of Numba ----------------------------------------------


def test_kernel_refuses_flags_that_drop_nan():
    for flag in ("nnan", "ninf", "fast"):
        with pytest.raises(ValueError, match=flag):
            _jit.kernel(fastmath={flag})


def test_kernel_without_a_place_for_the_cache_compiles_uncached():
    # Numba finds no cache directory for a function that no file holds.
    namespace = {}
    exec("def add_one(x):\n    return x + 1.0\n", namespace)
    assert _jit.kernel()(namespace["add_one"])(1.5) == 2.5


def test_kernel_sum_may_be_reassociated():
    def total(x):
        result = 0.0
        for i in range(x.size):
            result += x[i]
        return result

    assert _jit.kernel(reassoc=True, cache=False)(total)(np.arange(100.0)) == 4950.0


def test_kernels_divide_by_zero_silently():
    def divide(x, y):
        return x / y

    assert _jit.kernel(cache=False)(divide)(np.float64(1.0), np.float64(0.0)) == np.inf


def test_bits_round_trip():
    assert _jit.kernel(cache=False)(_round_trip)(np.float64(1.5), np.float32(-2.5)) == (1.5, -2.5)


def _round_trip(x, y):
    bits64, bits32 = _jit.float64_bits(x), _jit.float32_bits(y)
    return _jit.bits_float64(bits64), _jit.bits_float32(bits32)


def test_polynomial_tables_are_those_of_the_script():
    pytest.importorskip("mpmath")
    from tools import fit_polynomials

    sources = [sys.modules[f"lysep_fast.kernels.{name}"] for name in ("activation", "softmax")]
    for name, (coefficients, _, dtype) in fit_polynomials.tables().items():
        holders = [source for source in sources if hasattr(source, name)]
        assert holders, name
        for source in holders:
            table = getattr(source, name)
            assert [dtype(float(value)) for value in coefficients] == list(table), name


def _has_avx2():
    chosen = config.CPU_NAME or config.CPU_FEATURES or config.BOUNDSCHECK
    return not chosen and bool(llvmlite.binding.get_host_cpu_features().get("avx2"))


@pytest.mark.slow
@pytest.mark.skipif(config.DISABLE_JIT or not _has_avx2(), reason="no AVX2 code to look at")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_loops_are_vectorised(name, dtype):
    # A branch or a division that can raise, a core that is not inlined, an index that may be
    # negative: each has cost a factor of five to ten without changing any result.
    module = sys.modules["lysep_fast.kernels.activation"]
    code = ACTIVATION_CODES[name]
    array = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 2, "C")
    # Compiled anew, since Numba shows no code of what it loads from its cache.
    for kernel, count in ((module._VALUE_KERNELS[code], 2), (module._BOTH_KERNELS[code], 3)):
        fresh = _jit.kernel(cache=False)(kernel.py_func)
        fresh.compile((array,) * count)
        code_text = fresh.inspect_llvm(fresh.signatures[0])
        element = r"(float|i32)" if dtype == np.float32 else r"(double|i64)"
        assert re.search(rf"store <\d+ x {element}>", code_text)


@pytest.mark.skipif(config.DISABLE_JIT, reason="the JIT is off already")
def test_plain_python_gives_the_same_numbers_without_warnings():
    program = (
        "import numpy as np\n"
        "from lysep_fast.kernels import ACTIVATION_CODES, activation_and_derivative\n"
        "x = np.array([-800.0, -3.0, -0.1, 0.0, 0.7, 5.0, 1e7, np.inf, np.nan])\n"
        "for name in ACTIVATION_CODES:\n"
        "    s, d = activation_and_derivative(name, x)\n"
        "    print(name, *(float(v).hex() for v in (*s, *d)))\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": PACKAGES}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    x = np.array([-800.0, -3.0, -0.1, 0.0, 0.7, 5.0, 1e7, np.inf, np.nan])
    lines = run.stdout.splitlines()
    assert len(lines) == len(NAMES)
    for line in lines:
        name, *numbers = re.split(r"\s+", line.strip())
        plain = np.array([float.fromhex(v) for v in numbers])
        compiled = np.concatenate(activation_and_derivative(name, x))
        np.testing.assert_allclose(plain, compiled, rtol=1e-14, atol=1e-15)
