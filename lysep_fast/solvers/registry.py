"""Solvers by their names: which there are, which suits the data, and objects from options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .alternating import Alternating
from .measured import MeasuredSweeps
from .mini_batch import MiniBatch
from .protocol import Solver
from .quasi_newton import QuasiNewton

__all__ = [
    "SOLVERS",
    "choose_activation",
    "choose_init",
    "choose_solver",
    "make_from",
    "make_solver",
]

#: Most features and samples for quasi-newton: in a plane or in space.
AUTO_FLAT = (3, 10_000)
#: Fewest samples in a plane for a regression by quasi-newton.
AUTO_PLANE = 1000
#: Largest ratio of sample weights.
AUTO_RATIO = 1e3


SOLVERS: dict[str, type[Any]] = {
    "alternating": Alternating,
    "quasi-newton": QuasiNewton,
    "mini-batch": MiniBatch,
    "measured-sweeps": MeasuredSweeps,
}


def choose_solver(
    n_samples: int,
    n_features: int,
    loss: str = "cross-entropy",
    sample_weight: np.ndarray | None = None,
) -> str:
    """Return the solver that ``"auto"`` stands for.

    Full-batch quasi-Newton steps win in two or three dimensions, where boundaries are sharp; on
    more features they fit noise.  Noisy numbers are fitted sooner than noisy classes: a
    regression takes them on a line, and in a plane from 1000 samples on.  The limits are measured
    (docs/how_to_choose.md, bench/bench_regression.py).

    Sample weights are a trade-off, and a training loss near zero leaves none: quasi-Newton steps
    end up fitting the lightest samples too, so where they should hardly count they are not taken.
    """
    if sample_weight is not None:
        present = sample_weight[sample_weight > 0.0]
        if np.max(present) > AUTO_RATIO * np.min(present):
            return "mini-batch"
    if loss == "squared-error":
        most = AUTO_FLAT[1]
        dense = n_features == 1 or (n_features == 2 and n_samples >= AUTO_PLANE)
        return "quasi-newton" if dense and n_samples <= most else "mini-batch"
    flat = n_features <= AUTO_FLAT[0] and n_samples <= AUTO_FLAT[1]
    return "quasi-newton" if flat else "mini-batch"


def choose_activation(solver: Any, loss: str) -> str:
    """Return the activation that suits the solver and the loss.

    On tables of classes mini-batch steps do better with ``"relu"``, long polar ones on images with
    ``"gelu"``, and on numbers with ``"tanh"`` (bench/bench_tables.py, bench/bench_budgets.py); the
    other solvers were made for smooth functions.
    """
    if loss == "squared-error" or not isinstance(solver, MiniBatch):
        return "tanh"
    return "gelu" if solver.is_bold else "relu"


def choose_init(solver: Solver, n_features: int, loss: str) -> str:
    """Return the initial weights that suit the solver, the data and the loss.

    In few dimensions a regression needs neurons that bend: from nearly linear ones the mini-batch
    steps do not find sharp waves.
    """
    if loss == "squared-error" and n_features <= AUTO_FLAT[0]:
        return solver.init.removesuffix("-small")
    return solver.init


def make_solver(solver: str | Solver, options: dict[str, Any] | None = None) -> Solver:
    """Return the solver object for a name and its options, as `make_from` does."""
    made: Solver = make_from(SOLVERS, solver, options, others=("auto",))
    return made


def make_from(
    classes: Mapping[str, type[Any]],
    solver: Any,
    options: dict[str, Any] | None,
    others: tuple[str, ...] = (),
) -> Any:
    """Return the object of one of the named classes, or `solver` itself if it is an object.

    `others` are names that a user may give as well, for the message only.

    Raises
    ------
    ValueError
        If the name is unknown, or if options are given with a solver object.
    TypeError
        If an option does not exist for the solver.
    """
    if not isinstance(solver, str):
        if isinstance(solver, type) or not callable(getattr(solver, "step", None)):
            raise TypeError(
                f"solver must be one of {sorted(classes)} or a solver object such as "
                f"{next(iter(classes.values())).__name__}(), got {solver!r}"
            )
        if options:
            raise ValueError(
                f"solver_options={options!r} only go with a solver's name; give them to the "
                f"solver object {solver!r} instead"
            )
        return solver
    if solver not in classes:
        raise ValueError(f"solver must be one of {[*others, *sorted(classes)]}, got {solver!r}")
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"solver_options must be a dict or None, got {options!r}")
    known = inspect.signature(classes[solver]).parameters
    for name, value in (options or {}).items():
        if name not in known:
            raise TypeError(
                f"solver_options has {name}={value!r}, which solver={solver!r} does not know; it "
                f"takes {', '.join(known)}"
            )
    return classes[solver](**(options or {}))
