"""The auxiliaries of one block of rows, all layers at once: passes and line search.

A row starts synchronised (R = 0) or with its residuals carried along by a forward pass that
injects them, whichever costs less.  Rows whose loss still matters then take the step of
`rank_one`, each with a length of its own; the others need no more than that forward pass.
Sample weights are a common factor of a row: they enter the sums, never a row's decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..kernels.auxiliaries import row_sums_of_squares
from ..kernels.joint import add_inner_rows, rank_one_rows
from ..layers.seen import Seen
from ..network import Network
from ..network.walk import AuxiliaryWalk
from ..objective import TrainingProblem
from ..threads.team import Workspace
from .rank_one import back_propagate, gauss_newton_step, inverse_weights

__all__ = ["JointRows", "RowSearch", "derivatives"]


@dataclass
class _Pass:
    """A forward pass of some rows: pre-activations (index 0 is empty), ``P - t``, losses."""

    Z: list[np.ndarray]
    G: np.ndarray
    e: np.ndarray

    def take_over(self, rows: np.ndarray, other: _Pass, flags: np.ndarray) -> None:
        """Replace `rows` by the flagged rows of another pass."""
        for own, new in zip(self.Z[1:], other.Z[1:], strict=True):
            own[rows] = new[flags]
        self.G[rows], self.e[rows] = other.G[flags], other.e[flags]


@dataclass
class _Active:
    """The rows that take the rank-one step, and what it needs."""

    rows: np.ndarray
    R: list[np.ndarray]
    delta: list[np.ndarray]
    lam: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class RowSearch:
    """Line search of the rank-one step, one step length per row.

    Attributes
    ----------
    shrink : float
        Factor in (0, 1) between trials.
    max_trials : int
        Bound on the trials; a row without an accepted trial stays where it started.
    """

    shrink: float = 0.4
    max_trials: int = 8


class JointRows:
    """Minimisation over the residuals of one block of rows, which stays in cache.

    Parameters
    ----------
    problem : TrainingProblem
        Network, loss and data.
    W, b : sequences of ndarray
        Weights and biases, which need not be those of a state.
    w : ndarray, shape (L+1,)
        Adaptive weights that belong to `W`.
    rows : slice
        The samples.
    ws : Workspace
        Scratch memory.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        W: Sequence[np.ndarray],
        b: Sequence[np.ndarray],
        w: np.ndarray,
        rows: slice,
        ws: Workspace,
    ) -> None:
        self.network, self.W, self.b, self.w, self.ws = problem.network, W, b, w, ws
        self.samples, self.loss = problem.samples, problem.loss
        self.rows, self.y = rows, problem.loss.y[rows]
        self.hidden = range(1, self.network.depth)

    def forward(
        self,
        name: str,
        R: Sequence[np.ndarray] | None = None,
        pick: np.ndarray | None = None,
    ) -> _Pass:
        """Run a forward pass of the picked rows (None: all) with residuals injected.

        Every layer keeps its own arrays under `name` until the next pass of that name.
        """
        rows = self.rows if pick is None else pick + self.rows.start
        walk = _JointWalk(self.network, self.W, self.b, self.ws)
        walk.name, walk.R, walk.Z = name, R, [np.empty((0, 0))]
        U = walk.forward(self.samples.seen_by(self.network.layer(1), rows, self.ws))
        return _Pass(walk.Z, *self.losses(name, U, self.y if pick is None else self.y[pick]))

    def losses(self, name: str, U: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``P - t``, in the place of the surrogate logits U, and the losses."""
        e = self.ws.array(f"{name} e", (len(U),), U.dtype)
        self.loss.gradient(U, y, e, U)
        return U, e

    def minimise(
        self,
        R: Sequence[np.ndarray],
        limit: np.ndarray,
        floor: float,
        search: RowSearch,
        R_out: Sequence[np.ndarray],
        A_out: Sequence[np.ndarray] | None = None,
    ) -> tuple[float, ...]:
        """Synchronise the rows where that pays, and take the rank-one step.

        Parameters
        ----------
        R : sequence of ndarray
            Residuals of these rows; ``R[0]`` has as many rows and no columns.
        limit : ndarray of float64, shape (rows,)
            Rows whose true ``e_n^2`` is at most this are synchronised without a look at the
            forward pass with R injected.
        floor : float
            Synchronised rows whose ``e_n^2`` is at most this take no further step.
        search : RowSearch
            Line search of every row.
        R_out, A_out : sequences of ndarray
            Overwritten with the new residuals (may be `R`) and, unless None, the auxiliaries.

        Returns
        -------
        tuple of float
            Weighted sums of ``e_n^2`` and of ``|R_{l,n}|^2``, l < L; rows moved; trials.
        """
        start = self._start(R, limit)
        active = self._activate(start, R, np.flatnonzero((self.e2 > floor) | (self.keep > 0.0)))
        for l in self.hidden:
            R_out[l][...] = 0.0
            kept = np.flatnonzero(self.keep[active.rows])
            R_out[l][active.rows[kept]] = active.R[l][kept]
            if A_out is not None:
                A_out[l][...] = start.Z[l]
        t, pick, trials, moved = 1.0, np.arange(len(active.rows)), 0, 0
        for _ in range(search.max_trials):
            if not len(pick):
                break
            accepted = self._attempt(t, active, pick, R_out, A_out)
            trials += len(pick)
            moved += int(np.count_nonzero(accepted))
            pick = pick[~accepted]
            t *= search.shrink
        sums = [self.loss.weighted_sum(row, self.rows) for row in (self.e2, *self.r2[1:-1])]
        return (*sums, moved, trials)

    def _start(self, R: Sequence[np.ndarray], limit: np.ndarray) -> _Pass:
        """Choose every row's starting point.

        ``keep`` is 1.0 where the residual is kept and 0.0 where the row is synchronised.
        """
        start = self.forward("start")
        k = len(self.y)
        self.keep, self.r2 = np.zeros(k), np.zeros((len(self.w), k))
        self.e2 = np.square(start.e, dtype=np.float64)
        pick = np.flatnonzero(~(self.e2 <= limit))
        if len(pick):
            own = [a[pick] for a in R]
            carried = self.forward("carried", own, pick)
            r2 = np.zeros((len(self.w), len(pick)))
            for l in self.hidden:
                row_sums_of_squares(own[l], r2[l])
            e2 = np.square(carried.e, dtype=np.float64)
            better = ~(self.e2[pick] <= e2 + self.w[1:-1] @ r2[1:-1])
            rows = pick[better]
            start.take_over(rows, carried, better)
            self.keep[rows], self.e2[rows], self.r2[:, rows] = 1.0, e2[better], r2[:, better]
        return start

    def _activate(self, start: _Pass, R: Sequence[np.ndarray], rows: np.ndarray) -> _Active:
        """Back-propagate the given rows from their starting point."""
        Z = [start.Z[0], *(a[rows] for a in start.Z[1:])]
        D = derivatives(self.network, Z, self.ws)[1]
        delta, size = back_propagate(self.network, self.W, start.G[rows], D, self.ws)
        own, inner, keep = [a[rows] for a in R], np.zeros(len(rows)), self.keep[rows]
        for l in self.hidden:
            add_inner_rows(delta[l], own[l], inner)
        e = start.e[rows].astype(np.float64)
        lam = gauss_newton_step(e, np.where(keep > 0.0, inner, 0.0), size, self.w)
        value = self.e2[rows] + self.w[1:-1] @ self.r2[1:-1, rows]
        return _Active(rows, own, delta, lam, value)

    def _attempt(
        self,
        t: float,
        active: _Active,
        pick: np.ndarray,
        R_out: Sequence[np.ndarray],
        A_out: Sequence[np.ndarray] | None,
    ) -> np.ndarray:
        """Try ``R + t (R* - R)`` on picked active rows; keep it where F_n does not rise."""
        everything = len(pick) == len(active.rows)
        rows, inverse = active.rows[pick], inverse_weights(self.w)
        keep, lam = self.keep[rows] * (1.0 - t), active.lam[pick]
        new_R, r2 = [active.R[0][pick]], np.zeros((len(self.w), len(pick)))
        for l in self.hidden:
            R, delta = active.R[l], active.delta[l]
            if not everything:
                R, delta = R[pick], delta[pick]
            new_R.append(self.ws.array(f"new R {l}", delta.shape, delta.dtype))
            rank_one_rows(R, delta, keep, -t * inverse[l] * lam, new_R[l], r2[l])
        trial = self.forward("trial", new_R, rows)
        e2 = np.square(trial.e, dtype=np.float64)
        accepted = e2 + self.w[1:-1] @ r2[1:-1] <= active.value[pick]  # NaN: an increase
        target = rows[accepted]
        self.e2[target], self.r2[:, target] = e2[accepted], r2[:, accepted]
        for l in self.hidden:
            R_out[l][target] = new_R[l][accepted]
            if A_out is not None:
                A_out[l][target] = trial.Z[l][accepted]
        return accepted


class _JointWalk(AuxiliaryWalk):
    """A walk with residuals injected whose outputs stay under a name, not in the state."""

    name: str
    Z: list[np.ndarray]

    def outputs(self, l: int, seen: Seen) -> np.ndarray:
        shape = (len(seen), self.network.layer(l).n_outputs)
        if l == self.network.depth:
            return self.ws.array(f"{self.name} U", shape, seen.dtype)
        self.Z.append(self.ws.array(f"{self.name} Z {l}", shape, seen.dtype))
        return self.Z[l]

    def features(self, l: int, Z: np.ndarray) -> np.ndarray:
        return self.network.feature(l, Z, self.ws, f"{self.name} S")


def derivatives(
    network: Network, Z: Sequence[np.ndarray], ws: Workspace
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return ``S_l = s(Z_l)`` and ``s'(Z_l)``, l = 0..L-1, in workspace memory; 0 is empty."""
    S, D = [Z[0]], [Z[0]]
    for l in range(1, network.depth):
        S.append(ws.array(f"active S {l}", Z[l].shape, Z[l].dtype))
        D.append(ws.array(f"active D {l}", Z[l].shape, Z[l].dtype))
        network.features[l].forward_with_derivative(Z[l], S[l], D[l])
    return S, D
