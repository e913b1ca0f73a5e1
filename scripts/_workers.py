"""Does runs in several processes.  They compute; the first process alone writes files.

A process gets the names of experiments and keys of runs through a pipe, makes the experiment's
tasks from the options as the first process did, and sends results back.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from threadpoolctl import threadpool_limits

from lysep_fast.cli import run_worker

from . import ExperimentError, RunOptions

# Seconds between two messages about steps.
_TELL_EVERY = 0.5

Run = tuple[str, str]


class NotYet(Exception):
    """A run needs the result of another that is not there; the argument is its key."""


class Given(dict[str, Any]):
    """The results that a run has asked for so far."""

    def __missing__(self, key: str) -> Any:
        raise NotYet(key)


class Crew:
    """Processes that wait for runs to do; a context manager that ends them.

    Parameters
    ----------
    size : int
        Number of processes.
    options : mapping
        By experiment: the fields of its `RunOptions`.
    threads : int
        Threads of every process for linear algebra outside of the models.
    """

    def __init__(self, size: int, options: Mapping[str, dict[str, Any]], threads: int) -> None:
        self.size, self._arguments = size, (dict(options), threads)
        self._members: list[tuple[Any, Connection]] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        for member, connection in self._members:
            connection.close()
            member.terminate()
        for member, _ in self._members:
            member.join()

    def _gather(self, n: int) -> list[Connection]:
        """Start the first processes that are needed; return the pipes to all there are."""
        for _ in range(len(self._members), min(self.size, n)):
            here, there = multiprocessing.Pipe()
            member = self._start(there)
            there.close()  # so that the pipe ends when the process does
            self._members.append((member, here))
        return [connection for _, connection in self._members]

    def _start(self, connection: Connection) -> Any:
        # It starts afresh: the copy of a process with threads (Numba, BLAS) can hang.
        context = multiprocessing.get_context("spawn")
        process = context.Process(
            target=run_worker, args=(connection, *self._arguments), daemon=True
        )
        process.start()
        return process

    def work(
        self, todo: Sequence[Run], results: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, str, str, Any]]:
        """Do runs, yield what happens; the caller puts finished ones into `results` at once.

        Yields
        ------
        name, key, event, value
            The events are "begin"; "steps" with their number; "put back" for a run that waits for
            another; "done" with the result and its wall time in seconds.
        """
        waiting, parked = deque(todo), dict[Run, list[Run]]()
        given: dict[Run, dict[str, Any]] = {run: {} for run in todo}
        idle, busy = self._gather(len(todo)), dict[Any, Run]()
        while waiting or busy:
            while idle and waiting:
                run = waiting.popleft()
                yield (*run, "begin", None)
                connection = idle.pop()
                _send(connection, (*run, given[run]))
                busy[connection] = run
            for connection in wait(list(busy)):
                run = busy[connection]
                event, value = _receive(connection, run)
                if event == "steps":
                    yield (*run, event, value)
                    continue
                del busy[connection]
                idle.append(connection)
                if event == "needs":
                    yield (*run, "put back", None)
                    self._put_off(run, (run[0], value), results, waiting, parked, given)
                else:
                    yield (*run, event, value)
                    for other in parked.pop(run, []):
                        given[other][run[1]] = results[run[0]][run[1]]
                        waiting.appendleft(other)
        if parked:
            raise RuntimeError(f"runs wait for others that are not to be done: {parked}")

    @staticmethod
    def _put_off(
        run: Run,
        needed: Run,
        results: Mapping[str, Mapping[str, Any]],
        waiting: deque[Run],
        parked: dict[Run, list[Run]],
        given: dict[Run, dict[str, Any]],
    ) -> None:
        name, key = needed
        if key in results[name]:
            given[run][key] = results[name][key]
            waiting.appendleft(run)
        else:
            parked.setdefault(needed, []).append(run)


def _send(connection: Connection, message: Any) -> None:
    try:
        connection.send(message)
    except OSError:
        raise _died("before it got a run") from None


def _receive(connection: Connection, run: Run) -> tuple[str, Any]:
    try:
        event, value = connection.recv()
    except (EOFError, OSError):
        raise _died(f"during {': '.join(run)}") from None
    if event == "failed":
        raise ExperimentError(f"{': '.join(run)} failed in a process of its own:\n{value}")
    return event, value


def _died(when: str) -> ExperimentError:
    return ExperimentError(
        f"a process died {when} (out of memory?). Finished runs are kept: the same command goes "
        "on from there; --jobs 1 needs the least memory"
    )


# --- in the processes ---------------------------------------------------------------------------


def serve(connection: Connection, options: Mapping[str, dict[str, Any]], threads: int) -> None:
    """Do the runs that come through the pipe until it ends."""
    _follow_the_first_process()
    known: dict[str, dict[str, Any]] = {}
    with threadpool_limits(threads):
        while True:
            try:
                name, key, given = connection.recv()
                connection.send(_answer(name, key, given, connection, known, options))
            except (EOFError, OSError):  # nobody is there any more
                return


def _answer(
    name: str,
    key: str,
    given: dict[str, Any],
    connection: Connection,
    known: dict[str, dict[str, Any]],
    options: Mapping[str, dict[str, Any]],
) -> tuple[str, Any]:
    """Do a run; errors become messages for the first process."""
    try:
        if name not in known:
            known[name] = _tasks(name, options[name])
        return _attempt(known[name][key], given, connection)
    except ExperimentError as error:
        return "failed", str(error)
    except Exception:
        return "failed", traceback.format_exc()


def _tasks(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the tasks of an experiment by key, ready to run."""
    module = importlib.import_module(f"{__package__}.{name}")
    job = module.make_job(RunOptions(**options))
    job.warm_up()
    return {task.key: task for task in job.tasks}


def _attempt(task: Any, given: dict[str, Any], connection: Connection) -> tuple[str, Any]:
    began = told = time.perf_counter()
    steps = 0

    def advance() -> None:
        nonlocal steps, told
        steps += 1
        now = time.perf_counter()
        if now - told > _TELL_EVERY:
            connection.send(("steps", steps))
            steps, told = 0, now

    try:
        result = task.run(Given(given), advance)
    except NotYet as missing:
        return "needs", missing.args[0]
    return "done", (result, time.perf_counter() - began)


def _follow_the_first_process() -> None:
    """Leave Ctrl-C to the first process, and end with it, even when it is killed in mid-run."""
    first = multiprocessing.parent_process()
    if first is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        first.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
