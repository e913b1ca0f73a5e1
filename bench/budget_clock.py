"""Plan trainings that end within a time: how long their parts take, and how many parts fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lysep_fast.cli import load_experiment

__all__ = ["Clock", "Pace", "Stopwatch", "Trained"]

Clock = load_experiment("_watch")[1].Clock


@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    Attributes
    ----------
    seconds : float
        From the call to the weights; nothing of the evaluation.
    accuracy, loss : float
        On the test samples; the loss is the cross-entropy.
    units : int
        Steps, or epochs, done.
    """

    seconds: float
    accuracy: float
    loss: float
    units: int


@dataclass(frozen=True)
class Pace:
    """Seconds before and after the units of a training together, and of one unit."""

    constant: float
    per_unit: float

    def units(self, budget: float) -> int:
        """Return the largest number of units that ends within the budget, at least one."""
        return max(1, math.floor((budget - self.constant) / self.per_unit + 1e-9))

    @classmethod
    def of(cls, total: float, marks: Sequence[float], skip: int) -> Pace:
        """Return the pace of a training, whose first units are of no use for their own pace.

        Parameters
        ----------
        total : float
            Seconds of all of it.
        marks : sequence of float
            Seconds after every unit.
        skip : int
            Units to pass over; what they took longer than the others is part of the constant.
        """
        if not 0 < skip < len(marks):
            raise ValueError(f"skip must be within 1 and {len(marks) - 1}, got {skip}")
        per_unit = (marks[-1] - marks[skip - 1]) / (len(marks) - skip)
        return cls(max(0.0, total - len(marks) * per_unit), per_unit)


class Stopwatch:
    """Ends a training when it has been watched for long enough.

    Parameters
    ----------
    seconds : float
        Least time to watch.
    skip, period : int
        Units to pass over, and whole periods of units that follow, at least one.
    """

    def __init__(self, seconds: float, skip: int, period: int) -> None:
        self._seconds, self._skip, self._period = seconds, skip, period
        self.marks: list[float] = []

    def watch(self, clock: Callable[[], float]) -> bool:
        """Note the end of a unit; return whether it was the last one."""
        self.marks.append(clock())
        watched = len(self.marks) - self._skip
        return watched > 0 and watched % self._period == 0 and self.marks[-1] >= self._seconds

    def pace(self, total: float) -> Pace:
        """Return the pace of a training that took so many seconds."""
        return Pace.of(total, self.marks, self._skip)
