"""The circle experiment: resuming, tables, figures, baselines; on tiny settings."""

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from experiments import NEEDS_TORCH, part, runs
from tiny_experiments import shrink_circle

from lysep_fast import cli

ROOT = Path(__file__).resolve().parent.parent
scripts, circle = cli.load_experiment("circle")


EMPTY = '{"format": %d, "experiment": "%s", "settings": {}, "environments": [], "runs": {}}'


models, report, store = part("_models"), part("_circle_report"), part("_store")


@pytest.fixture
def tiny(monkeypatch):
    shrink_circle(monkeypatch.setattr)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(report.Report, "draw", lambda self, out: [])


@pytest.fixture
def counted(monkeypatch):
    """Count the runs of the paper's layer separation."""
    calls = []
    original = models.lysep

    def lysep(data, **settings):
        if settings["solver"] == "alternating":
            calls.append((len(settings["hidden_layer_sizes"]), settings["seed"]))
        return original(data, **settings)

    monkeypatch.setattr(models, "lysep", lysep)
    return calls


def reproduce(out, arguments="--rows 1 --seeds 2 --sweeps 2"):
    return cli.main(["reproduce", "circle", "--out", str(out), *arguments.split()])


# --- the whole ---------------------------------------------------------------------------------


def test_everything_is_written_and_listed(tiny, no_torch, tmp_path, capsys):
    assert reproduce(tmp_path, "--rows 1,4 --seeds 2 --sweeps 3") == 0
    printed = capsys.readouterr().out
    names = ["results.json", "table.md", "test_labels.png", "loss_accuracy.png"]
    names += ["loss_accuracy_time.png", "predictions.png"]
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all(str(tmp_path / name) in printed for name in names)
    assert "LySep-FNN" in printed
    assert "frozen features" in printed
    assert "install a CPU build" in printed


def test_results_hold_curves_settings_and_environment_but_no_places(tiny, no_torch, tmp_path):
    assert reproduce(tmp_path, "--rows 4 --seeds 1 --sweeps 3 --threads 1") == 0
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    data = json.loads(text)
    run = data["runs"]["row 4/lysep/0"]
    assert run["settings"]["sweeps"] == 3
    assert run["settings"]["hidden_layer_sizes"] == [4] * 5
    # Every option of the solver: a changed default has to count as a changed setting.
    assert {"line_search", "shrink"} <= run["settings"]["solver_options"].keys()
    curves = run["result"]["curves"]
    assert {name: len(curve) for name, curve in curves.items()} == dict.fromkeys(
        ("iterations", "loss", "separated_loss", "accuracy", "seconds"), 4
    )
    assert run["result"]["F_rises"] == 0
    assert run["result"]["loss_over_bound"] <= 1
    environment = data["environments"][run["environment"]]
    assert environment["threads"] == 1
    assert {"lysep_fast", "numpy", "scipy", "numba"} <= environment["versions"].keys()
    for secret in (str(tmp_path), str(ROOT), str(Path.home()), platform.node()):
        assert len(secret) < 4 or secret not in text


def test_same_seed_same_numbers_with_any_threads(tiny, no_torch, no_figures, tmp_path):
    for name, threads in (("a", 1), ("b", 2)):
        assert (
            reproduce(tmp_path / name, f"--rows 1 --seeds 1 --sweeps 4 --threads {threads}") == 0
        )
    a, b = (runs(tmp_path / name)["row 1/lysep/0"]["result"] for name in "ab")
    assert a["curves"]["loss"] == b["curves"]["loss"]
    assert a["map"] == b["map"]


def test_figures_show_something_and_leave_matplotlib_alone(tiny, no_torch, tmp_path):
    import matplotlib
    from matplotlib.image import imread

    before = dict(matplotlib.rcParams)
    assert reproduce(tmp_path) == 0
    assert dict(matplotlib.rcParams) == before
    for path in tmp_path.glob("*.png"):
        image = imread(path)
        height, width, _ = image.shape
        assert height > 600, path.name
        assert width > 600, path.name
        assert len(np.unique(image[::4, ::4].reshape(-1, image.shape[2]), axis=0)) > 50, path.name


def test_diverged_runs_are_shown_as_such(tiny, no_torch, tmp_path, monkeypatch):
    original = models.lysep

    def lysep(data, **settings):
        result = original(data, **settings)
        for name in ("loss", "test_loss", "F_largest_rise", "loss_over_bound"):
            result[name] = math.nan
        result["curves"]["loss"] = [math.inf] * len(result["curves"]["loss"])
        return result

    monkeypatch.setattr(models, "lysep", lysep)
    assert reproduce(tmp_path, "--rows 1 --seeds 1 --sweeps 2") == 0
    assert f"diverged {report.SHORT}" in (tmp_path / "table.md").read_text(encoding="utf-8")


# --- resuming ----------------------------------------------------------------------------------


def test_a_second_call_repeats_nothing(tiny, no_torch, no_figures, counted, tmp_path, capsys):
    assert reproduce(tmp_path) == 0
    first = (tmp_path / "results.json").read_bytes()
    table = (tmp_path / "table.md").read_bytes()
    assert reproduce(tmp_path) == 0
    assert len(counted) == 2
    assert (tmp_path / "results.json").read_bytes() == first
    assert (tmp_path / "table.md").read_bytes() == table
    assert "finished runs kept from results.json: 6" in capsys.readouterr().err


def test_ctrl_c_loses_only_the_run_under_way(
    tiny, no_torch, no_figures, tmp_path, monkeypatch, capsys
):
    done, original = [], models.lysep

    def lysep(data, **settings):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(settings["seed"])
        return original(data, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(models, "lysep", lysep)
        assert reproduce(tmp_path, "--rows 1 --seeds 4 --sweeps 2") == 130
    assert "the same command" in capsys.readouterr().err
    kept = runs(tmp_path)
    assert sorted(kept) == ["row 1/lysep/0", "row 1/lysep/1"]
    assert os.listdir(tmp_path) == ["results.json"]
    assert reproduce(tmp_path, "--rows 1 --seeds 4 --sweeps 2") == 0
    after = runs(tmp_path)
    assert len(after) == 12
    # Identical to the last digit of the seconds: they were not run again.
    assert {key: after[key] for key in kept} == kept


def test_more_rows_and_seeds_add_to_what_is_there(tiny, no_torch, no_figures, counted, tmp_path):
    assert reproduce(tmp_path, "--rows 1 --seeds 1 --sweeps 2") == 0
    assert reproduce(tmp_path, "--rows 1,4 --seeds 2 --sweeps 2") == 0
    assert counted == [(2, 0), (2, 1), (5, 0), (5, 1)]


def test_a_changed_setting_runs_again_and_says_so(
    tiny, no_torch, no_figures, counted, tmp_path, capsys
):
    assert reproduce(tmp_path, "--rows 1 --seeds 2 --sweeps 2") == 0
    frozen = runs(tmp_path)["row 1/frozen/0"]
    capsys.readouterr()
    assert reproduce(tmp_path, "--rows 1 --seeds 2 --sweeps 3") == 0
    assert len(counted) == 4
    assert (
        "runs done again, for changed settings (iterations, sweeps): 4" in capsys.readouterr().err
    )
    after = runs(tmp_path)
    assert after["row 1/lysep/1"]["settings"]["sweeps"] == 3
    assert after["row 1/frozen/0"] == frozen


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "damaged"),
        ('{"format": 1, "experiment": "cir', "damaged"),
        ("[]", "damaged"),
        ('{"format": 1, "experiment": "circle", "runs": []}', "damaged"),
        ("\udcff", "damaged"),
        (EMPTY % (1, "mnist"), "'mnist'"),
        (EMPTY % (9, "circle"), "format 9"),
    ],
)
def test_a_file_that_is_no_good_is_named_and_left_alone(
    content, word, tiny, no_torch, tmp_path, capsys
):
    path = tmp_path / "results.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    assert reproduce(tmp_path) == 1
    message = capsys.readouterr().err
    assert word in message
    assert str(path) in message
    assert "--out" in message
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_process_loses_only_the_run_under_way(tmp_path):
    # Without torch: its place is taken by a module that cannot be imported.
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "torch.py").write_text("raise ImportError")
    out = tmp_path / "out"
    code = "from lysep_fast.cli import main; raise SystemExit(main())"
    arguments = f"reproduce circle --rows 1 --seeds 8 --sweeps 10 --out {out}".split()
    paths = os.pathsep.join([str(tmp_path / "fake"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (out / "results.json").exists() or len(runs(out)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = runs(out)
    assert 3 <= len(kept) < 24
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    after = runs(out)
    assert len(after) == 24
    assert {key: after[key] for key in kept} == kept


# --- with torch ---------------------------------------------------------------------------------


@NEEDS_TORCH
def test_the_baseline_stands_in_table_and_figures(tiny, tmp_path, capsys):
    assert reproduce(tmp_path, "--rows 1 --seeds 2 --sweeps 2") == 0
    assert "CPU build" not in capsys.readouterr().out
    found = runs(tmp_path)
    assert sum("/descent/" in key for key in found) == 3
    rate = found["row 1/descent/rate"]["result"]
    assert rate["rate"] == rate["rates"][int(np.argmin(rate["losses"]))]
    assert found["row 1/descent/1"]["result"]["rate"] == rate["rate"]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "needs torch" not in text
    searched = text.split("## Searches for a rate")[1].split("\n\n")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in searched]
    where = cells[0].index(f"CE-FNN, {rate['rate']:g}")
    assert float(cells[2][where]) == pytest.approx(min(rate["losses"]), rel=5e-3)
    assert len(cells[0]) == 1 + 5 + 3
    for model, title in (("descent", "CE-FNN"), ("adam", "Adam")):
        search = found[f"row 1/{model}/rate"]["result"]
        at_edge = search["rate"] in (search["rates"][0], search["rates"][-1])
        assert (f"{title}: the best rate is the" in text) == at_edge


@NEEDS_TORCH
def test_a_baseline_that_is_there_is_used_without_torch(tiny, no_figures, tmp_path, request):
    assert reproduce(tmp_path) == 0
    table = (tmp_path / "table.md").read_bytes()
    request.getfixturevalue("no_torch")
    assert reproduce(tmp_path) == 0
    assert (tmp_path / "table.md").read_bytes() == table
