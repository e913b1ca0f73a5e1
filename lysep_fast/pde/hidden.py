"""The hidden layers: their weights in one flat vector, and their maps of all channels of jets."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from ..container.stateful import Stateful
from ..layers.dense import Dense
from ..network.parameters import Packing, dense_shapes

__all__ = ["Hidden"]


class Hidden(Stateful):
    """Weights and biases of the hidden layers as views of one flat vector.

    A layer maps every channel of a jet by the same weights; the bias belongs to the value alone.

    Parameters
    ----------
    widths : tuple of int
        ``(d, m_1, ..., m_H)``.
    theta : ndarray, shape (size,), optional
        The vector; new memory by default.

    Attributes
    ----------
    W, b : list of ndarray
        Views of shape (m_l, m_{l-1}) and (m_l,); index 0 is empty.
    """

    state_names = ("theta",)

    def __init__(self, widths: tuple[int, ...], theta: np.ndarray | None = None) -> None:
        self.widths = widths
        packing, self._maps = _layout(widths)
        self.theta = np.zeros(packing.size) if theta is None else theta
        arrays = packing.views(self.theta)
        self.W, self.b = [np.empty((0, 0)), *arrays[::2]], [np.empty(0), *arrays[1::2]]

    @property
    def depth(self) -> int:
        """Number H of hidden layers."""
        return len(self.widths) - 1

    def apply(self, l: int, P: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write ``P W_l'``, shape (c, k, m_l), to `out`."""
        self._maps[l].apply(_rows(P), self.W[l], _rows(out))
        return out

    def predict(self, l: int, P: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write ``P W_l' + b_l``, the jet of layer l for the features P below, to `out`."""
        self.apply(l, P, out)[0] += self.b[l]
        return out

    def adjoint(self, l: int, Z: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write ``Z W_l``, the adjoint of `apply` at Z, shape (c, k, m_l), to `out`."""
        self._maps[l].adjoint(_rows(Z), self.W[l], _rows(out))
        return out

    def correlation(self, l: int, Z: np.ndarray, P: np.ndarray) -> np.ndarray:
        """Return the gradient of ``<Z, P W_l'>`` in W_l."""
        return self._maps[l].correlation(_rows(Z), _rows(P), np.empty(self.W[l].shape))

    @classmethod
    def random(
        cls,
        widths: tuple[int, ...],
        scale: float,
        bounds: tuple[np.ndarray, np.ndarray],
        rng: np.random.Generator,
    ) -> Hidden:
        """Draw weights for inputs within `bounds`.

        The first layer is uniform in +-scale for inputs scaled to (-1, 1); the others are
        Glorot-uniform with biases in +-1/2: without biases all features would be odd.
        """
        made = cls(widths)
        low, high = bounds
        half = np.where(high > low, (high - low) / 2, 1.0)
        made.W[1][...] = rng.uniform(-scale, scale, made.W[1].shape) / half
        made.b[1][...] = rng.uniform(-scale, scale, widths[1]) - made.W[1] @ ((low + high) / 2)
        for l in range(2, made.depth + 1):
            limit = np.sqrt(6.0 / (widths[l - 1] + widths[l]))
            made.W[l][...] = rng.uniform(-limit, limit, made.W[l].shape)
            made.b[l][...] = rng.uniform(-0.5, 0.5, widths[l])
        return made


@functools.lru_cache(maxsize=16)
def _layout(widths: tuple[int, ...]) -> tuple[Packing, list[Dense]]:
    """Return packing and maps (index 0 unused); a line search asks for them at every trial."""
    maps = [Dense(0, widths[0]), *(Dense(k, m) for k, m in itertools.pairwise(widths))]
    return Packing(dense_shapes(widths)), maps


def _rows(jet: np.ndarray) -> np.ndarray:
    """Return a contiguous jet with its channels one below the other."""
    return jet.reshape(-1, jet.shape[2])
