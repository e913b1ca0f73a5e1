"""The parts of the experiments: tables, models, files, progress."""

import io
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from experiments import part

from lysep_fast import cli
from lysep_fast.kernels import cross_entropy_gradient

scripts, circle = cli.load_experiment("circle")
models, report, tables = part("_models"), part("_circle_report"), part("_tables")
progress, store, time_left = part("_progress"), part("_store"), part("_time_left")


# --- the table ---------------------------------------------------------------------------------


def result(loss, accuracy, **more):
    same = {"loss": loss, "accuracy": accuracy, "test_loss": 2 * loss, "test_accuracy": 0.5}
    curves = {"loss": [1.0, loss], "seconds": [0.0, 1.25]}
    return {**same, "n_iter": 7, "seconds": 1.25, "curves": curves, **more}


def make_report(tiny_results, n_seeds=2, rows=(1,)):
    plan = circle.make_plan(scripts.RunOptions(Path(), rows=rows, seeds=n_seeds))
    data = circle.make_data()
    cases = {k: circle.make_case(k, plan, data) for k in plan.rows}
    results = {}
    for (k, model), found in tiny_results.items():
        for seed, values in enumerate(found):
            results[cases[k].key(model, seed)] = values
    return report.Report(circle.ROWS, cases, n_seeds, results, circle.SETTINGS_NOTE, False)


def table_row(text, heading, k):
    lines = text.split(heading)[1].splitlines()
    (line,) = [line for line in lines[:8] if line.startswith(f"| {k} (")]
    return [cell.strip() for cell in line.strip("|").split("|")]


LYSEP = {"F_rises": 0, "F_largest_rise": -1e-3, "loss_over_bound": 0.25}


def test_table_shows_means_deviations_and_the_papers_figures():
    lysep = [result(4e-3, 0.999, **LYSEP), result(6e-3, 1.0, **LYSEP)]
    text = make_report(
        {
            (1, "lysep"): lysep,
            (1, "frozen"): [result(1e-2, 0.99), result(1e-2, 0.99)],
            (1, "descent"): [result(0.1, 0.9, rate=0.3), result(0.3, 0.8, rate=0.3)],
        }
    ).markdown()
    # The sample standard deviation of two values a, b is |a - b| / sqrt(2).
    rivals = ["needs torch"] * 3  # the fast solver, L-BFGS and Adam have no runs here
    assert table_row(text, "## Training loss", 1) == [
        "1 (3, 50)", "5.27e-2±6.01e-3", "2.00e-1±1.41e-1", "6.75e-3±3.00e-3", "5.00e-3±1.41e-3",
        *rivals, "1.00e-2±0.00e0",
    ]  # fmt: skip
    assert table_row(text, "## Training accuracy", 1) == [
        "1 (3, 50)", "99.10±0.29", "85.00±7.07", "99.83±0.15", "99.95±0.07", *rivals, "99.00±0.00",
    ]  # fmt: skip
    work = table_row(text, "## Work", 1)
    missing = ["needs torch", "", ""]
    assert work == [
        "1 (3, 50)", "7", "0.3", "1.2", "7", "1.2", "needs torch", "", "needs torch", "", *missing,
        "7", "1.2",
    ]  # fmt: skip
    assert "2 seeds" in text
    assert "chosen by us" in text
    assert "never rose in 2 runs" in text
    assert "falls short of the paper's loss" not in text
    assert "lower training loss than LySep-FNN" not in text


def test_table_says_where_we_fall_short():
    lysep = [result(7e-3, 0.99, **{**LYSEP, "F_rises": 3, "F_largest_rise": 0.5})]
    text = make_report({(1, "lysep"): lysep, (1, "frozen"): [result(1e-9, 1.0)]}, 1).markdown()
    assert table_row(text, "## Training loss", 1)[4] == f"7.00e-3 {report.SHORT}"
    assert table_row(text, "## Training accuracy", 1)[4] == f"99.00 {report.SHORT}"
    assert "after 7 sweeps LySep-FNN falls short of the paper's loss" in text
    assert "after 7 sweeps LySep-FNN falls short of the paper's accuracy" in text
    assert "paper's loss: 7.00e-3, the paper 6.75e-3±3.00e-3." in text
    better = "a lower training loss, a higher training accuracy and a lower test loss"
    assert f"frozen features reached {better} than LySep-FNN in row 1" in text
    assert "rose in 1 of 1 runs" in text
    assert "over 1 seed of" in text
    assert "needs torch" in text


def test_the_papers_own_figures_do_not_fall_short_of_themselves():
    row = circle.ROWS[1]
    lysep = [result(row.paper_lysep_loss[0], row.paper_lysep_accuracy[0], **LYSEP)]
    assert not make_report({(1, "lysep"): lysep}, 1).shortfalls()


def test_rates_that_fail_with_some_seeds_are_told():
    lysep = [result(1e-3, 1.0, **LYSEP)] * 3
    descent = [result(loss, 0.5, rate=1.0) for loss in (0.5, 3.0, math.nan)]
    text = make_report({(1, "lysep"): lysep, (1, "descent"): descent}, 3).markdown()
    assert "CE-FNN: 2 of 3 runs of row 1 end above their initial loss" in text
    assert "Adam: 0" not in text
    text = make_report({(1, "lysep"): lysep, (1, "descent"): descent[:1]}, 1).markdown()
    assert "above their initial loss" not in text


def test_rows_are_those_of_the_paper():
    shapes = {k: (row.depth, row.width) for k, row in circle.ROWS.items()}
    assert shapes == {1: (3, 50), 2: (3, 100), 3: (3, 200), 4: (6, 100), 5: (10, 100)}
    assert circle.ROWS[5].hidden_layer_sizes == (100,) * 9


def test_number_formats():
    assert tables.loss_text(0.692, 1.52e-3) == "6.92e-1±1.52e-3"
    assert tables.loss_text(12.0, 0.0) == "1.20e1±0.00e0"
    assert tables.loss_text(math.nan, math.nan) == "diverged"
    assert tables.percent_text(0.9983, 0.0015) == "99.83±0.15"
    mean, std = tables.mean_std([1.0, 2.0, 4.0])
    assert (mean, std) == pytest.approx((7 / 3, math.sqrt(7 / 3)))
    assert math.isnan(tables.mean_std([1.0, None])[0])
    assert tables.mean_std([3.0]) == (3.0, pytest.approx(math.nan, nan_ok=True))
    assert tables.loss_text(*tables.mean_std([0.5])) == "5.00e-1"
    assert tables.percent_text(*tables.mean_std([0.5])) == "50.00"


# --- the models --------------------------------------------------------------------------------


def test_rises_are_counted_beyond_rounding():
    assert models.rises(np.array([4.0, 2.0, 1.0])) == {"F_rises": 0, "F_largest_rise": -0.5}
    assert models.rises(np.array([1.0, 1.0 + 1e-15, 1.5]))["F_rises"] == 1
    assert models.rises(np.array([1.0, np.nan]))["F_rises"] == 1


def test_digits_and_back():
    U = np.eye(10)[[3, 0, 9, 1]]
    assert models.digits(U) == "3091"
    np.testing.assert_array_equal(models.from_digits("3091"), [3, 0, 9, 1])


def test_frozen_features_reach_the_minimum_over_the_last_layer():
    rng = np.random.default_rng(0)
    S = rng.standard_normal((80, 4)) * [1.0, 1e-3, 10.0, 1.0]
    S[:, 3] = S[:, 0] - S[:, 2]  # not of full rank
    y = rng.integers(0, 3, 80)
    Q, to_V, solution = models.fit_last_layer(S, y, 3, 500)
    V = to_V @ solution.x.reshape(-1, 3)
    assert Q.shape == (80, 3)
    np.testing.assert_allclose(S @ to_V, Q, atol=1e-9)
    np.testing.assert_allclose(Q.T @ Q, 80 * np.eye(3), atol=1e-9)
    _, G = cross_entropy_gradient(S @ V, y)
    np.testing.assert_allclose(S.T @ G / 80, 0.0, atol=1e-6)


def test_frozen_features_start_where_layer_separation_starts():
    X, y = circle.make_circle(30, 0)
    data = models.Data(X, y, X, y)
    settings = {"hidden_layer_sizes": (5, 5), "activation": "tanh", "init": "uniform", "seed": 3}
    network = models.lysep_fast.Network.dense((2, 5, 5, 2), "tanh")
    W, b = network.initial_weights(np.random.default_rng(3), np.dtype(float), "uniform")
    start = models.lysep_fast.train(
        X,
        y,
        hidden_layer_sizes=(5, 5),
        max_iter=0,
        random_state=3,
        solver="alternating",
        standardise=False,
    )
    np.testing.assert_array_equal(start.W[1], W[1])
    features = np.tanh(np.tanh(X @ W[1].T + b[1]) @ W[2].T + b[2])
    loss = models.frozen(data, max_iter=200, with_map=False, **settings)["loss"]
    _, _, solution = models.fit_last_layer(features, y, 2, 200)
    assert loss == pytest.approx(solution.fun, rel=1e-6)
    assert loss < start.history[0].loss


# --- files --------------------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    store.write_atomically(path, "old")

    def fsync(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="disk full"):
        store.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_crash_leaves_one_part_file_at_most_and_the_next_write_takes_it_away(tmp_path):
    (tmp_path / ".results.json.part").write_text("half")
    store.write_atomically(tmp_path / "results.json", "whole")
    assert os.listdir(tmp_path) == ["results.json"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    events, replace, fsync = [], Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("sync") or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda *a: events.append("rename") or replace(*a))
    store.write_atomically(tmp_path / "results.json", "whole")
    folder = [] if os.name == "nt" else ["sync"]
    assert events == ["sync", "rename", *folder]


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_two_processes_do_not_write_into_one_folder(tmp_path):
    with (
        store.locked(tmp_path),
        pytest.raises(scripts.ExperimentError, match=r"is in use.*--out"),
        store.locked(tmp_path),
    ):
        pass
    with store.locked(tmp_path):  # free again
        assert os.listdir(tmp_path) == []


def test_the_order_of_the_runs_is_not_that_of_their_ends(tmp_path):
    kept = store.Store(tmp_path / "results.json", "circle", {"threads": 1})
    for key in ("b", "x", "a"):
        kept.add(key, {}, {"loss": 1.0}, elapsed=2.0)
    kept.arrange(["a", "b", "c"])
    kept.save()
    again = store.Store(tmp_path / "results.json", "circle", {"threads": 2})
    assert list(json.loads((tmp_path / "results.json").read_text())["runs"]) == ["a", "b", "x"]
    again.add("c", {}, {}, elapsed=0.5)
    assert again.environments(["a", "c", "b"]) == [({"threads": 1}, 2), ({"threads": 2}, 1)]
    assert [again.elapsed(key) for key in "ac"] == [2.0, 0.5]


# --- progress ----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def planned(*keys, n_steps=3, experiment="circle"):
    return [time_left.Planned(experiment, key, n_steps) for key in keys]


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    runs = planned("row 1/lysep/0", "row 1/lysep/1")
    with progress.Progress(runs) as shown:
        for run, label in zip(runs, ("first", "second"), strict=True):
            one = shown.begin(run, label)
            for _ in range(4):  # one more than announced
                one.advance()
            one.finish("fine")
        assert shown.bar.n == 6
    text = sys.stderr.getvalue()
    assert "[1/2] first: fine" in text
    assert "[2/2] second: fine" in text
    assert "0 s left" in text


def test_a_log_file_gets_lines_and_signs_of_life(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SILENCE", -1.0)
    runs = planned("row 1/lysep/0", "row 1/lysep/1", n_steps=2)
    with progress.Progress(runs) as shown:
        one = shown.begin(runs[0], "run")
        one.advance()
        one.finish("fine")
        shown.begin(runs[1], "run").finish("fine")
    assert capsys.readouterr().err.splitlines() == [
        "        run: 1 of 2", "[1/2] run: fine; about 0 s left", "[2/2] run: fine",
    ]  # fmt: skip


def test_time_left_goes_by_runs_of_the_same_kind_first(monkeypatch):
    monkeypatch.setattr(time_left.time, "monotonic", lambda: now[0])
    now, left = [0.0], time_left.TimeLeft()
    slow, fast, other = planned("row 2/lysep/1", "row 1/lysep/1", "row 3/lysep/0", n_steps=10)
    assert left.seconds() is None
    left.learn(*planned("row 1/lysep/0", n_steps=10), 20.0)
    left.learn(*planned("row 2/lysep/0", n_steps=10), 60.0)
    assert left.guess(fast) == 20.0
    assert left.guess(slow) == 60.0
    assert left.guess(other) == 40.0  # the same model
    assert left.guess(*planned("row 3/frozen/0", n_steps=5)) == 20.0  # the same experiment
    assert left.guess(*planned("heat/adam/0", n_steps=5, experiment="pde")) == 20.0
    for run in (slow, fast):
        left.plan(run)
    assert left.text() == "about 80 s left"
    left.begin(fast)
    now[0] = 5.0
    assert left.seconds() == 75.0
    left.step(fast, 5)  # half of it took 5 seconds
    assert left.seconds() == 65.0
    left.finish(fast)
    assert left.guess(fast) == 12.5
    assert left.seconds() == 60.0


def test_time_left_is_shared_by_runs_at_the_same_time():
    left = time_left.TimeLeft(2)
    runs = planned("row 1/lysep/0", "row 1/lysep/1", "row 1/lysep/2")
    left.learn(runs[0], 10.0)
    left.plan(runs[1])
    left.plan(runs[2])
    assert left.seconds() == 10.0
    left.begin(runs[1])
    left.put_back(runs[1])
    assert left.seconds() == 10.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (7800, "2 h 10 min")],
)
def test_durations(seconds, text):
    assert time_left.duration(seconds) == text
