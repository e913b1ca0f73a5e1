"""The rivals on held-out accuracy: mini-batch Adam and AdamW, MLPClassifier, frozen features.

The torch rivals stop as lysep_fast does: a tenth of every class is held out and evaluated once an
epoch, training ends after `patience` epochs without improvement, and the weights of the best
epoch count.  With the same seed the held-out samples are those of lysep_fast.  Every clock starts
when a user would call the training function, stops before anything is predicted, and stands still
while test data is looked at.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from minibatch_settings import FrozenSetting, Setting
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from watch import Clock, EpochCurve, Samples, WatchedSolver

import lysep_fast
from lysep_fast.cli import load_experiment
from lysep_fast.losses import CrossEntropy
from lysep_fast.losses.targets import Targets
from lysep_fast.network import Network
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import make_solver
from lysep_fast.threads.blocks import sample_blocks
from lysep_fast.threads.team import Team

__all__ = [
    "adamw",
    "faster_threads",
    "shuffled",
    "train_frozen",
    "train_minibatch",
    "train_ours",
    "train_sklearn",
]

loop = load_experiment("_torch_loop")[1]


def train_ours(
    X: np.ndarray,
    y: np.ndarray,
    hidden: Sequence[int],
    seed: int,
    test: Samples | None = None,
    *,
    max_iter: int = 200,
    solver: str = "mini-batch",
    clock: Clock | None = None,
    **options: Any,
) -> EpochCurve:
    """Train with lysep_fast; the clock includes checks, hold-out and initial weights."""
    clock, curve = clock or Clock(), EpochCurve()
    watched = WatchedSolver(make_solver(solver), clock, test)

    def note(row: lysep_fast.HistoryRow) -> None:
        if row.sweep:
            curve.add(
                clock.seconds, row.validation_loss, row.validation_accuracy, watched.accuracy
            )

    lysep_fast.train(
        X,
        y,
        hidden_layer_sizes=hidden,
        solver=watched,
        early_stopping=True,
        max_iter=max_iter,
        random_state=seed,
        callback=note,
        **options,
    )
    return curve.close(clock.seconds)


def train_frozen(
    X: np.ndarray,
    y: np.ndarray,
    hidden: Sequence[int],
    setting: FrozenSetting,
    seed: int,
    test: Samples | None = None,
    *,
    max_iter: int = 200,
) -> EpochCurve:
    """Train the last layer on hidden layers that stay as lysep_fast first draws them.

    The features are centred and brought to one common scale, which suits the last layer's
    training; full whitening was measured to cost accuracy.
    """
    clock = Clock()
    drawn = Network.dense((X.shape[1], *hidden, int(y.max()) + 1), "tanh")
    W, b = initial_weights(drawn, ArraySamples(X), np.random.default_rng(seed), setting.init)
    S = _features(drawn, W, b, X)
    mean, scale = S.mean(axis=0), S.std()
    pair = None
    with clock.paused():
        if test is not None:
            pair = (_features(drawn, W, b, test[0]) - mean) / scale, test[1]
    return train_ours(
        (S - mean) / scale,
        y,
        (),
        seed,
        pair,
        max_iter=max_iter,
        solver=setting.solver,
        clock=clock,
        output_bias=True,
    )


def _features(
    drawn: Network, W: list[np.ndarray], b: list[np.ndarray], X: np.ndarray
) -> np.ndarray:
    """Return what the last layer sees."""
    out = np.empty((len(X), drawn.widths[-2]), X.dtype)

    def task(rows: slice, _: Any) -> None:
        S = X[rows]
        for l in range(1, drawn.depth):
            S = np.tanh(S @ W[l].T + b[l])
        out[rows] = S

    with Team(lysep_fast.threads.team.available_cpus()) as team:
        team.map(task, sample_blocks(len(X), max(drawn.widths[1:]), X.itemsize))
    return out


def train_minibatch(
    X: np.ndarray,
    y: np.ndarray,
    hidden: Sequence[int],
    setting: Setting,
    seed: int,
    threads: int,
    test: Samples | None = None,
    *,
    batch_size: int = 128,
    max_iter: int = 200,
    patience: int = 10,
    fraction: float = 0.1,
) -> EpochCurve:
    """Train a tanh network in torch; the weights of the best epoch are the result."""
    with loop.session(seed, threads):
        curve, clock = EpochCurve(), Clock()
        kept, held = _held_out(X, y, fraction, seed)
        widths = (X.shape[1], *hidden, int(y.max()) + 1)
        model = loop.twin(Network.dense(widths, output_bias=True), str(X.dtype))
        best = loop.Best(model.parameters())
        average = loop.Average(model.parameters(), setting.averaging)
        batches, quiet = max(1, round(len(kept[1]) / batch_size)), 0

        def stepped(k: int) -> bool:
            nonlocal quiet
            average.add(k)
            if k % batches:
                return False
            with average.inside():
                loss, share = loop.score(model, *held)
                with clock.paused():
                    tested = float("nan") if test is None else _tested(model, test)
                curve.add(clock.seconds, loss, share, tested)
                quiet = 0 if best.offer(loss) else quiet + 1
                return quiet >= patience

        rows = shuffled(len(kept[1]), batches)
        loss_of = loop.cross_entropy(model, *kept, rows, setting.label_smoothing)
        loop.run(adamw(model, setting), loss_of, steps=max_iter * batches, stepped=stepped)
        best.restore()
        return curve.close(clock.seconds)


def _held_out(
    X: np.ndarray, y: np.ndarray, fraction: float, seed: int
) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Return samples to train on and held-out ones, those of lysep_fast with this seed."""
    targets = Targets(CrossEntropy(y, int(y.max()) + 1), y, True)
    parts = targets.hold_out(fraction, np.random.default_rng(seed))
    return tuple((torch.from_numpy(X[rows]), torch.from_numpy(y[rows])) for rows in parts)


def _tested(model: torch.nn.Module, test: Samples) -> float:
    return loop.score(model, *map(torch.from_numpy, test))[1]


def shuffled(n: int, batches: int) -> Iterator[torch.Tensor]:
    """Yield the rows of one batch after the other, in a new order for every epoch."""
    while True:
        yield from torch.tensor_split(torch.randperm(n), batches)


def adamw(model: torch.nn.Module, setting: Setting, fused: bool = True) -> torch.optim.Optimizer:
    """Return the optimiser of a setting; weights decay, biases do not."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": setting.weight_decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=setting.rate, weight_decay=0.0, fused=fused)


def train_sklearn(
    X: np.ndarray,
    y: np.ndarray,
    seed: int,
    threads: int,
    test: Samples | None = None,
    **options: Any,
) -> EpochCurve:
    """Fit scikit-learn's network; its result is all that can be looked at without changing it."""
    curve = EpochCurve()
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clock = Clock()
        model = MLPClassifier(random_state=seed, **options).fit(X, y)
        curve.close(clock.seconds)
    curve.epochs = model.n_iter_
    if test is not None:
        curve.accuracy = float(np.mean(model.predict(test[0]) == test[1]))
    return curve


def faster_threads(
    train: Callable[[int], object], candidates: Sequence[int] = (1, 2), repeats: int = 2
) -> tuple[int, dict[int, float]]:
    """Time one epoch with each number of threads in turn; return the faster one and the times."""
    times = dict.fromkeys(candidates, float("inf"))
    for threads in candidates:  # start the thread pools
        train(threads)
    for _ in range(repeats):
        for threads in candidates:
            began = time.perf_counter()
            train(threads)
            times[threads] = min(times[threads], time.perf_counter() - began)
    return min(times, key=times.__getitem__), times
