"""The rivals on held-out accuracy: mini-batch Adam and AdamW, and scikit-learn's classifier.

The torch rivals stop as lysep_fast does: a tenth of every class is held out and evaluated once an
epoch, training ends after `patience` epochs without improvement, and the weights of the best
epoch count.  With the same seed the held-out samples are those of lysep_fast.  Every clock starts
when a user would call the training function, and stops before anything is predicted.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from peers import network
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

__all__ = ["EpochCurve", "Setting", "faster_threads", "rivals", "train_minibatch", "train_sklearn"]

ADAM_RATES = (1e-3, 3e-3)
ADAMW_RATES = (2e-3, 5e-3, 1e-2)
ADAMW_DECAYS = (0.03, 0.1, 0.3)


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


def rivals(quick: bool = False) -> dict[str, tuple[Setting, ...]]:
    """Return the fixed lists of settings that the validation loss chooses from."""
    adam = tuple(Setting(rate) for rate in ADAM_RATES)
    adamw = tuple(
        Setting(rate, decay, averaging=0.99, label_smoothing=0.1)
        for rate in ADAMW_RATES
        for decay in ADAMW_DECAYS
    )
    if quick:
        adam, adamw = adam[-1:], adamw[4:5]
    return {"torch Adam": adam, "torch AdamW": adamw}


@dataclass
class EpochCurve:
    """One training, epoch by epoch.

    Attributes
    ----------
    seconds, validation : list of float
        Wall time since the call and held-out cross-entropy after every epoch.
    best : int
        Index of the epoch with the smallest held-out cross-entropy.
    total : float
        Wall time of the whole call.
    accuracy : float
        Share of test samples that the returned model classifies correctly.
    """

    seconds: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    epochs: int = 0
    total: float = float("nan")
    accuracy: float = float("nan")

    def add(self, seconds: float, validation: float) -> None:
        """Store one epoch."""
        self.seconds.append(seconds)
        self.validation.append(validation)
        self.epochs += 1

    @property
    def best(self) -> int | None:
        """Index of the best epoch, None without held-out samples."""
        return int(np.argmin(self.validation)) if self.validation else None


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
    *,
    batch_size: int = 128,
    max_iter: int = 200,
    patience: int = 10,
    fraction: float = 0.1,
) -> tuple[EpochCurve, torch.nn.Module]:
    """Train a tanh network; return the curve and the network of the best epoch."""
    torch.set_num_threads(threads)
    curve, began = EpochCurve(), time.perf_counter()
    kept, held_out = hold_out(y, fraction, seed)
    x_kept, y_kept = torch.from_numpy(X[kept]), torch.from_numpy(y[kept])
    x_held, y_held = torch.from_numpy(X[held_out]), torch.from_numpy(y[held_out])
    widths = (X.shape[1], *hidden, int(y.max()) + 1)
    model = network(widths, seed, x_kept.dtype)
    evaluated = network(widths, seed, x_kept.dtype)
    step = _stepper(model, setting)
    batches = max(1, round(len(kept) / batch_size))
    smallest, best, quiet = np.inf, evaluated.state_dict(), 0
    while curve.epochs < max_iter and quiet < patience:
        for index in torch.tensor_split(torch.randperm(len(kept)), batches):
            source = step(x_kept[index], y_kept[index])
        with torch.no_grad():
            for target, value in zip(evaluated.parameters(), source, strict=True):
                target.copy_(value)
            loss = torch.nn.functional.cross_entropy(evaluated(x_held), y_held).item()
        curve.add(time.perf_counter() - began, loss)
        if loss < smallest:
            smallest, quiet = loss, 0
            best = {name: value.clone() for name, value in evaluated.state_dict().items()}
        else:
            quiet += 1
    evaluated.load_state_dict(best)
    curve.total = time.perf_counter() - began
    return curve, evaluated


def _stepper(
    model: torch.nn.Module, setting: Setting
) -> Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]:
    """Return a function that does one step and returns the weights to evaluate."""
    weights = list(model.parameters())
    averages = [w.detach().clone() for w in weights]
    groups = [
        {"params": [w for w in weights if w.ndim == 2], "weight_decay": setting.weight_decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=setting.rate, weight_decay=0.0, fused=True)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=setting.label_smoothing)
    count = 0

    def step(x: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        nonlocal count
        optimiser.zero_grad(set_to_none=True)
        loss_of(model(x), labels).backward()
        optimiser.step()
        if not setting.averaging:
            return weights
        past = min(setting.averaging, 1.0 - 1.0 / (count + 1.0))
        count += 1
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1.0 - past)
        return averages

    return step


def train_sklearn(
    X: np.ndarray, y: np.ndarray, seed: int, threads: int, max_iter: int | None = None
) -> tuple[EpochCurve, MLPClassifier]:
    """Fit scikit-learn's network at its defaults, which hold nothing out."""
    curve = EpochCurve()
    options = {} if max_iter is None else {"max_iter": max_iter}
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.perf_counter()
        model = MLPClassifier(random_state=seed, **options).fit(X, y)
        curve.total = time.perf_counter() - began
    curve.epochs = model.n_iter_
    return curve, model


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
