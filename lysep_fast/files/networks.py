"""The architecture of a network as a header, and its weights as arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..container.archive import Expected
from ..container.fields import choice, field, integer, integers
from ..features import Activation, PooledActivation
from ..kernels.activation import ACTIVATION_CODES
from ..layers import Convolution, Dense
from ..network import Feature, Layer, Network

__all__ = [
    "check_finite",
    "expected_weights",
    "pack_network",
    "pack_weights",
    "unpack_network",
    "unpack_weights",
]

_DTYPES = ("<f4", "<f8")
_LAYERS = 10_000
_PIXELS = 1 << 53


def pack_network(network: Network) -> dict[str, Any]:
    """Return a header from which `unpack_network` builds the same network."""
    return {
        "layers": [_pack_layer(layer) for layer in network.layers],
        "features": [_pack_feature(feature) for feature in network.features],
        "output_bias": bool(network.output_bias),
    }


def unpack_network(header: Any) -> Network:
    """Return the network of a header whose parts fit together."""
    layers = tuple(_unpack_layer(part) for part in _parts(header, "layers"))
    features = tuple(_unpack_feature(part) for part in _parts(header, "features"))
    network = Network(layers, features, field(header, "output_bias", bool))
    if len(layers) != len(features) or features[0] != Activation("identity"):
        raise ValueError("its network does not have one activation between two layers each")
    for l, (below, above) in enumerate(itertools.pairwise(layers), start=1):
        feature, size = features[l], below.n_outputs
        if isinstance(feature, PooledActivation):
            if not isinstance(below, Convolution) or feature.image_shape != below.output_shape:
                raise ValueError(f"the pooling after layer {l} of its network does not fit")
            size = feature.n_outputs
        if size != above.n_inputs:
            raise ValueError(f"layers {l} and {l + 1} of its network do not fit together")
    return network


def pack_weights(
    network: Network, W: list[np.ndarray], b: list[np.ndarray]
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the weights' dtype, and weights and biases by name.

    Raises
    ------
    ValueError
        If they are not those of the network, or not finite.
    """
    dtype = np.dtype(W[1].dtype).newbyteorder("<").str
    expected = expected_weights(network, dtype)
    arrays: dict[str, np.ndarray] = {}
    for l in range(1, network.depth + 1):
        arrays |= {f"W_{l}": W[l], f"b_{l}": b[l]}
    for name, (shape, kind) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != kind:
            raise ValueError(
                f"{name} has shape {arrays[name].shape} and dtype {arrays[name].dtype}, but the "
                f"network needs {shape} and {kind}; nothing was saved"
            )
    check_finite(arrays)
    return dtype, arrays


def expected_weights(network: Network, dtype: str) -> Expected:
    """Return shapes and dtypes of a network's weights and biases by name."""
    if dtype not in _DTYPES:
        raise ValueError(f"weights are float32 or float64, not {dtype!r:.20}")
    kind = np.dtype(dtype)
    expected: dict[str, tuple[tuple[int, ...], Any]] = {}
    for l, layer in enumerate(network.layers, start=1):
        expected[f"W_{l}"] = (layer.weight_shape, kind)
        expected[f"b_{l}"] = (layer.weight_shape[:1], kind)
    return expected


def unpack_weights(
    network: Network, arrays: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases as lists with an empty array at index 0."""
    layers = range(1, network.depth + 1)
    check_finite({name: arrays[name] for name in expected_weights(network, "<f8")})
    dtype = arrays["W_1"].dtype
    W = [np.empty((0, 0), dtype), *(arrays[f"W_{l}"] for l in layers)]
    b = [np.empty(0, dtype), *(arrays[f"b_{l}"] for l in layers)]
    return W, b


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise if a weight is NaN or infinite: a model that was trained here has none."""
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} holds NaN or infinity, which no model file may")


def _parts(header: Any, name: str) -> list[Any]:
    parts: list[Any] = field(header, name, list)
    if not 1 <= len(parts) <= _LAYERS:
        raise ValueError(f"its network has {len(parts)} {name}; 1 to {_LAYERS} can be read")
    return parts


def _pack_layer(layer: Layer) -> dict[str, Any]:
    if type(layer) is Dense:
        return {"kind": "dense", "n_inputs": layer.n_inputs, "n_outputs": layer.n_outputs}
    if type(layer) is Convolution:
        return {
            "kind": "convolution",
            "image_shape": list(layer.image_shape),
            "n_channels": layer.n_biases,
            "kernel_size": list(layer.kernel_size),
            "stride": list(layer.stride),
            "padding": list(layer.padding),
        }
    raise TypeError(f"model files know Dense and Convolution, not {layer!r}")


def _unpack_layer(header: Any) -> Layer:
    if choice(header, "kind", ("dense", "convolution")) == "dense":
        return Dense(integer(header, "n_inputs", 1), integer(header, "n_outputs", 1))
    return Convolution(
        _image_shape(header),
        integer(header, "n_channels", 1),
        integers(header, "kernel_size", 2),
        stride=integers(header, "stride", 2),
        padding=integers(header, "padding", 2, minimum=0),
    )


def _pack_feature(feature: Feature) -> dict[str, Any]:
    if type(feature) is Activation:
        return {"kind": "activation", "name": feature.name}
    if type(feature) is PooledActivation:
        return {
            "kind": "pooled-activation",
            "name": feature.name,
            "image_shape": list(feature.image_shape),
            "pool_size": list(feature.pool_size),
        }
    raise TypeError(f"model files know Activation and PooledActivation, not {feature!r}")


def _unpack_feature(header: Any) -> Feature:
    name = choice(header, "name", tuple(ACTIVATION_CODES))
    if choice(header, "kind", ("activation", "pooled-activation")) == "activation":
        return Activation(name)
    return PooledActivation(name, _image_shape(header), integers(header, "pool_size", 2))


def _image_shape(header: Any) -> list[int]:
    """Return channels, height and width whose product is a number of columns."""
    shape = integers(header, "image_shape", 3)
    if math.prod(shape) > _PIXELS:
        raise ValueError(f"its header has images of shape {shape}")
    return shape
