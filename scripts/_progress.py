"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

# Silence, in seconds, after which a run in a log file says that it is still going.
_SILENCE = 30.0


class Progress:
    """Shows how far the runs of an experiment are.

    Parameters
    ----------
    n_runs : int
        Number of runs to be done.
    n_steps : int
        Number of steps (sweeps or iterations) of all of them.
    """

    def __init__(self, n_runs: int, n_steps: int) -> None:
        self.n_runs, self.done = n_runs, 0
        self.label, self.step, self.n_run_steps = "", 0, 0
        self.spoke = time.monotonic()
        self.bar: Any = None
        if n_runs and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=n_steps, unit="step", dynamic_ncols=True, file=sys.stderr)

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

    def begin(self, label: str, n_steps: int) -> None:
        """Start a run."""
        self.label, self.step, self.n_run_steps = label, 0, n_steps
        if self.bar is not None:
            self.bar.set_description(label)

    def advance(self) -> None:
        """Count one step of the run."""
        self.step += 1
        if self.bar is not None:
            self.bar.update(1 if self.step <= self.n_run_steps else 0)
        elif time.monotonic() - self.spoke > _SILENCE:
            self.note(f"        {self.label}: {self.step} of {self.n_run_steps}")

    def finish(self, summary: str) -> None:
        """End a run with its result in a few words."""
        self.done += 1
        if self.bar is not None:
            self.bar.update(max(0, self.n_run_steps - self.step))
        self.note(f"[{self.done:>{len(str(self.n_runs))}}/{self.n_runs}] {self.label}: {summary}")
