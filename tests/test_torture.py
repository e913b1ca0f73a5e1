"""The torture script: what it counts, that it goes on from its record, and that it can fail."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import lysep_fast
from lysep_fast.container import archive, atomic, errors
from lysep_fast.kernels._jit import JIT_ENABLED
from tools import _checkpoint_runs as runs
from tools import _mutate as mutate
from tools import _torture_files as files
from tools import _torture_inputs as inputs
from tools import torture

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Prepare few runs and calls, and write without waiting for the disk."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(files, "_RUNS", ("mini-batch", "nesterov, linear"))
    monkeypatch.setattr(inputs, "BATCH", 3)
    monkeypatch.setattr(runs, "RUNS", {"mini-batch": runs.RUNS["mini-batch"]})
    monkeypatch.setattr(runs, "PDE_RUNS", {"nesterov, linear": runs.PDE_RUNS["nesterov, linear"]})


def run(mode, count, out, *more):
    return torture.main([mode, "--count", str(count), "--out", str(out), *more])


def record(mode, out):
    return json.loads((out / f"torture-{mode}.json").read_text())


# Without the JIT a training run takes long.
COUNTS = {"files": 40, "checkpoints": 8, "inputs": 3, "kills": 4 if JIT_ENABLED else 1}


@pytest.mark.parametrize(
    "mode", ["files", "checkpoints", "inputs", pytest.param("kills", marks=needs_fork)]
)
def test_every_mode_counts_what_came_of_its_cases(mode, tmp_path, capsys):
    assert run(mode, COUNTS[mode], tmp_path) == 0
    found = record(mode, tmp_path)
    cases = 10 if mode == "inputs" else COUNTS[mode]
    assert (found["done"], found["failure"]) == (cases, None)
    assert sum(found["outcomes"].values()) == (30 if mode == "inputs" else cases)
    assert found["peak_mib"] > 10
    assert f"{mode}: {sum(found['outcomes'].values())} in " in capsys.readouterr().out


def test_a_run_goes_on_from_its_record_with_the_same_cases(tmp_path):
    for count in (11, 20):
        assert run("files", count, tmp_path / "parts") == 0
    assert run("files", 20, tmp_path / "whole") == 0
    parts, whole = (record("files", tmp_path / name) for name in ("parts", "whole"))
    assert parts["outcomes"] == whole["outcomes"]
    assert run("files", 20, tmp_path / "parts", "--seed", "1") == 1  # another sequence


def test_wrong_usage_is_refused(tmp_path):
    for arguments in (["files", "--count", "0"], ["all", "--only", "3"], ["what"]):
        with pytest.raises(SystemExit, match="2"):
            torture.main([*arguments, "--out", str(tmp_path)])


# --- injected faults -----------------------------------------------------------------------------


def fails(mode, count, out, capsys, words):
    """Check that a fault is found, told, and found again by its number."""
    assert run(mode, count, out) == 1
    failure = record(mode, out)["failure"]
    assert words in failure["words"]
    assert f"--seed 0 --only {failure['case']}" in capsys.readouterr().out
    return failure["case"]


def found_again(mode, case, capsys, words):
    assert torture.main([mode, "--only", str(case)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["files", "checkpoints"])
def test_an_exception_of_another_kind_is_found(mode, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(errors, "_WRONG", (KeyError,))
    case = fails(mode, 40, tmp_path, capsys, "raises")
    found_again(mode, case, capsys, "raises")


def test_damage_that_is_read_as_another_model_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(archive, "sha256_of", lambda array: "0" * 64)
    monkeypatch.setattr(mutate, "_DAMAGE", (mutate._damage_member,))
    fails("files", 300, tmp_path, capsys, "is read as another model")


def test_memory_that_grows_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "_MEMORY", -1.0)
    fails("files", 3, tmp_path, capsys, "memory grew")


def test_a_result_that_is_not_finite_is_found(tmp_path, monkeypatch, capsys):
    def predict(self, X):
        return np.full(len(X), np.nan)

    monkeypatch.setattr(lysep_fast.Result, "predict", predict)
    case = fails("inputs", 9, tmp_path, capsys, "predict is not finite")
    found_again("inputs", case, capsys, "predict is not finite")


@needs_fork
def test_a_file_that_is_cut_off_by_a_kill_is_found(tmp_path, monkeypatch, capsys):
    def replace(source, target):
        os.truncate(source, 100)
        os.rename(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    monkeypatch.setattr(torture.Run, "save", lambda self: kept.append(self.failure))
    kept = []
    assert run("kills", 60, tmp_path) == 1
    assert "does not go on: ModelFileError" in kept[-1]["words"]
    assert "FAILED in case" in capsys.readouterr().out


@needs_fork
def test_a_run_that_goes_on_with_other_bits_is_found(tmp_path, monkeypatch, capsys):
    write = archive.write_archive

    def other(path, kind, header, arrays):
        name = "training.solver.moves.theta"
        if name in arrays:
            arrays[name] = np.nextafter(arrays[name], 1)
        write(path, kind, header, arrays)

    monkeypatch.setattr("lysep_fast.checkpoint.write_archive", other)
    monkeypatch.setattr(runs, "PDE_RUNS", {})
    fails("kills", 60, tmp_path, capsys, "goes on with other bits")
