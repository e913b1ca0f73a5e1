"""The disk cache of compiled kernels: it may be damaged, full or gone, and no call ends by it.

Numba's own cache knows the source file of one function only, so that a caller stays compiled with
a callee of old, and it raises what reading and writing raise.  Here a file holds one kernel for
one signature, behind a checksum and a key.  The key covers the sources of all kernels, the
versions of Python, Numba and llvmlite, the processor, and the settings of Numba that change code.

A file that is absent or belongs to another key is overwritten.  Whatever else goes wrong costs a
compilation and the one warning of the process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import pkgutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import llvmlite
import numba
from numba import config

try:
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps

    _reduce: Callable[..., Any] | None = CompileResult._reduce
    _rebuild: Callable[..., Any] | None = CompileResult._rebuild
except (ImportError, AttributeError):
    # Not Numba's public interface.  Without it every process compiles: slow, and never stale.
    NullCache, _reduce, _rebuild = object, None, None

__all__ = ["attach_cache", "source_digest"]

_MAGIC = b"lysep_fast kernel 1\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
_SETTINGS = ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")


def attach_cache(dispatcher: Any) -> None:
    """Let a compiled function load and save its specialisations; without sources it does not."""
    function = dispatcher.py_func
    ours, own = source_digest(__package__), source_digest(function.__globals__.get("__package__"))
    if _rebuild is not None and ours and own and hasattr(dispatcher, "_cache"):
        dispatcher._cache = _KernelCache(function, ours + own)


@functools.cache
def source_digest(package: str | None) -> bytes | None:
    """Return a digest of all source files of a package, taken once in a process.

    They are found through the package's loader, in a zip file as well as in a folder.  Taken while
    the kernels are imported: a later edit does not get into the key of what was imported before.
    """
    whole = hashlib.sha256()
    try:
        for found in pkgutil.iter_modules(sys.modules[package or ""].__path__):
            spec: Any = found.module_finder.find_spec(f"{package}.{found.name}")  # type: ignore[call-arg]
            if not found.ispkg:
                code = spec.loader.get_source(spec.name).encode()
                whole.update(hashlib.sha256(code).digest() + found.name.encode())
    except Exception:
        # No package, an installation without sources, or an unreadable one.
        return None
    return whole.digest()


@functools.cache
def _folder(parent: str, chosen: str) -> str | None:
    """Return the first folder that can be written: the chosen one, in the parent, the user's.

    None if there is none: a read-only installation without a home is nothing to warn of.
    """
    own = f"lysep_fast_{hashlib.sha256(parent.encode()).hexdigest()[:16]}"
    places = [os.path.join(chosen, own)] if chosen else []
    places.append(os.path.join(parent, "__pycache__"))
    with contextlib.suppress(Exception):
        from numba.misc.appdirs import AppDirs

        user = AppDirs(appname="numba", appauthor=False).user_cache_dir
        # Not absolute if an environment variable is empty.
        places += [os.path.join(user, own)] if os.path.isabs(user) else []
    for place in places:
        with contextlib.suppress(OSError):
            os.makedirs(place, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
            return place
    return None


class _KernelCache(NullCache):
    """Load and save the specialisations of one function, for Numba's dispatcher."""

    def __init__(self, function: Callable[..., Any], sources: bytes) -> None:
        self._function = function
        self._sources = sources

    @property
    def cache_path(self) -> str | None:
        """Folder of the files, None if there is none."""
        try:
            source = os.path.abspath(self._function.__code__.co_filename)
            return _folder(os.path.dirname(source), config.CACHE_DIR or "")
        except Exception:
            # A working directory that is gone, or a setting that is no path.
            return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel for a signature, or None."""
        target_context.refresh()
        if self.cache_path is None:
            return None
        path = None
        try:
            path, key = self._path_and_key(sig, target_context.codegen())
            payload = _read(path, key)
            return None if payload is None else _rebuild(target_context, *pickle.loads(payload))  # type: ignore[misc]
        except Exception as error:
            if path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            self._warn("read", error)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled kernel for a signature."""
        if self.cache_path is None:
            return
        try:
            if not data.lifted and not data.library.has_dynamic_globals:
                path, key = self._path_and_key(sig, data.codegen)
                _write(path, key, dumps(_reduce(data)))  # type: ignore[misc]
        except Exception as error:
            self._warn("written", error)

    def _path_and_key(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """Return the file for a signature, and the key that its content must have.

        What stands side by side goes into the name, what replaces something else into the key.
        """
        function = self._function
        cells = function.__closure__ or ()
        settings = [repr(getattr(config, name, None)) for name in _SETTINGS]
        beside = [str(sig), repr(codegen.magic_tuple()), sys.implementation.cache_tag, *settings]
        name = hashlib.sha256("\n".join(map(str, beside)).encode()).hexdigest()[:16]
        versions = (sys.version, numba.__version__, llvmlite.__version__, beside)
        key = hashlib.sha256(self._sources + repr(versions).encode() + function.__code__.co_code)
        key.update(dumps(tuple(cell.cell_contents for cell in cells)) if cells else b"")
        file = f"{function.__module__}.{function.__qualname__}.{name}.nbc"
        for mark in "<>":
            file = file.replace(mark, "")
        return os.path.join(str(self.cache_path), file), key.digest()

    def _warn(self, what: str, error: Exception) -> None:
        if not _warned:
            _warned.append(self.cache_path)
            warnings.warn(
                f"the cache of compiled kernels in {self.cache_path} could not be {what} "
                f"({type(error).__name__}: {error}): kernels are compiled in memory instead; set "
                "NUMBA_CACHE_DIR to another folder if this happens again",
                RuntimeWarning,
                stacklevel=2,
            )


_warned: list[str | None] = []


def _read(path: str, key: bytes) -> bytes | None:
    """Return the content of a file, or None if there is none for the key."""
    try:
        with open(path, "rb") as file:
            whole = file.read()
    except FileNotFoundError:
        return None
    checksum, content = whole[:_DIGEST_SIZE], whole[_DIGEST_SIZE:]
    # Before anything of it is believed: damaged machine code would end the process.
    if checksum != hashlib.sha256(content).digest() or not content.startswith(_MAGIC):
        raise ValueError(f"{os.path.basename(path)} is damaged")
    start = len(_MAGIC) + len(key)
    return content[start:] if content[len(_MAGIC) : start] == key else None


def _write(path: str, key: bytes, payload: bytes) -> None:
    """Put a file in place as a whole: other processes see the old one or the new one."""
    content = _MAGIC + key + payload
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
