"""Back-propagation per row and the exact minimiser of the linearised auxiliary problem.

Seen from the residuals (``A`` follows by a forward pass with R injected) row n of F is

    F_n(R) = e_n(R)^2 + sum_l w_l |R_l|^2,     d e_n / d R_l = delta_l,
    delta_{L-1} = (G W_L) * s'(A_{L-1}),   delta_l = (delta_{l+1} W_{l+1}) * s'(A_l),   G = P - t

and its linearised least-squares problem has the exact minimiser

    R*_l = -lambda delta_l / w_l,
    lambda = (e - sum_l <delta_l, R_l>) / (1 + sum_l |delta_l|^2 / w_l)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.joint import chain_rows
from ..network import Network
from ..network.walk import Walk
from ..threads.team import Workspace

__all__ = ["back_propagate", "gauss_newton_step", "inverse_weights"]


def inverse_weights(w: np.ndarray) -> np.ndarray:
    """Return ``1/w_l``, and 0 for a weight of 0, whose delta_l is 0 as well."""
    return np.divide(1.0, w, out=np.zeros_like(w), where=w > 0.0)


def gauss_newton_step(
    e: np.ndarray, inner: np.ndarray, size: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """Return lambda of every row.

    Parameters
    ----------
    e, inner : ndarray of float64, shape (rows,)
        Losses and ``sum_l <delta_l, R_l>``.
    size : ndarray of float64, shape (L+1, rows)
        ``|delta_l|^2``; rows 0 and L unused.
    w : ndarray, shape (L+1,)
        Adaptive weights.
    """
    return (e - inner) / (1.0 + inverse_weights(w)[1:-1] @ size[1:-1])


def back_propagate(
    network: Network,
    W: Sequence[np.ndarray],
    G: np.ndarray,
    D: Sequence[np.ndarray],
    ws: Workspace,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return ``delta_l`` and its row sums of squares for l = 1..L-1, from ``G = P - t``.

    Parameters
    ----------
    network : Network
        The chain of layers.
    W, D : sequences of ndarray
        Weights, and ``s'(A_l)`` of the rows.
    G : ndarray, shape (rows, K)
        Derivative of the losses in the logits.
    ws : Workspace
        Holds the result until the next call.
    """
    walk = _BackPropagation(network, W, (), ws)
    walk.D, walk.delta = D, [G] * (network.depth + 1)
    walk.size = np.zeros((network.depth + 1, len(G)))
    walk.backward(G)
    return walk.delta, walk.size


class _BackPropagation(Walk):
    """A walk back that keeps the derivatives of every layer, and their sizes row by row."""

    D: Sequence[np.ndarray]
    delta: list[np.ndarray]
    size: np.ndarray

    def cotangents(self, l: int, delta: np.ndarray) -> np.ndarray:
        return self.ws.array(f"delta {l - 1}", self.D[l - 1].shape, delta.dtype)

    def pull_back(self, l: int, G: np.ndarray) -> np.ndarray:
        chain_rows(G, self.D[l], self.size[l])
        self.delta[l] = G
        return G
