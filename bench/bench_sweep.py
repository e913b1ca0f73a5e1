"""Time one sweep beside the machine's GEMM peak, and a whole fit beside plain NumPy.

Run ``python -m pytest bench/bench_sweep.py --benchmark-only``.  The sweep's benchmarks carry in
their extra columns the GEMM flops of the sweep, the rate and the share of the GEMM peak, which is
measured between the sweeps of the same run.  Symmetric products count half.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import lysep_fast
from lysep_fast.cli import load_experiment
from lysep_fast.datasets import make_circle
from lysep_fast.layers import Dense
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import Alternating, MeasuredSweeps, MiniBatch, Solver
from lysep_fast.state import State
from lysep_fast.threads.team import Team

try:
    import torch
except ImportError:  # a peer, not a dependency
    torch = None

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


def started(team: Team, dtype: str) -> tuple[TrainingProblem, State, Alternating]:
    """Return the benchmark's problem after three sweeps."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_SAMPLES, WIDTHS[0])).astype(dtype)
    y = rng.integers(0, WIDTHS[-1], N_SAMPLES)
    network = Network.dense(WIDTHS, "tanh")
    W, b = network.initial_weights(rng, X.dtype)
    problem = TrainingProblem(network, CrossEntropy(y, WIDTHS[-1]), ArraySamples(X), team)
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
            problem = TrainingProblem(start.network, CrossEntropy(y, 2), ArraySamples(X), team)
            naive = reference.Reference.of(problem, problem.synchronised_state(start.W, start.b))
        reference.train(naive, 3)

    task = plain if "numpy" in peer else ours
    task()
    benchmark.pedantic(task, rounds=3)


# --- convolutional network: one sweep over 500 images ------------------------------------------


SWEEP_SAMPLES = 500
CNN_PEERS = ["measured sweep", "literal sweep", "4 mini-batches", "torch gradient"]


def cnn_task(peer: str, channels: int, team: Team) -> Callable[[], object]:
    """Return one sweep of 500 images, four steps of 125, or torch's gradient of the 500."""
    rng = np.random.default_rng(0)
    X = rng.random((SWEEP_SAMPLES, 784), dtype=np.float32)
    y = rng.integers(0, 10, SWEEP_SAMPLES)
    network = Network.convolutional((1, 28, 28), (channels,) * 2, (64,), 10)
    if peer == "torch gradient":
        return torch_gradient(network, X, y)
    problem = TrainingProblem(network, CrossEntropy(y, 10), ArraySamples(X), team)
    W, b = initial_weights(network, ArraySamples(X), rng, "normalised")
    solver: Solver
    if peer == "measured sweep":
        solver = MeasuredSweeps(batch_size=SWEEP_SAMPLES)
    elif peer == "4 mini-batches":
        solver = MiniBatch(batch_size=SWEEP_SAMPLES // 4, monitor="running")
    else:
        solver = Alternating()
    state = problem.synchronised_state(W, b, auxiliaries=solver.auxiliaries)
    solver.start(problem, state)
    return lambda: solver.step(problem, state)


def torch_gradient(network: Network, X: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """Return a forward and backward pass of the same network in torch."""
    loop = load_experiment("_torch_loop")[1]
    model, x, labels = loop.twin(network, "float32"), loop.inputs(network, X), torch.from_numpy(y)

    def gradient() -> None:
        model.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x), labels).backward()

    return gradient


@pytest.mark.parametrize("peer", CNN_PEERS)
@pytest.mark.parametrize("channels", [8, 16])
@pytest.mark.benchmark(group="500 images through a convolutional network, 2 threads, float32")
def test_cnn_sweep(benchmark, channels, peer):
    if peer.startswith("torch"):
        if torch is None:
            pytest.skip("torch is not installed")
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
    with Team(2) as team:
        task = cnn_task(peer, channels, team)
        for _ in range(3):
            task()
        benchmark.pedantic(task, rounds=15)
    if peer.startswith("torch"):
        torch.set_num_threads(threads)
