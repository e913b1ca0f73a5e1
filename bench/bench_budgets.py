"""Compare test accuracy within fixed times: our mini-batches beside AdamW, Muon, SOAP and others.

Run ``python bench/bench_budgets.py --out DIR``, which can be stopped and started again: what is
measured goes to DIR/results.jsonl, a line per run, and runs that are there are left out.  At the
end, or with ``--report`` at once, DIR/report.md and DIR/budgets.png are written.  The rivals come
with the extra ``rivals``; MNIST comes from local files, the other data are made on the spot.

Every method first tries its settings on a held-out part of the training data, at the middle
budget.  The best one then runs with all seeds and all budgets, the methods one after the other
(odd seeds in reverse), so that drifts of the machine's speed hit all of them.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import budget_ours
import budget_sets
import records
from budget_clock import Pace, Stopwatch, Trained
from budget_count import FINAL, TUNE, Key, cells, chosen, key, middle
from budget_report import figure, markdown
from budget_settings import DEFAULT, METHODS, OURS, draw, label
from plot_train import save

from lysep_fast.commands.environment import environment

RESULTS, ENVIRONMENT = "results.jsonl", "environment.json"
#: Modules that the rivals need, with the name that pip knows them by.
PACKAGES = {
    "torch": "torch",
    "schedulefree": "schedulefree",
    "pytorch_optimizer": "pytorch-optimizer",
}
NEEDS = {"SOAP": "pytorch_optimizer", "schedule-free AdamW": "schedulefree"}
TUNING_SEED = 100
BUDGETS = (2.0, 4.0, 8.0, 16.0, 30.0)
#: Longest watch of a pace, and its largest share of the budget.
WATCHED, WATCHED_SHARE = 1.0, 0.25
QUICK = {"sets": ["digits", "table-5000"], "trials": 2, "seeds": 1, "budgets": (0.2, 0.5, 1.0)}

Results = dict[Key, dict[str, Any]]
#: Set, method, setting, seed, stage, budget.
Run = tuple[str, str, dict[str, Any], int, str, float]


def key_of(run: Run) -> Key:
    """Return what the record of a run is found by."""
    return run[0], run[1], label(run[2]), *run[3:]


def tuning(name: str, methods: Sequence[str], trials: int, budget: float) -> list[Run]:
    """Return the runs that settings are chosen by, the methods in turn."""
    drawn = {m: draw(m, trials) for m in methods if m != DEFAULT}
    return [
        (name, m, drawn[m][i], TUNING_SEED, TUNE, budget) for i in range(trials) for m in drawn
    ]


def finals(
    name: str, winners: dict[str, dict[str, Any]], seeds: int, budgets: Iterable[float]
) -> list[Run]:
    """Return the runs of the comparison, the methods in turn, for odd seeds in reverse."""
    ordered = list(winners)
    return [
        (name, m, winners[m], seed, FINAL, budget)
        for seed in range(seeds)
        for budget in budgets
        for m in (ordered[::-1] if seed % 2 else ordered)
    ]


def missing(runs: Iterable[Run], done: Results) -> list[Run]:
    """Return the runs without a record, or with one of a failure."""
    return [run for run in runs if "error" in done.get(key_of(run), {"error": "missing"})]


class Runner:
    """Does runs; its data and the compiled code of former runs are reused."""

    def __init__(self, sources: budget_sets.Sources, threads: int) -> None:
        self._threads = threads
        self._warm: set[tuple[str, str, str]] = set()
        # Two sets at most, MNIST beside: the large ones have 200 MB.
        self._load = functools.lru_cache(2)(lambda name: budget_sets.load(name, sources))
        self._held = functools.lru_cache(1)(lambda name: budget_sets.held_out(self._load(name)))

    def __call__(self, run: Run) -> dict[str, Any]:
        """Return the record of a run; what it raises becomes part of it."""
        name, method, setting, seed, stage, budget = run
        record: dict[str, Any] = {
            "set": name, "method": method, "setting": setting, "seed": seed, "stage": stage,
            "budget": budget, "threads": self._threads,
        }  # fmt: skip
        data = (self._held if stage == TUNE else self._load)(name)
        began = time.perf_counter()
        try:
            pace = self._pace(method, data, setting, seed, budget)
            cpu = time.process_time()
            done = self._train(method, data, setting, seed, pace.units(budget))
            record |= {"cpu_seconds": time.process_time() - cpu, "seconds": done.seconds}
            record |= {"accuracy": done.accuracy, "loss": done.loss, "units": done.units}
            record |= {"constant": pace.constant, "per_unit": pace.per_unit}
        except (ValueError, ArithmeticError, RuntimeError) as error:
            record["error"] = f"{type(error).__name__}: {error}"
        return record | {"spent": time.perf_counter() - began}

    def _train(self, method: str, *arguments: Any, watch: Stopwatch | None = None) -> Trained:
        """Train by name."""
        data, setting, seed, units = arguments
        return _trainer(method)(data, setting, seed, self._threads, units, watch)

    def _pace(
        self, method: str, data: budget_sets.BudgetSet, setting: Any, seed: int, budget: float
    ) -> Pace:
        """Return the pace of a method, measured anew: the machine has its moods."""
        module = _module(method)
        skip, period = module.FIRST_UNITS, module.PERIOD
        what = data.name, method, label(setting)
        if what not in self._warm:  # what is compiled or imported once belongs to no run
            first = Stopwatch(0.0, skip, period)
            self._train(method, data, setting, seed, None, watch=first)
            self._warm.add(what)
        watch = Stopwatch(min(WATCHED, WATCHED_SHARE * budget), skip, period)
        done = self._train(method, data, setting, seed, None, watch=watch)
        return watch.pace(done.seconds)


def _module(method: str) -> Any:
    """Return what trains a method; the rivals' part needs torch."""
    if method in (OURS, DEFAULT):
        return budget_ours
    import budget_rivals

    return budget_rivals


def _trainer(method: str) -> Callable[..., Trained]:
    train = _module(method).train
    return train if method in (OURS, DEFAULT) else functools.partial(train, method)


def winners_of(
    done: Results, name: str, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Return the chosen setting of every method that has tried all of its own."""
    budget = middle(arguments.budgets)
    found = {
        m: chosen(done, name, m, draw(m, arguments.trials), budget) for m in arguments.methods
    }
    return {m: setting for m, setting in found.items() if setting is not None}


def measure(arguments: argparse.Namespace, done: Results, runner: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of what is missing, set by set; `done` has to receive them meanwhile."""
    for name in arguments.sets:
        budget = middle(arguments.budgets)
        for run in missing(tuning(name, arguments.methods, arguments.trials, budget), done):
            yield runner(run)
        winners = winners_of(done, name, arguments)
        for run in missing(finals(name, winners, arguments.seeds, arguments.budgets), done):
            yield runner(run)


def describe(record: dict[str, Any]) -> str:
    """Return a line about a record."""
    begin = f"{record['set']}, {record['method']}, {record['stage']} {record['seed']}, "
    begin += f"{record['budget']:g} s: "
    if "error" in record:
        return begin + record["error"]
    return (
        f"{begin}{100 * record['accuracy']:.2f} % after {record['seconds']:.2f} s, "
        f"{record['units']} units ({label(record['setting'])})"
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure what is missing."""
    wanted = {"torch"} if set(arguments.methods) - {OURS, DEFAULT} else set()
    wanted |= {NEEDS[m] for m in arguments.methods if m in NEEDS}
    if lacking := [PACKAGES[name] for name in sorted(wanted) if find_spec(name) is None]:
        raise SystemExit(
            f"{', '.join(lacking)} not installed: see the extra 'rivals' in pyproject.toml, or "
            "choose with --methods"
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / RESULTS
    records.mend(path)
    done = records.read(path, key)
    about = environment(("numpy", *PACKAGES.values()), arguments.threads)
    about |= {"quick": arguments.quick, "trials": arguments.trials}
    (arguments.out / ENVIRONMENT).write_text(json.dumps(about, indent=1) + "\n")
    runner = Runner(budget_sets.Sources(arguments.mnist, arguments.out), arguments.threads)
    with path.open("a", encoding="utf-8") as lines:
        for record in measure(arguments, done, runner):
            done[key(record)] = record
            lines.write(json.dumps(record) + "\n")
            lines.flush()
            print(describe(record), file=sys.stderr, flush=True)


def report(arguments: argparse.Namespace) -> str:
    """Write tables and picture of what is there; return the Markdown."""
    done = records.read(arguments.out / RESULTS, key)
    winners = {
        (name, m): setting
        for name in arguments.sets
        for m, setting in winners_of(done, name, arguments).items()
    }
    found = {k: cell for k, cell in cells(done, winners).items() if k[2] in arguments.budgets}
    if not found:
        raise SystemExit(f"{arguments.out / RESULTS} has no such results: do a run first")
    about = arguments.out / ENVIRONMENT
    text = markdown(found, winners, json.loads(about.read_text()) if about.exists() else {})
    (arguments.out / "report.md").write_text(text)
    save(figure(found), arguments.out / "budgets.png")
    return text


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for the results")
    add("--mnist", type=Path, help="folder of the MNIST files; default: where load_mnist looks")
    add("--half", choices=(*budget_sets.HALVES, "both"), default="both")
    add("--sets", nargs="+", choices=budget_sets.names(), metavar="NAME", help="default: the half")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    add("--trials", type=int, default=12, help="settings that each method chooses from")
    add("--seeds", type=int, default=5)
    add("--budgets", nargs="+", type=float, default=BUDGETS, metavar="SECONDS")
    add("--threads", type=int, default=1)
    add("--quick", action="store_true", help="a minute for all: shows that it works, no more")
    add("--report", action="store_true", help="measure nothing")
    arguments = parser.parse_args(words)
    if arguments.quick:
        vars(arguments).update(QUICK)
    arguments.sets = arguments.sets or budget_sets.names(arguments.half)
    for name in ("trials", "seeds", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if min(arguments.budgets) <= 0.0:
        parser.error("--budgets must be above 0")
    arguments.budgets = sorted(set(arguments.budgets))
    return arguments


def main(words: list[str] | None = None) -> int:
    """Run and report."""
    arguments = parse(words)
    if not arguments.report:
        run(arguments)
    print(report(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
