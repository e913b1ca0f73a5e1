"""The rivals: what a user would train the same network with instead."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.optimize
import torch

from lysep_fast.kernels import cross_entropy_gradient
from lysep_fast.network import Network
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples

__all__ = ["ADAM_RATES", "Curve", "network", "train_adam", "train_frozen", "train_lbfgs"]

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
    """Ends an optimiser from inside its closure."""


def network(widths: Sequence[int], seed: int, dtype: torch.dtype) -> torch.nn.Sequential:
    """Build the network with torch's default initial weights and an output bias."""
    torch.manual_seed(seed)
    parts: list[torch.nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        parts += [torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh()]
    return torch.nn.Sequential(*parts[:-1]).to(dtype)


def train_lbfgs(
    X: np.ndarray,
    y: np.ndarray,
    widths: Sequence[int],
    seed: int,
    target: float,
    max_evaluations: int = 2000,
    max_seconds: float = 60.0,
    history: int = 20,
) -> Curve:
    """Run torch's L-BFGS with strong Wolfe line search on the full batch.

    The clock stops at the first evaluation below the target, inside the line search.
    """
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    curve = Curve()
    began = time.perf_counter()
    model = network(widths, seed, inputs.dtype)
    optimiser = torch.optim.LBFGS(
        model.parameters(),
        lr=1.0,
        max_iter=max_evaluations,
        max_eval=max_evaluations,
        history_size=history,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        value, elapsed = loss.item(), time.perf_counter() - began
        if curve.add(elapsed, value, target) or elapsed > max_seconds:
            raise _Reached
        loss.backward()
        return loss

    with contextlib.suppress(_Reached):
        optimiser.step(closure)
    return curve


def train_adam(
    X: np.ndarray,
    y: np.ndarray,
    widths: Sequence[int],
    seed: int,
    target: float,
    rate: float,
    max_iter: int = 5000,
    max_seconds: float = 60.0,
) -> Curve:
    """Run Adam on the full batch at one rate."""
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    curve = Curve()
    began = time.perf_counter()
    model = network(widths, seed, inputs.dtype)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(max_iter):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        value, elapsed = loss.item(), time.perf_counter() - began
        if curve.add(elapsed, value, target) or elapsed > max_seconds:
            break
        loss.backward()
        optimiser.step()
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
