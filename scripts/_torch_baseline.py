"""The papers' baseline: the same network in PyTorch, full-batch gradient descent on the CE.

torch is imported when it is used, and its global state (threads, random numbers) is put back.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)

_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "ReLU", "softplus": "Softplus"}


@dataclass
class Trained:
    """A trained baseline: curves over iterations 0..n, and a function from X to logits."""

    loss: np.ndarray
    accuracy: np.ndarray
    seconds: np.ndarray
    logits: Callable[[np.ndarray], np.ndarray]


def how_to_get_torch(what: str) -> str:
    """Return what to do when torch is missing; `what` is like "baseline needs"."""
    return (
        f"The {what} torch, which is not installed. To add it, install a CPU build,\n"
        "e.g. pip install torch==2.13.0 where that is a CPU build (see pytorch.org for the CPU\n"
        "wheels; elsewhere the plain name can bring gigabytes of GPU libraries), and run the\n"
        "same command again: finished runs are kept."
    )


def available() -> bool:
    """Return whether torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Let torch use `n_threads` threads inside, and what it used before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_network(widths: Sequence[int], activation: str, seed: int, output_bias: bool) -> Any:
    """Return a float64 network with torch's own initial weights for `seed`."""
    import torch

    layers: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for a, b in itertools.pairwise(widths[:-1]):
            layers += [torch.nn.Linear(a, b), getattr(torch.nn, _ACTIVATIONS[activation])()]
        layers.append(torch.nn.Linear(widths[-2], widths[-1], bias=output_bias))
    return torch.nn.Sequential(*layers).double()


def gradient_descent(
    X: np.ndarray,
    y: np.ndarray,
    *,
    widths: Sequence[int],
    rate: float,
    n_iter: int,
    seed: int,
    n_threads: int,
    activation: str = "tanh",
    output_bias: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Train by full-batch gradient descent with a constant rate.

    Entry k of the curves belongs to the network after k iterations, 0 <= k <= n_iter; seconds
    exclude nothing but the making of the network.
    """
    import torch

    network = make_network(widths, activation, seed, output_bias)
    parameters = list(network.parameters())
    inputs, labels = torch.tensor(X, dtype=torch.float64), torch.tensor(y)
    curves = np.empty((3, n_iter + 1))
    with threads(n_threads):
        began = time.perf_counter()
        for k in range(n_iter + 1):
            logits = network(inputs)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            correct = (logits.detach().argmax(dim=1) == labels).double().mean()
            curves[:, k] = loss.item(), correct.item(), time.perf_counter() - began
            if k < n_iter:
                gradients = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter.sub_(gradient, alpha=rate)
                advance()

    def predict(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            values: np.ndarray = network(torch.tensor(points, dtype=torch.float64)).numpy()
        return values

    return Trained(curves[0], curves[1], curves[2], predict)
