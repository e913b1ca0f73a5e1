"""Alternating minimisation of the separated loss: Algorithms 1 and 2, co-moving auxiliaries.

``paper``      W_L  ->  A_{L-1}  ->  (W_l, b_l  ->  A_{l-1})  for l = L-1 .. 2  ->  W_1, b_1
``co-moving``  W_L by Newton  ->  all hidden (W_l, b_l) at once, all auxiliaries moving along

On subsets of the samples (Algorithm 2) the auxiliaries of a subset are set by a forward pass when
it is drawn; F of the subset does not rise until the next one is drawn, and memory depends on the
subset only.  Both variants take sample weights, weight decay and label smoothing into account.
With the squared error W_L has a closed form, and both take it.

In the literal method a fixed A pins every weight solve through the samples that fit well, so
hidden layers barely train; where the auxiliaries move along with the weights they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..blocks import (
    Auxiliaries,
    Block,
    CoMovingWeights,
    LayerWeights,
    NewtonOutput,
    OutputLeastSquares,
    OutputWeights,
)
from ..blocks.auxiliaries import LINE_SEARCHES
from ..blocks.sweep import Sweep, alternating_order
from ..container.stateful import Stateful, prefixed
from ..objective import SeparatedLoss, TrainingProblem, mean_loss
from ..passes.full import Evaluation, EvaluationMean, evaluate
from ..report import Step
from ..samples.subsets import Subsets
from ..state import State
from ..validation import check_choice, check_integer, check_number

__all__ = ["VARIANTS", "Alternating"]

VARIANTS = ("paper", "co-moving")


class Alternating(Stateful):
    """Sweeps over weights and auxiliaries that never increase the separated loss F.

    With weight decay, ``F + alpha/2 sum_l ||W_l||_F^2`` never increases, and the bound still holds
    for F.  With label smoothing the losses in F, and so the bound, are the smoothed ones.

    Parameters
    ----------
    variant : {"paper", "co-moving"}, default "paper"
        ``"paper"`` is Algorithm 1: closed-form hidden weights, gradient steps on W_L and on the
        auxiliaries.  ``"co-moving"`` needs about a hundredth of its sweeps; it knows the options
        `mu` and `momentum` only.
    mu : float, default 1e-8
        Damping at the start of ``"co-moving"``, see `lysep_fast.blocks.CoMovingWeights`.
    momentum : bool, default True
        Whether a step of ``"co-moving"`` carries on the last one.
    line_search : {"row", "matrix"}, default "row"
        One step length per sample of an auxiliary, or one for the whole matrix.
    step : "curvature" or float, default "curvature"
        First step length of the auxiliaries: scaled by their known curvature, or a fixed tau_0.
    reach : float, default 4.0
        Multiple of the curvature step to start from.
    output_step : float or None, default None
        First step length for W_L; None starts from `output_growth` times the last accepted one.
    output_growth : float, default 1.5
        See `output_step`.
    shrink : float, default 0.25
        Backtracking factor rho.
    max_trials : int, default 12
        Bound on the trials of one line search.
    auxiliary_steps, output_steps : int, default 1
        Gradient steps per sweep and block.
    bias : {"after", "joint"}, default "after"
        Solve for b_l after W_l (the paper) or for both at once.
    batch_size : int, optional
        Samples of a subset; default all, which is Algorithm 1.
    refresh_every : int, default 10
        Sweeps on a subset before the next one is drawn.
    report_every : int, optional
        With `batch_size`: sweeps per iteration of the training loop, in whose history they have
        one row, the mean over what the sweeps saw of their subsets.  Default one pass over the
        data.
    proximal : float, default 0.0
        Weight of ``||dW||^2``, relative to the mean eigenvalue of ``S'S``, added to every closed
        form.  0 is the exact minimiser, which falls back to QR where ``S'S`` is numerically
        singular; 1e-12 keeps the cheaper Cholesky and costs some progress per sweep.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it and its value.

    References
    ----------
    Liu, Ng, Gu: A Layer Separation Optimization Framework for Cross-Entropy Training in Deep
    Learning, Algorithm 1.
    """

    synchronised = False
    init: str
    title = "solver='alternating' with variant='paper'"
    needs: tuple[str, ...] = ("has_gram", "has_closed_form")
    supports: tuple[str, ...] = (
        "weights",
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
        variant: str = "paper",
        mu: float = 1e-8,
        momentum: bool = True,
        line_search: str = "row",
        step: float | str = "curvature",
        reach: float = 4.0,
        output_step: float | None = None,
        output_growth: float = 1.5,
        shrink: float = 0.25,
        max_trials: int = 12,
        auxiliary_steps: int = 1,
        output_steps: int = 1,
        bias: str = "after",
        proximal: float = 0.0,
        batch_size: int | None = None,
        refresh_every: int = 10,
        report_every: int | None = None,
    ) -> None:
        self.variant = check_choice(variant, "variant", VARIANTS)
        self.init = "uniform" if variant == "paper" else "normalised"
        self.title = f"solver='alternating' with variant={variant!r}"
        if variant != "paper":
            self.needs = ("is_matrix", "is_entrywise")
        self.mu = check_number(mu, "mu", 0.0)
        self.momentum = bool(momentum)
        self._set_searches(line_search, step, reach, output_step, output_growth, shrink)
        self.max_trials = check_integer(max_trials, "max_trials", minimum=1)
        self.auxiliary_steps = check_integer(auxiliary_steps, "auxiliary_steps", minimum=1)
        self.output_steps = check_integer(output_steps, "output_steps", minimum=1)
        self.bias = check_choice(bias, "bias", ("after", "joint"))
        self.proximal = check_number(proximal, "proximal", 0.0)
        self._set_subsets(batch_size, refresh_every, report_every)
        self.sweep = Sweep(())

    def _set_searches(
        self,
        line_search: str,
        step: float | str,
        reach: float,
        output_step: float | None,
        output_growth: float,
        shrink: float,
    ) -> None:
        """Check and keep what the line searches start from."""
        self.line_search = check_choice(line_search, "line_search", LINE_SEARCHES)
        if isinstance(step, str) and step != "curvature":
            raise ValueError(f"step must be 'curvature' or a positive number, got {step!r}")
        if not isinstance(step, str):
            step = check_number(step, "step", 0.0, exclusive=True)
        self.step_length = step
        self.reach = check_number(reach, "reach", 0.0, exclusive=True)
        if output_step is not None:
            output_step = check_number(output_step, "output_step", 0.0, exclusive=True)
        self.output_step = output_step
        self.output_growth = check_number(output_growth, "output_growth", 0.0, exclusive=True)
        self.shrink = check_number(shrink, "shrink", 0.0, 1.0, exclusive=True)

    def _set_subsets(
        self, batch_size: int | None, refresh_every: int, report_every: int | None
    ) -> None:
        """Check and keep how subsets are drawn, and what follows from whether there are any."""
        if batch_size is not None:
            batch_size = check_integer(batch_size, "batch_size", minimum=1)
        if report_every is not None:
            report_every = check_integer(report_every, "report_every", minimum=1)
            if batch_size is None:
                raise ValueError(
                    f"report_every={report_every} counts sweeps on subsets; set batch_size, or "
                    "leave it out"
                )
        self.batch_size, self.report_every = batch_size, report_every
        self.refresh_every = check_integer(refresh_every, "refresh_every", minimum=1)
        self.promise = "F" if batch_size is None else "none"
        self.auxiliaries = batch_size is None
        self.evaluation: Evaluation | None = None
        self.separated: SeparatedLoss | None = None
        self.part_state: State | None = None
        self.state_names = ("sweep",)
        if batch_size is not None:
            self.state_names = ("sweep", "subsets", "part_state")

    def start(self, problem: TrainingProblem, state: State) -> None:
        """Lay out the sweep for the problem's depth."""
        self.evaluation = self.separated = self.part_state = None
        if self.batch_size is not None:
            self.subsets = Subsets(
                problem.n_samples,
                self.batch_size,
                self.refresh_every,
                problem.rng,
                problem.loss.sample_weight,
            )
        output = self._output(problem)
        if self.variant == "paper":
            self.sweep = self._paper_sweep(problem.network.depth, output)
        elif problem.network.depth == 1:
            self.sweep = Sweep((output,))
        else:
            weights = CoMovingWeights(mu=self.mu, momentum=self.momentum)
            self.sweep = Sweep((output, weights))

    def resume(self, problem: TrainingProblem, state: State, found: Mapping[str, Any]) -> None:
        """Take over a state after `start`; the subset is gathered again."""
        if "part_state" not in found and self.batch_size is not None:
            self.subsets.load_state_dict(prefixed(found, "subsets"))
            self._open(problem, state)
        self.load_state_dict(found)

    def step(self, problem: TrainingProblem, state: State) -> list[Step]:
        """Do one sweep in place, or `report_every` of them on subsets."""
        if self.batch_size is None:
            return self.sweep(problem, state)
        steps: list[Step] = []
        seen, terms, count = EvaluationMean(problem.loss.total_weight), [], 0
        for _ in range(self.report_every or self.subsets.sweeps_of_a_pass()):
            if self.subsets.draw()[0]:
                self._open(problem, state)
            part_state = self.part_state
            assert part_state is not None  # the first draw has opened one
            steps = self.sweep(self.part, part_state)
            batch = self.part.batch
            found = evaluate(problem.network, state.W, state.b, batch, problem.team)
            seen.add(found, batch.loss.total_weight)
            terms.append(self.part.objective.separated_loss(part_state))
            count += len(batch)
        scale = seen.factor * count / problem.n_samples  # 1 without sample weights
        self.evaluation, self.separated = seen.total(), mean_loss(terms, scale)
        return steps

    def _open(self, problem: TrainingProblem, state: State) -> None:
        """Gather the subset that was drawn and set its auxiliaries by a forward pass."""
        index = np.sort(self.subsets.order[self.subsets.rows])
        self.part = problem.subset(index)
        # The lists of weights are shared: sweeps on the subset change those of the run.
        self.part_state = self.part.synchronised_state(state.W, state.b)

    def _output(self, problem: TrainingProblem) -> Block:
        """Return the block of W_L: in closed form where the loss allows it."""
        network = problem.network
        if problem.loss.quadratic:
            return OutputLeastSquares(network.depth, network.output_bias, self.proximal)
        if self.variant == "co-moving":
            return NewtonOutput()
        return OutputWeights(
            self.output_step,
            shrink=self.shrink,
            growth=self.output_growth,
            max_trials=self.max_trials,
            steps=self.output_steps,
        )

    def _paper_sweep(self, depth: int, output: Block) -> Sweep:
        """Return the blocks of Algorithm 1 in their order."""

        def auxiliaries(l: int) -> Auxiliaries:
            return Auxiliaries(
                l,
                line_search=self.line_search,
                step=self.step_length,
                reach=self.reach,
                shrink=self.shrink,
                max_trials=self.max_trials,
                steps=self.auxiliary_steps,
            )

        def weights(l: int) -> LayerWeights:
            return LayerWeights(l, self.bias, self.proximal)

        return Sweep(alternating_order(depth, output, auxiliaries, weights))
