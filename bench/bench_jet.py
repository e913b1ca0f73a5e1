"""Time jets beside NumPy and PyTorch: the chain rule, a network's jet, a loss with its gradient.

Run ``python -m pytest bench/bench_jet.py --benchmark-only`` for a table, or
``python bench/bench_jet.py`` for ratios (``--help`` lists the choices): medians over interleaved
pairs, so that other work on the machine hits both sides alike; every peer has the same number of
threads.  PyTorch evaluates forward over reverse: ``torch.func.jvp`` of ``torch.func.grad``, mapped
over points and directions; for the gradient of a loss, reverse over reverse, the usual way of
physics-informed networks.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from lysep_fast.features.jet import Jet
from lysep_fast.pde import Box, Operator, Problem
from lysep_fast.pde.jets import Hidden, JetNetwork
from lysep_fast.pde.output import fit_output
from lysep_fast.threads.blocks import sample_blocks
from lysep_fast.threads.team import Team, Workspace

try:
    import torch
except ImportError:  # a peer, not a dependency
    torch = None

Task = Callable[[], object]
WIDTHS = (64, 64)


# --- the chain rule of one layer -----------------------------------------------------------------


def jet_task(J: np.ndarray, G: np.ndarray, kind: str) -> Task:
    """Return the kernels, over blocks of rows as the library runs them; all results are kept."""
    c, n, m = J.shape
    jet, parts = Jet("tanh", c - 2), []
    # One piece of memory per array, as the peers have: NumPy asks for large pages from 4 MiB on.
    memory = [np.zeros(k * n * m, J.dtype) for k in (c, c, c, 3, c)]
    for rows in sample_blocks(n, c * m, J.itemsize):
        arrays = []
        for whole, k in zip(memory, (c, c, c, 3, c), strict=True):
            flat = whole[k * rows.start * m : k * rows.stop * m]
            arrays.append(flat.reshape(k, rows.stop - rows.start, m))
        arrays[0][...], arrays[1][...] = J[:, rows], G[:, rows]
        parts.append(arrays)

    def run() -> None:
        for part, cotangent, P, D, out in parts:
            if kind == "in place":
                jet.forward(part, part)
                continue
            jet.forward(part, P, D)
            if kind == "forward+adjoint":
                jet.vjp(part, cotangent, out, D)

    return run


def numpy_jet_task(J: np.ndarray, G: np.ndarray, kind: str) -> Task:
    """Return the same by array expressions on whole arrays, written as one would."""
    A, B, C = J[0], J[1:-1], J[-1]
    gS, gT, gQ = G[0], G[1:-1], G[-1]

    def run() -> tuple[np.ndarray, ...]:
        t = np.tanh(A)
        first = 1 - t * t
        second = -2 * t * first
        squares = np.einsum("knm,knm->nm", B, B)
        P = (t, first * B, second * squares + first * C)
        if kind != "forward+adjoint":
            return P
        third = first * (6 * t * t - 2)
        gA = first * gS + second * np.einsum("knm,knm->nm", B, gT)
        gA += (third * squares + second * C) * gQ
        return (*P, gA, first * gT + 2 * second * gQ * B, first * gQ)

    return run


def buffered_jet_task(J: np.ndarray, G: np.ndarray, kind: str) -> Task:
    """Return the same without any allocation: every operation writes to a given array."""
    A, B, C = J[0], J[1:-1], J[-1]
    gS, gT, gQ = G[0], G[1:-1], G[-1]
    P, O, D = np.empty_like(J), np.empty_like(J), np.empty((3, *A.shape), J.dtype)
    squares, work, product = (np.empty_like(A) for _ in range(3))

    def multiply(a: np.ndarray, b: np.ndarray | float, out: np.ndarray) -> None:
        np.multiply(a, b, out=out)

    def run() -> np.ndarray:
        t, (first, second, third), Q, gA = P[0], D, P[-1], O[0]
        np.tanh(A, out=t)
        multiply(t, t, first)
        np.subtract(1, first, out=first)
        multiply(t, first, second)
        multiply(second, -2, second)
        np.einsum("knm,knm->nm", B, B, out=squares)
        multiply(first, B, P[1:-1])
        multiply(second, squares, Q)
        multiply(first, C, work)
        np.add(Q, work, out=Q)
        if kind != "forward+adjoint":
            return P
        multiply(t, t, third)
        multiply(third, 6, third)
        np.subtract(third, 2, out=third)
        multiply(third, first, third)
        np.einsum("knm,knm->nm", B, gT, out=gA)
        multiply(C, gQ, work)
        np.add(gA, work, out=gA)
        multiply(gA, second, gA)
        multiply(third, squares, work)
        multiply(work, gQ, work)
        np.add(gA, work, out=gA)
        multiply(first, gS, work)
        np.add(gA, work, out=gA)
        multiply(second, 2, work)
        multiply(work, gQ, work)
        # Direction by direction: the products stay in the cache.
        for b, g, gB in zip(B, gT, O[1:-1], strict=True):
            multiply(first, g, gB)
            multiply(work, b, product)
            np.add(gB, product, out=gB)
        multiply(first, gQ, O[-1])
        return O

    return run


# --- value, gradient and Laplacian of a network --------------------------------------------------


def draw_network(d: int, dtype: np.dtype) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return hidden weights, biases and output weights."""
    rng, sizes = np.random.default_rng(0), (d, *WIDTHS)
    W = [
        (rng.normal(size=(m, k)) / np.sqrt(k)).astype(dtype) for k, m in itertools.pairwise(sizes)
    ]
    b = [rng.uniform(-0.5, 0.5, m).astype(dtype) for m in WIDTHS]
    return W, b, rng.normal(size=WIDTHS[-1]).astype(dtype)


def network_task(X: np.ndarray, threads: int) -> Task:
    """Return the forward jet over blocks of points."""
    n, d = X.shape
    dtype = X.dtype
    W, b, w = draw_network(d, dtype)
    jet, r = Jet("tanh", d), d
    out = np.empty((2 + r, n), dtype)
    blocks = sample_blocks(n, (2 + r) * max(WIDTHS), X.itemsize)

    def block(rows: slice, ws: Workspace) -> None:
        k = rows.stop - rows.start
        J = ws.array("1", (2 + r, k, WIDTHS[0]), dtype)
        np.dot(X[rows], W[0].T, out=J[0])
        J[0] += b[0]
        # The input's directions are the unit vectors at every point, its second-order part zero.
        J[1:-1] = W[0].T[:, None, :]
        J[-1] = 0.0
        jet.forward(J, J, ws.array("D", (3, k, WIDTHS[0]), dtype))
        Z = ws.array("2", (2 + r, k, WIDTHS[1]), dtype)
        np.dot(J.reshape(-1, WIDTHS[0]), W[1].T, out=Z.reshape(-1, WIDTHS[1]))
        Z[0] += b[1]
        jet.forward(Z, Z, ws.array("D", (3, k, WIDTHS[1]), dtype))
        out[:, rows] = np.dot(Z.reshape(-1, WIDTHS[1]), w).reshape(2 + r, k)

    def run() -> np.ndarray:
        with Team(threads) as team:
            team.map(block, blocks)
        return out

    return run


def torch_network_task(X: np.ndarray, threads: int) -> Task:
    """Return forward over reverse: jvp of grad along every unit vector."""
    d = X.shape[1]
    W, b, w = draw_network(d, X.dtype)
    weights, biases = [torch.from_numpy(v) for v in W], [torch.from_numpy(v) for v in b]
    last, x, unit = torch.from_numpy(w), torch.from_numpy(X), torch.eye(d, dtype=torch.float64)
    unit = unit.to(x.dtype)

    def value(point):
        for weight, bias in zip(weights, biases, strict=True):
            point = torch.tanh(torch.nn.functional.linear(point, weight, bias))
        return point @ last

    gradient = torch.func.grad_and_value(value)

    def along(point, direction):
        (slope, u), (second, _) = torch.func.jvp(gradient, (point,), (direction,))
        return u, slope, second @ direction

    def at(point):
        u, slope, second = torch.func.vmap(along, in_dims=(None, 0))(point, unit)
        return u[0], slope[0], second.sum()

    everywhere = torch.func.vmap(at)

    def run():
        torch.set_num_threads(threads)
        return everywhere(x)

    return run


# --- one iteration of solving a Poisson problem --------------------------------------------------


def poisson(d: int) -> Problem:
    """Return a Poisson problem with a known solution in (-1, 1)^d."""
    return Problem.manufactured(
        Box(-1, 1, d), Operator(-1.0), lambda X: np.sum(np.sin(np.pi * X / 2), axis=1)
    )


def projection_task(d: int, n: int, threads: int) -> Task:
    """Return loss and gradient as variable projection needs them: w fitted, then held."""
    rng, team, widths = np.random.default_rng(0), Team(threads), (d, *WIDTHS)
    network = JetNetwork(poisson(d).collocate(n, n // 4, 100.0, rng), widths, "tanh", None, team)
    hidden = Hidden.random(widths, 0.5, (-np.ones(d), np.ones(d)), rng)

    def run() -> np.ndarray:
        with team:
            network.forward(hidden)
            return network.gradient(hidden, fit_output(network).w)[1]

    return run


def torch_gradient_task(d: int, n: int, threads: int) -> Task:
    """Return loss and gradient of all weights as physics-informed networks are trained."""
    inside, edge = poisson(d).collocate(n, n // 4, 100.0, np.random.default_rng(0))
    x, f = torch.from_numpy(inside.P[0].copy()), torch.from_numpy(inside.f)
    y, g = torch.from_numpy(edge.P[0]), torch.from_numpy(edge.f)
    layers = []
    for k, m in itertools.pairwise((d, *WIDTHS, 1)):
        layers += [torch.nn.Linear(k, m, dtype=torch.float64), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    x.requires_grad_(True)

    def run() -> object:
        torch.set_num_threads(threads)
        model.zero_grad()
        slope = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
        laplacian = sum(
            torch.autograd.grad(slope[:, j].sum(), x, create_graph=True)[0][:, j] for j in range(d)
        )
        loss = ((laplacian + f) ** 2).mean() + 100 * ((model(y)[:, 0] - g) ** 2).mean()
        loss.backward()
        return loss

    return run


def tasks(kind: str, r: int, n: int, dtype: str, threads: int = 1) -> dict[str, Task]:
    """Return the peers of one comparison, ours first."""
    rng = np.random.default_rng(1)
    if kind == "network":
        X = rng.uniform(-1, 1, (n, r)).astype(dtype)
        peers = {"lysep_fast": network_task(X, threads)}
        if torch is not None:
            peers["torch"] = torch_network_task(X, threads)
        return peers
    if kind == "gradient":
        peers = {"lysep_fast": projection_task(r, n, threads)}
        if torch is not None:
            peers["torch"] = torch_gradient_task(r, n, threads)
        return peers
    J, G = (rng.normal(size=(2 + r, n, WIDTHS[0])).astype(dtype) for _ in range(2))
    return {
        "lysep_fast": jet_task(J.copy(), G, kind),
        "numpy": numpy_jet_task(J, G, kind),
        "numpy out=": buffered_jet_task(J, G, kind),
    }


KINDS = ["in place", "forward", "forward+adjoint", "network", "gradient"]
CASES = [(r, n) for r in (2, 5, 10) for n in (512, 4096)]


@pytest.mark.parametrize(("r", "n"), CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("peer", ["lysep_fast", "numpy", "numpy out=", "torch"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jet(benchmark, kind, peer, dtype, r, n):
    peers = {} if (kind, dtype) == ("gradient", "float32") else tasks(kind, r, n, dtype)
    if peer not in peers:
        pytest.skip(f"no {peer} here")
    benchmark.group = f"{kind} {dtype} d={r} n={n}"
    peers[peer]()
    benchmark.pedantic(peers[peer], rounds=20, iterations=1, warmup_rounds=2)


def paired(peers: dict[str, Task], repeats: int = 25) -> tuple[float, dict[str, float]]:
    """Return our median time and the median ratios of the others over interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for task in peers.values():
        task()
    for _ in range(repeats):
        for name, task in peers.items():
            if "torch" in peers:
                # Its idle threads spin for a while, on the processors that we need.
                time.sleep(0.01)
            for _ in range(2):
                task()  # brings its own data back into the caches
            began = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - began)
    ours = np.array(times.pop("lysep_fast"))
    return float(np.median(ours)), {k: float(np.median(t / ours)) for k, t in times.items()}


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--directions", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    options = parser.parse_args()
    print("kind             dtype    threads  d     n   ours [ms]  ratio to the peer")
    for kind, dtype in itertools.product(options.kinds, options.dtypes):
        if kind == "gradient" and dtype == "float32":
            continue  # closed-form output weights want float64
        whole = kind in ("network", "gradient")
        # A block of the library, and what has to be fetched from further away.
        cases = itertools.product(options.directions, (512, 4096) if whole else (64, 512, 4096))
        counts = options.threads if whole else options.threads[:1]
        for (r, n), count in itertools.product(cases, counts):
            seconds, ratios = paired(tasks(kind, r, n, dtype, count))
            text = "  ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
            print(
                f"{kind:16s} {dtype:8s} {count:6d} {r:3d} {n:5d} {1e3 * seconds:10.4f}  {text}",
                flush=True,
            )


if __name__ == "__main__":
    main()
