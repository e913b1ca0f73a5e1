"""All experiments, one after another or several runs at a time, and one report of all of them.

Every experiment has a folder of its own, as if it had been run alone; report.md and report.html
follow from the results files, so that the same results give the same report.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lysep_fast.threads.team import available_cpus

from . import MissingData, RunOptions, UsageError
from ._all_report import AllReport
from ._environment import require
from ._experiment import Experiment, Job
from ._html import page
from ._runner import run_parts
from ._store import locked, write_atomically
from ._workers import Crew

#: In the order of the report; those that are not there are left out.
ORDER = ("circle", "interface", "mnist", "pde")
#: The experiments that read files, and so take --data.
READERS = ("mnist",)


def run(options: RunOptions) -> str:
    """Run all experiments and return their reports for the terminal."""
    refuse(options)
    require("matplotlib", "tqdm", "markdown")
    n_at_once = options.jobs or 1
    own = {name: own_options(options, name, n_at_once) for name in known()}
    jobs, missing = make_jobs(own, options)
    with ExitStack() as stack:
        experiments = []
        for name, job in jobs.items():
            folder = own[name].out
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            experiments.append(Experiment(job, folder, n_at_once))
        crew = None
        if n_at_once > 1:
            given = {name: asdict(own[name]) for name in jobs}
            crew = stack.enter_context(Crew(n_at_once, given, threads_each(options, n_at_once)))
        run_parts([experiment.part() for experiment in experiments], crew)
        written = write(experiments, missing, options)
    return summary(experiments, missing, written)


def refuse(options: RunOptions) -> None:
    """Refuse the options that mean something else, or nothing, in some of the experiments."""
    for name in ("rows", "solver", "problems"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name}: the experiments differ in this; run them one by one, for instance "
                f"lysep-fast reproduce circle --out {options.out / 'circle'}; the finished runs "
                "count for `all` where the settings agree"
            )


def known() -> list[str]:
    """Return the experiments that there are."""
    return [name for name in ORDER if importlib.util.find_spec(f"{__package__}.{name}")]


def threads_each(options: RunOptions, n_at_once: int) -> int:
    """Return the threads of one of the runs that are done at the same time."""
    return max(1, (options.threads or available_cpus()) // n_at_once)


def own_options(options: RunOptions, name: str, n_at_once: int) -> RunOptions:
    """Return the options of one experiment."""
    return replace(
        options,
        out=options.out / name,
        threads=threads_each(options, n_at_once),
        data=options.data if name in READERS else None,
        jobs=None,
    )


def make_jobs(
    own: dict[str, RunOptions], options: RunOptions
) -> tuple[dict[str, Job], dict[str, str]]:
    """Return what is to be done, and why the other experiments cannot be done, by name.

    Files that are nowhere are no error; files that are not where --data says are one.
    """
    jobs: dict[str, Job] = {}
    missing: dict[str, str] = {}
    for name, its_options in own.items():
        module: Any = importlib.import_module(f"{__package__}.{name}")
        try:
            jobs[name] = module.make_job(its_options)
        except MissingData as error:
            if options.data is not None:
                raise
            missing[name] = str(error)
    return jobs, missing


def write(
    experiments: list[Experiment], missing: dict[str, str], options: RunOptions
) -> list[Path]:
    """Write the report of all experiments; return its files."""
    text = AllReport(experiments, list(missing), options.quick).markdown()
    files = {"report.md": text, "report.html": page(text, options.out)}
    for name, content in files.items():
        write_atomically(options.out / name, content)
    return [options.out / name for name in files]


def summary(experiments: list[Experiment], missing: dict[str, str], written: list[Path]) -> str:
    """Return the reports for the terminal."""
    parts = [f"{found.job.name}\n\n{found.summary()}" for found in experiments]
    parts += [f"{name}: not done. {why}" for name, why in missing.items()]
    return "\n\n".join([*parts, "\n".join(["All together:", *(f"  {path}" for path in written)])])
