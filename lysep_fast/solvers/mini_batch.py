"""Mini-batch steps in a moving layer metric, cut by a trust region, with averaged weights.

With S~ = [S, 1], a batch of B samples and g_l = sum_n delta_{l,n} S~_{l-1,n} / B, one step is

    M_l <- a M_l + (1-a) S~'S~ / B                     (l >= 2; moving average, inverse kept)
    p_1  = g_1 / tau,   p_l = g_l (M_l + mu (tr M_l / dim) I)^-1       tau = mean |[x,1]|^2/dim
    p   <- p min(1, radius / s),   s^2 = sum_l <p_l, g_l>
    V   <- beta V - (1-beta) eta p,   W <- (1 - eta lambda) (W + V)    (biases do not decay)

and the result is the moving average of the iterates.  Raw inputs keep the identity as their
metric: whitening them (many pixels hardly vary) fits noise.  A convolution of P positions has the
Gram matrix of its patches, averaged over samples and positions, also on raw inputs, and
``p_l = g_l (...)^-1 / P^k``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..kernels.batch import heavy_ball_into
from ..losses import Loss
from ..metrics.averaging import MovingAverage
from ..metrics.layers import MovingMetric
from ..metrics.trust_region import trust_factor
from ..network import Network
from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..passes.batch import BatchPass, batch_shapes
from ..passes.full import Evaluation
from ..report import Step
from ..state import State
from ..threads.team import Workspace
from ..validation import check_choice, check_integer, check_number

__all__ = ["MiniBatch"]

# The Gram matrices of the first batches are all taken, while the features change quickly.
# Up to so many samples a small rate tells good numbers of epochs apart.
_FEW_SAMPLES = 10_000
_EARLY = 32


class MiniBatch(Stateful):
    """One step per mini-batch, one iteration per epoch; the result is the average iterate.

    For large, noisy or high-dimensional data, best with early stopping.  It promises no decrease
    from one epoch to the next.  Weight decay and label smoothing are on by default, because the
    solver is made to generalise: to fit the training data closely, set both to 0.

    Parameters
    ----------
    batch_size : int, optional
        Samples per batch, about: an epoch is cut into equal batches.  Default 32 up to 1500
        samples, then 1/40 of them rounded to a power of two, 128 from 4000 samples on (64 with
        convolutions, whose weights every image sees at many positions).
    rate : float, optional
        Step length eta in the metric; default 0.5, for dense networks 0.2 up to 10,000 samples,
        whose best number of epochs may be small.
    momentum : float, default 0.9
        beta, in [0, 1).
    weight_decay : float, optional
        lambda of the decoupled decay, which acts outside the metric.  By default the weights lose
        ``14 % min(1, d/40)`` in an epoch, at most ``lambda = 5e-3``: the more data, the less per
        step; and in few dimensions d sharp boundaries need large weights.  The problem's
        ``alpha`` is something else, the penalty ``alpha/2 ||W||^2`` in the loss, and comes on
        top.
    label_smoothing : float, default 0.0
        Used when the problem sets none.
    damping : float, default 0.1
        mu, relative to the mean eigenvalue of every Gram matrix.
    radius : float, default 1.0
        Trust region in the metric.
    averaging : float, optional
        Weight of the past in the average iterate, per step.  Default a horizon ``1/(1 - a)`` of
        one epoch (a quarter with convolutions, which learn faster), within 50 and 1000 steps.
    average_period : int, default 8
        Steps between iterates that enter the average (the horizon stays).
    metric_averaging : float, default 0.95
        Weight a of the past per Gram matrix.
    gram_period : int, default 8
        Steps between Gram matrices, after the first 32 steps.
    inverse_period : int, default 10
        Gram matrices between inverses, in the long run.
    position_power : float, default 0.25
        k of convolutions; 1 would be the literal sweep, which is too timid.
    monitor : {"exact", "running"}, optional
        Training loss of the history: the averaged network's, which costs a forward pass over the
        data per epoch (about a third of the work), or the mean over the epoch of what the batches
        saw before their steps, which costs nothing.  Default ``"running"`` with early stopping,
        where the held-out samples judge, else ``"exact"``.
    """

    promise = "none"
    auxiliaries = False
    synchronised = True
    title, needs = "solver='mini-batch'", ("has_gram",)
    separated = None
    init = "normalised-small"
    state_names = ("theta", "velocity", "average", "metrics", "count")
    supports = (
        "alpha",
        "sample_weight",
        "label_smoothing",
        "batch_size",
        "regression",
        "multilabel",
    )

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        rate: float | None = None,
        momentum: float = 0.9,
        weight_decay: float | None = None,
        label_smoothing: float = 0.0,
        damping: float = 0.1,
        radius: float = 1.0,
        averaging: float | None = None,
        average_period: int = 8,
        metric_averaging: float = 0.95,
        gram_period: int = 8,
        inverse_period: int = 10,
        position_power: float = 0.25,
        monitor: str | None = None,
    ) -> None:
        if batch_size is not None:
            batch_size = check_integer(batch_size, "batch_size", minimum=1)
        self.batch_size = batch_size
        self.rate = None if rate is None else check_number(rate, "rate", 0.0, exclusive=True)
        self.momentum = _check_share(momentum, "momentum")
        if weight_decay is not None:
            weight_decay = check_number(weight_decay, "weight_decay", 0.0)
        self.weight_decay = weight_decay
        self.label_smoothing = _check_share(label_smoothing, "label_smoothing")
        self.damping = check_number(damping, "damping", 0.0, exclusive=True)
        self.radius = check_number(radius, "radius", 0.0, exclusive=True)
        self.averaging = None if averaging is None else _check_share(averaging, "averaging")
        self.average_period = check_integer(average_period, "average_period", minimum=1)
        self.metric_averaging = _check_share(metric_averaging, "metric_averaging")
        self.gram_period = check_integer(gram_period, "gram_period", minimum=1)
        self.inverse_period = check_integer(inverse_period, "inverse_period", minimum=1)
        self.position_power = check_number(position_power, "position_power", 0.0, 1.0)
        if monitor is not None:
            check_choice(monitor, "monitor", ("exact", "running"))
        self.monitor = monitor
        self.evaluation: Evaluation | None = None

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Lay out the batches and the memory of a run."""
        network, n = problem.network, problem.n_samples
        convolutional = network.layer(1).shares_weights
        size = self.batch_size or _default_batch_size(n, 64 if convolutional else 128)
        if size > n:
            raise ValueError(
                f"batch_size must be at most the number of training samples, got {size} for {n} "
                "(held-out samples do not count); lower it, or leave it at None"
            )
        self.batches = _even_batches(n, size)
        largest = max(rows.stop - rows.start for rows in self.batches)
        self.parameters = Parameters.pack(batch_shapes(network), state.W, state.b)
        self.theta, self.layers = self.parameters.theta, self.parameters.layers
        self.moves = self.parameters.like(np.zeros_like(self.theta))
        self.velocity = self.moves.layers
        self.direction = self.parameters.like(np.zeros_like(self.theta)).layers
        averaging = self.averaging
        if averaging is None:
            horizon = len(self.batches) / (4 if convolutional else 1)
            averaging = 1.0 - 1.0 / float(np.clip(horizon, 50, 1000))
        self.average = MovingAverage(self.theta, averaging, self.average_period)
        self.averaged = self.parameters.like(self.average.value)
        self.metrics = self._metrics(network, problem.samples.dtype)
        self.batch_pass = BatchPass(
            network, self.layers, problem.samples, largest, problem.team, list(self.metrics)
        )
        self.positions = [0, *(layer.n_positions for layer in network.layers)]
        self.shares = [0.0, *(float(q) ** -self.position_power for q in self.positions[1:])]
        if 1 not in self.metrics:
            self.shares[1] = 1.0 / _mean_square(problem)
        few = n <= _FEW_SAMPLES and not convolutional
        self.rate_now = self.rate or (0.2 if few else 0.5)
        self.keep = self._keep(network.widths[0])
        self.running = self.monitor == "running" or (
            self.monitor is None and problem.has_validation
        )
        self.count = 0
        self.evaluation = None

    def _metrics(self, network: Network, dtype: np.dtype) -> dict[int, MovingMetric]:
        """Return the metric of every layer except a dense one on raw inputs."""
        metrics = {}
        for l, layer in enumerate(network.layers, 1):
            if l > 1 or layer.shares_weights:
                p = layer.weight_shape[1]
                metrics[l] = MovingMetric(
                    p + 1,
                    p + int(network.has_bias(l)),
                    dtype,
                    mu=self.damping,
                    limit=self.metric_averaging,
                    period=self.inverse_period,
                )
        return metrics

    def _keep(self, d: int) -> float:
        """Return the factor ``1 - eta lambda`` of every step."""
        decay = self.weight_decay
        if decay is None:
            share = 0.14 * min(1.0, d / 40.0)
            decay = min(5e-3, share / (self.rate_now * len(self.batches)))
        if self.rate_now * decay >= 1.0:
            raise ValueError(
                f"rate * weight_decay must be below 1, got {self.rate_now} * {decay}: every step "
                "multiplies the weights by 1 minus it"
            )
        return 1.0 - self.rate_now * decay

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.load_state_dict(found)

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one epoch in place; the state receives the averaged weights."""
        order = problem.rng.permutation(problem.n_samples)
        loss = problem.loss.take(order).smoothed(self.label_smoothing)
        shortest, correct = 1.0, 0.0
        for rows in self.batches:
            factor = self._batch_step(order, loss, rows, problem.alpha)
            shortest, correct = min(shortest, factor), correct + self.batch_pass.correct
        self.averaged.unpack(state.W, state.b)
        if self.running:
            e = self.batch_pass.losses
            total, squares = problem.team.sum(
                lambda rows, ws: loss.reported(e[rows], rows), problem.blocks
            )
            self.evaluation = Evaluation(total, squares, correct)
        return [Step("theta", shortest, float(len(self.batches)), "mini-batch")]

    def _batch_step(self, order: np.ndarray, loss: Loss, rows: slice, alpha: float) -> float:
        """Do one step; return the factor of the trust region."""
        count = rows.stop - rows.start
        grams = self.count < _EARLY or self.count % self.gram_period == 0
        square = self.batch_pass(order, loss, rows, grams=grams)
        G, P = self.batch_pass.gradient, self.direction
        if alpha:
            for g, w in zip(G[1:], self.layers[1:], strict=True):
                g[:, :-1] += (alpha * count) * w[:, :-1]
            square = float(np.vdot(G[1], G[1]))
        if grams:
            for l, metric in self.metrics.items():
                gram = self.batch_pass.grams[l]
                gram /= count * self.positions[l]
                metric.update(gram)
        # G is the gradient times B; the division waits for the scalar step lengths.
        decrease = 0.0 if 1 in self.metrics else self.shares[1] * square
        for l, metric in self.metrics.items():
            np.dot(G[l], metric.inverse, out=P[l])
            decrease += self.shares[l] * float(np.vdot(P[l], G[l]))
        factor = trust_factor(loss.step_scale**2 * decrease / count**2, self.radius)
        step = (1.0 - self.momentum) * self.rate_now * factor * loss.step_scale / count
        for l, w in enumerate(self.layers[1:], 1):
            p = P[l] if l in self.metrics else G[l]
            heavy_ball_into(
                w, self.velocity[l], p, self.momentum, step * self.shares[l], self.keep
            )
        self.average.offer(self.theta)
        self.count += 1
        return factor


def _check_share(value: float, name: str) -> float:
    """Return a number in [0, 1), or raise an error that names it."""
    number = check_number(value, name, 0.0, 1.0)
    if number == 1.0:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return number


def _default_batch_size(n_samples: int, most: int) -> int:
    """Return 1/40 of the samples as a power of two within 32 and `most`, or all of a few."""
    power = 2 ** round(np.log2(max(n_samples, 1) / 40.0))
    return min(n_samples, int(np.clip(power, 32, most)))


def _even_batches(n_samples: int, batch_size: int) -> list[slice]:
    """Cut ``0..n_samples`` into ``n_samples / batch_size`` (rounded) ranges of like length."""
    count = max(1, round(n_samples / batch_size))
    edges = [n_samples * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _mean_square(problem: TrainingProblem) -> float:
    """Return the weighted mean of ``|[x, 1]|^2 / dim``, or 1 for inputs that are all zero."""
    weight = problem.loss.sample_weight
    bias = float(problem.network.has_bias(1))

    def task(rows: slice, ws: Workspace) -> tuple[float]:
        squares = problem.batch.seen(problem.network, rows, ws).row_squares()
        if weight is not None:
            squares *= weight[rows]
        return (float(np.sum(squares, dtype=np.float64)),)

    (total,) = problem.team.sum(task, problem.blocks)
    return (total / problem.n_samples + bias) / (problem.samples.n_features + bias) or 1.0
