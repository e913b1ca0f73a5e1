"""The Gram matrix of all patches of a block of images, without the patch matrix."""

from __future__ import annotations

import math

import numpy as np

from ..kernels.conv import lag_products, strip_products
from ..kernels.patch_gram import assemble_gram
from .conv_geometry import Geometry, scratch

__all__ = ["has_lag_gram", "lag_gram_into", "patch_gram_into"]

# Bytes of a channel in the scratch images of the lag products, and of a strip.
_LAG_BYTES, _STRIP_BYTES = 8192, 4096
# Elements of the explicit patches of a few samples; rows of one product of corner pixels.
_PATCH_ELEMENTS, _CORNER_ROWS = 1 << 15, 256


def has_lag_gram(layer: Geometry) -> bool:
    """Tell whether lag products serve: stride 1 and border strips thinner than the image."""
    rows, columns = _border(layer)
    return (
        layer.stride == (1, 1) and rows <= layer.image_shape[1] and columns <= layer.image_shape[2]
    )


def _border(layer: Geometry) -> tuple[int, int]:
    """Return the numbers of image rows and columns at a border that some windows leave out."""
    (kh, kw), (ph, pw) = layer.kernel_size, layer.padding
    return max(0, kh - 1 - ph), max(0, kw - 1 - pw)


def patch_gram_into(layer: Geometry, S: np.ndarray, out: np.ndarray) -> None:
    """Write the Gram matrix to `out` by products of the patches of a few samples at a time."""
    taps = layer.weight_shape[1]
    few = max(1, _PATCH_ELEMENTS // (layer.n_positions * taps))
    total = np.zeros((taps, taps))
    for first in range(0, len(S), few):
        patches = layer.patch_matrix(S[first : first + few])
        total += np.dot(patches.T, patches)
    out[...] = total


def lag_gram_into(layer: Geometry, S: np.ndarray, out: np.ndarray) -> None:
    """Write the Gram matrix to `out` by lag products (stride 1)."""
    channels, height, width = layer.image_shape
    (kh, kw), (rows, columns) = layer.kernel_size, _border(layer)
    full = _whole_images(layer, S)
    end = (height - rows) * width
    # (strips, pixels of a strip, first pixel, from strip to strip, from pixel to pixel, lags)
    strips = tuple(
        _strips(S, channels, height * width, *geometry)
        for geometry in (
            (rows, width, 0, width, 1, kw),
            (rows, width, end, width, 1, kw),
            (columns, height, 0, 1, width, kh),
            (columns, height, width - columns, 1, width, kh),
        )
    )
    images = S.reshape(-1, *layer.image_shape)
    above, below = slice(0, rows), slice(height - rows, height)
    before, behind = slice(0, columns), slice(width - columns, width)
    corners = tuple(_corner(images[:, :, u, v]) for u in (above, below) for v in (before, behind))
    geometry = (channels, kh, kw, *layer.padding, rows, columns)
    assemble_gram(full, strips, corners, geometry, np.empty((channels, channels)), out)


def _whole_images(layer: Geometry, S: np.ndarray) -> np.ndarray:
    """Return the lag products of whole images, for `assemble_gram`."""
    channels, height, width = layer.image_shape
    kh, kw = layer.kernel_size
    # Zeros to the right of the rows and below the image: a shifted image meets no other row.
    columns, rows = width + kw - 1, height + kh - 1
    length = (height - 1) * columns + width
    lanes = scratch(1, 1, 1, S.dtype).lanes
    steps = -(-length // lanes)
    slot = max(rows * columns, steps * lanes)
    size = scratch(slot, len(S), _LAG_BYTES, S.dtype)
    lags = np.concatenate(
        [np.arange(kw)] + [a * columns + np.arange(1 - kw, kw) for a in range(1, kh)]
    )
    offsets = size.offsets(np.repeat(np.arange(channels), lags.size), np.tile(lags, channels))
    total = np.zeros((channels, offsets.size))
    x = np.zeros(channels * size.stride + lags[-1] + slot, S.dtype)
    placing = (channels, height, width, 0, 0, 1, 1, rows, columns)
    lag_products(S, offsets, placing, size.group, slot, size.stride, steps, x, total)
    return total


def _strips(
    S: np.ndarray,
    channels: int,
    pixels: int,
    lines: int,
    length: int,
    start: int,
    line_step: int,
    pixel_step: int,
    lags: int,
) -> np.ndarray:
    """Return the lag products of the rows or columns at one border."""
    if lines == 0:
        return np.zeros((0, 0))
    slot = length + lags - 1
    size = scratch(slot, len(S), _STRIP_BYTES, S.dtype)
    line, lag = (index.ravel() for index in np.indices((channels * lines, lags)))
    offsets = size.offsets(line, lag)
    total = np.zeros((channels * lines, offsets.size))
    x = np.zeros(channels * lines * size.stride + lags, S.dtype)
    geometry = (channels, pixels, lines, length, start, line_step, pixel_step)
    strip_products(S, offsets, geometry, size.group, slot, size.stride, size.lanes, x, total)
    return total


def _corner(pixels: np.ndarray) -> np.ndarray:
    """Return the products of the pixels of one corner of all images and channels."""
    pixels = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))  # also of no samples
    total = np.zeros((pixels.shape[1], pixels.shape[1]))
    for first in range(0, len(pixels), _CORNER_ROWS):
        block = pixels[first : first + _CORNER_ROWS]
        total += np.dot(block.T, block)
    return total
