"""Ridge least squares with sparse rows, by LSMR: neither the matrix nor its Gram matrix is dense.

    min_x | diag(g) (S x_W + x_b - r) |^2 + sum_j (eta_j^(1/2) x_j - t_j)^2

with S scaled to columns of unit length, ridge included.  The iteration starts at zero and never
increases the sum, wherever it ends; without a ridge it goes to the minimiser of least norm (in the
scaled columns), so that a column without entries stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["SparseSystem"]

#: Relative tolerance of LSMR, and its iterations at most: text needs 15, and what an early end
#: leaves over is the next sweep's.
_TOLERANCE, _MOST_ITERATIONS = 1e-8, 50


class SparseSystem:
    """The matrix ``[diag(g) [S, 1]; diag(ridge)^(1/2)]`` with columns of unit length.

    Parameters
    ----------
    times : callable
        ``times(x)`` is ``S x`` for x of shape (d,).
    adjoint : callable
        ``adjoint(u)`` is ``S' u`` for u of shape (n,).
    squares : ndarray, shape (d,)
        The diagonal of ``S' diag(g^2) S``.
    root : ndarray, shape (n,)
        The factors g of the rows.
    ridge : ndarray, shape (d,)
        eta.
    bias : bool
        Whether there is the column of ones.
    """

    def __init__(
        self,
        times: Callable[[np.ndarray], np.ndarray],
        adjoint: Callable[[np.ndarray], np.ndarray],
        squares: np.ndarray,
        root: np.ndarray,
        ridge: np.ndarray,
        bias: bool,
    ) -> None:
        self.times, self.adjoint, self.root, self.bias = times, adjoint, root, bias
        size = squares + ridge
        self.scale = np.where(size > 0.0, size, 1.0) ** -0.5
        self.shrunk = np.sqrt(ridge) * self.scale
        self.one = float(np.linalg.norm(root)) ** -1.0 if bias and np.any(root) else 0.0

    def solve(self, r: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, float]:
        """Return x and its bias for right-hand sides r, (n,), and t, (d,) of the ridge's rows."""
        from scipy.sparse.linalg import LinearOperator, lsmr

        n, d = len(self.root), len(self.scale)
        shape = n + d, d + int(self.bias)
        operator = LinearOperator(shape, self._matvec, self._rmatvec, dtype=np.float64)
        right = np.concatenate([self.root * r, t])
        tolerance = {"atol": _TOLERANCE, "btol": _TOLERANCE, "conlim": 0.0}
        found = lsmr(operator, right, maxiter=_MOST_ITERATIONS, **tolerance)[0]
        return found[:d] * self.scale, float(found[-1] * self.one) if self.bias else 0.0

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        x = x.reshape(-1)
        d = len(self.scale)
        top = self.times(x[:d] * self.scale)
        if self.bias:
            top = top + x[d] * self.one
        return np.concatenate([self.root * top, self.shrunk * x[:d]])

    def _rmatvec(self, u: np.ndarray) -> np.ndarray:
        u = u.reshape(-1)
        n = len(self.root)
        top = self.root * u[:n]
        x = self.scale * self.adjoint(top) + self.shrunk * u[n:]
        return np.append(x, self.one * np.sum(top)) if self.bias else x
