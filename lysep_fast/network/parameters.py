"""All weights and biases as one flat vector with per-layer views."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from . import Network

__all__ = ["Packing", "Parameters", "dense_shapes"]


class Parameters:
    """A flat vector ``theta`` whose slices are ``[W_l, b_l]`` of every layer.

    Layer l occupies a contiguous matrix of the shape of its weights plus one column, weights
    first, bias last, so that the layer's gradient times an inverse Gram matrix of ``[S, 1]`` (of
    patches with a one, for a convolution) is one product.

    Parameters
    ----------
    network : Network
        Gives the shapes.
    theta : ndarray, shape (size,)
        The vector; the views share its memory.
    """

    def __init__(self, network: Network, theta: np.ndarray) -> None:
        self.network = network
        self.theta = theta
        self.layers = [theta[:0].reshape(0, 0)]
        offset = 0
        for layer in network.layers:
            rows, columns = layer.weight_shape
            shape = (rows, columns + 1)
            size = shape[0] * shape[1]
            self.layers.append(theta[offset : offset + size].reshape(shape))
            offset += size

    @staticmethod
    def size(network: Network) -> int:
        """Return the length of the vector."""
        shapes = [layer.weight_shape for layer in network.layers]
        return sum(rows * (columns + 1) for rows, columns in shapes)

    @classmethod
    def pack(
        cls, network: Network, W: Sequence[np.ndarray], b: Sequence[np.ndarray]
    ) -> Parameters:
        """Copy weights and biases (index 0 unused) into a new vector."""
        made = cls(network, np.empty(cls.size(network), W[1].dtype))
        for l in range(1, network.depth + 1):
            made.layers[l][:, :-1] = W[l]
            made.layers[l][:, -1] = b[l]
        return made

    def unpack(self, W: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> None:
        """Copy the vector into contiguous weights and biases, in place."""
        for l in range(1, self.network.depth + 1):
            W[l][...] = self.layers[l][:, :-1]
            b[l][...] = self.layers[l][:, -1]

    def like(self) -> Parameters:
        """Return an uninitialised vector of the same shape and dtype."""
        return Parameters(self.network, np.empty_like(self.theta))


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
