"""Works through the runs of an experiment, keeping every finished one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ._progress import Progress
from ._store import Store

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
        ``run(results, advance)`` returns the result; `results` has those of earlier tasks.
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


def run_tasks(tasks: Sequence[Task], store: Store, before: Callable[[], None]) -> Results:
    """Do what is not in the store yet; return the results by key.

    Parameters
    ----------
    tasks : sequence of Task
        In the order in which they are done.
    store : Store
        Takes every result as soon as it is there.
    before : callable
        Called once before the first run that has to be done.
    """
    found = {task.key: store.find(task.key, task.settings) for task in tasks}
    results = {key: result for key, result in found.items() if result is not None}
    missing = [task for task in tasks if task.key not in results and task.possible]
    with Progress(len(missing), sum(task.n_steps for task in missing)) as progress:
        if results:
            progress.note(f"finished runs kept from {store.path.name}: {len(results)}")
        changed = [(task, store.changed(task.key, task.settings)) for task in missing]
        names = sorted({name for _, differences in changed for name in differences})
        if names:
            count = sum(bool(differences) for _, differences in changed)
            progress.note(f"runs done again, for changed settings ({', '.join(names)}): {count}")
        if missing:
            before()
        for task in missing:
            progress.begin(task.label, task.n_steps)
            result = task.run(results, progress.advance)
            results[task.key] = store.add(task.key, task.settings, result)
            progress.finish(task.summary(results[task.key]))
    return results
