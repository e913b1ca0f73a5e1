"""Mini-batch steps along polar factors, with schedule-free averages: no end has to be planned.

With the gradient g_l of a batch at y (a matrix ``[W_l, b_l]`` per layer), one step is

    V_l <- beta V_l + (1-beta) g_l
    z_l <- (1 - eta_l lambda) z_l - eta_l sqrt(max(1, m_l / m_{l-1})) (V_l V_l' + c I)^(-1/2) V_l
    x   <- x + (r+1)/(k+r) (z - x),   y = (1-gamma) z + gamma x

in the hidden layers, and in the output layer, whose metric is known, the step of gram_steps.py,
``V_L <- beta V_L + (1-beta) g_L (M_L + mu I)^-1``, cut by the trust region of that layer, and
``z_L <- (1 - eta lambda) z_L - eta V_L``.  x is the result after any number of steps.  As every
singular value of a hidden step is about 1, weights stay below about 1/lambda in the spectral norm
(times the root): lambda is a bound on the network rather than a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..kernels.batch import averaged_step_into, momentum_into
from ..losses import Loss
from ..metrics.polar import PolarFactor
from ..metrics.trust_region import trust_factor
from ..network.parameters import Parameters
from ..objective import TrainingProblem
from ..state import State
from ..threads.blocks import row_blocks
from ..threads.team import Workspace
from .batch_steps import BatchSteps, StepOptions

__all__ = ["PolarSteps"]

# r: later iterates count more in the average, as the cube of their number.
_POWER = 2.0
# Samples between which rate and interpolation go from those of few to those of many.
_FEW_MANY = (10_000, 50_000)
# Decay of the output weights, whose step has a length of its own.
_OUTPUT_DECAY = 1e-3
# Multiplications of a layer's step from which on another thread gains more than it costs.
_WORTH_SPLITTING = 1 << 21


class PolarSteps(BatchSteps):
    """Polar steps in the hidden layers, the Gram metric at the output.

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

    state_names = ("iterate", "mean", "velocity", "factors", "metrics", "count")

    def __init__(
        self,
        problem: TrainingProblem,
        state: State,
        batches: list[slice],
        options: StepOptions,
    ) -> None:
        network = problem.network
        super().__init__(problem, state, batches, options, [network.depth])
        self.team, self.depth = problem.team, network.depth
        self.iterate, self.mean = self.theta.copy(), self.theta.copy()
        self.points = self.parameters.like(self.iterate).layers
        self.averaged = self.parameters.like(self.mean)
        self.velocity = self.parameters.like(np.zeros_like(self.theta)).layers
        self.factors, self.steps, self.keeps = {}, [0.0], [0.0]
        rate = options.polar_rate
        size, share = _size(problem.n_samples), options.interpolation
        if rate is None:
            rate = 0.07 - 0.02 * size
        decay = 0.4 if options.polar_decay is None else options.polar_decay
        self.share = 0.5 + 0.2 * size if share is None else share
        for l, layer in enumerate(network.layers[:-1], 1):
            rows, columns = layer.weight_shape
            self.factors[l] = PolarFactor(
                self.layers[l].shape,
                self.theta.dtype,
                damping=options.polar_damping,
                period=options.polar_period,
            )
            own = rate if l == 1 else 0.5 * rate
            self.steps.append(own * math.sqrt(max(1.0, rows / columns)))
            self.keeps.append(self.kept(own, decay))
        self.steps.append(0.5 if options.rate is None else options.rate)
        decay = _OUTPUT_DECAY if options.weight_decay is None else options.weight_decay
        self.keeps.append(self.kept(self.steps[-1], decay))
        work = [v.size * min(v.shape) for v in self.velocity]
        alone = sorted(work)[-2] < _WORTH_SPLITTING
        self.groups = row_blocks(self.depth, self.depth if alone else 1)

    @property
    def vectors(self) -> dict[str, tuple[Parameters, bool]]:
        """See `BatchSteps`."""
        return {
            "iterate": (self.parameters.like(self.iterate), False),
            "mean": (self.averaged, False),
        }

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over a state; the point of the gradients follows from it."""
        super().load_state_dict(found)
        self.look_ahead()

    def look_ahead(self) -> None:
        """Set the point where the next gradient is taken."""
        self.theta[:] = self.iterate + self.theta.dtype.type(self.share) * (
            self.mean - self.iterate
        )

    def __call__(self, order: np.ndarray, loss: Loss, rows: slice, alpha: float) -> float:
        """Do one step; return the factor of the trust region at the output."""
        count, top = rows.stop - rows.start, self.depth
        self.gradient_of(order, loss, rows, alpha)
        G, P = self.batch_pass.gradient, self.direction
        np.dot(G[top], self.metrics[top].inverse, out=P[top])
        decrease = loss.step_scale**2 * float(np.vdot(P[top], G[top])) / count**2
        factor = trust_factor(decrease, self.options.radius)
        self.count += 1
        weight = (_POWER + 1.0) / (self.count + _POWER)
        momentum = self.options.momentum
        new = (1.0 - momentum) / count

        def move(group: slice, _: Workspace) -> None:
            for l in range(group.start + 1, group.stop + 1):
                V = self.velocity[l]
                if l == top:
                    momentum_into(V, P[l], momentum, new * factor * loss.step_scale)
                    p = V
                else:
                    momentum_into(V, G[l], momentum, new)
                    p = self.factors[l].apply(V, P[l])
                averaged_step_into(
                    self.layers[l],
                    self.points[l],
                    self.averaged.layers[l],
                    p,
                    self.steps[l],
                    self.keeps[l],
                    weight,
                    self.share,
                )

        self.team.map(move, self.groups)
        return factor


def _size(n_samples: int) -> float:
    """Return 0 for few samples, which many epochs would fit with their noise, and 1 for many."""
    few, many = _FEW_MANY
    return float(np.clip(math.log(n_samples / few) / math.log(many / few), 0.0, 1.0))
