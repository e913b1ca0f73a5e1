"""The MNIST experiment on tiny synthetic images: runs, resuming, table, figures, baselines."""

import dataclasses
import hashlib
import math
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from experiments import NEEDS_TORCH, part, runs

import lysep_fast
from lysep_fast import cli
from lysep_fast.datasets import mnist as idx
from lysep_fast.kernels import cross_entropy

ROOT = Path(__file__).resolve().parent.parent
scripts, mnist = cli.load_experiment("mnist")


models, report, figures = part("_mnist_models"), part("_mnist_report"), part("_mnist_figures")

N, N_TEST, EDGE = 24, 12, 8
PICTURES = ["loss.png", "loss_time.png", "accuracy.png", "accuracy_time.png", "mistakes.png"]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Write a tiny data set, let the loader expect it, and shrink the networks."""
    shapes = [(N, EDGE, EDGE), (N,), (N_TEST, EDGE, EDGE), (N_TEST,)]
    rng = np.random.default_rng(0)
    place = tmp_path / "digits"
    place.mkdir()
    table = {}
    for name, shape in zip(idx._FILES, shapes, strict=True):
        values = rng.integers(0, 256, shape) if len(shape) == 3 else np.arange(shape[0]) % 10
        content = idx._header(shape) + values.astype(np.uint8).tobytes()
        (place / name).write_bytes(content)
        table[name] = idx._Idx(shape, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(idx, "_FILES", table)
    rows = {k: dataclasses.replace(row, channels=2) for k, row in mnist.ROWS.items()}
    monkeypatch.setattr(mnist, "ROWS", rows)
    monkeypatch.setattr(mnist, "HIDDEN", 3)
    return place


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(report.Report, "draw", lambda self, out: [])


@pytest.fixture
def counted(monkeypatch):
    """Count the runs of our solvers; with a limit on them, the next one is stopped."""
    calls, original = [], models.lysep

    def lysep(data, **settings):
        if len(calls) == counts.get("limit"):
            raise KeyboardInterrupt
        calls.append((settings["method"].solver, settings["seed"]))
        return original(data, **settings)

    counts = {"calls": calls}
    monkeypatch.setattr(models, "lysep", lysep)
    return counts


def reproduce(folder, out, arguments="--rows 1 --seeds 2 --sweeps 2"):
    command = ["reproduce", "mnist", "--data", str(folder), "--out", str(out)]
    return cli.main([*command, *arguments.split()])


# --- the whole ---------------------------------------------------------------------------------


def test_everything_is_written_and_listed(folder, no_torch, tmp_path, capsys):
    out = tmp_path / "out"
    assert reproduce(folder, out, "--rows 4,5 --seeds 2 --sweeps 3") == 0
    printed = capsys.readouterr().out
    names = ["results.json", "table.md", *PICTURES]
    assert sorted(os.listdir(out)) == sorted(names)
    assert all(str(out / name) in printed for name in names)
    assert all(style.title in printed for style in figures.MODELS.values())
    assert "install a CPU build" in printed
    text = (out / "results.json").read_text(encoding="utf-8")
    for secret in (str(tmp_path), str(ROOT), str(Path.home()), platform.node()):
        assert len(secret) < 4 or secret not in text


def test_results_are_those_of_a_training_that_nobody_watches(
    folder, no_torch, no_figures, tmp_path
):
    assert reproduce(folder, tmp_path, "--rows 7 --seeds 1 --sweeps 5 --threads 1") == 0
    run = runs(tmp_path)["row 7/lysep/0"]
    found = run["result"]
    data = mnist.load(folder)
    result = lysep_fast.train(
        data.X, data.y, conv_channels=(2, 2, 2), pool_size=(2, 2, 1), hidden_layer_sizes=3,
        solver="measured-sweeps", batch_size=N, max_iter=5, tol=0, random_state=0, n_threads=1,
        solver_options={"report_every": 1, "step": mnist.STEP}, n_iter_no_change=9,
        output_bias=False,
    )  # fmt: skip
    U = result.decision_function(data.X)
    assert found["loss"] == pytest.approx(np.mean(cross_entropy(U, data.y)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(U.argmax(1) == data.y), rel=1e-5)
    assert found["test_predictions"] == "".join(map(str, result.predict(data.X_test)))
    # All images are in the curves here, so that they end at the final figures.
    curves = found["curves"]
    assert curves["loss"][-1] == pytest.approx(found["loss"], rel=1e-4)
    assert curves["accuracy"][-1] == pytest.approx(found["accuracy"], rel=1e-4)
    assert curves["passes"] == [0, 1, 2, 3, 4, 5]
    assert curves["separated_loss"][0] >= curves["loss"][0]
    assert np.all(np.diff(curves["seconds"]) >= 0)
    assert len(found["kernel_change"]) == 3
    assert min(found["kernel_change"]) > 0
    # Every option of the solver: a changed default has to count as a changed setting.
    assert {"step", "mu", "momentum"} <= run["settings"]["options"].keys()


def cells(text, heading, first):
    """Return the header and one row of the table below a heading."""
    lines = [line for line in text.split(heading)[1].splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    (row,) = [line for line in split[: 2 + 9] if line[0].startswith(first)][:1]
    return dict(zip(split[0], row, strict=True))


def test_the_table_says_what_is_in_the_results(folder, no_torch, no_figures, tmp_path):
    assert reproduce(folder, tmp_path, "--rows 1,6 --seeds 2 --sweeps 2") == 0
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    found = runs(tmp_path)
    for k, name in ((1, "1 (1, 2)"), (6, "6 (2, 2)")):
        for model, title in (("lysep", "LySep-CNN"), ("literal", "literal Algorithm 2")):
            pair = [found[f"row {k}/{model}/{seed}"]["result"] for seed in (0, 1)]
            losses = [run["loss"] for run in pair]
            mean = cells(text, "## Training loss", name)[f"{title}, ours"].split("±")[0]
            assert float(mean) == pytest.approx(np.mean(losses), rel=6e-3)
            std = cells(text, "## Test images", name)[f"{title}, accuracy %"].split("±")[1]
            shares = [100 * run["test_accuracy"] for run in pair]
            assert float(std.split()[0]) == pytest.approx(np.std(shares, ddof=1), abs=6e-3)
        row = cells(text, "## Training loss", name)
        assert row["CE-CNN, ours"] == row["Adam, ours"] == "needs torch"
        assert row["LySep-CNN, ours"].endswith(report.SHORT)
        paper = row["LySep-CNN, paper"]
        assert float(paper.split("±")[0]) == mnist.ROWS[k].paper_lysep_loss[0]
    assert f"{N} training and {N_TEST} test images" in text
    assert "chosen by us" in text
    assert "after 2 sweeps LySep-CNN falls short of the paper's loss" in text
    assert "Quick settings" not in text


def test_quick_says_so_and_seeds_are_asked_for(folder, no_torch, no_figures, tmp_path):
    assert reproduce(folder, tmp_path, "--quick --sweeps 1 --seeds 1") == 0
    assert "**Quick settings**" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert {key.split("/")[0] for key in runs(tmp_path)} == {"row 4"}


def test_another_solver_takes_the_place_of_layer_separation(
    folder, no_torch, no_figures, counted, tmp_path
):
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 1 --sweeps 2 --solver mini-batch") == 0
    assert counted["calls"] == [("mini-batch", 0), ("alternating", 0)]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert 'LySep-CNN: solver "mini-batch"' in text
    assert "mini-batch solver, ours" not in text


def test_figures_show_something_and_leave_matplotlib_alone(folder, no_torch, tmp_path):
    import matplotlib
    from matplotlib.image import imread

    before, out = dict(matplotlib.rcParams), tmp_path / "out"
    assert reproduce(folder, out, "--rows 1,2,4,5 --seeds 2 --sweeps 2") == 0
    assert dict(matplotlib.rcParams) == before
    for name in PICTURES:
        image = imread(out / name)
        height, width, colors = image.shape
        assert height > 300, name
        assert width > 600, name
        assert len(np.unique(image[::4, ::4].reshape(-1, colors), axis=0)) > 20, name


def test_diverged_runs_are_shown_as_such(folder, no_torch, tmp_path, monkeypatch):
    original = models.lysep

    def lysep(data, **settings):
        result = original(data, **settings)
        result.update(loss=math.nan, test_loss=math.nan, stopped="NOT_FINITE")
        result["curves"]["loss"] = [math.inf] * len(result["curves"]["loss"])
        result["curves"]["accuracy"] = [math.nan] * len(result["curves"]["accuracy"])
        return result

    monkeypatch.setattr(models, "lysep", lysep)
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 1 --sweeps 2") == 0
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert f"diverged {report.SHORT}" in text
    assert "stopped early: NOT_FINITE" in text


# --- resuming ----------------------------------------------------------------------------------


def test_ctrl_c_loses_only_the_run_under_way(
    folder, no_torch, no_figures, counted, tmp_path, capsys
):
    out = tmp_path / "out"
    counted["limit"] = 3
    assert reproduce(folder, out) == 130
    assert "the same command" in capsys.readouterr().err
    kept = runs(out)
    assert sorted(kept) == ["row 1/literal/0", "row 1/lysep/0", "row 1/lysep/1"]
    assert os.listdir(out) == ["results.json"]
    counted["limit"] = None
    assert reproduce(folder, out) == 0
    after = runs(out)
    assert len(after) == len(counted["calls"]) == 6
    # Identical to the last digit of the seconds: they were not run again.
    assert {key: after[key] for key in kept} == kept
    first = (out / "results.json").read_bytes(), (out / "table.md").read_bytes()
    assert reproduce(folder, out) == 0
    assert len(counted["calls"]) == 6
    assert ((out / "results.json").read_bytes(), (out / "table.md").read_bytes()) == first


def test_changed_settings_run_again_and_say_so(
    folder, no_torch, no_figures, counted, tmp_path, capsys
):
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 1 --sweeps 2") == 0
    capsys.readouterr()
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 2 --sweeps 3") == 0
    message = capsys.readouterr().err
    assert "runs done again, for changed settings (n_iter): 3" in message
    assert len(counted["calls"]) == 3 + 6


# --- what does not fit -------------------------------------------------------------------------


def test_without_the_data_it_says_where_to_get_them_and_runs_nothing(
    folder, counted, tmp_path, capsys
):
    out = tmp_path / "out"
    assert reproduce(tmp_path / "elsewhere", out) == 1
    message = capsys.readouterr().err
    for word in ("elsewhere", "train-images", "Remedy", "--data DIR"):
        assert word in message
    assert not out.exists()
    file = folder / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    assert reproduce(folder, out) == 1
    assert "truncated" in capsys.readouterr().err
    assert not counted["calls"]


# --- with torch ---------------------------------------------------------------------------------


@NEEDS_TORCH
def test_the_baselines_stand_in_the_table_with_the_rate_that_was_found(
    folder, no_figures, tmp_path, capsys, monkeypatch, request
):
    monkeypatch.setattr(mnist, "TORCH_BATCH", 6)
    monkeypatch.setattr(mnist, "LBFGS_SEEDS", 1)
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 2 --sweeps 2") == 0
    assert "CPU build" not in capsys.readouterr().out
    found = runs(tmp_path)
    for model, rates in (("descent", mnist.RATES), ("adam", mnist.ADAM_RATES)):
        rate = found[f"row 1/{model}/rate"]["result"]
        assert rate["rates"] == list(rates)
        assert rate["rate"] == rate["rates"][int(np.argmin(rate["losses"]))]
        assert found[f"row 1/{model}/1"]["result"]["rate"] == rate["rate"]
    assert found["row 1/lbfgs/0"]["result"]["passes"] == 3  # the initial network counts
    assert "rate" not in found["row 1/lbfgs/0"]["result"]
    assert "row 1/lbfgs/1" not in found
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "needs torch" not in text
    assert "L-BFGS: only 1 seed, its" in text
    # What is there is used again without torch.
    request.getfixturevalue("no_torch")
    assert reproduce(folder, tmp_path, "--rows 1 --seeds 2 --sweeps 2") == 0
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text


@NEEDS_TORCH
def test_lbfgs_in_parts_is_lbfgs_on_all_images_and_returns_its_best_network(folder, monkeypatch):
    rivals = part("_mnist_torch")
    data = mnist.load(folder)
    settings = {"network": mnist.ROWS[4].architecture.network(data), "n_iter": 12, "seed": 3}
    settings |= {"optimiser": "lbfgs", "rate": 1.0, "batch_size": None}
    settings |= {"n_threads": 1, "curve_samples": N}
    whole = rivals.train(data.X, data.y, **settings)
    monkeypatch.setattr(rivals, "AT_ONCE", 7)
    counted = []
    parts = rivals.train(data.X, data.y, **settings, advance=lambda: counted.append(1))
    assert len(counted) == 12
    assert len(parts.losses) == 13
    # float32, and a search along a line may take another way later on
    np.testing.assert_allclose(parts.losses[:6], whole.losses[:6], rtol=1e-3)
    reached = float(np.mean(cross_entropy(parts.logits(data.X), data.y)))
    assert reached == pytest.approx(parts.losses.min(), rel=1e-5)
    assert reached < parts.losses[0] - 0.05
    looked = np.array(parts.curves["passes"], dtype=int)
    np.testing.assert_allclose(parts.curves["loss"], parts.losses[looked], rtol=1e-5)
