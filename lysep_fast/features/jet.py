"""Entrywise activation of a jet as a feature map ``P = phi(J)``: the chain rule."""

from __future__ import annotations

import numpy as np

from ..kernels.activation import LIPSCHITZ
from ..kernels.jet import JET_CODES, jet_adjoint_into, jet_forward_into
from ..validation import check_integer

__all__ = ["Jet"]


class Jet:
    """Activation of value, r directional derivatives and a second-order part together.

    With ``J = (A, B_1..B_r, C)`` the features are ``S = s(A)``, ``T_k = s'(A) B_k`` and
    ``Q = s''(A) sum_k B_k^2 + s'(A) C``.  All arrays are C-contiguous and of one dtype.

    Parameters
    ----------
    name : str
        A key of ``lysep_fast.kernels.jet.JET_CODES``.
    r : int
        Number of directions; 0 leaves value and second-order part.

    Attributes
    ----------
    n_channels : int
        ``2 + r``, the first extent of all jets.
    lipschitz : float
        Bound of ``|s'|``.

    Raises
    ------
    ValueError
        If the activation is unknown or has no continuous second derivative.
    """

    def __init__(self, name: str, r: int) -> None:
        if name not in JET_CODES:
            raise ValueError(
                f"activation={name!r} has no jet: a differential equation of second order needs "
                f"an activation with continuous second derivatives that do not all vanish; use "
                f"one of {', '.join(map(repr, JET_CODES))}"
            )
        self.name = name
        self.r = check_integer(r, "r", minimum=0)
        self.n_channels = self.r + 2
        self.code = JET_CODES[name]
        self.lipschitz = LIPSCHITZ[name]

    def forward(self, J: np.ndarray, out: np.ndarray, D: np.ndarray | None = None) -> np.ndarray:
        """Return ``phi(J)``, written to `out`.

        Parameters
        ----------
        J, out : ndarray, shape (2 + r, n, m)
            Jet, and the memory of the result: `J` itself, or no overlap.  In place is faster where
            the jet is not needed again: it takes half of the cache.
        D : ndarray, shape (3, n, m), optional
            Overwritten with ``s', s'', s'''`` at ``J[0]``, which `vjp` takes.
        """
        jet_forward_into(self.code, J, out, D)
        return out

    def derivatives(self, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``s(A)``, shape (n, m), and ``(s', s'', s''')``, shape (3, n, m)."""
        J, D = np.stack((A, np.zeros_like(A))), np.empty((3, *A.shape), A.dtype)
        jet_forward_into(self.code, J, J, D)
        return J[0], D

    def vjp(
        self, J: np.ndarray, G: np.ndarray, out: np.ndarray, D: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the adjoint of ``phi`` at `J` applied to `G`, written to `out`.

        Parameters
        ----------
        J, G, out : ndarray, shape (2 + r, n, m)
            Jet, cotangent of the features, and the memory of the result (no overlap).
        D : ndarray, shape (3, n, m), optional
            What `forward` wrote; evaluated again when missing.
        """
        if D is None:
            D = self.derivatives(J[0])[1]
        jet_adjoint_into(J, D, G, out)
        return out

    def __repr__(self) -> str:
        return f"Jet({self.name!r}, {self.r})"
