"""L-BFGS in torch for the convolutional networks: the loss of all images, in parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ._mnist_torch import Trained, kernels_of, logits_of, look_at, make_network
from ._torch_baseline import threads
from ._torch_optimisers import Training, lbfgs, load_optimisers
from ._watch import Clock, Curves, marks

#: Images per forward and backward pass: the maps of all of them at once would take gigabytes.
AT_ONCE = 500


class _InParts(Training):
    """The mean cross-entropy of all images; loss and gradient are summed up part by part."""

    def __init__(self, network: Any, images: Any, labels: Any, **bounds: Any) -> None:
        self._parts = list(zip(images.split(AT_ONCE), labels.split(AT_ONCE), strict=True))
        self._n = len(labels)
        #: Called with the number of evaluations before this one.
        self.look: Callable[[int], None] = lambda done: None
        super().__init__(network, **bounds)

    def evaluate(self) -> float:
        import torch

        self.look(len(self.losses))
        for parameter in self.parameters:
            parameter.grad = None
        total = 0.0
        for x, y in self._parts:
            loss = torch.nn.functional.cross_entropy(self.network(x), y, reduction="sum")
            (loss / self._n).backward()
            total += loss.item()
        return total / self._n

    def differentiate(self) -> Any:
        return self.losses[-1]  # the gradient is there already


def train(
    X: np.ndarray,
    y: np.ndarray,
    *,
    architecture: Any,
    n_iter: int,
    seed: int,
    n_threads: int,
    curve_samples: int,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Train by L-BFGS with the strong Wolfe conditions, to the best network that was seen.

    `n_iter` bounds the evaluations after that of the initial network.  The curves are those of
    the networks that are evaluated, trials along a line included.
    """
    import torch

    edge, n = math.isqrt(X.shape[1]), len(X)
    with threads(n_threads):
        load_optimisers()
        clock, curves, at = Clock(), Curves(), marks(n_iter)
        network = make_network(architecture, edge, int(y.max()) + 1, seed)
        before = kernels_of(network)
        images, labels = torch.from_numpy(X).reshape(n, 1, edge, edge), torch.from_numpy(y)
        training = _InParts(network, images, labels, n_iter=n_iter, stop_at=0.0, advance=advance)

        def look(done: int) -> None:
            if done in at:
                seconds = clock.seconds
                with clock.paused():
                    look_at(curves, network, X[:curve_samples], labels[:curve_samples])
                curves.passes.append(float(done))
                curves.seconds.append(seconds)

        training.look = look
        lbfgs(training, 1.0, n_iter)
        training.restore()
        seconds, kernels = clock.seconds, list(zip(before, kernels_of(network), strict=True))
    losses = np.array(training.losses)
    return Trained(losses, curves.as_dict(), seconds, kernels, partial(logits_of, network))
