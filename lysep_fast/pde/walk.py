"""The jets of a block of points in all hidden layers, and the two walks through them.

    up:    J_l = P_{l-1} W_l' + b_l (the bias on the value only),   P_l = phi(J_l),   l = 1..H
    down:  Z_l = phi'(J_l)* G_l,   G_{l-1} = Z_l W_l,   l = H..1

Z_l is the derivative in J_l of what has the derivative G_H in the last features P_H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..features.activation import Activation
from ..features.jet import Jet
from ..threads.team import Workspace
from .hidden import Hidden

__all__ = ["Walk", "feature_map"]


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


def feature_map(activation: str, channels: int) -> Any:
    """Return phi for jets of so many channels; one is the value alone."""
    return _Value(activation) if channels == 1 else Jet(activation, channels - 2)


class Walk:
    """Jets, features and derivatives of a block of k points.

    Parameters
    ----------
    P : ndarray, shape (c, k, d)
        The input's jet.
    widths : tuple of int
        ``(d, m_1, ..., m_H)``.
    feature : Jet or _Value
        The feature map phi.
    empty : callable
        Returns memory for a name and a shape; the same memory for all layers serves a walk up of
        which the last features alone are needed.

    Attributes
    ----------
    J, P, D : list of ndarray
        Jets (c, k, m_l), features (c, k, m_l) and activation derivatives of layers 1..H;
        ``P[0]`` is the input's jet, ``J[0]`` and ``D[0]`` are empty.
    """

    def __init__(
        self,
        P: np.ndarray,
        widths: tuple[int, ...],
        feature: Any,
        empty: Callable[[str, tuple[int, ...]], np.ndarray],
    ) -> None:
        self.feature = feature
        self.J, self.P, self.D = [np.empty(0)], [np.ascontiguousarray(P)], [np.empty(0)]
        c, k = P.shape[:2]
        for m in widths[1:]:
            self.J.append(empty("J", (c, k, m)))
            self.P.append(empty("P", (c, k, m)))
            self.D.append(empty("D", (1 if c == 1 else 3, k, m)))

    @property
    def depth(self) -> int:
        """Number H of hidden layers."""
        return len(self.J) - 1

    @property
    def channels(self) -> int:
        """Number of channels c."""
        return len(self.P[0])

    def __len__(self) -> int:
        return self.P[0].shape[1]

    def up(self, hidden: Hidden) -> np.ndarray:
        """Set jets and features of all layers; return the last features."""
        for l in range(1, self.depth + 1):
            hidden.predict(l, self.P[l - 1], self.J[l])
            self.refresh(l)
        return self.P[-1]

    def refresh(self, l: int) -> None:
        """Set the features of layer l and the derivatives that go with them from its jets."""
        self.feature.forward(self.J[l], self.P[l], self.D[l])

    def difference(self, hidden: Hidden, l: int, ws: Workspace) -> np.ndarray:
        """Return ``J_l - P_{l-1} W_l' - b_l`` in workspace memory."""
        e = hidden.predict(l, self.P[l - 1], ws.array("e", self.J[l].shape, float))
        return np.subtract(self.J[l], e, out=e)

    def adjoint(self, l: int, G: np.ndarray, ws: Workspace) -> np.ndarray:
        """Return the derivative in J_l for the derivative G in P_l, in workspace memory."""
        Z: np.ndarray = ws.array("Z", self.J[l].shape, float)
        return self.feature.vjp(self.J[l], G, Z, self.D[l])

    def top(
        self, w: np.ndarray, slopes: Iterable[tuple[int, np.ndarray]], ws: Workspace
    ) -> np.ndarray:
        """Return the derivative in P_H for those in the output's channels, in workspace memory.

        Parameters
        ----------
        w : ndarray, shape (m_H,)
            Output weights.
        slopes : iterable of pairs
            Channel and derivative, shape (k,); the others vanish.
        ws : Workspace
            Memory.
        """
        G: np.ndarray = ws.array("G", self.P[-1].shape, float)
        G[...] = 0.0
        for ch, slope in slopes:
            np.multiply(slope[:, None], w, out=G[ch])
        return G

    def down(
        self, hidden: Hidden, G: np.ndarray, ws: Workspace
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield l and the derivative in J_l, l = H..1, for the derivative G in P_H.

        A derivative lies in workspace memory until the next one takes its place.
        """
        for l in range(len(self.J) - 1, 0, -1):
            Z = self.adjoint(l, G, ws)
            yield l, Z
            if l > 1:
                G = hidden.adjoint(l, Z, ws.array("G", self.P[l - 1].shape, float))
