"""Time whole trainings to a target loss beside torch's L-BFGS and Adam, in one run.

Run ``python bench/bench_train.py --out DIR``, with ``--data-seeds 1 2 3`` on data that nothing
was tuned on.  In a cell (task and network) ours run first, untabled, to set the time that the
rivals get; then every seed runs all peers one after the other, so that drifts of the machine's
speed hit all of them.  The table shows medians, and failures are counted, not left out.  The
target is looked for in the true cross-entropy over all training samples.  Adam's rate is the best
of a fixed list on the first data set of the cell.
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
import torch
from peers import ADAM_RATES, Curve, train_frozen, train_torch

import lysep_fast
from lysep_fast.datasets import make_checkerboard, make_circle

TASKS = {"circle": make_circle, "checkerboard": make_checkerboard}
SHAPES = {"3x50": (3, 50), "6x100": (6, 100), "10x100": (10, 100), "20x50": (20, 50)}
OURS = ("quasi-newton", "alternating")
#: How many times the time of our slower solver a rival gets in a cell, at least some seconds.
ADAM_FACTOR, LBFGS_FACTOR, MARGIN, LEAST_SECONDS = 20.0, 15.0, 1.25, 6.0
#: Evaluations of a run that are written down.
MOST_POINTS = 2000

Data = tuple[np.ndarray, np.ndarray]
Widths = tuple[int, ...]
Limits = dict[str, float]
Train = Callable[..., Curve]


def train_ours(
    X: np.ndarray, y: np.ndarray, widths: Widths, seed: int, target: float, solver: str
) -> Curve:
    """Train with the package until the target is reached."""
    curve = Curve()
    options = {"variant": "co-moving"} if solver == "alternating" else {}
    lysep_fast.train(
        X,
        y,
        hidden_layer_sizes=widths[1:-1],
        solver=solver,
        solver_options=options,
        output_bias=True,
        max_iter=400,
        tol=0.0,
        random_state=seed,
        callback=lambda row: curve.add(row.seconds, row.loss, target) or row.seconds > 60.0,
    )
    return curve


def peers(arguments: argparse.Namespace, limits: Limits, rate: float) -> dict[str, Train]:
    """Return the competitors by name; each takes X, y, widths, seed and the target."""
    made: dict[str, Train] = {}
    for solver in arguments.solvers:
        made[solver] = partial(train_ours, solver=solver)
    made["frozen features"] = partial(train_frozen, max_seconds=arguments.seconds)
    # Time is the limit, not the number of steps.
    made["torch L-BFGS"] = partial(train_torch, method="lbfgs", max_seconds=limits["torch L-BFGS"])
    if arguments.adam:
        made["torch Adam"] = partial(
            train_torch, method="adam", rate=rate, max_seconds=limits["torch Adam"]
        )
    return made


def find_limits(arguments: argparse.Namespace, data: dict[int, Data], widths: Widths) -> Limits:
    """Run ours on all data and seeds; return the time each rival gets in this cell.

    That is a multiple of the median time of our slower solver, with a margin so that the ratio
    can be shown seed by seed; these runs are not in the results.
    """
    slower = 0.0
    for solver in arguments.solvers:
        spent = []
        for X, y in data.values():
            for seed in range(arguments.seeds):
                curve = train_ours(X, y, widths, seed, arguments.target, solver)
                spent.append(min(curve.reached, curve.seconds[-1]))
        slower = max(slower, float(np.median(spent)))

    def limit(factor: float, most: float) -> float:
        return min(max(LEAST_SECONDS, MARGIN * factor * slower), most)

    adam = limit(ADAM_FACTOR, arguments.adam_max_seconds)
    return {
        "torch L-BFGS": limit(LBFGS_FACTOR, arguments.seconds),
        "torch Adam": adam if arguments.adam_seconds is None else arguments.adam_seconds,
    }


def best_rate(X: np.ndarray, y: np.ndarray, widths: Widths, seconds: float) -> float:
    """Return the rate of the list that is first at, or else nearest to, a CE of 1e-2."""
    curves = {
        rate: train_torch(X, y, widths, 0, 1e-2, "adam", rate, max_seconds=seconds)
        for rate in ADAM_RATES
    }
    return min(curves, key=lambda rate: (curves[rate].reached, min(curves[rate].loss)))


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every task, shape, data set, seed and peer; return one record per run."""
    torch.set_num_threads(arguments.threads)
    records = []
    for task in arguments.tasks:
        data = {s: TASKS[task](arguments.samples, random_state=s) for s in arguments.data_seeds}
        for shape in arguments.shapes:
            records += run_cell(arguments, task, shape, data)
    return records


def run_cell(
    arguments: argparse.Namespace, task: str, shape: str, data: dict[int, Data]
) -> list[dict[str, Any]]:
    """Run one task with one network."""
    depth, width = SHAPES[shape]
    X, y = next(iter(data.values()))
    widths = (X.shape[1], *(width,) * (depth - 1), int(y.max()) + 1)
    short = {"torch L-BFGS": 1.0, "torch Adam": 1.0}
    for train in peers(arguments, short, 1e-3).values():
        train(X, y, widths, 0, 0.6)  # compile and start the thread pools untimed
    limits = find_limits(arguments, data, widths)
    rate = best_rate(X, y, widths, limits["torch Adam"]) if arguments.adam else float("nan")
    records = []
    for data_seed, (X, y) in data.items():
        for seed in range(arguments.seeds):
            for name, train in peers(arguments, limits, rate).items():
                curve = train(X, y, widths, seed, arguments.target)
                run = {"task": task, "shape": shape, "data_seed": data_seed, "seed": seed}
                records.append(run | record(name, curve, rate, limits))
                print(
                    f"{task} {shape} data {data_seed} seed {seed} {name}: {curve.reached:.3f} s, "
                    f"best {min(curve.loss):.2e}, {len(curve.loss)} evaluations",
                    file=sys.stderr,
                    flush=True,
                )
    return records


def record(name: str, curve: Curve, rate: float, limits: Limits) -> dict[str, Any]:
    """Return what is kept of a run: of a long curve, the evaluations that a picture shows."""
    shown = np.arange(len(curve.loss))
    if len(shown) > MOST_POINTS:
        spaced = np.geomspace(1, len(shown), MOST_POINTS).astype(int) - 1
        shown = np.unique([*spaced, int(np.nanargmin(curve.loss))])
    return {
        "peer": name,
        "rate": rate if name == "torch Adam" else None,
        "limit": limits.get(name),
        "reached": curve.reached,
        "evaluations": len(curve.loss),
        "best": float(np.nanmin(curve.loss)),
        "seconds": [curve.seconds[i] for i in shown],
        "loss": [curve.loss[i] for i in shown],
    }


def table(records: list[dict[str, Any]], solvers: list[str]) -> str:
    """Return a Markdown table of medians and of ratios run by run; `>` marks a lower bound."""
    heads = " | ".join(f"times the time of {solver}" for solver in solvers)
    lines = [
        f"| task | network | peer | median s | not reached | {heads} |",
        "|---" * (5 + len(solvers)) + "|",
    ]
    notes = [_data_note(records)]
    groups = dict.fromkeys((record["task"], record["shape"]) for record in records)
    for task, shape in groups:
        own = [r for r in records if (r["task"], r["shape"]) == (task, shape)]
        best = {
            solver: {_key(r): r["reached"] for r in own if r["peer"] == solver}
            for solver in solvers
        }
        for peer in dict.fromkeys(record["peer"] for record in own):
            mine = [record for record in own if record["peer"] == peer]
            spent = {_key(r): min(r["reached"], r["seconds"][-1]) for r in mine}
            missed = sum(not np.isfinite(record["reached"]) for record in mine)
            more = ">" if missed >= len(mine) / 2 else ""
            cells = [f"{more}{np.median(list(spent.values())):.3f}", f"{missed}/{len(mine)}"]
            for solver in solvers:
                ratio = np.median([spent[key] / best[solver][key] for key in spent])
                cells.append(f"{more}{ratio:.1f}")
            lines.append(f"| {task} | {shape} | {peer} | " + " | ".join(cells) + " |")
        notes += _limit_notes(own)
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _key(record: dict[str, Any]) -> tuple[int, int]:
    return record["data_seed"], record["seed"]


def _data_note(records: list[dict[str, Any]]) -> str:
    """Say what the medians are over."""
    data = sorted({record["data_seed"] for record in records})
    seeds = len({record["seed"] for record in records})
    fresh = (
        "our settings were tuned on data of seed 0"
        if 0 in data
        else "our settings were not tuned on these data sets"
    )
    return (
        f"Medians over {len(data)} data set(s) (data seeds {', '.join(map(str, data))}) times "
        f"{seeds} seed(s) of the initial weights; {fresh}."
    )


def _limit_notes(records: list[dict[str, Any]]) -> list[str]:
    """Say how long the rivals of a cell were allowed to run."""
    limits = {r["peer"]: r for r in records if r["limit"] is not None}
    parts = [
        f"{peer} at most {r['limit']:.1f} s" + (f" (rate {r['rate']:g})" if r["rate"] else "")
        for peer, r in limits.items()
    ]
    first = records[0]
    return [f"{first['task']} {first['shape']}: {', '.join(parts)} a run."] if parts else []


def main() -> None:
    """Run the benchmark and write train.json and train.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train.json, train.md")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--solvers", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--target", type=float, default=1e-3)
    parser.add_argument(
        "--data-seeds", type=int, nargs="+", default=[0], help="ours were tuned on data of seed 0"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="longest run of L-BFGS")
    parser.add_argument("--adam-seconds", type=float, help="one limit for Adam in all cells")
    parser.add_argument(
        "--adam-max-seconds",
        type=float,
        default=40.0,
        help="longest run of Adam; by itself it gets 20 times the time of our slower solver",
    )
    parser.add_argument("--no-adam", dest="adam", action="store_false")
    arguments = parser.parse_args()
    records = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "train.json").write_text(json.dumps(records))
    (arguments.out / "train.md").write_text(table(records, arguments.solvers))
    print(table(records, arguments.solvers))


if __name__ == "__main__":
    main()
