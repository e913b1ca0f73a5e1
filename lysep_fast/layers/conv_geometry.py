"""Where the pixels of a convolution lie in the scratch memory of the kernels.

See ``kernels/conv.py`` for the layout: images padded with zeros, cut into one phase for every
residue of the stride, and read as flat memory.  The zeros at the end of an image row are also
those in front of the next row, and likewise from image to image: fewer positions are computed
that nobody wants (14 x 14 images with 2 zeros around take 16 x 16 positions, not 18 x 18).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ..kernels._tiles import PRODUCTS, VECTOR_BYTES, VECTORS

__all__ = ["Geometry", "Pass", "Scratch", "adjoint_passes", "forward_pass", "scratch"]


class Geometry(Protocol):
    """What is asked of a convolution where its Gram matrix is formed."""

    image_shape: tuple[int, int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    n_positions: int
    weight_shape: tuple[int, int]

    def patch_matrix(self, S: np.ndarray) -> np.ndarray:
        """Return all patches of `S` as an explicit matrix."""
        ...


class Pass(NamedTuple):
    """One call of the convolution kernel: taps, and where pixels come from and go to.

    Tap t reads channel ``channel[t]`` of the scratch images at the flat distance ``shift[t]``
    from a position.  `placing` and `taking` are the geometries of the kernels, `slot` the
    elements of an image, `length` the flat positions from the first to the last one kept.
    """

    channel: np.ndarray
    shift: np.ndarray
    placing: tuple[int, ...]
    taking: tuple[int, ...]
    slot: int
    length: int
    zeros: int

    @property
    def n_images(self) -> int:
        """Number of scratch images of a sample: channels times phases."""
        return self.placing[0] * self.placing[5] * self.placing[6]


class Scratch(NamedTuple):
    """Sizes that follow from the dtype and the number of rows of a block."""

    lanes: int
    group: int
    stride: int

    def offsets(self, channel: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Return the offsets of the taps, the last one repeated to fill a product tile."""
        flat = channel * self.stride + shift
        return np.append(flat, np.repeat(flat[-1:], -flat.size % PRODUCTS))


def scratch(slot: int, rows: int, target: int, dtype: Any, zeros: int = 0) -> Scratch:
    """Choose how many samples the scratch holds: about `target` bytes for a channel.

    `zeros` elements follow the last sample of a channel, and as many as rounding up needs.  The
    stride from channel to channel is an odd number of vectors, so that the same pixel of many
    channels does not fall into one set of the cache.
    """
    itemsize = np.dtype(dtype).itemsize
    lanes = VECTOR_BYTES // itemsize
    group = max(1, min(rows, target // (slot * itemsize)))
    vectors = -(-(group * slot + zeros) // lanes) + VECTORS
    return Scratch(lanes, group, (vectors + 1 - vectors % 2) * lanes)


def forward_pass(
    image: tuple[int, int, int],
    output: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Pass:
    """Return the pass of the convolution itself; its taps are in the order of the weights."""
    channels, height, width = image
    (sh, sw), (ph, pw) = stride, padding
    # With stride 1 the zeros behind an image are the zeros before the next one.
    rows = height + ph if sh == 1 else -(-(height + 2 * ph) // sh)
    columns = width + pw if sw == 1 else -(-(width + 2 * pw) // sw)
    c, i, j = (index.ravel() for index in np.indices((channels, *kernel)))
    return Pass(
        channel=(c * sh + i % sh) * sw + j % sw,
        shift=i // sh * columns + j // sw,
        placing=(channels, height, width, ph, pw, sh, sw, rows, columns),
        taking=(*output[1:], 0, 0, 1, 1, *output[1:], columns),
        slot=rows * columns,
        length=(output[1] - 1) * columns + output[2],
        zeros=ph * columns + pw,
    )


def _span(size: int, outputs: int, taps: int, stride: int, padding: int) -> tuple[int, ...]:
    """Return (first, count, before, total) of one axis of the transposed map.

    `first` and `count` tell which positions of a phase of the padded input belong to the image,
    `before` is the number of zeros in front of the outputs, `total` the padded length: those
    behind the outputs are the ones in front of the next row or image, if there are enough.
    """
    shifts = -(-taps // stride)
    first, last = padding // stride, (size - 1 + padding) // stride
    before = max(0, shifts - 1 - first)
    behind = max(0, last + 1 - outputs)
    return first, last - first + 1, before, before + outputs + (behind if behind > before else 0)


def adjoint_passes(
    image: tuple[int, int, int],
    output: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> list[tuple[int, int, Pass]]:
    """Return the passes of the transposed map, one for every phase of the input that has taps.

    Every entry is (row phase a, column phase b, pass).  Row r of phase a, input row
    ``r * sh + a - ph``, is the sum over the tap rows ``q * sh + a`` of output row ``r - q``; the
    taps of a pass are in the order of the weights ``[:, :, a::sh, b::sw]``, output channel first.
    """
    (_, height, width), (channels, n_rows, n_columns) = image, output
    (sh, sw), (ph, pw) = stride, padding
    row0, rows, top, total_rows = _span(height, n_rows, kernel[0], sh, ph)
    column0, columns, left, total_columns = _span(width, n_columns, kernel[1], sw, pw)
    passes = []
    for a in range(min(sh, kernel[0])):
        for b in range(min(sw, kernel[1])):
            taps = -(-(kernel[0] - a) // sh), -(-(kernel[1] - b) // sw)
            c, q, r = (index.ravel() for index in np.indices((channels, *taps)))
            place = (channels, n_rows, n_columns, top, left, 1, 1, total_rows, total_columns)
            take = (height, width, row0 * sh + a - ph, column0 * sw + b - pw, sh, sw)
            phase = Pass(
                channel=c,
                shift=(row0 - q + top) * total_columns + column0 - r + left,
                placing=place,
                taking=(*take, rows, columns, total_columns),
                slot=total_rows * total_columns,
                length=(rows - 1) * total_columns + columns,
                zeros=top * total_columns + left,
            )
            passes.append((a, b, phase))
    return passes
