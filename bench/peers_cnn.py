"""Whole fits of a small convolutional network: by lysep_fast, and by torch at its best speed.

The network: 3x3 convolutions that keep the image size, each with tanh and 2x2 average pooling,
then one hidden layer and the logits, all with biases.  Every clock starts when a user would call
the training function and stands still while test data is looked at.  Ours includes the initial
weights, torch's does not, nor the time to compile.  The held-out loss of every epoch counts for
everybody.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import torch
from peers_minibatch import Setting, stepper
from watch import Clock, EpochCurve, Samples, WatchedSolver

import lysep_fast
from lysep_fast.layers import Convolution
from lysep_fast.network import Network
from lysep_fast.passes.normalise import initial_weights
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import make_solver
from lysep_fast.threads.team import available_cpus

__all__ = [
    "CnnSetting",
    "Images",
    "Speed",
    "fastest",
    "make_network",
    "split_images",
    "torch_settings",
    "train_ours",
    "train_torch",
]

RATES: tuple[float, ...] = (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2)
BATCH_SIZES: tuple[int, ...] = (64, 128)
DECAYS: tuple[float, ...] = (0.03, 0.1)
#: Images per forward pass of an evaluation.
EVALUATED_AT_ONCE = 1000
OWN_INIT = "normalised-small"


class Images(NamedTuple):
    """Pixels in [0, 1], one row per image; `test` is None while settings are searched for."""

    X: np.ndarray
    y: np.ndarray
    held: Samples
    test: Samples | None


@dataclass(frozen=True)
class CnnSetting:
    """What a torch rival is run with; the rate falls linearly to 0 over all epochs."""

    optimiser: Setting
    batch_size: int
    init: str

    def __str__(self) -> str:
        """Only what the search chooses."""
        return f"{self.optimiser}, batch {self.batch_size}"


@dataclass(frozen=True)
class Speed:
    """How torch computes, which does not change what it computes."""

    threads: int = 1
    channels_last: bool = False
    compiled: bool = False
    fused: bool = True

    def __str__(self) -> str:
        """In words."""
        layout = "channels last" if self.channels_last else "channels first"
        compiled = "compiled" if self.compiled else "not compiled"
        fused = "fused" if self.fused else "not fused"
        return f"{self.threads} thread(s), {layout}, {compiled}, {fused}"


def make_network(channels: Sequence[int], hidden: int = 64) -> Network:
    """Return the network for 28 x 28 images of one channel and ten classes."""
    return Network.convolutional(
        (1, 28, 28), channels, (hidden,), 10, "tanh", padding="same", output_bias=True
    )


def split_images(
    X: np.ndarray, y: np.ndarray, held_out: int, test: Samples | None, seed: int = 0
) -> Images:
    """Hold out so many images, drawn by seed."""
    order = np.random.default_rng(seed).permutation(len(X))
    kept, held = np.sort(order[held_out:]), np.sort(order[:held_out])
    return Images(np.ascontiguousarray(X[kept]), y[kept], (X[held], y[held]), test)


def torch_settings(quick: bool = False) -> dict[str, tuple[CnnSetting, ...]]:
    """Return the fixed lists of settings that the held-out loss chooses from."""
    part = slice(1, 2) if quick else slice(None)
    rates, sizes, decays = RATES[part], BATCH_SIZES[part], DECAYS[part]

    def adam(init: str) -> tuple[CnnSetting, ...]:
        pairs = itertools.product(rates, sizes)
        return tuple(CnnSetting(Setting(rate), size, init) for rate, size in pairs)

    adamw = tuple(
        CnnSetting(Setting(rate, decay, 0.99, 0.1), size, OWN_INIT)
        for rate, decay, size in itertools.product(rates, decays, sizes)
    )
    return {
        "torch Adam, our start": adam(OWN_INIT),
        "torch Adam": adam("torch"),
        "torch AdamW, our start": adamw,
    }


def train_ours(
    network: Network, images: Images, seed: int, epochs: int, options: dict[str, Any] | None = None
) -> EpochCurve:
    """Train with lysep_fast for so many epochs; the last epoch is the result.

    The held-out images are the same for all peers, so they are evaluated beside the training.
    """
    clock, curve = Clock(), EpochCurve()
    solver = make_solver("mini-batch", {"monitor": "running", **(options or {})})
    watched = WatchedSolver(solver, clock, images.test, images.held)

    def note(row: lysep_fast.HistoryRow) -> None:
        if row.sweep:
            curve.add(clock.seconds, watched.held_loss, watched.held_accuracy, watched.accuracy)

    convolutions = [layer for layer in network.layers if isinstance(layer, Convolution)]
    result = lysep_fast.train(
        images.X,
        images.y,
        conv_channels=[layer.output_shape[0] for layer in convolutions],
        image_shape=convolutions[0].image_shape,
        hidden_layer_sizes=network.widths[len(convolutions) + 1 : -1],
        output_bias=network.output_bias,
        solver=watched,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        random_state=seed,
        callback=note,
    )
    curve.total, curve.accuracy = clock.seconds, watched.accuracy
    if repr(result.network) != repr(network):
        raise RuntimeError(f"trained {result.network}, wanted {network}")
    log_p = scipy.special.log_softmax(result.decision_function(images.X), axis=1)
    curve.train_loss = -float(np.mean(log_p[np.arange(len(log_p)), images.y], dtype=np.float64))
    return curve


@functools.cache
def _model(network: Network, channels_last: bool) -> torch.nn.Sequential:
    """Return the network in torch: one for all runs, so that it is compiled only once."""
    parts: list[torch.nn.Module] = []
    for layer in network.layers:
        if isinstance(layer, Convolution):
            taps, zeros = layer.kernel_size, layer.padding
            parts += [
                torch.nn.Conv2d(layer.image_shape[0], layer.output_shape[0], taps, padding=zeros),
                torch.nn.Tanh(),
                torch.nn.AvgPool2d(2),
            ]
        else:
            if isinstance(parts[-1], torch.nn.AvgPool2d):
                parts.append(torch.nn.Flatten())
            parts += [torch.nn.Linear(layer.n_inputs, layer.n_outputs), torch.nn.Tanh()]
    model = torch.nn.Sequential(*parts[:-1])
    return model.to(memory_format=_layout(channels_last))  # type: ignore[call-overload]


@functools.cache
def _callable(network: Network, channels_last: bool, compiled: bool) -> Any:
    """Return the model as it is called in training."""
    model = _model(network, channels_last)
    # Every size of a batch is compiled for itself; the default limit is 8 in all.
    torch._dynamo.config.recompile_limit = 256
    return torch.compile(model, dynamic=False) if compiled else model


def initialise(
    model: torch.nn.Sequential, network: Network, X: np.ndarray, seed: int, init: str
) -> None:
    """Set the weights to torch's own initial ones or those of lysep_fast."""
    torch.manual_seed(seed)
    maps = [part for part in model if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)]
    if init == "torch":
        for part in maps:
            part.reset_parameters()
        return
    W, b = initial_weights(network, ArraySamples(X), np.random.default_rng(seed), init)
    with torch.no_grad():
        for part, w, v in zip(maps, W[1:], b[1:], strict=True):
            part.weight.copy_(torch.from_numpy(w).reshape(part.weight.shape))
            if part.bias is not None:
                part.bias.copy_(torch.from_numpy(v))


def _to_tensors(samples: Samples, channels_last: bool) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(samples[0]).reshape(-1, 1, 28, 28)
    return x.contiguous(memory_format=_layout(channels_last)), torch.from_numpy(samples[1])


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _warm_up(called: Any, x: torch.Tensor, y: torch.Tensor, batches: int) -> None:
    """Compile for both sizes of a batch, and start the threads."""
    for size in {len(part) for part in torch.tensor_split(torch.arange(len(y)), batches)}:
        torch.nn.functional.cross_entropy(called(x[:size]), y[:size]).backward()


def train_torch(
    network: Network, images: Images, setting: CnnSetting, seed: int, epochs: int, speed: Speed
) -> EpochCurve:
    """Train in torch for so many epochs; the last epoch is the result."""
    torch.set_num_threads(speed.threads)
    last = speed.channels_last
    model, called = _model(network, last), _callable(network, last, speed.compiled)
    batches = max(1, round(len(images.y) / setting.batch_size))
    _warm_up(called, *_to_tensors((images.X, images.y), last), batches)
    test = None if images.test is None else _to_tensors(images.test, last)
    clock, curve = Clock(), EpochCurve()
    with clock.paused():  # our initial weights are a gift to the rival
        initialise(model, network, images.X, seed, setting.init)
    x, y = _to_tensors((images.X, images.y), last)
    held = _to_tensors(images.held, last)
    step = stepper(called, setting.optimiser, speed.fused, schedule=epochs * batches)
    for _ in range(epochs):
        for index in torch.tensor_split(torch.randperm(len(y)), batches):
            weights = step(x[index], y[index])
        with _weights_of(model, weights):
            loss, share = _score(model, *held)
            with clock.paused():
                tested = _score(model, *test)[1] if test else float("nan")
            curve.add(clock.seconds, loss, share, tested)
    curve.total, curve.accuracy = clock.seconds, curve.test[-1]
    with _weights_of(model, weights):
        curve.train_loss = _score(model, x, y)[0]
    return curve


class _weights_of:
    """Put other weights into a model for a while (by reference: nothing is copied)."""

    def __init__(self, model: torch.nn.Module, weights: Iterable[torch.Tensor]) -> None:
        self.pairs = list(zip(model.parameters(), weights, strict=True))

    def __enter__(self) -> None:
        self.own = [own.data for own, _ in self.pairs]
        for own, other in self.pairs:
            own.data = other.data

    def __exit__(self, *error: object) -> None:
        for (own, _), data in zip(self.pairs, self.own, strict=True):
            own.data = data


def _score(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy."""
    loss, correct = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(y), EVALUATED_AT_ONCE):
            labels = y[start : start + EVALUATED_AT_ONCE]
            U = model(x[start : start + EVALUATED_AT_ONCE])
            loss += torch.nn.functional.cross_entropy(U, labels, reduction="sum").item()
            correct += int((U.argmax(1) == labels).sum())
    return loss / len(y), correct / len(y)


def fastest(network: Network, images: Images, batch_size: int) -> tuple[Speed, dict[str, float]]:
    """Time steps of torch in all ways to compute them; return the fastest and all times.

    Compiling is left out where it is not possible, and is not in the times.
    """
    threads = [n for n in (1, 2) if n <= max(1, available_cpus())]
    choices = itertools.product(threads, (False, True), (False, True))
    times = _step_times(network, images, batch_size, [Speed(*values) for values in choices])
    best = min(times, key=times.__getitem__)
    again = _step_times(network, images, batch_size, [best, replace(best, fused=False)])
    times |= {speed: min(times.get(speed, np.inf), seconds) for speed, seconds in again.items()}
    best = min(times, key=times.__getitem__)
    return best, {str(speed): seconds for speed, seconds in times.items()}


def _step_times(
    network: Network,
    images: Images,
    batch_size: int,
    speeds: Sequence[Speed],
    steps: int = 30,
    repeats: int = 2,
) -> dict[Speed, float]:
    """Return seconds of a step, the smaller of the repeats."""
    times = dict.fromkeys(speeds, float("inf"))
    batch_size = min(batch_size, len(images.y))
    for _, speed in itertools.product(range(repeats), speeds):
        torch.set_num_threads(speed.threads)
        called = _callable(network, speed.channels_last, speed.compiled)
        x, y = _to_tensors((images.X, images.y), speed.channels_last)
        try:
            _warm_up(called, x[:batch_size], y[:batch_size], 1)
        except Exception as error:  # of many kinds: no compiler, no support for the platform
            if not speed.compiled:
                raise
            print(f"torch cannot compile: {error}", file=sys.stderr)
            continue
        step = stepper(called, Setting(), speed.fused)
        picks = torch.randint(len(y), (steps, batch_size))
        began = time.perf_counter()
        for index in picks:
            step(x[index], y[index])
        times[speed] = min(times[speed], (time.perf_counter() - began) / steps)
    return times
