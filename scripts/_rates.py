"""The search for a baseline's learning rate: the best of a list after short runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ExperimentError
from ._runner import Results, Task

Advance = Callable[[], None]

#: Two, because in deep networks a rate that one seed bears can blow up with the next.
TUNING_SEEDS = (0, 1)


def choose_rate(
    rates: Sequence[float], seeds: Sequence[int], losses: Callable[[float, int], np.ndarray]
) -> tuple[float, list[float]]:
    """Return the rate that leads to the lowest loss, and what every rate leads to.

    The mean over the seeds and the last tenth of the iterations decides: a single value can be a
    lucky moment of an oscillation, a single seed one that a large rate happens to spare.  A rate
    that leads to NaN or infinity with one of the seeds never wins.

    Parameters
    ----------
    rates : sequence of float
    seeds : sequence of int
        Of the initial weights.
    losses : callable
        Given a rate and a seed, returns the losses of a run.

    Raises
    ------
    ExperimentError
        If every rate leads to NaN or infinity.
    """
    tails = dict.fromkeys(itertools.product(rates, seeds), float("inf"))
    for rate, seed in tails:
        loss = losses(rate, seed)
        tails[rate, seed] = float(np.mean(loss[-max(1, len(loss) // 10) :]))
    means = [float(np.mean([tails[rate, seed] for seed in seeds])) for rate in rates]
    found = [mean if np.isfinite(mean) else float("inf") for mean in means]
    if not np.isfinite(min(found)):
        raise ExperimentError(f"all rates {tuple(rates)} diverge; the list needs smaller ones")
    return rates[int(np.argmin(found))], found


def rate_task(
    *,
    key: str,
    label: str,
    settings: dict[str, Any],
    rates: Sequence[float],
    seeds: Sequence[int],
    n_iter: int,
    losses: Callable[[float, int, Advance], np.ndarray],
    possible: bool,
) -> Task:
    """Return the search as a run of its own.

    Parameters
    ----------
    key, label, settings, possible
        As for `Task`.
    rates, seeds
        As for `choose_rate`.
    n_iter : int
        Iterations of every short run.
    losses : callable
        Given a rate, a seed and what to call after every iteration, returns the losses of a run.
    """

    def run(results: Results, advance: Advance) -> dict[str, Any]:
        rate, found = choose_rate(rates, seeds, lambda rate, seed: losses(rate, seed, advance))
        return {"rate": rate, "rates": rates, "losses": found}

    return Task(
        key=key,
        label=f"{label}, search for the rate",
        settings=settings,
        n_steps=n_iter * len(rates) * len(seeds),
        run=run,
        summary=lambda result: f"{result['rate']:g}",
        possible=possible,
    )
