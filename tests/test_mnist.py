"""The MNIST loader on small synthetic IDX files; the real data only where it is present."""

import gzip
import hashlib
import sys

import numpy as np
import pytest

from lysep_fast.datasets import load_mnist, mnist

SHAPES = {
    "train-images-idx3-ubyte": (6, 28, 28),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (3, 28, 28),
    "t10k-labels-idx1-ubyte": (3,),
}


@pytest.fixture
def contents():
    """Return synthetic file contents by name."""
    rng = np.random.default_rng(0)
    return {
        name: mnist._header(shape)
        + rng.integers(0, 256 if len(shape) == 3 else 10, shape, np.uint8).tobytes()
        for name, shape in SHAPES.items()
    }


@pytest.fixture
def _synthetic(monkeypatch, contents, tmp_path):
    """Let the loader expect the synthetic files, and no file of this machine be found."""
    table = {
        name: mnist._Idx(SHAPES[name], hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }
    monkeypatch.setattr(mnist, "_FILES", table)
    monkeypatch.delenv("LYSEP_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "work" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)


def write(folder, contents, *, compress=False, rename=str):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if compress:
            (folder / (rename(name) + ".gz")).write_bytes(gzip.compress(content))
        else:
            (folder / rename(name)).write_bytes(content)
    return folder


def assert_loaded(data, contents):
    first, last = contents["train-images-idx3-ubyte"], contents["t10k-labels-idx1-ubyte"]
    expected = np.frombuffer(first, np.uint8, offset=16).reshape(6, 784) / 255.0
    np.testing.assert_allclose(data.X_train, expected, rtol=1e-6)
    assert data.X_train.dtype == data.X_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    np.testing.assert_array_equal(data.y_test, np.frombuffer(last, np.uint8, offset=8))
    X_train, _, X_test, y_test = data
    assert X_train.flags.c_contiguous
    assert X_train.flags.writeable
    assert (X_test.shape, y_test.shape) == ((3, 784), (3,))


@pytest.mark.usefixtures("_synthetic")
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("rename", [str, lambda name: name.replace("-idx", ".idx")])
def test_raw_and_compressed_files_under_both_names(tmp_path, contents, compress, rename):
    folder = write(tmp_path / "files", contents, compress=compress, rename=rename)
    assert_loaded(load_mnist(folder), contents)
    assert_loaded(load_mnist(str(folder)), contents)


@pytest.mark.usefixtures("_synthetic")
@pytest.mark.parametrize(
    "place", ["data/mnist", "data/MNIST/raw", "../data/mnist", "../shared/data/mnist"]
)
def test_known_folders(tmp_path, contents, place):
    write(tmp_path / "work" / "here" / place, contents)
    assert_loaded(load_mnist(), contents)


@pytest.mark.usefixtures("_synthetic")
def test_environment_comes_before_known_folders_and_the_cache_is_last(
    tmp_path, contents, monkeypatch
):
    write(tmp_path / "cache" / "lysep_fast" / "mnist", contents)
    assert_loaded(load_mnist(), contents)
    damaged = {name: content + b"x" for name, content in contents.items()}
    write(tmp_path / "work" / "here" / "data" / "mnist", damaged)
    with pytest.raises(ValueError, match="too long"):
        load_mnist()
    write(tmp_path / "mine" / "mnist", contents)
    monkeypatch.setenv("LYSEP_DATA_DIR", str(tmp_path / "mine"))
    assert_loaded(load_mnist(), contents)


@pytest.mark.usefixtures("_synthetic")
def test_missing_files_list_the_places_and_the_remedy(tmp_path, contents, monkeypatch):
    monkeypatch.setenv("LYSEP_DATA_DIR", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist()
    message = str(caught.value)
    for part in ("nothing", "data", "cache", "LYSEP_DATA_DIR", "download=True", *SHAPES):
        assert part in message
    # An explicit folder is the only one searched, and three files of four are not enough.
    write(tmp_path / "work" / "here" / "data" / "mnist", contents)
    partial = write(tmp_path / "partial", dict(list(contents.items())[:3]))
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(partial)
    assert "partial" in str(caught.value)
    assert "shared" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        mnist._load_folder(partial, mnist._FILES)


@pytest.mark.usefixtures("_synthetic")
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda c: c[:-5], "truncated: 4715 bytes, expected 4720"),
        (lambda c: c[:7], "shape"),
        (lambda c: b"", "magic number is missing"),
        (lambda c: c + b"\0", "too long"),
        (lambda c: b"\0\0\x08\x01" + c[4:], "magic number is 00000801, expected 00000803"),
        (lambda c: c[:4] + b"\0\0\0\x07" + c[8:], r"shape \(7, 28, 28\).*expected \(6, 28, 28\)"),
        (lambda c: c[:-1] + bytes([c[-1] ^ 1]), "SHA-256"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_damaged_files_are_refused(tmp_path, contents, damage, match, compress):
    name = "train-images-idx3-ubyte"
    contents[name] = damage(contents[name])
    folder = write(tmp_path / "files", contents, compress=compress)
    with pytest.raises(ValueError, match=match) as caught:
        load_mnist(folder)
    assert name in str(caught.value)


@pytest.mark.usefixtures("_synthetic")
@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"no gzip", lambda c: c[:20]])
def test_damaged_compression_is_refused(tmp_path, contents, damage):
    folder = write(tmp_path / "files", contents, compress=True)
    file = folder / "train-labels-idx1-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot be decompressed.*fetch it again"):
        load_mnist(folder)


@pytest.mark.usefixtures("_synthetic")
def test_download_is_only_on_request_and_verified(tmp_path, contents, monkeypatch):
    datasets = pytest.importorskip("sklearn.datasets")
    images = [np.frombuffer(contents[n], np.uint8, offset=16) for n in list(SHAPES)[::2]]
    labels = [np.frombuffer(contents[n], np.uint8, offset=8) for n in list(SHAPES)[1::2]]
    calls = []

    def fetch_openml(name, **options):
        calls.append((name, options["version"]))
        pixels = np.concatenate(images).reshape(9, 784).astype(np.int64)
        return pixels, np.concatenate(labels).astype(str).astype(object)

    monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
    with pytest.raises(FileNotFoundError):
        load_mnist()
    assert not calls
    assert_loaded(load_mnist(download=True), contents)
    assert calls == [("mnist_784", 1)]
    images[0] = images[0].copy()
    images[0][3] ^= 1
    with pytest.raises(ValueError, match="OpenML"):
        load_mnist(download=True)
    # Local files make a download unnecessary.
    write(tmp_path / "work" / "here" / "data" / "mnist", contents)
    assert_loaded(load_mnist(download=True), contents)
    assert len(calls) == 2


@pytest.mark.usefixtures("_synthetic")
def test_download_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'lysep_fast\[sklearn\]'"):
        load_mnist(download=True)


def test_real_files():
    try:
        data = load_mnist()
    except FileNotFoundError:
        pytest.skip("the MNIST files are not on this machine")
    assert data.X_train.shape == (60000, 784)
    assert data.X_test.shape == (10000, 784)
    assert data.X_train.min() == 0.0
    assert data.X_train.max() == 1.0
    np.testing.assert_array_equal(data.y_train[:5], [5, 0, 4, 1, 9])
    np.testing.assert_array_equal(np.bincount(data.y_test)[:3], [980, 1135, 1032])
