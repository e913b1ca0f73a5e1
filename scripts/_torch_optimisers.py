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


class _Training:
    """A network, its data, and all that has been seen of its loss.

    Parameters
    ----------
    X, y : ndarray
        Training data.
    widths, activation, seed, output_bias
        As for `_torch_baseline.make_network`.
    n_iter : int
        Evaluations after that of the initial network.
    stop_at : float
        Loss at which the training ends.
    advance : callable
        Called after every evaluation but the first.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        widths: Sequence[int],
        activation: str,
        seed: int,
        output_bias: bool,
        n_iter: int,
        stop_at: float,
        advance: Callable[[], None],
    ) -> None:
        import torch

        self.network = make_network(widths, activation, seed, output_bias)
        self.parameters = list(self.network.parameters())
        self._inputs, self._labels = torch.tensor(X, dtype=torch.float64), torch.tensor(y)
        self._n_iter, self._stop_at, self._advance = n_iter, stop_at, advance
        self._rows: list[tuple[float, float, float]] = []
        self._least, self._best = np.inf, [p.detach().clone() for p in self.parameters]
        self._began = time.perf_counter()

    def closure(self) -> Any:
        """Return the loss with its gradient; raise `_Finished` where the training ends."""
        import torch

        logits = self.network(self._inputs)
        loss = torch.nn.functional.cross_entropy(logits, self._labels)
        value = loss.item()
        correct = (logits.detach().argmax(dim=1) == self._labels).double().mean().item()
        self._rows.append((value, correct, time.perf_counter() - self._began))
        if value < self._least:
            self._least = value
            for kept, parameter in zip(self._best, self.parameters, strict=True):
                kept.copy_(parameter.detach())
        if len(self._rows) > 1:
            self._advance()
        if len(self._rows) > self._n_iter or value <= self._stop_at or not np.isfinite(value):
            raise _Finished
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        return loss

    def finish(self) -> Trained:
        """Go back to the best network and return what there is."""
        import torch

        with torch.no_grad():
            for kept, parameter in zip(self._best, self.parameters, strict=True):
                parameter.copy_(kept)

        def predict(points: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                values: np.ndarray = self.network(torch.tensor(points, dtype=torch.float64))
            return np.asarray(values)

        return Trained(*np.array(self._rows).T, predict)


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
        training = _Training(
            X, y, widths=widths, activation=activation, seed=seed, output_bias=output_bias,
            n_iter=n_iter, stop_at=stop_at, advance=advance,
        )  # fmt: skip
        with contextlib.suppress(_Finished):
            (_adam if method == "adam" else _lbfgs)(training, rate, n_iter)
        return training.finish()


def _adam(training: _Training, rate: float, n_iter: int) -> None:
    import torch

    optimiser = torch.optim.Adam(training.parameters, lr=rate)
    for _ in range(n_iter + 1):
        training.closure()
        optimiser.step()


def _lbfgs(training: _Training, rate: float, n_iter: int) -> None:
    import torch

    optimiser = torch.optim.LBFGS(
        training.parameters, lr=rate, max_iter=n_iter + 1, max_eval=2 * n_iter + 2,
        history_size=HISTORY, line_search_fn="strong_wolfe", tolerance_grad=0.0,
        tolerance_change=0.0,
    )  # fmt: skip
    optimiser.step(training.closure)


def load_optimisers() -> None:
    """Do a step of both: the first one imports for half a second, which should not count."""
    import torch

    for kind in (torch.optim.Adam, torch.optim.LBFGS):
        parameter = torch.zeros(1, requires_grad=True)
        parameter.grad = torch.zeros(1)
        kind([parameter]).step(parameter.square().sum)
