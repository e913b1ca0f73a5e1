"""Memory of a sweep: beyond the auxiliaries it does not grow with the number of samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import Alternating
from lysep_fast.threads.team import Team


def peak_of_a_sweep(n_samples: int, duplicate_features: bool) -> int:
    """Return the peak of the memory that a sweep allocates beyond the state, in bytes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 8))
    if duplicate_features:  # singular Gram matrix of the input: the QR route
        X[:, 4:] = X[:, :4]
    network = Network.dense((8, 24, 24, 3), "tanh")
    W, b = network.initial_weights(rng, X.dtype)
    loss = CrossEntropy(rng.integers(0, 3, n_samples), 3)
    with Team(2) as team:
        problem = TrainingProblem(network, loss, ArraySamples(X), team)
        state, solver = problem.synchronised_state(W, b), Alternating()
        solver.start(problem, state)
        solver.step(problem, state)
        tracemalloc.start()
        try:
            methods = {step.block: step.method for step in solver.step(problem, state)}
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (methods["W_1, b_1"] != "cholesky") == duplicate_features
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("duplicate_features", [False, True])
def test_sweep_memory_beyond_the_state_is_independent_of_the_samples(duplicate_features):
    peak_of_a_sweep(10_000, duplicate_features)  # compilation allocates too
    small = peak_of_a_sweep(150_000, duplicate_features)
    large = peak_of_a_sweep(600_000, duplicate_features)
    # One float64 column of the larger data alone is 4.8 MB; bookkeeping per block is allowed.
    assert large < small + 500_000


def test_the_measure_sees_an_array_of_the_size_of_the_data():
    tracemalloc.start()
    np.empty(600_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak >= 8 * 600_000
