"""What the kinds of mini-batch steps share: weights as one vector, passes, metrics, settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..losses import Loss
from ..metrics.layers import MovingMetric
from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..passes.batch import BatchPass, batch_shapes
from ..state import State
from ..validation import check_integer, check_number

__all__ = ["BatchSteps", "StepOptions", "check_share"]

# The Gram matrices of the first batches are all taken, while the features change quickly.
_EARLY = 32
# Settings that follow the data where they are left open.
_OPTIONAL = ("rate", "polar_rate", "weight_decay", "polar_decay", "interpolation", "averaging")


@dataclass(frozen=True)
class StepOptions:
    """Settings of the steps, as `MiniBatch` describes them; None where they follow the data."""

    rate: float | None
    polar_rate: float | None
    momentum: float
    weight_decay: float | None
    polar_decay: float | None
    damping: float
    radius: float
    averaging: float | None
    average_period: int
    interpolation: float | None
    metric_averaging: float
    gram_period: int
    inverse_period: int
    position_power: float
    polar_damping: float
    polar_period: int

    def __post_init__(self) -> None:
        """Check every setting, and raise an error that names the first that is wrong."""
        for name in ("rate", "polar_rate"):
            self._check(name, check_number, 0.0, exclusive=True)
        for name in ("weight_decay", "polar_decay"):
            self._check(name, check_number, 0.0)
        for name in ("momentum", "interpolation", "averaging", "metric_averaging"):
            self._check(name, check_share)
        for name in ("damping", "radius", "polar_damping"):
            self._check(name, check_number, 0.0, exclusive=True)
        for name in ("average_period", "gram_period", "inverse_period", "polar_period"):
            self._check(name, check_integer, minimum=1)
        self._check("position_power", check_number, 0.0, 1.0)

    def _check(self, name: str, check: Callable[..., Any], *limits: float, **more: Any) -> None:
        value, optional = getattr(self, name), name in _OPTIONAL
        if value is not None or not optional:
            object.__setattr__(self, name, check(value, name, *limits, **more))


class BatchSteps(Stateful, ABC):
    """Weights as one vector, moved by one step per batch.

    Parameters
    ----------
    problem : TrainingProblem
        What is trained.
    state : State
        Initial weights.
    batches : list of slice
        Of an epoch.
    options : StepOptions
        Settings.
    metrics : sequence of int
        Layers that have a Gram metric; the kinds of steps choose them.

    Attributes
    ----------
    averaged : Parameters
        The weights that are the result.
    batch_pass : BatchPass
        Losses and hits of the last batches.
    count : int
        Steps done.
    """

    averaged: Parameters

    def __init__(
        self,
        problem: TrainingProblem,
        state: State,
        batches: list[slice],
        options: StepOptions,
        metrics: Sequence[int] = (),
    ) -> None:
        network, dtype = problem.network, problem.samples.dtype
        self.options, self.n_batches = options, len(batches)
        self.parameters = Parameters.pack(batch_shapes(network), state.W, state.b)
        self.theta, self.layers = self.parameters.theta, self.parameters.layers
        self.direction = self.parameters.like(np.zeros_like(self.theta)).layers
        self.positions = [0, *(layer.n_positions for layer in network.layers)]
        self.metrics: dict[int, MovingMetric] = {}
        for l in metrics:
            p = network.layer(l).weight_shape[1]
            self.metrics[l] = MovingMetric(
                p + 1,
                p + int(network.has_bias(l)),
                dtype,
                mu=options.damping,
                limit=options.metric_averaging,
                period=options.inverse_period,
            )
        largest = max(rows.stop - rows.start for rows in batches)
        self.batch_pass = BatchPass(
            network, self.layers, problem.samples, largest, problem.team, list(metrics)
        )
        self.count = 0

    @property
    @abstractmethod
    def vectors(self) -> dict[str, tuple[Parameters, bool]]:
        """Weights by name, and whether they are differences of weights: what a stream keeps."""

    @abstractmethod
    def __call__(self, order: np.ndarray, loss: Loss, rows: slice, alpha: float) -> float:
        """Do one step on the samples ``order[rows]``; return the factor of the trust region."""

    def gradient_of(self, order: np.ndarray, loss: Loss, rows: slice, alpha: float) -> float:
        """Form the gradient times B, penalty included, and update the metrics.

        Returns ``||gradient_1||^2``.
        """
        count = rows.stop - rows.start
        grams = self.count < _EARLY or self.count % self.options.gram_period == 0
        square = self.batch_pass(order, loss, rows, grams=grams)
        G = self.batch_pass.gradient
        if alpha:
            for g, w in zip(G[1:], self.layers[1:], strict=True):
                g[:, :-1] += (alpha * count) * w[:, :-1]
            square = float(np.vdot(G[1], G[1]))
        if grams:
            for l, metric in self.metrics.items():
                gram = self.batch_pass.grams[l]
                gram /= count * self.positions[l]
                metric.update(gram)
        return square

    def look_ahead(self) -> None:
        """Set the point of the next gradient, where that is none of the `vectors`."""
        return

    @staticmethod
    def kept(rate: float, decay: float) -> float:
        """Return the factor ``1 - rate decay`` of a step, or raise if nothing is left."""
        if rate * decay >= 1.0:
            raise ValueError(
                f"rate * weight_decay must be below 1, got {rate} * {decay}: every step "
                "multiplies the weights by 1 minus it"
            )
        return 1.0 - rate * decay


def check_share(value: float, name: str) -> float:
    """Return a number in [0, 1), or raise an error that names it."""
    number = check_number(value, name, 0.0, 1.0)
    if number == 1.0:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return number
