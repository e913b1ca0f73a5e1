"""The rivals of the classification experiments: the same network in torch on all data at once.

Gradient descent is the papers' baseline; Adam and L-BFGS are what a user would take.  Entry k of
the curves belongs to evaluation k of the cross-entropy, the initial network being evaluation 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lysep_fast.network import Network

from ._torch_loop import Best, logits, make_optimiser, run, session, twin
from ._watch import Clock

#: The rates to choose from.
RATES = {"descent": (0.01, 0.03, 0.1, 0.3, 1.0), "adam": (0.001, 0.003, 0.01)}


@dataclass
class Trained:
    """A trained network: curves over the evaluations, and a function from X to logits."""

    loss: np.ndarray
    accuracy: np.ndarray
    seconds: np.ndarray
    logits: Callable[[np.ndarray], np.ndarray]


def train(
    X: np.ndarray, y: np.ndarray, *, method: str, widths: Sequence[int], n_iter: int, seed: int,
    n_threads: int, rate: float = 1.0, stop_at: float = 0.0, activation: str = "tanh",
    advance: Callable[[], object] = int,
) -> Trained:  # fmt: skip
    """Train by gradient descent to its last network, or by another method to the best one seen.

    Parameters
    ----------
    X, y : ndarray
        Training data.
    method : {"descent", "adam", "lbfgs"}
        The optimiser, L-BFGS with the strong Wolfe conditions.
    n_iter : int
        Bound on the evaluations after that of the initial network.  L-BFGS ends earlier where its
        search finds no better point, and all where the loss is not finite.
    rate : float
        Constant rate, or the first trial of L-BFGS.
    stop_at : float
        Loss at which the training ends.
    widths, activation, seed, n_threads
        As for `lysep_fast.train`, with torch's own initial weights, and no output bias.
    advance : callable
        Called after every evaluation but the first.
    """
    import torch

    x, labels = torch.tensor(X, dtype=torch.float64), torch.tensor(y)
    curves: list[tuple[float, float, float]] = []
    with session(seed, n_threads):
        network = twin(Network.dense(widths, activation))
        optimiser = make_optimiser(method, network.parameters(), rate)
        best, clock, share = Best(network.parameters()), Clock(), 0.0

        def loss() -> torch.Tensor:
            nonlocal share
            U = network(x)
            share = (U.detach().argmax(dim=1) == labels).double().mean().item()
            return torch.nn.functional.cross_entropy(U, labels)

        def seen(value: float) -> bool:
            curves.append((value, share, clock.seconds))
            if method != "descent":
                best.offer(value)
            if len(curves) > 1:
                advance()
            return len(curves) > n_iter or value <= stop_at or not np.isfinite(value)

        run(optimiser, loss, steps=1 if method == "lbfgs" else n_iter + 1, seen=seen)
        if method != "descent":
            best.restore()
    return Trained(*np.array(curves).T, partial(_predict, network))


def _predict(network: Any, X: np.ndarray) -> np.ndarray:
    import torch

    return np.asarray(logits(network, torch.tensor(X, dtype=torch.float64)))
