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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import torch
from minibatch_settings import Setting
from peers_minibatch import adamw, shuffled
from watch import Clock, EpochCurve, Samples, WatchedSolver

import lysep_fast
from lysep_fast.cli import load_experiment
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

loop = load_experiment("_torch_loop")[1]

RATES: tuple[float, ...] = (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2)
BATCH_SIZES: tuple[int, ...] = (64, 128)
DECAYS: tuple[float, ...] = (0.03, 0.1)
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
    return loop.twin(network, "float32").to(memory_format=_layout(channels_last))


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
    last = speed.channels_last
    model, called = _model(network, last), _callable(network, last, speed.compiled)
    batches = max(1, round(len(images.y) / setting.batch_size))
    with loop.session(seed, speed.threads):
        x, y = _to_tensors((images.X, images.y), last)
        _warm_up(called, x, y, batches)
        test = None if images.test is None else _to_tensors(images.test, last)
        initialise(model, network, images.X, seed, setting.init)
        clock, curve = Clock(), EpochCurve()
        x, y = _to_tensors((images.X, images.y), last)
        held = _to_tensors(images.held, last)
        steps, chosen = epochs * batches, setting.optimiser
        average = loop.Average(model.parameters(), chosen.averaging)

        def stepped(k: int) -> None:
            average.add(k)
            if k % batches == 0:
                with average.inside():
                    loss, share = loop.score(model, *held)
                    with clock.paused():
                        tested = loop.score(model, *test)[1] if test else float("nan")
                    curve.add(clock.seconds, loss, share, tested)

        loop.run(
            adamw(model, chosen, speed.fused),
            loop.cross_entropy(called, x, y, shuffled(len(y), batches), chosen.label_smoothing),
            steps=steps,
            rate=lambda k: chosen.rate * max(0.0, 1.0 - k / steps),
            stepped=stepped,
        )
        curve.total, curve.accuracy = clock.seconds, curve.test[-1]
        with average.inside():
            curve.train_loss = loop.score(model, x, y)[0]
    return curve


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
        picks = iter(torch.randint(len(y), (steps, batch_size)))
        optimiser = adamw(_model(network, speed.channels_last), Setting(), speed.fused)
        loss = loop.cross_entropy(called, x, y, picks)
        began = time.perf_counter()
        loop.run(optimiser, loss, steps=steps)
        times[speed] = min(times[speed], (time.perf_counter() - began) / steps)
    return times
