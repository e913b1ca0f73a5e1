"""The cache of compiled kernels: damaged, full, gone or of an older source, it never hurts.

Every case runs a tiny package of two kernels, a caller and its callee in another file, in
processes of its own with a cache of its own.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

import lysep_fast
from lysep_fast.kernels import _cache
from lysep_fast.kernels._jit import JIT_ENABLED, kernel

# Some forty processes: a minute and more where the machine is busy.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled"),
]

ROOT = Path(lysep_fast.__file__).resolve().parents[1]
CALLEE = "from lysep_fast.kernels._jit import kernel\n@kernel()\ndef step(x): return x + {}\n"
CALLER = (
    "from lysep_fast.kernels._jit import kernel\nfrom .callee import step\n"
    "@kernel()\ndef twice(x): return 2.0 * step(x)\n"
)
# The kernels without the rest of the package, which takes as long to import as Numba.
ALONE = f"""
import sys, types
sys.modules["lysep_fast"] = types.ModuleType("lysep_fast")
sys.modules["lysep_fast"].__path__ = [{str(ROOT / "lysep_fast")!r}]
"""
# Prints the result, the kernels compiled and loaded, and the warnings.
RUN = """
import sys, warnings
{before}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from tiny.caller import twice
    from tiny.callee import step
    {between}
    result = twice(1.0)
compiled, loaded = (
    sum(sum(counts.values()) for counts in (getattr(f.stats, name) for f in (twice, step)))
    for name in ("cache_misses", "cache_hits")
)
print(result, compiled, loaded, len(caught))
print([f"{{w.category.__name__}}: {{w.message}}" for w in caught])
"""


@pytest.fixture
def tiny(tmp_path):
    """Write the package and return its folder."""
    package = tmp_path / "site" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "callee.py").write_text(CALLEE.format("1.0"))
    (package / "caller.py").write_text(CALLER)
    return package


def start(site, cache, before=ALONE, between="pass", **environment):
    """Begin a process that runs the caller."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    variables |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(before=before, between=between)],
        env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    """Return (result, kernels compiled, kernels loaded, number of warnings), and the warnings."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    numbers, caught = out.splitlines()
    result, *counts = numbers.split()
    return (float(result), *map(int, counts)), caught


def run(tiny, cache, **options):
    return finish(start(tiny.parent, cache, **options))


def files(cache):
    return sorted(cache.rglob("*.nbc"))


def test_a_second_process_loads_and_an_edited_callee_recompiles_the_caller(tiny, tmp_path):
    cache = tmp_path / "cache"
    assert run(tiny, cache)[0] == (4.0, 2, 0, 0)
    # The callee is not even asked for.
    assert run(tiny, cache)[0] == (4.0, 0, 1, 0)
    (tiny / "callee.py").write_text(CALLEE.format("2.0"))
    assert run(tiny, cache)[0] == (6.0, 2, 0, 0)
    # What was overwritten does not come back: the files are the same ones.
    assert len(files(cache)) == 2
    (tiny / "callee.py").write_text(CALLEE.format("1.0"))
    assert run(tiny, cache)[0] == (4.0, 2, 0, 0)


def test_bounds_checks_have_files_of_their_own(tiny, tmp_path):
    assert run(tiny, tmp_path / "cache", NUMBA_BOUNDSCHECK="0")[0] == (4.0, 2, 0, 0)
    assert run(tiny, tmp_path / "cache", NUMBA_BOUNDSCHECK="1")[0] == (4.0, 2, 0, 0)
    assert run(tiny, tmp_path / "cache", NUMBA_BOUNDSCHECK="0")[0] == (4.0, 0, 1, 0)


def flip(content, position):
    place = int(position * (len(content) - 1))
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


DAMAGE = {
    "nothing": lambda content: b"",
    "one-byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all-but-one": lambda content: content[:-1],
    "garbage": lambda content: bytes(range(256)) * 40,
    "longer": lambda content: content + b"x",
    **{f"bit-{p}": lambda content, p=p: flip(content, p) for p in (0, 0.003, 0.1, 0.6, 1)},
}


# One process for all damages, since to start one takes longer than the rest.
DAMAGED = (
    ALONE
    + """
import importlib, pathlib, sys, warnings
from numba import config
from lysep_fast.kernels import _cache
import tiny.caller, tiny.callee
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    config.CACHE_DIR = str(folder)
    _cache._warned.clear()
    for module in (tiny.callee, tiny.caller):
        importlib.reload(module)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = tiny.caller.twice(1.0)
    compiled = sum(tiny.caller.twice.stats.cache_misses.values())
    print(folder.name, result, compiled, [f"{w.category.__name__}: {w.message}" for w in caught])
"""
)


def test_damaged_files_are_compiled_anew(tiny, tmp_path):
    cache = tmp_path / "cache"
    run(tiny, cache)
    for name, damage in DAMAGE.items():
        for path in files(cache):
            target = tmp_path / "damaged" / name / path.relative_to(cache)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(damage(path.read_bytes()))
    for compiled in (1, 0):
        done = subprocess.run(
            [sys.executable, "-c", DAMAGED, str(tmp_path / "damaged")],
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tiny.parent), str(ROOT)))},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        assert len(lines) == len(DAMAGE)
        for line in lines:
            assert f" 4.0 {compiled} " in line
            # Both files are damaged: one warning.  Whole again, they give none.
            assert line.count("RuntimeWarning") == line.count("is damaged") == compiled
            assert line.count("NUMBA_CACHE_DIR") == compiled


def test_an_intact_file_that_does_not_unpickle(tiny, tmp_path):
    cache = tmp_path / "cache"
    before = (
        f"{ALONE}from lysep_fast.kernels import _cache\n"
        "_cache.dumps = lambda what: b'not a pickle'"
    )  # fmt: skip
    assert run(tiny, cache, before=before)[0] == (4.0, 2, 0, 0)
    numbers, caught = run(tiny, cache)
    assert numbers == (4.0, 2, 0, 1)
    assert "UnpicklingError" in caught


def test_a_cache_that_goes_away_in_mid_run_comes_back(tiny, tmp_path):
    cache = tmp_path / "cache"
    run(tiny, cache)
    gone = f"step(1.0); import shutil; shutil.rmtree({str(cache)!r})"
    assert run(tiny, cache, between=gone)[0] == (4.0, 1, 1, 0)
    assert files(cache)


def test_a_file_in_place_of_the_cache(tiny, tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("in the way")
    # There from the start: the next place is taken, beside the source.
    assert run(tiny, cache)[0] == (4.0, 2, 0, 0)
    assert files(tiny)
    # In mid-run it is too late to look for another.
    other = tmp_path / "other"
    place = repr(str(other))
    between = f"step(1.0); import shutil; shutil.rmtree({place}); open({place}, 'w').close()"
    numbers, caught = run(tiny, other, between=between)
    assert (numbers[0], numbers[3]) == (4.0, 1)
    assert "NotADirectoryError" in caught


@pytest.mark.parametrize("call", ["fdopen", "replace"])
def test_a_full_disk_warns_once_and_leaves_nothing_behind(tiny, tmp_path, call):
    cache = tmp_path / "cache"
    between = (
        "step(1); import os\n"
        "    def full(*arguments, **options): raise OSError(28, 'No space left on device')\n"
        f"    os.{call} = full"
    )
    numbers, caught = run(tiny, cache, between=between)
    assert (numbers[0], numbers[3]) == (4.0, 1)
    assert "No space left on device" in caught
    assert "could not be written" in caught
    # One file, from before the disk was full.
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


def test_nowhere_to_write_is_silent(tiny, tmp_path):
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": ""}
    before = (
        f"{ALONE}import tempfile\n"
        "def refuse(*arguments, **options): raise PermissionError(13, 'Read-only')\n"
        "tempfile.TemporaryFile = refuse"
    )
    # Not under "ignore", which catch_warnings of the run sets aside.
    assert run(tiny, tmp_path / "cache", before=before, **nowhere)[0] == (4.0, 2, 0, 0)
    assert not files(tmp_path)


def test_from_a_zip_file_without_a_home(tiny, tmp_path):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for folder in (tiny, ROOT / "lysep_fast"):
            for path in folder.rglob("*.py"):
                target.write(path, path.relative_to(folder.parent))
    alone = {"PYTHONPATH": str(archive), "HOME": "/dev/null", "XDG_CACHE_HOME": "", "before": ""}
    empty = finish(start(archive, "", **alone))
    assert empty[0] == (4.0, 2, 0, 0)
    # With a place for it the cache works for sources in a zip file, too.
    assert finish(start(archive, tmp_path / "cache", **alone))[0] == (4.0, 2, 0, 0)
    assert finish(start(archive, tmp_path / "cache", **alone))[0] == (4.0, 0, 1, 0)


def test_processes_that_write_at_once(tiny, tmp_path):
    cache = tmp_path / "cache"
    together = [start(tiny.parent, cache) for _ in range(3)]
    for process in together:
        assert finish(process)[0][0] == 4.0
    assert run(tiny, cache)[0] == (4.0, 0, 1, 0)
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".nbc"] * 2


# --- in this process ----------------------------------------------------------------------------


def failing(error):
    def fail(*arguments):
        raise error

    return fail


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return a kernel with a cache in a folder of its own, and no warning given yet."""
    monkeypatch.setattr(_cache, "_warned", [])
    monkeypatch.setattr(_cache, "_folder", lambda parent, chosen: str(tmp_path))
    return lambda: kernel()(_add_one)


def _add_one(x):
    return x + 1.0


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "broken"), MemoryError(), EOFError(), KeyError("x"), ImportError()],
)
def test_errors_of_reading_and_writing_cost_a_compilation(cached, monkeypatch, error):
    _attach(monkeypatch)
    monkeypatch.setattr(_cache, "_read", failing(error))
    monkeypatch.setattr(_cache, "_write", failing(error))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [cached()(1.0), cached()(1)] == [2.0, 2.0]
    assert len(caught) == 1
    assert "compiled in memory" in str(caught[0].message)


def test_an_interrupt_comes_through(cached, monkeypatch):
    _attach(monkeypatch)
    monkeypatch.setattr(_cache, "_read", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        cached()(1.0)


def _attach(monkeypatch):
    """Give the kernels of this module, which is in no package, a digest."""
    monkeypatch.setattr(_cache, "source_digest", lambda package: b"digest")


def test_without_sources_or_numbas_insides_there_is_no_cache(monkeypatch, tmp_path):
    assert _cache.source_digest(None) is None
    assert _cache.source_digest("no.such.package") is None
    assert _cache.source_digest("lysep_fast.kernels") is not None
    monkeypatch.setattr(_cache, "_rebuild", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = kernel()(_add_one)
    assert not isinstance(compiled._cache, _cache._KernelCache)
    assert compiled(1.0) == 2.0
