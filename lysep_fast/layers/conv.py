"""Convolution as a linear map, with its least-squares sums formed without a patch matrix."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from ..kernels.channels import add_bias_channels, channel_sums, column_sums
from ..kernels.conv import convolve_rows, correlate_rows
from .conv_geometry import Pass, adjoint_passes, forward_pass, scratch
from .conv_gram import has_lag_gram, lag_gram_into, patch_gram_into

__all__ = ["CONVOLUTION_NORMS", "Convolution"]

CONVOLUTION_NORMS = ("frobenius", "patch", "spectral")

# Bytes of a channel in the scratch images: small enough for the cache, and enough samples at once
# that a pass over small images is long.
_CONVOLVE_BYTES, _CORRELATE_BYTES = 4096, 8192


class Convolution:
    """Convolution of images, ``U = C S``, as the deep-learning libraries define it.

    A sample is one row: an image with its channels one after another, each in C order.  The map
    holds no weights: they are passed in as a matrix of shape ``weight_shape`` whose columns run
    over input channel, kernel row, kernel column.  With the *patch matrix* M of a sample, the row
    of which holds what the kernel sees at one position, the output is ``W M'``.  All array
    arguments are C-contiguous, of one dtype, and blocks of samples where they have rows.

    Parameters
    ----------
    image_shape : tuple of 3 int
        Channels, height and width of the input.
    n_channels : int
        Channels of the output.
    kernel_size : int or tuple of 2 int
        Height and width of the kernel.
    stride : int or tuple of 2 int
        Rows and columns from one position of the kernel to the next.
    padding : int, tuple of 2 int, or "same"
        Zero rows and columns on each side; "same" keeps the image size (odd kernel, stride 1).

    Attributes
    ----------
    output_shape : tuple of 3 int
        Channels, height and width of the output.
    n_inputs, n_outputs, n_positions, n_biases : int
        Columns of input and output, positions of the kernel, channels of the output.
    weight_shape : tuple of 2 int
        ``(n_channels, channels * kernel height * kernel width)``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not a positive integer or the kernel does not fit into the image.
    """

    is_matrix, has_gram, has_closed_form = False, True, True
    #: A row of W is used at every position of the image.
    shares_weights = True

    def __init__(
        self,
        image_shape: Sequence[int],
        n_channels: int,
        kernel_size: int | Sequence[int] = 3,
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
    ) -> None:
        c_in, *size = _integers("image_shape", image_shape, 3, 1)
        self.image_shape = (c_in, size[0], size[1])
        (channels,) = _integers("n_channels", (n_channels,), 1, 1)
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        if isinstance(padding, str):
            padding = self._same_padding(padding)
        self.padding = _pair("padding", padding, 0)
        height, width = (
            (size + 2 * zeros - taps) // step + 1
            for size, taps, step, zeros in zip(
                self.image_shape[1:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        if height < 1 or width < 1:
            raise ValueError(
                f"kernel_size={self.kernel_size} does not fit into image_shape={self.image_shape} "
                f"with padding={self.padding}: use a smaller kernel or more padding"
            )
        self.output_shape = (channels, height, width)
        self.n_positions = height * width
        self.n_inputs = int(np.prod(self.image_shape))
        self.n_outputs = channels * self.n_positions
        self.n_biases = channels
        self.weight_shape = (channels, self.image_shape[0] * int(np.prod(self.kernel_size)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, channels first."""
        return self.image_shape

    def _same_padding(self, word: str) -> tuple[int, ...]:
        """Return the padding that keeps the image size."""
        if word != "same":
            raise ValueError(f'padding must be an integer, two integers or "same", got {word!r}')
        if self.stride != (1, 1) or not all(taps % 2 for taps in self.kernel_size):
            raise ValueError(
                f'padding="same" needs stride 1 and an odd kernel, got stride={self.stride} and '
                f"kernel_size={self.kernel_size}: give the padding as a number"
            )
        return tuple(taps // 2 for taps in self.kernel_size)

    @functools.cached_property
    def _forward(self) -> Pass:
        return forward_pass(
            self.image_shape, self.output_shape, self.kernel_size, self.stride, self.padding
        )

    @functools.cached_property
    def _adjoint(self) -> list[tuple[int, int, Pass]]:
        return adjoint_passes(
            self.image_shape, self.output_shape, self.kernel_size, self.stride, self.padding
        )

    def apply(self, S: np.ndarray, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Convolve `S`, ``(rows, n_inputs)``, into `out`, ``(rows, n_outputs)``."""
        _run(self._forward, S, W, out)
        return out

    def adjoint(self, G: np.ndarray, W: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Apply the transposed map to `G`, ``(rows, n_outputs)``, into ``(rows, n_inputs)``."""
        (sh, sw), (kh, kw) = self.stride, self.kernel_size
        kernel = W.reshape(self.output_shape[0], self.image_shape[0], kh, kw).transpose(1, 0, 2, 3)
        if sh > kh or sw > kw:
            out[...] = 0  # there are pixels that no tap sees
        for a, b, phase in self._adjoint:
            _run(phase, G, kernel[:, :, a::sh, b::sw].reshape(self.image_shape[0], -1), out)
        return out

    def correlation(self, T: np.ndarray, S: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute the gradient of ``<T, apply(S, W)>`` in W into `out`, of the shape of W.

        This is the right-hand side ``M'v`` of the kernel's normal equations, equation (4.6).

        Parameters
        ----------
        T : ndarray, shape (rows, n_outputs)
        S : ndarray, shape (rows, n_inputs)
        """
        layout = self._forward
        channels, height, width = self.output_shape
        size = scratch(layout.slot, len(S), _CORRELATE_BYTES, S.dtype, layout.zeros)
        columns = layout.placing[-1]
        steps = -(-layout.length // size.lanes)
        slot_T = steps * size.lanes
        stride_T = size.group * slot_T + size.lanes
        offsets = size.offsets(layout.channel, layout.shift)
        total = np.zeros((channels, offsets.size))
        correlate_rows(
            T,
            S,
            offsets,
            (channels, height, width, 0, 0, 1, 1, height, columns),
            layout.placing,
            size.group,
            slot_T,
            layout.slot,
            stride_T,
            size.stride,
            steps,
            np.zeros(channels * stride_T, S.dtype),
            np.zeros(layout.n_images * size.stride, S.dtype),
            total,
        )
        out[...] = total[:, : self.weight_shape[1]]
        return out

    def gram(self, S: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Compute ``M'M`` of all patches of `S`, ``(rows, n_inputs)``, into `out`.

        The matrix of the kernel's normal equations, equation (4.6), one row and column for every
        tap.  For stride 1 it comes from lag products of the images (see
        ``kernels/patch_gram.py``), else from the patches of a few samples at a time.  Sums run
        in float64 over samples.  Cost grows with the square of the channels; give many rows at
        once, since a part of it is paid per call.
        """
        if has_lag_gram(self):
            lag_gram_into(self, S, out)
        else:
            patch_gram_into(self, S, out)
        return out

    def patch_sum(self, S: np.ndarray) -> np.ndarray:
        """Return the column sums of all patches of `S`, float64 of shape (taps,)."""
        total = np.zeros(self.n_inputs)
        column_sums(S, total)
        return self.patch_matrix(total[None]).sum(axis=0)

    def patch_matrix(self, S: np.ndarray) -> np.ndarray:
        """Return all patches of `S` as an explicit matrix, ``(rows * n_positions, taps)``."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.stride, self.padding
        images = S.reshape(-1, *self.image_shape)
        images = np.pad(images, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        windows = np.lib.stride_tricks.sliding_window_view(images, (kh, kw), axis=(2, 3))
        windows = windows[:, :, ::sh, ::sw].transpose(0, 2, 3, 1, 4, 5)
        return windows.reshape(len(images) * self.n_positions, self.weight_shape[1])

    def add_bias(self, Z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Add ``b[c]`` to every position of channel c of `Z`, ``(rows, n_outputs)``, in place."""
        add_bias_channels(Z, b)
        return Z

    def bias_sum(self, G: np.ndarray) -> np.ndarray:
        """Return the sums of `G`, ``(rows, n_outputs)``, by channel, in float64: the adjoint."""
        total = np.zeros(self.n_biases)
        channel_sums(G, total)
        return total

    def norm_diagonal(self, kind: str) -> np.ndarray:
        """Return D, one number for every tap, with ``squared_norm(W) = sum(W^2 D)``.

        For "frobenius" the number of positions at which the tap sees the image and not the zeros
        around it, for "patch" the bound ``ceil(kh/sh) ceil(kw/sw)`` of the number of patches
        that see one pixel.
        """
        taps = self.weight_shape[1]
        if kind == "patch":
            return np.full(taps, float(self._patches_of_a_pixel))
        if kind != "frobenius":
            raise ValueError(f"norm must be frobenius or patch to be a diagonal, got {kind!r}")
        counts = []
        for axis in (0, 1):
            starts = np.arange(self.output_shape[1 + axis]) * self.stride[axis]
            seen = starts[:, None] + np.arange(self.kernel_size[axis]) - self.padding[axis]
            counts.append(np.sum((seen >= 0) & (seen < self.image_shape[1 + axis]), axis=0))
        return np.tile(np.outer(*counts).ravel().astype(float), self.image_shape[0])

    @property
    def _patches_of_a_pixel(self) -> int:
        (kh, kw), (sh, sw) = self.kernel_size, self.stride
        return -(-kh // sh) * -(-kw // sw)

    def squared_norm(self, W: np.ndarray, kind: str) -> float:
        """Return a squared norm of the sparse matrix C of the map, accumulated in float64.

        "frobenius" is exact.  "patch" and "spectral" bound the squared operator norm by the
        squared Frobenius and spectral norm of the small matrix W, times the number of patches
        that see one pixel.
        """
        if kind == "spectral":
            values = scipy.linalg.svdvals(W.astype(np.float64, copy=False), check_finite=False)
            return self._patches_of_a_pixel * float(values[0]) ** 2
        if kind not in CONVOLUTION_NORMS:
            raise ValueError(f"norm must be one of {CONVOLUTION_NORMS}, got {kind!r}")
        return float(np.sum(np.square(W, dtype=np.float64) * self.norm_diagonal(kind)))

    def initial_scale(self) -> float:
        """Return ``1/sqrt(fan_in)``, the customary scale of random initial weights."""
        return float(self.weight_shape[1]) ** -0.5

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.image_shape, self.output_shape, self.kernel_size, self.stride, self.padding

    def __repr__(self) -> str:
        return (
            f"Convolution({self.image_shape}, {self.output_shape[0]}, {self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding})"
        )

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Convolution) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _run(layout: Pass, S: np.ndarray, K: np.ndarray, out: np.ndarray) -> None:
    """Run one pass of the convolution kernel over a block of samples."""
    K = np.ascontiguousarray(K)
    size = scratch(layout.slot, len(S), _CONVOLVE_BYTES, S.dtype, layout.zeros)
    channels = min(4, len(K))
    convolve_rows(
        S,
        K,
        layout.channel * size.stride + layout.shift,
        layout.placing,
        layout.taking,
        size.group,
        layout.slot,
        size.stride,
        layout.length,
        size.lanes,
        np.zeros(layout.n_images * size.stride, S.dtype),
        size.stride,
        np.empty(channels * size.stride, S.dtype),
        np.empty(K.size, S.dtype),
        out,
    )


def _integers(name: str, value: Any, count: int, least: int) -> tuple[int, ...]:
    """Return value as a tuple of `count` integers; one integer stands for all of them."""
    given = (value,) * count if isinstance(value, (int, np.integer)) else value
    try:
        numbers = tuple(given)
    except TypeError:
        numbers = ()
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers)
    if len(numbers) != count or not whole:
        raise TypeError(f"{name} must be {count} integer(s), got {value!r}")
    if min(numbers) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return tuple(int(n) for n in numbers)


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    first, second = _integers(name, value, 2, least)
    return first, second
