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

import numpy as np

from ..kernels.batch import heavy_ball_into
from ..losses import Loss
from ..metrics.averaging import MovingAverage
from ..metrics.trust_region import trust_factor
from ..network import Network
from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..state import State
from ..threads.team import Workspace
from .batch_steps import BatchSteps, StepOptions

__all__ = ["GramSteps"]

# Up to so many samples a small rate tells good numbers of epochs apart.
_FEW_SAMPLES = 10_000


class GramSteps(BatchSteps):
    """Steps in the layers' Gram metrics, with a moving average of the iterates.

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
    """

    state_names = ("theta", "velocity", "average", "metrics", "count")

    def __init__(
        self,
        problem: TrainingProblem,
        state: State,
        batches: list[slice],
        options: StepOptions,
    ) -> None:
        network, convolutional = problem.network, problem.network.layer(1).shares_weights
        metrics = [l for l in range(1, network.depth + 1) if l > 1 or convolutional]
        super().__init__(problem, state, batches, options, metrics)
        self.moves = self.parameters.like(np.zeros_like(self.theta))
        self.velocity = self.moves.layers
        averaging = options.averaging
        if averaging is None:
            horizon = len(batches) / (4 if convolutional else 1)
            averaging = 1.0 - 1.0 / float(np.clip(horizon, 50, 1000))
        self.average = MovingAverage(self.theta, averaging, options.average_period)
        self.averaged = self.parameters.like(self.average.value)
        self.shares = [0.0, *(float(q) ** -options.position_power for q in self.positions[1:])]
        if 1 not in self.metrics:
            self.shares[1] = 1.0 / _mean_square(problem)
        few = problem.n_samples <= _FEW_SAMPLES and not convolutional
        self.rate = options.rate or (0.2 if few else 0.5)
        self.keep = self._keep(network, options.weight_decay)

    def _keep(self, network: Network, decay: float | None) -> float:
        """Return the factor ``1 - eta lambda`` of every step."""
        if decay is None:
            share = 0.14 * min(1.0, network.widths[0] / 40.0)
            decay = min(5e-3, share / (self.rate * self.n_batches))
        return self.kept(self.rate, decay)

    @property
    def vectors(self) -> dict[str, tuple[Parameters, bool]]:
        """See `BatchSteps`."""
        return {
            "iterate": (self.parameters, False),
            "mean": (self.averaged, False),
            "velocity": (self.moves, True),
        }

    def __call__(self, order: np.ndarray, loss: Loss, rows: slice, alpha: float) -> float:
        """Do one step; return the factor of the trust region."""
        count, options = rows.stop - rows.start, self.options
        square = self.gradient_of(order, loss, rows, alpha)
        G, P = self.batch_pass.gradient, self.direction
        # G is the gradient times B; the division waits for the scalar step lengths.
        decrease = 0.0 if 1 in self.metrics else self.shares[1] * square
        for l, metric in self.metrics.items():
            np.dot(G[l], metric.inverse, out=P[l])
            decrease += self.shares[l] * float(np.vdot(P[l], G[l]))
        factor = trust_factor(loss.step_scale**2 * decrease / count**2, options.radius)
        step = (1.0 - options.momentum) * self.rate * factor * loss.step_scale / count
        for l, w in enumerate(self.layers[1:], 1):
            p = P[l] if l in self.metrics else G[l]
            heavy_ball_into(
                w, self.velocity[l], p, options.momentum, step * self.shares[l], self.keep
            )
        self.average.offer(self.theta)
        self.count += 1
        return factor


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
