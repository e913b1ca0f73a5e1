"""What every experiment does: check its options, work through its runs, write and draw the report.

An experiment brings a table of rows, the runs of the rows, and a report; see `circle` and `mnist`.
Its module has ``make_job(options)``, which also serves `all` and the processes of `_workers`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lysep_fast.solvers import SOLVERS

from . import RunOptions, UsageError
from ._environment import environment
from ._runner import Part, Results, Task, run_parts
from ._store import Store, locked, write_atomically


class Report(Protocol):
    """Turns results into text and pictures."""

    def markdown(self) -> str:
        """Return the text of table.md."""
        ...

    def summary(self) -> str:
        """Return a small table for the terminal."""
        ...

    def draw(self, out: Path) -> list[Path]:
        """Draw all figures into a folder and return their paths."""
        ...

    def advice(self) -> str:
        """Return what is missing and how to get it, or nothing."""
        ...

    def shortcomings(self) -> list[str]:
        """Say where our figures fall short of others', and which of them are missing."""
        ...


@dataclass(frozen=True)
class Job:
    """All that is to be done, once the options are understood.

    Attributes
    ----------
    name : str
        Name of the experiment.
    settings : dict
        What is common to all runs, for the results file.
    threads : int
        For the results file.
    tasks : sequence of Task
        In the order in which they are done.
    warm_up : callable
        Called once before the first run that has to be done.
    report : callable
        Makes the report out of the results.
    """

    name: str
    settings: dict[str, Any]
    threads: int
    tasks: Sequence[Task]
    warm_up: Callable[[], Any]
    report: Callable[[Results], Report]


class Experiment:
    """A job in its folder: the results file, and the report once all runs are done.

    Parameters
    ----------
    job : Job
        What is to be done.
    out : Path
        The folder, which has to exist and should be locked.
    n_at_once : int
        Number of runs that are done at the same time, for the results file.
    """

    def __init__(self, job: Job, out: Path, n_at_once: int = 1) -> None:
        self.job, self.out = job, out
        self.store = Store(out / "results.json", job.name, environment(job.threads, n_at_once))
        self.store.describe(job.settings)
        self.report: Report
        self.text, self.keys, self.files = "", list[str](), list[Path]()

    def part(self) -> Part:
        """Return the runs."""
        job = self.job
        return Part(job.name, job.tasks, self.store, before=job.warm_up, after=self.write)

    def write(self, results: Results) -> None:
        """Write everything that follows from the results."""
        self.keys = [task.key for task in self.job.tasks if task.key in results]
        self.store.arrange([task.key for task in self.job.tasks])
        self.store.save()
        self.report = self.job.report(results)
        note = self.timing_note()
        self.text = self.report.markdown() + (f"\n{note}\n" if note else "")
        table = self.out / "table.md"
        write_atomically(table, self.text)
        self.files = [self.store.path, table, *self.report.draw(self.out)]

    def timing_note(self) -> str:
        """Say how many runs shared the machine with others of their kind."""
        used = self.store.environments(self.keys)
        shared = [(found["runs_at_once"], n) for found, n in used if "runs_at_once" in found]
        if not shared:
            return ""
        at_once = " or ".join(str(n) for n in sorted({n for n, _ in shared}))
        count = sum(n for _, n in shared)
        return (
            f"**Times are not comparable**: {count} of {len(self.keys)} runs were done with "
            f"{at_once} at the same time, which slows each of them down by an unknown share."
        )

    def summary(self) -> str:
        """Return the report for the terminal."""
        text = [self.report.summary(), "", "Written:", *(f"  {path}" for path in self.files)]
        advice = self.report.advice()
        return "\n".join([*text, "", advice] if advice else text)


def carry_out(job: Job, out: Path) -> str:
    """Do the runs that are missing, write everything, return the report for the terminal."""
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        experiment = Experiment(job, out)
        run_parts([experiment.part()])
    return experiment.summary()


def choose_rows(
    options: RunOptions, known: Collection[int], quick: Collection[int], table: str
) -> tuple[int, ...]:
    """Return the rows asked for, or the experiment's own choice; refuse unknown ones."""
    if options.problems is not None:
        raise UsageError("--problems: this experiment has rows; choose among them with --rows")
    rows = tuple(sorted(set(options.rows or (quick if options.quick else known))))
    for k in rows:
        if k not in known:
            raise UsageError(
                f"--rows: there is no row {k} in {table}; choose among "
                f"{', '.join(map(str, known))}, for instance --rows 1,4"
            )
    return rows


def choose_solver(options: RunOptions, default: str, able: Collection[str] = SOLVERS) -> str:
    """Return the solver asked for, or the default; refuse one that cannot do the experiment."""
    solver = default if options.solver is None else options.solver
    if solver in able:
        return solver
    wrong = "cannot train these networks" if solver in SOLVERS else "is unknown"
    raise UsageError(f"--solver: {solver!r} {wrong}; choose among {', '.join(sorted(able))}")


def refuse_data(options: RunOptions, why: str) -> None:
    """Refuse --data for an experiment that reads no files."""
    if options.data is not None:
        raise UsageError(f"--data: {why}; leave it out")


def solver_options(solver: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return all options of a solver, so that a changed default counts as a changed setting."""
    parameters = inspect.signature(SOLVERS[solver]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **chosen}
