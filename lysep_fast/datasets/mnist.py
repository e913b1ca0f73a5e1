"""The MNIST handwritten digits from local IDX files, verified before use."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Mnist", "load_mnist"]


class Mnist(NamedTuple):
    """Training and test part; pixels float32 in [0, 1], one row per image, labels int64."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


class _Idx(NamedTuple):
    """What a file must be: array shape, and SHA-256 of the uncompressed content."""

    shape: tuple[int, ...]
    sha256: str | None


# By the usual names of the files, in the order of `Mnist`.
_FILES = {
    "train-images-idx3-ubyte": _Idx(
        (60000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": _Idx(
        (60000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": _Idx(
        (10000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": _Idx(
        (10000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


def load_mnist(path: str | os.PathLike[str] | None = None, *, download: bool = False) -> Mnist:
    """Load MNIST from the four IDX files, raw or compressed with gzip.

    Without `path`, the first of these folders that holds all four files is used:
    ``$LYSEP_DATA_DIR/mnist``, ``data/mnist``, ``data/MNIST/raw``, ``../data/mnist``,
    ``../shared/data/mnist`` (from the current directory), and ``lysep_fast/mnist`` in
    ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Parameters
    ----------
    path : path-like, optional
        Folder of the files; no other place is searched then.
    download : bool, default False
        When no folder has the files, fetch them with scikit-learn's ``fetch_openml``, which
        keeps its own cache.  Nothing is ever fetched without it.

    Returns
    -------
    Mnist
        Tuple ``(X_train, y_train, X_test, y_test)`` of shapes (60000, 784), (60000,),
        (10000, 784) and (10000,).

    Raises
    ------
    FileNotFoundError
        If the files are nowhere; the message lists the places searched and the remedy.
    ValueError
        If a file is damaged or is not the known MNIST file.
    ImportError
        If `download` needs scikit-learn and it is missing.
    """
    folders = _folders() if path is None else [Path(path).expanduser()]
    for folder in folders:
        if all(_find(folder, name) for name in _FILES):
            return _assemble(_load_folder(folder, _FILES))
    if download:
        return _assemble(_fetch())
    searched = "\n".join(f"  {folder.absolute()}" for folder in folders)
    raise FileNotFoundError(
        f"the four MNIST files ({', '.join(_FILES)}; raw or .gz) are in none of these folders:\n"
        f"{searched}\n"
        "Remedy: put them there, pass their folder as path, set LYSEP_DATA_DIR to the parent of "
        "a folder mnist that holds them, or allow a download with download=True"
    )


def _folders() -> list[Path]:
    """Return the folders to search, in order."""
    root = os.environ.get("LYSEP_DATA_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    known = ("data/mnist", "data/MNIST/raw", "../data/mnist", "../shared/data/mnist")
    return [
        *([Path(root).expanduser() / "mnist"] if root else []),
        *(Path(folder) for folder in known),
        Path(cache).expanduser() / "lysep_fast" / "mnist",
    ]


def _find(folder: Path, name: str) -> Path | None:
    """Return the file of this name in the folder, under any of its customary spellings."""
    for stem in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (stem + suffix)).is_file():
                return folder / (stem + suffix)
    return None


def _load_folder(folder: Path, files: Mapping[str, _Idx]) -> list[np.ndarray]:
    """Read and verify all files; those whose expected checksum is None are not summed."""
    arrays = []
    for name, expected in files.items():
        file = _find(folder, name)
        if file is None:
            raise FileNotFoundError(f"{folder} has neither {name} nor {name}.gz")
        size = len(_header(expected.shape)) + int(np.prod(expected.shape))
        arrays.append(_parse(_read(file, size), expected, str(file)))
    return arrays


def _read(file: Path, size: int) -> bytes:
    """Return the uncompressed content, cut off one byte after the expected size."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb") as stream:
            return stream.read(size + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{file} is damaged, it cannot be decompressed ({error}); fetch it again"
        ) from error


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the IDX header of an array of unsigned bytes: magic number and extents."""
    return np.array([0x0800 + len(shape), *shape], ">u4").tobytes()


def _parse(content: bytes, expected: _Idx, name: str) -> np.ndarray:
    """Check magic number, shape, length and checksum, and return the array of bytes."""
    header = _header(expected.shape)
    if content[:4] != header[:4]:
        raise ValueError(
            f"{name} is not the IDX file it should be: its magic number is "
            f"{content[:4].hex() or 'missing'}, expected {header[:4].hex()}"
        )
    if content[: len(header)] != header:
        found = tuple(np.frombuffer(content[4 : len(header)].ljust(len(header) - 4, b"\0"), ">u4"))
        raise ValueError(
            f"{name} has the shape {tuple(map(int, found))} in its header, expected "
            f"{expected.shape}"
        )
    size = len(header) + int(np.prod(expected.shape))
    if len(content) != size:
        kind = "truncated" if len(content) < size else "too long"
        count = f"{len(content)}" if len(content) < size else f"more than {size}"
        raise ValueError(f"{name} is {kind}: {count} bytes, expected {size}; fetch it again")
    if expected.sha256 is not None:
        found_sum = hashlib.sha256(content).hexdigest()
        if found_sum != expected.sha256:
            raise ValueError(
                f"{name} has the SHA-256 checksum {found_sum}, the MNIST file has "
                f"{expected.sha256}; fetch it again"
            )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(expected.shape)


def _assemble(arrays: list[np.ndarray]) -> Mnist:
    """Turn bytes into training and test data."""
    images, labels, test_images, test_labels = arrays
    return Mnist(
        _pixels(images),
        labels.astype(np.int64),
        _pixels(test_images),
        test_labels.astype(np.int64),
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows /= np.float32(255)
    return rows


def _fetch() -> list[np.ndarray]:
    """Fetch the data set from OpenML and verify it against the same checksums."""
    try:
        from sklearn.datasets import fetch_openml
    except ImportError as error:
        raise ImportError(
            "load_mnist(download=True) needs scikit-learn: pip install 'lysep_fast[sklearn]', or "
            "put the files in one of the folders by hand"
        ) from error
    images, labels = fetch_openml(
        "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff"
    )
    images = np.asarray(images).astype(np.uint8)
    labels = np.asarray(labels).astype(np.uint8)
    arrays, start = [], 0
    for name, expected in _FILES.items():
        rows = slice(start, start + expected.shape[0])
        part = images[rows] if len(expected.shape) == 3 else labels[rows]
        content = _header(expected.shape) + part.tobytes()
        arrays.append(_parse(content, expected, f"{name}, as fetched from OpenML,"))
        if len(expected.shape) == 1:
            start = rows.stop
    return arrays
