"""Progress on stderr, with the time left: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from ._time_left import Planned, TimeLeft

# Silence, in seconds, after which a run in a log file says that it is still going.
_SILENCE = 30.0
# Seconds between two guesses at the time left; advancing is called within the runs' own time.
_GUESS_EVERY = 1.0


class Progress:
    """Shows how far the runs of one or several experiments are.

    Parameters
    ----------
    runs : sequence of Planned
        What is to be done.
    time_left : TimeLeft, optional
        May have learnt from earlier runs.
    """

    def __init__(self, runs: Sequence[Planned], time_left: TimeLeft | None = None) -> None:
        self.n_runs, self.done = len(runs), 0
        self.spoke = self.guessed = time.monotonic()
        self.time_left = time_left or TimeLeft()
        for run in runs:
            self.time_left.plan(run)
        self.bar: Any = None
        if runs and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=sum(run.n_steps for run in runs),
                unit="step",
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def note(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        self.spoke = time.monotonic()
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def begin(self, run: Planned, label: str) -> RunProgress:
        """Start a run."""
        self.time_left.begin(run)
        if self.bar is not None:
            self.bar.set_description(label)
            self._guess()
        return RunProgress(self, run, label)

    def finished(self, label: str, summary: str) -> None:
        """Count a finished run and say what came out."""
        self.done += 1
        count = f"[{self.done:>{len(str(self.n_runs))}}/{self.n_runs}]"
        left = self.time_left.text() if self.done < self.n_runs and self.bar is None else ""
        self.note(f"{count} {label}: {summary}" + (f"; {left}" if left else ""))

    def step(self, run: Planned, label: str, step: int, count: int) -> None:
        """Show a run's step, which moves the bar by `count`."""
        self.time_left.step(run, step)
        if self.bar is not None:
            self.bar.update(count)
            if time.monotonic() - self.guessed > _GUESS_EVERY:
                self._guess()
        elif time.monotonic() - self.spoke > _SILENCE:
            left = self.time_left.text()
            self.note(f"        {label}: {step} of {run.n_steps}" + (f"; {left}" if left else ""))

    def _guess(self) -> None:
        self.guessed = time.monotonic()
        self.bar.set_postfix_str(self.time_left.text(), refresh=False)


class RunProgress:
    """One run in a `Progress`."""

    def __init__(self, progress: Progress, run: Planned, label: str) -> None:
        self._progress, self._run, self._label, self._step = progress, run, label, 0

    def advance(self, count: int = 1) -> None:
        """Count steps of the run; more than announced do not move the bar."""
        n, before = self._run.n_steps, self._step
        self._step += count
        moved = min(self._step, n) - min(before, n)
        self._progress.step(self._run, self._label, self._step, moved)

    def finish(self, summary: str) -> None:
        """End the run with its result in a few words."""
        n = self._run.n_steps
        self._progress.time_left.finish(self._run)
        if self._progress.bar is not None:
            self._progress.bar.update(n - min(self._step, n))
        self._progress.finished(self._label, summary)

    def put_back(self) -> None:
        """Return the run to those ahead: it has to wait for another."""
        self._progress.time_left.put_back(self._run)
