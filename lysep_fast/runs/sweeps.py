"""How many sweeps, with which solver and start: chosen by cross-validation, without losing rows.

Every fold is held out once while a network trains on the others; the number of sweeps after which
the held-out loss, averaged over the folds, was lowest is what a run on all samples gets.  Where
the first fold is hardly explained, other starts and solvers are tried on it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..loop import Stopping, run
from ..result import Status
from ..settings.data import Data
from ..settings.train import Settings
from ..threads.team import Team
from .set_up import Inputs, Start, set_up

__all__ = ["Plan", "choose_plan", "n_folds"]

# Few samples judge badly: then more folds, which cost little.
_FOLDED_SAMPLES, _MOST_FOLDS, _SHARE = 2000, 5, 0.2
# Held-out losses, as shares of that of the best constant: above the first other starts are tried,
# which have to be better by the second; above the third there is nothing to predict from.
_POOR, _BETTER, _NOTHING = 0.7, 0.9, 0.995


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
) -> Plan:
    """Return what did best on held-out samples.

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
    draws = np.random.default_rng(seed)
    folds = n_folds(len(data.samples))
    if folds > 1:
        splits = data.targets.folds(folds, draws)
    else:
        splits = [data.targets.hold_out(_SHARE, draws)]
    constant = inputs.loss.unit**2 * inputs.loss.constant

    def curve(start: Start, k: int) -> np.ndarray:
        """Return the held-out losses of fold k by the number of sweeps."""
        fresh = Start(copy.deepcopy(start.solver), start.init)
        own = np.random.default_rng(seed)
        training = set_up(data, inputs, settings, fresh, own, team, splits[k])
        patience = settings.n_iter_no_change
        statuses = (Status.EARLY_STOPPED, Status.MAX_ITER)
        run(training, Stopping(settings.max_iter, 0.0, patience, *statuses))
        if training.result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        losses = np.array([row.validation_loss for row in training.result.history])
        if settings.verbose:
            best = int(np.argmin(losses))
            print(f"fold {k + 1} of {folds}: held-out loss {losses[best]:.4e} after {best} sweeps")
        return np.where(np.isfinite(losses), losses, np.inf)

    curves = [curve(start, 0)]
    if settings.is_auto and np.min(curves[0]) > _POOR * constant:
        for other in _others(start, settings):
            found = curve(other, 0)
            if np.min(found) < _BETTER * np.min(curves[0]):
                start, curves = other, [found]
    curves += [curve(start, k) for k in range(1, folds)]
    mean = _mean(curves, np.array([len(held_out) for _, held_out in splits]))
    sweeps = max(int(np.argmin(mean)), 1)
    status = Status.CROSS_VALIDATED if sweeps < settings.max_iter else Status.MAX_ITER
    if np.min(mean) > _NOTHING * constant > 0.0:
        status = Status.NOTHING_FOUND
    return Plan(start, min(sweeps, settings.max_iter), status)


def _others(start: Start, settings: Settings) -> Iterator[Start]:
    """Yield what is tried where the first start hardly explains anything."""
    if settings.init is None:
        yield Start(start.solver, "normalised")
        yield Start(start.solver, "normalised-wide")
    yield Start(settings.other_solver(start.solver), settings.init)


def _mean(curves: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean of curves; one that ended earlier stays at its last value."""
    length = max(map(len, curves))
    ends = [np.concatenate([c, np.full(length - len(c), c[-1])]) for c in curves]
    return np.average(ends, axis=0, weights=weight)
