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
def _strip_sum(strip, lines, lags, ci, cj, line_i, line_j, step, lag):
    """Sum the products of lines that move away together from (line_i, line_j) by `step`.

    ``strip[(ci, line), (cj, line, lag)]`` holds the products of two lines at a lag >= 0.
    """
    total = 0.0
    while 0 <= line_i < lines and 0 <= line_j < lines:
        i, j = ci * lines + line_i, cj * lines + line_j
        total += strip[i, j * lags + lag] if lag >= 0 else strip[j, i * lags - lag]
        line_i += step
        line_j += step
    return total


@kernel()
def _corner_sum(corner, rows, columns, ci, cj, ui, uj, vi, vj, row_step, column_step):
    """Sum the products of the corner pixels that are off the window by row and by column."""
    total = 0.0
    while 0 <= ui < rows and 0 <= uj < rows:
        p, q = vi, vj
        while 0 <= p < columns and 0 <= q < columns:
            i, j = (ci * rows + ui) * columns + p, (cj * rows + uj) * columns + q
            total += corner[i, j]
            p += column_step
            q += column_step
        ui += row_step
        uj += row_step
    return total


@kernel()
def assemble_gram(lags, strips, corners, geometry, out):
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
    for ci in range(channels):
        for cj in range(channels):
            for t in range(taps):
                di, dj = t // kw, t % kw
                for u in range(t, taps):
                    ei, ej = u // kw, u % kw
                    a, b = ei - di, ej - dj
                    lag = b if a == 0 else kw + (a - 1) * (2 * kw - 1) + b + kw - 1
                    total = lags[ci, cj * n_lags + lag]
                    y, z, v, w = di - 1 - ph, ei - 1 - ph, dj - 1 - pw, ej - 1 - pw
                    total -= _strip_sum(top, rows, kw, ci, cj, y, z, back, b)
                    total -= _strip_sum(bottom, rows, kw, ci, cj, di, ei, on, b)
                    total -= _strip_sum(left, columns, kh, ci, cj, v, w, back, a)
                    total -= _strip_sum(right, columns, kh, ci, cj, dj, ej, on, a)
                    total += _corner_sum(top_left, rows, columns, ci, cj, y, z, v, w, back, back)
                    total += _corner_sum(top_right, rows, columns, ci, cj, y, z, dj, ej, back, on)
                    total += _corner_sum(
                        bottom_left, rows, columns, ci, cj, di, ei, v, w, on, back
                    )
                    total += _corner_sum(
                        bottom_right, rows, columns, ci, cj, di, ei, dj, ej, on, on
                    )
                    out[ci * taps + t, cj * taps + u] = total
                    out[cj * taps + u, ci * taps + t] = total
