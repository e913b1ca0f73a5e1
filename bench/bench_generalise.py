"""Measure test accuracy and seconds of early-stopped training beside its rivals, in one run.

Run ``python bench/bench_generalise.py --out DIR``.  The settings of a rival are chosen once per
task from a fixed list: all of the list runs on the first seed without any test data, and the
smallest validation loss wins.  Then every seed runs all peers one after the other (odd seeds in
reverse), so that drifts of the machine's speed hit all of them.  Test accuracy is taken after
every epoch with the clock stopped, and decides nothing.  lysep_fast runs at its default settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from generalise_report import MARKS, OURS, figure, table
from minibatch_settings import Setting, at_edge, nearest, rivals
from peers_minibatch import (
    faster_threads,
    train_frozen,
    train_minibatch,
    train_ours,
    train_sklearn,
)
from plot_train import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from watch import EpochCurve

from lysep_fast.commands.environment import environment
from lysep_fast.datasets import Mnist, load_mnist
from lysep_fast.threads.team import available_cpus

PACKAGES = ("numpy", "torch", "scikit-learn")
SKLEARN = "scikit-learn MLP"
PEERS = (OURS, "torch Adam", "torch AdamW", SKLEARN, "frozen features")
#: Training samples and hidden layers.
MNIST = {"mnist-10000": (10_000, (100, 100)), "mnist-60000": (60_000, (256, 256))}
TASKS = (*MNIST, "digits")
#: The winner on the first task tells where to search on the second, in so many settings.
SEARCH_AROUND = {"mnist-60000": "mnist-10000"}
SHORTENED = 6
QUICK_SAMPLES = 2000
QUICK_EPOCHS = 4

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
#: Trains on a split with a seed; looks at the test part only if the last argument says so.
Train = Callable[[Any, Split, int, bool], EpochCurve]


@dataclass(frozen=True)
class Task:
    """What is trained on.

    Attributes
    ----------
    name, about : str
        For the report.
    hidden : tuple of int
        Widths of the hidden layers.
    seeds : int
        Number of runs of the comparison.
    limit : int
        Largest number of epochs.
    split : callable
        Returns training and test data for a seed.
    sklearn : dict
        Options of scikit-learn's network.
    quick : bool
        Whether the lists of settings are short.
    """

    name: str
    about: str
    hidden: tuple[int, ...]
    seeds: int
    limit: int
    split: Callable[[int], Split]
    sklearn: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False


def mnist_task(name: str, arguments: argparse.Namespace, data: Mnist) -> Task:
    """Return one of the MNIST tasks; all seeds have the same data."""
    samples, hidden = MNIST[name]
    samples = min(samples, QUICK_SAMPLES) if arguments.quick else samples
    split = (data.X_train[:samples], data.y_train[:samples], data.X_test, data.y_test)
    return Task(
        name,
        f"{samples} samples, {'-'.join(map(str, (784, *hidden, 10)))} tanh",
        hidden,
        arguments.seeds,
        QUICK_EPOCHS if arguments.quick else 200,
        lambda seed: split,
        {"hidden_layer_sizes": hidden, "activation": "tanh", "early_stopping": True},
        arguments.quick,
    )


def digits_task(arguments: argparse.Namespace) -> Task:
    """Return the digits of scikit-learn, split by seed; twice as many splits as seeds."""
    data = load_digits()
    X, y = (data.data / 16.0).astype(np.float32), data.target.astype(np.int64)

    def split(seed: int) -> Split:
        parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
        return parts[0], parts[2], parts[1], parts[3]

    limit = QUICK_EPOCHS if arguments.quick else 200
    about = f"{len(X)} samples split 75/25, 64-100-10"
    return Task("digits", about, (100,), 2 * arguments.seeds, limit, split, quick=arguments.quick)


def make_peers(task: Task, threads: Mapping[str, int]) -> dict[str, Train]:
    """Return how every peer is trained."""
    batch = 128 if len(task.split(0)[0]) >= 4000 else 32  # as lysep_fast by itself

    def ours(_: Any, split: Split, seed: int, look: bool) -> EpochCurve:
        test = split[2:] if look else None
        return train_ours(*split[:2], task.hidden, seed, test, max_iter=task.limit)

    def frozen(setting: Any, split: Split, seed: int, look: bool) -> EpochCurve:
        test = split[2:] if look else None
        return train_frozen(*split[:2], task.hidden, setting, seed, test, max_iter=task.limit)

    def in_torch(setting: Any, split: Split, seed: int, look: bool) -> EpochCurve:
        arguments = (*split[:2], task.hidden, setting, seed, threads["torch"])
        test = split[2:] if look else None
        return train_minibatch(*arguments, test, batch_size=batch, max_iter=task.limit)

    def in_sklearn(_: Any, split: Split, seed: int, look: bool) -> EpochCurve:
        options = {**task.sklearn, "max_iter": task.limit}
        return train_sklearn(
            *split[:2], seed, threads[SKLEARN], split[2:] if look else None, **options
        )

    return dict(zip(PEERS, (ours, in_torch, in_torch, in_sklearn, frozen), strict=True))


def measure(
    task: Task, peer: str, setting: object, seed: int, train: Train, look: bool
) -> dict[str, Any]:
    """Train and return one record."""
    curve = train(setting, task.split(seed), seed, look)
    best = curve.best
    record = {
        "task": task.name,
        "seed": seed,
        "peer": peer,
        "setting": str(setting),
        "accuracy": curve.accuracy,
        "total_seconds": curve.total,
        "epochs": curve.epochs,
        "best_epoch": None if best is None else best + 1,
        "best_seconds": None if best is None else curve.seconds[best],
        "best_validation": None if best is None else curve.validation[best],
        "seconds": curve.seconds,
        "validation": curve.validation,
        "validation_accuracy": curve.validation_accuracy,
        "test": curve.test,
    }
    tested = f"test {100 * curve.accuracy:.2f} %, " if look else ""
    loss = "" if best is None else f", best loss {curve.validation[best]:.4f}"
    print(
        f"{task.name} seed {seed} {peer} ({setting}): {tested}{curve.epochs} epochs, "
        f"{curve.total:.2f} s{loss}",
        file=sys.stderr,
        flush=True,
    )
    return record


def search(
    task: Task, peers: dict[str, Train], winners: dict[tuple[str, str], Setting]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Choose the settings by the validation loss of the first seed; add them to `winners`.

    Returns
    -------
    chosen : dict
        Setting by peer.
    searches : list of dict
        What was tried, and what the report should say about it.
    """
    chosen: dict[str, Any] = {}
    searches = []
    for peer, settings in rivals(task.quick).items():
        if peer not in peers:
            continue
        known = winners.get((SEARCH_AROUND.get(task.name, ""), peer))
        shortened = peer == "torch AdamW" and known is not None
        if shortened and known is not None:
            settings = nearest(settings, known, SHORTENED)
        tried = [measure(task, peer, s, 0, peers[peer], look=False) for s in settings]
        # A run that fell apart has no loss.
        losses = [r["best_validation"] or float("inf") for r in tried]
        winner = settings[int(np.argmin(losses))]
        chosen[peer] = winners[task.name, peer] = winner
        searches.append(
            {
                "peer": peer,
                "tried": {r["setting"]: r["best_validation"] for r in tried},
                "seconds": sum(r["total_seconds"] for r in tried),
                "winner": str(winner),
                "edges": at_edge(settings, winner) if isinstance(winner, Setting) else [],
                "around": SEARCH_AROUND[task.name] if shortened else None,
                "around_setting": str(known) if shortened else None,
            }
        )
    return chosen, searches


def run(task: Task, names: list[str], winners: dict, torch_threads: int | None) -> dict[str, Any]:
    """Search, then compare; return what the report needs."""
    threads, times = choose_threads(task, names, torch_threads)
    peers = {name: train for name, train in make_peers(task, threads).items() if name in names}
    for solver in ("mini-batch", "quasi-newton"):  # compile the kernels outside the timing
        X, y = (part[:500] for part in task.split(0)[:2])
        train_ours(X, y, task.hidden, 0, max_iter=1, solver=solver)
        train_ours(X, y, (), 0, max_iter=1, solver=solver, output_bias=True)
    chosen, searches = search(task, peers, winners)
    shown = "same network, tanh, early stopping" if task.sklearn else "defaults"
    settings = {OURS: "defaults", SKLEARN: shown} | chosen
    records = []
    for seed in range(task.seeds):
        for peer in list(peers)[:: -1 if seed % 2 else 1]:
            records.append(measure(task, peer, settings[peer], seed, peers[peer], look=True))
    return {
        "task": task.name,
        "about": task.about,
        "marks": MARKS[task.name],
        "threads": threads,
        "thread_seconds": times,
        "searches": searches,
        "records": records,
    }


def choose_threads(
    task: Task, names: list[str], torch_threads: int | None
) -> tuple[dict[str, int], dict[str, dict[int, float]]]:
    """Return the number of threads of the rivals: the faster of 1 and 2 in one epoch."""
    X, y = task.split(0)[:2]
    X, y = X[:10_000], y[:10_000]

    def in_torch(n: int) -> object:
        return train_minibatch(X, y, task.hidden, Setting(), 0, n, max_iter=1)

    def in_sklearn(n: int) -> object:
        return train_sklearn(X, y, 0, n, None, **{**task.sklearn, "max_iter": 1})

    candidates = tuple(n for n in (1, 2) if n <= max(1, available_cpus()))
    threads: dict[str, int] = {}
    times: dict[str, dict[int, float]] = {}
    for name, train in (("torch", in_torch), (SKLEARN, in_sklearn)):
        if not any(peer.startswith(name) for peer in names):
            continue
        if name == "torch" and torch_threads is not None:
            train(torch_threads)
            threads[name], times[name] = torch_threads, {}
        else:
            threads[name], times[name] = faster_threads(train, candidates)
    return threads, times


def main() -> None:
    """Run the benchmark and write results.json, generalise.md and a figure per task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=5, help="digits: twice as many splits")
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files")
    parser.add_argument("--torch-threads", type=int, help="default: the faster of 1 and 2")
    parser.add_argument(
        "--quick", action="store_true", help="few samples, epochs and settings: a test of the file"
    )
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    if OURS not in arguments.peers:
        parser.error(f"--peers must have {OURS}, which the others are compared with")
    data = load_mnist(arguments.data) if set(arguments.tasks) & set(MNIST) else None
    results: dict[str, Any] = {
        **environment(PACKAGES, available_cpus()),
        "quick": arguments.quick,
        "tasks": [],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    winners: dict[tuple[str, str], Setting] = {}
    for name in sorted(arguments.tasks, key=TASKS.index):
        if data is None or name == "digits":
            task = digits_task(arguments)
        else:
            task = mnist_task(name, arguments, data)
        done = run(task, arguments.peers, winners, arguments.torch_threads)
        results["tasks"].append(done)
        # After every task, so that an interrupted run leaves what it has measured.
        (arguments.out / "results.json").write_text(json.dumps(results))
        (arguments.out / "generalise.md").write_text(table(results))
        save(figure(done), arguments.out / f"generalise_{name}.png")
    print(table(results))


if __name__ == "__main__":
    main()
