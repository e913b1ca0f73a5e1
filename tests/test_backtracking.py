"""Monotone backtracking on one step length."""

from __future__ import annotations

import math

import pytest

from lysep_fast.linalg.line_search import backtrack


def test_the_first_step_that_does_not_increase_the_objective_is_taken():
    tried = []

    def objective(step):
        tried.append(step)
        return (step - 0.1) ** 2

    trial = backtrack(objective, 0.1**2, 1.0, 0.5, 20)
    assert tried == [1.0, 0.5, 0.25, 0.125]
    assert trial.accepted
    assert (trial.step, trial.trials) == (0.125, 4)
    assert trial.value == objective(0.125)


def test_an_equal_value_is_accepted():
    assert backtrack(lambda step: 3.0, 3.0, 1.0, 0.5, 5).step == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0])
def test_the_search_ends_and_takes_nothing_when_every_trial_increases(value):
    calls = []
    trial = backtrack(lambda step: calls.append(step) or value, 1.0, 8.0, 0.25, 6)
    assert len(calls) == trial.trials == 6
    assert not trial.accepted
    assert (trial.step, trial.value) == (0.0, 1.0)


def test_a_nan_is_shrunk_away():
    trial = backtrack(lambda step: math.nan if step > 0.3 else 0.5, 1.0, 1.0, 0.5, 9)
    assert (trial.step, trial.value) == (0.25, 0.5)
