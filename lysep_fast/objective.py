"""The separated loss F by term, its adaptive weights, and the constant of the bound CE <= C LS.

    F  = (1/n) [ sum_n c_n e_n^2 + sum_{l<L} w_l sum_n c_n |R_{l,n}|^2 ],     LS = sqrt(F)
    w_l = prod_{i=l+1..L} ||W_i||^2
    CE(theta) <= C LS,     C = sqrt(1 + 2 sum_{k=1..L-1} c^(2k))   for a c-Lipschitz activation

The norm only has to dominate the operator norm and be submultiplicative: Frobenius (the paper's)
or spectral (tighter); for convolutions also ``patch``, between the two.  The norm of a layer
includes that of the pooling below it.  Sample weights c_n of mean 1 keep the bound: it holds
sample by sample, and ``(1/n) sum c_n e_n <= sqrt((1/n) sum c_n e_n^2)``.  Smoothed targets keep it
for the smoothed cross-entropy, sqrt(2)-Lipschitz in the logits as well.  A squared error has
``e_n = |U_n - T_n|``, 1-Lipschitz: its root mean square is at most ``C LS``, 1 in place of 2 in C.
For K labels 0 or 1 the sum of their cross-entropies is sqrt(K)-Lipschitz, and C has K there.

With weight decay the alternating method never increases ``F + alpha/2 sum_l ||W_l||_F^2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layers.seen import Seen
from .losses import Loss
from .network import Network
from .network.walk import AuxiliaryWalk
from .passes.full import Batch
from .samples.kinds import Samples
from .samples.scaling import Scaling
from .state import State
from .threads.team import Team, Workspace

__all__ = ["Objective", "SeparatedLoss", "TrainingProblem", "bound_constant", "mean_loss"]


def bound_constant(depth: int, lipschitz: float = 1.0, slope: float = 2.0) -> float:
    """Return C of ``CE <= C LS`` for a network of `depth` linear layers.

    Parameters
    ----------
    depth : int
        Number L of linear layers, the output layer included.
    lipschitz : float
        Lipschitz constant c of the hidden activations.
    slope : float
        Square of the Lipschitz constant of the sample losses in the logits.

    Returns
    -------
    float
        ``sqrt(1 + slope sum_{k=1..L-1} c^(2k))``; ``sqrt(2L-1)`` for c = 1 and cross-entropy.
    """
    powers = float(lipschitz) ** (2.0 * np.arange(1, depth))
    return float(np.sqrt(1.0 + slope * np.sum(powers)))


@dataclass(frozen=True)
class SeparatedLoss:
    """The separated loss by term, each already divided by the number of samples.

    Attributes
    ----------
    data : float
        ``(1/n) sum_n c_n e_n^2`` of the surrogate logits.
    penalties : ndarray, shape (L-1,)
        ``(1/n) w_l sum_n c_n |R_{l,n}|^2`` for l = 1..L-1.
    weights : ndarray, shape (L-1,)
        The adaptive weights ``w_l``.
    """

    data: float
    penalties: np.ndarray
    weights: np.ndarray

    @property
    def total(self) -> float:
        """F, which the alternating method never increases (with weight decay: F + penalty)."""
        return self.data + float(np.sum(self.penalties))

    @property
    def root(self) -> float:
        """LS = sqrt(F), which bounds the cross-entropy up to the factor C."""
        return float(np.sqrt(self.total))


def mean_loss(terms: Sequence[SeparatedLoss], scale: float = 1.0) -> SeparatedLoss:
    """Return the means of separated losses, term by term, times `scale`.

    ``CE_k <= C LS_k`` for every k gives ``mean CE <= C sqrt(mean F)``.
    """
    return SeparatedLoss(
        scale * float(np.mean([term.data for term in terms])),
        scale * np.mean([term.penalties for term in terms], axis=0),
        np.mean([term.weights for term in terms], axis=0),
    )


@dataclass(frozen=True)
class Objective:
    """Separated loss of a network in a given norm.

    Parameters
    ----------
    network : Network
        Supplies the depth and the Lipschitz constant.
    n_samples : int
        Number n of samples.
    norm : {"frobenius", "patch", "spectral"}
        Norm of the adaptive weights.
    alpha : float
        Weight decay.
    mean_weight : float
        Mean of the sample weights.
    slope, synchronised_constant : float
        Attributes of the loss that enter the bound.
    """

    network: Network
    n_samples: int
    norm: str = "frobenius"
    alpha: float = 0.0
    mean_weight: float = 1.0
    slope: float = 2.0
    synchronised_constant: float = 1.0

    @property
    def constant(self) -> float:
        """C of the bound ``CE <= C LS``, with the factor that weights of another mean cost."""
        constant = bound_constant(self.network.depth, self.network.lipschitz, self.slope)
        return constant * self.synchronised_constant

    @property
    def decay(self) -> float:
        """``n alpha / 2``, the factor of ``||W_l||_F^2`` in n times the penalised F."""
        return 0.5 * self.n_samples * self.alpha

    def penalty(self, W: Sequence[np.ndarray]) -> float:
        """Return ``alpha/2 sum_l ||W_l||_F^2`` of the weights; index 0 is not used."""
        if not self.alpha:
            return 0.0
        return 0.5 * self.alpha * sum(_square(weights) for weights in W[1:])

    def weight_cost(self, l: int, W: np.ndarray, ridge: float, decay: float) -> float:
        """Return ``ridge ||W||^2 + decay ||W||_F^2``, what W_l costs in its subproblem."""
        cost = ridge * self.squared_norm(l, W)
        return cost + decay * _square(W) if decay else cost

    def squared_norm(self, l: int, W: np.ndarray) -> float:
        """Return ``||W_l||^2`` in the objective's norm, with that of the pooling below it."""
        pooling = self.network.features[l - 1].squared_norm(self.norm)
        return self.network.layer(l).squared_norm(W, self.norm) * pooling

    def ridge_diagonal(self, l: int, ridge: float, decay: float) -> np.ndarray:
        """Return the diagonal of ``ridge ||W||^2 + decay ||W||_F^2`` as a form in W.

        The spectral norm is none; the Frobenius norm of the matrix W stands for it there.
        """
        kind = "patch" if self.norm == "spectral" else self.norm
        pooling = self.network.features[l - 1].squared_norm(self.norm)
        return ridge * pooling * self.network.layer(l).norm_diagonal(kind) + decay

    def weights(self, nu: np.ndarray) -> np.ndarray:
        """Return ``w_l``, l = 0..L, from the squared norms `nu`; ``w_L`` is 1."""
        w = np.ones(len(nu))
        for l in range(len(nu) - 2, -1, -1):
            w[l] = w[l + 1] * nu[l + 1]
        return w

    def ridge(self, l: int, state: State) -> float:
        """Return ``eta_l``, what the weights of the lower layers cost per unit of ``||W_l||^2``.

        ``eta_l = sum_{k<l} (prod_{k<i<l} ||W_i||^2) ||R_k||^2``, in units of ``w_l`` (for the
        output layer it is c_L).
        """
        eta = 0.0
        for k in range(2, l + 1):
            eta = state.r2[k - 1] + state.nu[k - 1] * eta
        return float(eta)

    def separated_loss(self, state: State) -> SeparatedLoss:
        """Return the separated loss of `state` from its cached sums."""
        w = self.weights(state.nu)[1:-1]
        return SeparatedLoss(state.e2 / self.n_samples, w * state.r2[1:] / self.n_samples, w)

    def penalised(self, state: State) -> float:
        """Return ``F + alpha/2 sum_l ||W_l||_F^2``, which no block increases."""
        return self.separated_loss(state).total + self.penalty(state.W)


def _square(W: np.ndarray) -> float:
    return float(np.sum(np.square(W, dtype=np.float64)))


class TrainingProblem:
    """Training data, network, loss and the team that works on them.

    Parameters
    ----------
    network : Network
        The chain of layers.
    loss : Loss
        Loss bound to the training targets, with their sample weights.
    samples : Samples
        Training inputs.
    team : Team
        Threads that share the sample blocks.
    norm : {"frobenius", "patch", "spectral"}
        Norm of the adaptive weights.
    alpha : float
        Weight decay, ``alpha/2 sum_l ||W_l||_F^2`` beside the mean loss or F.
    rng : numpy.random.Generator, optional
        Source of randomness for solvers that draw samples; default a fixed seed.
    has_validation : bool
        Whether held-out samples judge the iterates.
    scaling : Scaling, optional
        What was done to the columns of the inputs.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        samples: Samples,
        team: Team,
        norm: str = "frobenius",
        *,
        alpha: float = 0.0,
        rng: np.random.Generator | None = None,
        has_validation: bool = False,
        scaling: Scaling | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.samples = samples
        self.team = team
        self.alpha = float(alpha)
        mean_weight = loss.total_weight / len(samples)
        bound = (loss.slope, loss.synchronised_constant)
        self.objective = Objective(network, len(samples), norm, self.alpha, mean_weight, *bound)
        self.batch = Batch.make(samples, loss, network)
        self.blocks = self.batch.blocks
        self.has_validation, self.scaling = has_validation, scaling
        self.rng = np.random.default_rng(0) if rng is None else rng
        # The Gram matrix of the input (weighted by c_n) never changes; the weight block of layer 1
        # keeps it here.
        self.input_gram: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        """Number of training samples."""
        return len(self.samples)

    def restore(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Fold (in place) what was done to inputs and targets into the first and last layer.

        With ``moves=True`` the arrays are differences of weights and of biases.
        """
        if self.scaling is not None:
            self.scaling.restore(W[1], b[1])
        self.loss.restore(W, b, moves=moves)

    def prepare(self, W: list[np.ndarray], b: list[np.ndarray], *, moves: bool = False) -> None:
        """Take out (in place) what `restore` folds into the layers."""
        if self.scaling is not None:
            self.scaling.prepare(W[1], b[1])
        self.loss.prepare(W, b, moves=moves)

    def subset(self, index: np.ndarray) -> TrainingProblem:
        """Return the problem of some of the samples, which are copied."""
        return TrainingProblem(
            self.network,
            self.loss.take(index),
            self.samples.take(index),
            self.team,
            self.objective.norm,
            alpha=self.alpha,
            rng=self.rng,
        )

    def synchronised_state(
        self, W: list[np.ndarray], b: list[np.ndarray], *, auxiliaries: bool = True
    ) -> State:
        """Return the state whose auxiliaries are the forward pass: all residuals are zero.

        With ``auxiliaries=False`` it holds the weights only, for solvers that never leave the
        synchronised state.
        """
        n, dtype, network = self.n_samples, self.samples.dtype, self.network
        shapes = [(n, m) for m in network.widths[1:-1]] if auxiliaries else []
        state = State(
            W,
            b,
            [np.empty((0, 0), dtype), *(np.empty(shape, dtype) for shape in shapes)],
            [np.empty((0, 0), dtype), *(np.zeros(shape, dtype) for shape in shapes)],
            np.zeros(network.depth + 1),
            np.zeros(network.depth),
        )
        if auxiliaries:
            for l in range(1, network.depth + 1):
                state.nu[l] = self.objective.squared_norm(l, W[l])
            self.synchronise(state)
        return state

    def synchronise(self, state: State) -> None:
        """Set every auxiliary by a forward pass, which makes all residuals zero (in place)."""

        def task(rows: slice, ws: Workspace) -> tuple[float]:
            walk = AuxiliaryWalk(self.network, state.W, state.b, ws)
            walk.A = [A[rows] for A in state.A]
            U = walk.forward(self.batch.seen(self.network, rows, ws))
            for R in state.R[1:]:
                R[rows] = 0.0
            value = ws.array("value", (len(U),), U.dtype)
            self.loss.squares(U, rows, value)
            return (self.loss.weighted_sum(value, rows),)

        state.r2[:] = 0.0
        (state.e2,) = self.team.sum(task, self.blocks)

    def seen(self, state: State, l: int, rows: slice | np.ndarray, ws: Workspace) -> Seen:
        """Return what layer l sees of some samples: the input, or features of ``A_{l-1}``."""
        layer = self.network.layer(l)
        if l == 1:
            return self.samples.seen_by(layer, rows, ws)
        return Seen(layer, self.network.feature(l - 1, state.A[l - 1][rows], ws))
