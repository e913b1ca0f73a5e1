"""Row kernels of the auxiliary blocks against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast.kernels.auxiliaries import (
    copy_rows,
    gradient_step_rows,
    residual_step_rows,
    row_sums_of_squares,
    shift_residual,
)

SHAPES = [(1, 1), (1, 17), (23, 1), (13, 7), (16, 16), (33, 5)]
EVERY_CASE = [(shape, dtype) for shape in SHAPES for dtype in (np.float64, np.float32)]
every_case = pytest.mark.parametrize(("shape", "dtype"), EVERY_CASE)


def draw(count, shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for _ in range(count)]


def row_sums(R):
    return np.sum(R.astype(np.float64) ** 2, axis=1)


@every_case
def test_row_sums_of_squares_are_formed_in_float64(shape, dtype):
    (R,) = draw(1, shape, dtype)
    out = np.full(shape[0], 9.0)
    row_sums_of_squares(R, out)
    np.testing.assert_allclose(out, row_sums(R), rtol=1e-14)


def test_row_sums_of_squares_do_not_overflow_in_float32():
    R = np.full((2, 3), 1e30, np.float32)
    out = np.empty(2)
    row_sums_of_squares(R, out)
    np.testing.assert_allclose(out, 3e60, rtol=1e-6)


@every_case
def test_gradient_step_moves_every_row_by_its_own_step_length(shape, dtype):
    A, R, G, D = draw(4, shape, dtype)
    step = np.random.default_rng(1).uniform(0.01, 1.0, shape[0])
    A_new, R_new = np.full_like(A, 9), np.full_like(A, 9)
    before = [array.copy() for array in (A, R, G, D)]
    gradient_step_rows(A, R, G * D, -2.0, 0.7, step, A_new, R_new)
    A64, R64, G64, D64 = (array.astype(float) for array in before)
    change = -step[:, None] * (-2.0 * G64 * D64 + 2 * 0.7 * R64)
    atol = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(A_new, A64 + change, atol=atol)
    np.testing.assert_allclose(R_new, R64 + change, atol=atol)
    for array, old in zip((A, R, G, D), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_step_moves_auxiliary_and_residual_by_the_same_increment(dtype):
    # A huge auxiliary swallows part of the increment; the residual must follow what was kept.
    A, R, G, D = draw(4, (9, 5), dtype)
    A *= dtype(1e4)
    R *= dtype(1e-3)
    A_new, R_new = np.empty_like(A), np.empty_like(A)
    gradient_step_rows(A, R, G * D, 1.0, 0.5, np.full(9, 0.1), A_new, R_new)
    np.testing.assert_array_equal(R_new, R + (A_new - A))


@every_case
def test_residual_step_subtracts_the_change_of_the_prediction(shape, dtype):
    R, P = draw(2, shape, dtype)
    R_new, r2 = np.full_like(R, 9), np.full(shape[0], 9.0)
    residual_step_rows(R, P, R_new, r2)
    np.testing.assert_array_equal(R_new, R - P)
    np.testing.assert_allclose(r2, row_sums(R - P), rtol=1e-14)


def test_residual_step_may_write_over_the_prediction():
    R, P = draw(2, (11, 6), np.float64)
    wanted, r2 = R - P, np.empty(11)
    residual_step_rows(R, P, P, r2)
    np.testing.assert_array_equal(P, wanted)


@every_case
def test_shift_residual_subtracts_prediction_and_bias(shape, dtype):
    R, P = draw(2, shape, dtype)
    (shift,) = draw(1, shape[1:], dtype, seed=2)
    wanted = R - (P + shift)
    total = shift_residual(R, P, shift)
    np.testing.assert_array_equal(R, wanted)
    np.testing.assert_allclose(total, np.sum(row_sums(wanted)), rtol=1e-13)


@every_case
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_copy_rows_copies_exactly_the_accepted_rows(shape, dtype, share):
    source, target = draw(2, shape, dtype)
    accepted = np.random.default_rng(3).uniform(size=shape[0]) < share
    wanted = np.where(accepted[:, None], source, target)
    copy_rows(accepted, source, target)
    np.testing.assert_array_equal(target, wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_and_infinity_stay_in_their_row_and_are_not_lost(dtype, bad):
    R, P, G, D = draw(4, (6, 5), dtype)
    R[2, 3] = bad
    clean = np.arange(6) != 2
    sums = np.empty(6)
    row_sums_of_squares(R, sums)
    R_new, r2 = np.empty_like(R), np.empty(6)
    residual_step_rows(R, P, R_new, r2)
    A_new, moved = np.empty_like(R), np.empty_like(R)
    gradient_step_rows(P, R, G * D, 1.0, 1.0, np.ones(6), A_new, moved)
    for values in (sums, r2, A_new.sum(axis=1), moved.sum(axis=1)):
        assert not np.isfinite(values[2])
        assert np.all(np.isfinite(values[clean]))
    assert not np.isfinite(shift_residual(R, P, np.zeros(5, dtype)))
