"""Measure whole fits of small convolutional networks on MNIST beside torch, in one run.

Run ``python bench/bench_cnn.py --out DIR``.  Every number of epochs is a training of its own.  The
settings of a torch rival are chosen from a fixed list for every number of epochs, by the loss on
5000 held-out training images with the first seed and without any test data.  Then every seed runs
all peers one after the other (odd seeds in reverse), so that drifts of the machine's speed hit
all of them.  Test accuracy is taken after every epoch with the clock stopped, and decides
nothing.  torch computes in the fastest of several ways, tried at the start.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cnn_report import OURS, figure, table
from peers_cnn import (
    BATCH_SIZES,
    CnnSetting,
    Images,
    Speed,
    fastest,
    make_network,
    split_images,
    torch_settings,
    train_ours,
    train_torch,
)
from plot_train import save
from watch import EpochCurve

from lysep_fast.commands.environment import environment
from lysep_fast.datasets import load_mnist
from lysep_fast.network import Network
from lysep_fast.threads.team import available_cpus

PACKAGES = ("numpy", "torch")
HELD_OUT = 5000
CHANNELS = {"8-8": (8, 8), "16-16": (16, 16)}
#: Peer, setting, number of epochs, and what trains with a seed.
Job = tuple[str, object, int, Callable[..., EpochCurve]]
QUICK_SAMPLES, QUICK_HELD_OUT, QUICK_EPOCHS = 1500, 500, (1, 2)


def record(
    channels: str, peer: str, setting: object, epochs: int, seed: int, curve: EpochCurve
) -> dict[str, Any]:
    """Return what is kept of a run."""
    tested = "" if np.isnan(curve.accuracy) else f"test {100 * curve.accuracy:.2f} %, "
    print(
        f"{channels} seed {seed} {peer} ({setting}), {epochs} epochs: {tested}{curve.total:.2f} s,"
        f" held-out loss {curve.validation[-1]:.4f}",
        file=sys.stderr,
        flush=True,
    )
    return {
        "channels": channels,
        "peer": peer,
        "setting": str(setting),
        "epochs": epochs,
        "seed": seed,
        "total_seconds": curve.total,
        "accuracy": curve.accuracy,
        "train_loss": curve.train_loss,
        "seconds": curve.seconds,
        "validation": curve.validation,
        "validation_accuracy": curve.validation_accuracy,
        "test": curve.test,
    }


def search(
    channels: str,
    network: Network,
    images: Images,
    speeds: dict[int, Speed],
    arguments: argparse.Namespace,
) -> tuple[dict[tuple[str, int], CnnSetting], list[dict[str, Any]]]:
    """Choose a setting for every rival and number of epochs by the held-out loss of seed 0."""
    chosen, tried = {}, []
    unseen = images._replace(test=None)
    for peer, settings in torch_settings(arguments.quick).items():
        for epochs in arguments.epochs:
            losses = []
            for setting in settings:
                speed = speeds[setting.batch_size]
                curve = train_torch(network, unseen, setting, 0, epochs, speed)
                tried.append(record(channels, peer, setting, epochs, 0, curve))
                # A run that fell apart has no loss.
                last = curve.validation[-1]
                losses.append(last if np.isfinite(last) else np.inf)
            chosen[peer, epochs] = settings[int(np.argmin(losses))]
    return chosen, tried


def make_jobs(
    network: Network,
    images: Images,
    chosen: dict[tuple[str, int], CnnSetting],
    speeds: dict[int, Speed],
    arguments: argparse.Namespace,
) -> list[Job]:
    """Return what to run for every seed: ours, then the rivals, for all numbers of epochs."""
    options = arguments.solver_options
    shown = json.dumps(options) if options else "defaults"
    jobs: list[Job] = []
    for epochs in arguments.epochs:
        ours = partial(train_ours, network, images, epochs=epochs, options=options)
        jobs.append((OURS, shown, epochs, ours))
    for (peer, epochs), setting in chosen.items():
        speed = speeds[setting.batch_size]
        theirs = partial(train_torch, network, images, setting, epochs=epochs, speed=speed)
        jobs.append((peer, setting, epochs, theirs))
    return jobs


def run_network(channels: str, images: Images, arguments: argparse.Namespace) -> dict[str, Any]:
    """Search, then compare; return what the report needs."""
    network = make_network(CHANNELS[channels])
    speeds, times = {}, {}
    for size in BATCH_SIZES:
        speeds[size], times[size] = fastest(network, images, size)
        print(f"{channels}, batch {size}: torch with {speeds[size]}", file=sys.stderr)
    few = Images(images.X[:256], images.y[:256], images.held, images.test)
    train_ours(network, few, 0, 1)  # compile the kernels outside the timing
    chosen, tried = search(channels, network, images, speeds, arguments)
    jobs = make_jobs(network, images, chosen, speeds, arguments)
    records = []
    for seed in range(arguments.seeds):
        for peer, setting, epochs, train in jobs[:: -1 if seed % 2 else 1]:
            records.append(record(channels, peer, setting, epochs, seed, train(seed=seed)))
    return {
        "channels": channels,
        "speeds": {size: str(speed) for size, speed in speeds.items()},
        "step_seconds": times,
        "tried": tried,
        "records": records,
    }


def load(arguments: argparse.Namespace) -> Images:
    """Return MNIST with the held-out images set apart."""
    data = load_mnist(arguments.data)
    samples = QUICK_SAMPLES if arguments.quick else len(data.X_train)
    held_out = QUICK_HELD_OUT if arguments.quick else HELD_OUT
    X, y = data.X_train[:samples], data.y_train[:samples]
    return split_images(X, y, held_out, (data.X_test, data.y_test))


def main() -> None:
    """Run the benchmark and write results.json, cnn.md and cnn.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=list(CHANNELS))
    parser.add_argument("--epochs", nargs="+", type=int, help="default 2 4 6")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder of the four MNIST files")
    parser.add_argument(
        "--solver-options", type=json.loads, help="JSON of options of our solver, else defaults"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few samples, epochs and settings: a test of the file"
    )
    arguments = parser.parse_args()
    arguments.epochs = arguments.epochs or (QUICK_EPOCHS if arguments.quick else (2, 4, 6))
    images = load(arguments)
    results: dict[str, Any] = {
        **environment(PACKAGES, available_cpus()),
        "quick": arguments.quick,
        "samples": len(images.y),
        "held_out": len(images.held[1]),
        "seeds": arguments.seeds,
        "networks": [],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    for channels in arguments.channels:
        results["networks"].append(run_network(channels, images, arguments))
        # After every network, so that an interrupted run leaves what it has measured.
        (arguments.out / "results.json").write_text(json.dumps(results))
        (arguments.out / "cnn.md").write_text(table(results))
        save(figure(results), arguments.out / "cnn.png")
    print(table(results))


if __name__ == "__main__":
    main()
