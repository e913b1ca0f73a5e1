"""Quasi-Newton in the layer metric: the sweep as a preconditioned gradient step, accelerated.

From a synchronised state (all residuals zero) a weighted closed-form sweep is exactly

    dW_l = -(t / w_l) (sum_n delta_{l,n} S_n') (sum_n v_n S_n S_n' + mu I)^-1,

a gradient step in a block-diagonal metric (S with a row of ones for the bias).  L-BFGS with this
metric as its initial one, rebuilt at every step, accelerates it.  Samples that are fitted already
leave the working set; the full data decides whether a step stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..linalg.limited_memory import LimitedMemory
from ..metrics.layers import LayerMetric, measured_weights
from ..network.parameters import Parameters, parameter_shapes
from ..objective import TrainingProblem
from ..passes.full import Batch, Evaluation, GradientPass, evaluate, gradient_pass
from ..report import Step
from ..samples.working_set import doubtful_samples
from ..state import State
from ..validation import check_integer, check_number

__all__ = ["QuasiNewton"]


@dataclass
class _Point:
    """A point of the search with the pass that was made there."""

    theta: np.ndarray
    measured: GradientPass
    loss: float
    doubt: np.ndarray
    slope: float = 0.0


class QuasiNewton(Stateful):
    """Full-batch quasi-Newton steps with layer Gram matrices as the metric.

    The mean cross-entropy over all training samples, of smoothed targets if there is label
    smoothing (plus ``alpha/2 sum_l ||W_l||^2``), does not increase from step to step.

    Parameters
    ----------
    mu : float, default 3e-2
        Damping of the Gram matrices relative to their mean eigenvalue, at first and at most.
    mu_min : float, default 1e-4
        Smallest damping.  It falls by `mu_fall` after a step whose first trial was taken, and
        rises by `mu_rise` after any other (Levenberg's rule).
    mu_fall, mu_rise : float, default 0.8 and 2.0
        See `mu_min`.
    history : int, default 10
        Pairs of the limited-memory recursion.
    first_share : float, default 0.25
        Share of the samples, drawn at random, that the first steps work on; they leave it when it
        is fitted better than the rest.  1 works on all samples from the start.
    working_set : float, default 1e-3
        Share of the total doubt ``|p - t|_1 / 2`` (``1 - p_y`` without label smoothing) that the
        samples left out may carry; 0 keeps all.
    refresh : int, default 5
        Steps between new working sets.
    max_trials : int, default 20
        Bound on the trials of one line search.

    Raises
    ------
    ValueError, TypeError
        If an option is not as described; the message names it and its value.
    """

    promise = "loss"
    auxiliaries = False
    synchronised = True
    title, needs = "solver='quasi-newton'", ("has_gram",)
    separated = None
    init = "normalised"
    supports = ("alpha", "sample_weight", "label_smoothing", "regression", "multilabel")
    state_names = (
        "memory",
        "damping",
        "doubt",
        "evaluation",
        "objective",
        "age",
        "checkpoint",
        "chosen",
        "scale",
        "warming",
    )

    def __init__(
        self,
        *,
        mu: float = 3e-2,
        mu_min: float = 1e-4,
        mu_fall: float = 0.8,
        mu_rise: float = 2.0,
        history: int = 10,
        first_share: float = 0.25,
        working_set: float = 1e-3,
        refresh: int = 5,
        max_trials: int = 20,
    ) -> None:
        self.mu = check_number(mu, "mu", 0.0, exclusive=True)
        self.mu_min = check_number(mu_min, "mu_min", 0.0, self.mu)
        self.mu_fall = check_number(mu_fall, "mu_fall", 1e-6, 1.0)
        self.mu_rise = check_number(mu_rise, "mu_rise", 1.0)
        self.history = check_integer(history, "history", minimum=0)
        self.first_share = check_number(first_share, "first_share", 0.0, 1.0)
        self.working_set = check_number(working_set, "working_set", 0.0, 0.999)
        self.refresh = check_integer(refresh, "refresh", minimum=1)
        self.max_trials = check_integer(max_trials, "max_trials", minimum=1)

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Measure the initial network on all samples; begin with a random share of them."""
        n = problem.n_samples
        self.alpha = problem.alpha
        self.memory = LimitedMemory(self.history)
        self.damping = self.mu
        self.parameters = Parameters.pack(parameter_shapes(problem.network), state.W, state.b)
        self.all = problem.batch
        self.doubt = np.empty(n, problem.samples.dtype)
        self.point: _Point | None = None
        self.evaluation = self._evaluate(problem, state)
        self.objective = self._objective(self.evaluation)
        # No smoothed loss is below this: progress is what has been made of the way down to it.
        self.floor = problem.loss.floor * problem.objective.mean_weight
        self.age, self.checkpoint = 0, self.objective
        self.batch, self.scale, self.warming = self.all, 1.0, False
        self.chosen: np.ndarray | None = None
        size = max(int(self.first_share * n), min(n, 512))
        if size < 0.9 * n:
            chosen = np.sort(problem.rng.choice(n, size, replace=False))
            self._choose(problem, chosen, scale=n / size)
            self.warming = True

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`; the first step repeats the pass at its origin."""
        self.chosen = None
        self.load_state_dict(found)
        self.parameters = Parameters.pack(parameter_shapes(problem.network), state.W, state.b)
        self.batch = self.all
        self._choose(problem, self.chosen, self.scale)
        self.point = None

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Take one step in place; restore the weights if the loss over all samples rose."""
        before = self.parameters.theta.copy()
        if self.point is None:
            self.point = self._measure(problem, state, before)
        point, trials = self._search(problem, state, self.point)
        accepted = point is not self.point
        if accepted:
            self._move(state, point.theta)
            evaluation = point.measured.evaluation
            if self.batch is self.all:
                self.doubt[:] = point.doubt
            else:
                evaluation = self._evaluate(problem, state)
            objective = self._objective(evaluation)
            accepted = objective <= self.objective
        if not accepted:
            return [self._give_up(problem, state, before, trials)]
        self.evaluation, self.objective, self.point = evaluation, objective, point
        # Levenberg's rule: trust the metric more while its full steps succeed.
        factor = self.mu_fall if trials == 1 else self.mu_rise
        self.damping = min(max(factor * self.damping, self.mu_min), self.mu)
        self.age += 1
        much = objective - self.floor < 0.3 * (self.checkpoint - self.floor)
        if self.warming:
            # The share is fitted better than the rest: it has taught what it can.
            if point.loss - self.floor < 0.7 * (objective - self.floor) or much:
                self._renew_working_set(problem)
        elif self.age >= self.refresh or much:
            self._renew_working_set(problem)
        return [Step("theta", 1.0, float(trials), "quasi-newton")]

    def _give_up(
        self, problem: TrainingProblem, state: State, before: np.ndarray, trials: int
    ) -> Step:
        """Restore the weights; go on without pairs, then with all samples, then say so."""
        self._move(state, before)
        could_change = bool(self.memory.pairs) or self.batch is not self.all
        self.memory.forget()
        self._choose(problem, None)
        self.age, self.warming = 0, False
        return Step("theta", 1e-3 if could_change else 0.0, float(trials), "quasi-newton")

    def _search(
        self, problem: TrainingProblem, state: State, origin: _Point
    ) -> tuple[_Point, int]:
        """Return the accepted point of the line search, or the origin."""
        metric = self._metric(problem, origin.measured)
        direction = self._direction(problem, origin, metric)
        origin.slope = float(np.dot(self._gradient(origin), direction))
        if not origin.slope < 0.0:
            return origin, 0
        t = 1.0 if self.memory.pairs else min(1.0, 0.1 * origin.loss / -origin.slope)
        best = origin
        for trials in range(1, self.max_trials + 1):  # noqa: B007
            point = self._measure(
                problem, state, origin.theta + origin.theta.dtype.type(t) * direction
            )
            point.slope = float(np.dot(self._gradient(point), direction))
            if point.loss <= origin.loss + 1e-4 * t * origin.slope and point.loss <= (
                best.loss if best is not origin else np.inf
            ):
                best = point
                # Doubling pays only while the slope has hardly changed.
                if point.slope > 0.9 * origin.slope or t >= 64.0:
                    break
                t *= 2.0
            elif best is not origin:
                break
            else:
                rise = point.loss - origin.loss - t * origin.slope
                minimiser = -0.5 * t * t * origin.slope / rise if rise > 0.0 else 0.1 * t
                t = float(np.clip(minimiser, 0.1 * t, 0.5 * t)) if np.isfinite(rise) else 0.1 * t
        if best is not origin:
            self.memory.remember(
                best.theta - origin.theta, self._gradient(best) - self._gradient(origin)
            )
        return best, trials

    def _direction(
        self, problem: TrainingProblem, origin: _Point, metric: LayerMetric
    ) -> np.ndarray:
        def apply_inverse(vector: np.ndarray) -> np.ndarray:
            out = self.parameters.like(np.empty_like(vector))
            metric.apply_inverse(self.parameters.like(vector), out)
            return out.theta

        gradient = self._gradient(origin)
        direction = self.memory.direction(gradient, apply_inverse)
        if not np.dot(gradient, direction) < 0.0:
            self.memory.forget()
            direction = -apply_inverse(gradient)
        return direction

    def _metric(self, problem: TrainingProblem, measured: GradientPass) -> LayerMetric:
        weight = max(measured.gram_weight, np.finfo(float).tiny)
        grams = [gram / weight for gram in measured.grams]
        biases = [problem.network.has_bias(l) for l in range(len(grams))]
        return LayerMetric(grams, measured_weights(measured.sizes), self.damping, biases)

    def _measure(self, problem: TrainingProblem, state: State, theta: np.ndarray) -> _Point:
        """Run a gradient pass over the working set at `theta`."""
        self._move(state, theta)
        doubt = np.empty(len(self.batch), theta.dtype)
        measured = gradient_pass(
            problem.network,
            state.W,
            state.b,
            self.batch,
            problem.team,
            grams=True,
            doubt_out=doubt,
        )
        factor = self.scale / problem.n_samples
        measured.gradient.theta[:] *= theta.dtype.type(factor)
        loss = measured.evaluation.objective * factor
        if self.alpha:
            for own, mine in zip(measured.gradient.layers, self.parameters.layers, strict=True):
                own[:, :-1] += self.alpha * mine[:, :-1]
            loss += self._penalty()
        return _Point(theta, measured, loss, doubt)

    def _gradient(self, point: _Point) -> np.ndarray:
        return point.measured.gradient.theta

    def _move(self, state: State, theta: np.ndarray) -> None:
        self.parameters.theta[:] = theta
        self.parameters.unpack(state.W, state.b)

    def _penalty(self) -> float:
        return (
            0.5
            * self.alpha
            * sum(float(np.sum(np.square(layer[:, :-1]))) for layer in self.parameters.layers)
        )

    def _objective(self, evaluation: Evaluation) -> float:
        penalty = self._penalty() if self.alpha else 0.0
        return evaluation.objective / len(self.doubt) + penalty

    def _evaluate(self, problem: TrainingProblem, state: State) -> Evaluation:
        return evaluate(problem.network, state.W, state.b, self.all, problem.team, self.doubt)

    def _choose(
        self, problem: TrainingProblem, chosen: np.ndarray | None, scale: float = 1.0
    ) -> None:
        """Go on with the chosen samples, None for all; their losses count `scale` times."""
        former, self.scale, self.chosen = self.batch, scale, chosen
        if chosen is None:
            self.batch = self.all
        else:
            samples = problem.samples.take(chosen)
            self.batch = Batch.make(samples, problem.loss.take(chosen), problem.network)
        if self.batch is not former:
            self.point = None

    def _renew_working_set(self, problem: TrainingProblem) -> None:
        """Choose the samples that still matter; the pairs and the metric go on."""
        self.age, self.checkpoint, self.warming = 0, self.objective, False
        chosen = None
        if self.working_set:
            chosen = doubtful_samples(self.doubt, self.working_set, 0.1, problem.team)
        self._choose(problem, chosen)
