"""Works through the runs of one or several experiments, keeping every finished one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ._progress import Progress, RunProgress
from ._store import Store
from ._time_left import Planned, TimeLeft

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """One run: its key in the results file, its settings, and how to do it.

    Attributes
    ----------
    key, label : str
        For the file and for people.
    settings : dict
        Everything the result depends on; a stored run with other settings is done again.
    n_steps : int
        Number of calls of `advance`, about.
    run : callable
        ``run(results, advance)`` returns the result; `results` has those of earlier tasks.  What
        it needs of them it takes before anything else: with several processes a run that asks for
        a result which is not there yet is put off until it is.
    summary : callable
        Makes a few words out of the result.
    possible : bool
        Whether the run can be done here; one that cannot is used when it is in the file.
    """

    key: str
    label: str
    settings: dict[str, Any]
    n_steps: int
    run: Callable[[Results, Callable[[], None]], dict[str, Any]]
    summary: Callable[[dict[str, Any]], str]
    possible: bool = True


@dataclass(frozen=True)
class Part:
    """The runs of one experiment.

    Attributes
    ----------
    name : str
        Of the experiment.
    tasks : sequence of Task
        In the order in which they are done.
    store : Store
        Takes every result as soon as it is there.
    before : callable
        Called once before the first run that has to be done, in every process that does one.
    after : callable
        Gets the results by key when all are there.
    """

    name: str
    tasks: Sequence[Task]
    store: Store
    before: Callable[[], Any]
    after: Callable[[Results], Any]


class Events(Protocol):
    """Several processes that do runs, see `_workers.Crew`."""

    size: int

    def work(self, todo: Sequence[tuple[str, str]], results: dict[str, Results]) -> Any:
        """Do the runs of these experiments and keys; yield (name, key, event, value)."""
        ...


def run_parts(parts: Sequence[Part], crew: Events | None = None) -> None:
    """Do what is not in the stores yet.

    Parameters
    ----------
    parts : sequence of Part
        In the order in which they are done.
    crew : Events, optional
        Does the runs in several processes; by default they are done here, one after another.
    """
    work = _Work(parts, 1 if crew is None else crew.size)
    with work.progress:
        work.tell()
        if crew is None:
            work.do_here()
        else:
            work.do_with(crew)


class _Work:
    """What is done and what is to be done, of all parts together."""

    def __init__(self, parts: Sequence[Part], n_at_once: int) -> None:
        self.parts = {part.name: part for part in parts}
        self.results: dict[str, Results] = {part.name: _kept(part) for part in parts}
        self.missing = {
            part.name: [t for t in part.tasks if t.possible and t.key not in self._done(part)]
            for part in parts
        }
        time_left = TimeLeft(n_at_once)
        for part in parts:
            for task in part.tasks:
                if task.key in self._done(part) and part.store.elapsed(task.key):
                    time_left.learn(_planned(part.name, task), part.store.elapsed(task.key))
        todo = [_planned(name, t) for name, tasks in self.missing.items() for t in tasks]
        self.progress = Progress(todo, time_left)

    def _done(self, part: Part) -> Results:
        return self.results[part.name]

    def tell(self) -> None:
        """Say what is kept, and what is done again and why."""
        for name, part in self.parts.items():
            start = self._prefix(name)
            kept = len(self.results[name])
            if kept:
                self.progress.note(
                    f"{start}finished runs kept from {part.store.path.name}: {kept}"
                )
            changed = [part.store.changed(t.key, t.settings) for t in self.missing[name]]
            names = sorted({setting for differences in changed for setting in differences})
            if names:
                count = sum(map(bool, changed))
                self.progress.note(
                    f"{start}runs done again, for changed settings ({', '.join(names)}): {count}"
                )

    def do_here(self) -> None:
        """Do everything in this process."""
        for name, part in self.parts.items():
            if self.missing[name]:
                part.before()
            for task in self.missing[name]:
                shown, began = self._begin(name, task), time.perf_counter()
                result = task.run(self.results[name], shown.advance)
                self._keep(name, task, result, time.perf_counter() - began, shown)
            part.after(self.results[name])

    def do_with(self, crew: Events) -> None:
        """Do everything with several processes; only this one writes files."""
        tasks = {(name, t.key): t for name, todo in self.missing.items() for t in todo}
        left = {name: len(todo) for name, todo in self.missing.items()}
        running: dict[tuple[str, str], RunProgress] = {}
        for name, count in left.items():
            if not count:
                self.parts[name].after(self.results[name])
        for name, key, event, value in crew.work(list(tasks), self.results):
            run = name, key
            if event == "begin":
                running[run] = self._begin(name, tasks[run])
            elif event == "steps":
                running[run].advance(value)
            elif event == "put back":
                running.pop(run).put_back()
            else:
                result, elapsed = value
                self._keep(name, tasks[run], result, elapsed, running.pop(run))
                left[name] -= 1
                if not left[name]:
                    self.parts[name].after(self.results[name])

    def _begin(self, name: str, task: Task) -> RunProgress:
        return self.progress.begin(_planned(name, task), self._prefix(name) + task.label)

    def _keep(
        self, name: str, task: Task, result: dict[str, Any], elapsed: float, shown: RunProgress
    ) -> None:
        kept = self.parts[name].store.add(task.key, task.settings, result, elapsed)
        self.results[name][task.key] = kept
        shown.finish(task.summary(kept))

    def _prefix(self, name: str) -> str:
        return f"{name}: " if len(self.parts) > 1 else ""


def _kept(part: Part) -> Results:
    found = {task.key: part.store.find(task.key, task.settings) for task in part.tasks}
    return {key: result for key, result in found.items() if result is not None}


def _planned(name: str, task: Task) -> Planned:
    return Planned(name, task.key, task.n_steps)
