"""Scalar functions that are emitted in place, and views without slicing, beside plain Python."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numba.core.errors import TypingError

from lysep_fast.kernels._jit import JIT_ENABLED, kernel
from lysep_fast.kernels._scalar import _plain, scalar
from lysep_fast.kernels._views import part, row


def _every_operation(of, x, y):
    one, bits = of.number(1), of.bits(x)
    shifted = ((bits >> of.integer(3)) << of.integer(3)) & of.integer(-8)
    turned = of.from_bits((bits ^ shifted) ^ bits)
    smaller = of.where(x < y, x, of.where(x <= y, y, -y))
    larger = of.where(x > y, one / (one + of.abs(x)), of.where(x >= y, y, x * y - one))
    same = of.where(of.equal(x, y), one, of.copysign(y, x))
    flag = of.where((bits & of.integer(1)) > of.integer(0), one, -one)
    return turned, smaller, larger, same, flag


_emitted = scalar(5)(_every_operation)
_one_result = scalar(1)(lambda of, x: x * of.number(0.1))


@kernel(cache=False)
def _call(x, y, out):
    for i in range(x.size):
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = _emitted(x[i], y[i])
        out[5, i] = _one_result(x[i])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_emitted_code_is_the_plain_arithmetic(dtype):
    x = np.array([0.0, 1.5, -2.25, 3.0, np.inf, -np.inf, np.nan, 1e-30], dtype)
    y = np.array([0.0, 2.5, -3.25, 3.0, 1.0, 1.0, 1.0, -1.0], dtype)
    out = np.empty((6, x.size), dtype)
    _call(x, y, out)
    plain = _plain(_every_operation, 5)
    with np.errstate(all="ignore"):
        expected = [[*plain(a, b), a * dtype(0.1)] for a, b in zip(x, y, strict=True)]
    assert np.asarray(expected).dtype == dtype
    np.testing.assert_allclose(out.T, expected, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python takes any type")
def test_a_scalar_function_refuses_integers():
    with pytest.raises(TypingError):
        kernel(cache=False)(lambda: _one_result(1))()


def _fill(A, v):
    middle = part(A, 1, A.shape[0] - 1)
    for i in range(middle.shape[0]):
        line = row(middle, i)
        for j in range(line.size):
            line[j] = 10 * i + j
    tail = part(v, 2, v.size)
    tail[0] = 7
    return middle.shape[0] + tail.size


@pytest.mark.parametrize("allocates", [False, True])
def test_views_are_slices_of_the_same_memory(allocates):
    A, v = np.full((4, 3), -1.0), np.zeros(5)
    fill = kernel(cache=False, allocates=allocates)(_fill)
    counts = sys.getrefcount(A), sys.getrefcount(v)
    for _ in range(100):
        assert fill(A, v) == 5
    # A view must not give up a reference that it has not taken.
    assert (sys.getrefcount(A), sys.getrefcount(v)) == counts
    np.testing.assert_array_equal(A[1:3], [[0, 1, 2], [10, 11, 12]])
    assert (A[[0, 3]] == -1).all()
    np.testing.assert_array_equal(v, [0, 0, 7, 0, 0])
