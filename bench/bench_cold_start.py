"""Time the first fit of a fresh process with an empty cache of kernels, on one CPU.

Run ``python bench/bench_cold_start.py``.  Every repetition is two processes with a cache of their
own: the first one finds it empty, the second one filled.  Printed are medians, in seconds: the
import, the first and the second fit, the number of kernels compiled, and import and first fit of
the second process.  ``--kernels`` also lists what every kernel took to compile, without the
kernels that it calls.  ``--base DIR`` does the same, in turn, with the checkout of another
version.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Name of a case -> statements that make `model`, `X` and `y`.
CASES = {
    "dense": "X = normal((200, 4)); model = lysep_fast.LySepClassifier",
    "convolutional": "X = normal((200, 8, 8)); model = lysep_fast.LySepConvClassifier",
    "convolutional, mini-batch": (
        "X = normal((200, 8, 8)); model = lysep_fast.LySepConvClassifier; "
        "options = {'solver': 'mini-batch'}"
    ),
}
CODE = """
import json, time, warnings
started = time.CLOCK()
import numpy as np, lysep_fast, sklearn.base
lysep_fast.LySepClassifier, lysep_fast.LySepConvClassifier
imported = time.CLOCK()
from numba.core import event
normal, y, options = np.random.default_rng(0).normal, np.arange(200) % 3, {}
normal = lambda shape: np.random.default_rng(0).normal(size=shape)
warnings.simplefilter("ignore")  # few sweeps do not converge
CASE
model = model(max_iter=3, random_state=0, n_threads=1, **options)
found, nested = [], [0.0]
class Listener(event.Listener):
    def on_start(self, e):
        nested.append(0.0)
        e.data["started"] = time.CLOCK()
    def on_end(self, e):
        took = time.CLOCK() - e.data["started"]
        function = e.data["dispatcher"].py_func
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        found.append((name, took - nested.pop()))
        nested[-1] += took
listener = Listener()
event.register("numba:compile", listener)
times = [time.CLOCK()]
for _ in range(2):
    model.fit(X, y)
    times.append(time.CLOCK())
print(json.dumps([imported - started, times[1] - times[0], times[2] - times[1], found]))
"""


def run(root: Path, case: str, cache: str, clock: str) -> tuple[float, float, float, list]:
    """Run a case in a fresh process on one CPU; return three times and the kernels."""
    settings = os.environ | {
        "NUMBA_CACHE_DIR": cache,
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    pin = getattr(os, "sched_setaffinity", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("CLOCK", clock).replace("CASE", CASES[case])],
        env=settings,
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=(lambda: pin(0, {min(os.sched_getaffinity(0))})) if pin else None,
    )
    return tuple(json.loads(done.stdout))


def measure(root: Path, case: str, clock: str) -> tuple[list[float], list]:
    """Return the figures of one repetition, and the kernels with what they took."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (run(root, case, cache, clock) for _ in range(2))
    return [*cold[:3], len(cold[3]), *warm[:2]], cold[3]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--base", type=Path, help="checkout of a version to compare with")
    parser.add_argument("--kernels", action="store_true", help="list the kernels")
    parser.add_argument(
        "--cpu", action="store_true", help="CPU time, for a machine that does other work as well"
    )
    arguments = parser.parse_args()
    clock = "process_time" if arguments.cpu else "perf_counter"
    roots = {"this": ROOT} | ({"base": arguments.base.resolve()} if arguments.base else {})
    print("case / version: import, first fit, second fit, kernels | cache filled: import, first")
    for case in arguments.cases:
        rows: dict[str, list[list[float]]] = {name: [] for name in roots}
        kernels = {}
        for _ in range(arguments.repetitions):
            for name, root in roots.items():
                figures, kernels[name] = measure(root, case, clock)
                rows[name].append(figures)
        for name in roots:
            a, b, c, count, d, e = map(statistics.median, zip(*rows[name], strict=True))
            print(f"{case} / {name}: {a:.2f} {b:.2f} {c:.3f} {count:.0f} | {d:.2f} {e:.2f}")
            for kernel, took in sorted(kernels[name], key=lambda item: -item[1]):
                if arguments.kernels:
                    print(f"    {took:.3f} {kernel}")


if __name__ == "__main__":
    main()
