"""Initial weights, among them forward normalisation: every hidden neuron gets a set spread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..network import INITIALISATIONS, Layer, Network
from ..network.walk import Walk
from ..samples.kinds import Samples
from ..threads.blocks import Blocks, sample_blocks
from ..threads.team import ALONE, Team, Workspace

__all__ = ["INIT_CHOICES", "forward_normalisation", "initial_weights"]

INIT_CHOICES = (*INITIALISATIONS, "normalised", "normalised-small", "normalised-wide")

# Entries of the widest pre-activation that are held at once.
_MAX_ENTRIES = 1 << 22


def initial_weights(
    network: Network,
    samples: Samples,
    rng: np.random.Generator,
    scheme: str,
    sample_weight: np.ndarray | None = None,
    *,
    team: Team = ALONE,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw initial weights and biases; index 0 of the lists is an empty array.

    Parameters
    ----------
    network : Network
        The chain of layers.
    samples : Samples
        Inputs, used by the normalised schemes only.
    rng : numpy.random.Generator
        Source of randomness; advanced by the call.
    scheme : {"uniform", "orthogonal", "normalised", "normalised-small", "normalised-wide"}
        ``uniform`` in +-1/sqrt(fan_in); ``orthogonal`` with zero biases; ``normalised``:
        orthogonal, then hidden pre-activations of standard deviation 1 and means within +-1 up
        to depth 4, 0.8 for both beyond (in deep networks a large spread costs test accuracy);
        ``normalised-small``: the same with 0.3 and +-0.5, closer to a linear network;
        ``normalised-wide``: with 8 and +-16 in the first layer, for targets that go up and down
        many times over the data, the others as in ``normalised``.
    sample_weight : ndarray, shape (n,), optional
        Weights of the samples in the normalised schemes.
    team : Team
        Threads, those of the caller by default.
    """
    if not scheme.startswith("normalised"):
        return network.initial_weights(rng, samples.dtype, scheme)
    W, b = network.initial_weights(rng, samples.dtype, "orthogonal")
    usual = 1.0 if network.depth <= 4 else 0.8
    spread, offset = (0.3, 0.5) if scheme.endswith("small") else (usual, usual)
    first = (8.0, 16.0) if scheme.endswith("wide") else None
    forward_normalisation(
        network,
        W,
        b,
        samples,
        rng,
        sample_weight,
        spread=spread,
        offset=offset,
        first=first,
        team=team,
    )
    return W, b


def forward_normalisation(
    network: Network,
    W: list[np.ndarray],
    b: list[np.ndarray],
    samples: Samples,
    rng: np.random.Generator,
    sample_weight: np.ndarray | None = None,
    *,
    spread: float,
    offset: float,
    first: tuple[float, float] | None = None,
    max_samples: int = 4096,
    team: Team = ALONE,
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
    samples : Samples
        Inputs; at most `max_samples` of them, drawn without replacement, are used.
    rng : numpy.random.Generator
        Source of the sample and the offsets.
    sample_weight : ndarray, shape (n,), optional
        Weights of the samples in means and standard deviations.
    spread, offset : float
        See above.
    first : tuple of two float, optional
        The same for layer 1, where it differs.
    """
    max_samples = min(max_samples, max(256, _MAX_ENTRIES // max(network.widths[1:])))
    if len(samples) > max_samples:
        chosen = np.sort(rng.choice(len(samples), max_samples, replace=False))
        samples = samples.take(chosen)
        sample_weight = None if sample_weight is None else sample_weight[chosen]
    if sample_weight is None:
        share = np.full(len(samples), 1.0 / len(samples))
    else:
        share = sample_weight / team.total(sample_weight)
    walk = _Normalising(network, W, b, Workspace())
    walk.share, walk.rng = share, rng
    walk.sizes = [first or (spread, offset), *[(spread, offset)] * (network.depth - 1)]
    walk.team, walk.blocks = team, sample_blocks(len(samples), max(network.widths[1:]), 8)
    if network.depth > 1:
        walk.forward(
            samples.seen_by(network.layer(1), slice(0, len(samples)), walk.ws), network.depth - 1
        )


class _Normalising(Walk):
    """A walk that scales and shifts every layer's outputs, and its weights and bias with them."""

    team: Team
    blocks: Blocks
    share: np.ndarray
    rng: np.random.Generator
    sizes: list[tuple[float, float]]

    def shift(self, l: int, Z: np.ndarray) -> None:
        layer, W, b = self.network.layer(l), self.W[l], self.b[l]
        spread, offset = self.sizes[l - 1]
        mean = _over_positions(self._mean(lambda rows: Z[rows]), layer)
        wide = np.repeat(mean, layer.n_positions)
        variance = self._mean(lambda rows: np.square(Z[rows] - wide))
        deviation = np.sqrt(_over_positions(variance, layer))
        # A neuron that does not vary over the data keeps its weights: only its mean is set.
        scale = np.where(deviation > 1e-12, spread / np.maximum(deviation, 1e-12), 1.0)
        W *= scale[:, None].astype(Z.dtype)
        b[:] = self.rng.uniform(-offset, offset, len(mean)) - scale * mean
        Z *= np.repeat(scale, layer.n_positions).astype(Z.dtype)
        layer.add_bias(Z, b)

    def _mean(self, values: Callable[[slice], np.ndarray]) -> np.ndarray:
        """Return the weighted mean over the samples of the rows that `values` gives."""

        def task(rows: slice, ws: Workspace) -> tuple[np.ndarray]:
            return (self.share[rows] @ values(rows),)

        mean: np.ndarray = self.team.sum(task, self.blocks)[0]
        return mean


def _over_positions(columns: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the means of the columns that share a row of the weights: channels of an image."""
    return columns.reshape(-1, layer.n_positions).mean(axis=1)
