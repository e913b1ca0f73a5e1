"""One training of the same small network with every library, for `lysep-fast bench`.

All minimise the mean cross-entropy of the same tanh network on the same points, with 200 passes,
the losses and accuracies are computed by one function, and compilation is not timed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ..kernels import cross_entropy
from ..network import Network
from ..train import train
from .experiments import load_experiment

__all__ = ["PEERS", "Run", "Split", "train_here"]

_PASSES = 200


@dataclass(frozen=True)
class Run:
    """What a method reached.

    Attributes
    ----------
    method : str
        Library and solver.
    seconds : float
        Time of the training.
    loss : float
        Mean cross-entropy on the training points, without penalties.
    accuracy : float
        Share of the held-out points that are classified correctly.
    """

    method: str
    seconds: float
    loss: float
    accuracy: float


class Split(NamedTuple):
    """Points to train on and held-out ones, with their classes."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def train_here(
    split: Split, hidden: Sequence[int], threads: int, max_iter: int = _PASSES
) -> tuple[Run, list[tuple[float, float]]]:
    """Train with lysep_fast; return also seconds and loss after every sweep."""
    began = time.perf_counter()
    result = train(
        split.X,
        split.y,
        hidden_layer_sizes=hidden,
        max_iter=max_iter,
        tol=0.0,
        random_state=0,
        n_threads=threads,
    )
    seconds = time.perf_counter() - began
    U, predicted = result.decision_function(split.X), result.predict(split.X_test)
    run = _scored("lysep_fast", seconds, U, predicted, split)
    return run, [(row.seconds, row.loss) for row in result.history]


def train_sklearn(split: Split, hidden: Sequence[int], threads: int) -> list[Run]:
    """Train with scikit-learn's two solvers, if it is installed."""
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        return []
    runs = []
    for solver in ("lbfgs", "adam"):
        model = MLPClassifier(
            tuple(hidden), "tanh", solver=solver, alpha=0.0, max_iter=_PASSES, random_state=0
        )
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            began = time.perf_counter()
            model.fit(split.X, split.y)
            seconds = time.perf_counter() - began
        # Logits up to a constant per row.
        U = np.log(np.clip(model.predict_proba(split.X), 1e-300, None))
        predicted = model.predict(split.X_test)
        runs.append(_scored(f"scikit-learn {solver}", seconds, U, predicted, split))
    return runs


def train_torch(split: Split, hidden: Sequence[int], threads: int) -> list[Run]:
    """Train with torch's L-BFGS, if it is installed."""
    try:
        import torch

        loop = load_experiment("_torch_loop")[1]
    except (ImportError, FileNotFoundError):
        return []
    X, X_test = torch.from_numpy(split.X), torch.from_numpy(split.X_test)
    network = Network.dense((X.shape[1], *hidden, int(split.y.max()) + 1), output_bias=True)
    with loop.session(0, threads):
        model = loop.twin(network)
        optimiser = torch.optim.LBFGS(
            model.parameters(), max_iter=_PASSES, history_size=20, line_search_fn="strong_wolfe"
        )
        loss = loop.cross_entropy(model, X, torch.from_numpy(split.y))
        began = time.perf_counter()
        loop.run(optimiser, loss)
        seconds = time.perf_counter() - began
        U, predicted = loop.logits(model, X), loop.logits(model, X_test).argmax(1)
    return [_scored("torch L-BFGS", seconds, U.numpy(), predicted.numpy(), split)]


#: Peers of `train_here`; a library that is missing gives no runs.
PEERS = (train_sklearn, train_torch)


def _scored(
    method: str, seconds: float, logits: np.ndarray, predicted: np.ndarray, split: Split
) -> Run:
    loss = float(np.mean(cross_entropy(logits, split.y)))
    return Run(method, seconds, loss, float(np.mean(predicted == split.y_test)))
