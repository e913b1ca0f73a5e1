"""Gram matrices as metrics: whole, or their diagonal alone where there are too many columns."""

from __future__ import annotations

import numpy as np

__all__ = ["bordered", "diagonal_of"]


def bordered(gram: np.ndarray, total: np.ndarray, corner: float) -> np.ndarray:
    """Return the Gram matrix of ``[S, 1]`` from that of S, the column sums of S and of ones.

    Of a diagonal, shape (p,), the result is a diagonal, shape (p+1,).
    """
    if gram.ndim == 1:
        return np.append(gram, corner)
    return np.block([[gram, total[:, None]], [total[None, :], np.full((1, 1), corner)]])


def diagonal_of(gram: np.ndarray) -> np.ndarray:
    """Return a view of the diagonal of a C-contiguous matrix, or the diagonal that `gram` is."""
    return gram if gram.ndim == 1 else gram.reshape(-1)[:: len(gram) + 1]
