"""Convolutional networks trained by a solver of lysep_fast or in torch, to a result for JSON.

    lysep    any solver that trains convolutions
    rival    mini-batch gradient descent, Adam or L-BFGS in torch

The curves begin with the initial network; they are taken on a fixed part of the training data,
the final figures on all of it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lysep_fast
from lysep_fast.kernels import cross_entropy
from lysep_fast.layers import Convolution
from lysep_fast.network import Network
from lysep_fast.solvers import make_solver

from . import _mnist_torch, _watch
from ._models import Data, final
from ._torch_loop import session

Advance = Callable[[], None]

#: Training images that the curves are taken on, the first ones.
CURVE_SAMPLES = 10000


@dataclass(frozen=True)
class Architecture:
    """A convolutional network for square grey images.

    Attributes
    ----------
    channels, pool_sizes : tuple of int
        One entry per convolution.
    hidden : int
        Width of the hidden fully connected layer.
    """

    channels: tuple[int, ...]
    pool_sizes: tuple[int, ...]
    hidden: int
    kernel_size: int = 3
    activation: str = "tanh"

    def network(self, data: Data) -> Network:
        """Return the network for the images and classes of some data."""
        edge = math.isqrt(data.X.shape[1])
        return Network.convolutional(
            (1, edge, edge), self.channels, (self.hidden,), int(data.y.max()) + 1,
            self.activation, kernel_size=self.kernel_size, pool_size=self.pool_sizes,
        )  # fmt: skip


@dataclass(frozen=True)
class Method:
    """A solver of lysep_fast and how it is run; `n_iter` counts sweeps or epochs (`unit`)."""

    solver: str
    options: dict[str, Any]
    n_iter: int
    unit: str = "sweeps"
    dtype: str = "float32"

    def passes_per_step(self, n_samples: int) -> float:
        """Return the share of the samples that one iteration works through."""
        return 1.0 if self.unit == "epochs" else self.options["batch_size"] / n_samples


@dataclass(frozen=True)
class Rival:
    """An optimiser of torch, the rates to choose from, with which seeds, and how long it runs.

    Without rates there is no search; a batch of None is all images.
    """

    optimiser: str
    rates: tuple[float, ...]
    n_iter: int
    tuning_iterations: int
    tuning_seeds: tuple[int, ...]
    batch_size: int | None
    unit: str = "steps"


def warm_up(methods: Sequence[Method]) -> float:
    """Compile what training needs (or load it from the cache); return the seconds it took."""
    began = time.perf_counter()
    X, y = np.linspace(0.0, 1.0, 20 * 16).reshape(20, 16), np.arange(20) % 2
    for method in methods:
        options = {**method.options, "batch_size": 10}
        result = lysep_fast.train(
            X.astype(method.dtype), y, conv_channels=(2, 2), pool_size=(2, 1),
            hidden_layer_sizes=3, solver=method.solver, solver_options=options, max_iter=1,
            output_bias=False, activation="tanh",
            random_state=0,
        )  # fmt: skip
        cross_entropy(result.decision_function(X), y)
    return time.perf_counter() - began


def lysep(
    data: Data,
    *,
    architecture: Architecture,
    method: Method,
    seed: int,
    n_threads: int,
    with_predictions: bool,
    advance: Advance,
) -> dict[str, Any]:
    """Train by a solver of lysep_fast."""
    clock, n = _watch.Clock(), len(data.X)
    X = data.X.astype(method.dtype, copy=False)
    watched = _watch.Watched(
        make_solver(method.solver, method.options),
        X[:CURVE_SAMPLES],
        data.y[:CURVE_SAMPLES],
        clock=clock,
        at=_watch.marks(method.n_iter),
        passes_per_step=method.passes_per_step(n),
        advance=advance,
    )
    result = lysep_fast.train(
        X,
        data.y,
        conv_channels=architecture.channels,
        kernel_size=architecture.kernel_size,
        pool_size=architecture.pool_sizes,
        hidden_layer_sizes=architecture.hidden,
        output_bias=False,  # as the paper's network has none
        activation=architecture.activation,
        solver=watched,
        max_iter=method.n_iter,
        tol=0,
        n_iter_no_change=method.n_iter + 1,
        random_state=seed,
        n_threads=n_threads,
    )
    seconds = clock.seconds
    return {
        "curves": watched.curves.as_dict(),
        "n_iter": result.n_iter,
        "passes": result.n_iter * method.passes_per_step(n),
        "batch_size": method.options["batch_size"],
        "stopped": result.status.name,
        "kernel_change": kernel_change(_kernels(result, watched.initial_weights)),
        **final(data, result.decision_function, with_predictions),
        "seconds": seconds,
    }


def _kernels(
    result: lysep_fast.Result, initial: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the kernels of every convolution at the start and at the end."""
    layers = enumerate(result.network.layers, 1)
    return [(initial[l], result.W[l]) for l, layer in layers if isinstance(layer, Convolution)]


def kernel_change(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Return ``|W_end - W_start| / |W_start|`` of every convolution."""
    return [
        float(np.linalg.norm((end - start).ravel()) / np.linalg.norm(start.ravel()))
        for start, end in pairs
    ]


def rival(
    data: Data,
    *,
    architecture: Architecture,
    how: Rival,
    rate: float | None,
    seed: int,
    n_threads: int,
    advance: Advance,
) -> dict[str, Any]:
    """Train the same network in torch; a rate only where there was a search for it."""
    trained = _mnist_torch.train(
        data.X,
        data.y,
        network=architecture.network(data),
        optimiser=how.optimiser,
        rate=1.0 if rate is None else rate,
        n_iter=how.n_iter,
        batch_size=how.batch_size,
        seed=seed,
        n_threads=n_threads,
        curve_samples=CURVE_SAMPLES,
        advance=advance,
    )
    with session(n_threads=n_threads):
        found = final(data, trained.logits, False)
    n, steps = len(data.X), len(trained.losses)
    size = min(how.batch_size or n, n)
    return {
        "curves": trained.curves,
        **({} if rate is None else {"rate": rate}),
        "n_iter": steps,
        "passes": steps * size / n,
        "batch_size": size,
        "kernel_change": kernel_change(trained.kernels),
        **found,
        "seconds": trained.seconds,
    }


def settings(what: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, for the results file."""
    return dataclasses.asdict(what)
