"""Synthetic data sets: geometry, balance, noise, reproducibility, refusals."""

import numpy as np
import pytest

from lysep_fast.datasets import make_checkerboard, make_circle, make_two_spirals
from lysep_fast.datasets.synthetic import CIRCLE_RADIUS

MAKERS = [make_circle, make_checkerboard, make_two_spirals]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n", [2, 3, 100])
def test_shapes_and_dtypes(make, n):
    X, y = make(n, random_state=0)
    assert X.shape == (n, 2)
    assert y.shape == (n,)
    assert X.dtype == np.float64
    assert y.dtype == np.int64
    assert set(np.unique(y)) <= {0, 1}
    assert X.flags.c_contiguous


@pytest.mark.parametrize("make", MAKERS)
def test_same_seed_same_data(make):
    X, y = make(50, random_state=3)
    X2, y2 = make(50, random_state=np.random.default_rng(3))
    X3, _ = make(50, random_state=4)
    np.testing.assert_array_equal(X, X2)
    np.testing.assert_array_equal(y, y2)
    assert not np.array_equal(X, X3)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1.0])
def test_label_noise_flips_exactly_its_share_and_moves_no_point(make, share):
    X, y = make(200, random_state=1)
    X2, y2 = make(200, random_state=1, label_noise=share)
    np.testing.assert_array_equal(X, X2)
    assert np.sum(y != y2) == round(200 * share)


@pytest.mark.parametrize("make", MAKERS)
def test_the_global_random_state_is_left_alone(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_circle_has_half_of_the_square():
    assert np.pi * CIRCLE_RADIUS**2 == pytest.approx(2.0)
    X, y = make_circle(40000, 0)
    assert np.all(np.abs(X) <= 1)
    np.testing.assert_array_equal(y, np.hypot(*X.T) < CIRCLE_RADIUS)
    assert abs(y.mean() - 0.5) < 0.01
    # Uniform: mean 0, variance 1/3 in each direction.
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(X.var(axis=0), 1 / 3, atol=0.01)


@pytest.mark.parametrize("cells", [1, 2, 4, 5])
def test_checkerboard_cells(cells):
    X, y = make_checkerboard(5000, cells, random_state=0)
    column, row = np.floor((X.T + 1) / 2 * cells)
    np.testing.assert_array_equal(y, (column + row) % 2)
    if cells > 1:
        assert abs(y.mean() - np.floor(cells**2 / 2) / cells**2) < 0.03


def test_checkerboard_noise_moves_points_after_labelling():
    X, y = make_checkerboard(3000, random_state=0)
    X2, y2 = make_checkerboard(3000, noise=0.1, random_state=0)
    np.testing.assert_array_equal(y, y2)
    assert np.std(X2 - X) == pytest.approx(0.1, rel=0.05)


def test_spirals_are_balanced_and_each_others_mirror_image():
    X, y = make_two_spirals(1001, turns=2.0, random_state=0)
    assert abs(np.sum(y == 0) - np.sum(y == 1)) == 1
    radius = np.hypot(*X.T)
    assert np.all(radius <= 1)
    # Turned back by its arc, every point lies on the positive (0) or the negative (1) half axis.
    angle = np.arctan2(X[:, 1], X[:, 0]) - 2 * np.pi * 2.0 * radius
    np.testing.assert_allclose(np.cos(angle), 1 - 2 * y, atol=1e-9)


def test_spiral_noise():
    X, _ = make_two_spirals(3000, random_state=0)
    X2, _ = make_two_spirals(3000, noise=0.05, random_state=0)
    assert np.std(X2 - X) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"n_samples": -3}, ValueError, "n_samples.*-3"),
        ({"n_samples": 2.5}, TypeError, "n_samples.*2.5"),
        ({"label_noise": -0.1}, ValueError, "label_noise.*-0.1"),
        ({"label_noise": 1.5}, ValueError, "label_noise.*1.5"),
        ({"label_noise": float("nan")}, ValueError, "label_noise"),
        ({"random_state": -1}, ValueError, "random_state.*-1"),
        ({"random_state": "0"}, TypeError, "random_state.*'0'"),
        ({"random_state": 1.0}, TypeError, "random_state"),
    ],
)
def test_bad_arguments_are_named(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(**{"n_samples": 10, **arguments})


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (make_checkerboard, {"cells": 0}, "cells"),
        (make_checkerboard, {"noise": -1.0}, "noise"),
        (make_two_spirals, {"turns": 0.0}, "turns"),
        (make_two_spirals, {"noise": float("inf")}, "noise"),
        (make_two_spirals, {"n_samples": 1}, "n_samples"),
    ],
)
def test_own_arguments_are_checked(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
