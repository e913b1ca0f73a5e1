"""What every experiment does: check its options, work through its runs, write and draw the report.

An experiment brings a table of rows, the runs of the rows, and a report; see `circle` and `mnist`.
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
from ._runner import Results, Task, run_tasks
from ._store import Store, write_atomically


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


def carry_out(job: Job, out: Path) -> str:
    """Do the runs that are missing, write everything, return the report for the terminal."""
    out.mkdir(parents=True, exist_ok=True)
    store = Store(out / "results.json", job.name, environment(job.threads))
    store.describe(job.settings)
    results = run_tasks(job.tasks, store, job.warm_up)
    store.save()
    report = job.report(results)
    table = out / "table.md"
    write_atomically(table, report.markdown())
    text = [report.summary(), "", "Written:"]
    text += [f"  {path}" for path in (store.path, table, *report.draw(out))]
    advice = report.advice()
    return "\n".join([*text, "", advice] if advice else text)


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
