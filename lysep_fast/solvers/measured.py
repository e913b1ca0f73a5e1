"""Algorithm 2 with measured weights: synchronised sweeps over subsets, as increments.

From a synchronised state a sweep with weighted closed-form layer solves is a preconditioned
gradient step (see `quasi_newton`).  Norm products as weights freeze convolutions, because they
overrate what a residual in a low layer costs at the output; here the weights are measured:

    w_l <- average of  sum |delta_l|^2 / sum |delta_L|^2,     d <- average of  sum |delta_L|^2 / B
    M_l <- average of  S~'S~ / (B P_l)                        (patches, for a convolution)
    V_l <- beta V_l - t g_l (M_l + mu (tr M_l / dim) I)^-1 / (w_l P_l^k sqrt(d)),  W_l <- W_l + V_l

with g_l the gradient of the mean of ``e_n^2`` over a subset of B samples and P_l positions.  The
auxiliaries of the subset are set by a forward pass in every sweep and never stored, so that
memory depends on the subset only.  Nothing promises a decrease of F.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..metrics.averaging import early_mean_weight
from ..metrics.diagonal import DiagonalMetric
from ..metrics.layers import MovingMetric, measured_weights
from ..network import Network
from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..passes.batch import BatchPass, batch_shapes
from ..passes.full import Evaluation, EvaluationMean
from ..report import Step
from ..samples.subsets import Subsets
from ..state import State
from ..threads.blocks import sample_blocks
from ..threads.team import Team, Workspace
from ..validation import check_integer, check_number

__all__ = ["MeasuredSweeps"]


class MeasuredSweeps(Stateful):
    """Synchronised sweeps over subsets with measured weights and averaged Gram matrices.

    Parameters
    ----------
    batch_size : int, default 500
        Samples per subset (all of them when there are fewer).
    refresh_every : int, default 1
        Sweeps on a subset before the next one is drawn.
    report_every : int, optional
        Sweeps per iteration of the training loop, in whose history they have one row: the mean
        over the subsets, each before its step.  Default one pass over the data.
    step : float, default 0.3
        t above.
    momentum : float, default 0.5
        beta above, in [0, 1).
    mu : float, default 0.03
        Damping relative to the mean eigenvalue of every Gram matrix.
    gram_averaging, weight_averaging : float, default 0.8 and 0.9
        Weights of the past in the moving averages.
    position_power : float, default 0.0
        k above; the literal method has 1, which is far too timid.
    """

    promise = "none"
    auxiliaries = False
    synchronised = True
    title, needs = "solver='measured-sweeps'", ("has_gram",)
    separated = None
    init = "normalised"
    state_names = ("subsets", "theta", "velocity", "metrics", "sizes", "count")
    supports = ("sample_weight", "batch_size", "multilabel")

    def __init__(
        self,
        *,
        batch_size: int | None = 500,
        refresh_every: int = 1,
        report_every: int | None = None,
        step: float = 0.3,
        momentum: float = 0.5,
        mu: float = 0.03,
        gram_averaging: float = 0.8,
        weight_averaging: float = 0.9,
        position_power: float = 0.0,
    ) -> None:
        self.batch_size = 500 if batch_size is None else check_integer(batch_size, "batch_size", 1)
        self.refresh_every = check_integer(refresh_every, "refresh_every", minimum=1)
        if report_every is not None:
            report_every = check_integer(report_every, "report_every", minimum=1)
        self.report_every = report_every
        self.step_length = check_number(step, "step", 0.0, exclusive=True)
        self.momentum = check_number(momentum, "momentum", 0.0, 0.999)
        self.mu = check_number(mu, "mu", 0.0, exclusive=True)
        self.gram_averaging = check_number(gram_averaging, "gram_averaging", 0.0, 0.999)
        self.weight_averaging = check_number(weight_averaging, "weight_averaging", 0.0, 0.999)
        self.position_power = check_number(position_power, "position_power", 0.0, 1.0)
        self.evaluation: Evaluation | None = None

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Lay out the memory of a run."""
        network, dtype = problem.network, problem.samples.dtype
        self.subsets = Subsets(
            problem.n_samples,
            self.batch_size,
            self.refresh_every,
            problem.rng,
            problem.loss.sample_weight,
        )
        self.size = self.subsets.size
        self.sweeps = self.report_every or self.subsets.sweeps_of_a_pass()
        self.parameters = Parameters.pack(batch_shapes(network), state.W, state.b)
        self.theta, self.layers = self.parameters.theta, self.parameters.layers
        self.velocity = self.parameters.like(np.zeros_like(self.theta)).layers
        self.metrics = {
            l: self._metric(network, l, dtype, whole=l > 1 or problem.samples.has_gram)
            for l in range(1, network.depth + 1)
        }
        self.batch_pass = BatchPass(
            network,
            self.layers,
            problem.samples,
            self.size,
            problem.team,
            list(self.metrics),
            squared=True,
        )
        self.positions = np.array([1, *(layer.n_positions for layer in network.layers)])
        self.sizes = np.zeros(network.depth + 1)
        self.count = 0
        self.evaluation = None

    def _metric(
        self, network: Network, l: int, dtype: np.dtype, *, whole: bool
    ) -> MovingMetric | DiagonalMetric:
        """Return the metric of a layer, whole or of many sparse columns."""
        p = network.layer(l).weight_shape[1]
        sizes = p + 1, p + int(network.has_bias(l))
        if not whole:
            return DiagonalMetric(*sizes, dtype, mu=self.mu, limit=self.gram_averaging)
        return MovingMetric(*sizes, dtype, mu=self.mu, limit=self.gram_averaging, period=1)

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.load_state_dict(found)
        self.loss = problem.loss.take(self.subsets.order)

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do `report_every` sweeps in place."""
        mean = EvaluationMean(problem.loss.total_weight)
        for _ in range(self.sweeps):
            if self.subsets.draw()[1]:
                self.loss = problem.loss.take(self.subsets.order)
            self.batch_pass(self.subsets.order, self.loss, self.subsets.rows, grams=True)
            mean.add(*self._seen(problem.team, self.subsets.rows))
            self._move()
        self.parameters.unpack(state.W, state.b)
        self.evaluation = mean.total()
        return [Step("theta", 1.0, float(self.sweeps), "cholesky")]

    def _move(self) -> None:
        """Change all weights by the increments of one sweep."""
        pass_ = self.batch_pass
        old = early_mean_weight(self.count, self.weight_averaging)
        self.sizes = old * self.sizes + (1.0 - old) * pass_.sizes / self.size
        w = measured_weights(self.sizes) * self.positions**self.position_power
        root = float(np.sqrt(max(self.sizes[-1], 1e-8)))
        for l, metric in self.metrics.items():
            gram, G, V = pass_.grams[l], pass_.gradient[l], self.velocity[l]
            gram /= self.size * self.positions[l]
            metric.update(gram)
            V *= V.dtype.type(self.momentum)
            # Where nothing is left to gain the weights may underflow.
            cost = max(float(w[l]) * root * self.size, float(np.finfo(V.dtype).tiny))
            V -= metric.apply_inverse(G) * V.dtype.type(self.step_length / cost)
            self.layers[l] += V
        self.count += 1

    def _seen(self, team: Team, subset: slice) -> tuple[Evaluation, float]:
        """Return the sums over the subset, at the weights before the step, and its weight."""
        losses, loss = self.batch_pass.losses, self.loss

        def task(part: slice, ws: Workspace) -> tuple[float, ...]:
            rows = slice(subset.start + part.start, subset.start + part.stop)
            own = np.ones(rows.stop - rows.start)
            return (*loss.reported(losses[rows], rows), float(loss.weighted_sum(own, rows)))

        blocks = sample_blocks(subset.stop - subset.start, 1, losses.itemsize)
        total, squares, weight = team.sum(task, blocks)
        return Evaluation(total, squares, self.batch_pass.correct, total), weight
