"""Torture: generated calls of every public entry point, refused by name or with finite results."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator

import hypothesis

from . import _generated_inputs as generated
from ._calls import Call, check

__all__ = ["BATCH", "n_cases", "prepared"]

#: Calls of one case: hypothesis begins every sequence of its own with the simplest call.
BATCH = 100


def n_cases(mode: str, count: int) -> int:
    """Return the number of cases: `BATCH` calls each of one entry point."""
    return math.ceil(count / BATCH) * len(generated.ENTRIES)


@contextlib.contextmanager
def prepared(mode: str, seed: int) -> Iterator[Callable[[int], Counter[str]]]:
    """Give the function that makes the calls of a case."""
    entries = list(generated.ENTRIES)

    def attempt(case: int) -> Counter[str]:
        name = entries[case % len(entries)]
        return calls(name, f"{seed} {case}", BATCH)

    yield attempt


def calls(name: str, seed: str, count: int) -> Counter[str]:
    """Make that many calls of an entry point, drawn in the order that belongs to a seed."""
    seen: Counter[str] = Counter()
    last: list[Call] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(generated.ENTRIES[name])
    def run(call: Call) -> None:
        last[:] = [call]
        seen[f"{name}: {check(call)}"] += 1

    try:
        run()
    except Exception as error:
        raise AssertionError(f"{name}: {error!r} of {last[0]!r}") from error
    return seen
