"""Initial weights, among them forward normalisation: every hidden neuron gets a set spread."""

from __future__ import annotations

import numpy as np

from ..network import INITIALISATIONS, Layer, Network
from ..threads.team import Workspace

__all__ = ["INIT_CHOICES", "forward_normalisation", "initial_weights"]

INIT_CHOICES = (*INITIALISATIONS, "normalised", "normalised-small")

# Entries of the widest pre-activation that are held at once.
_MAX_ENTRIES = 1 << 22


def initial_weights(
    network: Network,
    X: np.ndarray,
    rng: np.random.Generator,
    scheme: str,
    sample_weight: np.ndarray | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw initial weights and biases; index 0 of the lists is an empty array.

    Parameters
    ----------
    network : Network
        The chain of layers.
    X : ndarray, shape (n, d)
        Inputs, used by the normalised schemes only.
    rng : numpy.random.Generator
        Source of randomness; advanced by the call.
    scheme : {"uniform", "orthogonal", "normalised", "normalised-small"}
        ``uniform`` in +-1/sqrt(fan_in); ``orthogonal`` with zero biases; ``normalised``:
        orthogonal, then hidden pre-activations of standard deviation 1 and means within +-1 up
        to depth 4, 0.8 for both beyond (in deep networks a large spread costs test accuracy);
        ``normalised-small``: the same with 0.3 and +-0.5, closer to a linear network.
    sample_weight : ndarray, shape (n,), optional
        Weights of the samples in the normalised schemes.
    """
    if not scheme.startswith("normalised"):
        return network.initial_weights(rng, X.dtype, scheme)
    W, b = network.initial_weights(rng, X.dtype, "orthogonal")
    if scheme.endswith("small"):
        spread, offset = 0.3, 0.5
    else:
        spread = offset = 1.0 if network.depth <= 4 else 0.8
    forward_normalisation(network, W, b, X, rng, sample_weight, spread=spread, offset=offset)
    return W, b


def forward_normalisation(
    network: Network,
    W: list[np.ndarray],
    b: list[np.ndarray],
    X: np.ndarray,
    rng: np.random.Generator,
    sample_weight: np.ndarray | None = None,
    *,
    spread: float,
    offset: float,
    max_samples: int = 4096,
) -> None:
    """Scale and shift the hidden layers' weights and biases in place, first layer first.

    Afterwards every hidden pre-activation (of a convolution: every channel, over samples and
    positions) has standard deviation `spread` over the samples used and a mean drawn uniformly
    from ``[-offset, offset]``.  The offset matters: an odd activation without biases makes an odd
    network.

    Parameters
    ----------
    network : Network
        The chain of layers.
    W, b : list of ndarray
        Initial weights and biases; index 0 unused.
    X : ndarray, shape (n, d)
        Inputs; at most `max_samples` of them, drawn without replacement, are used.
    rng : numpy.random.Generator
        Source of the sample and the offsets.
    sample_weight : ndarray, shape (n,), optional
        Weights of the samples in means and standard deviations.
    spread, offset : float
        See above.
    """
    max_samples = min(max_samples, max(256, _MAX_ENTRIES // max(network.widths[1:])))
    if len(X) > max_samples:
        chosen = np.sort(rng.choice(len(X), max_samples, replace=False))
        X, sample_weight = X[chosen], None if sample_weight is None else sample_weight[chosen]
    if sample_weight is None:
        share = np.full(len(X), 1.0 / len(X))
    else:
        share = sample_weight / np.sum(sample_weight, dtype=np.float64)
    S, ws = X, Workspace()
    for l in range(1, network.depth):
        layer = network.layer(l)
        Z = np.empty((len(S), layer.n_outputs), X.dtype)
        layer.apply(S, W[l], Z)
        mean = _over_positions(share @ Z, layer)
        spare = np.square(Z - np.repeat(mean, layer.n_positions))
        deviation = np.sqrt(_over_positions(share @ spare, layer))
        # A neuron that does not vary over the data keeps its weights: only its mean is set.
        scale = np.where(deviation > 1e-12, spread / np.maximum(deviation, 1e-12), 1.0)
        shift = rng.uniform(-offset, offset, len(mean)) - scale * mean
        W[l] *= scale[:, None].astype(X.dtype)
        b[l][:] = shift
        Z *= np.repeat(scale, layer.n_positions).astype(X.dtype)
        layer.add_bias(Z, b[l])
        S = network.feature(l, Z, ws, f"S {l % 2}")


def _over_positions(columns: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the means of the columns that share a row of the weights: channels of an image."""
    return columns.reshape(-1, layer.n_positions).mean(axis=1)
