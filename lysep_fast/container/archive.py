"""The container of model files and checkpoints: arrays and a JSON header, without pickle.

A file is an uncompressed ``.npz`` that ``numpy.load(path, allow_pickle=False)`` reads: a zip
archive of the member ``header.json`` followed by one ``.npy`` member per array.  The header holds
dtype, shape and SHA-256 of every array, and the SHA-256 of itself.  As every member's bytes follow
from the header apart from the numbers themselves, the reader knows all sizes before it reads an
array, and parses nothing but JSON.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from .atomic import replacing
from .encoding import bytes_of, little, npy_start, opened_seal, sealed, sha256_of
from .errors import ModelFileError, model_file_errors

__all__ = ["FORMAT_VERSION", "Archive", "Expected", "write_archive"]

FORMAT_VERSION = 2

#: Shape and dtype of every array by name, as they follow from a header.
Expected = Mapping[str, tuple[tuple[int, ...], Any]]

_FORMAT = "lysep_fast"
_HEADER = "header.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of the zip format: equal models, equal bytes
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

# What has no size of its own in the header: the header, and the list of the zip's members.
_HEADER_BYTES = 1 << 20
_DIRECTORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


def write_archive(
    path: str | os.PathLike[str],
    kind: str,
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write a file that is either complete or not there.

    The file is written under another name in the same folder, forced to the disk and renamed.
    If anything fails before that, a file that was at `path` is still there, unchanged, and the
    new one is removed.  The same arguments give the same bytes.

    Parameters
    ----------
    path : str or path-like
        Name of the file, taken as it is; a link is followed.
    kind : str
        What the file holds; reading asks for it.
    header : mapping
        What JSON can hold; no NaN or infinity, keys are strings.
    arrays : mapping of str to ndarray
        Arrays of bool, integers, floats up to 64 bits or strings.

    Raises
    ------
    ValueError, TypeError
        If something cannot be stored.
    OSError
        If the disk is full, the folder not writable and so on.
    """
    stored = {name: _plain(name, array) for name, array in arrays.items()}
    text = sealed(
        {
            "format": _FORMAT,
            "version": FORMAT_VERSION,
            "kind": kind,
            "header": dict(header),
            "arrays": [
                [name, array.dtype.str, list(array.shape), sha256_of(array)]
                for name, array in stored.items()
            ],
        }
    )
    if len(text) > _HEADER_BYTES:
        raise ValueError(
            f"the header of {os.fsdecode(path)} would take {len(text)} bytes, more than "
            f"{_HEADER_BYTES}; keep long lists in arrays"
        )
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, _HEADER, text)
        for name, array in stored.items():
            start = npy_start(array.dtype, array.shape)
            _write_member(archive, name + ".npy", start, bytes_of(array))


class Archive:
    """A file whose header has been read and checked; its arrays are read on demand.

    Attributes
    ----------
    path : str
        Name of the file, for messages.
    kind : str
        What the file holds.
    version : int
        Version of the format.
    header : dict
        The header as given to `write_archive`.
    """

    def __init__(self, path: str, zipped: zipfile.ZipFile, size: int) -> None:
        self.path = path
        self._zip = zipped
        self._members = zipped.infolist()
        _check_members(self._members, size)
        whole = opened_seal(_read_all(zipped, self._members[0], _HEADER, _HEADER_BYTES))
        if whole.get("format") != _FORMAT:
            raise ValueError(f"its format is {whole.get('format')!r}, not {_FORMAT!r}")
        version = self.version = whole.get("version")
        if type(version) is not int or version < 1:
            raise ValueError(f"its version is {version!r}")
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"{path} was made by a newer version of lysep_fast (file format {version}, known "
                f"here up to {FORMAT_VERSION}); upgrade lysep_fast to read it"
            )
        self.kind = _typed(whole, "kind", str)
        self.header = _typed(whole, "header", dict)
        self._table = _typed(whole, "arrays", list)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | os.PathLike[str]) -> Iterator[Archive]:
        """Open a file and read its header; errors of the body become `ModelFileError` too."""
        name = _checked_path(path)
        with _Bounded(io.FileIO(name)) as file, _reading(name):
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 22))
            end = file.read(22)
            if end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
                raise ValueError("it is no zip archive, or cut off, or something follows it")
            with zipfile.ZipFile(file) as zipped:
                yield cls(name, zipped, size)

    def check_kind(self, kinds: Collection[str]) -> None:
        """Raise `ModelFileError` if the file holds something else."""
        if self.kind not in kinds:
            raise ModelFileError(
                f"{self.path} holds a {self.kind!r}, not {' or '.join(map(repr, kinds))}"
            )

    def arrays(self, expected: Callable[[dict[str, Any]], Expected]) -> dict[str, np.ndarray]:
        """Read all arrays after checking them against what the header calls for."""
        wanted = {
            name: (tuple(shape), little(dtype))
            for name, (shape, dtype) in expected(self.header).items()
        }
        names = [row[0] for row in self._table]
        if set(names) != set(wanted) or len(names) != len(wanted):
            raise ValueError("its arrays are not those that its header calls for")
        for row in self._table:
            shape, dtype = wanted[row[0]]
            if row[1:3] != [dtype.str, list(shape)] or len(row) != 4:
                raise ValueError(
                    f"its array {row[0]} should be {dtype.str} of shape {shape}, and is "
                    f"{row[1:3]!r:.100}"
                )
        found = [member.filename for member in self._members[1:]]
        if found != [name + ".npy" for name in names]:
            raise ValueError("its members are not those of its header")
        for member, row in zip(self._members[1:], self._table, strict=True):
            shape, dtype = wanted[row[0]]
            size = len(npy_start(dtype, shape)) + math.prod(shape) * dtype.itemsize
            if member.file_size != size:
                raise ValueError(f"{row[0]} takes {member.file_size} bytes instead of {size}")
        return {
            row[0]: _read_array(self._zip, member, *wanted[row[0]], row[3])
            for member, row in zip(self._members[1:], self._table, strict=True)
        }


class _Bounded(io.BufferedReader):
    """A file of which a single read returns a limited number of bytes.

    zipfile reads the list of members in one piece; its size is whatever the file says.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        limit = max(_DIRECTORY_BYTES, _CHUNK_BYTES)
        return super().read(limit if size is None or size < 0 else min(size, limit))


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn wrong contents into `ModelFileError`, with positions outside the file among them."""
    with model_file_errors(path):
        try:
            yield
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise ValueError("it refers to positions outside of itself") from error


def _checked_path(path: Any) -> str:
    """Return the name of a file; a number would be taken for an open one."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be the name of a file, got {path!r:.100}")
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError(
            f"path must be the name of a file, got {name!r:.100} with a null character"
        )
    return name


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise unless all members are plain, and together not larger than the file."""
    if not members or members[0].header_offset != 0:
        raise ValueError("it does not begin with its header")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits or member.comment:
            raise ValueError(f"its member {member.filename!r} is compressed or encrypted")
        if member.file_size != member.compress_size:
            raise ValueError(f"its member {member.filename!r} has two sizes")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members are larger than the file")


def _read_all(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limit: int) -> bytes:
    """Return a small member's bytes."""
    if member.filename != name or member.file_size > limit:
        raise ValueError(f"its first member is not {name}, or too large")
    with zipped.open(member) as stream:
        return stream.read()


def _read_array(
    zipped: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    shape: tuple[int, ...],
    dtype: np.dtype,
    digest: Any,
) -> np.ndarray:
    """Return an array whose member is known to have the right size."""
    array = np.empty(shape, dtype)
    start = npy_start(dtype, shape)
    with zipped.open(member) as stream:
        if stream.read(len(start)) != start:
            raise ValueError(f"{member.filename} does not begin as a .npy file of its shape")
        view, done = bytes_of(array), 0
        while done < len(view):
            chunk = stream.read(min(_CHUNK_BYTES, len(view) - done))
            if not chunk:
                raise EOFError(f"{member.filename} is cut off")
            view[done : done + len(chunk)] = chunk
            done += len(chunk)
        stream.read(1)  # zipfile compares its checksum at the end
    if sha256_of(array) != digest:
        raise ValueError(f"{member.filename} does not have the SHA-256 of the header")
    if dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        raise ValueError(f"{member.filename} holds what is no bool")
    if dtype.kind == "U" and array.size and np.any(_code_points(array) > 0x10FFFF):
        raise ValueError(f"{member.filename} holds what is no string")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _code_points(array: np.ndarray) -> np.ndarray:
    """Return the characters of strings as numbers, without decoding them."""
    return np.frombuffer(bytes_of(array), "<u4")


def _plain(name: str, array: Any) -> np.ndarray:
    """Return an array as it is stored: C-contiguous and little-endian."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"an array cannot be stored under the name {name!r}; use letters")
    array = np.asarray(array)
    try:
        dtype = little(array.dtype)
    except ValueError as error:
        raise TypeError(f"the array {name} cannot be stored: {error}") from None
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _typed(whole: dict[str, Any], name: str, kind: type) -> Any:
    value = whole.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"its header has no {name}")
    return value


def _write_member(archive: zipfile.ZipFile, name: str, *parts: bytes | memoryview) -> None:
    """Write a member whose bytes depend on nothing but its contents."""
    member = zipfile.ZipInfo(name, _EPOCH)
    member.create_system = 3  # Unix, wherever this runs
    member.file_size = sum(len(part) for part in parts)  # tells zipfile when 64 bits are needed
    with archive.open(member, "w") as stream:
        for part in parts:
            for first in range(0, len(part), _CHUNK_BYTES):
                stream.write(part[first : first + _CHUNK_BYTES])
