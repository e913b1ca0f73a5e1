"""The network as a chain of jets: its parameters and its passes over fixed blocks of points.

    J_l = P_{l-1} W_l' + b_l (the bias on the value only),   P_l = phi(J_l),   O = P_H w

with H hidden layers and one output.  Blocks of equations carry the channels of the operator,
blocks of boundary values the value channel alone; both go through the same code.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..features.activation import Activation
from ..features.jet import Jet
from ..losses.pde_residual import PdeResidual
from ..threads.blocks import row_blocks, sample_blocks
from ..threads.team import Team, Workspace
from .problem import Collocation

__all__ = ["Hidden", "JetNetwork", "Part", "output_jet", "predict"]


class Hidden(Stateful):
    """Weights and biases of the hidden layers as views of one flat vector.

    Parameters
    ----------
    widths : tuple of int
        ``(d, m_1, ..., m_H)``.
    theta : ndarray, shape (size,), optional
        The vector; new memory by default.

    Attributes
    ----------
    W, b : list of ndarray
        Views of shape (m_l, m_{l-1}) and (m_l,); index 0 is empty.
    """

    state_names = ("theta",)

    def __init__(self, widths: tuple[int, ...], theta: np.ndarray | None = None) -> None:
        self.widths = widths
        size = sum(m * (k + 1) for k, m in itertools.pairwise(widths))
        self.theta = np.zeros(size) if theta is None else theta
        self.W, self.b, offset = [np.empty((0, 0))], [np.empty(0)], 0
        for k, m in itertools.pairwise(widths):
            self.W.append(self.theta[offset : offset + m * k].reshape(m, k))
            self.b.append(self.theta[offset + m * k : offset + m * k + m])
            offset += m * (k + 1)

    @property
    def depth(self) -> int:
        """Number H of hidden layers."""
        return len(self.widths) - 1

    @classmethod
    def random(
        cls,
        widths: tuple[int, ...],
        scale: float,
        bounds: tuple[np.ndarray, np.ndarray],
        rng: np.random.Generator,
    ) -> Hidden:
        """Draw weights for inputs within `bounds`.

        The first layer is uniform in +-scale for inputs scaled to (-1, 1); the others are
        Glorot-uniform with biases in +-1/2: without biases all features would be odd.
        """
        made = cls(widths)
        low, high = bounds
        half = np.where(high > low, (high - low) / 2, 1.0)
        made.W[1][...] = rng.uniform(-scale, scale, made.W[1].shape) / half
        made.b[1][...] = rng.uniform(-scale, scale, widths[1]) - made.W[1] @ ((low + high) / 2)
        for l in range(2, made.depth + 1):
            limit = np.sqrt(6.0 / (widths[l - 1] + widths[l]))
            made.W[l][...] = rng.uniform(-limit, limit, made.W[l].shape)
            made.b[l][...] = rng.uniform(-0.5, 0.5, widths[l])
        return made


class _Value:
    """The feature map of boundary blocks: a jet of the value channel alone."""

    def __init__(self, name: str) -> None:
        self.activation = Activation(name)

    def forward(self, J: np.ndarray, out: np.ndarray, D: np.ndarray) -> np.ndarray:
        self.activation.forward_with_derivative(J[0], out[0], D[0])
        return out

    def vjp(self, J: np.ndarray, G: np.ndarray, out: np.ndarray, D: np.ndarray) -> np.ndarray:
        np.multiply(D[0], G[0], out=out[0])
        return out


@dataclass
class Part:
    """A block of points with everything a pass leaves there.

    Attributes
    ----------
    loss : PdeResidual
        The conditions at the points.
    feature : Jet or _Value
        The feature map.
    J, P, D : list of ndarray
        Jets (c, k, m_l), features (c, k, m_l) and activation derivatives of layers 1..H;
        ``P[0]`` is the input's jet, ``J[0]`` and ``D[0]`` are empty.
    number : int
        Position among the network's parts.
    """

    loss: PdeResidual
    feature: Any
    J: list[np.ndarray]
    P: list[np.ndarray]
    D: list[np.ndarray]
    number: int = 0

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return len(self.P[0])

    def __len__(self) -> int:
        return self.P[0].shape[1]


class JetNetwork:
    """Forward and backward passes of one network over one collocation.

    The results of a forward pass stay in the parts until the next one: memory for 2 (2 + r) + 3
    numbers per point and hidden neuron.

    Parameters
    ----------
    sets : list of Collocation
        Equations and boundary conditions.
    widths : tuple of int
        ``(d, m_1, ..., m_H)``.
    activation : str
        A key of ``lysep_fast.kernels.jet.JET_CODES``.
    nonlinearity : pair of callables or None
        ``(h, h')`` of the equation.
    team : Team
        Threads.
    """

    def __init__(
        self,
        sets: list[Collocation],
        widths: tuple[int, ...],
        activation: str,
        nonlinearity: Any,
        team: Team,
    ) -> None:
        self.widths, self.team = widths, team
        self.sets, self.activation, self.nonlinearity = sets, activation, nonlinearity
        self.depth = len(widths) - 1
        self.parts: list[Part] = []
        for conditions in sets:
            c, n = conditions.K.shape
            feature = _Value(activation) if c == 1 else Jet(activation, c - 2)
            for rows in sample_blocks(n, c * max(widths), 8):
                self.parts.append(self._part(conditions, rows, feature, nonlinearity))
        for number, part in enumerate(self.parts):
            part.number = number
        self.tasks = row_blocks(len(self.parts), 1)
        self.n_rows = sum(len(part) for part in self.parts)

    @classmethod
    def like(cls, other: JetNetwork, sets: list[Collocation]) -> JetNetwork:
        """Return passes of the same network over other points."""
        return cls(sets, other.widths, other.activation, other.nonlinearity, other.team)

    def _part(self, on: Collocation, rows: slice, feature: Any, nonlinearity: Any) -> Part:
        c, k = len(on.K), rows.stop - rows.start
        lift, shift = on.lift, on.shift
        own = nonlinearity if lift is not None else None
        loss = PdeResidual(
            np.ascontiguousarray(on.K[:, rows]),
            on.f[rows],
            on.weight,
            own,
            None if lift is None else lift[rows],
            None if shift is None else shift[rows],
        )
        J, P, D = [np.empty(0)], [np.ascontiguousarray(on.P[:, rows])], [np.empty(0)]
        for m in self.widths[1:]:
            J.append(np.empty((c, k, m)))
            P.append(np.empty((c, k, m)))
            D.append(np.empty((1 if c == 1 else 3, k, m)))
        return Part(loss, feature, J, P, D)

    @property
    def is_linear(self) -> bool:
        """Whether all conditions are affine in the output."""
        return all(part.loss.is_linear for part in self.parts)

    def each(self, task: Any) -> list[Any]:
        """Run ``task(part, workspace)`` for every part; results in order."""
        return self.team.map(lambda i, ws: task(self.parts[i.start], ws), self.tasks)

    def sum(self, task: Any) -> list[Any]:
        """Sum what ``task(part, workspace)`` returns over all parts, in a fixed order."""
        return self.team.sum(lambda i, ws: task(self.parts[i.start], ws), self.tasks)

    def forward(self, hidden: Hidden) -> None:
        """Run the hidden layers; jets and features stay in the parts."""

        def task(part: Part, ws: Workspace) -> None:
            for l in range(1, self.depth + 1):
                predict(part, hidden, l, part.J[l])
                part.feature.forward(part.J[l], part.P[l], part.D[l])

        self.each(task)

    def residual(
        self, part: Part, w: np.ndarray, P: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the residual r (k,) and the output's value (k,) of a part.

        P, shape (c, k, m_H), stands in for the part's features of the last layer.
        """
        P, loss = part.P[self.depth] if P is None else P, part.loss
        O = np.zeros(P.shape[:2])
        for ch in {0, *loss.channels}:
            O[ch] = P[ch] @ w
        return loss.value(O), O[0]

    def loss(self, w: np.ndarray) -> tuple[float, float]:
        """Return ``(1/n) sum r^2`` and ``(lam/n_b) sum rb^2`` after a forward pass."""

        def task(part: Part, ws: Workspace) -> tuple[float, float]:
            return _terms(part, self.residual(part, w)[0])

        inside, edge = self.sum(task)
        return inside, edge

    def gradient(self, hidden: Hidden, w: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
        """Return the terms of `loss` and its gradient in `hidden`, w held, after `forward`."""

        def task(part: Part, ws: Workspace) -> tuple[Any, ...]:
            r, v = self.residual(part, w)
            shape = part.P[self.depth].shape
            G = ws.array("G", shape, float)
            G[...] = 0.0
            for ch, slope in part.loss.slopes(v):
                np.multiply((2.0 * part.loss.weight * slope * r)[:, None], w, out=G[ch])
            sums: list[Any] = [*_terms(part, r)]
            for l in range(self.depth, 0, -1):
                Z = ws.array("Z", part.J[l].shape, float)
                part.feature.vjp(part.J[l], G, Z, part.D[l])
                below = part.P[l - 1]
                flat = Z.reshape(-1, Z.shape[2])
                sums += [flat.T @ below.reshape(-1, below.shape[2]), Z[0].sum(axis=0)]
                if l > 1:
                    G = ws.array("G", below.shape, float)
                    np.dot(flat, hidden.W[l], out=G.reshape(-1, G.shape[2]))
            return tuple(sums)

        inside, edge, *sums = self.sum(task)
        gradient = Hidden(self.widths)
        for i, l in enumerate(range(self.depth, 0, -1)):
            gradient.W[l][...], gradient.b[l][...] = sums[2 * i], sums[2 * i + 1]
        return (inside, edge), gradient.theta


def _terms(part: Part, r: np.ndarray) -> tuple[float, float]:
    """Return a part's contributions to the equation's and to the boundary's term of J."""
    value = part.loss.weight * float(np.dot(r, r))
    return (0.0, value) if part.channels == 1 else (value, 0.0)


def predict(part: Part, hidden: Hidden, l: int, out: np.ndarray) -> np.ndarray:
    """Write ``P_{l-1} W_l' + b_l``, the prediction of the jet of layer l, to `out`."""
    below = part.P[l - 1]
    np.dot(below.reshape(-1, below.shape[2]), hidden.W[l].T, out=out.reshape(-1, out.shape[2]))
    out[0] += hidden.b[l]
    return out


def output_jet(
    hidden: Hidden, w: np.ndarray, activation: str, P: np.ndarray, team: Team
) -> np.ndarray:
    """Return the output's jet (c, n) for an input jet (c, n, d), storing nothing in between."""
    c, n, _ = P.shape
    feature = _Value(activation) if c == 1 else Jet(activation, c - 2)
    out = np.empty((c, n))

    def task(rows: slice, ws: Workspace) -> None:
        below = np.ascontiguousarray(P[:, rows])
        for l in range(1, hidden.depth + 1):
            shape = (c, below.shape[1], hidden.widths[l])
            J = ws.array("J", shape, float)
            np.dot(below.reshape(-1, below.shape[2]), hidden.W[l].T, out=J.reshape(-1, shape[2]))
            J[0] += hidden.b[l]
            D = ws.array("D", (1 if c == 1 else 3, *shape[1:]), float)
            below = feature.forward(J, ws.array("P", shape, float), D)
        out[:, rows] = below @ w

    team.map(task, sample_blocks(n, c * max(hidden.widths), 8))
    return out
