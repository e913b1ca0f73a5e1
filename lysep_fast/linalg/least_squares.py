"""Guarded ridge least squares from sums over sample blocks: Cholesky, then QR or SVD.

The weight subproblem in increment form is

    min_dW  || R - S dW' ||^2 + eta || W + dW ||^2

with normal equations ``(S'S + eta I) dW' = S'R - eta W'``.  Cholesky of the Gram matrix is several
times cheaper than QR of S, but its condition number is the square of that of S.  When the
estimated condition is too large, the triangular factor of ``[S; sqrt(eta) I]`` is accumulated
block by block instead (memory stays p x p whatever n is) and solved by triangular substitution,
or by a truncated SVD when that factor is rank-deficient as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

__all__ = [
    "Solution",
    "merge_triangular",
    "solve_normal_equations",
    "solve_triangular",
    "solve_well_conditioned",
    "triangular_factor",
]


@dataclass(frozen=True)
class Solution:
    """Solution of a guarded least-squares problem.

    Attributes
    ----------
    X : ndarray, shape (m, p)
        The increment dW.
    method : str
        ``"cholesky"``, ``"qr"`` or ``"svd"``.
    rcond : float
        Estimated reciprocal condition number of the matrix that was factorised.
    rank : int
        Numerical rank used (p unless ``method == "svd"``).
    """

    X: np.ndarray
    method: str
    rcond: float
    rank: int


def solve_normal_equations(
    gram: np.ndarray,
    rhs: np.ndarray,
    factorise: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None,
    eps: float | None = None,
) -> Solution:
    """Solve ``X gram = rhs`` for a symmetric positive semi-definite `gram`.

    Parameters
    ----------
    gram : ndarray of float64, shape (p, p) or (p,)
        Gram matrix, ridge included, or a diagonal.
    rhs : ndarray of float64, shape (m, p)
        Right-hand sides as rows.
    factorise : callable, optional
        Called when `gram` is too ill-conditioned; returns the triangular factor ``T (p, p)`` of
        the stacked matrix and ``Z = Q' [R; ...]``, shape (p, m).  Without it, a truncated
        eigendecomposition of `gram` is used.
    eps : float, optional
        Rounding unit of the data the sums were formed from, default float64's.  Cholesky is
        trusted while the estimated reciprocal condition exceeds ``8 p eps``; below ``p eps`` a
        triangular factor counts as rank-deficient.

    Returns
    -------
    Solution
        When the problem is rank-deficient, the solution of minimum norm in columns scaled to
        unit length.
    """
    p = gram.shape[0]
    if gram.ndim == 1:
        X = np.divide(rhs, gram, out=np.zeros_like(rhs), where=gram > 0.0)
        return Solution(X, "cholesky", 1.0, int(np.count_nonzero(gram)))
    eps = float(np.finfo(np.float64).eps) if eps is None else eps
    solution, rcond, scaled, scale = _cholesky(gram, rhs, 8 * p * eps)
    if solution is not None:
        return solution
    if factorise is None and not np.all(np.isfinite(scaled)):
        return _overflown(rhs.shape)
    if factorise is None:
        values, vectors = scipy.linalg.eigh(scaled, check_finite=False)
        keep = values > 8 * p * eps * max(values[-1], 0.0)
        V = vectors[:, keep]
        X = ((rhs * scale) @ V / values[keep]) @ V.T * scale
        return Solution(X, "svd", float(rcond), int(np.count_nonzero(keep)))
    return solve_triangular(*factorise(), eps)


def solve_well_conditioned(gram: np.ndarray, rhs: np.ndarray, limit: float) -> Solution | None:
    """Return the solution of ``X gram = rhs`` by Cholesky, or None where it is not to be trusted.

    Parameters
    ----------
    gram, rhs : ndarray of float64
        As for `solve_normal_equations`.
    limit : float
        Smallest estimated reciprocal condition that is trusted; never less than what float64
        stands, ``8 p eps``.
    """
    p = gram.shape[0]
    return _cholesky(gram, rhs, max(limit, 8 * p * float(np.finfo(np.float64).eps)))[0]


def _cholesky(
    gram: np.ndarray, rhs: np.ndarray, limit: float
) -> tuple[Solution | None, float, np.ndarray, np.ndarray]:
    """Return the solution if the reciprocal condition exceeds `limit`, else None.

    The other values are the reciprocal condition (0 where the factorisation failed), the matrix
    scaled to unit diagonal, and the scale of its rows and columns.
    """
    # Symmetric diagonal scaling: badly scaled columns are no reason to leave Cholesky.
    diagonal = np.diag(gram)
    scale = np.where(diagonal > 0.0, diagonal, 1.0) ** -0.5
    scaled = gram * scale[:, None] * scale
    factor, failed = scipy.linalg.lapack.dpotrf(scaled, lower=True, clean=False)
    if failed:
        return None, 0.0, scaled, scale
    norm = float(np.max(np.sum(np.abs(scaled), axis=0)))
    rcond, _ = scipy.linalg.lapack.dpocon(factor, norm, uplo="L")
    if not rcond > limit:
        return None, float(rcond), scaled, scale
    X = scipy.linalg.cho_solve(
        (factor, True), (rhs * scale).T, overwrite_b=True, check_finite=False
    )
    solution = Solution(np.ascontiguousarray(X.T * scale), "cholesky", float(rcond), gram.shape[0])
    return solution, float(rcond), scaled, scale


def solve_triangular(T: np.ndarray, Z: np.ndarray, eps: float) -> Solution:
    """Solve ``T X' = Z`` by substitution, or by a truncated SVD when T is near-singular.

    Parameters
    ----------
    T : ndarray of float64, shape (p, p)
        Upper triangular factor.
    Z : ndarray of float64, shape (p, m)
        Right-hand sides as columns.
    eps : float
        Rounding unit of the data; below ``p eps`` the estimated reciprocal condition of T, its
        columns scaled to unit length, counts as rank-deficient.

    Returns
    -------
    Solution
        X has shape (m, p).
    """
    p = T.shape[0]
    if not (np.all(np.isfinite(T)) and np.all(np.isfinite(Z))):
        return _overflown(Z.T.shape)
    norms = np.sqrt(np.sum(T * T, axis=0))
    scale = np.where(norms > 0.0, norms, 1.0) ** -1.0
    scaled = T * scale
    rcond, failed = scipy.linalg.lapack.dtrcon(scaled, norm="1", uplo="U")
    if failed == 0 and rcond > p * eps:
        X = scipy.linalg.solve_triangular(scaled, Z, check_finite=False)
        return Solution(np.ascontiguousarray((X * scale[:, None]).T), "qr", float(rcond), p)
    U, values, Vt = scipy.linalg.svd(scaled, check_finite=False)
    keep = values > p * eps * values[0]
    X = Vt[keep].T @ ((U[:, keep].T @ Z) / values[keep, None])
    rank = int(np.count_nonzero(keep))
    return Solution(np.ascontiguousarray((X * scale[:, None]).T), "svd", float(rcond), rank)


def _overflown(shape: tuple[int, ...]) -> Solution:
    """Return NaN: LAPACK may not end on it, and the training loop sees the loss and stops."""
    return Solution(np.full(shape, np.nan), "svd", 0.0, 0)


def triangular_factor(stacked: np.ndarray) -> np.ndarray:
    """Return the triangular factor of a QR decomposition (NumPy's, which releases the GIL)."""
    return np.asarray(np.linalg.qr(stacked, mode="r"))


def merge_triangular(parts: list[np.ndarray], p: int) -> tuple[np.ndarray, np.ndarray]:
    """Merge the triangular factors of row blocks of ``[S, R]`` into ``(T, Z)`` of the whole.

    Parameters
    ----------
    parts : list of ndarray, each shape (k_i, p + m)
        R factors (or plain rows) of the blocks, in block order.
    p : int
        Number of columns of S.

    Returns
    -------
    T : ndarray, shape (p, p)
        Upper triangular.
    Z : ndarray, shape (p, m)
        ``Q' R`` restricted to the range of S.
    """
    total = triangular_factor(np.vstack(parts))
    if total.shape[0] < p:
        total = np.vstack([total, np.zeros((p - total.shape[0], total.shape[1]))])
    return total[:p, :p], total[:p, p:]
