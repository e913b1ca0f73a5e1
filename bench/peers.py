"""The rivals: what a user would train the same network with instead."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.optimize
import torch
from watch import Clock

from lysep_fast.cli import load_experiment
from lysep_fast.kernels import cross_entropy_gradient
from lysep_fast.network import Network
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples

__all__ = ["ADAM_RATES", "Curve", "train_frozen", "train_torch"]

loop = load_experiment("_torch_loop")[1]

ADAM_RATES = (1e-3, 3e-3, 1e-2, 3e-2)


@dataclass
class Curve:
    """Training cross-entropy over seconds.

    Attributes
    ----------
    seconds, loss : list of float
        One entry per evaluation of the full training loss.
    reached : float
        Seconds until the target loss, infinite if it was not reached.
    """

    seconds: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    reached: float = float("inf")

    def add(self, seconds: float, loss: float, target: float) -> bool:
        """Store one evaluation; return whether the target is reached."""
        self.seconds.append(seconds)
        self.loss.append(loss)
        if loss <= target:
            self.reached = min(self.reached, seconds)
        return loss <= target


class _Reached(Exception):
    """Ends SciPy's optimiser from inside its objective."""


def train_torch(
    X: np.ndarray,
    y: np.ndarray,
    widths: Sequence[int],
    seed: int,
    target: float,
    method: str,
    rate: float = 1.0,
    max_evaluations: int = 10**6,
    max_seconds: float = 60.0,
) -> Curve:
    """Run Adam at one rate, or L-BFGS with strong Wolfe line search, on the full batch.

    The clock stops at the first evaluation below the target, for L-BFGS inside the line search.
    """
    curve = Curve()
    with loop.session(seed):
        clock = Clock()
        model = loop.twin(Network.dense(widths, output_bias=True), str(X.dtype))
        optimiser = loop.make_optimiser(method, model.parameters(), rate)
        loss = loop.cross_entropy(model, torch.from_numpy(X), torch.from_numpy(y))

        def seen(value: float) -> bool:
            elapsed = clock.seconds
            done = curve.add(elapsed, value, target) or elapsed > max_seconds
            return done or len(curve.loss) >= max_evaluations

        steps = max_evaluations if method == "adam" else 1
        loop.run(optimiser, loss, steps=steps, seen=seen)
    return curve


def train_frozen(
    X: np.ndarray,
    y: np.ndarray,
    widths: Sequence[int],
    seed: int,
    target: float,
    max_iter: int = 500,
    max_seconds: float = 60.0,
) -> Curve:
    """Train the last layer only, by SciPy's L-BFGS-B; the hidden layers stay as first drawn.

    The hidden layers are those that the fast solvers start from, and the features are brought to
    orthonormal coordinates first: the same minimum in far fewer iterations.
    """
    curve = Curve()
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    network = Network.dense(widths, "tanh")
    W, b = initial_weights(network, ArraySamples(X), rng, "normalised")
    S = X
    for l in range(1, network.depth):
        S = np.tanh(S @ W[l].T + b[l])
    S = np.linalg.qr(np.column_stack([S, np.ones(len(S))]))[0] * np.sqrt(len(S))
    K = widths[-1]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        e, G = cross_entropy_gradient(S @ flat.reshape(K, -1).T, y)
        elapsed = time.perf_counter() - began
        if curve.add(elapsed, float(np.mean(e)), target) or elapsed > max_seconds:
            raise _Reached
        return float(np.mean(e)), (G.T @ S / len(S)).ravel()

    with contextlib.suppress(_Reached):
        scipy.optimize.minimize(
            objective,
            np.zeros(K * S.shape[1]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iter, "ftol": 0.0, "gtol": 1e-12},
        )
    return curve
