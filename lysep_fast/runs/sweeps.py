"""How many sweeps, with which solver and start: chosen by cross-validation, without losing rows.

Every fold is held out once while a network trains on the others; the number of sweeps after which
the held-out loss, averaged over the folds, was lowest is what a run on all samples gets.  Where
the first fold is hardly explained, other starts and solvers are tried on it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers.dense import Dense
from ..loop import Stopping, run
from ..result import Status
from ..samples.kinds import Samples
from ..settings.data import Data
from ..settings.train import Settings
from ..solvers import MiniBatch, choose_init
from ..solvers.training import NetworkTraining
from ..threads.team import Team, Workspace
from .set_up import Inputs, Start, set_up

__all__ = ["Plan", "choose_plan", "n_folds"]

# Fewer samples than this do not tell which kind of steps is better.
_ENOUGH = 1000
# Few samples judge badly: then more folds, which cost little.
_FOLDED_SAMPLES, _MOST_FOLDS = 2000, 5
# Held-out losses, as shares of that of the best constant: above the first other starts are tried,
# which have to be better by the second; above the third there is nothing to predict from, and
# below the fourth hardly anything is left to gain by more sweeps.
_POOR, _BETTER, _NOTHING, _ALL = 0.7, 0.9, 0.995, 0.03


@dataclass(frozen=True)
class Plan:
    """What a run on all samples shall be.

    Attributes
    ----------
    start : Start
        Solver and initial weights.
    sweeps : int
        Number of sweeps.
    status : Status
        Why it stops after them.
    """

    start: Start
    sweeps: int
    status: Status


def n_folds(n_samples: int) -> int:
    """Return the number of folds; 1 is a single split."""
    return int(np.clip(round(_FOLDED_SAMPLES / n_samples), 1, _MOST_FOLDS))


def choose_plan(
    data: Data,
    inputs: Inputs,
    settings: Settings,
    start: Start,
    rng: np.random.Generator,
    team: Team,
) -> Plan | None:
    """Return what did best on held-out samples, or None if there are too few different ones.

    Parameters
    ----------
    data, inputs, settings, team
        As for `set_up`.
    start : Start
        What is tried first.
    rng : numpy.random.Generator
        That of the run; advanced by one draw, whatever is tried.
    """
    seed = int(rng.integers(2**63))
    count = n_folds(len(data.samples))
    key, draws = _key(inputs.samples, team), np.random.default_rng(seed)
    splits = data.targets.folds(count if count > 1 else _MOST_FOLDS, draws, key)[:count]
    if not splits:
        return None
    constant = inputs.loss.unit**2 * inputs.loss.constant

    def curve(start: Start, k: int) -> np.ndarray:
        fresh, own = Start(copy.deepcopy(start.solver), start.init), np.random.default_rng(seed)
        training = set_up(data, inputs, settings, fresh, own, team, splits[k])
        losses = _held_out_losses(training, settings)
        if settings.verbose:
            best = int(np.argmin(losses))
            print(f"fold {k + 1} of {count}: held-out loss {losses[best]:.4e} after {best} sweeps")
        return losses

    curves = [curve(start, 0)]
    if len(data.samples) >= _ENOUGH:
        for other in _kinds(start, data, inputs, settings):
            found = curve(other, 0)
            if np.min(found) < np.min(curves[0]):
                start, curves = other, [found]
    if settings.is_auto and np.min(curves[0]) > _POOR * constant:
        for other in _others(start, settings, inputs.samples.n_features):
            found = curve(other, 0)
            if np.min(found) < _BETTER * np.min(curves[0]):
                start, curves = other, [found]
    curves += [curve(start, k) for k in range(1, count)]
    weight = np.array([inputs.loss.take(held_out).total_weight for _, held_out in splits])
    return _plan(start, _mean(curves, weight), constant, settings.max_iter)


def _held_out_losses(training: NetworkTraining, settings: Settings) -> np.ndarray:
    """Return the held-out losses by the number of sweeps."""
    patience = settings.n_iter_no_change
    run(
        training, Stopping(settings.max_iter, 0.0, patience, Status.EARLY_STOPPED, Status.MAX_ITER)
    )
    if training.result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    losses = np.array([row.validation_loss for row in training.result.history])
    return np.where(np.isfinite(losses), losses, np.inf)


def _plan(start: Start, losses: np.ndarray, constant: float, max_iter: int) -> Plan:
    """Return what follows from the mean held-out losses."""
    sweeps = min(max(int(np.argmin(losses)), 1), max_iter)
    done = sweeps < max_iter or np.min(losses) < _ALL * constant
    status = Status.CROSS_VALIDATED if done else Status.MAX_ITER
    if np.min(losses) > _NOTHING * constant > 0.0:
        status = Status.NOTHING_FOUND
    return Plan(start, sweeps, status)


def _kinds(start: Start, data: Data, inputs: Inputs, settings: Settings) -> Iterator[Start]:
    """Yield other kinds of steps of the same solver."""
    solver: Any = start.solver
    if isinstance(solver, MiniBatch):
        size = len(data.samples), settings.has_dense_hidden
        for other in solver.others(*size, inputs.samples, inputs.loss):
            yield Start(other, start.init)


def _others(start: Start, settings: Settings, n_features: int) -> Iterator[Start]:
    """Yield what is tried where the first start hardly explains anything."""
    if settings.init is None:
        if choose_init(start.solver, n_features, settings.loss) != "normalised":
            yield Start(start.solver, "normalised")
        yield Start(start.solver, "normalised-wide")
    yield Start(settings.other_solver(start.solver), settings.init)


def _key(samples: Samples, team: Team) -> np.ndarray:
    """Return a number of every sample, the same for equal ones: a projection, without its end."""
    layer, out = Dense(samples.n_features, 1), np.empty((len(samples), 1), samples.dtype)
    W = np.random.default_rng(0).normal(size=layer.weight_shape).astype(samples.dtype)

    def project(rows: slice, ws: Workspace) -> None:
        samples.seen_by(layer, rows, ws).product(W, out[rows])

    team.map(project, samples.blocks(samples.n_features))
    size = float(np.max(np.abs(out), initial=0.0)) or 1.0
    return np.round(out[:, 0].astype(np.float64) / size, 4 if out.itemsize == 4 else 9)


def _mean(curves: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean of curves; one that ended earlier stays at its last value."""
    length = max(map(len, curves))
    ends = [np.concatenate([c, np.full(length - len(c), c[-1])]) for c in curves]
    return np.average(ends, axis=0, weights=weight)
