"""Subsets in turn, and means of what is seen there."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast.passes.full import Evaluation, EvaluationMean
from lysep_fast.samples.subsets import Subsets


def make(n=11, size=3, refresh_every=1, seed=0, weight=None):
    return Subsets(n, size, refresh_every, np.random.default_rng(seed), weight)


def draws(subsets, count):
    """Return the subsets of some draws, and what the draws said."""
    drawn = [(subsets.draw(), subsets.order[subsets.rows].copy()) for _ in range(count)]
    return [chosen for _, chosen in drawn], [said for said, _ in drawn]


@pytest.mark.parametrize(("n", "size"), [(11, 3), (12, 3), (5, 5), (4, 1)])
def test_the_subsets_of_a_pass_are_disjoint_and_of_one_size(n, size):
    subsets, count = make(n, size), n // size
    assert subsets.sweeps_of_a_pass() == count
    for _ in range(3):
        chosen, said = draws(subsets, count)
        assert {len(part) for part in chosen} == {size}
        together = np.concatenate(chosen)
        assert len(np.unique(together)) == len(together) == count * size
        assert said == [(True, True)] + [(True, False)] * (count - 1)


def test_every_sample_has_its_turn_and_passes_differ():
    subsets = make(12, 4)
    first, second = (np.concatenate(draws(subsets, 3)[0]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(12))
    assert np.any(first != second)


@pytest.mark.parametrize("refresh_every", [1, 2, 5])
def test_a_subset_stays_for_as_many_draws_as_asked(refresh_every):
    subsets = make(7, 3, refresh_every)
    assert subsets.sweeps_of_a_pass() == 2 * refresh_every
    chosen, said = draws(subsets, 4 * refresh_every)
    plain, wanted = draws(make(7, 3), 4)
    for k, part in enumerate(chosen):
        np.testing.assert_array_equal(part, plain[k // refresh_every])
        assert said[k] == (
            wanted[k // refresh_every] if k % refresh_every == 0 else (False, False)
        )


def test_the_seed_decides_and_there_are_never_more_samples_than_given():
    for a, b in zip(draws(make(seed=3), 9)[0], draws(make(seed=3), 9)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(draws(make(seed=3), 9)[0], draws(make(), 9)[0],
                                              strict=True))  # fmt: skip
    few = make(4, 500)
    assert few.size == 4
    assert sorted(draws(few, 1)[0][0]) == [0, 1, 2, 3]


def test_subsets_without_any_weight_are_passed_over():
    weight = np.zeros(9)
    weight[[2, 5]] = 4.5
    chosen, said = draws(make(9, 2, weight=weight), 30)
    for part in chosen:
        assert np.any(weight[part] > 0)
    assert all(fresh for fresh, _ in said)
    # Whoever keeps what belongs to a permutation has to hear of every new one.
    subsets, known = make(9, 2, weight=weight), None
    for _ in range(30):
        _, shuffled = subsets.draw()
        known = subsets.order.copy() if shuffled else known
        np.testing.assert_array_equal(subsets.order, known)
    assert len(draws(make(9, 2, weight=np.zeros(9)), 5)[0]) == 5  # nothing to choose from


def test_means_over_subsets_are_scaled_to_all_samples():
    mean = EvaluationMean(60.0)
    mean.add(Evaluation(2.0, 1.0, 3.0, 4.0), 5.0)
    mean.add(Evaluation(4.0, 3.0, 7.0, 8.0), 10.0)
    total = mean.total()
    assert mean.factor == 4.0
    assert (total.loss, total.squares, total.correct, total.objective) == (24.0, 16.0, 40.0, 48.0)
