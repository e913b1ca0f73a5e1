"""Convolution kernels: correlate padded images with a kernel, as flat memory.

A sample is copied into a zero-padded scratch image.  There the pixel that tap t sees from output
position (i, j) lies at ``i * width + j + offset[t]``, so that a convolution is a sum of shifted
copies of one flat array.  The loop over flat positions also runs over the end of the image rows;
what it computes there is dropped.

A stride is an image split into ``sh * sw`` *phases*, each a channel of its own: tap (di, dj) sees
phase (di % sh, dj % sw) with the shift (di // sh, dj // sw), and steps of one pixel again.  Hence
one kernel serves every stride, and the transposed map too: it is one such convolution of the
output for every phase of the input.

Scratch images lie as (channel and phase, sample, row, column): `stride` elements from channel to
channel, `slot` from sample to sample, a few samples (`group`) at a time.  All arrays are
C-contiguous, and of one dtype where nothing else is said.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._tiles import PRODUCTS, VECTORS, convolve_tile, copy_run, product_tile

__all__ = [
    "convolve_rows",
    "correlate_rows",
    "lag_products",
    "strip_products",
]

# Short tiles finish what the wide ones leave.  Those of one vector would wait for their own sums
# in every step: rounding up to more vectors costs less.
_wide4, _short4 = convolve_tile(4, VECTORS), convolve_tile(4, VECTORS // 2)
_wide2, _short2 = convolve_tile(2, 2 * VECTORS), convolve_tile(2, VECTORS)
_wide1, _short1 = convolve_tile(1, 2 * VECTORS), convolve_tile(1, VECTORS)
_product4, _product2, _product1 = product_tile(4), product_tile(2), product_tile(1)


@kernel()
def _place(s, first, count, geometry, slot, stride, x):
    """Copy `count` samples into the scratch images `x`, whose borders stay as they are.

    `s` is the flat block of samples, `geometry` is (channels, height, width, zero rows above,
    zero columns to the left, row stride, column stride, rows and columns of a phase).
    """
    channels, height, width, top, left, sh, sw, _, columns = geometry
    for n in range(count):
        source = (first + n) * channels * height * width
        for c in range(channels):
            for i in range(height):
                row = i + top
                phase = (c * sh + row % sh) * sw
                target = phase * stride + n * slot + (row // sh) * columns
                if sw == 1:
                    copy_run(s, source, x, target + left, width)
                else:
                    for j in range(width):
                        column = j + left
                        x[target + (column % sw) * stride + column // sw] = s[source + j]
                source += width


@kernel()
def _take(y, y_stride, slot, first, count, channels, c, m, geometry, out):
    """Copy m channels, from c on, of `count` samples from the scratch `y` to the flat `out`.

    `geometry` is (height, width of the output; row and column that position (0, 0) goes to;
    row and column step of a position; rows, columns of positions; columns of the scratch).
    """
    height, width, row0, column0, sh, sw, rows, columns, scratch_columns = geometry
    for n in range(count):
        for i in range(m):
            base = ((first + n) * channels + c + i) * height * width
            for r in range(rows):
                row = row0 + r * sh
                if row < 0 or row >= height:
                    continue
                source = i * y_stride + n * slot + r * scratch_columns
                if sw == 1:
                    copy_run(y, source, out, base + row * width + column0, columns)
                    continue
                for j in range(columns):
                    column = column0 + j * sw
                    if 0 <= column < width:
                        out[base + row * width + column] = y[source + j]


@kernel()
def _pack(K, k):
    """Write the weights in the order of the tiles: for every tile, tap by tap."""
    channels, taps = K.shape
    c = position = 0
    while c < channels:
        left = channels - c
        m = 4 if left >= 4 else 2 if left >= 2 else 1
        for t in range(taps):
            for i in range(m):
                k[position] = K[c + i, t]
                position += 1
        c += m


@kernel()
def _convolve_run(x, K, offsets, k, start, end, lanes, c, y, y_stride):
    """Convolve one run of flat positions to the channels from c on; return their number."""
    channels, taps = K.shape
    left = channels - c
    k0, p = c * taps, start
    if left >= 4:
        while end - p > (VECTORS - 1) * lanes:
            _wide4(x, p, offsets, taps, k, k0, y, p, y_stride)
            p += VECTORS * lanes
        while p < end:
            _short4(x, p, offsets, taps, k, k0, y, p, y_stride)
            p += VECTORS // 2 * lanes
        return 4
    if left >= 2:
        while end - p > VECTORS * lanes:
            _wide2(x, p, offsets, taps, k, k0, y, p, y_stride)
            p += 2 * VECTORS * lanes
        while p < end:
            _short2(x, p, offsets, taps, k, k0, y, p, y_stride)
            p += VECTORS * lanes
        return 2
    while end - p > VECTORS * lanes:
        _wide1(x, p, offsets, taps, k, k0, y, p, y_stride)
        p += 2 * VECTORS * lanes
    while p < end:
        _short1(x, p, offsets, taps, k, k0, y, p, y_stride)
        p += VECTORS * lanes
    return 1


@kernel()
def convolve_rows(
    S, K, offsets, placing, taking, group, slot, stride, length, lanes, x, y_stride, y, k, out
):
    """Convolve every sample of a block: place, sum over the taps, take.

    Parameters
    ----------
    S : ndarray, shape (rows, n_inputs)
        Samples.
    K : ndarray, shape (channels, taps)
        Weights of every output channel.
    offsets : ndarray of intp, shape (taps,)
        Offset of every tap in the scratch `x`.
    placing, taking : tuple of int
        Geometries of `_place` and `_take`.
    group, slot, stride : int
        Samples in the scratch, elements from sample to sample and from channel to channel.
    length : int
        Flat positions of one sample, from the first to the last one that is kept.
    lanes : int
        Elements of a vector; there is room to round the positions up to ``VECTORS`` vectors.
    x : ndarray, flat
        Scratch images: zero, or as the same call has left them.
    y_stride, y : int and ndarray, flat
        Scratch of at least ``min(4, channels) * y_stride`` for the results of one tile.
    k : ndarray, flat, as large as `K`
        Scratch for the weights in the order of the tiles.
    out : ndarray, shape (rows, n_outputs)
        Overwritten where `taking` leads.
    """
    rows, channels = S.shape[0], K.shape[0]
    s, flat = S.reshape(S.size), out.reshape(out.size)
    _pack(K, k)
    # One run over all samples, unless the rows between them are more than is lost by rounding.
    unit = VECTORS // 2 * lanes
    apart = (length + unit - 1) // unit * unit < slot
    for first in range(0, rows, group):
        count = min(group, rows - first)
        _place(s, first, count, placing, slot, stride, x)
        if apart:
            runs, end = count, length
        else:
            runs, end = 1, (count - 1) * slot + length
        c = m = np.intp(0)  # plain 0 would be a type of its own, and compiled for itself
        while c < channels:
            for run in range(runs):
                start = run * slot
                m = _convolve_run(x, K, offsets, k, start, start + end, lanes, c, y, y_stride)
            _take(y, y_stride, slot, first, count, channels, c, m, taking, flat)
            c += m


@kernel()
def _add_products(g, images, g_stride, g_slot, x, offsets, x_slot, count, steps, out):
    """Add to `out`, (images, offsets), the products of images with shifted images."""
    width = offsets.size
    flat = out.reshape(out.size)
    i = 0
    while i < images:
        left, g0, o = images - i, i * g_stride, i * width
        m = 4 if left >= 4 else 2 if left >= 2 else 1
        j = 0
        while j < width:
            if m == 4:
                _product4(
                    g,
                    g0,
                    g_stride,
                    g_slot,
                    x,
                    offsets,
                    j,
                    x_slot,
                    count,
                    steps,
                    flat,
                    o + j,
                    width,
                )
            elif m == 2:
                _product2(
                    g,
                    g0,
                    g_stride,
                    g_slot,
                    x,
                    offsets,
                    j,
                    x_slot,
                    count,
                    steps,
                    flat,
                    o + j,
                    width,
                )
            else:
                _product1(
                    g,
                    g0,
                    g_stride,
                    g_slot,
                    x,
                    offsets,
                    j,
                    x_slot,
                    count,
                    steps,
                    flat,
                    o + j,
                    width,
                )
            j += PRODUCTS
        i += m


def correlate_rows(
    T, S, offsets, placing_T, placing_S, group, slot_T, slot, stride_T, stride, steps, t, x, out
):
    """Add the products of every channel of `T` with every shifted image of `S` to `out`.

    Parameters
    ----------
    T, S : ndarray, shape (rows, n_outputs) and (rows, n_inputs)
        Channels at the output positions, and images.
    offsets : ndarray of intp, shape (taps,)
        Offset of every tap in the scratch `x`; `taps` is a multiple of ``PRODUCTS``.
    placing_T, placing_S : tuple of int
        Geometries of `_place` for `T` and `S`; the scratch images have rows of one length.
    group, slot_T, slot, stride_T, stride : int
        Samples in the scratch, elements from sample to sample and from channel to channel.
    steps : int
        Vectors that hold the positions of one sample; `t` is zero where there is no position.
    t, x : ndarray, flat
        Scratch images: zero, or as the same call has left them.
    out : ndarray of float64, shape (channels, taps)
        Modified in place.
    """
    tail = (group, slot_T, slot, stride_T, stride, steps, t, x, out)
    _correlate(T, S, offsets, placing_T, placing_S, *tail, False)


def lag_products(S, offsets, placing, group, slot, stride, steps, x, out):
    """Add the products of every channel of `S` with the channels shifted by the lags to `out`.

    As `correlate_rows` with the images themselves for `T`; `out` is (channels, offsets).
    """
    tail = (group, slot, slot, stride, stride, steps, x, x, out)
    _correlate(S, S, offsets, placing, placing, *tail, True)


@kernel()
def _correlate(
    T, S, offsets, placing_T, placing_S, group, slot_T, slot, stride_T, stride, steps, t, x, out,
    same,
):  # fmt: skip
    """Do the work of `correlate_rows`, or, if `t` is the same as `x`, of `lag_products`."""
    rows, channels = S.shape[0], placing_T[0]
    flat_T, flat_S = T.reshape(T.size), S.reshape(S.size)
    for first in range(0, rows, group):
        count = min(group, rows - first)
        _place(flat_S, first, count, placing_S, slot, stride, x)
        if not same:
            _place(flat_T, first, count, placing_T, slot_T, stride_T, t)
        _add_products(t, channels, stride_T, slot_T, x, offsets, slot, count, steps, out)


@kernel()
def strip_products(S, offsets, strips, group, slot, stride, lanes, x, out):
    """Add the lag products of strips (rows or columns) at one border of the images to `out`.

    Parameters
    ----------
    S : ndarray, shape (rows, n_inputs)
        Samples.
    offsets : ndarray of intp
        ``(channel and strip) * stride + lag``; their number is a multiple of ``PRODUCTS``.
    strips : tuple of int
        (channels, pixels of a channel, strips, pixels of a strip, first pixel, step from strip
        to strip, step from pixel to pixel).
    group, slot, stride, lanes : int
        As in `convolve_rows`; a slot ends with a zero for every lag.
    x : ndarray, flat
        Scratch images: zero, or as the same call has left them.
    out : ndarray of float64, shape (channels * strips, offsets)
        Modified in place.
    """
    rows = S.shape[0]
    channels, pixels, lines, length, start, line_step, pixel_step = strips
    s = S.reshape(S.size)
    for first in range(0, rows, group):
        count = min(group, rows - first)
        for c in range(channels):
            for line in range(lines):
                target = (c * lines + line) * stride
                for n in range(count):
                    source = ((first + n) * channels + c) * pixels + start + line * line_step
                    for q in range(length):
                        x[target + q] = s[source + q * pixel_step]
                    target += slot
                # The samples are one flat run: end it before those of the group before.
                for q in range(lanes):
                    x[target + q] = 0
        steps = (count * slot + lanes - 1) // lanes
        zero, one = np.intp(0), np.intp(1)
        _add_products(x, channels * lines, stride, zero, x, offsets, zero, one, steps, out)
