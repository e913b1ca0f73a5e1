"""The network as a chain of jets, over fixed blocks of points: its passes, loss and gradient.

The output is ``O = P_H w`` with H hidden layers.  Blocks of equations carry the channels of the
operator, blocks of boundary values the value channel alone; both go through the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..container.stateful import Stateful, restore
from ..losses.pde_residual import PdeResidual
from ..threads.blocks import row_blocks, sample_blocks
from ..threads.team import Team, Workspace
from .hidden import Hidden
from .problem import Collocation
from .walk import Walk, feature_map

__all__ = ["Hidden", "JetNetwork", "Part", "output_jet"]


class Part(Walk):
    """A block of points with its conditions and everything a pass leaves there.

    Parameters
    ----------
    loss : PdeResidual
        The conditions at the points.
    first : int
        Position of its first point among the network's.
    *walk
        Arguments of `Walk`.
    """

    def __init__(self, loss: PdeResidual, first: int, *walk: Any) -> None:
        super().__init__(*walk)
        self.loss = loss
        self.rows = slice(first, first + len(self))


class JetNetwork(Stateful):
    """Forward and backward passes of one network over one collocation.

    Jets and features stay in the parts: memory for 2 (2 + r) + 3 numbers per point and hidden
    neuron.  They are those of the last forward pass, or auxiliary variables that blocks have moved
    since; as the network's state they are written to checkpoints.

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
        self.n_rows = 0
        for conditions in sets:
            c, n = conditions.K.shape
            feature = feature_map(activation, c)
            for rows in sample_blocks(n, c * max(widths), 8):
                self.parts.append(self._part(conditions, rows, feature))
                self.n_rows += rows.stop - rows.start
        self.tasks = row_blocks(len(self.parts), 1)

    @classmethod
    def like(cls, other: JetNetwork, sets: list[Collocation]) -> JetNetwork:
        """Return passes of the same network over other points."""
        return cls(sets, other.widths, other.activation, other.nonlinearity, other.team)

    def _part(self, on: Collocation, rows: slice, feature: Any) -> Part:
        lift, shift = on.lift, on.shift
        loss = PdeResidual(
            np.ascontiguousarray(on.K[:, rows]),
            on.f[rows],
            on.weight,
            None if lift is None else self.nonlinearity,
            None if lift is None else lift[rows],
            None if shift is None else shift[rows],
        )
        return Part(loss, self.n_rows, on.P[:, rows], self.widths, feature, _new)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the jets by layer, those of all parts one after the other."""
        layers = range(1, self.depth + 1)
        return {str(l): np.concatenate([p.J[l].ravel() for p in self.parts]) for l in layers}

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over the jets; their features are formed again."""
        for l in range(1, self.depth + 1):
            jets, start = restore(found, str(l), np.empty(sum(p.J[l].size for p in self.parts))), 0
            for part in self.parts:
                J = part.J[l]
                J[...] = jets[start : start + J.size].reshape(J.shape)
                part.refresh(l)
                start += J.size

    @property
    def is_linear(self) -> bool:
        """Whether all conditions are affine in the output."""
        return all(part.loss.is_linear for part in self.parts)

    def sum(self, task: Any) -> list[Any]:
        """Sum what ``task(part, workspace)`` returns over all parts, in a fixed order."""
        return self.team.sum(lambda i, ws: task(self.parts[i.start], ws), self.tasks)

    def forward(self, hidden: Hidden) -> None:
        """Run the hidden layers; jets and features stay in the parts."""
        self.team.map(lambda i, ws: self.parts[i.start].up(hidden), self.tasks)

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
            weight = part.loss.weight
            slopes = [(ch, 2.0 * weight * slope * r) for ch, slope in part.loss.slopes(v)]
            sums: list[Any] = [*_terms(part, r)]
            for l, Z in part.down(hidden, part.top(w, slopes, ws), ws):
                sums += [hidden.correlation(l, Z, part.P[l - 1]), Z[0].sum(axis=0)]
            return tuple(sums)

        inside, edge, *sums = self.sum(task)
        gradient = Hidden(self.widths)
        for i, l in enumerate(range(self.depth, 0, -1)):
            gradient.W[l][...], gradient.b[l][...] = sums[2 * i], sums[2 * i + 1]
        return (inside, edge), gradient.theta


def _new(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape)


def _terms(part: Part, r: np.ndarray) -> tuple[float, float]:
    """Return a part's contributions to the equation's and to the boundary's term of J."""
    value = part.loss.weight * float(np.dot(r, r))
    return (0.0, value) if part.channels == 1 else (value, 0.0)


def output_jet(
    hidden: Hidden, w: np.ndarray, activation: str, P: np.ndarray, team: Team
) -> np.ndarray:
    """Return the output's jet (c, n) for an input jet (c, n, d), storing nothing in between."""
    c, n, _ = P.shape
    feature = feature_map(activation, c)
    out = np.empty((c, n))

    def task(rows: slice, ws: Workspace) -> None:
        def scratch(name: str, shape: tuple[int, ...]) -> np.ndarray:
            return ws.array(name, shape, float)

        out[:, rows] = Walk(P[:, rows], hidden.widths, feature, scratch).up(hidden) @ w

    team.map(task, sample_blocks(n, c * max(hidden.widths), 8))
    return out
