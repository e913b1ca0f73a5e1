"""The bytes of a file that may be compressed, and which encoding its text is in."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path

from .frames import TableError

__all__ = ["COMPRESSED", "read_bytes", "text_encoding"]

#: Suffixes of compressed files.
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20


def read_bytes(path: Path) -> bytes:
    """Return what is in a file, decompressed if its suffix says that it is compressed.

    Raises
    ------
    TableError
        If it is damaged, or a zip archive of several files.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        try:
            if path.suffix == ".gz":
                return gzip.GzipFile(fileobj=file).read()
            if path.suffix == ".bz2":
                return bz2.BZ2File(file).read()
            if path.suffix == ".xz":
                return lzma.LZMAFile(file).read()
            if path.suffix == ".zip":
                return _only_member(path, zipfile.ZipFile(file))
        except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as e:
            raise TableError(f"{path} is damaged: {e}") from None
        except (RuntimeError, NotImplementedError) as error:  # zip archives with a password
            raise TableError(f"{path} cannot be unpacked: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise TableError(f"{path} is damaged: {error}") from None  # what bz2 says
        return file.read()


def _only_member(path: Path, archive: zipfile.ZipFile) -> bytes:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise TableError(f"{path} holds {len(names)} files; a table in a zip archive is alone")
    return archive.read(names[0])


def text_encoding(path: Path, raw: bytes) -> str:
    """Return the encoding of text: by its mark, else UTF-8, else that of Western Europe.

    Raises
    ------
    TableError
        If it is no text.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding
    head = raw[:4096]
    if head.count(0) > len(head) / 4:  # UTF-16 without a mark: every second byte of Latin letters
        odd = head[1::2].count(0)
        return "utf-16-le" if odd > head.count(0) / 2 else "utf-16-be"
    if 0 in raw:
        raise TableError(
            f"{path} holds zero bytes (the first is byte {raw.index(0)}) and is no text; give "
            "binary data the suffix .npz or .npy"
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(raw), _CHUNK):
            decoder.decode(raw[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # Windows' encoding has five bytes without a meaning; Latin-1 has none.
        return (
            "latin-1" if any(raw.find(byte) >= 0 for byte in b"\x81\x8d\x8f\x90\x9d") else "cp1252"
        )
    return "utf-8"
