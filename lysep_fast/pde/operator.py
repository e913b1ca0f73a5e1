"""Second-order differential operators ``a : hess u + beta . grad u + c u + h(u)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .functions import evaluate

__all__ = ["Coefficients", "Operator"]


@dataclass(frozen=True)
class Coefficients:
    """The operator at points: ``sign * Lop u + c u + h(u)``.

    Here ``Lop = sum_k (G_k . grad)^2 + beta . grad``, the directions G_k held at each point.

    Attributes
    ----------
    sign : float
        1, or -1 for a negative semi-definite matrix a.
    G : ndarray, shape (r, n, d)
        Columns of a factor of ``sign * a``.
    beta : ndarray, shape (n, d)
        First-order coefficients times `sign`.
    c : ndarray, shape (n,)
        Coefficients of u.
    """

    sign: float
    G: np.ndarray
    beta: np.ndarray
    c: np.ndarray


class Operator:
    """The left-hand side of ``sum_jk a_jk d_jk u + beta . grad u + c u + h(u) = f``.

    For example ``Operator(-1.0)`` is minus the Laplacian, and
    ``Operator([-1.0, -1.0, 0.0], advection=[0.0, 0.0, 1.0])`` the heat operator in two space
    dimensions with time as the last coordinate.  ``-div(k grad u)`` is
    ``Operator(lambda X: -k(X), advection=lambda X: -grad_k(X))``.

    Parameters
    ----------
    diffusion : number, array-like or callable
        The matrix a: a number (times the identity), d numbers (its diagonal), or d x d numbers; a
        callable returns one of these for every point, with the points as the first axis.  It
        has to be positive or negative semi-definite at all points alike.
    advection : number, array-like or callable
        The vector beta.
    reaction : number or callable
        The factor c of u.
    nonlinearity : pair of callables, optional
        ``(h, dh)``, functions of the values u (n,): the term h(u) and its derivative.
    """

    def __init__(
        self,
        diffusion: Any,
        advection: Any = 0.0,
        reaction: Any = 0.0,
        nonlinearity: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> None:
        if nonlinearity is not None and (
            not isinstance(nonlinearity, tuple | list)
            or len(nonlinearity) != 2
            or not all(callable(part) for part in nonlinearity)
        ):
            raise TypeError(
                "nonlinearity must be a pair of functions (h, dh) of the values u, such as "
                f"(lambda u: u**3, lambda u: 3 * u**2), got {nonlinearity!r}"
            )
        self.diffusion, self.advection, self.reaction = diffusion, advection, reaction
        self.nonlinearity = nonlinearity

    def at(self, X: np.ndarray) -> Coefficients:
        """Return the coefficients at the points, shape (n, d).

        Raises
        ------
        ValueError, TypeError
            If a coefficient has the wrong shape or is not finite, or if a is not semi-definite.
        """
        n, d = X.shape
        a = evaluate(self.diffusion, X, "diffusion", ((), (d,), (d, d)))
        beta = evaluate(self.advection, X, "advection", ((), (d,)))
        c = evaluate(self.reaction, X, "reaction", ((),))
        sign, columns = _full(a) if a.ndim == 3 else _diagonal(a, d)
        G = np.broadcast_to(columns, (len(columns), n, d))
        beta = np.broadcast_to(beta if beta.ndim == 2 else beta[:, None], (n, d))
        return Coefficients(sign, G, sign * beta, np.array(np.broadcast_to(c, n)))


def _diagonal(a: np.ndarray, d: int) -> tuple[float, np.ndarray]:
    """Return sign and factor columns (r, N, d) of diagonal matrices (N,) or (N, d)."""
    entries = np.broadcast_to(a if a.ndim == 2 else a[:, None], (len(a), d))
    sign = _sign(entries)
    used = np.flatnonzero(np.any(entries != 0.0, axis=0))
    columns = np.zeros((len(used), len(a), d))
    for k, j in enumerate(used):
        columns[k, :, j] = np.sqrt(sign * entries[:, j])
    return sign, columns


def _full(a: np.ndarray) -> tuple[float, np.ndarray]:
    """Return sign and factor columns (r, N, d) of matrices (N, d, d)."""
    size = np.max(np.abs(a))
    if np.max(np.abs(a - a.transpose(0, 2, 1))) > 1e-12 * size:
        raise ValueError(
            "diffusion must be a symmetric matrix at every point; pass (a + a') / 2, which gives "
            "the same operator"
        )
    values, vectors = np.linalg.eigh(a)
    values[np.abs(values) < 1e-13 * size] = 0.0
    sign = _sign(values)
    used = np.flatnonzero(np.any(values != 0.0, axis=0))
    columns = vectors[:, :, used] * np.sqrt(sign * values[:, None, used])
    return sign, np.ascontiguousarray(columns.transpose(2, 0, 1))


def _sign(values: np.ndarray) -> float:
    """Return the common sign of the eigenvalues at all points."""
    if np.all(values >= 0.0):
        return 1.0
    if np.all(values <= 0.0):
        return -1.0
    raise ValueError(
        "diffusion must be positive semi-definite at all points or negative semi-definite at all "
        f"points, got eigenvalues from {values.min():g} to {values.max():g}; equations of another "
        "type (wave equations) are not supported"
    )
