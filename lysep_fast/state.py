"""What training changes: weights, biases, auxiliaries and residuals, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .container.stateful import Stateful, flatten, restore

__all__ = ["State"]


@dataclass
class State(Stateful):
    """Variables of the separated problem; lists are indexed by layer as in the papers.

    Attributes
    ----------
    W, b : list of ndarray
        Weights ``(m_l, m_{l-1})`` and biases ``(m_l,)`` for l = 1..L; index 0 is empty.
    A : list of ndarray
        ``A[l]`` of shape (n, m_l) is the auxiliary of layer l < L; ``A[0]`` is empty.
    R : list of ndarray
        Residuals ``R_l = A_l - S_{l-1} W_l' - b_l``, variables of their own: they are moved by
        increments, never recomputed by that subtraction, which would lose the monotone decrease
        once residuals are of the size of rounding errors times huge weights.  ``R[0]`` is empty.
    nu : ndarray of float64, shape (L+1,)
        Squared norms ``||W_l||^2`` in the objective's norm; ``nu[0]`` is 0.
    r2 : ndarray of float64, shape (L,)
        ``sum_n c_n |R_{l,n}|^2`` with the sample weights c_n; ``r2[0]`` is 0.
    e2 : float
        ``sum_n c_n e_n^2`` of the surrogate logits.
    """

    W: list[np.ndarray]
    b: list[np.ndarray]
    A: list[np.ndarray]
    R: list[np.ndarray]
    nu: np.ndarray = field(default_factory=lambda: np.zeros(0))
    r2: np.ndarray = field(default_factory=lambda: np.zeros(0))
    e2: float = 0.0

    @property
    def depth(self) -> int:
        """Number L of linear layers."""
        return len(self.W) - 1

    def state_dict(self) -> dict[str, Any]:
        """Return all variables; the input is not among them."""
        return flatten(self._variables())

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over all variables, in place."""
        for name, value in self._variables().items():
            value = restore(found, name, value)
        self.e2 = value

    def _variables(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            letter: dict(enumerate(getattr(self, letter)[1:], start=1)) for letter in "WbAR"
        }
        return made | {"nu": self.nu, "r2": self.r2, "e2": self.e2}

    def is_finite(self) -> bool:
        """Return whether every weight, bias and cached sum is finite."""
        arrays = [*self.W, *self.b, self.nu, self.r2, np.asarray(self.e2)]
        return all(bool(np.all(np.isfinite(array))) for array in arrays)
