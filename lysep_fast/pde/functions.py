"""Functions of the user, checked, with the derivatives that an equation needs of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Function", "evaluate"]

# Central differences of order eight: offsets 1..4, the second with the weight of offset 0 first.
_FIRST = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
_SECOND = np.array([-205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560])


def evaluate(
    function: Any, X: np.ndarray, name: str, shapes: tuple[tuple[int, ...], ...]
) -> np.ndarray:
    """Return a coefficient at the points, checked.

    Parameters
    ----------
    function : callable or array-like
        Maps ``X`` (n, d) to one entry per point, or a constant.
    X : ndarray, shape (n, d)
        Points.
    name : str
        Name of the argument in messages.
    shapes : tuple of shapes
        Shapes that one point's entry may have.

    Returns
    -------
    ndarray of float64, shape (n, ...) for a callable, (1, ...) for a constant

    Raises
    ------
    ValueError, TypeError
        If the values are not finite numbers of one of the shapes.
    """
    value = function(X) if callable(function) else function
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number, an array or a function of the points, got {value!r}"
        ) from None
    if not callable(function):
        array = array[None]
    if callable(function) and array.shape == (len(X), 1) and shapes == ((),):
        array = array[:, 0]
    lead = len(X) if callable(function) else 1
    if array.shape not in [(lead, *shape) for shape in shapes]:
        wanted = " or ".join(str(("n", *s) if callable(function) else s) for s in shapes)
        raise ValueError(
            f"{name} must have the shape {wanted.replace(chr(39), '')}, got "
            f"{array.shape if callable(function) else array.shape[1:]} for n={len(X)} points of "
            f"{X.shape[1]} coordinates; {name}(X) takes X of shape (n, d), a point per row"
        )
    if not np.all(np.isfinite(array)):
        bad = np.argwhere(~np.isfinite(array))[0][0]
        where = f" at the point {X[bad].tolist()}" if callable(function) else ""
        raise ValueError(f"{name} must be finite, got NaN or infinity{where}")
    return array


class Function:
    """A scalar function of the points with its derivatives.

    Without callables for them, derivatives are central differences of order eight: about eleven
    correct digits for a function that varies on the scale 1, evaluated up to `step` * 4 outside
    the points.

    Parameters
    ----------
    value : callable or float
        Maps points (n, d) to values (n,), or a constant.
    gradient : callable, optional
        Maps points to gradients (n, d).
    hessian : callable, optional
        Maps points to Hessian matrices (n, d, d).
    name : str
        Name in messages.
    step : float
        Step of the differences, in the unit of the coordinates.
    """

    def __init__(
        self,
        value: Any,
        gradient: Callable[[np.ndarray], Any] | None = None,
        hessian: Callable[[np.ndarray], Any] | None = None,
        *,
        name: str = "value",
        step: float = 0.02,
    ) -> None:
        self.value, self.name, self.step = value, name, step
        self._gradient, self._hessian = gradient, hessian

    @classmethod
    def wrap(cls, value: Any, name: str) -> Function:
        """Return `value` if it is a Function, else one around it."""
        return value if isinstance(value, Function) else cls(value, name=name)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return the values, shape (n,)."""
        return np.array(np.broadcast_to(evaluate(self.value, X, self.name, ((),)), len(X)))

    def gradient(self, X: np.ndarray) -> np.ndarray:
        """Return the gradients, shape (n, d)."""
        n, d = X.shape
        if self._gradient is not None:
            return evaluate(self._gradient, X, f"gradient of {self.name}", ((d,),))
        G = np.empty((n, d))
        for j in range(d):
            G[:, j] = self._along(X, np.broadcast_to(np.eye(d)[j], X.shape))[0]
        return G

    def jet(self, X: np.ndarray, G: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Return value, derivatives along G_k, and ``sum_k (G_k.grad)^2 + beta.grad`` of it.

        Parameters
        ----------
        X : ndarray, shape (n, d)
            Points.
        G : ndarray, shape (r, n, d)
            Directions at every point; their own change in space does not count.
        beta : ndarray, shape (n, d)
            First-order direction.

        Returns
        -------
        ndarray, shape (2 + r, n)
        """
        J = np.zeros((2 + len(G), len(X)))
        J[0] = self(X)
        if not callable(self.value):
            return J
        gradient = None if self._gradient is None else self.gradient(X)
        for k, V in enumerate(G, start=1):
            if gradient is not None and self._hessian is not None:
                d = X.shape[1]
                H = evaluate(self._hessian, X, f"Hessian of {self.name}", ((d, d),))
                first, second = np.sum(gradient * V, 1), np.einsum("nj,njk,nk->n", V, H, V)
            else:
                first, second = self._along(X, V)
            J[k] = first
            J[-1] += second
        if gradient is not None:
            J[-1] += np.sum(gradient * beta, 1)
        elif np.any(beta):
            J[-1] += self._along(X, beta)[0]
        return J

    def _along(self, X: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and second derivatives along a direction per point."""
        length = np.linalg.norm(V, axis=1)
        unit = V / np.where(length > 0, length, 1.0)[:, None]
        first, second = np.zeros(len(X)), _SECOND[0] * self(X)
        for k, (weight, weight2) in enumerate(zip(_FIRST, _SECOND[1:], strict=True), start=1):
            shift = k * self.step * unit
            ahead, behind = self(X + shift), self(X - shift)
            first += weight * (ahead - behind)
            second += weight2 * (ahead + behind)
        return first * length / self.step, second * (length / self.step) ** 2
