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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peers import network
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from watch import Clock, EpochCurve, Samples, WatchedSolver

import lysep_fast
from lysep_fast.network import Network
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import make_solver
from lysep_fast.threads.blocks import sample_blocks
from lysep_fast.threads.team import Team

__all__ = [
    "FrozenSetting",
    "Setting",
    "at_edge",
    "faster_threads",
    "nearest",
    "rivals",
    "stepper",
    "train_frozen",
    "train_minibatch",
    "train_ours",
    "train_sklearn",
]

ADAM_RATES: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
ADAMW_RATES: tuple[float, ...] = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
ADAMW_DECAYS: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Setting:
    """What a torch rival is run with.

    Attributes
    ----------
    rate : float
        Constant learning rate.
    weight_decay : float
        Decoupled decay of the weights, not of the biases; 0 makes AdamW the same as Adam.
    averaging : float
        Weight of the past in the average of the iterates, ``min(averaging, 1 - 1/(k+1))``, which
        is then what is evaluated; 0 evaluates the last iterate.
    label_smoothing : float
        In the training loss; the held-out loss is always the plain cross-entropy.
    """

    rate: float = 1e-3
    weight_decay: float = 0.0
    averaging: float = 0.0
    label_smoothing: float = 0.0

    def __str__(self) -> str:
        """Only what sets it apart from the others of its kind."""
        decay = f", decay {self.weight_decay:g}" if self.weight_decay else ""
        return f"rate {self.rate:g}{decay}"


@dataclass(frozen=True)
class FrozenSetting:
    """How the hidden layers of the frozen features are drawn, and what trains the last one."""

    init: str = "normalised"
    solver: str = "mini-batch"

    def __str__(self) -> str:
        """In words."""
        return f"{self.init}, {self.solver}"


def rivals(quick: bool = False) -> dict[str, tuple[Any, ...]]:
    """Return the fixed lists of settings that the validation loss chooses from."""
    rates, decays = ADAMW_RATES, ADAMW_DECAYS
    adam = tuple(Setting(rate) for rate in ADAM_RATES)
    if quick:
        adam, rates, decays = adam[2:3], rates[1:3], decays[2:4]
    adamw = tuple(
        Setting(rate, decay, averaging=0.99, label_smoothing=0.1)
        for rate in rates
        for decay in decays
    )
    frozen = tuple(
        FrozenSetting(init, solver)
        for init in ("normalised-small", "normalised")
        for solver in ("mini-batch", "quasi-newton")
    )
    return {"torch Adam": adam, "torch AdamW": adamw, "frozen features": frozen}


def _axes(setting: Setting) -> tuple[float, float]:
    return setting.rate, setting.weight_decay


def nearest(settings: Sequence[Setting], centre: Setting, count: int) -> tuple[Setting, ...]:
    """Return the `count` settings nearest to one of them, in steps of the lists."""
    grids = [sorted(set(values)) for values in zip(*map(_axes, settings), strict=True)]

    def place(setting: Setting) -> np.ndarray:
        pairs = zip(grids, _axes(setting), strict=True)
        return np.array([grid.index(value) for grid, value in pairs], float)

    ordered = sorted(settings, key=lambda s: float(np.sum((place(s) - place(centre)) ** 2)))
    chosen = ordered[:count]
    return tuple(setting for setting in settings if setting in chosen)


def at_edge(tried: Iterable[Setting], winner: Setting) -> list[str]:
    """Return in words where something beyond the winner was not tried: its list's edges."""
    tried, edges = list(tried), []
    for name, axis in (("rate", 0), ("decay", 1)):
        if len({_axes(s)[axis] for s in tried}) < 2:
            continue
        own, other = _axes(winner)[axis], _axes(winner)[1 - axis]
        along = [_axes(s)[axis] for s in tried if _axes(s)[1 - axis] == other]
        edges += [f"no smaller {name}"] * (own <= min(along))
        edges += [f"no larger {name}"] * (own >= max(along))
    return edges


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


def hold_out(y: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of training and held-out samples, every class in proportion."""
    rng, chosen = np.random.default_rng(seed), []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        chosen.append(rng.choice(members, round(fraction * len(members)), replace=False))
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


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
    torch.set_num_threads(threads)
    curve, clock = EpochCurve(), Clock()
    kept, held_out = hold_out(y, fraction, seed)
    x_kept, y_kept = torch.from_numpy(X[kept]), torch.from_numpy(y[kept])
    held = torch.from_numpy(X[held_out]), torch.from_numpy(y[held_out])
    widths = (X.shape[1], *hidden, int(y.max()) + 1)
    model = network(widths, seed, x_kept.dtype)
    evaluated = network(widths, seed, x_kept.dtype)
    step = stepper(model, setting)
    batches = max(1, round(len(kept) / batch_size))
    smallest, best, quiet = np.inf, evaluated.state_dict(), 0
    while curve.epochs < max_iter and quiet < patience:
        for index in torch.tensor_split(torch.randperm(len(kept)), batches):
            source = step(x_kept[index], y_kept[index])
        with torch.no_grad():
            for target, value in zip(evaluated.parameters(), source, strict=True):
                target.copy_(value)
        loss, share = _score(evaluated, *held)
        with clock.paused():
            tested = float("nan") if test is None else _score(evaluated, *_tensors(test))[1]
        curve.add(clock.seconds, loss, share, tested)
        if loss < smallest:
            smallest, quiet = loss, 0
            best = {name: value.clone() for name, value in evaluated.state_dict().items()}
        else:
            quiet += 1
    evaluated.load_state_dict(best)
    return curve.close(clock.seconds)


def _tensors(samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(samples[0]), torch.from_numpy(samples[1])


def _score(model: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy."""
    with torch.no_grad():
        U = model(x)
        loss = torch.nn.functional.cross_entropy(U, labels).item()
        return loss, (U.argmax(1) == labels).double().mean().item()


def stepper(
    model: torch.nn.Module, setting: Setting, fused: bool = True, schedule: int | None = None
) -> Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]:
    """Return a function that does one step and returns the weights to evaluate.

    With `schedule` the rate falls linearly, to 0 after so many steps.
    """
    weights: list[torch.Tensor] = list(model.parameters())
    averages = [w.detach().clone() for w in weights]
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": setting.weight_decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=setting.rate, weight_decay=0.0, fused=fused)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=setting.label_smoothing)
    count = 0

    def step(x: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        nonlocal count
        if schedule is not None:
            for group in optimiser.param_groups:
                group["lr"] = setting.rate * max(0.0, 1.0 - count / schedule)
        optimiser.zero_grad(set_to_none=True)
        loss_of(model(x), labels).backward()
        optimiser.step()
        past = min(setting.averaging, 1.0 - 1.0 / (count + 1.0))
        count += 1
        if not setting.averaging:
            return weights
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1.0 - past)
        return averages

    return step


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
