"""The rivals of the MNIST experiment: the same network in torch, on mini-batches or all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lysep_fast.network import Network

from ._torch_loop import (
    Best,
    cross_entropy,
    inputs,
    logits,
    make_optimiser,
    run,
    score,
    session,
    twin,
)
from ._watch import Clock, Curves, marks

#: Images per pass of L-BFGS: the maps of all of them at once would take gigabytes.
AT_ONCE = 500


@dataclass
class Trained:
    """A trained network.

    Attributes
    ----------
    losses : ndarray
        Mean cross-entropy of every batch before its step, or of every evaluation.
    curves : dict
        See `_watch.Curves`.
    seconds : float
        Time without the evaluations for the curves.
    kernels : list of pairs of ndarray
        Kernels of every convolution at the start and at the end.
    logits : callable
        From one row per image to logits.
    """

    losses: np.ndarray
    curves: dict[str, list[float]]
    seconds: float
    kernels: list[tuple[np.ndarray, np.ndarray]]
    logits: Callable[[np.ndarray], np.ndarray]


class _Training:
    """A network in training, and what is seen of it; the arguments are those of `train`."""

    def __init__(
        self, X: np.ndarray, y: np.ndarray, network: Network, n_iter: int, curve_samples: int,
        batch_size: int, advance: Callable[[], object],
    ) -> None:  # fmt: skip
        import torch

        self.network, self.model = network, twin(network, "float32")
        self.images, self.labels = inputs(network, X), torch.from_numpy(y)
        self.losses: list[float] = []
        self.curves, self.clock = Curves(), Clock()
        self._n_iter, self._at, self._advance = n_iter, marks(n_iter), advance
        self._curve_samples, self._batch_size = curve_samples, batch_size

    def look(self, done: int) -> None:
        """Evaluate the network on some images if it is time."""
        if done in self._at:
            self.curves.passes.append(done * self._batch_size / len(self.labels))
            self.curves.seconds.append(self.clock.seconds)
            with self.clock.paused():
                n = self._curve_samples
                loss, accuracy = score(self.model, self.images[:n], self.labels[:n])
            self.curves.loss.append(loss)
            self.curves.accuracy.append(accuracy)

    def on_batches(self, optimiser: Any, batches: Iterator[Any]) -> None:
        """Do a step on every batch."""

        def stepped(k: int) -> None:
            self.look(k)
            self._advance()

        self.look(0)
        loss = cross_entropy(self.model, self.images, self.labels, batches)
        run(optimiser, loss, steps=self._n_iter, seen=self.losses.append, stepped=stepped)

    def on_all(self, optimiser: Any) -> None:
        """Train on all images, to the best network that was seen."""
        import torch

        parts = list(zip(self.images.split(AT_ONCE), self.labels.split(AT_ONCE), strict=True))
        best = Best(self.model.parameters())

        def loss() -> Any:
            self.look(len(self.losses))
            total = 0.0
            for x, y in parts:
                part = torch.nn.functional.cross_entropy(self.model(x), y, reduction="sum")
                (part / len(self.labels)).backward()
                total += part.item()
            return torch.tensor(total / len(self.labels), dtype=torch.float64)

        def seen(value: float) -> bool:
            self.losses.append(value)
            best.offer(value)
            if len(self.losses) > 1:
                self._advance()
            return len(self.losses) > self._n_iter or not 0.0 < value < np.inf

        run(optimiser, loss, seen=seen)
        best.restore()


def train(
    X: np.ndarray,
    y: np.ndarray,
    *,
    network: Network,
    optimiser: str,
    rate: float,
    n_iter: int,
    batch_size: int | None,
    seed: int,
    n_threads: int,
    curve_samples: int,
    advance: Callable[[], object] = int,
) -> Trained:
    """Train on mini-batches with a constant rate, or by L-BFGS on all images.

    Parameters
    ----------
    X, y : ndarray
        Images as rows in float32, and labels.
    network : Network
        What is trained; the initial weights are torch's own for `seed`.
    optimiser : {"descent", "adam", "lbfgs"}
        L-BFGS goes back to the best network that was seen.
    n_iter : int
        Steps, or for L-BFGS a bound on the evaluations after that of the initial network, whose
        curves show all that are evaluated, trials along a line included.
    batch_size : int or None
        None for all images.
    curve_samples : int
        Images that the curves are taken on, the first ones.
    """
    n = len(X)
    size = min(batch_size or n, n)
    with session(seed, n_threads):
        training = _Training(X, y, network, n_iter, curve_samples, size, advance)
        before = _kernels(training.model)
        method = make_optimiser(optimiser, training.model.parameters(), rate)
        if batch_size is None:
            training.on_all(method)
        else:
            training.on_batches(method, _batches(n, size, np.random.default_rng(seed)))
        seconds = training.clock.seconds
    kernels = list(zip(before, _kernels(training.model), strict=True))

    def predict(points: np.ndarray) -> np.ndarray:
        return np.asarray(logits(training.model, inputs(network, points)))

    return Trained(np.array(training.losses), training.curves.as_dict(), seconds, kernels, predict)


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Yield the rows of one batch after the other, in a new order for every pass."""
    import torch

    while True:
        order = torch.from_numpy(rng.permutation(n))
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def _kernels(model: Any) -> list[np.ndarray]:
    """Return copies of the kernels of all convolutions."""
    return [w.detach().numpy().copy() for w in model.parameters() if w.ndim == 4]
