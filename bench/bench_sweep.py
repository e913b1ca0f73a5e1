"""Time one sweep beside the machine's GEMM peak, and a whole fit beside plain NumPy.

Run ``python -m pytest bench/bench_sweep.py --benchmark-only``.  The sweep's benchmarks carry in
their extra columns the GEMM flops of the sweep, the rate and the share of the GEMM peak, which is
measured between the sweeps of the same run.  Symmetric products count half.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import lysep_fast
from lysep_fast.datasets import make_circle
from lysep_fast.layers import Dense
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import Problem
from lysep_fast.parallel import Team
from lysep_fast.solvers import Alternating
from lysep_fast.state import State

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

N_SAMPLES, WIDTHS = 60_000, (100, 100, 100, 100, 100, 10)


@contextmanager
def counted_flops() -> Iterator[list[int]]:
    """Count the flops of the linear maps' products while the context is open."""
    count = [0]
    methods = {name: getattr(Dense, name) for name in ("apply", "adjoint", "gram", "correlation")}

    def counting(name):
        def method(self, block, *args):
            per_row = self.n_inputs * (self.n_inputs if name == "gram" else 2 * self.n_outputs)
            count[0] += block.shape[0] * per_row
            return methods[name](self, block, *args)

        return method

    for name in methods:
        setattr(Dense, name, counting(name))
    try:
        yield count
    finally:
        for name, method in methods.items():
            setattr(Dense, name, method)


def gemm_seconds(matrix: np.ndarray, out: np.ndarray) -> float:
    """Return the wall time of one square product on one BLAS thread."""
    began = time.perf_counter()
    np.dot(matrix, matrix, out=out)
    return time.perf_counter() - began


def started(team: Team, dtype: str) -> tuple[Problem, State, Alternating]:
    """Return the benchmark's problem after three sweeps."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_SAMPLES, WIDTHS[0])).astype(dtype)
    y = rng.integers(0, WIDTHS[-1], N_SAMPLES)
    network = Network.dense(WIDTHS, "tanh")
    W, b = network.initial_weights(rng, X.dtype)
    problem = Problem(network, CrossEntropy(y, WIDTHS[-1]), X, team)
    state, solver = problem.synchronised_state(W, b), Alternating()
    solver.start(problem, state)
    for _ in range(3):
        solver.step(problem, state)
    return problem, state, solver


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.benchmark(group="one sweep, width 100, 60000 samples")
def test_sweep(benchmark, n_threads, dtype):
    with Team(1) as team, counted_flops() as count:  # the count is not made for two threads
        problem, state, solver = started(team, dtype)
        count[0] = 0
        solver.step(problem, state)
        flops = count[0]
    square = np.random.default_rng(0).standard_normal((2048, 2048)).astype(dtype)
    out, gemm = np.empty_like(square), []
    with Team(n_threads) as team:
        problem, state, solver = started(team, dtype)
        benchmark.pedantic(
            lambda: solver.step(problem, state),
            setup=lambda: gemm.append(gemm_seconds(square, out)),
            rounds=9,
        )
    peak = 2 * 2048**3 / float(np.median(gemm))
    rate = flops / benchmark.stats.stats.median
    benchmark.extra_info["gemm_peak_one_thread_gflops"] = peak / 1e9
    benchmark.extra_info["sweep_gflops"] = rate / 1e9
    benchmark.extra_info["share_of_peak"] = rate / peak / n_threads


@pytest.mark.parametrize("peer", ["lysep_fast", "lysep_fast, 1 thread", "numpy reference"])
@pytest.mark.benchmark(group="whole fit, circle (3, 50), 300 samples, 3 sweeps")
def test_fit(benchmark, peer):
    import reference

    X, y = make_circle(300, random_state=0)
    settings = {"hidden_layer_sizes": (50, 50), "random_state": 0, "tol": 0.0}

    def ours():
        n_threads = 1 if "1 thread" in peer else None
        lysep_fast.train(X, y, max_iter=3, n_threads=n_threads, **settings)

    def plain():
        start = lysep_fast.train(X, y, max_iter=0, **settings)
        with Team(1) as team:
            problem = Problem(start.network, CrossEntropy(y, 2), X, team)
            naive = reference.Reference.of(problem, problem.synchronised_state(start.W, start.b))
        reference.train(naive, 3)

    task = plain if "numpy" in peer else ours
    task()
    benchmark.pedantic(task, rounds=3)
