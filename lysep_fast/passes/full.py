"""Forward and backward passes over sample blocks, with the layers' Gram matrices on the way.

One block goes through the whole network and back while it is in cache; nothing of the size of the
data is stored.  Per layer the pass sums, over samples with weights c_n,

    gradient   sum_n c_n delta_{l,n} [S_{l-1,n}, 1]         delta_L = P - t,  or 2 (U - T)
    Gram       sum_n c_n q_n [S_{l-1,n}, 1]'[S_{l-1,n}, 1]  q_n = 1 - p_{y_n},  1,  or |delta_L|
    size       sum_n |c_n delta_{l,n}|^2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers.seen import Seen
from ..linalg.gram import bordered
from ..losses import Loss
from ..network import Network
from ..network.parameters import Parameters, parameter_shapes
from ..network.walk import Walk
from ..samples.kinds import Samples
from ..threads.blocks import Blocks
from ..threads.team import Team, Workspace

__all__ = [
    "Batch",
    "Evaluation",
    "EvaluationMean",
    "GradientPass",
    "evaluate",
    "gradient_pass",
    "outputs_are_finite",
]


@dataclass(frozen=True)
class Batch:
    """Samples that a pass runs over.

    Attributes
    ----------
    samples : Samples
        The inputs of k samples.
    loss : Loss
        Loss bound to the k targets.
    blocks : Blocks
        Fixed sample blocks.
    """

    samples: Samples
    loss: Loss
    blocks: Blocks

    @classmethod
    def make(cls, samples: Samples, loss: Loss, network: Network) -> Batch:
        """Cut the samples into blocks that suit the network's widths."""
        return cls(samples, loss, samples.blocks(max(network.widths[1:])))

    def __len__(self) -> int:
        return len(self.samples)

    def seen(self, network: Network, rows: slice, ws: Workspace) -> Seen:
        """Return some rows as the first layer of a network sees them."""
        return self.samples.seen_by(network.layer(1), rows, ws)


@dataclass(frozen=True)
class Evaluation:
    """Sums of the true network over a batch.

    Attributes
    ----------
    loss : float
        Sum of the weighted sample losses ``c_n e_n``.
    squares : float
        Sum of ``c_n e_n^2``.
    correct : float
        Sum of ``c_n`` over the samples classified correctly.
    objective : float
        Sum of ``c_n e_n`` against the smoothed targets, which is what is minimised; without
        label smoothing it is `loss`.  NaN where it was not formed.
    """

    loss: float
    squares: float
    correct: float
    objective: float = float("nan")


class EvaluationMean:
    """Mean of evaluations over subsets, scaled to all samples.

    Subsets count by the weights of their samples: with the same factor on the losses and on
    their squares ``CE <= C LS`` holds for the means, and no accuracy is above 1.

    Parameters
    ----------
    total_weight : float
        ``sum_n c_n`` of all samples.
    """

    def __init__(self, total_weight: float) -> None:
        self.total_weight = total_weight
        self.sums, self.weight = np.zeros(4), 0.0

    def add(self, seen: Evaluation, weight: float) -> None:
        """Take in the sums over samples of the total weight `weight`."""
        self.sums += (seen.loss, seen.squares, seen.correct, seen.objective)
        self.weight += weight

    @property
    def factor(self) -> float:
        """What the sums over the subsets are multiplied by."""
        return self.total_weight / self.weight

    def total(self) -> Evaluation:
        """Return the sums that all samples would have at these means."""
        return Evaluation(*(self.sums * self.factor).tolist())


@dataclass(frozen=True)
class GradientPass:
    """Sums of one forward and backward pass.

    Attributes
    ----------
    evaluation : Evaluation
        The losses.
    gradient : Parameters
        Derivative of ``evaluation.objective``.
    sizes : ndarray, shape (L+1,)
        ``sum_n |c_n delta_l|^2``; index 0 unused.
    grams : list of ndarray
        Gram matrices of ``[S_{l-1}, 1]`` (of patches with a one at all positions, for a
        convolution) with weights ``c_n q_n``; empty when not asked for.  A layer without a bias
        has zeros between the features and the ones.  Of the first layer on many sparse columns
        it is the diagonal.
    gram_weight : float
        ``sum_n c_n q_n``.
    """

    evaluation: Evaluation
    gradient: Parameters
    sizes: np.ndarray
    grams: list[np.ndarray]
    gram_weight: float


def evaluate(
    network: Network,
    W: list[np.ndarray],
    b: list[np.ndarray],
    batch: Batch,
    team: Team,
    doubt: np.ndarray | None = None,
) -> Evaluation:
    """Run a forward pass; write ``c_n |P - t|_1 / 2`` of the samples to `doubt` if it is given."""

    def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
        U = Walk(network, W, b, ws).forward(batch.seen(network, rows, ws))
        return batch.loss.measure(U, rows, ws, None if doubt is None else doubt[rows])

    return Evaluation(*team.sum(task, batch.blocks))


def outputs_are_finite(
    network: Network, W: list[np.ndarray], b: list[np.ndarray], batch: Batch, team: Team
) -> bool:
    """Run a forward pass and return whether it meets neither NaN nor infinity at its end.

    A loss does not tell: that of infinite logits can be 0.
    """

    def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
        U = Walk(network, W, b, ws).forward(batch.seen(network, rows, ws))
        return (float(U.size - np.count_nonzero(np.isfinite(U))),)

    return team.sum(task, batch.blocks)[0] == 0.0


def gradient_pass(
    network: Network,
    W: list[np.ndarray],
    b: list[np.ndarray],
    batch: Batch,
    team: Team,
    *,
    grams: bool = False,
    doubt_out: np.ndarray | None = None,
) -> GradientPass:
    """Run a forward and a backward pass, with the layers' Gram matrices if asked for.

    Parameters
    ----------
    network : Network
        The chain of layers.
    W, b : list of ndarray
        Weights and biases; index 0 unused.
    batch : Batch
        Samples and loss.
    team : Team
        Threads.
    grams : bool
        Whether to sum the Gram matrices.
    doubt_out : ndarray, shape (len(batch),), optional
        Overwritten with ``c_n |P - t|_1 / 2`` of every sample (``c_n q_n`` for hard targets).

    Returns
    -------
    GradientPass
        Sums in float64, the gradient in the dtype of the weights.
    """

    def task(rows: slice, ws: Workspace) -> tuple[Any, ...]:
        walk = _GradientWalk(network, W, b, ws, grams=grams)
        delta = walk.forward(batch.seen(network, rows, ws))
        doubt = ws.array("doubt", (len(delta),), delta.dtype)
        sums: list[Any] = [*batch.loss.measure_gradient(delta, rows, ws, delta, doubt)]
        if doubt_out is not None:
            batch.loss.gradient_bound(delta, doubt, doubt_out[rows])
        walk.root = np.sqrt(doubt)
        sums.append(float(np.sum(doubt, dtype=np.float64)))
        walk.backward(delta)
        return (*sums, *walk.sums)

    return _collect(network, W[1].dtype, team.sum(task, batch.blocks), grams)


class _GradientWalk(Walk):
    """A walk that keeps what the layers see, and sums gradients and Gram matrices on its way back.

    ``root`` is the root of the samples' weights in the Gram matrices.
    """

    def __init__(self, *given: Any, grams: bool) -> None:
        super().__init__(*given)
        self.grams, self.root = grams, np.empty(0)
        self.sums: list[Any] = []
        self.seen: dict[int, Seen] = {}
        self.D: dict[int, np.ndarray] = {}

    def outputs(self, l: int, seen: Seen) -> np.ndarray:
        self.seen[l] = seen
        return self.ws.array("Z", (len(seen), self.network.layer(l).n_outputs), seen.dtype)

    def features(self, l: int, Z: np.ndarray) -> np.ndarray:
        width = self.network.layer(l + 1).n_inputs
        S = self.ws.array(f"S {l}", (len(Z), width), Z.dtype)
        self.D[l] = self.ws.array(f"D {l}", Z.shape, Z.dtype)
        self.network.features[l].forward_with_derivative(Z, S, self.D[l])
        return S

    def cotangents(self, l: int, delta: np.ndarray) -> np.ndarray:
        shape = (len(delta), self.network.layer(l).n_inputs)
        return self.ws.array(f"G {l % 2}", shape, delta.dtype)

    def pull_back(self, l: int, G: np.ndarray) -> np.ndarray:
        delta = self.ws.array(f"delta {l % 2}", self.D[l].shape, G.dtype)
        return self.network.features[l].pull_back(G, self.D[l], delta)

    def visit(self, l: int, delta: np.ndarray) -> None:
        layer, seen = self.network.layer(l), self.seen[l]
        gradient = self.ws.array(f"gradient {l}", layer.weight_shape, delta.dtype)
        self.sums += [
            seen.correlation(delta, gradient),
            layer.bias_sum(delta),
            float(np.vdot(delta, delta)),
        ]
        if self.grams:
            rooted = seen.scaled(self.root, self.ws, "T")
            gram = rooted.metric(self.ws, f"gram {l}")
            self.sums += [gram, rooted.weighted_sum(self.root)]


def _collect(network: Network, dtype: Any, sums: list[Any], grams: bool) -> GradientPass:
    """Sort the sums of a gradient pass into their places."""
    L, width = network.depth, 5 if grams else 3
    gradient = Parameters.zeros(parameter_shapes(network), dtype)
    sizes = np.zeros(L + 1)
    matrices = [np.empty((0, 0))] * (L + 1) if grams else []
    evaluation, weight = Evaluation(*sums[:4]), sums[4]
    for l in range(L, 0, -1):
        start = 5 + (L - l) * width
        gradient.layers[l][:, :-1] = sums[start]
        gradient.layers[l][:, -1] = sums[start + 1] if network.has_bias(l) else 0.0
        sizes[l] = sums[start + 2]
        if grams:
            gram, total = sums[start + 3], sums[start + 4]
            if not network.has_bias(l):
                # Otherwise the inverse would project the features on what a bias cannot express.
                total = np.zeros_like(total)
            matrices[l] = bordered(gram, total, weight * network.layer(l).n_positions)
    return GradientPass(evaluation, gradient, sizes, matrices, weight)
