"""Working sets: the samples that still matter for the loss."""

from __future__ import annotations

import numpy as np

__all__ = ["doubtful_samples"]


def doubtful_samples(doubt: np.ndarray, share: float, keep: float) -> np.ndarray | None:
    """Return the indices of the samples that carry nearly all of the doubt.

    Parameters
    ----------
    doubt : ndarray, shape (n,)
        ``c_n |P - t|_1 / 2`` of every sample, a bound of its gradient in the logits; for hard
        targets that is its weight times ``1 - p_{y_n}``.
    share : float
        The dropped samples carry at most this share of the total.
    keep : float
        Share of the samples that is kept at least.

    Returns
    -------
    ndarray of int or None
        Sorted indices, or None when dropping would hardly save work (under a tenth).
    """
    order = np.argsort(doubt, kind="stable")
    dropped = int(np.searchsorted(np.cumsum(doubt[order]), share * float(np.sum(doubt))))
    dropped = min(dropped, int((1.0 - keep) * len(doubt)))
    if dropped < 0.1 * len(doubt):
        return None
    return np.sort(order[dropped:])
