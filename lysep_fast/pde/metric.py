"""A Kronecker metric per layer: the Gauss-Newton matrix of the residual, factorised in two.

For layer l the residual of a point depends on the weights through ``sum_ch z_ch' [dW, db] p_ch``,
with p_ch = [P_{l-1,ch}, 1 on the value channel] the layer's input and z_ch the derivative of the
residual in ``J_l[ch]``.  The block of the Gauss-Newton matrix is modelled by

    L (x) M,   M = sum weight |z_ch|^2 p_ch p_ch',   L = sum weight z_ch z_ch' / trace,

each damped relative to its mean eigenvalue.  As the initial metric of L-BFGS it lowers the loss
after equal numbers of iterations several times over the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ..container.stateful import Stateful
from ..threads.team import Workspace
from .hidden import Hidden
from .jets import JetNetwork, Part

__all__ = ["KroneckerMetric"]


class KroneckerMetric(Stateful):
    """The metric at one point of the parameters.

    Parameters
    ----------
    network : JetNetwork
        After a forward pass at `hidden`.
    hidden : Hidden
        Hidden layers.
    w : ndarray, shape (m_H,)
        Output weights.
    damping : tuple of float
        Damping of M and of L.
    """

    state_names = ("factors",)

    def __init__(
        self, network: JetNetwork, hidden: Hidden, w: np.ndarray, damping: tuple[float, float]
    ) -> None:
        self.widths = network.widths

        def task(part: Part, ws: Workspace) -> list[Any]:
            return _grams(part, hidden, w, ws)

        sums = network.sum(task)
        self.factors: list[tuple[Any, Any]] = [(None, None)]
        for l in range(1, network.depth + 1):
            M, total, corner, L = sums[4 * (l - 1) : 4 * l]
            M = np.block([[M, total[:, None]], [total[None, :], np.full((1, 1), corner)]])
            L /= max(np.trace(L), np.finfo(float).tiny)
            self.factors.append((_damped(M, damping[0]), _damped(L, damping[1])))

    def apply_inverse(self, vector: np.ndarray) -> np.ndarray:
        """Return ``L^-1 [W, b] M^-1`` of every layer of a flat vector, in new memory."""
        given, made = Hidden(self.widths, vector), Hidden(self.widths)
        for l in range(1, made.depth + 1):
            right, left = self.factors[l]
            X = np.column_stack([given.W[l], given.b[l]])
            X = scipy.linalg.cho_solve(left, X, check_finite=False)
            X = scipy.linalg.cho_solve(right, X.T, check_finite=False).T
            made.W[l][...], made.b[l][...] = X[:, :-1], X[:, -1]
        return made.theta


def _grams(part: Part, hidden: Hidden, w: np.ndarray, ws: Workspace) -> list[Any]:
    """Return M (without the bias), its bias column and corner, and L, layer by layer."""
    loss = part.loss
    v = None if loss.is_linear else part.P[-1][0] @ w
    slopes = [(ch, loss.weight**0.5 * slope) for ch, slope in loss.slopes(v)]
    sums: list[Any] = []
    for l, Z in part.down(hidden, part.top(w, slopes, ws), ws):
        below, flat = part.P[l - 1], Z.reshape(-1, Z.shape[2])
        size = np.einsum("ckm,ckm->ck", Z, Z)
        scaled = ws.array("scaled", below.shape, float)
        np.multiply(below, np.sqrt(size)[:, :, None], out=scaled)
        rows = scaled.reshape(-1, scaled.shape[2])
        layer = [rows.T @ rows, size[0] @ below[0], float(size[0].sum()), flat.T @ flat]
        sums = layer + sums
    return sums


def _damped(gram: np.ndarray, damping: float) -> tuple[np.ndarray, bool]:
    """Return the Cholesky factor of a Gram matrix plus a share of its mean eigenvalue."""
    mean = max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    shifted = gram + damping * mean * np.eye(len(gram))
    factor: tuple[np.ndarray, bool] = scipy.linalg.cho_factor(
        shifted, lower=True, check_finite=False
    )
    return factor
