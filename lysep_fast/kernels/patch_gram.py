"""Assemble the Gram matrix of all patches of padded images from lag products.

For stride 1 the entry of taps (di, dj) of channel ci and (ei, ej) of channel cj is a sum of
``x[ci, u, v] * x[cj, u + a, v + b]`` with the lag a = ei - di, b = ej - dj over the window
``di <= u < di + Ho``, ``dj <= v < dj + Wo`` of the padded image.  The sum over the whole image
depends on the lag alone.  From it go the rows above and below the window and the columns left and
right of it, and the four corners, taken off twice, come back:

    window = all - top - bottom - left - right + corners
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

__all__ = ["assemble_gram"]


@kernel()
def _subtract_strip(strip, lines, lags, line_i, line_j, step, lag, block):
    """Subtract the products of lines that move away together from (line_i, line_j) by `step`.

    ``strip[(ci, line), (cj, line, lag)]`` holds the products of two lines at a lag >= 0, `block`
    one number for every pair of channels.
    """
    channels = len(block)
    while 0 <= line_i < lines and 0 <= line_j < lines:
        for ci in range(channels):
            i = ci * lines + line_i
            for cj in range(channels):
                j = cj * lines + line_j
                block[ci, cj] -= strip[i, j * lags + lag] if lag >= 0 else strip[j, i * lags - lag]
        line_i += step
        line_j += step


@kernel()
def _add_corner(corner, rows, columns, ui, uj, vi, vj, row_step, column_step, block):
    """Add the products of the corner pixels that are off the window by row and by column."""
    channels = len(block)
    while 0 <= ui < rows and 0 <= uj < rows:
        p, q = vi, vj
        while 0 <= p < columns and 0 <= q < columns:
            for ci in range(channels):
                i = (ci * rows + ui) * columns + p
                for cj in range(channels):
                    block[ci, cj] += corner[i, (cj * rows + uj) * columns + q]
            p += column_step
            q += column_step
        ui += row_step
        uj += row_step


@kernel()
def assemble_gram(lags, strips, corners, geometry, block, out):
    """Write the Gram matrix of the patches.

    Parameters
    ----------
    lags : ndarray of float64, shape (channels, channels * n_lags or more)
        Products over whole images, for the lags (0, b >= 0), then (1, b), (2, b), ... for all b.
    strips : tuple of 4 ndarrays of float64
        Products of lines at the top and bottom, ``[(ci, line), (cj, line, b >= 0)]``, and at the
        left and right, ``[(ci, line), (cj, line, a >= 0)]``.
    corners : tuple of 4 ndarrays
        Products of pixels, ``[(ci, row, column), (cj, row, column)]``, of the corners top left,
        top right, bottom left, bottom right.
    geometry : tuple of int
        (channels, kh, kw, zero rows, zero columns on each side, border rows, border columns).
    block : ndarray of float64, shape (channels, channels)
        Scratch.
    out : ndarray, shape (channels * kh * kw,) * 2
        Overwritten.

    Notes
    -----
    A line above the window of tap row di has the index di - 1 - ph and those before; a line below
    it, counted from the first one that any window leaves out, has the index di and those after.
    """
    channels, kh, kw, ph, pw, rows, columns = geometry
    top, bottom, left, right = strips
    top_left, top_right, bottom_left, bottom_right = corners
    n_lags = kw + (kh - 1) * (2 * kw - 1)
    taps = kh * kw
    # Plain numbers would be types of their own, and every pair of them compiled for itself.
    on, back = np.intp(1), np.intp(-1)
    for t in range(taps):
        di, dj = t // kw, t % kw
        for u in range(t, taps):
            ei, ej = u // kw, u % kw
            a, b = ei - di, ej - dj
            lag = b if a == 0 else kw + (a - 1) * (2 * kw - 1) + b + kw - 1
            for ci in range(channels):
                for cj in range(channels):
                    block[ci, cj] = lags[ci, cj * n_lags + lag]
            y, z, v, w = di - 1 - ph, ei - 1 - ph, dj - 1 - pw, ej - 1 - pw
            _subtract_strip(top, rows, kw, y, z, back, b, block)
            _subtract_strip(bottom, rows, kw, di, ei, on, b, block)
            _subtract_strip(left, columns, kh, v, w, back, a, block)
            _subtract_strip(right, columns, kh, dj, ej, on, a, block)
            _add_corner(top_left, rows, columns, y, z, v, w, back, back, block)
            _add_corner(top_right, rows, columns, y, z, dj, ej, back, on, block)
            _add_corner(bottom_left, rows, columns, di, ei, v, w, on, back, block)
            _add_corner(bottom_right, rows, columns, di, ei, dj, ej, on, on, block)
            for ci in range(channels):
                for cj in range(channels):
                    out[ci * taps + t, cj * taps + u] = block[ci, cj]
                    out[cj * taps + u, ci * taps + t] = block[ci, cj]
