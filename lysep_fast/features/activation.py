"""Entrywise activation as a feature map ``S = s(A)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.activation import (
    ACTIVATION_CODES,
    IDENTITY,
    LIPSCHITZ,
    activation_derivative_into,
    activation_into,
)

__all__ = ["Activation"]


class Activation:
    """Entrywise activation; the identity hands its input through without a copy.

    Parameters
    ----------
    name : str
        One of ``lysep_fast.kernels.ACTIVATION_CODES``.

    Attributes
    ----------
    lipschitz : float
        Bound of ``|s'|``, the constant c of the bound CE <= C LS.
    """

    #: The feature of an entry depends on that entry alone: S has the shape of A.
    is_entrywise = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.code = ACTIVATION_CODES[name]
        self.lipschitz = LIPSCHITZ[name]

    @property
    def is_identity(self) -> bool:
        """Whether the feature is the variable itself."""
        return self.code == IDENTITY

    def forward(self, A: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return ``s(A)``, written to `out` unless the activation is the identity."""
        if self.is_identity:
            return A
        activation_into(self.code, A, out)
        return out

    def forward_with_derivative(self, A: np.ndarray, S: np.ndarray, D: np.ndarray) -> None:
        """Write ``s(A)`` to `S` and ``s'(A)`` to `D`."""
        activation_derivative_into(self.code, A, S, D)

    def pull_back(self, G: np.ndarray, D: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return ``G * D`` in `out`, which may be `G`: the vector-Jacobian product at A."""
        return np.multiply(G, D, out=out)

    def squared_norm(self, kind: str) -> float:
        """Return the squared norm of the linear part of the map, which is the identity here."""
        return 1.0

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Activation) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)
