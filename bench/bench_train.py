"""Time whole trainings to a target loss beside torch's L-BFGS and Adam, in one run.

Run ``python bench/bench_train.py --out DIR``.  Every seed runs all peers one after the other, so
that drifts of the machine's speed hit all of them; the table shows medians over the seeds, and
failures are counted, not left out.  The target is looked for in the true cross-entropy over all
training samples.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peers import ADAM_RATES, Curve, train_adam, train_frozen, train_lbfgs

import lysep_fast
from lysep_fast.datasets import make_checkerboard, make_circle

TASKS = {"circle": make_circle, "checkerboard": make_checkerboard}
SHAPES = {"3x50": (3, 50), "6x100": (6, 100), "10x100": (10, 100), "20x50": (20, 50)}
OURS = ("quasi-newton", "alternating")


def train_ours(
    X: np.ndarray, y: np.ndarray, widths: tuple[int, ...], seed: int, target: float, solver: str
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


def peers(arguments: argparse.Namespace, rate: float | None) -> dict[str, Callable[..., Curve]]:
    """Return the competitors by name; each takes X, y, widths, seed and the target."""
    limit = {"max_seconds": arguments.seconds}
    made: dict[str, Callable[..., Curve]] = {}
    for solver in arguments.solvers:
        made[solver] = lambda *args, solver=solver: train_ours(*args, solver)
    made["frozen features"] = lambda *args: train_frozen(*args, **limit)
    made["torch L-BFGS"] = lambda *args: train_lbfgs(*args, **limit)
    if rate is not None:
        adam_limit = {"max_seconds": arguments.adam_seconds}
        made["torch Adam"] = lambda *args: train_adam(*args, rate, **adam_limit)
    return made


def best_rate(X: np.ndarray, y: np.ndarray, widths: tuple[int, ...], seconds: float) -> float:
    """Return the rate of the list that is first at, or else nearest to, a CE of 1e-2."""
    curves = {
        rate: train_adam(X, y, widths, 0, 1e-2, rate, max_seconds=seconds) for rate in ADAM_RATES
    }
    return min(curves, key=lambda rate: (curves[rate].reached, min(curves[rate].loss)))


def run(arguments: argparse.Namespace) -> list[dict]:
    """Run every task, shape, seed and peer; return one record per run."""
    torch.set_num_threads(arguments.threads)
    records = []
    for task in arguments.tasks:
        X, y = TASKS[task](arguments.samples, random_state=0)
        for shape in arguments.shapes:
            depth, width = SHAPES[shape]
            widths = (X.shape[1], *(width,) * (depth - 1), int(y.max()) + 1)
            for train in peers(arguments, 1e-3).values():
                train(X, y, widths, 0, 0.6)  # compile and start the thread pools untimed
            rate = best_rate(X, y, widths, arguments.adam_seconds) if arguments.adam else None
            for seed in range(arguments.seeds):
                for name, train in peers(arguments, rate).items():
                    curve = train(X, y, widths, seed, arguments.target)
                    records.append(
                        {
                            "task": task,
                            "shape": shape,
                            "seed": seed,
                            "peer": name,
                            "rate": rate if name == "torch Adam" else None,
                            "reached": curve.reached,
                            "evaluations": len(curve.loss),
                            "best": min(curve.loss),
                            "seconds": curve.seconds,
                            "loss": curve.loss,
                        }
                    )
                    print(
                        f"{task} {shape} seed {seed} {name}: {curve.reached:.3f} s, "
                        f"best {min(curve.loss):.2e}, {len(curve.loss)} evaluations",
                        file=sys.stderr,
                        flush=True,
                    )
    return records


def table(records: list[dict], solvers: list[str]) -> str:
    """Return a Markdown table of medians and of ratios seed by seed; `>` marks a lower bound."""
    heads = " | ".join(f"times the time of {solver}" for solver in solvers)
    lines = [
        f"| task | network | peer | median s | not reached | {heads} |",
        "|---" * (5 + len(solvers)) + "|",
    ]
    groups = dict.fromkeys((record["task"], record["shape"]) for record in records)
    for task, shape in groups:
        own = [r for r in records if (r["task"], r["shape"]) == (task, shape)]
        for peer in dict.fromkeys(record["peer"] for record in own):
            mine = [record for record in own if record["peer"] == peer]
            spent = {r["seed"]: min(r["reached"], r["seconds"][-1]) for r in mine}
            missed = sum(not np.isfinite(record["reached"]) for record in mine)
            more = ">" if missed > len(mine) / 2 else ""
            cells = [f"{more}{np.median(list(spent.values())):.3f}", f"{missed}/{len(mine)}"]
            for solver in solvers:
                best = {r["seed"]: r["reached"] for r in own if r["peer"] == solver}
                ratio = np.median([spent[seed] / best[seed] for seed in spent])
                cells.append(f"{more}{ratio:.1f}")
            lines.append(f"| {task} | {shape} | {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of one run of a peer")
    parser.add_argument("--adam-seconds", type=float, default=8.0, help="limit of one Adam run")
    parser.add_argument("--no-adam", dest="adam", action="store_false")
    arguments = parser.parse_args()
    records = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "train.json").write_text(json.dumps(records))
    (arguments.out / "train.md").write_text(table(records, arguments.solvers))
    print(table(records, arguments.solvers))


if __name__ == "__main__":
    main()
