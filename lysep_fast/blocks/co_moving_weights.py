"""Hidden weights and biases of all layers at once, the auxiliaries moving along.

With ``S = [S_{l-1}, 1]``, the target ``R*_l = -lambda delta_l / w_l`` of `rank_one`,
``v_n`` of `newton_output`, the ridge ``eta_l`` (exact, of the residuals R*; with weight decay
``n alpha / (2 w_l)`` comes on top) and the measured weights
``k_l = min(w_l, sum |delta_l|^2 / sum |G|^2)``,

    [dW, db]_l = (R*_l' S - eta_l [W_l, 0]) [ (k_l / w_l) (S' diag(v) S + mu (tr/dim) I)
                                              + eta_l diag(1, 0) ]^-1

where every sum over the samples has their weights c_n.

The candidate ``[W, b] + t [dW, db] + beta ([W, b] - former [W, b])`` carries the residuals along:
every row is synchronised or keeps R, whichever costs less, and takes the rank-one step.  It is
accepted if and only if F, with the penalty of weight decay, does not rise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..container.stateful import Stateful
from ..kernels.auxiliaries import row_sums_of_squares
from ..kernels.joint import add_inner_rows, scale_rows
from ..layers.seen import Seen
from ..linalg.gram import bordered, diagonal_of
from ..linalg.least_squares import solve_normal_equations
from ..metrics.layers import measured_weights
from ..network.walk import AuxiliaryWalk
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace
from .joint_rows import JointRows, RowSearch, derivatives
from .rank_one import back_propagate, gauss_newton_step, inverse_weights

__all__ = ["CoMovingWeights"]

_MU_RANGE = (1e-12, 1e-2)


@dataclass
class _Candidate:
    """New weights with their norms and the sums of F there."""

    W: list[np.ndarray]
    b: list[np.ndarray]
    nu: np.ndarray
    e2: float
    r2: np.ndarray
    moved: float
    total: float


class CoMovingWeights(Stateful):
    """One step on ``W_l, b_l``, l < L, and all auxiliaries; F with its penalty does not increase.

    Step length, damping and momentum are remembered from update to update: an object belongs to
    one run.

    Parameters
    ----------
    mu : float, default 1e-8
        Damping of the Gram matrices relative to their mean eigenvalue, to start with: halved
        when the first candidate is accepted, four times larger after every rejected one.
    momentum : bool, default True
        Whether candidates carry on the last change with beta = k/(k+3), k = updates since one
        was rejected.
    shrink, growth, max_step : float
        The step length t is multiplied by `shrink` when F rises and by `growth`, up to
        `max_step`, when the first candidate is accepted.
    max_trials : int, default 7
        Bound on the candidates; when all are rejected, the auxiliaries move alone.
    active : float, default 1e-2
        Rows whose ``e_n^2`` is at most this share of F (which is a mean; the weight of the row
        does not count) are left out of the sums for the step and
        do not take the rank-one step: few rows carry nearly all of F.
    row_search : RowSearch, optional
        Line search of the rank-one step.
    """

    state_names = ("mu", "t", "age", "former")

    def __init__(
        self,
        *,
        mu: float = 1e-8,
        momentum: bool = True,
        shrink: float = 0.3,
        growth: float = 2.0,
        max_step: float = 8.0,
        max_trials: int = 7,
        active: float = 1e-2,
        row_search: RowSearch | None = None,
    ) -> None:
        self.name = "W, b, A"
        self.mu = mu
        self.momentum = momentum
        self.shrink, self.growth, self.max_step = shrink, growth, max_step
        self.max_trials = max_trials
        self.active = active
        self.row_search = row_search or RowSearch(0.3, 1)
        self.t, self.age = 1.0, 0
        self.former: list[np.ndarray] = []

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        return {f"{letter}{l}" for letter in "WbAR" for l in range(1, state.depth)}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Move weights, biases and auxiliaries in place; F with its penalty does not increase.

        While candidates are tried, the memory of A holds their residuals: A follows from the
        weights and the accepted residuals by a forward pass at the end.
        """
        F, old = problem.objective.separated_loss(state).total, problem.objective.penalised(state)
        changes, limit = _changes(problem, state, self.mu, self.active * F)
        if not any(np.any(change) for change in changes):
            return Step(self.name, 0.0, 0.0, "gauss-newton")
        theta = [np.hstack([state.W[l], state.b[l][:, None]]) for l in range(1, state.depth)]
        beta = self.age / (self.age + 3.0) if self.momentum and self.former else 0.0
        t, accepted = self.t, False
        for trial in range(1, self.max_trials + 2):
            moved = [x + t * dx for x, dx in zip(theta, changes, strict=True)]
            if beta:
                for x, now, was in zip(moved, theta, self.former, strict=True):
                    x += beta * (now - was)
            new = self._candidate(problem, state, moved, limit)
            accepted = new.total <= old  # a NaN counts as an increase
            if accepted:
                break
            beta, self.age = 0.0, 0
            t = t * self.shrink if trial < self.max_trials else 0.0
        self._remember(t, trial)
        if accepted:
            self.age, self.former = self.age + 1, theta
            _take_over(state, new)
        _settle(problem, state)
        share = min(t, 1.0) or new.moved
        return Step(self.name, share if accepted else 0.0, float(trial), "gauss-newton")

    def _remember(self, t: float, trial: int) -> None:
        """Choose the next first step length and damping."""
        if trial == 1:
            self.t, self.mu = min(self.max_step, self.growth * t), 0.5 * self.mu
        else:
            self.t, self.mu = max(t, 1e-3), self.mu * 4.0 ** (trial - 1)
        self.mu = min(max(self.mu, _MU_RANGE[0]), _MU_RANGE[1])

    def _candidate(
        self, problem: TrainingProblem, state: State, theta: list[np.ndarray], limit: np.ndarray
    ) -> _Candidate:
        """Return the sums of F at new weights; their residuals go to the memory of A."""
        objective, dtype, L = problem.objective, problem.samples.dtype, state.depth
        W = [state.W[0], *(np.ascontiguousarray(x[:, :-1], dtype) for x in theta), state.W[L]]
        b = [state.b[0], *(np.ascontiguousarray(x[:, -1], dtype) for x in theta), state.b[L]]
        nu = state.nu.copy()
        for l in range(1, L):
            nu[l] = objective.squared_norm(l, W[l])
        w = objective.weights(nu)
        old = objective.penalised(state)
        floor = self.active * objective.separated_loss(state).total
        # Once part of the sum is above twice the old value, the rest cannot save the candidate;
        # the factor keeps the outcome apart from rounding, so from the order of the blocks.
        spent, budget = [0.0], 2.0 * problem.n_samples * old

        def task(rows: slice, ws: Workspace) -> tuple[float, ...]:
            if spent[0] > budget:
                return (np.inf, *np.zeros(L - 1), 0.0, 0.0)
            joint = JointRows(problem, W, b, w, rows, ws)
            R = [_no_columns(rows), *(a[rows] for a in state.R[1:])]
            out = [a[rows] for a in state.A]
            sums = joint.minimise(R, limit[rows], floor, self.row_search, out)
            spent[0] += sums[0]
            return sums

        e2, *r2_sums, moved, _ = problem.team.sum(task, problem.blocks)
        n, r2 = problem.n_samples, np.array(r2_sums)
        total = e2 / n + float(np.sum(w[1:-1] * r2 / n)) + objective.penalty(W)
        return _Candidate(W, b, nu, e2, r2, moved / n, total)


def _take_over(state: State, new: _Candidate) -> None:
    """Store an accepted candidate, whose residuals are in the memory of A."""
    for l in range(1, state.depth):
        state.W[l][...], state.b[l][...] = new.W[l], new.b[l]
        state.A[l], state.R[l] = state.R[l], state.A[l]
    state.nu, state.e2, state.r2[1:] = new.nu, new.e2, new.r2


def _settle(problem: TrainingProblem, state: State) -> None:
    """Set the auxiliaries by a forward pass with the residuals injected."""

    def task(rows: slice, ws: Workspace) -> None:
        walk = AuxiliaryWalk(problem.network, state.W, state.b, ws)
        walk.A, walk.R = [A[rows] for A in state.A], [R[rows] for R in state.R]
        walk.forward(problem.batch.seen(problem.network, rows, ws), state.depth - 1)

    problem.team.map(task, problem.blocks)


def _changes(
    problem: TrainingProblem, state: State, mu: float, floor: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return ``[dW, db]_l``, l = 1..L-1, and ``F_n`` of every row."""
    w, decay = problem.objective.weights(state.nu), problem.objective.decay
    limit = np.empty(problem.n_samples)

    def task(rows: slice, ws: Workspace) -> tuple[Any, ...]:
        return _row_sums(problem, state, w, rows, ws, limit[rows], floor)

    top, weight, *sums = problem.team.sum(task, problem.blocks)
    hidden = range(1, state.depth)
    parts = [sums[i : i + 6] for i in range(0, len(sums), 6)]
    measured = measured_weights(np.array([0.0, *(part[0] for part in parts), top]))
    changes, eta = [], 0.0
    for l, (_, r2, in_W, in_b, gram, total) in zip(hidden, parts, strict=True):
        # Everything in units of 1/w_l: weights above may be huge or zero.
        ridge, lhs = w[l] * eta + decay, bordered(gram, total, weight)
        lhs *= min(w[l], measured[l]) if w[l] > 0.0 else measured[l]
        diagonal = diagonal_of(lhs)
        diagonal += mu * float(np.sum(diagonal)) / len(lhs)
        diagonal[:-1] += ridge
        rhs = -np.hstack([in_W + ridge * state.W[l], in_b[:, None]])
        changes.append(solve_normal_equations(lhs, rhs).X)
        eta = r2 + state.nu[l] * eta
    return changes, limit


def _row_sums(
    problem: TrainingProblem,
    state: State,
    w: np.ndarray,
    rows: slice,
    ws: Workspace,
    limit: np.ndarray,
    floor: float,
) -> tuple[Any, ...]:
    """Write ``F_n`` of a block of rows to `limit` and return the sums of those above `floor`.

    They are ``|G|^2`` and ``v``, then per layer ``|delta_l|^2``, ``|R*_l|^2``,
    ``(lambda delta_l)' [S, 1]`` and ``[S, 1]' diag(v) S``, all with the weights of the samples.
    """
    joint = JointRows(problem, state.W, state.b, w, rows, ws)
    seen = problem.seen(state, state.depth, rows, ws)
    logits = ws.array("start U", (len(seen), len(state.W[-1])), seen.dtype)
    logits = problem.network.layer(state.depth).add_bias(
        seen.product(state.W[-1], logits), state.b[-1]
    )
    G, e = joint.losses("start", logits, joint.y)
    np.square(e, out=limit, casting="same_kind")
    active = np.flatnonzero(limit > floor)
    part = np.empty(len(limit))
    for l in range(1, state.depth):
        row_sums_of_squares(state.R[l][rows], part)
        limit += w[l] * part
    return _active_sums(problem, state, w, active + rows.start, ws, G[active], e[active])


def _active_sums(
    problem: TrainingProblem,
    state: State,
    w: np.ndarray,
    rows: np.ndarray,
    ws: Workspace,
    G: np.ndarray,
    e: np.ndarray,
) -> tuple[Any, ...]:
    """Return the sums of `_row_sums` over the given rows, with their ``P - t`` and losses."""
    network, loss, hidden = problem.network, problem.loss, range(1, state.depth)
    A = [state.A[0], *(a[rows] for a in state.A[1:])]
    S, D = derivatives(network, A, ws)
    seen = [problem.samples.seen_by(network.layer(1), rows, ws)]
    seen += [Seen(network.layer(l), S[l - 1]) for l in hidden[1:]]
    delta, size = back_propagate(network, state.W, G, D, ws)
    top, v, inner = (np.zeros(len(rows)) for _ in range(3))
    loss.curvature(G, loss.y[rows], e, top, v)
    for l in hidden:
        add_inner_rows(delta[l], state.R[l][rows], inner)
    lam = gauss_newton_step(e.astype(np.float64), inner, size, w)
    inverse = inverse_weights(w)
    top, v, weighted_lam = (loss.weigh(values, rows) for values in (top, v, lam))
    root = np.sqrt(v)
    sums: list[Any] = [float(np.sum(top)), float(np.sum(v))]
    for l in hidden:
        own = loss.weigh(size[l], rows)
        target2 = float(np.dot(own, np.square(lam * inverse[l])))
        scale_rows(delta[l], weighted_lam)
        sums += [float(np.sum(own)), target2]
        sums += _layer_sums(delta[l], seen[l - 1], root, ws, l)
    return tuple(sums)


def _layer_sums(
    T: np.ndarray, seen: Seen, root: np.ndarray, ws: Workspace, l: int
) -> tuple[np.ndarray, ...]:
    """Return ``T'S``, the column sums of T, ``S'VS`` and ``v'S``, in workspace memory.

    They are formed in float64 whatever the dtype of S: the damping goes far below the rounding
    of float32, and only the active rows take part.
    """
    layer, T = seen.layer, T.astype(np.float64, copy=False)
    seen = seen.cast(np.float64, ws, "wide S")
    rooted = seen.scaled(root, ws, "V")
    return (
        seen.correlation(T, ws.array(f"T'S {l}", layer.weight_shape, np.float64)),
        T.sum(axis=0),
        rooted.metric(ws, f"V'V {l}"),
        rooted.weighted_sum(root),
    )


def _no_columns(rows: slice) -> np.ndarray:
    """Return the residuals of layer 0, which has none, for a block of rows."""
    return np.empty((rows.stop - rows.start, 0))
