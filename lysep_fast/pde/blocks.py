"""The blocks of a sweep over the variables of a separated differential equation.

    w              least squares, or Gauss-Newton, with the ridge that R_1..R_H put on w
    J_H            a rank-one Gauss-Newton step per point, backtracked
    (W_l, b_l)     one stacked ridge problem over all channels,      l = H..1
    J_{l-1}        one gradient step per point, own step length,     l = H..2

With the Frobenius weights no block raises F.  With the neuron weights those of the jets do not,
as the weights do not depend on jets; w and (W_l, b_l) minimise F with the floor of the weights
set to zero, and with the floor, which moves with them, F may rise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..blocks.base import Block
from ..blocks.sweep import alternating_order
from ..container.stateful import Stateful
from ..linalg.least_squares import solve_normal_equations
from ..report import Step
from ..threads.team import Workspace
from .jets import JetNetwork, Part
from .output import fit_output
from .point_search import move_points
from .separated import Separated
from .state import PdeState

__all__ = ["HiddenJets", "LastJets", "LayerWeights", "OutputWeights", "sweep_blocks"]


class OutputWeights(Stateful):
    """The minimiser over w of J of the jets' features plus the ridge of all residuals."""

    name = "w"

    def touches(self, state: PdeState) -> set[str]:
        """Return w alone."""
        return {"w"}

    def update(self, problem: Separated, state: PdeState) -> Step:
        """Solve, for a nonlinear equation until the loss cannot resolve a further decrease."""
        ridge = problem.kappa * problem.ridge(state, state.hidden.depth + 1)
        fit = fit_output(state.jets, state.w, ridge if np.any(ridge) else None)
        state.w = fit.w
        return Step(self.name, 1.0, float(fit.iterations), fit.method, fit.rcond)


class LastJets(Stateful):
    """A step of every point's J_H towards the minimiser of its linearised problem.

    With a = om_H al_H, g the derivative of r in J_H and e = J_H - prediction the minimiser of
    ``(r + <g, d>)^2 + sum a (e + d)^2`` is ``d = -e - (g/a) (r - <g,e>) / (1 + <g, g/a>)``.

    Parameters
    ----------
    layer : int
        The last hidden layer H.
    """

    def __init__(self, layer: int) -> None:
        self.layer, self.name = layer, f"J_{layer}"

    def touches(self, state: PdeState) -> set[str]:
        """Return J_H."""
        return {f"J{self.layer}"}

    def update(self, problem: Separated, state: PdeState) -> Step:
        """Go to the minimiser, or part of the way; points that would rise stay."""
        H, jets, w = self.layer, state.jets, state.w
        om = problem.omegas(state.hidden, w)[H]

        def task(part: Part, ws: Workspace) -> tuple[float, float]:
            a, e = problem.entries(part, H, om), part.difference(state.hidden, H, ws)
            r, v = jets.residual(part, w)
            g = part.adjoint(H, part.top(w, part.loss.slopes(v), ws), ws)
            scaled = g / a
            model = (r - _inner(g, e)) / (1.0 + _inner(g, scaled))
            d = -e - scaled * model[None, :, None]

            def objective(P: np.ndarray, e: np.ndarray) -> np.ndarray:
                r, _ = jets.residual(part, w, P)
                return r * r + _inner(a * e, e)

            old = r * r + _inner(a * e, e)
            return move_points(part, H, e, d, np.ones(len(part)), old, objective)

        return _moved(self.name, jets, jets.sum(task), "gauss-newton")


class LayerWeights(Stateful):
    """The minimiser over W_l and b_l: least squares over all channels, with a ridge.

    Parameters
    ----------
    layer : int
        Index l.
    """

    def __init__(self, layer: int) -> None:
        self.layer, self.name = layer, f"W_{layer}"

    def touches(self, state: PdeState) -> set[str]:
        """Return W_l and b_l."""
        return {f"W{self.layer}", f"b{self.layer}"}

    def update(self, problem: Separated, state: PdeState) -> Step:
        """Solve for the increment of ``[W_l, b_l]``."""
        l, hidden = self.layer, state.hidden
        eta = problem.ridge(state, l)

        def task(part: Part, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
            below = part.P[l - 1]
            c, k, m = below.shape
            rows = np.zeros((c, k, m + 1))
            rows[:, :, :m], rows[0, :, m] = below, 1.0
            scaled = rows * (part.loss.weight * problem.entries(part, l))
            e = part.difference(hidden, l, ws)
            flat = scaled.reshape(-1, m + 1)
            return rows.reshape(-1, m + 1).T @ flat, e.reshape(-1, e.shape[2]).T @ flat

        gram, rhs = state.jets.sum(task)
        m = len(gram) - 1
        ridge = np.append(eta, 0.0)
        gram += np.diag(ridge)
        rhs[:, :m] -= hidden.W[l] * ridge[:m]
        solution = solve_normal_equations(gram, rhs)
        hidden.W[l] += solution.X[:, :m]
        hidden.b[l] += solution.X[:, m]
        return Step(self.name, 1.0, 1.0, solution.method, solution.rcond)


class HiddenJets(Stateful):
    """One gradient step on every point's J_l, l < H, each with a step length of its own.

    Parameters
    ----------
    layer : int
        Index l.
    """

    state_names = ("steps",)

    def __init__(self, layer: int) -> None:
        self.layer, self.name = layer, f"J_{layer}"
        #: The points' next step lengths, shape (n,); made by the first update.
        self.steps: Any = None

    def touches(self, state: PdeState) -> set[str]:
        """Return J_l."""
        return {f"J{self.layer}"}

    def update(self, problem: Separated, state: PdeState) -> Step:
        """Step along the negative gradient; points that would rise stay, and try less next."""
        l, hidden, jets = self.layer, state.hidden, state.jets
        om = problem.omegas(hidden, state.w)
        if self.steps is None:
            self.steps = self._first_steps(problem, jets, om[l])

        def task(part: Part, ws: Workspace) -> tuple[float, float]:
            a, upper = problem.entries(part, l, om[l]), problem.entries(part, l + 1, om[l + 1])
            J, e = part.J[l + 1], part.difference(hidden, l, ws)

            def above(P: np.ndarray) -> np.ndarray:
                R = J - hidden.apply(l + 1, P, ws.array("above", J.shape, float))
                R[0] -= hidden.b[l + 1]
                return R

            def objective(P: np.ndarray, e: np.ndarray) -> np.ndarray:
                R = above(P)
                return _inner(a * e, e) + _inner(upper * R, R)

            R = above(part.P[l])
            G = hidden.adjoint(l + 1, upper * R, ws.array("G", e.shape, float))
            g = a * e - part.adjoint(l, G, ws)
            old = _inner(a * e, e) + _inner(upper * R, R)
            return move_points(part, l, e, -g, self.steps[part.rows], old, objective)

        return _moved(self.name, jets, jets.sum(task), "gradient")

    def _first_steps(self, problem: Separated, jets: JetNetwork, om: np.ndarray) -> np.ndarray:
        """Return the lengths that would be right without the layer above."""
        steps = np.empty(jets.n_rows)
        for part in jets.parts:
            steps[part.rows] = 1.0 / np.max(problem.entries(part, self.layer, om))
        return steps


def sweep_blocks(depth: int) -> list[Block]:
    """Return the blocks of a sweep in their order, w first, for so many hidden layers."""

    def auxiliaries(l: int) -> Block:
        return LastJets(l) if l == depth else HiddenJets(l)

    return alternating_order(depth + 1, OutputWeights(), auxiliaries, LayerWeights)


def _moved(name: str, jets: JetNetwork, counts: list[float], method: str) -> Step:
    """Return the report on points that searched on their own."""
    moved, trials = counts
    return Step(name, moved / jets.n_rows, trials / jets.n_rows, method)


def _inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner products of two jets point by point, shape (k,)."""
    product: np.ndarray = np.einsum("ckm,ckm->k", a, b)
    return product
