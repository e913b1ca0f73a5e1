"""The line search of every point on its own."""

from __future__ import annotations

import numpy as np

from lysep_fast.pde.point_search import move_points
from lysep_fast.pde.walk import Walk, feature_map

K, M = 5, 3


def make_walk():
    """Return one layer of jets of zeros with their features."""
    walk = Walk(np.zeros((1, K, 2)), (2, M), feature_map("tanh", 1), lambda name, s: np.zeros(s))
    walk.refresh(1)
    return walk


def search(walk, step, allowed):
    """Search along ones; a point may move by no more than `allowed`."""

    def objective(P, e):
        return np.where(e[0, :, 0] <= allowed, 0.0, np.nan)

    old, e, d = np.zeros(K), np.zeros((1, K, M)), np.ones((1, K, M))
    return move_points(walk, 1, e, d, step, old, objective)


def test_every_point_takes_its_first_step_that_does_not_rise():
    walk, step = make_walk(), np.ones(K)
    moved, trials = search(walk, step, np.array([1.0, 0.5, 0.3, 1e-9, 2.0]))
    wanted = np.array([1.0, 0.5, 0.25, 0.0, 1.0])
    np.testing.assert_array_equal(walk.J[1], np.broadcast_to(wanted[:, None], (1, K, M)))
    assert (moved, trials) == (4.0, 1 + 2 + 3 + 6 + 1)
    # Twice the accepted ones; half the last one tried where none was.
    np.testing.assert_array_equal(step, [2.0, 1.0, 0.5, 1 / 64, 2.0])


def test_features_and_derivatives_follow_the_points_that_moved():
    walk = make_walk()
    walk.P[1][...] = walk.D[1][...] = 7.0  # so that what is not written shows
    search(walk, np.ones(K), np.array([1.0, 0.5, 0.3, 1e-9, 2.0]))
    stayed = np.array([False, False, False, True, False])
    assert np.all(walk.P[1][:, stayed] == 7.0)
    assert np.all(walk.D[1][:, stayed] == 7.0)
    np.testing.assert_allclose(walk.P[1][:, ~stayed], np.tanh(walk.J[1][:, ~stayed]), rtol=1e-14)
    slopes = 1 - np.tanh(walk.J[1][:, ~stayed]) ** 2
    np.testing.assert_allclose(walk.D[1][:, ~stayed], slopes, rtol=1e-13)


def test_the_search_ends_when_all_have_moved():
    walk, step = make_walk(), np.full(K, 0.1)
    assert search(walk, step, np.ones(K)) == (5.0, 5.0)
    np.testing.assert_array_equal(step, 0.2)


def test_objectives_that_are_not_numbers_are_rises():
    walk, step = make_walk(), np.ones(K)
    assert search(walk, step, np.full(K, -1.0)) == (0.0, 6.0 * K)
    assert not np.any(walk.J[1])
