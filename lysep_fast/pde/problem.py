"""The statement of a boundary value problem, and its collocation at points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint import digest
from ..validation import check_inputs
from .domains import Domain, SpaceTime
from .functions import Function
from .operator import Operator

__all__ = ["Collocation", "Problem"]


@dataclass(frozen=True)
class Collocation:
    """A set of conditions on the network's output jet O = (v, G_k.grad v, Lop v).

    At every point ``r = sum_ch K[ch] O[ch] + h(lift v + shift) - f`` should vanish.

    Attributes
    ----------
    P : ndarray, shape (c, n, d)
        The input's jet: the points, then for c > 1 the directions G_k and beta.
    K : ndarray, shape (c, n)
        Coefficients.
    f : ndarray, shape (n,)
        Right-hand side.
    weight : float
        Factor of ``sum r^2`` in the loss: 1/n inside, lam/n_b on the boundary.
    lift, shift : ndarray, shape (n,), or None
        The solution is ``u = lift v + shift``; None without nonlinearity, which alone needs them.
    """

    P: np.ndarray
    K: np.ndarray
    f: np.ndarray
    weight: float
    lift: np.ndarray | None = None
    shift: np.ndarray | None = None


class Problem:
    """A second-order equation in a domain with Dirichlet data.

    Parameters
    ----------
    domain : Box, Ball, SpaceTime or Points
        Where the equation holds.
    operator : Operator
        Its left-hand side.
    source : callable or float
        Its right-hand side f.
    boundary : callable or float, optional
        Boundary values g, kept by a penalty ("soft").  For a `SpaceTime` domain this is called on
        the walls, and on the initial slice too unless `initial` is given.
    initial : callable or float, optional
        Initial values for a `SpaceTime` domain, a function of the points with time included.
    lift : pair, optional
        ``(D, E)`` for the ansatz ``u = D v + E`` that has the boundary values built in ("hard"):
        D vanishes on the boundary, E has the boundary values.  Each is a function of the points,
        a number, or a `Function` with derivatives; otherwise they are differentiated numerically.
    solution : callable, optional
        The exact solution when it is known: `Solution.error` compares with it.

    Raises
    ------
    ValueError, TypeError
        If the data do not fit together; the message names the argument and the remedy.
    """

    def __init__(
        self,
        domain: Domain,
        operator: Operator,
        source: Any,
        boundary: Any = None,
        *,
        initial: Any = None,
        lift: tuple[Any, Any] | None = None,
        solution: Any = None,
    ) -> None:
        if not isinstance(operator, Operator):
            raise TypeError(
                f"operator must be a lysep_fast.pde.Operator, got {operator!r}; minus the "
                "Laplacian is Operator(-1.0)"
            )
        for method in ("bounds", "interior", "boundary"):
            if not callable(getattr(domain, method, None)):
                raise TypeError(f"domain must be a Box, Ball, SpaceTime or Points, got {domain!r}")
        if (boundary is None) == (lift is None):
            raise ValueError(
                "boundary values are given either by boundary=g (a penalty) or by lift=(D, E) "
                f"(built in), got boundary={boundary!r} and lift={lift!r}"
            )
        if lift is not None and (not isinstance(lift, tuple | list) or len(lift) != 2):
            raise TypeError(f"lift must be a pair (D, E) for u = D v + E, got {lift!r}")
        if initial is not None and (lift is not None or not isinstance(domain, SpaceTime)):
            raise ValueError("initial goes with boundary=g in a SpaceTime domain only; leave it")
        self.domain, self.operator = domain, operator
        self.source = Function.wrap(source, "source")
        self.boundary = None if boundary is None else Function.wrap(boundary, "boundary")
        self.initial = None if initial is None else Function.wrap(initial, "initial")
        self.lift = None
        if lift is not None:
            self.lift = (Function.wrap(lift[0], "lift[0]"), Function.wrap(lift[1], "lift[1]"))
        self.solution = None if solution is None else Function.wrap(solution, "solution")

    @classmethod
    def manufactured(
        cls, domain: Domain, operator: Operator, solution: Any, *, lift: Any = None
    ) -> Problem:
        """Return the problem that has the given solution: source and boundary values from it.

        The source is ``sum a_jk d_jk u + ...`` of the solution, with its own derivatives if it is
        a `Function` that has them, else by numerical differentiation.
        """
        u = Function.wrap(solution, "solution")

        def source(X: np.ndarray) -> np.ndarray:
            at = operator.at(X)
            jet = u.jet(X, at.G, at.beta)
            f = at.sign * jet[-1] + at.c * jet[0]
            return f if operator.nonlinearity is None else f + operator.nonlinearity[0](jet[0])

        return cls(domain, operator, source, None if lift else u, lift=lift, solution=u)

    @property
    def dimension(self) -> int:
        """Number of coordinates d, time included."""
        return self.domain.dimension

    def digest(self) -> str:
        """Return a fingerprint of the statement, made of its values at a few points."""
        rng = np.random.default_rng(0)
        arrays = [np.array(self.domain.bounds())]
        for on in self.collocate(32, 32, 1.0, rng):
            arrays += [on.P, on.K, on.f, *(a for a in (on.lift, on.shift) if a is not None)]
        for h in self.operator.nonlinearity or ():
            arrays.append(np.asarray(h(np.linspace(-2.0, 2.0, 9))))
        return digest(*arrays)

    def equations(self, X: Any, weight: float = 1.0) -> Collocation:
        """Return the differential equation at the points X, shape (n, d)."""
        X = check_inputs(X, dtype=np.float64)
        if X.shape[1] != self.dimension:
            raise ValueError(
                f"X has {X.shape[1]} columns, but the domain has {self.dimension} coordinates"
            )
        at = self.operator.at(X)
        P = np.concatenate([X[None], at.G, at.beta[None]])
        K = np.zeros(P.shape[:2])
        f = self.source(X)
        D, E = np.ones(len(X)), np.zeros(len(X))
        if self.lift is None:
            K[0], K[-1] = at.c, at.sign
        else:
            # Lop(D v) = D Lop v + 2 sum_k (G_k.grad D) (G_k.grad v) + v Lop D
            jet, shift = (part.jet(X, at.G, at.beta) for part in self.lift)
            D, E = jet[0], shift[0]
            K[0] = at.sign * jet[-1] + at.c * D
            K[1:-1] = 2.0 * at.sign * jet[1:-1]
            K[-1] = at.sign * D
            f = f - at.sign * shift[-1] - at.c * E
        if self.operator.nonlinearity is None:
            return Collocation(P, K, f, weight)
        return Collocation(P, K, f, weight, D, E)

    def boundary_values(self, X: np.ndarray, weight: float = 1.0) -> Collocation:
        """Return the Dirichlet conditions at boundary points X, shape (n, d)."""
        assert self.boundary is not None
        g = self.boundary(X) if len(X) else np.empty(0)
        if self.initial is not None and isinstance(self.domain, SpaceTime):
            first = X[:, -1] == self.domain.start
            g[first] = self.initial(X[first])
        return Collocation(np.ascontiguousarray(X[None]), np.ones((1, len(X))), g, weight)

    def collocate(
        self, n_interior: int, n_boundary: int, boundary_weight: float, rng: np.random.Generator
    ) -> list[Collocation]:
        """Draw points and return the equations and, without a lift, the boundary conditions."""
        X = self.domain.interior(n_interior, rng)
        sets = [self.equations(X, 1.0 / len(X))]
        if self.lift is None:
            edge = self.domain.boundary(n_boundary, rng)
            if not len(edge):
                raise ValueError(
                    "there are no boundary points; raise n_boundary, give them to Points, or "
                    "build the boundary values in with lift=(D, E)"
                )
            sets.append(self.boundary_values(edge, boundary_weight / len(edge)))
        return sets
