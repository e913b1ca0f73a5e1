"""Solvers that eliminate the output weights: random features and variable projection.

With the hidden layers theta fixed, the output weights w*(theta) are a least-squares problem
(output.py).  `RandomFeatures` stops there.  `VariableProjection` runs L-BFGS on

    theta -> J(theta, w*(theta)),     whose gradient is the ordinary dJ/dtheta at w*,

because dJ/dw = 0 there, with the metric of metric.py as the initial one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful, flatten, prefixed, restore
from ..linalg.limited_memory import LimitedMemory
from ..linalg.line_search import weak_wolfe
from ..report import Step
from ..validation import check_integer, check_number
from .domains import box_for_weights
from .hidden import Hidden
from .jets import JetNetwork
from .metric import KroneckerMetric
from .output import OutputFit, fit_output
from .state import Discrete, PdeState

__all__ = ["RandomFeatures", "VariableProjection"]


class RandomFeatures(Stateful):
    """Solve for the output weights once; the hidden layers stay as they were drawn.

    Cheap, and very accurate for smooth solutions in one or two dimensions with one wide layer;
    with more coordinates, or several scales, training the hidden layers pays.

    Parameters
    ----------
    scales : sequence of float, optional
        Scales of the first layer to choose from, by the residual on fresh points.  By default
        the layers are taken as they are.
    """

    promise = "J"
    iterates = False
    initial_scale = (0.6, 0.3)

    def __init__(self, *, scales: object = None) -> None:
        self.scales: list[float] = []
        if scales is not None:
            if not isinstance(scales, list | tuple | np.ndarray) or not len(scales):
                raise TypeError(f"scales must be a list of positive numbers, got {scales!r}")
            self.scales = [
                check_number(scale, f"scales[{i}]", 0.0, exclusive=True)
                for i, scale in enumerate(scales)
            ]

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Fit the output weights; draw the hidden layers again for every scale."""
        self.done = False
        candidates = [state.hidden]
        bounds = box_for_weights(problem.problem.domain)
        for scale in self.scales:
            candidates.append(Hidden.random(state.hidden.widths, scale, bounds, problem.rng))
        if len(candidates) > 1:
            state.hidden.theta[:] = self._best(problem, candidates).theta
        problem.network.forward(state.hidden)
        state.w = fit_output(problem.network).w
        state.measure(problem.network)
        state.separated = state.loss

    def _best(self, problem: Discrete, candidates: list[Hidden]) -> Hidden:
        """Return the hidden layers with the smallest loss on points that were not fitted."""
        here, sampling = problem.network, problem.sampling
        sets = problem.problem.collocate(
            sampling.n_interior, sampling.n_boundary, sampling.boundary_weight, problem.rng
        )
        fresh = JetNetwork.like(here, sets)
        losses = []
        for hidden in candidates:
            here.forward(hidden)
            w = fit_output(here).w
            fresh.forward(hidden)
            losses.append(sum(fresh.loss(w)))
        return candidates[int(np.nanargmin(losses))]

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Do nothing: all is in the variables."""

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Report that there is nothing left to do."""
        return [Step("w", 0.0, 0.0, "qr")]


@dataclass
class _Point:
    """A point of the line search."""

    theta: np.ndarray
    fit: OutputFit
    gradient: np.ndarray
    inside: float
    edge: float

    @property
    def loss(self) -> float:
        return self.inside + self.edge


class VariableProjection(Stateful):
    """L-BFGS on the hidden layers with the output weights eliminated; J never rises.

    Parameters
    ----------
    history : int, default 30
        Pairs of the limited-memory recursion.
    damping : "auto", pair of float, or None
        Damping of the input and the output side of the layers' metric, relative to the mean
        eigenvalue: by default (1e-6, 1e-3) up to two coordinates and (0.1, 1e-3) from three on,
        where points are sparse and a metric that equalises the inputs fits them, not the
        solution.  None starts the recursion from the identity, as plain L-BFGS does.
    refresh : int, default 10
        Steps between two metrics.
    max_trials : int, default 30
        Bound on the trials of one line search.
    """

    promise = "J"
    iterates = True
    # What the metric can amplify it need not start with: between sparse points, large first
    # weights leave wiggles that no residual sees.
    initial_scale = (0.6, 0.1)

    def __init__(
        self,
        *,
        history: int = 30,
        damping: str | tuple[float, float] | None = "auto",
        refresh: int = 10,
        max_trials: int = 30,
    ) -> None:
        self.history = check_integer(history, "history", minimum=0)
        if damping is not None and damping != "auto":
            if not isinstance(damping, tuple | list) or len(damping) != 2:
                raise TypeError(
                    f"damping must be 'auto', a pair of positive numbers or None, got {damping!r}"
                )
            right, left = (check_number(v, "damping", 0.0, exclusive=True) for v in damping)
            damping = (right, left)
        self.damping: Any = damping
        self.refresh = check_integer(refresh, "refresh", minimum=1)
        self.max_trials = check_integer(max_trials, "max_trials", minimum=1)

    def start(self, problem: Discrete, state: PdeState) -> None:
        """Fit the output weights and measure the gradient."""
        self.memory = LimitedMemory(self.history)
        self.point = self._measure(problem, state, state.hidden.theta.copy(), None)
        self._keep(state, self.point)
        self.age = 0
        self.metric: KroneckerMetric | None = None
        right = 1e-6 if problem.problem.dimension <= 2 else 0.1
        self.metric_damping = (right, 1e-3) if self.damping == "auto" else self.damping

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs, the metric, the gradient and how the output weights were fitted."""
        parts = {"memory": self.memory, "age": self.age, "metric": self.metric}
        return flatten(parts | {"gradient": self.point.gradient, "fit": self.point.fit})

    def resume(self, problem: Discrete, state: PdeState, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`."""
        self.memory.load_state_dict(prefixed(found, "memory"))
        self.age = restore(found, "age", self.age)
        if "metric" not in found:
            self.metric = self._metric(problem, state)
            self.metric.load_state_dict(prefixed(found, "metric"))
        gradient = restore(found, "gradient", self.point.gradient)
        theta, fit = state.hidden.theta.copy(), restore(found, "fit", self.point.fit)
        self.point = _Point(theta, fit, gradient, state.inside, state.edge)

    def _metric(self, problem: Discrete, state: PdeState) -> KroneckerMetric:
        problem.network.forward(state.hidden)  # the last trial may have been another point
        return KroneckerMetric(problem.network, state.hidden, state.w, self.metric_damping)

    def step(self, problem: Discrete, state: PdeState) -> list[Step]:
        """Take one step along the quasi-Newton direction."""
        origin = self.point
        if self.metric_damping is not None and self.age % self.refresh == 0:
            self.metric = self._metric(problem, state)
        self.age += 1
        apply_inverse = np.copy if self.metric is None else self.metric.apply_inverse
        direction = self.memory.direction(origin.gradient, apply_inverse)
        slope = float(np.dot(direction, origin.gradient))
        if not slope < 0.0:
            self.memory.forget()
            direction = -origin.gradient
            slope = -float(np.dot(origin.gradient, origin.gradient))
        # Without pairs the length of the direction means nothing: ask for 10 % less at first.
        first = 1.0 if self.memory.pairs else min(1.0, 0.1 * origin.loss / max(-slope, 1e-300))
        seen: dict[float, _Point] = {}

        def along(t: float) -> tuple[float, float]:
            point = self._measure(problem, state, origin.theta + t * direction, origin.fit.w)
            seen[t] = point
            return point.loss, float(np.dot(point.gradient, direction))

        t, trials = weak_wolfe(along, origin.loss, slope, first, self.max_trials)
        if t == 0.0:
            self._keep(state, origin)
            could_change = bool(self.memory.pairs)
            self.memory.forget()
            return [Step("theta", 1e-3 if could_change else 0.0, float(trials), "quasi-newton")]
        self.point = seen[t]
        self.memory.remember(
            self.point.theta - origin.theta, self.point.gradient - origin.gradient
        )
        self._keep(state, self.point)
        fit = self.point.fit
        return [
            Step("theta", 1.0, float(trials), "quasi-newton"),
            Step("w", 1.0, float(fit.iterations), fit.method, fit.rcond),
        ]

    def _measure(
        self, problem: Discrete, state: PdeState, theta: np.ndarray, w: np.ndarray | None
    ) -> _Point:
        """Evaluate J and its gradient at theta, w eliminated, starting from `w`."""
        network, hidden = problem.network, Hidden(state.hidden.widths, theta)
        network.forward(hidden)
        fit = fit_output(network, w)
        (inside, edge), gradient = network.gradient(hidden, fit.w)
        return _Point(theta, fit, gradient, inside, edge)

    def _keep(self, state: PdeState, point: _Point) -> None:
        state.hidden.theta[:] = point.theta
        state.w = point.fit.w
        state.inside, state.edge = point.inside, point.edge
        state.separated = state.loss
