"""The comparison within fixed times: plans, settings, data sets, counting, resuming, report."""

import argparse
import json

import numpy as np
import pytest

from lysep_fast.datasets import Mnist


@pytest.fixture
def clock(bench_module):
    return bench_module("budget_clock")


@pytest.fixture
def settings(bench_module):
    return bench_module("budget_settings")


@pytest.fixture
def sets(bench_module):
    return bench_module("budget_sets")


@pytest.fixture
def count(bench_module):
    return bench_module("budget_count")


@pytest.fixture
def script(bench_module):
    return bench_module("bench_budgets")


# --- plans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constant", "per_unit", "budget", "expected"),
    [
        (0.0, 0.5, 2.0, 4),
        (0.0, 0.1, 0.3, 3),  # which is 2.9999999999999996 in binary
        (0.6, 0.5, 2.0, 2),
        (0.0, 3.0, 2.0, 1),  # at least one, whatever it takes
        (5.0, 0.1, 2.0, 1),
    ],
)
def test_units_from_a_budget(clock, constant, per_unit, budget, expected):
    assert clock.Pace(constant, per_unit).units(budget) == expected


def test_the_pace_is_that_of_the_units_after_the_first_ones(clock):
    # One second before, a first unit of two, three of a half each, and a quarter afterwards.
    pace = clock.Pace.of(4.75, [3.0, 3.5, 4.0, 4.5], skip=1)
    assert pace == clock.Pace(constant=2.75, per_unit=0.5)
    assert pace.units(4.75) == 4
    assert pace.units(4.74) == 3
    assert clock.Pace.of(1.0, [0.9, 1.0], skip=1).constant == pytest.approx(0.8)
    for skip in (0, 2):
        with pytest.raises(ValueError, match="skip must be within 1 and 1"):
            clock.Pace.of(1.0, [0.9, 1.0], skip)


def test_a_stopwatch_watches_whole_periods(clock):
    times = iter(np.arange(1, 100) / 10.0)
    watch = clock.Stopwatch(0.55, skip=2, period=3)
    ends = [watch.watch(lambda: float(next(times))) for _ in range(8)]
    assert ends == [False] * 7 + [True]  # five units are a period, too, but come too early
    assert watch.pace(0.9).per_unit == pytest.approx(0.1)
    assert watch.pace(0.9).constant == pytest.approx(0.1)


# --- settings ----------------------------------------------------------------------------------


def test_settings_lie_in_their_spaces_and_longer_lists_begin_with_shorter_ones(settings):
    for method in settings.METHODS:
        space = settings.SPACES[method]
        drawn = settings.draw(method, 12)
        if not space:
            assert drawn == [{}]
            continue
        assert len({settings.label(s) for s in drawn}) == 12
        assert settings.draw(method, 5) == drawn[:5]
        assert settings.draw(method, 1) == drawn[:1]
        for setting in drawn:
            assert list(setting) == list(space)
            for name, values in space.items():
                if isinstance(values, settings.Log):
                    assert values.low <= setting[name] <= values.high
                else:
                    assert setting[name] in values
        for name, values in space.items():  # no choice is left out
            if not isinstance(values, settings.Log):
                assert {s[name] for s in drawn} == set(values)
        assert json.loads(json.dumps(drawn)) == drawn


def test_settings_in_words(settings):
    assert settings.label({}) == "default"
    assert settings.label({"rate": 0.5, "inputs": "raw"}) == "rate 0.5, inputs raw"


# --- data sets ---------------------------------------------------------------------------------


@pytest.fixture
def images():
    """Return 60 random images that have black pixels, as if they were MNIST."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-1.0, 1.0, size=(60, 784)).clip(0.0).astype(np.float32)
    y = np.arange(60) % 10
    return Mnist(X[:40], y[:40], X[40:], y[40:])


def test_each_set_belongs_to_one_half(sets):
    assert sorted(sets.names()) == sorted(sets.RECIPES)
    assert not set(sets.names("choose")) & set(sets.names("report"))
    assert len(sets.names("choose")) + len(sets.names("report")) == len(sets.RECIPES)


def test_images_are_changed_as_their_names_say(sets, images, tmp_path):
    X, T = images.X_train, images.X_test
    found = sets.inverted(images, tmp_path)
    assert np.array_equal(found.X_train, 1.0 - X)
    assert np.array_equal(found.X_test, 1.0 - T)
    found = sets.permuted(images, tmp_path)
    order = [int(np.flatnonzero((column[:, None] == X).all(0))[0]) for column in found.X_train.T]
    assert sorted(order) == list(range(784))
    assert order != list(range(784))
    assert np.array_equal(found.X_test, T[:, order])
    found = sets.noisy_background(images, tmp_path)
    light = X > 0.5
    assert np.array_equal(found.X_train[light], X[light])
    assert (found.X_train >= X).all()
    assert 0.45 < found.X_train[X == 0.0].max() <= 0.5
    found = sets.contrast(images, tmp_path)
    spread = np.ptp(found.X_train, axis=1) / np.ptp(X, axis=1)
    assert 0.3 <= spread.min() < 0.4 < 0.9 < spread.max() <= 1.0
    assert found.X_train.min() >= 0.0
    assert found.X_train.max() <= 1.0
    for name in ("inverted", "permuted", "noisy_background", "contrast"):
        first, again = (getattr(sets, name)(images, tmp_path) for _ in range(2))
        assert first.X_train.dtype == np.float32
        assert first.X_train.shape == X.shape
        assert np.array_equal(first.X_train, again.X_train)
        assert np.array_equal(first.y_train, images.y_train)
        assert np.array_equal(first.y_test, images.y_test)


def test_wrong_labels_are_a_fifth_and_none_is_tested_on(sets, tmp_path):
    y = np.arange(20_000) % 10
    data = Mnist(np.zeros((20_000, 1)), y, np.zeros((10, 1)), y[:10])
    found = sets.noisy_labels(data, tmp_path)
    assert 0.19 < np.mean(found.y_train != y) < 0.21
    assert set(found.y_train) == set(range(10))
    assert np.array_equal(found.y_test, data.y_test)


def test_rotated_images_are_made_once(sets, images, tmp_path):
    found = sets.rotated(images, tmp_path)
    (path,) = tmp_path.iterdir()
    made = path.stat().st_mtime_ns
    again = sets.rotated(images, tmp_path)
    assert path.stat().st_mtime_ns == made
    assert np.array_equal(found.X_test, again.X_test)
    assert found.X_train.dtype == np.float32
    assert not np.allclose(found.X_train, images.X_train, atol=0.1)
    disk = np.hypot(*(np.indices((28, 28)) - 13.5)).ravel() < 9.0
    round_ones = images._replace(
        X_train=np.tile(disk, (40, 1)).astype(np.float32), X_test=images.X_test[:1]
    )
    turned = sets.rotated(round_ones, tmp_path).X_train
    assert np.mean(np.abs(turned - disk)) < 0.03  # a disk looks the same from all sides


def test_generated_sets(sets, tmp_path):
    pytest.importorskip("sklearn")
    sources = sets.Sources(None, tmp_path)
    for name, rows, features, classes in (
        ("table-5000", 5000, 20, 7),
        ("teacher-5000", 5000, 20, 7),
        ("digits", 898, 64, 10),
    ):
        data = sets.load(name, sources)
        assert data.X.shape == (rows, features)
        assert data.widths == (features, *sets.RECIPES[name].hidden, classes)
        assert (data.X.dtype, data.y.dtype) == (np.float32, np.int64)
        for y in (data.y, data.y_test):
            shares = np.bincount(y, minlength=classes) / len(y)
            assert 0.3 / classes < shares.min()
            assert shares.max() < 2.5 / classes
    with pytest.raises(ValueError, match="no data set is called 'nothing'"):
        sets.load("nothing", sources)


def test_recipes_on_images(sets, images, tmp_path):
    sources = sets.Sources(None, tmp_path)
    sources.mnist = images
    data = sets.load("depth-10", sources)
    assert data.widths == (784, *[100] * 9, 10)
    assert sets.load("width-512", sources).widths == (784, 512, 512, 10)
    assert sets.load("inverted", sources).X.max() == 1.0


def test_held_out_samples_are_of_the_training_data(sets):
    X = np.arange(100, dtype=np.float32)[:, None]
    data = sets.BudgetSet("x", (3,), X, np.arange(100), -X, np.zeros(100))
    found = sets.held_out(data)
    assert (len(found.X), len(found.X_test)) == (80, 20)
    assert sorted([*found.y, *found.y_test]) == list(range(100))
    assert np.array_equal(found.X[:, 0], found.y)
    assert np.array_equal(found.X_test[:, 0], found.y_test)


# --- counting ----------------------------------------------------------------------------------


def cell(count, median, fits=True):
    return count.Cell(median, median, median, 1.0, 5.0, 1, fits)


def test_outcome_has_ties(count):
    assert count.outcome(0.981, 0.980) == 0  # exactly the margin, which is not exact in binary
    assert count.outcome(0.98101, 0.980) == 1
    assert count.outcome(0.980, 0.98101) == -1
    assert count.outcome(np.nan, 0.1) == -1
    assert count.outcome(0.1, np.nan) == 1
    assert count.outcome(np.nan, np.nan) == 0


def test_tally_and_leaders(count):
    found = {
        ("a", "lysep_fast", 1.0): cell(count, 0.90),
        ("a", "Muon", 1.0): cell(count, 0.80),
        ("a", "SOAP", 1.0): cell(count, 0.8995),
        ("a", "lysep_fast", 2.0): cell(count, 0.90),
        ("a", "Muon", 2.0): cell(count, 0.95),
        ("a", "lysep_fast, default", 2.0): cell(count, 0.99),
        ("b", "lysep_fast", 1.0): cell(count, 0.90),
        ("b", "Muon", 1.0): cell(count, 0.9005),
        ("c", "lysep_fast", 1.0): cell(count, 0.90, fits=False),
        ("c", "Muon", 1.0): cell(count, 0.1),
        ("d", "lysep_fast", 1.0): cell(count, np.nan),
    }
    assert count.tally(found, "lysep_fast", "Muon") == (1, 1, 2)
    assert count.tally(found, "lysep_fast", "Muon", [1.0]) == (1, 1, 1)
    assert str(count.tally(found, "Muon", "lysep_fast", [2.0])) == "1 / 0 / 0"
    assert count.tally(found, "lysep_fast", "AdamW") == (0, 0, 0)
    assert count.leaders(found, "a", 1.0) == ["lysep_fast", "SOAP"]
    assert count.leaders(found, "a", 2.0) == ["Muon"]  # the default is beside the contest
    assert count.leaders(found, "c", 1.0) == ["Muon"]
    assert count.leaders(found, "d", 1.0) == []


def test_middle_budget(count):
    assert count.middle([30.0, 2.0, 8.0, 4.0, 16.0]) == 8.0
    assert count.middle([1.0, 2.0]) == 2.0


def record(setting, accuracy=None, stage="tune", seed=100, budget=1.0, method="AdamW", **more):
    found = {"set": "a", "method": method, "setting": setting, "seed": seed, "stage": stage}
    found |= {"budget": budget, "seconds": budget, "units": 4} | more
    return found | ({"error": "ValueError: no"} if accuracy is None else {"accuracy": accuracy})


def by_key(count, records):
    return {count.key(r): r for r in records}


def test_the_best_held_out_accuracy_chooses(count):
    trials = [{"rate": r} for r in (1.0, 2.0, 3.0)]
    records = [record(trials[0], 0.8, loss=0.1), record(trials[1], 0.9, loss=0.4)]
    done = by_key(count, records)
    assert count.chosen(done, "a", "AdamW", trials, 1.0) is None  # one is missing
    assert count.chosen(done, "a", "AdamW", trials[:2], 1.0) == trials[1]
    done |= by_key(count, [record(trials[2], 0.9, loss=0.3)])
    assert count.chosen(done, "a", "AdamW", trials, 1.0) == trials[2]  # the smaller loss
    assert count.chosen(done, "a", "AdamW", trials, 2.0) is None
    assert count.chosen(done, "b", "AdamW", trials, 1.0) is None
    done |= by_key(count, [record(trials[2])])
    assert count.chosen(done, "a", "AdamW", trials, 1.0) == trials[1]  # a failure does not win
    assert count.chosen({}, "a", "lysep_fast, default", [{}], 1.0) == {}


def test_cells_have_the_chosen_setting_only(count):
    old, new = {"rate": 1.0}, {"rate": 2.0}
    records = [record(new, a, "final", seed) for seed, a in enumerate((0.5, 0.7, 0.8))]
    records += [record(old, 0.9, "final", 0), record(new, 0.9), record(new, 0.9, "final", 0, 2.0)]
    found = count.cells(by_key(count, records), {("a", "AdamW"): new})
    assert set(found) == {("a", "AdamW", 1.0), ("a", "AdamW", 2.0)}
    assert found["a", "AdamW", 1.0] == (0.7, 0.5, 0.8, 1.0, 4.0, 3, True)
    records += [record(new, None, "final", seed) for seed in (3, 4)]
    found = count.cells(by_key(count, records), {("a", "AdamW"): new})["a", "AdamW", 1.0]
    assert (found.median, found.low, found.runs) == (0.5, 0.0, 3)
    late = by_key(count, [record(new, 0.9, "final", 0, seconds=1.2, units=1)])
    assert not count.cells(late, {("a", "AdamW"): new})["a", "AdamW", 1.0].fits
    failed = by_key(count, [record(new, None, "final", 0)])
    assert np.isnan(count.cells(failed, {("a", "AdamW"): new})["a", "AdamW", 1.0].counted)


# --- resuming ----------------------------------------------------------------------------------


def test_runs_alternate_and_those_that_are_there_are_left_out(script, count):
    runs = script.tuning("a", ["lysep_fast", "lysep_fast, default", "AdamW"], 2, 8.0)
    assert [run[1] for run in runs] == ["lysep_fast", "AdamW"] * 2
    done = by_key(
        count,
        [record(runs[0][2], 0.9, budget=8.0, method="lysep_fast"), record(runs[1][2], budget=8.0)],
    )
    assert script.missing(runs, done) == runs[1:]  # the second one has failed
    runs = script.finals("a", {"x": {}, "y": {"rate": 1.0}}, 2, [1.0, 2.0])
    assert [(r[1], r[3], r[5]) for r in runs] == [
        ("x", 0, 1.0), ("y", 0, 1.0), ("x", 0, 2.0), ("y", 0, 2.0),
        ("y", 1, 1.0), ("x", 1, 1.0), ("y", 1, 2.0), ("x", 1, 2.0),
    ]  # fmt: skip


def test_a_run_that_was_stopped_goes_on(script, count):
    arguments = argparse.Namespace(
        sets=["a"], methods=["lysep_fast, default", "AdamW"], trials=3, seeds=2, budgets=[1.0, 2.0]
    )
    made = []

    def runner(run):
        made.append(run)
        rate = run[2].get("rate", 0.0)
        return record(run[2], rate, run[4], run[3], run[5], run[1], loss=0.0)

    def go(done, most):
        for found in script.measure(arguments, done, runner):
            done[count.key(found)] = found
            if len(made) == most:
                return

    done = {}
    go(done, 5)
    go(done, 100)
    whole = made[:]
    assert len(whole) == len({script.key_of(run) for run in whole}) == 3 + 2 * 2 * 2
    finals = [run for run in whole if run[4] == "final"]
    best = max(script.draw("AdamW", 3), key=lambda s: s["rate"])
    assert {str(run[2]) for run in finals if run[1] == "AdamW"} == {str(best)}
    go(done, 100)
    assert made == whole


def test_failures_become_records(script, sets, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise ValueError("broken on purpose")

    monkeypatch.setattr(script.budget_ours, "train", broken)
    X = np.zeros((10, 2), np.float32)
    data = sets.BudgetSet("x", (3,), X, np.arange(10) % 2, X, np.arange(10) % 2)
    monkeypatch.setattr(script.budget_sets, "load", lambda *_: data)
    runner = script.Runner(sets.Sources(None, tmp_path), 1)
    found = runner(("x", "lysep_fast, default", {}, 0, "final", 1.0))
    assert found["error"] == "ValueError: broken on purpose"
    assert script.describe(found) == (
        "x, lysep_fast, default, final 0, 1 s: ValueError: broken on purpose"
    )


@pytest.mark.parametrize(
    "words", ["--trials 0", "--seeds 0", "--threads 0", "--budgets 0 1", "--sets nothing"]
)
def test_words_that_make_no_sense_are_refused(script, capsys, words):
    with pytest.raises(SystemExit, match="2"):
        script.parse(["--out", "x", *words.split()])
    assert "error" in capsys.readouterr().err


def test_halves_and_names_on_the_command_line(script, sets):
    assert script.parse(["--out", "x"]).sets == sets.names()
    assert script.parse(["--out", "x", "--half", "report"]).sets == sets.names("report")
    found = script.parse(["--out", "x", "--half", "report", "--sets", "digits"])
    assert found.sets == ["digits"]
    assert found.budgets == [2.0, 4.0, 8.0, 16.0, 30.0]


def test_a_missing_package_stops_the_run_before_it_starts(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "find_spec", lambda name: None)
    words = ["--out", str(tmp_path / "new"), "--methods", "SOAP"]
    with pytest.raises(SystemExit, match="pytorch-optimizer, torch not installed"):
        script.main(words)
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit, match="do a run first"):
        script.main([*words, "--report"])


# --- the report --------------------------------------------------------------------------------


def test_report_and_picture(bench_module, count, tmp_path):
    pytest.importorskip("matplotlib")
    report = bench_module("budget_report")
    found = {
        ("digits", "lysep_fast", 1.0): count.Cell(0.98, 0.97, 0.99, 0.9, 7.0, 3),
        ("digits", "AdamW", 1.0): count.Cell(0.95, 0.95, 0.96, 1.3, 9.0, 3),
        ("digits", "AdamW", 2.0): count.Cell(0.97, 0.95, 0.98, 2.0, 9.0, 3),
        ("digits", "Muon", 1.0): count.Cell(0.99, 0.99, 0.99, 3.0, 1.0, 3, False),
        ("digits", "SOAP", 1.0): count.Cell(*[np.nan] * 5, 0),
    }
    winners = {("digits", m): {"rate": 1.0} for m in ("lysep_fast", "AdamW", "Muon", "SOAP")}
    text = report.markdown(found, winners, {})
    assert "| lysep_fast | 98.00 (97.00..99.00) |  | rate 1.0 |" in text
    assert "| Muon | 99.00 (99.00..99.00), but after 3 s |  | rate 1.0 |" in text
    assert "| SOAP | failed |  | rate 1.0 |" in text
    assert "| ahead | **lysep_fast** | **AdamW** |  |" in text
    assert "| lysep_fast against AdamW | 1 / 0 / 0 | 0 / 0 / 0 | 1 / 0 / 0 |" in text
    assert "digits, AdamW, 1 s took 1.3 s (9 units)" in text
    bench_module("plot_train").save(report.figure(found), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
