"""Hidden layer weights and bias in closed form.

    W_l:  min_W ||A_l - b_l - S_{l-1} W'||^2 + eta_l ||W||^2,    then    b_l = mean(A_l - S W')

or both at once (``joint``).  With the residual as a variable the solve is for the increment dW:
``(S'S + eta I) dW' = S'R - eta W'``.  Sample weights c_n make all sums over the samples weighted
ones; with weight decay, eta stands for ``eta_l + n alpha / (2 w_l)``.

For a convolution this is the kernel system (4.5) -> (4.6) of the paper: the rows of S are the
patches at all positions of all samples, ``||W||^2`` counts every tap as often as it is used, and
b_l has one entry per channel.

Sparse inputs of layer 1 are never made dense: with few columns their Gram matrix is, with many,
or where it is singular, the increments come from LSMR (`sparse_weights`).
"""

from __future__ import annotations

import numpy as np

from ..container.stateful import Stateful
from ..kernels.auxiliaries import row_sums_of_squares, shift_residual
from ..linalg.least_squares import (
    Solution,
    merge_triangular,
    solve_normal_equations,
    solve_well_conditioned,
    triangular_factor,
)
from ..linalg.line_search import Trial, backtrack
from ..objective import TrainingProblem
from ..report import Step
from ..state import State
from ..threads.team import Workspace
from .sparse_weights import sparse_increments

__all__ = ["BIAS_MODES", "DAMPING", "LayerWeights"]

BIAS_MODES = ("after", "joint", "none")
#: Factor between the shares of a step that are tried, and how many are.
DAMPING = (0.25, 3)


class LayerWeights(Stateful):
    """Closed-form update of ``(W_l, b_l)``, l < L.

    Parameters
    ----------
    layer : int
        Index l of the layer, 1 <= l < L.
    bias : {"after", "joint", "none"}
        ``after``: W_l first, then b_l (the paper); ``joint``: one solve for both; ``none``: b_l
        stays as it is.
    proximal : float
        Weight of ``||dW||^2`` relative to the mean eigenvalue of ``S'S``; 0 is the exact
        minimiser, a positive value still lowers F strictly.
    """

    state_names = ("_wide",)

    def __init__(self, layer: int, bias: str = "after", proximal: float = 0.0) -> None:
        if bias not in BIAS_MODES:
            raise ValueError(f"bias must be one of {BIAS_MODES}, got {bias!r}")
        self.layer = layer
        self.bias = bias
        self.proximal = proximal
        # Whether sums are formed in float64: always for float64 data, for float32 data from the
        # first system on that is too ill-conditioned for sums in float32.
        self._wide: bool | None = None
        self.name = f"W_{layer}" if bias == "none" else f"W_{layer}, b_{layer}"

    def touches(self, state: State) -> set[str]:
        """Return the names of the variables an update may change."""
        names = {f"W{self.layer}", f"R{self.layer}"}
        return names if self.bias == "none" else names | {f"b{self.layer}"}

    def update(self, problem: TrainingProblem, state: State) -> Step:
        """Solve for the weights in place; F (with its penalty) does not increase.

        A well-conditioned solve in the Frobenius norm is the minimiser and is taken as it is.
        Rounding can spoil a nearly singular one, and in another norm the solve minimises a model
        of F only: such a step is measured first and damped towards the old weights until F does
        not rise.
        """
        l, objective = self.layer, problem.objective
        eta, decay = objective.ridge(l, state), self._decay(problem, state)
        if not np.isfinite(decay):
            # A zero map above: only the penalty sees W_l, and would take it to zero as well.
            return Step(self.name, 0.0, 0.0, "cholesky")
        ridge = objective.ridge_diagonal(l, eta, decay)
        solution, dW, db = self._solve(problem, state, ridge)
        # Rounding dW to the dtype of W matters as much as rounding in the sums.
        limit = 8 * len(dW[0]) * float(np.finfo(state.W[l].dtype).eps)
        sure = solution.method == "cholesky" and solution.rcond > limit
        sure = sure and objective.norm != "spectral"
        before = state.r2[l] + objective.weight_cost(l, state.W[l], eta, decay)

        def moved(share: float) -> np.ndarray:
            return (state.W[l] + share * dW).astype(state.W[l].dtype, copy=False)

        def value(share: float) -> float:
            r2 = self._shift(problem, state, share * dW, share * db, commit=False)
            return r2 + objective.weight_cost(l, moved(share), eta, decay)

        search = Trial(1.0, before, 1) if sure else backtrack(value, before, 1.0, *DAMPING)
        if search.accepted:
            share, W = search.step, moved(search.step)
            state.r2[l] = self._shift(problem, state, share * dW, share * db, commit=True)
            state.nu[l], state.W[l][...] = objective.squared_norm(l, W), W
            state.b[l] += share * db
        return Step(self.name, search.step, float(search.trials), solution.method, solution.rcond)

    def _decay(self, problem: TrainingProblem, state: State) -> float:
        """Return ``n alpha / (2 w_l)``; infinite when decay meets a weight of zero."""
        decay = problem.objective.decay
        if not decay:
            return 0.0
        w = float(problem.objective.weights(state.nu)[self.layer])
        return decay / w if w > 0.0 else np.inf

    def _residual(
        self, problem: TrainingProblem, state: State, rows: slice, ws: Workspace
    ) -> np.ndarray:
        """Return the residual of a block of rows."""
        return state.R[self.layer][rows]

    def _sums(
        self, problem: TrainingProblem, state: State, dtype: np.dtype
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return ``S'S``, ``R'S`` and the column sums of S and R, in one pass over the data.

        Products are formed in `dtype`, their sums over blocks in float64.
        """
        l, loss = self.layer, problem.loss
        layer = problem.network.layer(l)
        p = layer.weight_shape[1]
        known_gram = problem.input_gram if l == 1 else None

        def task(rows: slice, ws: Workspace) -> tuple[np.ndarray, ...]:
            R, seen = self._residual(problem, state, rows, ws), problem.seen(state, l, rows, ws)
            s_sum, r_sum = seen.column_sum(loss.sample_weight, rows), loss.weighted_sum(R, rows)
            seen, R = seen.cast(dtype, ws, "wide S"), _cast(R, dtype, ws)
            if loss.sample_weight is not None:
                root = np.sqrt(loss.sample_weight[rows])
                seen = seen.scaled(root, ws, "rooted S")
                R = np.multiply(R, root[:, None], out=ws.array("rooted R", R.shape, R.dtype))
            correlation = seen.correlation(R, ws.array("R'S", layer.weight_shape, dtype))
            if known_gram is not None:
                return correlation, s_sum, r_sum
            return correlation, s_sum, r_sum, seen.gram(ws.array("S'S", (p, p), dtype))

        correlation, s_sum, r_sum, *gram = problem.team.sum(task, problem.blocks)
        # Sums over patches and positions are linear: those of the summed samples are enough.
        s_sum, r_sum = layer.patch_sum(s_sum[None, :]), layer.bias_sum(r_sum[None, :])
        if known_gram is not None:
            return known_gram, correlation, s_sum, r_sum
        if l == 1:
            problem.input_gram = gram[0]
        return gram[0], correlation, s_sum, r_sum

    def _solve(
        self,
        problem: TrainingProblem,
        state: State,
        ridge: np.ndarray,
    ) -> tuple[Solution, np.ndarray, np.ndarray]:
        """Return the solution report and the increments dW, db; `ridge` is a diagonal."""
        if self.layer == 1 and not problem.samples.has_gram:
            return self._solve_sparse(problem, state, ridge)
        if self._wide is None:
            self._wide = state.W[1].dtype == np.float64
        solution = self._solve_sums(problem, state, ridge)
        if solution is None:
            self._wide, problem.input_gram = True, None
            solution = self._solve_sums(problem, state, ridge)
            assert solution is not None
        return solution

    def _solve_sums(
        self, problem: TrainingProblem, state: State, ridge: np.ndarray
    ) -> tuple[Solution, np.ndarray, np.ndarray] | None:
        """Do as `_solve`; None when float32 sums are not enough for the condition they have.

        Sums formed in float32 carry its rounding: the condition they can stand is smaller.
        Sums of float32 data formed in float64 stand all that means anything in such data, at
        twice the cost of the products but a fraction of that of QR.
        """
        dtype = np.dtype(np.float64 if self._wide else np.float32)
        gram, correlation, s_sum, r_sum = self._sums(problem, state, dtype)
        p = gram.shape[0]
        n = problem.loss.total_weight * problem.network.layer(self.layer).n_positions
        joint = self.bias == "joint"
        W = state.W[self.layer].astype(np.float64, copy=False)
        rhs = correlation - ridge * W
        damping = ridge + self.proximal * float(np.trace(gram)) / p
        lhs = gram + np.diag(damping)
        if joint:
            lhs = np.block([[lhs, s_sum[:, None]], [s_sum[None, :], np.full((1, 1), n)]])
            rhs = np.hstack([rhs, r_sum[:, None]])
        solution = None
        eps = float(np.finfo(state.W[1].dtype).eps)
        if dtype != state.W[1].dtype:
            # Singular values of float32 data below p eps of the largest mean nothing.
            solution = solve_well_conditioned(lhs, rhs, (p * eps) ** 2)
        elif dtype == np.float32:
            solution = solve_well_conditioned(lhs, rhs, 8 * p * eps)
            if solution is None:
                return None
        if solution is None and self.layer == 1 and not problem.samples.is_dense:
            lhs[np.diag_indices(len(lhs))] += np.diag(lhs) == 0.0  # columns without entries
            solution = solve_well_conditioned(lhs, rhs, 0.0)
            if solution is None:
                return self._solve_sparse(problem, state, ridge)
        if solution is None:
            solution = solve_normal_equations(
                lhs, rhs, lambda: self._factorise(problem, state, ridge, damping, joint), eps
            )
        if joint:
            return solution, solution.X[:, :-1], solution.X[:, -1]
        dW = solution.X
        db = np.zeros(dW.shape[0])
        if self.bias == "after":
            db = (r_sum - dW @ s_sum) / n
        return solution, dW, db

    def _solve_sparse(
        self, problem: TrainingProblem, state: State, ridge: np.ndarray
    ) -> tuple[Solution, np.ndarray, np.ndarray]:
        """Do as `_solve`, iteratively and without products of two columns."""
        n, W = problem.n_samples, state.W[1]
        R = np.empty((n, len(W)), W.dtype)

        def fill(rows: slice, ws: Workspace) -> None:
            R[rows] = self._residual(problem, state, rows, ws)

        problem.team.map(fill, problem.blocks)
        joint = self.bias == "joint"
        dW, db = sparse_increments(problem, R, W, ridge, self.proximal, joint=joint)
        if self.bias == "after":

            def sums(rows: slice, ws: Workspace) -> tuple[np.ndarray, np.ndarray]:
                seen = problem.seen(state, 1, rows, ws)
                s_sum = seen.column_sum(problem.loss.sample_weight, rows)
                return s_sum, problem.loss.weighted_sum(R[rows], rows)

            s_sum, r_sum = problem.team.sum(sums, problem.blocks)
            db = (r_sum - dW @ s_sum) / problem.loss.total_weight
        return Solution(dW, "lsmr", 0.0, W.shape[1]), dW, db

    def _factorise(
        self,
        problem: TrainingProblem,
        state: State,
        ridge: np.ndarray,
        damping: np.ndarray,
        joint: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the triangular factor of ``[S, 1; diag(damping)^(1/2)]`` and ``Q' [R; ...]``.

        Rows are multiplied by ``sqrt(c_n)``; those of a convolution are the patches.
        """
        l, layer = self.layer, problem.network.layer(self.layer)
        (m, p), positions = state.W[l].shape, layer.n_positions
        columns = p + int(joint)

        def stack(rows: slice, ws: Workspace) -> np.ndarray:
            R, seen = self._residual(problem, state, rows, ws), problem.seen(state, l, rows, ws)
            stacked = ws.array("stacked", (len(R) * positions, columns + m), np.float64)
            stacked[:, :p] = seen.matrix()
            stacked[:, p:columns] = 1.0
            by_position = R.reshape(len(R), m, positions).transpose(0, 2, 1)
            stacked[:, columns:] = by_position.reshape(-1, m)
            samples = stacked.reshape(len(R), -1)  # a view: weighing works in place
            problem.loss.weigh(samples, rows, samples, root=True)
            return stacked

        def task(rows: slice, ws: Workspace) -> np.ndarray:
            return triangular_factor(stack(rows, ws))

        def combine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return triangular_factor(np.vstack([a, b]))

        # Taller blocks than usual: each costs one more factor of p + m rows in the merge.
        height = max(4 * (columns + m), problem.n_samples * positions // 16)
        blocks = problem.blocks.merged(-(-height // positions), -(-8192 // positions))
        whole = problem.team.reduce(task, blocks, combine)
        below, root = np.zeros((p, columns + m)), np.sqrt(damping)
        # Taps that never see the image cost nothing in the Frobenius norm: their rows are zero.
        shift = np.divide(ridge, root, out=np.zeros(p), where=root > 0.0)
        below[:, :p] = np.diag(root)
        below[:, columns:] = -shift[:, None] * state.W[l].T
        return merge_triangular([whole, below], columns)

    def _shift(
        self, problem: TrainingProblem, state: State, dW: np.ndarray, db: np.ndarray, commit: bool
    ) -> float:
        """Return ``sum_n c_n |R_{l,n}|^2`` after the increments; `commit` moves R along."""
        l, dtype = self.layer, state.W[self.layer].dtype
        dW = dW.astype(dtype, copy=False)
        db = np.repeat(db.astype(dtype, copy=False), problem.network.layer(l).n_positions)

        def task(rows: slice, ws: Workspace) -> tuple[float]:
            R, seen = state.R[l][rows], problem.seen(state, l, rows, ws)
            P = seen.product(dW, ws.array("P", R.shape, R.dtype))
            if not commit:
                trial = ws.array("trial", R.shape, R.dtype)
                trial[:] = R
                R = trial
            total = float(shift_residual(R, P, db))
            if problem.loss.sample_weight is not None:
                r2 = np.empty(len(R))
                row_sums_of_squares(R, r2)
                total = problem.loss.weighted_sum(r2, rows)
            return (total,)

        (total,) = problem.team.sum(task, problem.blocks)
        return float(total)


def _cast(R: np.ndarray, dtype: np.dtype, ws: Workspace) -> np.ndarray:
    """Return the array, or a copy of another dtype in workspace memory."""
    if R.dtype == dtype:
        return R
    out = ws.array("wide R", R.shape, dtype)
    out[...] = R
    return out
