"""Tiny runs of every solver with all that a checkpoint has to keep, for tests and torture."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from lysep_fast import train
from lysep_fast.container.stateful import flatten
from lysep_fast.pde import Box, Operator, Problem, solve

__all__ = ["EQUATIONS", "LAST", "PDE_RUNS", "RUNS", "fingerprint", "perform"]

RNG = np.random.default_rng(7)
X = RNG.standard_normal((90, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
IMAGES = RNG.standard_normal((40, 1, 6, 6))
SIDES = (IMAGES[:, 0, 0, 0] > 0).astype(int)
LAST = 9  # sweeps of the whole run

DENSE = {"X": X, "y": Y, "hidden_layer_sizes": (6, 5)}
CONV = {"X": IMAGES, "y": SIDES, "hidden_layer_sizes": (5,), "conv_channels": (2,)}
SINGLE = DENSE | {"X": X.astype(np.float32)}
NUMBERS = DENSE | {"y": X[:, :2] ** 2 + 3.0, "loss": "squared-error"}
SUBSETS = {"solver": "alternating", "batch_size": 20, "refresh_every": 3}
CO_MOVING = {"solver": "alternating", "solver_options": {"variant": "co-moving"}}
# Small first shares and frequent renewals, so that every branch is taken in a few steps.
NEWTON = {"solver": "quasi-newton", "solver_options": {"refresh": 2, "history": 3}}
OFTEN = {"gram_period": 2, "inverse_period": 2}
BATCHES = {"solver": "mini-batch", "solver_options": OFTEN | {"steps": "gram"}}
POLAR = {"solver": "mini-batch", "solver_options": OFTEN | {"steps": "polar", "polar_period": 3}}

RUNS = {
    "paper": DENSE | {"solver": "alternating"},
    "paper, float32": SINGLE | {"solver": "alternating", "alpha": 1e-3},
    "paper, convolution": CONV | {"solver": "alternating", "weights": "patch"},
    "paper, regression": NUMBERS | {"solver": "alternating"},
    "paper, subsets": DENSE | SUBSETS | {"solver_options": {"report_every": 2}},
    "paper, subsets, convolution": CONV | SUBSETS,
    "co-moving": DENSE | CO_MOVING | {"label_smoothing": 0.1},
    "co-moving, weighted": DENSE | CO_MOVING | {"sample_weight": np.arange(90) % 3},
    "co-moving, subsets": DENSE | CO_MOVING | SUBSETS,
    "measured sweeps": DENSE | {"solver": "measured-sweeps", "batch_size": 20},
    "measured sweeps, convolution": CONV | {"solver": "measured-sweeps", "batch_size": 15},
    "quasi-newton": DENSE | NEWTON,
    "quasi-newton, warming": DENSE
    | {"X": np.tile(X, (8, 1)), "y": np.tile(Y, 8), "solver": "quasi-newton", "alpha": 1e-3},
    "quasi-newton, rejected": DENSE
    | {"X": np.tile(X, (8, 1)), "y": np.tile(Y, 8), "solver": "quasi-newton", "alpha": 1e-3}
    | {"solver_options": {"max_trials": 1, "mu": 1e-5, "mu_min": 1e-9}},
    "quasi-newton, convolution": CONV | NEWTON,
    "quasi-newton, regression": NUMBERS | NEWTON,
    "mini-batch": DENSE | BATCHES,
    "mini-batch, held out": SINGLE | BATCHES | {"early_stopping": True},
    "mini-batch, convolution": CONV | BATCHES | {"early_stopping": True},
    "mini-batch, regression": NUMBERS | BATCHES,
    "mini-batch, polar": DENSE | POLAR,
    "mini-batch, polar, convolution": CONV | POLAR | {"early_stopping": True},
}

CUBE = (lambda u: u**3, lambda u: 3 * u**2)


def sines(points):
    return np.prod(np.sin(np.pi * points), axis=1)


EQUATIONS = {
    "linear": Problem.manufactured(Box(-1, 1, 2), Operator(-1.0), sines),
    "cubic": Problem.manufactured(Box(-1, 1, 2), Operator(-1.0, nonlinearity=CUBE), sines),
}
PDE_SOLVERS = {
    "variable-projection": {"refresh": 3},
    "nesterov": {"refresh": 3},
    "alternating": {},
    "random-features": {"scales": [0.5, 1.0]},
}
PDE_RUNS = {
    f"{name}, {kind}": {"problem": problem, "solver": name, "solver_options": options}
    for name, options in PDE_SOLVERS.items()
    for kind, problem in EQUATIONS.items()
}
PDE_RUNS["rejected"] = {
    "problem": EQUATIONS["cubic"],
    "solver": "variable-projection",
    "solver_options": {"max_trials": 1, "damping": None},
}
SMALL = {"hidden_layer_sizes": (6, 5), "n_interior": 80, "n_boundary": 16}  # three parts


def perform(run: dict[str, Any], **options: Any) -> Any:
    """Train or solve, and return the result."""
    given = {"max_iter": LAST, "random_state": 3, "n_threads": 1} | run | options
    if "problem" in given:
        return solve(given.pop("problem"), **(SMALL | given))
    return train(given.pop("X"), given.pop("y"), **given)


def fingerprint(result: Any) -> str:
    """Return a hash of weights, status and history without its times."""
    rows = [dataclasses.replace(row, seconds=0.0) for row in result.history]
    kept = {"rows": rows, "status": result.status.name, "best": result.best_iter}
    if hasattr(result, "W"):
        kept |= {"W": result.W[1:], "b": result.b[1:]}
    else:
        kept |= {"theta": result.hidden.theta, "w": result.w}
    total = hashlib.sha256()
    for name, value in flatten(kept).items():
        total.update(f"{name} {getattr(value, 'dtype', '')} ".encode())
        total.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return total.hexdigest()
