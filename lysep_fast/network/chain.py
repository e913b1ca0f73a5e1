"""The network as a chain of layers: its parts, its initial weights, its forward pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..features import Activation, PooledActivation
from ..layers import Convolution, Dense
from ..threads.team import Workspace

__all__ = ["INITIALISATIONS", "Feature", "Layer", "Network"]

Layer = Dense | Convolution
Feature = Activation | PooledActivation

INITIALISATIONS = ("uniform", "orthogonal")


@dataclass(frozen=True)
class Network:
    """A chain ``z_1 = x W_1' + b_1``, ``z_l = S_{l-1} W_l' + b_l``, logits ``z_L``.

    ``S_l = s(z_l)``, pooled after a convolution; for a convolution ``W_l`` is the matrix of its
    kernels, one row per output channel, and ``b_l`` has one entry per channel.  Layers count from
    1 to ``depth`` = L as in the papers; lists of per-layer arrays carry an empty array at index 0
    so that indices agree with the equations.

    Parameters
    ----------
    layers : tuple of Dense or Convolution
        The linear maps of layers 1..L.
    features : tuple of Activation or PooledActivation
        ``features[l]`` is what layer l+1 sees of ``A[l]``; ``features[0]`` belongs to the input.
    output_bias : bool
        Whether layer L has a bias (the paper's has none).

    Raises
    ------
    ValueError
        If the last layer is not a matrix.
    """

    layers: tuple[Layer, ...]
    features: tuple[Feature, ...]
    output_bias: bool = False

    def __post_init__(self) -> None:
        if not self.layers[-1].is_matrix:
            raise ValueError(
                f"the last layer has to be a matrix such as Dense, which the losses' blocks rely "
                f"on, got {self.layers[-1]!r}"
            )

    @classmethod
    def dense(
        cls,
        widths: Sequence[int],
        activation: str = "tanh",
        *,
        output_bias: bool = False,
    ) -> Network:
        """Build a fully connected network from the widths ``(d, m_1, ..., m_{L-1}, K)``."""
        layers = tuple(Dense(a, b) for a, b in itertools.pairwise(widths))
        hidden = Activation(activation)
        features = (Activation("identity"),) + (hidden,) * (len(layers) - 1)
        return cls(layers, features, output_bias)

    @classmethod
    def convolutional(
        cls,
        image_shape: tuple[int, int, int],
        conv_channels: Sequence[int],
        hidden_layer_sizes: Sequence[int],
        n_outputs: int,
        activation: str = "tanh",
        *,
        kernel_size: int | Sequence[int] = 3,
        padding: int | str = "same",
        pool_size: int | Sequence[int] = 2,
        output_bias: bool = False,
    ) -> Network:
        """Build convolution-pooling layers followed by fully connected ones.

        Parameters
        ----------
        image_shape : tuple of int
            ``(channels, height, width)`` of an input row.
        conv_channels : sequence of int
            Output channels of the convolutions, one entry each.
        hidden_layer_sizes : sequence of int
            Widths of the fully connected hidden layers.
        n_outputs : int
            Number of logits.
        activation : str
            Activation of all hidden layers.
        kernel_size, pool_size : int or sequence of int
            Edge of the square kernels and of the pooling windows, one for all convolutions or
            one each.  A window larger than its image is cut to it.
        padding : int or "same"
            Zeros around the images; ``"same"`` keeps their size.
        output_bias : bool
            Whether the output layer has a bias.

        Raises
        ------
        ValueError
            If a kernel does not fit into its image.
        """
        layers: list[Layer] = []
        features: list[Feature] = [Activation("identity")]
        kernels = _one_each(kernel_size, len(conv_channels), "kernel_size")
        pools = _one_each(pool_size, len(conv_channels), "pool_size")
        shape = image_shape
        for channels, kernel, pool in zip(conv_channels, kernels, pools, strict=True):
            conv = Convolution(shape, channels, kernel, padding=padding)
            layers.append(conv)
            _, height, width = conv.output_shape
            window = (min(pool, height), min(pool, width))
            pooled = PooledActivation(activation, conv.output_shape, window)
            features.append(pooled)
            shape = pooled.output_shape
        widths = (math.prod(shape), *hidden_layer_sizes, n_outputs)
        layers += [Dense(a, b) for a, b in itertools.pairwise(widths)]
        features += [Activation(activation)] * (len(layers) - len(features))
        return cls(tuple(layers), tuple(features), output_bias)

    @property
    def depth(self) -> int:
        """Number L of linear layers, the output layer included."""
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of columns ``(d, m_1, ..., m_{L-1}, K)`` of input, auxiliaries and logits."""
        return (self.layers[0].n_inputs, *(layer.n_outputs for layer in self.layers))

    @property
    def lipschitz(self) -> float:
        """Largest Lipschitz constant c of the hidden activations (1 without hidden layers)."""
        return max((f.lipschitz for f in self.features[1:]), default=1.0)

    def layer(self, l: int) -> Layer:
        """Return the linear map of layer `l`, 1 <= l <= depth."""
        return self.layers[l - 1]

    def feature(self, l: int, A: np.ndarray, workspace: Workspace, name: str = "S") -> np.ndarray:
        """Return the features that layer l+1 sees of a block of ``A_l``.

        They are in the workspace memory that belongs to `name`, except for an identity, which
        hands `A` through.
        """
        width = self.layers[l].n_inputs
        S = workspace.array(name, (len(A), width), A.dtype)
        return self.features[l].forward(A, S)

    def has_bias(self, l: int) -> bool:
        """Return whether layer `l` has a bias."""
        return l < self.depth or self.output_bias

    def initial_weights(
        self, rng: np.random.Generator, dtype: np.dtype, scheme: str = "uniform"
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Draw initial weights and biases.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness; advanced by the call.
        dtype : dtype
            float64 or float32.
        scheme : {"uniform", "orthogonal"}
            ``uniform``: weights and biases uniform in +-1/sqrt(fan_in), as torch's Linear draws
            them.  ``orthogonal``: weights with orthonormal rows or columns, biases zero.

        Returns
        -------
        W, b : list of ndarray
            Index 0 is an empty array.
        """
        W, b = [np.empty((0, 0), dtype)], [np.empty(0, dtype)]
        for l, layer in enumerate(self.layers, start=1):
            shape = layer.weight_shape
            if scheme == "orthogonal":
                tall = rng.standard_normal((max(shape), min(shape)))
                Q, T = np.linalg.qr(tall)
                Q *= np.where(np.diag(T) < 0, -1.0, 1.0)  # makes the draw uniform (Haar)
                W.append(np.ascontiguousarray(Q if shape[0] >= shape[1] else Q.T, dtype))
                b.append(np.zeros(shape[0], dtype))
            else:
                scale = layer.initial_scale()
                W.append(rng.uniform(-scale, scale, shape).astype(dtype, copy=False))
                b.append(rng.uniform(-scale, scale, shape[0]).astype(dtype, copy=False))
            if not self.has_bias(l):
                b[l][:] = 0.0
        return W, b


def _one_each(value: int | Sequence[int], count: int, name: str) -> list[int]:
    """Return `count` values: `value` repeated, or its entries if there are as many."""
    if isinstance(value, Sequence):
        if len(value) != count:
            raise ValueError(
                f"{name} must be one number or one for each of the {count} convolutions, got "
                f"{value!r}"
            )
        return [int(v) for v in value]
    return [int(value)] * count
