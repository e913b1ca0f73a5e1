"""Row kernels of images: bias by channel, its adjoint, and column sums."""

from __future__ import annotations

import numpy as np

from ._jit import kernel

__all__ = ["add_bias_channels", "channel_sums", "column_sums"]


@kernel()
def column_sums(S, out):
    """Add the rows of `S`, (rows, m), to `out`, float64 of shape (m,), in place."""
    rows, m = S.shape
    for n in range(rows):
        for j in range(m):
            out[j] += S[n, j]


@kernel(reassoc=True)
def channel_sums(G, out):
    """Add the sums over rows and positions of `G`, (rows, channels * positions), to `out`."""
    rows, channels = G.shape[0], out.size
    positions = G.shape[1] // channels
    for n in range(rows):
        for c in range(channels):
            total = 0.0
            for j in range(c * positions, (c + 1) * positions):
                total += np.float64(G[n, j])
            out[c] += total


@kernel()
def add_bias_channels(Z, b):
    """Add ``b[c]`` to every position of channel c of `Z`, (rows, channels * positions)."""
    rows, channels = Z.shape[0], b.size
    positions = Z.shape[1] // channels
    for n in range(rows):
        for c in range(channels):
            for j in range(c * positions, (c + 1) * positions):
                Z[n, j] += b[c]
