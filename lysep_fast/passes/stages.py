"""One layer's share of a pass over a mini-batch: product, activation and their adjoints.

A stage keeps weights and bias in one matrix ``W~``.  A dense stage sees ``S~ = [S, 1]`` and
``W~ = [[W, b], [0, 0]]``: a layer is one product ``S~ W~'``, its gradient one product
``delta' S~``, its Gram matrix ``S~' S~``.  The zero row of hidden layers makes room for the column
of ones; it never moves, because delta is zero there.  A layer without a bias sees a column of
zeros instead.  A convolution has ``W~ = [W, b]`` and sees plain images; its Gram matrix is that of
the patches with a one, over samples and positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.batch import gather_into
from ..layers import Convolution, Dense
from ..network import Feature, Network

__all__ = ["ConvolutionStage", "DenseStage", "Stage", "make_stages", "stage_shapes"]


class DenseStage:
    """A fully connected layer on up to `rows` samples; see the top of the file."""

    def __init__(self, network: Network, l: int, rows: int, dtype: Any) -> None:
        self.one = float(network.has_bias(l))
        self.shape = stage_shapes(network)[l - 1]
        self.S = np.empty((rows, self.shape[1]), dtype)
        self.Z = np.empty((rows, self.shape[0]), dtype)
        self.D = np.empty((rows, self.shape[0]), dtype)

    def gather(self, X: np.ndarray, index: np.ndarray) -> None:
        """Take the rows ``X[index]`` as features."""
        gather_into(X, index, self.S[: len(index)], self.one)

    def product(self, W: np.ndarray, count: int) -> np.ndarray:
        """Return ``S~ W~'`` of the first `count` samples."""
        return np.dot(self.S[:count], W.T, out=self.Z[:count])

    def gradient(self, delta: np.ndarray, out: np.ndarray) -> None:
        """Write ``delta' S~`` to `out`."""
        np.dot(delta.T, self.S[: len(delta)], out=out)

    def gram(self, count: int, weight: np.ndarray | None, out: np.ndarray) -> None:
        """Write ``S~' diag(c) S~`` to `out`."""
        S = self.S[:count]
        np.dot(S.T, S if weight is None else S * weight[:, None], out=out)

    def activate(self, feature: Feature, above: Stage, count: int) -> None:
        """Hand the features of ``Z`` to the stage above and keep their derivative."""
        assert isinstance(above, DenseStage)  # a convolution sees images
        S, D = above.S[:count], self.D[:count]
        feature.forward_with_derivative(self.Z[:count], S, D)
        S[:, -1] = above.one
        D[:, -1] = 0.0

    def back(self, feature: Feature, above: Stage, delta: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return delta of this layer from `delta` and the weights `W` of the stage above."""
        own = np.dot(delta, W, out=self.Z[: len(delta)])
        own *= self.D[: len(delta)]
        return own


class ConvolutionStage:
    """A convolution on up to `rows` samples; see the top of the file."""

    def __init__(self, network: Network, l: int, rows: int, dtype: Any) -> None:
        layer = network.layer(l)
        assert isinstance(layer, Convolution)
        self.layer = layer
        self.has_bias = network.has_bias(l)
        m, p = layer.weight_shape
        self.shape = (m, p + 1)
        self.S = np.empty((rows, layer.n_inputs), dtype)
        self.Z = np.empty((rows, layer.n_outputs), dtype)
        self.D = np.empty((rows, layer.n_outputs), dtype)
        # Features and their derivative on the way to the layer above and back.
        self.F = np.empty((rows, network.layer(l + 1).n_inputs), dtype)
        self.small = np.empty((m, p), dtype)
        self.square = np.empty((p, p), dtype)

    def gather(self, X: np.ndarray, index: np.ndarray) -> None:
        """Take the rows ``X[index]`` as images."""
        np.take(X, index, axis=0, out=self.S[: len(index)], mode="clip")

    def product(self, W: np.ndarray, count: int) -> np.ndarray:
        """Return the convolutions of the first `count` images, biases added."""
        self.small[...] = W[:, :-1]
        Z = self.layer.apply(self.S[:count], self.small, self.Z[:count])
        return self.layer.add_bias(Z, np.ascontiguousarray(W[:, -1]))

    def gradient(self, delta: np.ndarray, out: np.ndarray) -> None:
        """Write the gradients of kernels and biases to `out`."""
        out[:, :-1] = self.layer.correlation(delta, self.S[: len(delta)], self.small)
        out[:, -1] = self.layer.bias_sum(delta) if self.has_bias else 0.0

    def gram(self, count: int, weight: np.ndarray | None, out: np.ndarray) -> None:
        """Write the weighted Gram matrix of patches with a one to `out`."""
        S, total = self.S[:count], float(count)
        rooted = S
        if weight is not None:
            total = float(np.sum(weight, dtype=np.float64))
            S, rooted = S * weight[:, None], S * np.sqrt(weight)[:, None]
        out[:-1, :-1] = self.layer.gram(rooted, self.square)
        # Sums over patches are linear in the images: one image, their sum, will do.
        sums = self.layer.patch_sum(S.sum(axis=0, keepdims=True)) if self.has_bias else 0.0
        out[:-1, -1] = out[-1, :-1] = sums
        out[-1, -1] = total * self.layer.n_positions

    def activate(self, feature: Feature, above: Stage, count: int) -> None:
        """Hand the features of ``Z`` to the stage above and keep their derivative."""
        Z, D = self.Z[:count], self.D[:count]
        if isinstance(above, ConvolutionStage):
            feature.forward_with_derivative(Z, above.S[:count], D)
            return
        F, S = self.F[:count], above.S[:count]
        feature.forward_with_derivative(Z, F, D)
        S[:, :-1] = F
        S[:, -1] = above.one

    def back(self, feature: Feature, above: Stage, delta: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Return delta of this layer from `delta` and the weights `W` of the stage above."""
        count, F = len(delta), self.F[: len(delta)]
        if isinstance(above, ConvolutionStage):
            above.small[...] = W[:, :-1]
            above.layer.adjoint(delta, above.small, F)
        else:
            F[...] = np.dot(delta, W, out=above.S[:count])[:, :-1]  # its features are used up
        return feature.pull_back(F, self.D[:count], self.Z[:count])


Stage = DenseStage | ConvolutionStage


def stage_shapes(network: Network) -> list[tuple[int, int]]:
    """Return the shapes of ``W~_1 .. W~_L``."""
    shapes = []
    for l, layer in enumerate(network.layers, 1):
        rows, columns = layer.weight_shape
        spare = isinstance(layer, Dense) and l < network.depth
        shapes.append((rows + int(spare), columns + 1))
    return shapes


def make_stages(network: Network, rows: int, dtype: Any) -> list[Stage]:
    """Return the stages of layers 1..L for up to `rows` samples."""
    made: list[Stage] = []
    for l, layer in enumerate(network.layers, 1):
        kind = ConvolutionStage if isinstance(layer, Convolution) else DenseStage
        made.append(kind(network, l, rows, dtype))
    return made
