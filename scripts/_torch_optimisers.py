"""What a user would train the same network with in torch: Adam and L-BFGS on the whole data.

Entry k of their curves belongs to evaluation k of the cross-entropy, the initial network being
evaluation 0; the network that is returned is the best one seen.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._torch_baseline import Trained, make_network, threads

ADAM_RATES = (0.001, 0.003, 0.01)
HISTORY = 20


class _Finished(Exception):
    """Ends an optimiser, L-BFGS even in the middle of its search along a line."""


class Training:
    """A network in training, all that has been seen of its loss, and its best weights.

    Subclasses say what the loss is.

    Parameters
    ----------
    network : torch module
    n_iter : int
        Evaluations after that of the initial network.
    stop_at : float
        Loss at which the training ends.
    advance : callable
        Called after every evaluation but the first.
    """

    def __init__(
        self, network: Any, *, n_iter: int, stop_at: float, advance: Callable[[], None]
    ) -> None:
        self.network, self.parameters = network, list(network.parameters())
        self._n_iter, self._stop_at, self._advance = n_iter, stop_at, advance
        #: Of every evaluation: loss and seconds.
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self._best = [parameter.detach().clone() for parameter in self.parameters]
        self._least, self._began = np.inf, time.perf_counter()

    def evaluate(self) -> float:
        """Return the loss."""
        raise NotImplementedError

    def differentiate(self) -> Any:
        """Leave the gradient of what was evaluated in the parameters, and return the loss."""
        raise NotImplementedError

    def closure(self) -> Any:
        """Return the loss with its gradient; raise `_Finished` where the training ends."""
        value = self.evaluate()
        self.losses.append(value)
        self.seconds.append(time.perf_counter() - self._began)
        if value < self._least:
            self._least = value
            for kept, parameter in zip(self._best, self.parameters, strict=True):
                kept.copy_(parameter.detach())
        if len(self.losses) > 1:
            self._advance()
        if len(self.losses) > self._n_iter or value <= self._stop_at or not np.isfinite(value):
            raise _Finished
        return self.differentiate()

    def restore(self) -> None:
        """Go back to the best network."""
        import torch

        with torch.no_grad():
            for kept, parameter in zip(self._best, self.parameters, strict=True):
                parameter.copy_(kept)


class _AtOnce(Training):
    """All data in one pass; the arguments are those of `train`."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        widths: Sequence[int],
        activation: str,
        seed: int,
        output_bias: bool,
        **bounds: Any,
    ) -> None:
        import torch

        self._inputs, self._labels = torch.tensor(X, dtype=torch.float64), torch.tensor(y)
        self.accuracies: list[float] = []
        super().__init__(make_network(widths, activation, seed, output_bias), **bounds)

    def evaluate(self) -> float:
        import torch

        logits = self.network(self._inputs)
        self._loss = torch.nn.functional.cross_entropy(logits, self._labels)
        correct = logits.detach().argmax(dim=1) == self._labels
        self.accuracies.append(correct.double().mean().item())
        return float(self._loss.item())

    def differentiate(self) -> Any:
        for parameter in self.parameters:
            parameter.grad = None
        self._loss.backward()
        return self._loss

    def finish(self) -> Trained:
        """Go back to the best network and return what there is."""
        import torch

        self.restore()

        def predict(points: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                values: np.ndarray = self.network(torch.tensor(points, dtype=torch.float64))
            return np.asarray(values)

        return Trained(*map(np.array, (self.losses, self.accuracies, self.seconds)), predict)


def train(
    X: np.ndarray,
    y: np.ndarray,
    *,
    method: str,
    widths: Sequence[int],
    n_iter: int,
    seed: int,
    n_threads: int,
    rate: float = 1.0,
    stop_at: float = 0.0,
    activation: str = "tanh",
    output_bias: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Train by Adam, or by L-BFGS with the strong Wolfe conditions.

    Parameters
    ----------
    X, y : ndarray
        Training data.
    method : {"adam", "lbfgs"}
        The optimiser.
    n_iter : int
        Bound on the evaluations after that of the initial network.  L-BFGS ends earlier where its
        search finds no better point.
    rate : float
        Of Adam, or the first trial of L-BFGS.
    stop_at : float
        Loss at which the training ends.
    widths, activation, seed, output_bias, n_threads, advance
        As for `_torch_baseline.gradient_descent`.
    """
    with threads(n_threads):
        load_optimisers()
        training = _AtOnce(
            X, y, widths=widths, activation=activation, seed=seed, output_bias=output_bias,
            n_iter=n_iter, stop_at=stop_at, advance=advance,
        )  # fmt: skip
        (adam if method == "adam" else lbfgs)(training, rate, n_iter)
        return training.finish()


def adam(training: Training, rate: float, n_iter: int) -> None:
    """Train by Adam."""
    import torch

    optimiser = torch.optim.Adam(training.parameters, lr=rate)
    with contextlib.suppress(_Finished):
        for _ in range(n_iter + 1):
            training.closure()
            optimiser.step()


def lbfgs(training: Training, rate: float, n_iter: int) -> None:
    """Train by L-BFGS with the strong Wolfe conditions."""
    import torch

    optimiser = torch.optim.LBFGS(
        training.parameters, lr=rate, max_iter=n_iter + 1, max_eval=2 * n_iter + 2,
        history_size=HISTORY, line_search_fn="strong_wolfe", tolerance_grad=0.0,
        tolerance_change=0.0,
    )  # fmt: skip
    with contextlib.suppress(_Finished):
        optimiser.step(training.closure)


def load_optimisers() -> None:
    """Do a step of both: the first one imports for half a second, which should not count."""
    import torch

    for kind in (torch.optim.Adam, torch.optim.LBFGS):
        parameter = torch.zeros(1, requires_grad=True)
        parameter.grad = torch.zeros(1)
        kind([parameter]).step(parameter.square().sum)
