"""One training of the same small network with every library, for `lysep-fast bench`.

All minimise the mean cross-entropy of the same tanh network on the same points, with 200 passes,
the losses and accuracies are computed by one function, and compilation is not timed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..kernels import cross_entropy
from ..train import train

__all__ = ["PEERS", "Run", "train_here"]

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


def train_here(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    hidden: Sequence[int],
    threads: int,
    max_iter: int = _PASSES,
) -> tuple[Run, list[tuple[float, float]]]:
    """Train with lysep_fast; return also seconds and loss after every sweep."""
    began = time.perf_counter()
    result = train(
        X,
        y,
        hidden_layer_sizes=hidden,
        max_iter=max_iter,
        tol=0.0,
        random_state=0,
        n_threads=threads,
    )
    seconds = time.perf_counter() - began
    run = _scored(
        "lysep_fast", seconds, result.decision_function(X), y, result.predict(X_test), y_test
    )
    return run, [(row.seconds, row.loss) for row in result.history]


def train_sklearn(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    hidden: Sequence[int],
    threads: int,
) -> list[Run]:
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
            model.fit(X, y)
            seconds = time.perf_counter() - began
        P = np.clip(model.predict_proba(X), 1e-300, None)  # logits up to a constant per row
        runs.append(
            _scored(f"scikit-learn {solver}", seconds, np.log(P), y, model.predict(X_test), y_test)
        )
    return runs


def train_torch(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    hidden: Sequence[int],
    threads: int,
) -> list[Run]:
    """Train with torch's L-BFGS, if it is installed."""
    try:
        import torch
    except ImportError:
        return []
    generator = torch.random.get_rng_state()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        layers: list[torch.nn.Module] = []
        widths = (X.shape[1], *hidden)
        for inputs, outputs in zip(widths, hidden, strict=False):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], int(y.max()) + 1))
        model = model.to(torch.float64)
        data, labels = torch.from_numpy(X), torch.from_numpy(y)
        optimiser = torch.optim.LBFGS(
            model.parameters(), max_iter=_PASSES, history_size=20, line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(data), labels)
            loss.backward()
            return loss

        began = time.perf_counter()
        optimiser.step(closure)
        seconds = time.perf_counter() - began
        with torch.inference_mode():
            U = model(data).numpy()
            predicted = model(torch.from_numpy(X_test)).argmax(1).numpy()
        return [_scored("torch L-BFGS", seconds, U, y, predicted, y_test)]
    finally:
        torch.set_num_threads(before)
        torch.random.set_rng_state(generator)


#: Peers of `train_here`; a library that is missing gives no runs.
PEERS = (train_sklearn, train_torch)


def _scored(
    method: str,
    seconds: float,
    logits: np.ndarray,
    y: np.ndarray,
    predicted: np.ndarray,
    y_test: np.ndarray,
) -> Run:
    loss = float(np.mean(cross_entropy(logits, y)))
    return Run(method, seconds, loss, float(np.mean(predicted == y_test)))
