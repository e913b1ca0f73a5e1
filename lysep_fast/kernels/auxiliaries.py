"""Row kernels of the auxiliary blocks: gradient step, residuals, row norms, acceptance.

Everything here works on one block of samples (rows) that stays in cache from the residual to the
end of the line search.  All matrices are C-contiguous and of one dtype; sums over a row are
formed in float64.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

__all__ = [
    "copy_rows",
    "gradient_step_rows",
    "residual_step_rows",
    "row_sums_of_squares",
    "shift_residual",
]


@kernel(reassoc=True)
def row_sums_of_squares(R, out):
    """Write ``||R_n||^2`` of every row to `out`.

    Parameters
    ----------
    R : ndarray, shape (rows, m)
        Residual block.
    out : ndarray of float64, shape (rows,)
        Overwritten.
    """
    rows, m = R.shape
    for i in range(rows):
        total = 0.0
        for j in range(m):
            value = np.float64(R[i, j])
            total += value * value
        out[i] = total


@kernel()
def gradient_step_rows(A, R, G, scale, nu, step, A_new, R_new):
    """Take one gradient step per row on ``upper(A) + nu ||R||^2``.

    The gradient is ``scale * G + 2 nu R`` where ``scale * G`` is the upper term's derivative in
    the auxiliary.  The residual follows the auxiliary by the same increment.

    Parameters
    ----------
    A, R, G : ndarray, shape (rows, m)
        Auxiliary, residual, back-propagated derivative (before `scale`).
    scale, nu : float
        Factors above; `nu` is the squared norm of the layer above.
    step : ndarray of float64, shape (rows,)
        Step length of every row.
    A_new, R_new : ndarray, shape (rows, m)
        Overwritten.

    Notes
    -----
    Compiled without re-association: ``A_new - A`` is the increment as rounded, so auxiliary and
    residual stay consistent to the last bit of that increment.
    """
    rows, m = A.shape
    number = A.dtype.type
    for i in range(rows):
        by_upper = number(step[i] * scale)
        by_own = number(step[i] * 2.0 * nu)
        for j in range(m):
            moved = A[i, j] - (by_upper * G[i, j] + by_own * R[i, j])
            A_new[i, j] = moved
            R_new[i, j] = R[i, j] + (moved - A[i, j])


@kernel(reassoc=True)
def residual_step_rows(R, P, R_new, r2):
    """Write ``R_new = R - P`` and its row sums of squares.

    Parameters
    ----------
    R, P : ndarray, shape (rows, m)
        Residual and the change of its prediction.
    R_new : ndarray, shape (rows, m)
        Overwritten; may be `P`.
    r2 : ndarray of float64, shape (rows,)
        Overwritten with ``||R_new||^2`` per row.
    """
    rows, m = R.shape
    for i in range(rows):
        total = 0.0
        for j in range(m):
            residual = R[i, j] - P[i, j]
            R_new[i, j] = residual
            total += np.float64(residual) * np.float64(residual)
        r2[i] = total


@kernel(reassoc=True)
def shift_residual(R, P, shift):
    """Subtract ``P + shift`` from `R` in place and return the new ``||R||^2``.

    Parameters
    ----------
    R, P : ndarray, shape (rows, m)
        Residual (modified in place) and the change ``S dW'`` of its prediction.
    shift : ndarray, shape (m,)
        Change ``db`` of the bias.

    Returns
    -------
    float
        Sum of squares of the new residuals.
    """
    rows, m = R.shape
    total = 0.0
    for i in range(rows):
        for j in range(m):
            residual = R[i, j] - (P[i, j] + shift[j])
            R[i, j] = residual
            total += np.float64(residual) * np.float64(residual)
    return total


@kernel()
def copy_rows(accepted, source, target):
    """Copy the rows of `source` whose flag is set to `target`.

    Parameters
    ----------
    accepted : ndarray of bool, shape (rows,)
        Rows to copy.
    source, target : ndarray, shape (rows, m)
        `target` is modified in place.
    """
    rows, m = source.shape
    for i in range(rows):
        if accepted[i]:
            for j in range(m):
                target[i, j] = source[i, j]
