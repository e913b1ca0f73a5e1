"""Mini-batches: one step per batch, one iteration per epoch, and an average as the result.

What a step is, is in polar_steps.py and gram_steps.py.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..losses import Loss
from ..objective import TrainingProblem
from ..passes.full import Evaluation
from ..report import Step
from ..samples.kinds import Samples
from ..state import State
from ..validation import check_choice, check_integer
from .batch_steps import BatchSteps, StepOptions, check_share
from .gram_steps import GramSteps
from .polar_steps import PolarSteps

__all__ = ["MiniBatch"]

KINDS: dict[str, type[BatchSteps]] = {"polar": PolarSteps, "gram": GramSteps}
# Fewer samples than this teach polar steps, which give weak directions the size of strong ones,
# their noise; and on fewer columns than these the steps have to be fine.
_FEWEST, _NARROW = 1000, 64
_FINE = {"polar_rate": 0.02, "rate": 0.1}
_BOLD = {"polar_rate": 0.07, "rate": 0.5}
# From so many samples on a pass over them for the history costs more than it tells.
_MANY_SAMPLES = 10_000


class MiniBatch(Stateful):
    """One step per mini-batch, one iteration per epoch; the result is the average iterate.

    For large, noisy or high-dimensional data, best with early stopping.  It promises no decrease
    from one epoch to the next.  Weight decay is on by default, because the solver is made to
    generalise: to fit the training data closely, set it to 0.

    Parameters
    ----------
    steps : {"polar", "gram"}, optional
        In the hidden layers: steps along polar factors of the momentum, with schedule-free
        averages, or steps in the layers' Gram metrics, with a moving average.  Default
        ``"polar"`` in dense networks for classes from 1000 samples on, unless sparse inputs have
        too many columns for a Gram matrix.
    batch_size : int, optional
        Samples per batch, about: an epoch is cut into equal batches.  Default 32 up to 1500
        samples, then 1/40 of them rounded to a power of two, 128 from 4000 samples on, 512 from
        30,000 on (64 with convolutions, whose weights every image sees at many positions).
    rate : float, optional
        Step length eta in a Gram metric: of all layers, default 0.5, for dense networks 0.2 up to
        10,000 samples, whose best number of epochs may be small; or of the output layer, whose
        metric is known, beside polar steps: default 0.5, in fewer than 64 dimensions 0.1.
    polar_rate : float, optional
        Length of the polar steps in the first layer, half of it in the other hidden layers;
        default 0.02 in fewer than 64 dimensions, else 0.07 up to 10,000 samples, falling to 0.05
        at 50,000.
    momentum : float, default 0.9
        beta, in [0, 1).
    weight_decay : float, optional
        lambda of the decoupled decay, which acts outside the metric.  By default the weights lose
        ``14 % min(1, d/40)`` in an epoch, at most ``lambda = 5e-3``: the more data, the less per
        step; and in few dimensions d sharp boundaries need large weights.  Beside polar steps
        1e-3, in the output layer.  The problem's ``alpha`` is something else, the penalty
        ``alpha/2 ||W||^2`` in the loss, and comes on top.
    polar_decay : float, optional
        lambda of the layers with polar steps, whose weights it keeps below 1/lambda; default 0.4,
        and 0 if `weight_decay` is 0.
    label_smoothing : float, default 0.0
        Used when the problem sets none.
    damping : float, default 0.1
        mu, relative to the mean eigenvalue of every Gram matrix.
    radius : float, default 1.0
        Trust region in the metric.
    interpolation : float, optional
        Polar steps: gamma, in [0, 1); where between iterate and average gradients are taken.
        Default 0.5 up to 10,000 samples, rising to 0.7 at 50,000.
    averaging : float, optional
        Gram steps: weight of the past in the average iterate, per step.  Default a horizon
        ``1/(1 - a)`` of one epoch (a quarter with convolutions, which learn faster), within 50
        and 1000 steps.
    average_period : int, default 8
        Gram steps: steps between iterates that enter the average (the horizon stays).
    metric_averaging : float, default 0.95
        Weight a of the past per Gram matrix.
    gram_period : int, default 8
        Steps between Gram matrices, after the first 32 steps.
    inverse_period : int, default 10
        Gram matrices between inverses, in the long run.
    position_power : float, default 0.25
        Gram steps: k of convolutions; 1 would be the literal sweep, which is too timid.
    polar_damping : float, default 0.1
        c, relative to the mean eigenvalue of ``V V'``.
    polar_period : int, default 8
        Steps between roots of ``V V'``, after those that double their number.
    monitor : {"exact", "running"}, optional
        Training loss of the history: the averaged network's, which costs a forward pass over the
        data per epoch (about a third of the work), or the mean over the epoch of what the batches
        saw before their steps, and for the initial weights that of some 8000 samples, which costs
        nothing.  The kept weights have their own loss at the end in any case.  Default
        ``"running"`` with early stopping, where the held-out samples judge, and with more than
        10,000 samples, else ``"exact"``.
    """

    promise = "none"
    auxiliaries = False
    synchronised = True
    title, needs = "solver='mini-batch'", ("has_gram",)
    separated = None
    init = "normalised-small"
    #: Kind of steps, once it is chosen, and whether they are long polar ones.
    kind: str | None = None
    is_bold = False
    evaluation: Evaluation | None = None
    state_names = ("moves",)
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
        steps: str | None = None,
        batch_size: int | None = None,
        rate: float | None = None,
        polar_rate: float | None = None,
        momentum: float = 0.9,
        weight_decay: float | None = None,
        polar_decay: float | None = None,
        label_smoothing: float = 0.0,
        damping: float = 0.1,
        radius: float = 1.0,
        interpolation: float | None = None,
        averaging: float | None = None,
        average_period: int = 8,
        metric_averaging: float = 0.95,
        gram_period: int = 8,
        inverse_period: int = 10,
        position_power: float = 0.25,
        polar_damping: float = 0.1,
        polar_period: int = 8,
        monitor: str | None = None,
    ) -> None:
        if steps is not None:
            check_choice(steps, "steps", tuple(KINDS))
        self.steps = steps
        if batch_size is not None:
            batch_size = check_integer(batch_size, "batch_size", minimum=1)
        self.batch_size = batch_size
        self.label_smoothing = check_share(label_smoothing, "label_smoothing")
        if polar_decay is None and weight_decay == 0.0:
            polar_decay = 0.0
        given = locals()
        checked = StepOptions(**{f.name: given[f.name] for f in dataclasses.fields(StepOptions)})
        vars(self).update(dataclasses.asdict(checked))
        if monitor is not None:
            check_choice(monitor, "monitor", ("exact", "running"))
        self.monitor = monitor

    def suit(self, n_samples: int, able: bool, samples: Samples, loss: Loss) -> None:
        """Choose what was left open: the kind of steps, and how fine they are.

        Parameters
        ----------
        n_samples : int
            All samples that there are, held-out ones included.
        able : bool
            Whether there are hidden layers, all of them dense: convolutions do better with Gram
            steps.
        samples : Samples
            Their inputs, or some of them.
        loss : Loss
            Regressions of smooth functions do better with Gram steps.
        """
        able = able and samples.has_gram and not loss.quadratic
        few = n_samples < _FEWEST
        self.kind = self.steps or ("polar" if able and not few else "gram")
        rates: dict[str, float] = {}
        if self.kind == "polar" and samples.n_features < _NARROW:
            rates = _FINE
        elif self.kind == "polar" and n_samples <= _MANY_SAMPLES:
            rates = _BOLD
        self.chosen = self._options(rates)
        # Long steps want neurons that bend from the start.
        self.is_bold = self.kind == "polar" and self.chosen.polar_rate != _FINE["polar_rate"]
        self.init = "normalised" if self.is_bold else "normalised-small"

    def others(self, n_samples: int, able: bool, samples: Samples, loss: Loss) -> list[Any]:
        """Return what held-out samples may prefer, where the kind of steps was left open.

        Parameters
        ----------
        n_samples, able, samples, loss
            As for `suit`.
        """
        self.suit(n_samples, able, samples, loss)
        made: list[MiniBatch] = []
        if self.steps is None and able and samples.has_gram and not loss.quadratic:
            for steps, rates in (("gram", {}), ("polar", _FINE), ("polar", _BOLD)):
                other = copy.deepcopy(self)
                other.steps = steps
                for name, value in self._free(rates).items():
                    setattr(other, name, value)
                other.suit(n_samples, able, samples, loss)
                made.append(other)
        return [other for other in made if (other.kind, other.chosen) != (self.kind, self.chosen)]

    def _free(self, rates: Mapping[str, float]) -> dict[str, float]:
        """Return those that were left open."""
        return {name: value for name, value in rates.items() if getattr(self, name) is None}

    def _options(self, rates: Mapping[str, float]) -> StepOptions:
        """Return the settings of the steps, with these rates where they were left open."""
        own: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(StepOptions)
        }
        return StepOptions(**(own | self._free(rates)))

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Lay out the batches and the memory of a run."""
        n, layer = problem.n_samples, problem.network.layer(1)
        size = self.batch_size or _default_batch_size(n, 64 if layer.shares_weights else 512)
        if size > n:
            raise ValueError(
                f"batch_size must be at most the number of training samples, got {size} for {n} "
                "(held-out samples do not count); lower it, or leave it at None"
            )
        self.batches = _even_batches(n, size)
        if self.kind is None:
            network = problem.network
            able = network.depth > 1 and not any(l.shares_weights for l in network.layers)
            self.suit(n, able, problem.samples, problem.loss)
        self.moves = KINDS[str(self.kind)](problem, state, self.batches, self.chosen)
        self.running = self.monitor == "running" or (
            self.monitor is None and (problem.has_validation or n > _MANY_SAMPLES)
        )
        self.evaluation = None

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.load_state_dict(found)

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one epoch in place; the state receives the averaged weights."""
        order, moves = problem.rng.permutation(problem.n_samples), self.moves
        loss = problem.loss.take(order).smoothed(self.label_smoothing)
        shortest, correct = 1.0, 0.0
        for rows in self.batches:
            factor = moves(order, loss, rows, problem.alpha)
            shortest, correct = min(shortest, factor), correct + moves.batch_pass.correct
        moves.averaged.unpack(state.W, state.b)
        if self.running:
            e = moves.batch_pass.losses
            total, squares = problem.team.sum(
                lambda rows, ws: loss.reported(e[rows], rows), problem.blocks
            )
            self.evaluation = Evaluation(total, squares, correct)
        return [Step("theta", shortest, float(len(self.batches)), "mini-batch")]


def _default_batch_size(n_samples: int, most: int) -> int:
    """Return 1/40 of the samples as a power of two, 128 for long, or all of a few."""
    most = min(most, 128 if n_samples < 30_000 else most)
    power = 2 ** round(np.log2(max(n_samples, 1) / 40.0))
    return min(n_samples, int(np.clip(power, 32, most)))


def _even_batches(n_samples: int, batch_size: int) -> list[slice]:
    """Cut ``0..n_samples`` into ``n_samples / batch_size`` (rounded) ranges of like length."""
    count = max(1, round(n_samples / batch_size))
    edges = [n_samples * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
