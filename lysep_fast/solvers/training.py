"""What the loop trains of a fully connected or convolutional network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..container.stateful import flatten, prefixed, restore
from ..losses import Loss
from ..objective import SeparatedLoss, TrainingProblem
from ..passes.full import Batch, Evaluation, evaluate, outputs_are_finite
from ..report import Step
from ..result import HistoryRow, Result
from .abilities import check_network
from .protocol import Solver
from .registry import SOLVERS

__all__ = ["Callback", "NetworkTraining"]

Callback = Callable[[HistoryRow], bool | None]

# Where training losses are running means, so many samples tell that of the initial weights.
_GLANCED = 8192


class NetworkTraining:
    """A network, its data and its solver, for `lysep_fast.loop.run`.

    With a validation set, the weights with its smallest loss are the result; without, the last
    finite ones.

    Parameters
    ----------
    problem : TrainingProblem
        Training data and loss.
    solver : Solver
        What steps.
    result : Result
        Holds the initial weights and gets the best ones.
    validation : Batch, optional
        Held-out samples.
    """

    noun, row_kind = "sweeps", HistoryRow
    remedy = "X or y is too large for this network; scale both to about unit size"

    def __init__(
        self,
        problem: TrainingProblem,
        solver: Solver,
        result: Result,
        validation: Batch | None = None,
    ) -> None:
        self.problem, self.solver, self.result = problem, solver, result
        self.validation = validation

    def start(self) -> None:
        """Set the auxiliaries by a forward pass and prepare the solver.

        Raises
        ------
        ValueError
            If the solver cannot handle a layer or feature map of the network.
        """
        check_network(self.solver, self.problem.network, SOLVERS)
        self.state = self.problem.synchronised_state(
            self.result.W, self.result.b, auxiliaries=self.solver.auxiliaries
        )
        self.solver.start(self.problem, self.state)
        self._input_size = self.problem.samples.largest()

    def step(self) -> Sequence[Step]:
        """Do one iteration of the solver."""
        return self.solver.step(self.problem, self.state)

    def measure(
        self, iteration: int, seconds: float, steps: tuple[Step, ...]
    ) -> tuple[HistoryRow, float]:
        """Evaluate the true network and the separated loss; return also what is watched."""
        problem, W, b = self.problem, self.state.W, self.state.b
        known = self.solver.evaluation
        if known is None and iteration == 0 and getattr(self.solver, "running", False):
            known = self._glanced(W, b)
        if known is None:
            known = evaluate(problem.network, W, b, problem.batch, problem.team)
        separated = self._separated(known)
        unit = problem.loss.unit
        row = HistoryRow(
            sweep=iteration,
            seconds=seconds,
            separated_loss=unit * separated.root,
            data=unit**2 * separated.data,
            penalties=unit**2 * separated.penalties,
            steps=steps,
            **self.scores(W, b, known),
        )
        if self.validation is not None:
            return row, row.validation_loss
        return row, self._watched(separated.root, known)

    def _glanced(self, W: list[np.ndarray], b: list[np.ndarray]) -> Evaluation | None:
        """Return what a part of many samples says of the whole, None if there are not many."""
        problem = self.problem
        index = np.arange(0, problem.n_samples, max(1, problem.n_samples // _GLANCED))
        loss = problem.loss.take(index)
        if len(index) == problem.n_samples or not loss.total_weight > 0.0:
            return None
        part = Batch.make(problem.samples.take(index), loss, problem.network)
        seen = evaluate(problem.network, W, b, part, problem.team)
        share = problem.loss.total_weight / loss.total_weight
        sums = {f.name: share * getattr(seen, f.name) for f in dataclasses.fields(seen)}
        return Evaluation(**sums)

    def scores(
        self, W: list[np.ndarray], b: list[np.ndarray], known: Evaluation
    ) -> dict[str, Any]:
        """Return the fields of a history row that tell how good a network is.

        Parameters
        ----------
        W, b : list of ndarray
            Weights and biases.
        known : Evaluation
            Their sums over the training samples.
        """
        problem, name = self.problem, self.problem.loss.score_name
        found: dict[str, Any] = {"accuracy": float("nan")}
        found["loss"], found[name] = _reported(problem.loss, known, problem.n_samples)
        if self.validation is not None:
            held_out = self.validation
            seen = evaluate(problem.network, W, b, held_out, problem.team)
            found["validation_loss"], found[f"validation_{name}"] = _reported(
                held_out.loss, seen, len(held_out)
            )
        return found

    def _separated(self, known: Evaluation) -> SeparatedLoss:
        """Return the separated loss by term."""
        problem, solver = self.problem, self.solver
        if solver.auxiliaries:
            return problem.objective.separated_loss(self.state)
        if solver.separated is not None:
            return solver.separated
        nothing = np.zeros(problem.network.depth - 1)  # synchronised: all residuals are zero
        return SeparatedLoss(known.squares / problem.n_samples, nothing, nothing)

    def _watched(self, root: float, known: Evaluation) -> float:
        """Return the value whose fall counts as progress: the one that the solver works on.

        That is ``sqrt(F + penalty)`` with auxiliaries, the mean loss against smoothed targets plus
        the penalty where the solver promises that it falls, and else the reported loss; `root` is
        LS.  The loss's own units are those of the penalty.
        """
        problem, solver = self.problem, self.solver
        penalty = problem.objective.penalty(self.state.W)
        if solver.auxiliaries:
            return float(np.sqrt(root**2 + penalty)) if penalty else root
        if solver.promise == "loss":
            return known.objective / problem.n_samples + penalty
        return known.loss / problem.n_samples

    def is_finite(self, row: HistoryRow) -> bool:
        """Return whether both losses are finite."""
        return bool(np.isfinite(row.loss) and np.isfinite(row.separated_loss))

    def is_better(self, row: HistoryRow, best: HistoryRow) -> bool:
        """Return whether the weights of `row` replace those of `best`."""
        if self.validation is None:
            better = self.is_finite(row)
        else:
            better = row.validation_loss < best.validation_loss
        return better and self._can_predict()

    def _can_predict(self) -> bool:
        """Return whether the current weights give finite outputs for all training data.

        The losses of a row do not tell where they are running means from before the last steps.
        Nearly always bounds on the sizes of the layers' outputs tell, and no pass is needed.
        """
        problem, W, b = self.problem, self.state.W, self.state.b
        size, lipschitz = self._input_size, problem.network.lipschitz
        for w, v in zip(W[1:], b[1:], strict=True):
            # Cauchy and Schwarz for the rows of w; every |s(z)| is at most c |z| + 1.
            steepest = np.sqrt(w.shape[1]) * float(np.linalg.norm(w))
            size = lipschitz * (steepest * size + float(np.max(np.abs(v), initial=0.0))) + 1.0
        if size < np.finfo(W[1].dtype).max:
            return True
        return outputs_are_finite(problem.network, W, b, problem.batch, problem.team)

    def keep(self) -> None:
        """Copy the current weights into the result."""
        W, b = [w.copy() for w in self.state.W], [v.copy() for v in self.state.b]
        self.result.W, self.result.b = W, b

    def state_dict(self) -> dict[str, Any]:
        """Return variables, solver, random generator and kept weights."""
        solver, rng = self.solver.state_dict(), self.problem.rng
        return flatten({"state": self.state, "solver": solver, "rng": rng, "best": self._best()})

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        restore(found, "state", self.state)
        self.solver.resume(self.problem, self.state, prefixed(found, "solver"))
        restore(found, "rng", self.problem.rng)
        restore(found, "best", self._best())

    def _best(self) -> dict[str, Any]:
        W, b = self.result.W, self.result.b
        return {"W": dict(enumerate(W[1:], start=1)), "b": dict(enumerate(b[1:], start=1))}

    def line(self, row: HistoryRow) -> str:
        """Return a history row in words."""
        held_out = ""
        name, score, held_out_score = "accuracy", row.accuracy, row.validation_accuracy
        if np.isnan(score):
            name, score, held_out_score = "R^2", row.r2, row.validation_r2
        if np.isfinite(row.validation_loss):
            held_out = f"  validation {row.validation_loss:.4e} {100 * held_out_score:6.2f} %"
        return (
            f"sweep {row.sweep:5d}  loss {row.loss:.4e}  separated {row.separated_loss:.4e}  "
            f"{name} {100 * score:6.2f} %{held_out}  {row.seconds:8.2f} s"
        )


def _reported(loss: Loss, seen: Evaluation, n: int) -> tuple[float, float]:
    """Return the mean loss in the units of the targets, and the score."""
    return loss.unit**2 * (seen.loss / n), loss.score(seen.loss / n, seen.correct / n)
