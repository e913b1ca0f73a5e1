"""How long a set of runs will still take, guessed from the runs that are done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """A run as far as its time goes.

    Attributes
    ----------
    experiment, key : str
        The key is "row/model/seed" or the like; runs that differ in the seed take alike.
    n_steps : int
        Number of steps, about.
    """

    experiment: str
    key: str
    n_steps: int

    def kinds(self) -> Iterator[tuple[str, ...]]:
        """Return what the run is like, from the closest likeness to the loosest."""
        parts = self.key.split("/")
        yield (self.experiment, *parts[:-1])
        yield (self.experiment, "any row", *parts[1:-1])
        yield (self.experiment,)
        yield ()


class TimeLeft:
    """Learns the seconds per step of every kind of run.

    Parameters
    ----------
    n_at_once : int
        Number of runs that are done at the same time.
    """

    def __init__(self, n_at_once: int = 1) -> None:
        self._n_at_once = n_at_once
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}
        self._ahead: list[Planned] = []
        #: By run: when it began, and how many steps it has done.
        self._running: dict[Planned, tuple[float, int]] = {}

    def plan(self, run: Planned) -> None:
        """Count a run that is to be done."""
        self._ahead.append(run)

    def begin(self, run: Planned) -> None:
        """Start a run that was planned."""
        self._ahead.remove(run)
        self._running[run] = time.monotonic(), 0

    def step(self, run: Planned, step: int) -> None:
        """Note how far a run is."""
        self._running[run] = self._running[run][0], step

    def finish(self, run: Planned) -> None:
        """End a run and learn from it."""
        self.learn(run, time.monotonic() - self._running.pop(run)[0])

    def put_back(self, run: Planned) -> None:
        """Return a run that has to wait for another to those ahead."""
        del self._running[run]
        self._ahead.append(run)

    def learn(self, run: Planned, seconds: float) -> None:
        """Take the time of a finished run."""
        for kind in run.kinds():
            total, steps = self._known.get(kind, (0.0, 0))
            self._known[kind] = total + seconds, steps + max(1, run.n_steps)

    def guess(self, run: Planned) -> float | None:
        """Return the seconds of a run, None while nothing is known."""
        for kind in run.kinds():
            if kind in self._known:
                seconds, steps = self._known[kind]
                return seconds / steps * max(1, run.n_steps)
        return None

    def seconds(self) -> float | None:
        """Return the time left in seconds, None while nothing is known."""
        if () not in self._known:
            return None
        now = time.monotonic()
        ahead = sum(self.guess(run) or 0.0 for run in self._ahead)
        for run, (began, step) in self._running.items():
            if step:
                ahead += (now - began) / step * max(0, run.n_steps - step)
            else:
                ahead += max(0.0, (self.guess(run) or 0.0) - (now - began))
        return ahead / self._n_at_once

    def text(self) -> str:
        """Return the time left in words, nothing while nothing is known."""
        seconds = self.seconds()
        return "" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time in two figures or so: 40 s, 7 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
