"""Working sets: the samples that still matter for the loss."""

from __future__ import annotations

import numpy as np

from ..threads.blocks import sample_blocks
from ..threads.team import ALONE, Team, Workspace

__all__ = ["doubtful_samples"]

# Bits of a number that are looked at in one pass.
_DIGIT = 8


def doubtful_samples(
    doubt: np.ndarray, share: float, keep: float, team: Team = ALONE
) -> np.ndarray | None:
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
    team : Team
        Threads, those of the caller by default.

    Returns
    -------
    ndarray of int or None
        Sorted indices, or None when dropping would hardly save work (under a tenth).

    Notes
    -----
    The samples with the smallest doubts are dropped, the first ones among equals.  Where to stop
    is found without sorting, digit by digit of the numbers' binary form, from counts and sums
    that add up over the samples like any other.
    """
    n, most = len(doubt), int((1.0 - keep) * len(doubt))
    allowed = share * float(team.total(doubt))
    bits = np.abs(doubt).view(np.uint32 if doubt.itemsize == 4 else np.uint64)
    below, carried, limit = 0, 0.0, 0
    for shift in range(8 * doubt.itemsize - _DIGIT, -1, -_DIGIT):
        counts, sums = _digits(doubt, bits, limit, shift, team)
        numbers, totals = below + np.cumsum(counts), carried + np.cumsum(sums)
        # The first digit with which too many samples, or too much doubt, would go.
        digit = int(np.argmax((numbers > most) | (totals >= allowed) | (numbers == n)))
        if digit:
            below, carried = int(numbers[digit - 1]), float(totals[digit - 1])
        limit |= digit << shift
        if counts[digit] == 1:  # the other digits are those of this one
            limit = int(bits[bits >> bits.dtype.type(shift) == limit >> shift][0])
            break
    # All below the limit go; of those at it, as many of the first ones as are allowed.
    each = float(np.array(limit, bits.dtype).view(doubt.dtype))
    equal = np.flatnonzero(bits == limit)
    if each > 0.0:
        spare = int(max(0.0, np.ceil((allowed - carried) / each) - 1.0))
    else:
        spare = len(equal) if allowed > 0.0 else 0
    spare = min(spare, most - below, len(equal))
    if below + spare < 0.1 * n:
        return None
    kept = bits > limit
    kept[equal[spare:]] = True
    return np.flatnonzero(kept)


def _digits(
    doubt: np.ndarray, bits: np.ndarray, limit: int, shift: int, team: Team
) -> tuple[np.ndarray, np.ndarray]:
    """Return number and sum of the doubts that begin as `limit` does, by their next digit."""
    begin = shift + _DIGIT
    size = 8 * doubt.itemsize

    def task(rows: slice, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
        own, values = bits[rows], doubt[rows]
        if begin < size:
            chosen = own >> own.dtype.type(begin) == limit >> begin
            own, values = own[chosen], values[chosen]
        digits = (own >> own.dtype.type(shift)).astype(np.int64) & (2**_DIGIT - 1)
        counts = np.bincount(digits, minlength=2**_DIGIT)
        return counts, np.bincount(digits, values, minlength=2**_DIGIT)

    counts, sums = team.sum(task, sample_blocks(len(doubt), 1, doubt.itemsize))
    return counts, sums
