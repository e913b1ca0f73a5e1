"""The separated loss of a differential equation, and the blocks of a sweep over its variables.

    F = J(J_H, w) + sum_l sum_i om_l[i] R_l[i],
    R_l[i] = sum_parts weight sum_{n,ch} al_l[ch] (J_l - P_{l-1} W_l' - b_l)[ch,n,i]^2

The auxiliary jets J_l live in the parts of the `JetNetwork` (a forward pass sets them to their
predictions: all R_l are zero then, and F = J).  A sweep goes from the last layer to the first:

    w              least squares, or Gauss-Newton, with the ridge that R_1..R_H put on w
    J_H            a rank-one Gauss-Newton step per point, backtracked
    (W_l, b_l)     one stacked ridge problem over all channels,      l = H..1
    J_{l-1}        one gradient step per point, own step length,     l = H..2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..container.stateful import Stateful, flatten, prefixed, restore
from ..linalg.least_squares import solve_normal_equations
from ..report import Step
from ..threads.team import Workspace
from .jets import Hidden, JetNetwork, Part, predict
from .output import fit_output

__all__ = ["Separated"]

# Trials of a point's line search; most points take the first.
_TRIALS = 6
# The smallest neuron weight, as a share of the layer's mean.
_FLOOR = 1e-3


@dataclass
class Separated(Stateful):
    """The separated loss over one network's parts.

    Parameters
    ----------
    network : JetNetwork
        Holds the auxiliary jets.
    weights : {"neuron", "frobenius"}
        ``neuron``: om_H = kappa w * w, om_l = (W_{l+1} * W_{l+1})' om_{l+1}, with a floor;
        ``frobenius``: om_l = kappa prod_{i>l} ||W_i||^2, the papers' weights.
    kappa : float
        Common factor.
    """

    network: JetNetwork
    weights: str
    kappa: float
    #: Channel weights al_l of the equations' parts; index 0 is empty.
    channels: list[np.ndarray] = field(default_factory=list)
    #: Step length of every point, for parts and layers (part number, layer).
    steps: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights' factors and the points' step lengths."""
        by_layer: dict[int, list[np.ndarray]] = {}
        for (_, l), step in sorted(self.steps.items()):
            by_layer.setdefault(l, []).append(step)
        steps = {l: np.concatenate(own) for l, own in by_layer.items()}
        return flatten({"kappa": self.kappa, "channels": self.channels, "steps": steps})

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over factors and step lengths."""
        self.kappa = restore(found, "kappa", self.kappa)
        self.channels = restore(found, "channels", self.channels)
        for l, steps in prefixed(found, "steps").items():
            start = 0
            for part in self.network.parts:
                self.steps[part.number, int(l)] = steps[start : start + len(part)].copy()
                start += len(part)

    # --- weights -----------------------------------------------------------------------------

    def refresh_channels(self) -> None:
        """Set the channel weights from the sensitivities of phi at the auxiliary jets."""
        H = self.network.depth

        def task(part: Part, ws: Workspace) -> tuple[Any, ...]:
            c, sums = part.channels, []
            for l in range(1, H + 1):
                total = np.zeros(self._most_channels + 1)
                if c > 1:
                    J, (first, second, third) = part.J[l], part.D[l]
                    B, C = J[1:-1], J[-1]
                    curved = third * np.einsum("kij,kij->ij", B, B) + second * C
                    total[0], total[-1] = np.sum(curved**2), np.sum(first**2)
                    for k in range(1, c - 1):
                        total[k] = np.sum((second * J[k]) ** 2)
                sums.append(total)
            return tuple(sums)

        self.channels = [np.empty(0)]
        for total in self.network.sum(task):
            share = total[:-1] / max(total[-1], np.finfo(float).tiny)
            al = np.ones(self._most_channels)
            al[0] = 1.0 + share[0] + np.sum(share[1:-1])
            al[1:-1] = 1.0 + 4.0 * share[1:-1]
            self.channels.append(al)

    @property
    def _most_channels(self) -> int:
        return max(part.channels for part in self.network.parts)

    def omegas(self, hidden: Hidden, w: np.ndarray) -> list[np.ndarray]:
        """Return the weights om_l, shape (m_l,), l = 1..H; index 0 is empty."""
        H = self.network.depth
        om: list[np.ndarray] = [np.empty(0)] * (H + 1)
        if self.weights == "frobenius":
            factor = self.kappa * float(np.dot(w, w))
            for l in range(H, 0, -1):
                om[l] = np.full(hidden.widths[l], factor)
                factor *= float(np.sum(hidden.W[l] ** 2))
            return om
        om[H] = self.kappa * w * w
        for l in range(H, 0, -1):
            om[l] = np.maximum(om[l], _FLOOR * np.mean(om[l]))
            if l > 1:
                om[l - 1] = (hidden.W[l] ** 2).T @ om[l]
        return om

    def _weight(self, part: Part, om: np.ndarray, l: int) -> np.ndarray:
        """Return ``a = al_l[ch] om_l[i]``, shape (c, 1, m_l)."""
        al = np.ones(1) if part.channels == 1 else self.channels[l]
        return al[:, None, None] * om

    def squares(self, hidden: Hidden) -> list[np.ndarray]:
        """Return R_l, shape (m_l,), l = 1..H; index 0 is empty."""

        def task(part: Part, ws: Workspace) -> list[np.ndarray]:
            sums = []
            for l in range(1, self.network.depth + 1):
                e = _difference(part, hidden, l, ws)
                scaled = e * e * self._weight(part, np.ones(1), l)
                sums.append(part.loss.weight * scaled.sum(axis=(0, 1)))
            return sums

        return [np.empty(0), *self.network.sum(task)]

    def value(self, hidden: Hidden, w: np.ndarray) -> float:
        """Return F."""
        om, R = self.omegas(hidden, w), self.squares(hidden)
        penalty = sum(float(np.dot(om[l], R[l])) for l in range(1, len(R)))
        return sum(self.network.loss(w)) + penalty

    def _ridges(self, hidden: Hidden, R: list[np.ndarray]) -> list[np.ndarray]:
        """Return eta_l, l = 1..H+1: what R_1..R_{l-1} cost per unit of a squared weight."""
        eta = [np.empty(0), np.zeros(hidden.widths[0])]
        for l in range(1, self.network.depth + 1):
            if self.weights == "frobenius":
                norm = float(np.sum(hidden.W[l] ** 2))
                total = float(np.sum(R[l])) + norm * float(eta[l][0])
                eta.append(np.full(hidden.widths[l], total))
            else:
                eta.append(R[l] + (hidden.W[l] ** 2) @ eta[l])
        return eta

    # --- blocks ------------------------------------------------------------------------------

    def sweep(
        self, hidden: Hidden, w: np.ndarray, *, output: bool
    ) -> tuple[np.ndarray, list[Step]]:
        """Update every variable once, hidden layers and jets in place; return w and reports.

        Parameters
        ----------
        hidden : Hidden
            Hidden layers, modified.
        w : ndarray, shape (m_H,)
            Output weights.
        output : bool
            Whether w is updated, or known to be optimal.
        """
        H, steps = self.network.depth, []
        if output:
            w, step = self._update_output(hidden, w)
            steps.append(step)
        steps.append(self._update_last_jet(hidden, w))
        for l in range(H, 0, -1):
            steps.append(self._update_weights(hidden, w, l))
            if l > 1:
                steps.append(self._update_jet(hidden, w, l - 1))
        return w, steps

    def _update_output(self, hidden: Hidden, w: np.ndarray) -> tuple[np.ndarray, Step]:
        ridge = self.kappa * self._ridges(hidden, self.squares(hidden))[-1]
        fit = fit_output(self.network, w, ridge if np.any(ridge) else None)
        return fit.w, Step("w", 1.0, float(fit.iterations), fit.method, fit.rcond)

    def _update_last_jet(self, hidden: Hidden, w: np.ndarray) -> Step:
        """Move J_H to the minimiser of the linearised sample problem, or part of the way.

        With a = om_H al_H, g the derivative of r in J_H and e = J_H - prediction the minimiser of
        ``(r + <g, d>)^2 + sum a (e + d)^2`` is ``d = -e - (g/a) (r - <g,e>) / (1 + <g, g/a>)``.
        """
        H = self.network.depth
        om = self.omegas(hidden, w)[H]

        def task(part: Part, ws: Workspace) -> tuple[float, float]:
            a, e = self._weight(part, om, H), _difference(part, hidden, H, ws)
            r, v = self.network.residual(part, w)
            G = np.zeros(e.shape)
            for ch, slope in part.loss.slopes(v):
                np.multiply(slope[:, None], w, out=G[ch])
            g = part.feature.vjp(part.J[H], G, np.empty(e.shape), part.D[H])
            scaled = g / a
            model = (r - _inner(g, e)) / (1.0 + _inner(g, scaled))
            d = -e - scaled * model[None, :, None]

            def objective(J: np.ndarray, P: np.ndarray, e: np.ndarray) -> np.ndarray:
                r, _ = self.network.residual(part, w, P)
                return r * r + _inner(a * e, e)

            old = r * r + _inner(a * e, e)
            return _search(part, H, e, d, np.ones(len(part)), old, objective)

        moved, trials = self.network.sum(task)
        n = self.network.n_rows
        return Step(f"J_{H}", moved / n, trials / n, "gauss-newton")

    def _update_weights(self, hidden: Hidden, w: np.ndarray, l: int) -> Step:
        """Solve the stacked ridge problem for the increment of ``[W_l, b_l]``."""
        eta = self._ridges(hidden, self.squares(hidden))[l] if l > 1 else np.zeros(1)

        def task(part: Part, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
            below = part.P[l - 1]
            c, k, m = below.shape
            rows = np.zeros((c, k, m + 1))
            rows[:, :, :m], rows[0, :, m] = below, 1.0
            scaled = rows * (part.loss.weight * self._weight(part, np.ones(1), l))
            e = _difference(part, hidden, l, ws)
            flat = scaled.reshape(-1, m + 1)
            return rows.reshape(-1, m + 1).T @ flat, e.reshape(-1, e.shape[2]).T @ flat

        gram, rhs = self.network.sum(task)
        m = len(gram) - 1
        ridge = np.append(np.broadcast_to(eta, m), 0.0)
        gram += np.diag(ridge)
        rhs[:, :m] -= hidden.W[l] * ridge[:m]
        solution = solve_normal_equations(gram, rhs)
        hidden.W[l] += solution.X[:, :m]
        hidden.b[l] += solution.X[:, m]
        return Step(f"W_{l}", 1.0, 1.0, solution.method, solution.rcond)

    def _update_jet(self, hidden: Hidden, w: np.ndarray, l: int) -> Step:
        """Take one gradient step on J_l, l < H, for every point with its own step length."""
        weights = self.omegas(hidden, w)

        def task(part: Part, ws: Workspace) -> tuple[float, float]:
            a, upper = self._weight(part, weights[l], l), self._weight(part, weights[l + 1], l + 1)
            e = _difference(part, hidden, l, ws).copy()

            def above(P: np.ndarray) -> np.ndarray:
                flat = P.reshape(-1, P.shape[2]) @ hidden.W[l + 1].T
                R = part.J[l + 1] - flat.reshape(part.J[l + 1].shape)
                R[0] -= hidden.b[l + 1]
                return R

            def objective(J: np.ndarray, P: np.ndarray, e: np.ndarray) -> np.ndarray:
                R = above(P)
                return _inner(a * e, e) + _inner(upper * R, R)

            R = above(part.P[l])
            G = ((upper * R).reshape(-1, R.shape[2]) @ hidden.W[l + 1]).reshape(e.shape)
            g = a * e - part.feature.vjp(part.J[l], G, np.empty(e.shape), part.D[l])
            key = (part.number, l)
            if key not in self.steps:
                self.steps[key] = np.full(len(part), 1.0 / np.max(a))
            step = self.steps[key]
            old = _inner(a * e, e) + _inner(upper * R, R)
            return _search(part, l, e, -g, step, old, objective)

        moved, trials = self.network.sum(task)
        n = self.network.n_rows
        return Step(f"J_{l}", moved / n, trials / n, "gradient")


def _difference(part: Part, hidden: Hidden, l: int, ws: Workspace) -> np.ndarray:
    """Return ``J_l - P_{l-1} W_l' - b_l`` in workspace memory."""
    e = predict(part, hidden, l, ws.array(f"e {l}", part.J[l].shape, float))
    return np.subtract(part.J[l], e, out=e)


def _inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner products of two jets point by point, shape (k,)."""
    product: np.ndarray = np.einsum("ckm,ckm->k", a, b)
    return product


def _search(
    part: Part,
    l: int,
    e: np.ndarray,
    d: np.ndarray,
    step: np.ndarray,
    old: np.ndarray,
    objective: Any,
) -> tuple[float, float]:
    """Move J_l along d, every point as far as its objective does not rise.

    `step` holds the points' first step lengths and is left at twice the accepted ones, or at half
    the last ones tried.  Returns the number of points that moved and of trials.
    """
    waiting, trials = np.ones(len(part), bool), 0.0
    J, P, D = part.J[l], part.P[l], part.D[l]
    new, features, slopes = np.empty_like(J), np.empty_like(P), np.empty_like(D)
    for _ in range(_TRIALS):
        trials += float(np.count_nonzero(waiting))
        move = step[None, :, None] * d
        np.add(J, move, out=new)
        part.feature.forward(new, features, slopes)
        good = waiting & (objective(new, features, e + move) <= old)
        J[:, good], P[:, good], D[:, good] = new[:, good], features[:, good], slopes[:, good]
        waiting &= ~good
        step[good] *= 2.0
        step[waiting] *= 0.5
        # A point that has moved must not move again.
        d[:, good] = 0.0
        if not np.any(waiting):
            break
    return float(len(part) - np.count_nonzero(waiting)), trials
