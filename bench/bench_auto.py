"""Measure where ``solver="auto"`` should change over: test accuracy by features and samples.

Run ``python bench/bench_auto.py --out DIR``.  The tasks run from 2 to 784 features: the circle and
the checkerboard with 5 % of the labels flipped, and MNIST projected on its leading principal
components (fitted on the training part).  All solvers train with early stopping on the same
held-out samples; the test accuracy is looked at afterwards only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lysep_fast
from lysep_fast.datasets import load_mnist, make_checkerboard, make_circle

SOLVERS = {
    "quasi-newton": {"solver": "quasi-newton", "max_iter": 150},
    "co-moving": {
        "solver": "alternating",
        "solver_options": {"variant": "co-moving"},
        "max_iter": 40,
    },
    "mini-batch": {"solver": "mini-batch", "max_iter": 80},
}


def tasks(samples: list[int], components: list[int]) -> Iterator[tuple]:
    """Yield (name, X, y, X_test, y_test)."""
    for name, make in (("circle", make_circle), ("checkerboard", make_checkerboard)):
        for noise in (0.0, 0.05):
            X_test, y_test = make(5000, random_state=99)
            for n in samples:
                X, y = make(n, label_noise=noise, random_state=1)
                yield f"{name}, label noise {noise:g}", X, y, X_test, y_test
    mnist = load_mnist()
    for n in samples:
        X, y = mnist.X_train[:n], mnist.y_train[:n]
        mean = X.mean(axis=0)
        directions = np.linalg.svd(X - mean, full_matrices=False)[2]
        for d in components:
            if d == X.shape[1]:
                yield "MNIST", X, y, mnist.X_test, mnist.y_test
                continue
            project = directions[:d].T
            scale = ((X - mean) @ project).std()
            parts = (((part - mean) @ project / scale) for part in (X, mnist.X_test))
            X_low, X_test = (np.ascontiguousarray(part) for part in parts)
            yield f"MNIST, {d} components", X_low, y, X_test, mnist.y_test


def main() -> None:
    """Run the study and write auto.json and auto.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--components", type=int, nargs="+", default=[5, 10, 20, 50, 784])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = ["| task | n | d | solver | test accuracy % | seconds |", "|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    records = []
    for name, X, y, X_test, y_test in tasks(arguments.samples, arguments.components):
        for solver, settings in SOLVERS.items():
            scores, seconds = [], []
            for seed in range(arguments.seeds):
                began = time.perf_counter()
                result = lysep_fast.train(
                    X,
                    y,
                    hidden_layer_sizes=(100, 100),
                    early_stopping=True,
                    random_state=seed,
                    **settings,
                )
                seconds.append(time.perf_counter() - began)
                scores.append(float(np.mean(result.predict(X_test) == y_test)))
            n, d = X.shape
            records.append(
                {"task": name, "n": n, "d": d, "solver": solver, "test": scores, "s": seconds}
            )
            lines.append(
                f"| {name} | {n} | {d} | {solver} | {100 * np.mean(scores):.2f} "
                f"± {100 * np.std(scores):.2f} | {np.median(seconds):.2f} |"
            )
            print(lines[-1], flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "auto.json").write_text(json.dumps(records))
    (arguments.out / "auto.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
