"""Torture of files, of arguments and by kill -9: what docs/reliability.md promises, in numbers.

    python -m tools.torture files       mutated model files and checkpoints
    python -m tools.torture checkpoints mutated checkpoints only
    python -m tools.torture inputs      generated calls of every public entry point
    python -m tools.torture kills       kill -9 at random moments of training
    python -m tools.torture all

A run writes OUT/torture-MODE.json while it works; the same command goes on from there.  It stops
at the first failure with exit code 1, seed and number of the case: ``--only CASE`` repeats it.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from scripts import ExperimentError
from scripts._environment import environment, peak_memory, require
from scripts._progress import Progress
from scripts._time_left import Planned

#: By mode: the module, and the default of --count. A module gives with `prepared` a function that
#: does a case and returns by outcome how often it came about; AssertionError is a failure.
MODES = {
    "files": ("_torture_files", 100_000),
    "checkpoints": ("_torture_files", 100_000),
    "inputs": ("_torture_inputs", 10_000),
    "kills": ("_torture_kills", 500),
}
_SAVE_EVERY = 10.0  # seconds


def _module(mode: str) -> ModuleType:
    if mode == "inputs":
        require("hypothesis")
    return importlib.import_module(f"{__package__}.{MODES[mode][0]}")


class Run:
    """One mode: how far it is, and what came of it.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    count, seed : int
        How many cases (for inputs: calls of every entry point), and of which sequence.
    out : Path
        Folder of the record, from which a run goes on.
    """

    def __init__(self, mode: str, count: int, seed: int, out: Path) -> None:
        self.mode, self.count, self.seed = mode, count, seed
        self.module = _module(mode)
        self.path = out / f"torture-{mode}.json"
        self.done, self.seconds, self.peak, self.failure = 0, 0.0, 0.0, None
        self.seen: Counter[str] = Counter()
        self._take_up()

    def _take_up(self) -> None:
        """Go on from a record of the same sequence; a case that failed is done again."""
        if not self.path.exists():
            return
        found = json.loads(self.path.read_text(encoding="utf-8"))
        if found["seed"] != self.seed:
            raise ExperimentError(
                f"{self.path} has the cases of seed {found['seed']}, not {self.seed}; give that "
                "seed, another folder, or delete the file"
            )
        self.done, self.seconds, self.peak = found["done"], found["seconds"], found["peak_mib"]
        self.seen.update(found["outcomes"])

    def go(self) -> bool:
        """Do the cases that are left and return whether all are well."""
        n = self.module.n_cases(self.mode, self.count)
        run = Planned("torture", self.mode, max(0, n - self.done))
        with self.module.prepared(self.mode, self.seed) as attempt, Progress([run]) as progress:
            shown = progress.begin(run, self.mode)
            saved = start = time.monotonic()
            before = self.seconds
            for case in range(self.done, n):
                try:
                    self.seen.update(attempt(case))
                except AssertionError as error:
                    self.failure = {"case": case, "words": str(error)}
                self.seconds = before + time.monotonic() - start
                self.peak = max(self.peak, peak_memory())
                if self.failure:
                    break
                self.done = case + 1
                if time.monotonic() - saved > _SAVE_EVERY:
                    self.save()
                    saved = time.monotonic()
                shown.advance()
            self.save()
            shown.finish(self.summary())
        return self.failure is None

    def summary(self) -> str:
        """Return in one line what came of the cases."""
        short: Counter[str] = Counter()
        for outcome, times in self.seen.items():
            short[outcome.rsplit(": ", 1)[-1]] += times
        counts = ", ".join(f"{name} {times}" for name, times in short.most_common())
        text = f"{self.seen.total()} in {self.seconds:.0f} s, peak {self.peak:.0f} MiB: {counts}"
        if self.failure:
            text += f"; FAILED in case {self.failure['case']}: {self.failure['words']}"
        return text

    def save(self) -> None:
        """Write the record."""
        record = {
            "mode": self.mode, "seed": self.seed, "count": self.count, "done": self.done,
            "date": datetime.date.today().isoformat(), "seconds": round(self.seconds, 1),
            "peak_mib": round(self.peak, 1), "outcomes": dict(sorted(self.seen.items())),
            "failure": self.failure, "environment": environment(1),
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path)


def repeat(mode: str, seed: int, case: int) -> bool:
    """Do one case, with the traceback of its failure, and return whether all is well."""
    with _module(mode).prepared(mode, seed) as attempt:
        try:
            print(f"{mode}, case {case} of seed {seed}: {dict(attempt(case))}")
        except AssertionError:
            traceback.print_exc()
            return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("mode", nargs="?", default="all", choices=(*MODES, "all"))
    parser.add_argument("--count", type=int, help="cases; inputs: calls of every entry point")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="CASE", help="repeat one case of one mode")
    parser.add_argument("--out", type=Path, default=Path("results", "torture"))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 all well, 1 a failure, 2 wrong usage, 130 Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    modes = ("files", "inputs", "kills") if options.mode == "all" else (options.mode,)
    if options.only is not None and options.mode == "all":
        parser.error("--only needs a mode")
    if options.seed < 0 or (options.count is not None and options.count < 1):
        parser.error("--seed must be at least 0 and --count at least 1")
    try:
        if options.only is not None:
            return 0 if repeat(options.mode, options.seed, options.only) else 1
        well = True
        for mode in modes:
            run = Run(mode, options.count or MODES[mode][1], options.seed, options.out)
            well &= run.go()
            print(f"{mode}: {run.summary()}", flush=True)
            if run.failure:
                print(f"  repeat it: python -m tools.torture {mode} --seed {options.seed} "
                      f"--only {run.failure['case']}", flush=True)  # fmt: skip
    except ExperimentError as error:
        print(f"torture: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\ntorture: stopped; the same command goes on from {options.out}", file=sys.stderr)
        return 130
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
