"""Time the convolution layer beside PyTorch and im2col with matrix products, on one thread.

Run ``python -m pytest bench/bench_conv.py --benchmark-only`` for single times, or ``python
bench/bench_conv.py [--quick]`` for tables of ratios: medians of pairs that run in turns, so that a
busy machine slows both.  A ratio above 1 means that lysep_fast is faster.  The normal equations of
the kernel (Gram matrix and right-hand side) are compared with the fastest of three peers: one
patch matrix (NumPy strides, one GEMM each), the patch matrix of 8 samples at a time, which stays
in the cache, and ``torch.nn.functional.unfold`` with batched products.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lysep_fast.features import PooledActivation
from lysep_fast.layers import Convolution

try:
    import torch
except ImportError:  # a peer, not a dependency
    torch = None

DTYPES = ["float32", "float64"]
KINDS = ["apply", "adjoint", "correlation"]
CHANNELS = [(1, 8), (8, 1), (8, 8), (16, 16)]
PEERS = ["lysep_fast", "torch"]
GRAM_PEERS = ["lysep_fast", "im2col", "im2col of 8", "unfold"]
Task = Callable[[], object]


def draw(layer: Convolution, rows: int, dtype: str) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = (rows, layer.n_inputs), (rows, layer.n_outputs), layer.weight_shape
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)


def map_tasks(layer: Convolution, kind: str, rows: int, dtype: str) -> dict[str, Task]:
    """Return the map, its adjoint or its kernel gradient, by peer."""
    S, G, W = draw(layer, rows, dtype)
    out, back, kernel = np.empty_like(G), np.empty_like(S), np.empty_like(W)
    tasks: dict[str, Task] = {
        "lysep_fast": {
            "apply": lambda: layer.apply(S, W, out),
            "adjoint": lambda: layer.adjoint(G, W, back),
            "correlation": lambda: layer.correlation(G, S, kernel),
        }[kind]
    }
    if torch is None:
        return tasks
    s = torch.from_numpy(S).reshape(rows, *layer.image_shape)
    g = torch.from_numpy(G).reshape(rows, *layer.output_shape)
    shape = (layer.output_shape[0], layer.image_shape[0], *layer.kernel_size)
    k = torch.from_numpy(W).reshape(shape)
    options = {"stride": layer.stride, "padding": layer.padding}
    tasks["torch"] = {
        "apply": lambda: torch.nn.functional.conv2d(s, k, **options),
        "adjoint": lambda: torch.nn.grad.conv2d_input(s.shape, k, g, **options),
        "correlation": lambda: torch.nn.grad.conv2d_weight(s, k.shape, g, **options),
    }[kind]
    return tasks


def gram_tasks(layer: Convolution, rows: int, dtype: str) -> dict[str, Task]:
    """Return Gram matrix and right-hand side of the kernel's normal equations, by peer."""
    S, T, W = draw(layer, rows, dtype)
    channels, taps = layer.weight_shape
    gram, right = np.empty((taps, taps), dtype), np.empty_like(W)

    def ours():
        layer.gram(S, gram)
        layer.correlation(T, S, right)

    def im2col(few):
        total, sums = 0, 0
        for i in range(0, rows, few):
            M = layer.patch_matrix(S[i : i + few])
            V = T[i : i + few].reshape(-1, channels, layer.n_positions).transpose(0, 2, 1)
            total = total + np.dot(M.T, M)
            sums = sums + np.dot(np.ascontiguousarray(V).reshape(-1, channels).T, M)
        return total, sums

    tasks: dict[str, Task] = {
        "lysep_fast": ours,
        "im2col": lambda: im2col(rows),
        "im2col of 8": lambda: im2col(8),
    }
    if torch is None:
        return tasks
    s = torch.from_numpy(S).reshape(rows, *layer.image_shape)
    t = torch.from_numpy(T).reshape(rows, channels, layer.n_positions)

    def unfold():
        M = torch.nn.functional.unfold(
            s, layer.kernel_size, padding=layer.padding, stride=layer.stride
        ).transpose(1, 2)
        return torch.bmm(M.transpose(1, 2), M).sum(0), torch.bmm(t, M).sum(0)

    tasks["unfold"] = unfold
    return tasks


def pooled_tasks(name: str, image: tuple, kind: str, rows: int, dtype: str) -> dict[str, Task]:
    """Return activation with 2 x 2 pooling: forward, or forward and gradient."""
    feature = PooledActivation(name, image, 2)
    rng = np.random.default_rng(0)
    A = rng.normal(size=(rows, feature.n_inputs)).astype(dtype)
    G = rng.normal(size=(rows, feature.n_outputs)).astype(dtype)
    S, D, out = np.empty_like(G), np.empty_like(A), np.empty_like(A)

    def gradient():
        feature.forward_with_derivative(A, S, D)
        feature.pull_back(G, D, out)

    tasks: dict[str, Task] = {
        "lysep_fast": gradient if kind == "gradient" else lambda: feature.forward(A, S)
    }
    if torch is None:
        return tasks
    a = torch.from_numpy(A).reshape(rows, *image)
    g = torch.from_numpy(G).reshape(rows, *feature.output_shape)
    act, pool = getattr(torch, name), torch.nn.functional.avg_pool2d

    def torch_gradient():
        with torch.enable_grad():
            x = a.clone().requires_grad_()
            pool(act(x), 2).backward(g)

    tasks["torch"] = torch_gradient if kind == "gradient" else lambda: pool(act(a), 2)
    return tasks


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run all peers on one thread."""
    with threadpool_limits(1):
        if torch is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        with torch.no_grad():
            yield
        torch.set_num_threads(before)


def measure(benchmark, tasks: dict[str, Task], peer: str) -> None:
    """Time one peer, which is run once before, so that compilation is not timed."""
    if peer not in tasks:
        pytest.skip("PyTorch is not installed")
    tasks[peer]()
    benchmark.pedantic(tasks[peer], rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [28, 14])
@pytest.mark.parametrize("kind", KINDS)
def test_convolution(benchmark, kind, size, kernel, channels, dtype, peer):
    layer = Convolution((channels[0], size, size), channels[1], kernel, padding="same")
    benchmark.group = f"{kind} {size}x{size} {kernel}x{kernel} {channels} {dtype}"
    measure(benchmark, map_tasks(layer, kind, 128, dtype), peer)


@pytest.mark.parametrize("peer", GRAM_PEERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c_in", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("kernel", [3, 5])
def test_normal_equations(benchmark, kernel, c_in, dtype, peer):
    layer = Convolution((c_in, 28, 28), 8, kernel, padding="same")
    benchmark.group = f"normal equations 28x28 {kernel}x{kernel} {c_in} channels {dtype}"
    measure(benchmark, gram_tasks(layer, 128, dtype), peer)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("kind", ["forward", "gradient"])
def test_pooled_activation(benchmark, kind, name, dtype, peer):
    benchmark.group = f"pooled {name} {kind} {dtype}"
    measure(benchmark, pooled_tasks(name, (8, 28, 28), kind, 128, dtype), peer)


def pairs(mine: Task, other: Task, rounds: int) -> tuple[float, float]:
    """Return the median time of the first task and the median ratio, run in turns."""
    for task in (mine, other) * 2:
        task()
    times, ratios = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        mine()
        middle = time.perf_counter()
        other()
        times.append(middle - start)
        ratios.append((time.perf_counter() - middle) / times[-1])
    return statistics.median(times), statistics.median(ratios)


def peak_memory(task: Task) -> int:
    """Return the most bytes that NumPy holds at once during the task, beyond those before."""
    tracemalloc.start()
    task()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def print_maps(dtypes: list[str], sizes: list[int], channels: list[int], rounds: int) -> None:
    print("\ntorch / lysep_fast: " + ", ".join(KINDS) + "; in brackets our nominal GFlop/s")
    for dtype, size, kernel in itertools.product(dtypes, sizes, (3, 5)):
        print(f"\n{dtype}, {size} x {size}, {kernel} x {kernel}, 128 images, padding same")
        for c_in, c_out in itertools.product(channels, channels):
            layer = Convolution((c_in, size, size), c_out, kernel, padding="same")
            flops = 2 * 128 * np.prod(layer.weight_shape) * layer.n_positions
            cells = []
            for kind in KINDS:
                tasks = map_tasks(layer, kind, 128, dtype)
                seconds, ratio = pairs(tasks["lysep_fast"], tasks["torch"], rounds)
                cells.append(f"{ratio:6.2f} ({flops / seconds / 1e9:4.0f})")
            print(f"  {c_in:2d} -> {c_out:2d}  " + "  ".join(cells), flush=True)


def print_grams(dtypes: list[str], paddings: list[int | str], rounds: int) -> None:
    print("\nGram matrix and right-hand side, 28 x 28, 128 images: our ms, ratio to every peer,")
    print("our peak memory, and that of the patch matrix divided by it")
    for dtype, padding, kernel in itertools.product(dtypes, paddings, (3, 5)):
        print(f"\n{dtype}, {kernel} x {kernel}, padding {padding}")
        for c_in, c_out in itertools.product((1, 2, 4, 8, 16), (8, 16)):
            layer = Convolution((c_in, 28, 28), c_out, kernel, padding=padding)
            tasks = gram_tasks(layer, 128, dtype)
            mine = tasks.pop("lysep_fast")
            cells = []
            for peer, task in tasks.items():
                seconds, ratio = pairs(mine, task, rounds)
                cells.append(f"{peer} {ratio:5.2f}")
            memory = peak_memory(mine)
            saved = peak_memory(tasks["im2col"]) / memory
            print(
                f"  {c_in:2d} -> {c_out:2d} {1e3 * seconds:8.2f}   " + "   ".join(cells),
                f"  {memory / 1024:6.0f} KiB  {saved:5.0f}",
                flush=True,
            )


def print_pooled(dtypes: list[str], rounds: int) -> None:
    print("\nActivation and 2 x 2 pooling, 128 images of 8 x 28 x 28: torch / lysep_fast")
    for dtype, name in itertools.product(dtypes, ("tanh", "relu")):
        cells = []
        for kind in ("forward", "gradient"):
            tasks = pooled_tasks(name, (8, 28, 28), kind, 128, dtype)
            cells.append(f"{kind} {pairs(tasks['lysep_fast'], tasks['torch'], rounds)[1]:5.2f}")
        print(f"  {dtype} {name}: " + ", ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print tables of ratios to the peers.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    quick = parser.parse_args().quick
    if torch is None:
        raise SystemExit("the tables compare with PyTorch, which is not installed")
    torch.set_num_threads(1)
    with threadpool_limits(1), torch.no_grad():
        if quick:
            print_maps(["float32"], [14], [1, 8], 5)
            print_grams(["float32"], ["same"], 3)
            print_pooled(["float32"], 5)
            return
        print_maps(["float32"], [28, 14], [1, 4, 8, 16], 21)
        print_maps(["float64"], [28, 14], [1, 8, 16], 9)
        print_grams(["float32"], [0, "same"], 7)
        print_grams(["float64"], ["same"], 5)
        print_pooled(DTYPES, 21)


if __name__ == "__main__":
    main()
