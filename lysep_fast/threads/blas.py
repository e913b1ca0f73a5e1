"""BLAS on one thread while a team works, put back afterwards, whoever else does the same."""

from __future__ import annotations

import os
import threading
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["single_threaded_blas"]


class SingleThreadedBlas:
    """Limit on the BLAS threads of the process, shared by everyone who asks for it at once.

    The first holder sets the limit, the last to leave restores what was found, so that Python
    threads that train at the same time do not undo each other's setting.  OpenBLAS on OpenMP has
    a number of its own in every Python thread: there every holder sets and restores its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Who holds the limit: its thread, and the numbers of that thread's own.
        self._holders: dict[Any, tuple[int, list[int | None]]] = {}
        self._former: list[int | None] = []
        self._libraries: tuple[list[Any], list[Any]] | None = None

    def hold(self, holder: object) -> None:
        """Set the limit until `holder` is released."""
        with self._lock:
            shared, own = self._find()
            if not self._holders:
                self._former = _thread_counts(shared)
            self._holders[holder] = (threading.get_ident(), _thread_counts(own))
            for library in shared + own:
                _set_thread_count(library, 1)

    def release(self, holder: object) -> None:
        """Restore this thread's limit, and if `holder` is the last one that of the process."""
        with self._lock:
            if holder in self._holders:
                shared, own = self._find()
                _restore(own, self._holders[holder][1])
                if len(self._holders) == 1:
                    _restore(shared, self._former)
                del self._holders[holder]  # last: a release cut short by Ctrl-C begins again

    def limit_this_thread(self) -> None:
        """Set the limit of a thread that ends with its holder."""
        with self._lock:
            for library in self._find()[1]:
                _set_thread_count(library, 1)

    def reset_after_fork(self) -> None:
        """Keep what the forking thread holds in the child, where no other thread lives on."""
        self._lock = threading.Lock()
        me = threading.get_ident()
        others = {holder for holder, (thread, _) in self._holders.items() if thread != me}
        for holder in others:
            del self._holders[holder]
        if others and not self._holders:
            _restore(self._find()[0], self._former)

    def _find(self) -> tuple[list[Any], list[Any]]:
        """Return the controllers of libraries with one number of threads, and one per thread."""
        if self._libraries is None:
            found = ThreadpoolController().select(user_api="blas").lib_controllers
            on_openmp = [
                each.internal_api == "openblas"
                and getattr(each, "threading_layer", "") == "openmp"
                for each in found
            ]
            shared = [each for each, own in zip(found, on_openmp, strict=True) if not own]
            self._libraries = shared, [each for each in found if each not in shared]
        return self._libraries


def _thread_counts(libraries: list[Any]) -> list[int | None]:
    return [library.get_num_threads() for library in libraries]


def _restore(libraries: list[Any], counts: list[int | None]) -> None:
    """Set the former numbers of threads where the limit stands; what others have set stays."""
    for library, count in zip(libraries, counts, strict=True):
        if count is not None and library.get_num_threads() == 1:
            _set_thread_count(library, count)


def _set_thread_count(library: Any, count: int) -> None:
    if library.get_num_threads() in (None, count):
        return  # None: the library does not tell
    # From version 3.8 on threadpoolctl ignores, without a word, all Python threads but the first
    # that set a limit; who has to restore one here may be another.
    give_up = getattr(library, "clear_controlling_thread", None)
    if give_up is not None:
        give_up(force=True)
    library.set_num_threads(count)
    if give_up is not None:
        give_up(force=True)


single_threaded_blas = SingleThreadedBlas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas.reset_after_fork)
