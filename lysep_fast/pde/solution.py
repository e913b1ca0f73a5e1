"""What solving returns: the function u, its history, why it stopped, saving and plotting."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..container.archive import Archive, write_archive
from ..files.solutions import SOLUTION, expected_solution, pack_solution, unpack_solution
from ..losses.pde_residual import PdeResidual
from ..report import HistoryTable, Step
from ..threads.team import Team
from ..validation import check_inputs
from .hidden import Hidden
from .jets import output_jet
from .problem import Problem

__all__ = ["PdeRow", "PdeStatus", "Solution"]


class PdeStatus(enum.Enum):
    """Why solving stopped, with a message for people."""

    RUNNING = "solving has not stopped yet"
    MAX_ITER = "the maximal number of iterations was reached; raise max_iter to go further"
    CONVERGED = "the loss has stopped falling by more than tol"
    CALLBACK = "the callback asked to stop"
    INTERRUPTED = "interrupted by Ctrl-C; the best weights so far are returned"
    NO_PROGRESS = "the loss could not be lowered any further in this precision"
    SOLVED = (
        "the output weights are the least-squares optimum for the random hidden layers; take "
        "solver='variable-projection' to train these too"
    )
    NOT_FINITE = (
        "the loss is no longer finite; the last finite weights are returned. Check the scales of "
        "the domain and of the coefficients"
    )

    @property
    def message(self) -> str:
        """One sentence for people."""
        return self.value


@dataclass(frozen=True)
class PdeRow:
    """The network after one iteration (iteration 0: after the first fit of the output weights).

    Attributes
    ----------
    iteration : int
        Number of iterations done.
    seconds : float
        Wall time since solving began.
    loss : float
        ``J = (1/n) sum r^2 + (lam/n_b) sum rb^2`` of the true network.
    equation, boundary : float
        The two terms of J.
    separated_loss : float
        The separated loss F of solvers with auxiliary variables, J for the others.
    steps : tuple of Step
        What the solver did.
    """

    iteration: int
    seconds: float
    loss: float
    equation: float
    boundary: float
    separated_loss: float
    steps: tuple[Step, ...] = ()


@dataclass
class Solution:
    """A network that solves a differential equation approximately.

    Attributes
    ----------
    problem : Problem or None
        The statement; None after `load` without one.
    hidden : Hidden
        Weights and biases of the hidden layers.
    w : ndarray, shape (m_H,)
        Output weights.
    activation : str
        Name of the activation.
    history : list of PdeRow
        One row per iteration.
    status : PdeStatus
        Why solving stopped.
    best_iter : int
        Iteration that the weights belong to: the one with the smallest J.
    n_threads : int or None
        Threads of the evaluations.
    """

    problem: Problem | None
    hidden: Hidden
    w: np.ndarray
    activation: str
    history: list[PdeRow] = field(default_factory=list)
    status: PdeStatus = PdeStatus.RUNNING
    best_iter: int = 0
    n_threads: int | None = None

    @property
    def message(self) -> str:
        """Why solving stopped, in words."""
        return self.status.message

    @property
    def n_iter(self) -> int:
        """Number of iterations done."""
        return self.history[-1].iteration if self.history else 0

    @property
    def loss(self) -> float:
        """J of the true network at the returned weights."""
        return min((r.loss for r in self.history if np.isfinite(r.loss)), default=float("nan"))

    def u(self, X: Any) -> np.ndarray:
        """Return the solution at the points X, shape (n, d), as an array (n,)."""
        X = self._points(X)
        v = self._jet(X[None])[0]
        if self.problem is None or self.problem.lift is None:
            return v
        D, E = self.problem.lift
        return D(X) * v + E(X)

    __call__ = u

    def grad(self, X: Any) -> np.ndarray:
        """Return the gradient at the points X, shape (n, d); time derivative included."""
        X = self._points(X)
        d = X.shape[1]
        unit = np.broadcast_to(np.eye(d)[:, None], (d, *X.shape))
        O = self._jet(np.concatenate([X[None], unit, np.zeros((1, *X.shape))]))
        v, slope = O[0], O[1:-1].T
        if self.problem is None or self.problem.lift is None:
            return np.ascontiguousarray(slope)
        D, E = self.problem.lift
        return D(X)[:, None] * slope + v[:, None] * D.gradient(X) + E.gradient(X)

    def residual(self, X: Any) -> np.ndarray:
        """Return left-hand minus right-hand side of the equation at the points X, shape (n,)."""
        problem = self._stated("residual")
        on = problem.equations(self._points(X))
        nonlinearity = problem.operator.nonlinearity
        loss = PdeResidual(on.K, on.f, on.weight, nonlinearity, on.lift, on.shift)
        return loss.value(self._jet(on.P))

    def error(self, X: Any) -> float:
        """Return the relative L2 error at the points X against the problem's exact solution."""
        problem = self._stated("error")
        if problem.solution is None:
            raise ValueError("the problem has no exact solution; state it with solution=u")
        X = self._points(X)
        exact = problem.solution(X)
        return float(np.linalg.norm(self.u(X) - exact) / np.linalg.norm(exact))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and history to a model file; the problem is not part of it.

        Raises
        ------
        OSError
            If the file cannot be written; one that was there before is kept.
        """
        write_archive(path, SOLUTION, *pack_solution(self, HistoryTable(PdeRow)))

    @classmethod
    def load(cls, path: str | os.PathLike[str], problem: Problem | None = None) -> Solution:
        """Read what `save` wrote; give the problem again for `residual` and for a lift.

        Raises
        ------
        ModelFileError
            If the file is damaged, made by a newer version, or holds no solution.
        ValueError
            If the solution has its boundary values built in and no problem is given.
        OSError
            If the file cannot be read.
        """
        with Archive.open(path) as archive:
            solution, lifted = cls.read(archive)
        if lifted and (problem is None or problem.lift is None):
            raise ValueError(
                f"{os.fsdecode(path)} holds a solution with boundary values built in: pass the "
                "problem with its lift=(D, E) to Solution.load"
            )
        solution.problem = problem
        return solution

    @classmethod
    def read(cls, archive: Archive) -> tuple[Solution, bool]:
        """Return the solution of an open file, and whether its problem has a lift."""
        archive.check_kind((SOLUTION,))
        table = HistoryTable(PdeRow)
        arrays = archive.arrays(lambda header: expected_solution(header, table))
        fields, widths, lifted = unpack_solution(archive.header, arrays, table, PdeStatus)
        return cls(None, Hidden(widths, fields.pop("theta")), **fields), lifted

    def plot(self, ax: Any = None, n: int = 101) -> Any:
        """Draw u over the domain's box (one or two coordinates) and return the axes.

        Needs matplotlib: ``pip install 'lysep_fast[plot]'``.
        """
        problem = self._stated("plot")
        if problem.dimension > 2:
            raise ValueError(
                f"plot draws one or two coordinates, the problem has {problem.dimension}; "
                "evaluate a section with u(X) and draw that"
            )
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError(
                "plot needs matplotlib; install it with pip install 'lysep_fast[plot]'"
            ) from None
        ax = pyplot.subplots()[1] if ax is None else ax
        low, high = problem.domain.bounds()
        axes = [np.linspace(a, b, n) for a, b in zip(low, high, strict=True)]
        if problem.dimension == 1:
            ax.plot(axes[0], self.u(axes[0][:, None]))
            ax.set(xlabel="x", ylabel="u")
        else:
            grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
            values = self.u(grid.reshape(-1, 2)).reshape(n, n)
            ax.figure.colorbar(ax.pcolormesh(*axes, values.T, shading="gouraud"), ax=ax)
            ax.set(xlabel="$x_1$", ylabel="$x_2$")
        return ax

    def _points(self, X: Any) -> np.ndarray:
        X = check_inputs(X, dtype=np.float64)
        if X.shape[1] != self.hidden.widths[0]:
            raise ValueError(
                f"X has {X.shape[1]} columns, but the solution depends on "
                f"{self.hidden.widths[0]} coordinates"
            )
        return X

    def _jet(self, P: np.ndarray) -> np.ndarray:
        with Team(self.n_threads) as team:
            return output_jet(self.hidden, self.w, self.activation, P, team)

    def _stated(self, what: str) -> Problem:
        if self.problem is None:
            raise ValueError(f"{what} needs the problem; pass it to Solution.load(path, problem)")
        return self.problem
