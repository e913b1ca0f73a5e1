"""The output weights in closed form: column-scaled QR, Gauss-Newton for nonlinear equations.

With the hidden layers fixed the residual at point n is ``r_n = M_n w - y_n`` with the row
``M_n = sum_ch K[ch, n] P_H[ch, n]`` for a linear equation, and

    w = argmin  sum_n weight_n r_n^2 + sum_j ridge_j w_j^2

comes from the triangular factor of the rows (not from normal equations: their condition number,
the square of that of M, is beyond float64 as a rule).  A nonlinear equation is linearised at w,
solved for an increment and backtracked, until the predicted decrease is below rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..linalg.least_squares import merge_triangular, solve_triangular, triangular_factor
from ..linalg.line_search import backtrack
from ..threads.blocks import row_blocks
from ..threads.team import Workspace
from .jets import JetNetwork, Part

__all__ = ["OutputFit", "fit_output"]

# A network that fits badly has needed more than 50 steps, one that is being trained needs 3 or 4.
_MAX_ITER = 200
# Converged when the predicted decrease is below this share of the loss: the loss is then accurate
# to as many digits, and the step that was still taken has made it better than that.
_CONVERGED = 1e-14
_TRIALS = 20
# Rows per column from which a factorisation of its own pays for a group of blocks.
_TALL = 6


@dataclass(frozen=True)
class OutputFit:
    """Output weights that minimise the loss for fixed hidden layers.

    Attributes
    ----------
    w : ndarray, shape (m_H,)
        Weights.
    method : str
        ``"qr"`` or ``"svd"`` (rank-deficient features).
    rcond : float
        Estimated reciprocal condition number of the column-scaled rows.
    iterations : int
        Linear solves; 1 for a linear equation.
    """

    w: np.ndarray
    method: str
    rcond: float
    iterations: int


def fit_output(
    network: JetNetwork, w: np.ndarray | None = None, ridge: np.ndarray | None = None
) -> OutputFit:
    """Return the output weights for the features of the last forward pass.

    Parameters
    ----------
    network : JetNetwork
        After ``forward``.
    w : ndarray, shape (m_H,), optional
        Start for a nonlinear equation (default zero); a linear one does not need it.
    ridge : ndarray, shape (m_H,), optional
        Quadratic penalties of the weights.
    """
    start = np.zeros(network.widths[-1]) if w is None else w
    if network.is_linear:
        step, method, rcond, _ = _increment(network, np.zeros_like(start), ridge)
        return OutputFit(step, method, rcond, 1)

    def objective(w: np.ndarray) -> float:
        penalty = 0.0 if ridge is None else float(np.dot(ridge, w * w))
        return sum(network.loss(w)) + penalty

    current = objective(start)
    for iteration in range(1, _MAX_ITER + 1):
        step, method, rcond, decrease = _increment(network, start, ridge)
        if decrease <= _CONVERGED * current:
            # Below what the loss can resolve, so no search; but it still sharpens w.
            return OutputFit(start + step, method, rcond, iteration)
        origin = start
        trial = backtrack(lambda t: objective(origin + t * step), current, 1.0, 0.5, _TRIALS)  # noqa: B023
        start, current = origin + trial.step * step, trial.value
        if not trial.accepted:
            break
    return OutputFit(start, method, rcond, iteration)


def _increment(
    network: JetNetwork, w: np.ndarray, ridge: np.ndarray | None
) -> tuple[np.ndarray, str, float, float]:
    """Return the Gauss-Newton increment at w, how it was found, and its predicted decrease."""
    p = len(w)
    # Blocks are factorised in groups of many more rows than columns: it pays, and in parallel.
    size = -(-_TALL * (p + 1) * len(network.parts) // network.n_rows)
    groups = row_blocks(len(network.parts), size)

    def task(group: slice, ws: Workspace) -> np.ndarray:
        chosen = network.parts[group]
        rows = ws.array("rows", (sum(len(part) for part in chosen), p + 1), float)
        start = 0
        for part in chosen:
            _fill_rows(network, part, w, rows[start : start + len(part)])
            start += len(part)
        # LAPACK may not end on NaN; the loop sees the loss and stops.
        return triangular_factor(rows) if np.all(np.isfinite(rows)) else rows[:1].copy() * np.nan

    parts = network.team.map(task, groups)
    if not all(np.all(np.isfinite(part)) for part in parts):
        return np.full(p, np.nan), "qr", 0.0, np.nan
    if ridge is not None:
        parts.append(np.column_stack([np.diag(np.sqrt(ridge)), -np.sqrt(ridge) * w]))
    T, Z = merge_triangular(parts, p)
    solution = solve_triangular(T, Z, float(np.finfo(float).eps))
    step = solution.X[0]
    decrease = float(np.sum((T @ step) ** 2))
    return step, solution.method, solution.rcond, decrease


def _fill_rows(network: JetNetwork, part: Part, w: np.ndarray, rows: np.ndarray) -> None:
    """Write a part's rows ``sqrt(weight) [M, -r]`` at w, shape (k, m_H + 1)."""
    P, M = part.P[network.depth], rows[:, :-1]
    r, v = network.residual(part, w)
    root = part.loss.weight**0.5
    (first, slope), *others = part.loss.slopes(v)
    np.multiply(P[first], (root * slope)[:, None], out=M)
    for ch, slope in others:
        M += P[ch] * (root * slope)[:, None]
    np.multiply(r, -root, out=rows[:, -1])
