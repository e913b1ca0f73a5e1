"""The baselines of the MNIST experiment: the same network in torch, mini-batch descent or Adam.

torch is imported when it is used, and its global state (threads, random numbers) is put back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ._torch_baseline import threads
from ._watch import Clock, Curves, marks

#: Images per forward pass of an evaluation.
EVALUATED_AT_ONCE = 1000


@dataclass
class Trained:
    """A trained network.

    Attributes
    ----------
    batch_losses : ndarray
        Mean cross-entropy of every batch, before its step.
    curves : dict
        See `_watch.Curves`.
    seconds : float
        Time without the evaluations for the curves.
    kernels : list of pairs of ndarray
        Kernels of every convolution at the start and at the end.
    logits : callable
        From one row per image to logits.
    """

    batch_losses: np.ndarray
    curves: dict[str, list[float]]
    seconds: float
    kernels: list[tuple[np.ndarray, np.ndarray]]
    logits: Callable[[np.ndarray], np.ndarray]


def make_network(architecture: Any, edge: int, n_classes: int, seed: int) -> Any:
    """Return a float32 network with torch's own initial weights for `seed`, no output bias."""
    import torch

    layers: list[Any] = []
    channels = (1, *architecture.channels)
    activation = {"tanh": torch.nn.Tanh}[architecture.activation]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pairs = zip(itertools.pairwise(channels), architecture.pool_sizes, strict=True)
        for (c_in, c_out), pool in pairs:
            convolution = torch.nn.Conv2d(
                c_in, c_out, architecture.kernel_size, padding=architecture.kernel_size // 2
            )
            layers += [convolution, activation(), torch.nn.AvgPool2d(pool)]
        layers += [
            torch.nn.Flatten(),
            torch.nn.Linear(architecture.features(edge), architecture.hidden),
            activation(),
            torch.nn.Linear(architecture.hidden, n_classes, bias=False),
        ]
    return torch.nn.Sequential(*layers)


def train(
    X: np.ndarray,
    y: np.ndarray,
    *,
    architecture: Any,
    optimiser: str,
    rate: float,
    n_iter: int,
    batch_size: int,
    seed: int,
    n_threads: int,
    curve_samples: int,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Train on mini-batches with a constant rate; `optimiser` is "descent" or "adam"."""
    import torch

    clock, curves, at = Clock(), Curves(), marks(n_iter)
    edge, n = math.isqrt(X.shape[1]), len(X)
    network = make_network(architecture, edge, int(y.max()) + 1, seed)
    before = kernels_of(network)
    step = _stepper(network, optimiser, rate)
    images, labels = torch.from_numpy(X).reshape(n, 1, edge, edge), torch.from_numpy(y)
    rng, losses = np.random.default_rng(seed), np.empty(n_iter)
    size = min(batch_size, n)

    def look(done: int) -> None:
        seconds = clock.seconds  # first: the evaluation does not count
        with clock.paused():
            look_at(curves, network, X[:curve_samples], labels[:curve_samples])
        curves.passes.append(done * size / n)
        curves.seconds.append(seconds)

    with threads(n_threads):
        look(0)
        for k, rows in zip(range(n_iter), _batches(n, size, rng), strict=False):
            index = torch.from_numpy(rows)
            losses[k] = step(images[index], labels[index])
            if k + 1 in at:
                look(k + 1)
            advance()
    seconds, kernels = clock.seconds, list(zip(before, kernels_of(network), strict=True))
    return Trained(losses, curves.as_dict(), seconds, kernels, partial(logits_of, network))


def look_at(curves: Curves, network: Any, X: np.ndarray, labels: Any) -> None:
    """Add loss and accuracy on some images to the curves."""
    import torch

    U = torch.from_numpy(logits_of(network, X))
    curves.loss.append(torch.nn.functional.cross_entropy(U, labels).item())
    curves.accuracy.append((U.argmax(dim=1) == labels).double().mean().item())


def _stepper(network: Any, optimiser: str, rate: float) -> Callable[[Any, Any], float]:
    """Return the function that does one step on a batch and returns the loss before it."""
    import torch

    kinds = {"descent": torch.optim.SGD, "adam": torch.optim.Adam}
    method = kinds[optimiser](network.parameters(), lr=rate)

    def step(x: Any, y: Any) -> float:
        loss = torch.nn.functional.cross_entropy(network(x), y)
        method.zero_grad()
        loss.backward()
        method.step()
        return float(loss.item())

    return step


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of one batch after the other, in a new order for every pass."""
    while True:
        order = rng.permutation(n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def logits_of(network: Any, X: np.ndarray) -> np.ndarray:
    import torch

    edge = math.isqrt(X.shape[1])
    with torch.no_grad():
        parts = torch.from_numpy(X).reshape(-1, 1, edge, edge).split(EVALUATED_AT_ONCE)
        values: np.ndarray = torch.cat([network(part) for part in parts]).numpy()
    return values


def kernels_of(network: Any) -> list[np.ndarray]:
    """Return copies of the kernels of all convolutions."""
    import torch

    return [
        layer.weight.detach().numpy().copy()
        for layer in network
        if isinstance(layer, torch.nn.Conv2d)
    ]
