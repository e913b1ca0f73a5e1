"""Measure test accuracy and seconds of early-stopped training beside its rivals, in one run.

Run ``python bench/bench_generalise.py --out DIR``.  Every seed runs all peers one after the other
(odd seeds in reverse), so that drifts of the machine's speed hit all of them.  The settings of a
torch rival are chosen once per task from a fixed list: all of the list runs on the first seed,
and the smallest validation loss wins; test data is only looked at after a training has ended.
lysep_fast runs at its default settings.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from generalise_report import figure, table
from peers_minibatch import (
    EpochCurve,
    faster_threads,
    rivals,
    train_minibatch,
    train_sklearn,
)
from plot_train import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lysep_fast
from lysep_fast.datasets import load_mnist
from lysep_fast.parallel import available_cpus

OURS = "lysep_fast"
#: Training samples and hidden layers.
MNIST = {"mnist-10000": (10_000, (100, 100)), "mnist-60000": (60_000, (256, 256))}
TASKS = (*MNIST, "digits")
QUICK_SAMPLES = 2000
QUICK_EPOCHS = 4

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def train_ours(
    X: np.ndarray, y: np.ndarray, hidden: tuple[int, ...], seed: int, max_iter: int
) -> tuple[EpochCurve, lysep_fast.Result]:
    """Train at the default settings; the clock includes checks, hold-out and initial weights."""
    curve, began = EpochCurve(), time.perf_counter()

    def note(row: Any) -> None:
        if row.sweep:
            curve.add(time.perf_counter() - began, row.validation_loss)

    result = lysep_fast.train(
        X,
        y,
        hidden_layer_sizes=hidden,
        solver="mini-batch",
        early_stopping=True,
        max_iter=max_iter,
        random_state=seed,
        callback=note,
    )
    curve.total = time.perf_counter() - began
    return curve, result


def accuracy(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Return the share of correct predictions of any peer's model."""
    if isinstance(model, torch.nn.Module):
        with torch.no_grad():
            return float((model(torch.from_numpy(X)).argmax(1).numpy() == y).mean())
    return float(np.mean(model.predict(X) == y))


def measure(
    task: str, seed: int, peer: str, setting: object, train: Callable[[], Any], split: Split
) -> dict[str, Any]:
    """Train, test and return one record."""
    curve, model = train()
    curve.accuracy = accuracy(model, *split[2:])
    record = {
        "task": task,
        "seed": seed,
        "peer": peer,
        "setting": str(setting),
        "accuracy": curve.accuracy,
        "total_seconds": curve.total,
        "epochs": curve.epochs,
        "best_epoch": None if curve.best is None else curve.best + 1,
        "best_seconds": None if curve.best is None else curve.seconds[curve.best],
        "best_validation": None if curve.best is None else curve.validation[curve.best],
        "seconds": curve.seconds,
        "validation": curve.validation,
    }
    best = "" if curve.best is None else f", best after {record['best_seconds']:.2f} s"
    print(
        f"{task} seed {seed} {peer} ({setting}): test {100 * curve.accuracy:.2f} %, "
        f"{curve.epochs} epochs, {curve.total:.2f} s{best}",
        file=sys.stderr,
        flush=True,
    )
    return record


def run_mnist(task: str, arguments: argparse.Namespace, data: Split) -> dict[str, Any]:
    """Run one MNIST task: the whole lists on the first seed, then only the winners."""
    samples, hidden = MNIST[task]
    samples = min(samples, QUICK_SAMPLES) if arguments.quick else samples
    X, y = data[0][:samples], data[1][:samples]
    limit = QUICK_EPOCHS if arguments.quick else 200
    lists = rivals(arguments.quick)

    def one_epoch(threads: int) -> None:
        train_minibatch(X, y, hidden, lists["torch AdamW"][0], 0, threads, max_iter=1)

    threads, times = choose_threads(one_epoch, arguments.torch_threads)
    train_ours(X, y, hidden, 0, 1)  # compile the kernels outside the timing
    records, chosen = [], lists
    for seed in range(arguments.seeds):
        jobs: list[tuple[str, object, Callable[[], Any]]] = [
            (OURS, "defaults", partial(train_ours, X, y, hidden, seed, limit))
        ]
        for peer, settings in chosen.items():
            for setting in settings:
                job = partial(train_minibatch, X, y, hidden, setting, seed, threads)
                jobs.append((peer, setting, partial(job, max_iter=limit)))
        found = [measure(task, seed, *job, data) for job in jobs[:: -1 if seed % 2 else 1]]
        if seed == 0:
            chosen = {peer: (best_setting(found, peer, of),) for peer, of in lists.items()}
        names = {OURS: "defaults"} | {peer: str(of[0]) for peer, of in chosen.items()}
        for record in found:
            records.append({**record, "chosen": record["setting"] == names[record["peer"]]})
    return {
        "task": task,
        "about": f"{samples} samples, {'-'.join(map(str, (X.shape[1], *hidden, 10)))} tanh",
        "rival": "torch",
        "threads": threads,
        "thread_seconds": times,
        "lists": {peer: list(map(str, settings)) for peer, settings in lists.items()},
        "records": records,
    }


def best_setting(records: list[dict[str, Any]], peer: str, settings: tuple[Any, ...]) -> Any:
    """Return the setting with the smallest validation loss."""
    loss = {r["setting"]: r["best_validation"] for r in records if r["peer"] == peer}
    return min(settings, key=lambda setting: loss[str(setting)])


def run_digits(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run random splits of the digits beside scikit-learn's defaults."""
    data = load_digits()
    X, y = (data.data / 16.0).astype(np.float32), data.target.astype(np.int64)
    limit = QUICK_EPOCHS if arguments.quick else 200

    def split_by(seed: int) -> Split:
        parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
        return parts[0], parts[2], parts[1], parts[3]

    first = split_by(0)[:2]
    threads, times = choose_threads(lambda n: train_sklearn(*first, 0, n, max_iter=10), None)
    train_ours(*first, (100,), 0, 1)  # compile the kernels outside the timing

    def ours(split: Split, seed: int) -> Any:
        return train_ours(*split[:2], (100,), seed, limit)

    def theirs(split: Split, seed: int) -> Any:
        return train_sklearn(*split[:2], seed, threads, limit if arguments.quick else None)

    jobs, records = ((OURS, ours), ("scikit-learn MLP", theirs)), []
    for seed in range(2 * arguments.seeds):
        split = split_by(seed)
        for peer, train in jobs[:: -1 if seed % 2 else 1]:
            job = partial(train, split, seed)
            record = measure("digits", seed, peer, "defaults", job, split)
            records.append({**record, "chosen": True})
    return {
        "task": "digits",
        "about": f"{len(X)} samples split 75/25, 64-100-10",
        "rival": "scikit-learn (BLAS)",
        "threads": threads,
        "thread_seconds": times,
        "lists": {},
        "records": records,
    }


def choose_threads(
    train: Callable[[int], object], wanted: int | None
) -> tuple[int, dict[int, float]]:
    """Return the number of threads for a rival: the wanted one, or the faster of 1 and 2."""
    if wanted is not None:
        train(wanted)
        return wanted, {}
    candidates = tuple(n for n in (1, 2) if n <= max(1, available_cpus()))
    threads, times = faster_threads(train, candidates)
    shown = ", ".join(f"{n}: {seconds:.3f} s" for n, seconds in times.items())
    print(f"the rival uses {threads} thread(s); trial by threads {shown}", file=sys.stderr)
    return threads, times


def main() -> None:
    """Run the benchmark and write generalise.json, .md and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5, help="digits: twice as many splits")
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files")
    parser.add_argument("--torch-threads", type=int, help="default: the faster of 1 and 2")
    parser.add_argument(
        "--quick", action="store_true", help="few samples, epochs and settings: a test of the file"
    )
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    data = load_mnist(arguments.data) if set(arguments.tasks) & set(MNIST) else None
    results = {
        "cpus": available_cpus(),
        "processor": platform.processor() or platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{m.__name__: m.__version__ for m in (lysep_fast, np, torch, sklearn)},
        },
        "quick": arguments.quick,
        "tasks": [],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        done = run_digits(arguments) if task == "digits" else run_mnist(task, arguments, data)
        results["tasks"].append(done)
        # After every task, so that an interrupted run leaves what it has measured.
        (arguments.out / "generalise.json").write_text(json.dumps(results))
        (arguments.out / "generalise.md").write_text(table(results))
        save(figure(results), arguments.out / "generalise.png")
    print(table(results))


if __name__ == "__main__":
    main()
