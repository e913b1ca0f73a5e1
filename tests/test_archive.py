"""The container of model files: what it stores, refuses and survives."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest
from helpers import read_archive

from lysep_fast import ModelFileError
from lysep_fast.container import atomic
from lysep_fast.container.archive import Archive, write_archive
from tools import _mutate as mutate

ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "empty": np.zeros((0, 3), np.float32),
    "words": np.array(["ab", "süd", ""]),
    "bytes": np.array([b"ab", b"c"]),
    "flags": np.array([True, False]),
    "number": np.array(7, np.uint16),
}
HEADER = {"list": [1, 2.5, None, True], "text": "süd", "nested": {"a": []}}


def expected(header):
    return {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.npz"
    write_archive(path, "test", HEADER, ARRAYS)
    return path


def read(path):
    return read_archive(path, "test", expected)


def damaged(path, data, match):
    """Check that these bytes are refused with a message that also names the file."""
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def forged(path, change, match):
    """Check the same for a file whose header is changed, all hashes right."""
    damaged(path, mutate.forge(path.read_bytes(), change), match)


# --- what is stored ----------------------------------------------------------------------------


def test_header_and_arrays_come_back(path):
    header, arrays = read(path)
    assert header == HEADER
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].flags.c_contiguous
        assert arrays[name].flags.writeable


def test_numpy_reads_the_file_without_pickle(path):
    with np.load(path, allow_pickle=False) as found:
        assert json.loads(found["header.json"])["kind"] == "test"
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)


def test_equal_contents_are_equal_bytes_whatever_the_memory_layout(path, tmp_path):
    other = tmp_path / "other.npz"
    arrays = dict(ARRAYS, matrix=np.asfortranarray(ARRAYS["matrix"]).astype(">f8"))
    write_archive(other, "test", dict(reversed(HEADER.items())), arrays)
    assert other.read_bytes() == path.read_bytes()


def test_large_members_use_the_64_bit_fields(path, monkeypatch):
    plain = path.read_bytes()
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    write_archive(path, "test", HEADER, ARRAYS)
    assert len(path.read_bytes()) > len(plain)
    np.testing.assert_array_equal(read(path)[1]["matrix"], ARRAYS["matrix"])


@pytest.mark.parametrize(
    "array", [np.array([None]), np.zeros(2, complex), np.zeros(1, "M8[s]"), np.zeros(1, "i4,f8")]
)
def test_what_needs_pickle_or_has_no_meaning_here_is_not_written(tmp_path, array):
    with pytest.raises(TypeError, match="the array odd cannot be stored: its dtype is"):
        write_archive(tmp_path / "no.npz", "test", {}, {"odd": array})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "arrays", "match"),
    [
        ({"nan": float("nan")}, {}, "JSON"),
        ({"long": "x" * (1 << 20)}, {}, "more than 1048576; keep long lists in arrays"),
        ({}, {"../up": np.zeros(1)}, r"name '\.\./up'"),
    ],
)
def test_headers_and_names_that_cannot_be_written(tmp_path, header, arrays, match):
    with pytest.raises(ValueError, match=match):
        write_archive(tmp_path / "no.npz", "test", header, arrays)
    assert list(tmp_path.iterdir()) == []


# --- writing: all or nothing -------------------------------------------------------------------


class Disk:
    """A stand-in for functions of `os` that fails when it is told to."""

    def __init__(self, monkeypatch, name, error, after=0):
        self.real, self.error, self.left = getattr(os, name), error, after
        monkeypatch.setattr(os, name, self)

    def __call__(self, *arguments, **options):
        if self.left == 0:
            raise self.error
        self.left -= 1
        return self.real(*arguments, **options)


def opened(monkeypatch, kind, *buffer):
    """Let files be written through another kind of raw file."""
    monkeypatch.setattr(
        atomic, "open", lambda *how: io.BufferedWriter(kind(*how), *buffer), raising=False
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("fsync", OSError(errno.EIO, "fsync")),
        ("replace", OSError(errno.EACCES, "rename")),
        ("replace", KeyboardInterrupt()),
    ],
)
def test_a_failure_leaves_the_former_file_and_nothing_else(path, monkeypatch, name, error):
    before = path.read_bytes()
    Disk(monkeypatch, name, error)
    with pytest.raises(type(error)):
        write_archive(path, "test", {"new": 1}, {})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 40, 700, 2000])
def test_a_full_disk_leaves_the_former_file_and_nothing_else(path, monkeypatch, room):
    before = path.read_bytes()

    class Full(io.FileIO):
        """A file that holds some bytes and no more."""

        def write(self, data):
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    opened(monkeypatch, Full, 8)
    with pytest.raises(OSError, match="No space left"):
        write_archive(path, "test", HEADER, ARRAYS)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_short_writes_are_gone_on_with(path, monkeypatch):
    before = path.read_bytes()

    class Slow(io.FileIO):
        """A file that takes a few bytes at a time, as the system may."""

        def write(self, data):
            return super().write(memoryview(data)[:7])

    opened(monkeypatch, Slow)
    write_archive(path, "test", HEADER, ARRAYS)
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_bytes_that_the_system_has_lost_are_noticed(path, monkeypatch):
    before = path.read_bytes()
    lost = os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, 0, 0, 5, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda handle: lost)
    with pytest.raises(OSError, match="kept only a part"):
        write_archive(path, "test", {"new": 1}, {})
    assert path.read_bytes() == before


def test_the_folder_is_synchronised_after_the_renaming(path, monkeypatch):
    Disk(monkeypatch, "fsync", OSError(errno.EIO, "fsync"), after=1)
    with pytest.raises(OSError, match="fsync"):
        write_archive(path, "test", {"new": 1}, {})
    monkeypatch.undo()
    assert read_archive(path, "test", lambda header: {})[0] == {"new": 1}


@pytest.mark.skipif(os.name == "nt", reason="needs links and permissions")
def test_links_are_followed_and_permissions_kept(path, tmp_path):
    link = tmp_path / "link.npz"
    link.symlink_to(path.name)
    path.chmod(0o640)
    write_archive(link, "test", {}, {})
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert read_archive(path, "test", lambda header: {}) == ({}, {})


def test_errors_of_the_file_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "no" / "folder.npz", "test", {}, {})


# --- reading: wrong files ----------------------------------------------------------------------


def test_files_that_are_no_archives(path):
    data = path.read_bytes()
    for wrong in (b"", b"PK\x05\x06", b"no zip archive at all, but long enough", data[:-1]):
        damaged(path, wrong, "is damaged or no file of lysep_fast: it is no zip archive")
    damaged(path, data + b"more", "something follows it")
    damaged(path, b"more" + data, "does not begin with its header")


def test_a_newer_version_is_named(path):
    forged(path, lambda whole: whole.update(version=9), "newer version of lysep_fast .*format 9")
    for wrong in (0, True, "1", None, 1.0):
        data = mutate.forge(path.read_bytes(), lambda whole, w=wrong: whole.update(version=w))
        assert data != path.read_bytes()
        damaged(path, data, "version is")
        write_archive(path, "test", HEADER, ARRAYS)


def test_another_kind_is_named(path):
    match = "holds a 'test', not 'model' or 'checkpoint'"
    with pytest.raises(ModelFileError, match=match), Archive.open(path) as archive:
        archive.check_kind(("model", "checkpoint"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda whole: whole.update(format="other"), "its format is 'other'"),
        (lambda whole: whole.pop("kind"), "has no kind"),
        (lambda whole: whole.update(header=[]), "has no header"),
        (lambda whole: whole["arrays"].pop(), "not those that its header calls for"),
        (lambda whole: whole["arrays"].append(whole["arrays"][0]), "not those"),
        (lambda whole: whole["arrays"][0].__setitem__(1, "|O"), "'|O'"),
        (lambda whole: whole["arrays"][0].__setitem__(2, [10**30, 3]), r"matrix should be <f8"),
        (lambda whole: whole["arrays"][0].__setitem__(3, "0" * 64), "SHA-256"),
        (lambda whole: whole["arrays"].reverse(), "its members are not those of its header"),
    ],
)
def test_headers_that_say_something_else(path, change, match):
    forged(path, change, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"[" * 200_000 + b"]" * 200_000, "recursion"),
        (b'{"version":' + b"9" * 10_000 + b"}", "integer string conversion"),
        (b'{"version":NaN}', "holds NaN"),
        (b'{"version":1e999}', "JSON compliant"),
        (b'{"a":1,"a":2}', "not written as this format prescribes"),
        (b'{"a": 1}', "not written as this format prescribes"),
        (b'{"a":1}', "SHA-256"),
        (b"[]", "prescribes"),
        (b"\xff", "ascii"),
        (b"[" * (1 << 20) + b" ", "too large"),
    ],
)
def test_headers_that_are_no_headers(path, text, match):
    parts = mutate.members(path.read_bytes())
    damaged(path, mutate.rebuild([("header.json", text), *parts[1:]]), match)


def test_members_that_do_not_belong(path):
    parts = mutate.members(path.read_bytes())
    for wrong in (parts[:-1], [*parts, ("more.npy", b"")], [*parts, parts[-1]], parts[:1]):
        damaged(path, mutate.rebuild(wrong), "its members are not those of its header")
    damaged(path, mutate.rebuild(parts[1:]), "its first member is not header.json")
    longer = [*parts[:-1], (parts[-1][0], parts[-1][1] + b"x")]
    damaged(path, mutate.rebuild(longer), "number takes 131 bytes instead of 130")
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        damaged(path, mutate.rebuild(parts, method), "compressed or encrypted")


def test_numpy_headers_are_compared_not_parsed(path):
    parts = mutate.members(path.read_bytes())
    name, data = parts[1]
    parts[1] = (name, data.replace(b"'fortran_order': False", b"'fortran_order': True "))
    damaged(path, mutate.rebuild(parts), "does not begin as a .npy file of its shape")


@pytest.mark.parametrize(
    ("k", "where", "match"), [(5, -1, "what is no bool"), (3, -1, "what is no string")]
)
def test_memory_that_is_no_value_of_its_dtype(path, k, where, match):
    parts = mutate.members(path.read_bytes())
    whole = json.loads(parts[0][1])
    data = bytearray(parts[k][1])
    data[where] = 0x7F
    start = 10 + int.from_bytes(data[8:10], "little")
    whole["arrays"][k - 1][3] = hashlib.sha256(data[start:]).hexdigest()
    parts[0], parts[k] = ("header.json", mutate.sealed(whole)), (parts[k][0], bytes(data))
    damaged(path, mutate.rebuild(parts), match)


def test_what_the_description_of_a_header_raises_becomes_a_model_file_error(path):
    with pytest.raises(ModelFileError, match="missing"):
        read_archive(path, "test", lambda header: header["missing"])


# --- memory ------------------------------------------------------------------------------------


def bomb_of_zeros(parts, path):
    """Compress many megabytes to a small file."""
    parts[1] = (parts[1][0], parts[1][1] + bytes(30 << 20))
    return mutate.rebuild(parts, zipfile.ZIP_DEFLATED)


def bomb_of_members(parts, path):
    """List far more members than there is room for in a header."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data)
        one = archive.infolist()[-1]
        archive.filelist.extend([one] * 60_000)
        archive._didModify = True
    return file.getvalue()


def bomb_of_shapes(parts, path):
    """Claim a matrix of many terabytes."""
    return mutate.forge(
        path.read_bytes(), lambda whole: whole["arrays"][0].__setitem__(2, [10**7, 10**7])
    )


def bomb_of_overlaps(parts, path):
    """Let many members share the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in [*parts, ("big.npy", bytes(1 << 20))]:
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.filelist.extend([archive.infolist()[-1]] * 200)
        archive._didModify = True
    return file.getvalue()


@pytest.mark.parametrize(
    ("bomb", "match"),
    [
        (bomb_of_zeros, "compressed or encrypted"),
        (bomb_of_members, "Truncated central directory|Bad magic number"),
        (bomb_of_shapes, "matrix should be"),
        (bomb_of_overlaps, "larger than the file"),
    ],
)
def test_memory_stays_bounded(path, bomb, match):
    path.write_bytes(bomb(mutate.members(path.read_bytes()), path))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=match):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20, f"{peak / 2**20:.1f} MB"


def test_reading_takes_the_memory_of_the_arrays_and_little_more(tmp_path):
    path, big = tmp_path / "big.npz", np.zeros((1 << 21,))
    write_archive(path, "test", {}, {"big": big})
    tracemalloc.start()
    try:
        read_archive(path, "test", lambda header: {"big": (big.shape, big.dtype)})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert big.nbytes <= peak < 1.3 * big.nbytes
