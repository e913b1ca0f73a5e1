"""Alternating minimisation of the separated loss (Algorithm 1)."""

from __future__ import annotations

from ..blocks import Auxiliaries, LayerWeights, OutputWeights, Step
from ..blocks.auxiliaries import LINE_SEARCHES
from ..objective import Problem
from ..state import State
from ..sweep import Sweep, alternating_order
from ..validation import check_choice, check_integer, check_number

__all__ = ["Alternating"]


class Alternating:
    """Algorithm 1: closed-form hidden weights, gradient steps on W_L and on the auxiliaries.

    The separated loss F never increases (monotone backtracking and exact minimisers).

    Parameters
    ----------
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

    promise = "F"
    auxiliaries = True
    init = "uniform"
    evaluation = None
    supports: tuple[str, ...] = ()

    def __init__(
        self,
        *,
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
    ) -> None:
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
        self.max_trials = check_integer(max_trials, "max_trials", minimum=1)
        self.auxiliary_steps = check_integer(auxiliary_steps, "auxiliary_steps", minimum=1)
        self.output_steps = check_integer(output_steps, "output_steps", minimum=1)
        self.bias = check_choice(bias, "bias", ("after", "joint"))
        self.proximal = check_number(proximal, "proximal", 0.0)
        self.sweep = Sweep(())

    def start(self, problem: Problem, state: State) -> None:
        """Lay out the sweep for the problem's depth."""
        output = OutputWeights(
            self.output_step,
            shrink=self.shrink,
            growth=self.output_growth,
            max_trials=self.max_trials,
            steps=self.output_steps,
        )

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

        self.sweep = Sweep(alternating_order(problem.network.depth, output, auxiliaries, weights))

    def step(self, problem: Problem, state: State) -> list[Step]:
        """Do one sweep in place."""
        return self.sweep(problem, state)
