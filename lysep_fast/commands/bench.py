"""`lysep-fast bench`: in less than a minute, how fast this machine is beside other libraries."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from ..datasets import make_checkerboard
from ..kernels import (
    ACTIVATION_CODES,
    activation_derivative_into,
    squared_cross_entropy_gradient_into,
)
from .arguments import positive
from .bench_training import PEERS, Run, Split, train_here
from .environment import environment
from .messages import OK, note, plain_table

__all__ = ["add_parser", "run"]

_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "torch")
_ENTRIES = 25_600  # what a block of samples has in cache
_SECONDS = 0.3  # for one figure of a kernel
_SAMPLES = 2000
_HIDDEN = (50, 50)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="time kernels and a small training on this machine, in less than a minute",
        description="Time kernels beside NumPy, on one thread, and the training of a small "
        "network beside scikit-learn and torch, if they are installed.",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        metavar="N",
        help="threads of every training (default: 1, which other work on the machine disturbs "
        "least)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    around = environment(_PACKAGES, options.threads)
    note("compiling and timing; do not work on this machine meanwhile")
    kernels = time_kernels(_ENTRIES, _SECONDS)
    runs, ours = time_training(_SAMPLES, _HIDDEN, options.threads)
    if options.json:
        found = {
            "environment": around,
            "kernels": kernels,
            "training": [vars(own) | {"ours": _reached(ours, own.loss)} for own in runs],
        }
        print(json.dumps(found, indent=2, allow_nan=False))
        return OK
    print(_environment_text(around))
    print(f"\nKernels, ns per entry, one thread, {_ENTRIES} entries\n")
    print(_kernel_table(kernels))
    widths = "-".join(map(str, (2, *_HIDDEN, 2)))
    print(
        f"\nTraining of a {widths} tanh network on {_SAMPLES} points of a checkerboard, float64, "
        f"threads: {options.threads}\n"
    )
    print(_training_table(runs, ours))
    return OK


def time_kernels(entries: int, seconds: float) -> list[dict[str, Any]]:
    """Return the median times per entry of kernels and of the same in NumPy and SciPy."""
    rng = np.random.default_rng(0)
    found = []
    for dtype in ("float64", "float32"):
        X = (2 * rng.normal(size=(entries // 100, 100))).astype(dtype)
        U = rng.normal(size=(entries // 10, 10)).astype(dtype)
        y = rng.integers(0, 10, len(U))
        for name, ours, numpys in (
            ("tanh and derivative", *_tanh_tasks(X)),
            ("sigmoid and derivative", *_sigmoid_tasks(X)),
            ("softmax gradient, 10 classes", *_softmax_tasks(U, y)),
        ):
            times = _medians((ours, numpys), seconds)
            found.append(
                {
                    "kernel": name,
                    "dtype": dtype,
                    "lysep_fast": 1e9 * times[0] / entries,
                    "numpy": 1e9 * times[1] / entries,
                }
            )
    return found


def time_training(
    samples: int, hidden: Sequence[int], threads: int
) -> tuple[list[Run], list[tuple[float, float]]]:
    """Return one run of every library that is installed, and seconds and losses of ours."""
    X, y = make_checkerboard(2 * samples, random_state=0)
    split = Split(X[:samples], y[:samples], X[samples:], y[samples:])
    train_here(split, hidden, threads, max_iter=2)  # compiles
    run, curve = train_here(split, hidden, threads)
    runs = [run]
    for peer in PEERS:
        runs += peer(split, hidden, threads)
    return runs, curve


def _tanh_tasks(X: np.ndarray) -> tuple[Callable[[], object], Callable[[], object]]:
    S, D, code = np.empty_like(X), np.empty_like(X), ACTIVATION_CODES["tanh"]

    def numpys() -> None:
        np.tanh(X, out=S)
        np.multiply(S, S, out=D)
        np.subtract(1, D, out=D)

    return lambda: activation_derivative_into(code, X, S, D), numpys


def _sigmoid_tasks(X: np.ndarray) -> tuple[Callable[[], object], Callable[[], object]]:
    S, D, code = np.empty_like(X), np.empty_like(X), ACTIVATION_CODES["sigmoid"]

    def numpys() -> None:
        special.expit(X, out=S)
        np.subtract(1, S, out=D)
        np.multiply(S, D, out=D)

    return lambda: activation_derivative_into(code, X, S, D), numpys


def _softmax_tasks(
    U: np.ndarray, y: np.ndarray
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return tasks for the gradient of the squared cross-entropy."""
    e, G, rows = np.empty(len(U), U.dtype), np.empty_like(U), np.arange(len(U))

    def numpys() -> None:
        log_p = special.log_softmax(U, axis=1)
        loss = -log_p[rows, y]
        np.exp(log_p, out=log_p)
        log_p[rows, y] -= 1
        np.multiply(log_p, 2 * loss[:, None], out=G)

    return lambda: squared_cross_entropy_gradient_into(U, y, e, G), numpys


def _medians(tasks: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Return the median time of every task; they take turns, so that all see the same machine."""
    for task in tasks:
        task()  # compiles
    times: list[list[float]] = [[] for _ in tasks]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for task, own in zip(tasks, times, strict=True):
            began = time.perf_counter()
            task()
            own.append(time.perf_counter() - began)
    return [float(np.median(own)) for own in times]


def _reached(curve: Sequence[tuple[float, float]], loss: float) -> float | None:
    """Return after how many seconds a curve is at or below a loss, None for never."""
    limit = loss * (1.0 + 1e-9)  # the same loss may have been summed in another order
    return next((seconds for seconds, own in curve if own <= limit), None)


def _environment_text(around: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in around["versions"].items())
    return (
        f"{around['cpu']}, {around['cpus_available']} CPUs, {around['system']}\n"
        f"Python {around['python']}, {versions}"
    )


def _kernel_table(kernels: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            own["kernel"],
            own["dtype"],
            f"{own['lysep_fast']:.2f}",
            f"{own['numpy']:.2f}",
            f"{own['numpy'] / own['lysep_fast']:.1f}",
        ]
        for own in kernels
    ]
    return plain_table(("kernel", "dtype", "lysep_fast", "NumPy", "ratio"), rows)


def _training_table(runs: Sequence[Run], ours: Sequence[tuple[float, float]]) -> str:
    rows = []
    for own in runs:
        reached = _reached(ours, own.loss)
        rows.append(
            [
                own.method,
                f"{own.seconds:.2f}",
                f"{own.loss:.2e}",
                f"{100 * own.accuracy:.2f} %",
                "not reached" if reached is None else f"{reached:.2f}",
            ]
        )
    header = ("method", "seconds", "training loss", "held-out accuracy", "lysep_fast at that loss")
    return plain_table(header, rows)
