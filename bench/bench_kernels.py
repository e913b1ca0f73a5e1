"""Time the elementwise and softmax kernels beside NumPy/SciPy and PyTorch, on one thread.

Run ``python -m pytest bench/bench_kernels.py --benchmark-only``.  Every group of the table is one
task with one dtype and size; its rows are the peers, and the extra column ``ns_per_entry`` (in the
saved JSON) is the median time per array entry.  PyTorch is left out when it is not installed.

NumPy uses AVX-512 code for tanh, sin and others where the machine has it.  To see NumPy as it runs
on machines without, set ``NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"`` (NumPy 2.4 and
later; before, ``"AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"``).
NumPy warns about names of features that the machine does not have: leave those out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import special

from lysep_fast.kernels import (
    ACTIVATION_CODES,
    activation_derivative_into,
    activation_into,
    cross_entropy_into,
    softmax_into,
    squared_cross_entropy_gradient_into,
)

try:
    import torch
except ImportError:  # a peer, not a dependency
    torch = None

PEERS = ["lysep_fast", "numpy", "torch"]
DTYPES = ["float64", "float32"]
IN_CACHE, OUT_OF_CACHE = 25_600, 6_000_000
NAMES = [name for name in ACTIVATION_CODES if name != "identity"]


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Run PyTorch on one thread, as the other peers."""
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def measure(benchmark, task: Callable[[], object], entries: int, unit: str = "entry") -> None:
    """Time the task, which is run once before, so that compilation is not timed."""
    task()
    rounds, iterations = (200, 5) if entries < 1e6 else (9, 1)
    benchmark.pedantic(task, rounds=rounds, iterations=iterations, warmup_rounds=2)
    benchmark.extra_info[f"ns_per_{unit}"] = 1e9 * benchmark.stats.stats.median / entries


def numpy_task(name: str, derivative: bool, X, S, D) -> Callable[[], object]:
    """Return the usual NumPy or SciPy way, without temporary arrays where it has one."""

    def tanh():
        np.tanh(X, out=S)
        if derivative:
            np.multiply(S, S, out=D)
            np.subtract(1, D, out=D)

    def sigmoid():
        special.expit(X, out=S)
        if derivative:
            np.subtract(1, S, out=D)
            np.multiply(S, D, out=D)

    def relu():
        np.maximum(X, 0, out=S)
        if derivative:
            np.greater(X, 0, out=D, casting="unsafe")

    def softplus():
        np.logaddexp(0, X, out=S)
        if derivative:
            special.expit(X, out=D)

    def sin():
        np.sin(X, out=S)
        if derivative:
            np.cos(X, out=D)

    def gelu():
        special.ndtr(X, out=D)
        np.multiply(X, D, out=S)
        if derivative:
            D.__iadd__(X * np.exp(-0.5 * X * X) * X.dtype.type(0.3989422804014327))

    return locals()[name]


def torch_task(name: str, derivative: bool, X, S, D) -> Callable[[], object]:
    """Return the usual PyTorch way."""
    x, s, d = map(torch.from_numpy, (X, S, D))

    def tanh():
        torch.tanh(x, out=s)
        if derivative:
            torch.mul(s, s, out=d)
            torch.sub(1, d, out=d)

    def sigmoid():
        torch.sigmoid(x, out=s)
        if derivative:
            torch.sub(1, s, out=d)
            torch.mul(s, d, out=d)

    def relu():
        torch.clamp(x, min=0, out=s)
        if derivative:
            d.copy_(x > 0)

    def softplus():
        torch.nn.functional.softplus(x)
        if derivative:
            torch.sigmoid(x, out=d)

    def sin():
        torch.sin(x, out=s)
        if derivative:
            torch.cos(x, out=d)

    def gelu():
        torch.nn.functional.gelu(x)
        if derivative:
            torch.special.ndtr(x, out=d)
            d.add_(x * torch.exp(-0.5 * x * x), alpha=0.3989422804014327)

    return locals()[name]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("size", [IN_CACHE, OUT_OF_CACHE])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("derivative", [False, True], ids=["value", "value+derivative"])
@pytest.mark.parametrize("name", NAMES)
def test_activation(benchmark, name, derivative, dtype, size, peer):
    if peer == "torch" and torch is None:
        pytest.skip("PyTorch is not installed")
    what = "value+derivative" if derivative else "value"
    benchmark.group = f"{name} {what} {dtype} {size}"
    rng = np.random.default_rng(0)
    X = (2 * rng.normal(size=(size // 100, 100))).astype(dtype)
    S, D = np.empty_like(X), np.empty_like(X)
    code = ACTIVATION_CODES[name]
    if peer == "numpy":
        task = numpy_task(name, derivative, X, S, D)
    elif peer == "torch":
        task = torch_task(name, derivative, X, S, D)
    elif derivative:
        task = lambda: activation_derivative_into(code, X, S, D)  # noqa: E731
    else:
        task = lambda: activation_into(code, X, S)  # noqa: E731
    measure(benchmark, task, X.size)


def softmax_task(kind: str, peer: str, U, y) -> Callable[[], object]:
    """Return the softmax, the loss, or the gradient of the squared loss, as peer computes it."""
    rows = np.arange(len(y))
    e, G = np.empty(len(y), U.dtype), np.empty_like(U)
    if peer == "lysep_fast":
        return {
            "softmax": lambda: softmax_into(U, G),
            "loss": lambda: cross_entropy_into(U, y, e),
            "gradient": lambda: squared_cross_entropy_gradient_into(U, y, e, G),
        }[kind]
    if peer == "numpy":

        def loss():
            return -special.log_softmax(U, axis=1)[rows, y]

        def gradient():
            log_p = special.log_softmax(U, axis=1)
            e = -log_p[rows, y]
            P = np.exp(log_p)
            P[rows, y] -= 1
            P *= 2 * e[:, None]
            return P

        return {
            "softmax": lambda: special.softmax(U, axis=1),
            "loss": loss,
            "gradient": gradient,
        }[kind]

    u, labels, index = torch.from_numpy(U), torch.from_numpy(y), torch.from_numpy(rows)

    def torch_gradient():
        log_p = torch.log_softmax(u, 1)
        e = -log_p[index, labels]
        P = torch.exp(log_p)
        P[index, labels] -= 1
        P *= 2 * e[:, None]
        return P

    return {
        "softmax": lambda: torch.softmax(u, 1),
        "loss": lambda: torch.nn.functional.cross_entropy(u, labels, reduction="none"),
        "gradient": torch_gradient,
    }[kind]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("entries", [IN_CACHE, OUT_OF_CACHE])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("kind", ["softmax", "loss", "gradient"])
def test_softmax(benchmark, kind, classes, dtype, entries, peer):
    if peer == "torch" and torch is None:
        pytest.skip("PyTorch is not installed")
    benchmark.group = f"{kind} K={classes} {dtype} {entries}"
    rng = np.random.default_rng(0)
    U = rng.normal(size=(entries // classes, classes)).astype(dtype)
    y = rng.integers(0, classes, len(U))
    measure(benchmark, softmax_task(kind, peer, U, y), U.size)
