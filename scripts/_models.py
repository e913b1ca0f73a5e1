"""The models of a classification experiment, each run to a result that fits a JSON file.

    lysep     layer separation, lysep_fast.train
    in_torch  gradient descent, the papers' baseline, Adam or L-BFGS
    frozen    hidden layers as drawn, only the last layer trained

The curves begin with the initial network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

import lysep_fast
from lysep_fast.kernels import cross_entropy, cross_entropy_gradient

from . import _torch_classifier

Advance = Callable[[], None]

# Smaller relative rises of F are rounding of a sum over the samples, not a broken promise.
ROUNDING = 1e-12
# Directions of the frozen features below this share of the largest one are rounding errors.
NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Data:
    """Training and test points, and the points of a decision map (or None)."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    map_points: np.ndarray | None = None


def warm_up() -> float:
    """Compile what training needs (or load it from the cache); return the seconds it took."""
    began = time.perf_counter()
    X = np.linspace(-1.0, 1.0, 40).reshape(20, 2)
    for solver in ("alternating", "quasi-newton"):
        lysep_fast.train(
            X,
            np.arange(20) % 2,
            hidden_layer_sizes=(3, 3),
            solver=solver,
            max_iter=2,
            random_state=0,
        )
    cross_entropy_gradient(X, np.arange(20) % 2)
    return time.perf_counter() - began


def lysep(
    data: Data,
    *,
    sweeps: int,
    seed: int,
    n_threads: int,
    with_map: bool,
    advance: Advance,
    stop_at: float = 0.0,
    **settings: Any,
) -> dict[str, Any]:
    """Train by layer separation until `stop_at`; `settings` go to `lysep_fast.train`."""

    def callback(row: lysep_fast.HistoryRow) -> bool:
        if row.sweep:
            advance()
        return row.loss <= stop_at

    result = lysep_fast.train(
        data.X,
        data.y,
        max_iter=sweeps,
        tol=0,
        random_state=seed,
        n_threads=n_threads,
        callback=callback,
        # The papers' networks take the inputs as they are, and have no bias at the output.
        standardise=False,
        output_bias=False,
        **settings,
    )
    history = result.history
    separated = np.array([row.separated_loss for row in history])
    loss = np.array([row.loss for row in history])
    return {
        "curves": {
            "loss": loss,
            "separated_loss": separated,
            "accuracy": [row.accuracy for row in history],
            "seconds": [row.seconds for row in history],
        },
        "n_iter": result.n_iter,
        "stopped": result.status.name,
        "bound_constant": result.bound_constant,
        "loss_over_bound": float(np.max(loss / (result.bound_constant * separated))),
        **rises(np.square(separated)),
        **final(data, result.decision_function, with_map),
        "seconds": history[-1].seconds,
    }


def rises(F: np.ndarray) -> dict[str, Any]:
    """Return how often F rose by more than rounding, and its largest relative rise."""
    change = F[1:] / F[:-1] - 1.0 if len(F) > 1 else np.zeros(1)
    return {"F_rises": int(np.sum(~(change <= ROUNDING))), "F_largest_rise": float(change.max())}


def in_torch(data: Data, *, with_map: bool, rate: float, **settings: Any) -> dict[str, Any]:
    """Train the same network in torch; `settings` go to `_torch_classifier.train`."""
    trained = _torch_classifier.train(data.X, data.y, rate=rate, **settings)
    return {
        "rate": rate,
        "curves": {
            "loss": trained.loss,
            "accuracy": trained.accuracy,
            "seconds": trained.seconds,
        },
        "n_iter": len(trained.loss) - 1,
        **final(data, trained.logits, with_map),
        "seconds": float(trained.seconds[-1]),
    }


def frozen(
    data: Data,
    *,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    init: str,
    max_iter: int,
    seed: int,
    with_map: bool,
) -> dict[str, Any]:
    """Train the last layer on the features of the hidden layers as `lysep` first draws them.

    Logistic regression, convex, by L-BFGS in orthonormal coordinates of the feature space: the
    same minimum as in W_L itself, reached in far fewer iterations.
    """
    began = time.perf_counter()
    n_classes = int(data.y.max()) + 1
    widths = (data.X.shape[1], *hidden_layer_sizes, n_classes)
    network = lysep_fast.Network.dense(widths, activation)
    W, b = network.initial_weights(np.random.default_rng(seed), np.dtype(float), init)

    def features(X: np.ndarray) -> np.ndarray:
        for l in range(1, network.depth):
            Z = X @ W[l].T + b[l]
            X = network.features[l].forward(Z, Z)
        return X

    Q, to_W, solution = fit_last_layer(features(data.X), data.y, n_classes, max_iter)
    W_L = to_W @ solution.x.reshape(Q.shape[1], n_classes)
    return {
        "n_iter": int(solution.nit),
        "stopped": str(solution.message),
        "directions": Q.shape[1],
        **final(data, lambda X: features(X) @ W_L, with_map),
        "seconds": time.perf_counter() - began,
    }


def fit_last_layer(
    S: np.ndarray, y: np.ndarray, n_classes: int, max_iter: int
) -> tuple[np.ndarray, np.ndarray, scipy.optimize.OptimizeResult]:
    """Minimise the mean CE of ``S V`` over V.

    Returns
    -------
    Q : ndarray, shape (n, r)
        Coordinates of the samples: columns orthogonal, of mean square one.
    to_V : ndarray, shape (m, r)
        ``S to_V = Q``, so that ``V = to_V Z`` for a matrix Z of coordinates.
    solution : OptimizeResult
        With Z, flat, as ``x``.
    """
    U, sigma, Vt = scipy.linalg.svd(S, full_matrices=False)
    keep = sigma > NEGLIGIBLE * sigma[0]
    scale = np.sqrt(len(S))
    Q = np.ascontiguousarray(U[:, keep] * scale)
    to_V = Vt[keep].T * (scale / sigma[keep])

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        e, G = cross_entropy_gradient(Q @ z.reshape(Q.shape[1], n_classes), y)
        return float(np.mean(e)), (Q.T @ G).ravel() / len(y)

    options = {
        "maxiter": max_iter,
        "maxfun": 2 * max_iter,
        "maxcor": 30,
        "ftol": 0.0,
        "gtol": 1e-9,
    }
    solution = scipy.optimize.minimize(
        value, np.zeros(Q.shape[1] * n_classes), jac=True, method="L-BFGS-B", options=options
    )
    return Q, to_V, solution


def final(
    data: Data, logits: Callable[[np.ndarray], np.ndarray], with_map: bool
) -> dict[str, Any]:
    """Return the trained network's losses, accuracies and predictions."""
    U_test = logits(data.X_test)
    loss, accuracy = measure(logits(data.X), data.y)
    test_loss, test_accuracy = measure(U_test, data.y_test)
    found: dict[str, Any] = {
        "loss": loss,
        "accuracy": accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
    }
    if with_map:
        found["test_predictions"] = digits(U_test)
        if data.map_points is not None:
            found["map"] = digits(logits(data.map_points))
    return found


def measure(U: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy of logits."""
    return float(np.mean(cross_entropy(U, y))), float(np.mean(np.argmax(U, axis=1) == y))


def digits(U: np.ndarray) -> str:
    """Return the predicted classes (at most ten) as one digit each."""
    return "".join(map(str, np.argmax(U, axis=1)))


def from_digits(text: str) -> np.ndarray:
    """Return the classes that `digits` wrote."""
    return np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - ord("0")
