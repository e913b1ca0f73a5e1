"""Thread team over fixed sample blocks, with BLAS held at one thread while it works.

The blocks depend on the data's size only, and partial results come back in block order, so every
sum is formed in the same order whatever the number of threads: results are bit-identical.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from .blas import single_threaded_blas

__all__ = ["Team", "Workspace", "available_cpus", "row_blocks", "sample_blocks"]

T = TypeVar("T")

# A block's working set should stay in a core's private cache (0.5 to 2 MiB on current CPUs).
_BLOCK_BYTES = 256 * 1024
_MIN_ROWS, _MAX_ROWS = 64, 2048
# Groups of blocks that sums are formed in: enough for many cores, few enough to hold.
_MAX_GROUPS = 64


def available_cpus() -> int:
    """Return the number of CPUs this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every platform knows CPU affinity
        return os.cpu_count() or 1


def sample_blocks(n_samples: int, width: int, itemsize: int) -> list[slice]:
    """Cut the samples into fixed blocks that fit a core's cache.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    width : int
        Largest number of columns any one array has.
    itemsize : int
        Bytes per element.

    Returns
    -------
    list of slice
        Consecutive row ranges that cover ``0..n_samples``.  They depend on the arguments only,
        never on the number of threads.
    """
    rows = _BLOCK_BYTES // max(1, width * itemsize)
    # Small data still gives every core of a usual machine several blocks to take.
    rows = min(rows, -(-n_samples // 8))
    rows = int(np.clip(-(-rows // 16) * 16, _MIN_ROWS, _MAX_ROWS))
    return row_blocks(n_samples, rows)


def row_blocks(n_samples: int, rows: int) -> list[slice]:
    """Cut ``0..n_samples`` into consecutive ranges of `rows` rows, the last one shorter."""
    return [slice(i, min(i + rows, n_samples)) for i in range(0, n_samples, rows)]


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

    def map(self, task: Callable[[slice, Workspace], T], blocks: list[slice]) -> list[T]:
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
        self, task: Callable[[slice, Workspace], tuple[Any, ...]], blocks: list[slice]
    ) -> list[Any]:
        """Return the sums over all blocks of what ``task(block, workspace)`` returns.

        The blocks are added in fixed groups, whose number does not grow with the data, and the
        groups in order: the result does not depend on the number of threads, and memory not on
        the number of samples.  Sums are formed in float64.

        Parameters
        ----------
        task : callable
            Returns a tuple of scalars and arrays; the arrays may be workspace memory.
        blocks : list of slice
            Sample blocks.

        Returns
        -------
        list
            Sums in the order of the tuple: float64 arrays and floats.
        """
        size = -(-len(blocks) // _MAX_GROUPS)
        groups = row_blocks(len(blocks), size)

        def group_task(group: slice, ws: Workspace) -> list[Any]:
            total: list[Any] = []
            for block in blocks[group]:
                _accumulate(total, task(block, ws))
            return total

        total: list[Any] = []
        for part in self.map(group_task, groups):
            _accumulate(total, part)
        return total


def _accumulate(total: list[Any], part: Iterable[Any]) -> None:
    """Add `part` to `total` item by item; an empty `total` takes float64 copies."""
    if not total:
        total.extend(np.array(item, np.float64) if np.ndim(item) else float(item) for item in part)
        return
    for i, item in enumerate(part):
        total[i] += item
