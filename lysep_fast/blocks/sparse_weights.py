"""Closed form of the first layer on sparse inputs, neuron by neuron: threads share the neurons.

A neuron is solved by one thread from beginning to end, so the bits do not depend on how many there
are.
"""

from __future__ import annotations

import numpy as np

from ..kernels.sparse import sparse_correlation, sparse_product
from ..linalg.sparse_least_squares import SparseSystem
from ..objective import TrainingProblem
from ..samples.sparse import SparseSamples
from ..threads.team import Workspace

__all__ = ["sparse_increments"]


def sparse_increments(
    problem: TrainingProblem,
    R: np.ndarray,
    W: np.ndarray,
    ridge: np.ndarray,
    proximal: float,
    *,
    joint: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return dW and db of ``min sum_n c_n |R_n - S_n dW' - db|^2 + ridge ||W + dW||^2``.

    Parameters
    ----------
    problem : TrainingProblem
        Its samples are sparse.
    R : ndarray, shape (n, m)
        Residuals.
    W : ndarray, shape (m, d)
        Weights before the step.
    ridge : ndarray, shape (d,)
        Weights of the squares of the columns.
    proximal : float
        Weight of ``||dW||^2`` relative to the mean square of a column.
    joint : bool
        Whether db is solved for; otherwise it is 0.
    """
    samples, c = problem.samples, problem.loss.sample_weight
    assert isinstance(samples, SparseSamples)
    rows = samples.entries
    weight = np.ones(len(rows)) if c is None else c.astype(np.float64)
    squares = rows.column_sums(np.square(rows.data, dtype=np.float64) * weight[rows.places()])

    def times(x: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), 1))
        sparse_product(*rows.arrays, x.reshape(1, -1), out)
        return out[:, 0]

    def adjoint(u: np.ndarray) -> np.ndarray:
        out = np.zeros((1, rows.width))
        sparse_correlation(*rows.arrays, u.reshape(-1, 1), out)
        return out[0]

    damping = ridge + proximal * float(np.mean(squares))
    system = SparseSystem(times, adjoint, squares, np.sqrt(weight), damping, joint)
    # In the rows of the ridge: their squares pull at W + dW, those of `proximal` at dW.
    root = np.sqrt(damping)
    shift = np.divide(ridge, root, out=np.zeros_like(root), where=root > 0.0)

    def task(k: int, ws: Workspace) -> tuple[np.ndarray, float]:
        return system.solve(R[:, k].astype(np.float64), -shift * W[k])

    found = problem.team.map(task, range(len(W)))
    return np.array([dW for dW, _ in found]), np.array([db for _, db in found])
