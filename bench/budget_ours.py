"""Train lysep_fast for bench_budgets.py: a planned number of epochs, no early stopping."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from budget_clock import Clock, Stopwatch, Trained
from budget_sets import BudgetSet

import lysep_fast

__all__ = ["FIRST_UNITS", "PERIOD", "train"]

#: The first epoch takes more Gram matrices than the others.
FIRST_UNITS, PERIOD = 1, 1
#: Epochs of a training that is ended from outside.
_ENDLESS = 10**6
#: Options of the solver itself; all others are those of `train`.
_SOLVER = ("polar_rate", "polar_decay")


def train(
    data: BudgetSet,
    setting: Mapping[str, Any],
    seed: int,
    threads: int,
    units: int | None,
    watch: Stopwatch | None = None,
) -> Trained:
    """Train so many epochs, or until the stopwatch says so, and test."""
    options = {k: v for k, v in setting.items() if k not in (*_SOLVER, "inputs")}
    if setting:
        own = {k: v for k, v in setting.items() if k in _SOLVER}
        # The rivals do not form their training loss after every epoch either.
        options["solver_options"] = {"steps": "polar", "monitor": "running", **own}
    inputs = setting.get("inputs", "own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        clock = Clock()

        def note(row: lysep_fast.HistoryRow) -> bool:
            return watch is not None and row.sweep > 0 and watch.watch(lambda: clock.seconds)

        X, mean = data.X, np.float32(0.0)
        if inputs == "centred":
            mean = X.mean(axis=0)
            X = X - mean
        result = lysep_fast.train(
            X,
            data.y,
            solver="mini-batch",
            hidden_layer_sizes=data.hidden,
            standardise=None if inputs == "own" else False,
            early_stopping=False,
            max_iter=units or _ENDLESS,
            tol=0.0,
            n_iter_no_change=np.inf,
            random_state=seed,
            n_threads=threads,
            callback=note,
            **options,
        )
        seconds = clock.seconds
    P = result.predict_proba(data.X_test - mean)
    of_class = np.maximum(P[np.arange(len(P)), data.y_test], np.finfo(P.dtype).tiny)
    return Trained(
        seconds,
        float(np.mean(P.argmax(axis=1) == data.y_test)),
        float(-np.mean(np.log(of_class))),
        result.history[-1].sweep,
    )
