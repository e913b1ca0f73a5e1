"""Shared fixtures: random problems whose states hold residuals, and small data sets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from reference import Reference

from lysep_fast import cli
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team

BENCH = Path(__file__).resolve().parent.parent / "bench"
#: Image (channels, height, width), output channels, hidden widths, and the other arguments of
#: `Network.convolutional`.
CONVOLUTIONAL = {
    "one": ((1, 6, 5), (2,), (4,), {}),
    "two": ((2, 5, 6), (3, 2), (4,), {"kernel_size": (3, 2), "pool_size": (2, 1), "padding": 1}),
    "no pooling": ((1, 4, 5), (2,), (3,), {"pool_size": 1}),
    "no hidden layer": ((3, 4, 5), (3,), (), {"kernel_size": 2, "padding": 0}),
    "two hidden layers": ((1, 5, 5), (2,), (4, 3), {"pool_size": 3, "padding": 2}),
    # One line of pixels: two thirds of the taps never see the image.
    "line": ((1, 1, 9), (2, 3), (3,), {}),
}


def conv_network(name, activation="tanh", n_outputs=3, **options):
    """Return a network of `CONVOLUTIONAL`."""
    image, channels, hidden, own = CONVOLUTIONAL[name]
    return Network.convolutional(image, channels, hidden, n_outputs, activation, **(own | options))


def _make_problem(
    widths=(3, 5, 4, 2),
    activation="tanh",
    *,
    n=45 if JIT_ENABLED else 11,
    rows=16 if JIT_ENABLED else 4,
    norm="frobenius",
    dtype=np.float64,
    seed=0,
    output_bias=False,
    residual=0.3,
    scale=1.0,
    team=None,
    sample_weight=None,
    label_smoothing=None,
    alpha=0.0,
):
    """Return a problem and a consistent state with residuals of about the size `residual`.

    `widths` may be a network, which then has its own activation and output bias.
    `rows` is the number of rows of a sample block: small, so that there are several blocks and
    the last one is shorter.  ``sample_weight=True`` draws weights of mean 1, some of them 0.
    """
    rng = np.random.default_rng(seed)
    network = widths
    if not isinstance(network, Network):
        network = Network.dense(widths, activation, output_bias=output_bias)
    widths = network.widths
    X = np.ascontiguousarray(rng.normal(size=(n, widths[0])), dtype)
    y = rng.integers(0, widths[-1], n)
    if sample_weight is True:
        sample_weight = draw_weights(n).astype(dtype)
    loss = CrossEntropy(y, widths[-1], sample_weight, label_smoothing)
    problem = TrainingProblem(network, loss, ArraySamples(X), team or Team(1), norm, alpha=alpha)
    problem.blocks = row_blocks(n, rows)
    W, b = network.initial_weights(rng, np.dtype(dtype))
    for l in range(1, network.depth + 1):
        W[l] *= dtype(scale)
    state = problem.synchronised_state(W, b)
    for l in range(1, network.depth):
        target = Reference.of(problem, state).prediction(l)
        state.A[l][...] = target + residual * rng.normal(size=target.shape)
    refresh(problem, state)
    return problem, state


def draw_weights(n, seed=11):
    """Return sample weights of mean 1, every fifth of which is 0 (unless there is one only)."""
    c = np.random.default_rng(seed).uniform(0.2, 3.0, n)
    c[1::5] = 0.0
    return c * (n / np.sum(c))


def refresh(problem, state):
    """Set residuals and cached sums from weights and auxiliaries (in place)."""
    truth = Reference.of(problem, state)
    for l in range(1, truth.depth):
        state.R[l][...] = truth.residual(l)
        state.r2[l] = np.sum(truth.c[:, None] * state.R[l].astype(float) ** 2)
    for l in range(1, truth.depth + 1):
        state.nu[l] = truth.nu(l)
    state.e2 = truth.data() * len(truth.y)


@pytest.fixture(scope="session")
def make_problem():
    """Return the function that draws a problem with a random state, see `_make_problem`."""
    return _make_problem


@pytest.fixture(scope="session")
def refresh_state():
    """Return the function that makes residuals and cached sums consistent again."""
    return refresh


@pytest.fixture
def blobs():
    """Return three overlapping clouds in the plane: inputs and class indices."""
    rng = np.random.default_rng(7)
    n = 150 if JIT_ENABLED else 24
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 2)) * 0.5 + np.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])[y]
    return X, y


@pytest.fixture(scope="session")
def torch():
    """Return torch, or skip the test."""
    return pytest.importorskip("torch")


@pytest.fixture
def no_torch(monkeypatch):
    """Let the experiments find no torch; a None among sys.modules would do, but it trips SciPy."""
    monkeypatch.setattr(cli.load_experiment("_torch_loop")[1], "available", lambda: False)


@pytest.fixture
def bench_module(monkeypatch):
    """Return a function that imports a file of bench/ without leaving a trace, or skip."""
    if not BENCH.exists():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(BENCH)
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCH:
            del sys.modules[name]
