"""Thread team over fixed sample blocks, with BLAS held at one thread while it works.

Sums are formed along the fixed binary tree of `blocks`, whoever is ready first: results are
bit-identical for any number of threads.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from .blas import single_threaded_blas
from .blocks import Blocks, sample_blocks

__all__ = ["ALONE", "Team", "Workspace", "available_cpus"]

T = TypeVar("T")


def available_cpus() -> int:
    """Return the number of CPUs this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every platform knows CPU affinity
        return os.cpu_count() or 1


class Workspace:
    """Named scratch arrays of one thread, reused from block to block."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, np.dtype[Any]], np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialised C-contiguous array that belongs to `name`."""
        key = (name, np.dtype(dtype))
        size = 1
        for extent in shape:
            size *= extent
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[key] = np.empty(size, key[1])
        return buffer[:size].reshape(shape)


class Team:
    """A fixed number of threads that work through sample blocks.

    Use it as a context manager: inside, every BLAS library of the process runs on one thread
    (the team supplies the parallelism); on leaving, the former limits are back.

    Parameters
    ----------
    n_threads : int or None
        Number of threads, the calling one included; None means all CPUs of this process.  There
        are never more than there are blocks.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = available_cpus() if n_threads is None else int(n_threads)
        self._workspaces = [Workspace()]
        self._executor: ThreadPoolExecutor | None = None
        self._process = 0
        self._holder: object = None

    def __enter__(self) -> Team:
        if self.n_threads > 1:  # its threads are started when there is work for them
            limit = single_threaded_blas.limit_this_thread
            self._executor = ThreadPoolExecutor(self.n_threads - 1, "lysep_fast", limit)
        self._process = os.getpid()
        holder = object()
        # Ctrl-C may come before the first line of __exit__ or in the middle of the release.
        self._last_resort = weakref.finalize(self, single_threaded_blas.release, holder)
        self._holder = holder
        single_threaded_blas.hold(holder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        executor, self._executor = self._executor, None
        try:
            if executor is not None and self._process == os.getpid():
                executor.shutdown(wait=True)
        finally:  # a second Ctrl-C ends the waiting
            single_threaded_blas.release(self._holder)
            self._last_resort.detach()

    def map(self, task: Callable[[Any, Workspace], T], blocks: Sequence[Any]) -> list[T]:
        """Run ``task(block, workspace)`` for every block and return the results in block order.

        An exception in any block (Ctrl-C included) stops the team at the next block boundary
        and is raised here.
        """
        results: list[Any] = [None] * len(blocks)
        ticket = itertools.count()  # next() on it is atomic under the interpreter lock
        stop = threading.Event()

        def work(workspace: Workspace) -> None:
            try:
                # Overflow is no warning but a status: the training loop looks at the loss.
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    run(workspace)
            except BaseException:
                stop.set()
                raise

        def run(workspace: Workspace) -> None:
            while not stop.is_set():
                k = next(ticket)
                if k >= len(blocks):
                    return
                results[k] = task(blocks[k], workspace)

        helpers: list[Future[None]] = []
        try:
            executor = self._helpers()
            if executor is not None:
                for workspace in self._spaces(min(self.n_threads, len(blocks)))[1:]:
                    helpers.append(executor.submit(work, workspace))
            work(self._workspaces[0])
        except BaseException:
            stop.set()
            raise
        finally:
            for helper in helpers:
                helper.exception()  # wait: no helper may still write when map returns or raises
        for helper in helpers:
            helper.result()
        return results

    def _helpers(self) -> ThreadPoolExecutor | None:
        """Return the threads beside the calling one; a forked child has none of its parent's."""
        return self._executor if self._process == os.getpid() else None

    def _spaces(self, count: int) -> list[Workspace]:
        """Return `count` workspaces, made when they are needed first."""
        while len(self._workspaces) < count:
            self._workspaces.append(Workspace())
        return self._workspaces[:count]

    def sum(
        self, task: Callable[[slice, Workspace], tuple[Any, ...]], blocks: Blocks
    ) -> list[Any]:
        """Return the sums over all blocks of what ``task(block, workspace)`` returns.

        Parameters
        ----------
        task : callable
            Returns a tuple of scalars and arrays; the arrays may be workspace memory.
        blocks : Blocks
            Sample blocks.

        Returns
        -------
        list
            Sums in the order of the tuple: float64 arrays and floats, formed in float64.
        """

        def leaf_task(leaf: Sequence[slice], ws: Workspace) -> list[Any]:
            total: list[Any] = []
            for block in leaf:
                _accumulate(total, task(block, ws))
            return total

        return self._fold(leaf_task, blocks.leaves, _accumulate)

    def reduce(
        self,
        task: Callable[[slice, Workspace], T],
        blocks: Blocks,
        combine: Callable[[T, T], T],
    ) -> T:
        """Return what ``task(block, workspace)`` gives for all blocks, combined along the tree.

        Parameters
        ----------
        task : callable
            Returns something that is not the workspace's memory.
        blocks : Blocks
            Sample blocks, at least one.
        combine : callable
            Makes one of two neighbours; it may change the first one and return it.
        """

        def leaf_task(leaf: Sequence[slice], ws: Workspace) -> T:
            total = task(leaf[0], ws)
            for block in leaf[1:]:
                total = combine(total, task(block, ws))
            return total

        return self._fold(leaf_task, blocks.leaves, combine)

    def total(self, values: np.ndarray) -> Any:
        """Return the sum of an array over its first axis, in float64."""
        blocks = sample_blocks(len(values), max(1, values[0].size), values.itemsize)
        return self.sum(lambda rows, ws: (values[rows].sum(axis=0, dtype=np.float64),), blocks)[0]

    def _fold(
        self,
        task: Callable[[Any, Workspace], T],
        leaves: Sequence[Any],
        combine: Callable[[T, T], T],
    ) -> T:
        """Combine the values of the leaves; only those whose neighbour is not ready are held."""
        tree = _Tree(len(leaves), combine)

        def work(k: int, ws: Workspace) -> None:
            tree.offer(k, task(leaves[k], ws))

        self.map(work, range(len(leaves)))
        root: T = tree.root
        return root


class _Tree:
    """The binary tree over a number of leaves: pairs of neighbours are combined, level by level.

    The last node of a level may be without a neighbour; it goes up as it is.
    """

    def __init__(self, count: int, combine: Callable[[Any, Any], Any]) -> None:
        self.count, self.combine = count, combine
        self.root: Any = None
        self._waiting: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()

    def offer(self, k: int, value: Any) -> None:
        """Take in the value of leaf k, and combine it as far up as neighbours are ready."""
        level, width = 0, self.count
        while width > 1:
            neighbour = k ^ 1
            if neighbour < width:
                with self._lock:
                    if (level, neighbour) not in self._waiting:
                        self._waiting[level, k] = value
                        return
                    other = self._waiting.pop((level, neighbour))
                value = self.combine(*((value, other) if k < neighbour else (other, value)))
            level, k, width = level + 1, k // 2, -(-width // 2)
        self.root = value


def _accumulate(total: list[Any], part: Iterable[Any]) -> list[Any]:
    """Add `part` to `total` item by item and return it; an empty one takes float64 copies."""
    if not total:
        total.extend(np.array(item, np.float64) if np.ndim(item) else float(item) for item in part)
        return total
    for i, item in enumerate(part):
        total[i] += item
    return total


#: The calling thread by itself, for sums that are formed outside of a training.
ALONE = Team(1)
