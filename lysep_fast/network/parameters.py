"""All weights and biases as one flat vector with a matrix ``[W_l, b_l]`` per layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from .chain import Network

__all__ = ["Packing", "Parameters", "dense_shapes", "parameter_shapes"]


def parameter_shapes(network: Network) -> list[tuple[int, int]]:
    """Return the shapes of ``[W_l, b_l]``, l = 1..L."""
    return [(rows, columns + 1) for rows, columns in (l.weight_shape for l in network.layers)]


class Parameters:
    """A flat vector ``theta`` whose slices are ``[W_l, b_l]`` of every layer.

    Layer l occupies a contiguous matrix of the shape of its weights plus one column, weights
    first, bias last, so that the layer's gradient times an inverse Gram matrix of ``[S, 1]`` (of
    patches with a one, for a convolution) is one product.  A matrix may have rows below those of
    the weights, which stay as they are (see `lysep_fast.passes.batch`).

    Parameters
    ----------
    theta : ndarray, shape (size,)
        The vector; the views share its memory.
    shapes : sequence of pairs of int
        Shapes of the matrices.

    Attributes
    ----------
    layers : list of ndarray
        The matrices; index 0 is empty.
    """

    def __init__(self, theta: np.ndarray, shapes: Sequence[tuple[int, int]]) -> None:
        self.theta, self.shapes = theta, shapes
        self.layers = [theta[:0].reshape(0, 0), *Packing(shapes).views(theta)]

    @classmethod
    def zeros(cls, shapes: Sequence[tuple[int, int]], dtype: np.dtype) -> Parameters:
        """Return a new vector of zeros."""
        return cls(np.zeros(Packing(shapes).size, dtype), shapes)

    @classmethod
    def pack(
        cls,
        shapes: Sequence[tuple[int, int]],
        W: Sequence[np.ndarray],
        b: Sequence[np.ndarray],
    ) -> Parameters:
        """Copy weights and biases (index 0 unused) into a new vector."""
        made = cls.zeros(shapes, W[1].dtype)
        for own, w, v in zip(made.layers[1:], W[1:], b[1:], strict=True):
            own[: len(w), :-1] = w
            own[: len(w), -1] = v
        return made

    def unpack(self, W: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> None:
        """Copy the vector into contiguous weights and biases, in place."""
        for own, w, v in zip(self.layers[1:], W[1:], b[1:], strict=True):
            w[...] = own[: len(w), :-1]
            v[...] = own[: len(w), -1]

    def like(self, theta: np.ndarray) -> Parameters:
        """Return another vector with the same matrices."""
        return Parameters(theta, self.shapes)


class Packing:
    """Shapes of arrays that lie one after the other in one flat vector.

    Which arrays these are is the owner's affair: matrices ``[W_l, b_l]`` keep what belongs to a
    neuron together, weights and biases one after the other leave both contiguous.

    Parameters
    ----------
    shapes : iterable of tuple of int
        Shapes of the arrays in their order.

    Attributes
    ----------
    size : int
        Length of the vector.
    """

    def __init__(self, shapes: Iterable[tuple[int, ...]]) -> None:
        self.shapes = tuple(shapes)
        self._sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self._sizes)

    def views(self, theta: np.ndarray) -> list[np.ndarray]:
        """Return the arrays in the memory of `theta`, shape (size,)."""
        made, start = [], 0
        for shape, size in zip(self.shapes, self._sizes, strict=True):
            made.append(theta[start : start + size].reshape(shape))
            start += size
        return made


def dense_shapes(widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the shapes of ``W_1, b_1, W_2, ...`` of dense layers between the given widths."""
    return [shape for k, m in itertools.pairwise(widths) for shape in ((m, k), (m,))]
