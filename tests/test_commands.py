"""The commands train, predict, info and bench: what they write, say and return."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import global_state
import numpy as np
import pytest

import lysep_fast
from lysep_fast import cli, pde
from lysep_fast.commands import bench, bench_training
from lysep_fast.commands import train as train_command
from lysep_fast.commands.models import Model, score
from lysep_fast.datasets import make_circle
from lysep_fast.kernels._jit import JIT_ENABLED

ROOT = Path(__file__).resolve().parent.parent
#: Where child processes find the package.
PACKAGES = str(Path(lysep_fast.__file__).resolve().parents[1])
# Folds take plain Python minutes.
SHORT = "--hidden 8 --max-iter 15 --seed 1 --threads 1" + (
    "" if JIT_ENABLED else " --no-early-stopping"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own, so that names of files are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command; return its exit code, and what it prints to stdout and stderr."""

    def call(line, code=0):
        found = cli.main(line.split())
        out, err = capsys.readouterr()
        assert found == code, (found, out, err)
        return out, err

    return call


def write_csv(path, names, columns):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


@pytest.fixture
def circle(folder):
    """Tables of points inside and outside of a circle, with unlike units, and their arrays."""
    for part, seed in (("data", 0), ("more", 1)):
        X, y = make_circle(200, random_state=seed)
        X = X * [1.0, 1000.0] + [0.0, 5000.0]
        labels = np.array(["out", "in"])[y]
        write_csv(f"{part}.csv", ["x", "y", "place"], [*X.T.tolist(), labels.tolist()])
        np.savez(f"{part}.npz", X=X, y=labels, index=y)
    return X, labels  # of the second table


def train(run, more="", data="data.csv --target place", code=0):
    return run(f"train {data} --out model.npz {SHORT} {more}", code)


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


# --- train and predict -------------------------------------------------------------------------


def test_from_table_to_predictions(run, circle):
    X, labels = circle
    out, err = train(run, "--validation more.csv")
    assert "200 rows, 2 inputs; 2 classes (the target holds strings)" in err
    first, second = out.splitlines()
    assert first.startswith("model.npz: loss 0.")
    assert "accuracy" in first
    assert lysep_fast.load("model.npz", as_result=True).message in first
    out, err = run("predict model.npz more.csv --target place --proba")
    header, *rows = rows_of(out)
    assert header == ["prediction", "probability_in", "probability_out"]
    proba = np.array([row[1:] for row in rows], float)
    predicted = np.array([row[0] for row in rows])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(predicted, np.array(["in", "out"])[proba.argmax(axis=1)])
    accuracy = np.mean(predicted == labels)
    assert accuracy > 0.85
    assert f"accuracy {100 * accuracy:.2f} %" in err
    assert f"accuracy {100 * accuracy:.2f} %" in second
    # The library reads the file, and sees the same in the table as it is.
    result = lysep_fast.load("model.npz", as_result=True)
    np.testing.assert_allclose(result.predict_proba(X), proba, rtol=1e-12)


def test_scaling_is_in_the_model_and_helps(run, circle):
    """Inputs between 4000 and 6000 without it: the network cannot tell the points apart."""
    train(run)
    result = lysep_fast.load("model.npz", as_result=True)
    X, labels = np.load("data.npz")["X"], np.load("data.npz")["y"]
    inside = np.array([1, 0])[result.predict(X)]
    kept = result.history[result.best_iter]
    assert np.mean(inside == np.load("data.npz")["index"]) == pytest.approx(kept.accuracy)
    train(run, "--no-standardize --force")
    plain = lysep_fast.load("model.npz", as_result=True)
    direct = lysep_fast.train(
        X,
        (labels == "out").astype(int),
        hidden_layer_sizes=8,
        max_iter=15,
        random_state=1,
        n_threads=1,
        standardise=False,
        early_stopping="auto" if JIT_ENABLED else False,
    )
    for got, expected in zip(plain.W + plain.b, direct.W + direct.b, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert kept.loss < plain.history[plain.best_iter].loss


def test_linear_models_have_a_bias_for_the_means(run, circle):
    train(run, "--hidden none")
    result = lysep_fast.load("model.npz", as_result=True)
    assert result.network.depth == 1
    assert result.network.output_bias
    assert np.any(result.b[1])


def test_model_is_the_file_of_an_estimator(run, circle):
    pytest.importorskip("sklearn")
    train(run, "--early-stopping --alpha 0.001 --activation sigmoid")
    model = lysep_fast.load("model.npz")
    assert type(model) is lysep_fast.LySepClassifier
    assert model.classes_.tolist() == ["in", "out"]
    assert model.feature_names_in_.tolist() == ["x", "y"]
    given = model.get_params()
    assert (given["alpha"], given["activation"]) == (0.001, "sigmoid")
    assert (given["hidden_layer_sizes"], given["early_stopping"]) == ((8,), True)
    X, labels = np.load("data.npz")["X"], np.load("data.npz")["y"]
    with pytest.warns(UserWarning, match="stopped after 15"):
        fitted = lysep_fast.LySepClassifier(**given).fit(X, labels)
    public = {name for name in vars(fitted) if not name.startswith("_")}
    assert public <= set(vars(model))
    for name in sorted(public - {"result_"}):
        assert type(getattr(model, name)) is type(getattr(fitted, name)), name
    del model.feature_names_in_  # or a table with these names would be asked for
    model.set_params(early_stopping=False).partial_fit(X, labels)
    assert model.score(X, labels) > 0.6


def test_balanced_classes_are_those_of_the_estimator(run, circle):
    X, labels = np.load("data.npz")["X"], np.load("data.npz")["y"]
    rare = np.flatnonzero(labels == "in")
    kept = np.setdiff1d(np.arange(len(X)), rare[:-15])
    np.savez("rare.npz", X=X[kept], y=labels[kept])
    line = "--class-weight balanced --no-standardize --no-early-stopping"
    train(run, line, data="rare.npz --target y")
    result = lysep_fast.load("model.npz", as_result=True)
    y = (labels[kept] == "out").astype(int)
    weights = np.where(y == 1, 1 / np.sum(y), 1 / np.sum(1 - y))
    direct = lysep_fast.train(
        X[kept], y, sample_weight=weights, hidden_layer_sizes=8, max_iter=15, random_state=1,
        n_threads=1, standardise=False,
    )  # fmt: skip
    # scaled to mean 1 by other roundings
    assert result.history[3].loss == pytest.approx(direct.history[3].loss, rel=1e-6)
    pytest.importorskip("sklearn")
    assert lysep_fast.load("model.npz").class_weight == "balanced"
    _, err = train(run, f"{line} --task regress --force", data="data.npz --target index", code=1)
    assert "--class-weight is for classes" in err
    assert "as asked" in err


def test_without_scikit_learn(run, circle, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in [name for name in sys.modules if name.startswith("lysep_fast.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    train(run)
    assert rows_of(run("predict model.npz more.csv")[0])[0] == ["prediction"]
    assert "in, out" in run("info model.npz")[0]
    runs, _ = bench.time_training(40, (4,), 1)
    assert all("scikit-learn" not in own.method for own in runs)


def test_columns_are_found_by_name(run, circle):
    X, labels = circle
    write_csv("turned.csv", ["place", "y", "other", "x"], [labels, X[:, 1], labels, X[:, 0]])
    train(run)
    expected = run("predict model.npz more.csv")[0]
    assert run("predict model.npz turned.csv")[0] == expected
    write_csv("lacking.csv", ["x", "z"], X.T)
    _, err = run("predict model.npz lacking.csv", code=1)
    assert "lacking.csv lacks 1 of the 2 columns" in err
    assert "'y'" in err
    # Arrays have no names: their order counts, and their number is checked.
    assert run("predict model.npz more.npz")[0] == expected
    np.save("wide.npy", np.ones((3, 5)))
    _, err = run("predict model.npz wide.npy", code=1)
    assert "wide.npy has 5 input columns, but the model was trained with 2" in err


def test_arrays_of_indices(run, circle):
    _, err = train(run, data="data.npz --target index")
    assert "2 classes (the target holds whole numbers" in err
    out, err = run("predict model.npz more.npz --target index")
    assert set(out.split()[1:]) == {"0", "1"}
    assert "accuracy" in err


@pytest.mark.parametrize("suffix", ["csv", "npz", "npy"])
def test_files_of_predictions(run, circle, suffix, folder):
    train(run)
    rows = rows_of(run("predict model.npz more.csv --proba")[0])[1:]
    proba = np.array([row[1:] for row in rows], float)
    run(f"predict model.npz more.csv --proba --out p.{suffix}")
    if suffix == "csv":
        assert rows_of((folder / "p.csv").read_text())[1:] == rows
    elif suffix == "npy":
        np.testing.assert_array_equal(np.load("p.npy"), proba)
    else:
        found = np.load("p.npz", allow_pickle=False)
        np.testing.assert_array_equal(found["probability"], proba)
        assert found["classes"].tolist() == ["in", "out"]
        assert found["prediction"].tolist() == found["classes"][proba.argmax(axis=1)].tolist()
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def test_predictions_that_cannot_be_written_leave_the_former_ones(run, circle, monkeypatch):
    train(run)
    run("predict model.npz more.csv --out p.csv")
    before = Path("p.csv").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device", "p.csv")

    monkeypatch.setattr(os, "fsync", full)
    _, err = run("predict model.npz data.csv --out p.csv", code=1)
    assert "p.csv: No space left on device" in err
    assert Path("p.csv").read_bytes() == before
    assert not [name for name in os.listdir() if name.endswith(".tmp")]


def regression_tables():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 2))
    t = 100 + 40 * X[:, 0] - 7 * X[:, 1]
    write_csv("r.csv", ["a", "b", "t"], [*X.T, t])
    np.savez("r.npz", X=X, y=np.column_stack([t, -t]))
    return X, t


def test_regression(run):
    X, t = regression_tables()
    out, err = train(run, data="r.csv --target t")
    assert "regression (the target holds decimals" in err
    assert "R^2 0.9" in out
    out, err = run("predict model.npz r.csv --target t")
    predicted = np.array(out.split()[1:], float)
    r2 = 1 - np.sum((predicted - t) ** 2) / np.sum((t - t.mean()) ** 2)
    assert r2 > 0.9
    assert f"R^2 {r2:.4f}" in err
    np.testing.assert_array_equal(
        lysep_fast.load("model.npz", as_result=True).predict(X), predicted
    )
    assert "regression" in run("predict model.npz r.csv --proba", code=2)[1]


def test_regression_with_two_targets(run):
    X, t = regression_tables()
    train(run, data="r.npz --target y")
    out, err = run("predict model.npz r.npz --target y")
    assert out.splitlines()[0] == "prediction_0,prediction_1"
    assert "R^2 0.9" in err
    pytest.importorskip("sklearn")
    model, T = lysep_fast.load("model.npz"), np.column_stack([t, -t])
    np.testing.assert_allclose(model._spread.transform(T).std(axis=0), 1)
    np.testing.assert_allclose(model._spread.mean_, T.mean(axis=0))
    before = model.score(X, T)
    assert model.partial_fit(X, T).score(X, T) > before - 0.1


@pytest.mark.parametrize(
    ("y", "options", "words"),
    [
        (np.arange(150), "", "regression (150 different whole numbers in 150 rows"),
        (np.arange(150) % 3, "", "3 classes (the target holds whole numbers"),
        (np.arange(150) % 3, "--task regress", "regression (as asked)"),
        (np.arange(150) % 3 / 2, "--task classify", "3 classes (as asked)"),
        (np.arange(150) % 2 > 0, "", "2 classes (the target holds bools)"),
    ],
)
def test_task(run, y, options, words):
    np.savez("d.npz", X=np.random.default_rng(0).normal(size=(150, 2)), y=y)
    _, err = train(run, f"--max-iter 1 {options}", data="d.npz --target y")
    assert words in err
    out, _ = run("predict model.npz d.npz")
    if "classes" in words:
        assert set(out.split()[1:]) <= set(map(str, y))


def test_images(run):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = (rng.normal(size=(60, 6, 8)) + y[:, None, None]).astype(np.float32)
    np.savez("images.npz", X=X, rows=X.reshape(60, 48), y=y)
    assert "add --conv" in train(run, data="images.npz --target y", code=1)[1]
    train(run, "--conv 3", data="images.npz --target y")
    result = lysep_fast.load("model.npz", as_result=True)
    assert result.network.layer(1).image_shape == (1, 6, 8)
    assert result.W[1].dtype == np.float32
    expected = run("predict model.npz images.npz")[0]
    assert np.mean(np.array(expected.split()[1:], int) == y) > 0.9
    assert run("predict model.npz images.npz --inputs rows")[0] == expected
    data = "images.npz --target y --inputs rows"
    train(run, "--conv 3 --image-shape 6,8 --force", data=data)
    again = lysep_fast.load("model.npz", as_result=True)
    np.testing.assert_array_equal(again.W[1], result.W[1])
    assert (
        "convolution 3 x 3: 1 x 6 x 8 -> 3 x 6 x 8, relu, mean over 2 x 2"
        in (run("info model.npz")[0])
    )
    os.rename("model.npz", "classes.npz")
    train(run, "--conv 3 --task regress", data="images.npz --target y")
    assert isinstance(lysep_fast.load("model.npz"), lysep_fast.Result)
    pytest.importorskip("sklearn")
    model = lysep_fast.load("classes.npz")
    assert type(model) is lysep_fast.LySepConvClassifier
    assert model.predict(X).tolist() == list(map(int, expected.split()[1:]))


# --- checkpoints, stopping ---------------------------------------------------------------------


def test_resume_gives_the_model_of_a_run_without_stop(run, circle):
    train(run, "--early-stopping")
    whole = lysep_fast.load("model.npz", as_result=True)
    arguments = "--early-stopping --force --checkpoint c.npz --checkpoint-every 2"
    train(run, f"{arguments} --max-iter 7")
    Path("model.npz").unlink()
    assert "exists; go on from it" in train(run, arguments.replace("--force", ""), code=1)[1]
    train(run, f"{arguments} --resume c.npz")
    resumed = lysep_fast.load("model.npz", as_result=True)
    for got, expected in zip(resumed.W + resumed.b, whole.W + whole.b, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert resumed.n_iter == whole.n_iter
    _, err = train(run, f"{arguments} --resume c.npz --alpha 0.5", code=1)
    assert "alpha" in err
    for command in ("info c.npz", "predict c.npz more.csv"):
        assert "checkpoint, not a model" in run(command, code=1)[1]


def test_ctrl_c_keeps_the_sweeps_that_were_complete(run, circle, monkeypatch):
    def interrupt(self, row):
        if row.sweep == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(train_command._Progress, "show", interrupt)
    out, err = train(run, code=130)
    assert lysep_fast.Status.INTERRUPTED.message in out
    assert "warning: interrupted" in err
    assert lysep_fast.load("model.npz", as_result=True).n_iter == 3


def test_divergence_is_a_failure(run, circle, monkeypatch):
    def diverged(*arguments, **more):
        result = lysep_fast.train(*arguments, **more)
        result.status = lysep_fast.Status.NOT_FINITE
        return result

    monkeypatch.setattr(train_command, "train", diverged)
    out, _ = train(run, code=1)
    assert lysep_fast.Status.NOT_FINITE.message in out


def test_progress_in_a_log_and_on_a_terminal(run, circle, monkeypatch):
    monkeypatch.setattr(train_command, "_SILENCE", 0.0)
    whole = "--no-early-stopping"
    _, err = train(run, whole)
    assert "lysep-fast: sweep 15 of 15: loss 0." in err
    _, err = train(run, f"{whole} --quiet --force")
    assert err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    _, err = train(run, f"{whole} --force")
    assert err.count("\rsweep") == 16
    assert err.endswith(" \r")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ("--hidden 8,x", 2, ["--hidden", "'8,x'", "100,50"]),
        ("--hidden 0", 2, ["--hidden", "'0'"]),
        ("--alpha -1", 2, ["--alpha", "'-1'", "at least 0"]),
        ("--alpha nan", 2, ["--alpha"]),
        ("--validation-fraction 1", 2, ["between 0 and 1"]),
        ("--seed -1", 2, ["--seed", "at least 0"]),
        ("--max-iter many", 2, ["--max-iter", "'many'"]),
        ("--solver newton", 2, ["--solver", "'newton'", "quasi-newton"]),
        ("--delimiter ::", 2, ["--delimiter", "'::'"]),
        ("--image-shape 2,1", 2, ["--image-shape", "--conv"]),
        ("--image-shape 2 --conv 3", 2, ["--image-shape", "channels,height,width"]),
        ("--conv 3 --standardize", 2, ["--standardize"]),
        ("--checkpoint model.npz", 2, ["--checkpoint", "both model.npz"]),
        ("--checkpoint data.csv", 2, ["data.csv is read"]),
        ("--checkpoint no/where.npz", 1, ["no folder no"]),
        ("--resume none.npz", 1, ["none.npz", "No such file"]),
        ("--resume data.npz", 1, ["data.npz", "no file of lysep_fast"]),
        ("--task regress", 1, ["'place'", "strings such as", "regress"]),
        ("--target x --task classify --inputs x", 1, ["among the inputs"]),
        ("--validation none.csv", 1, ["none.csv: No such file"]),
    ],
)
def test_wrong_options_of_train(run, circle, more, code, words):
    _, err = train(run, more, code=code)
    assert all(word in err for word in words), err
    assert "Traceback" not in err
    if "validation none" not in more:
        assert not Path("model.npz").exists()


def test_whole_numbers_with_zeros_in_front(run):
    """They are names of classes, and amounts if asked."""
    columns = [np.arange(40.0), [f"{k:03}" for k in range(40)]]
    write_csv("d.csv", ["x", "t"], columns)
    assert "40 classes (the target holds strings)" in train(run, data="d.csv --target t")[1]
    assert run("predict model.npz d.csv")[0].split()[1] in columns[1]
    out, _ = train(run, "--task regress --force", data="d.csv --target t")
    assert "R^2 0.9" in out


def test_one_class_and_two_columns_of_classes(run):
    np.savez("d.npz", X=np.zeros((4, 2)), y=np.zeros(4, int), two=np.zeros((4, 2), int))
    assert "every row has the target 0" in train(run, data="d.npz --target y", code=1)[1]
    _, err = train(run, "--task classify", data="d.npz --target two", code=1)
    assert "(4, 2)" in err


def test_files_are_not_replaced_unasked(run, circle):
    Path("model.npz").write_text("mine")
    _, err = train(run, code=1)
    assert "model.npz exists" in err
    assert "--force" in err
    assert Path("model.npz").read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("predict none.npz more.csv", 1, ["none.npz: No such file"]),
        ("predict data.npz more.csv", 1, ["data.npz", "no file of lysep_fast"]),
        ("predict model.npz none.csv", 1, ["none.csv: No such file"]),
        ("predict model.npz more.csv --out p.txt", 2, ["p.txt", ".csv, .npz, .npy"]),
        ("predict model.npz more.npz --out more.npz", 2, ["more.npz is read"]),
        ("predict model.npz more.npz --out ./model.npz", 2, ["model.npz is read"]),
        ("predict model.npz more.csv --out no/p.csv", 1, ["No such file"]),
        ("predict model.npz cube.npy", 1, ["images", "rows of 2"]),
        ("predict model.npz", 2, ["DATA"]),
        ("info model.npz more.csv", 2, ["more.csv"]),
        ("info data.csv", 1, ["data.csv", "no zip archive"]),
        ("info .", 1, ["Is a directory"]),
        ("bench --threads 0", 2, ["--threads"]),
    ],
)
def test_wrong_files_and_options(run, circle, line, code, words):
    train(run)
    np.save("cube.npy", np.zeros((2, 3, 4)))
    before = Path("model.npz").read_bytes()
    out, err = run(line, code)
    assert all(word in err for word in words), err
    assert "Traceback" not in err
    assert out == ""
    assert Path("model.npz").read_bytes() == before


def test_too_little_memory_is_told(run, circle, monkeypatch):
    def exhausted(*arguments, **more):
        raise MemoryError("8 GiB")

    monkeypatch.setattr(train_command, "train", exhausted)
    assert "not enough memory (8 GiB)" in train(run, code=1)[1]


@pytest.mark.parametrize(
    ("predicted", "y", "classes", "words"),
    [
        (np.array([1, 2, 3, 4]), np.array([1.0, 2.0, 3.0, 5.0]), True, "accuracy 75.00 %"),
        (np.array(["7", "a"]), np.array([7, 8]), True, "accuracy 50.00 %"),
        (np.array([1.0, 3.0]), np.array([1, 2]), False, "R^2 -1.0000"),
        (np.array([1.0, 3.0]), np.array([2, 2]), False, "root mean square error 1"),
    ],
)
def test_scores(predicted, y, classes, words):
    assert score(predicted, y, classes=classes).startswith(words)


@pytest.mark.parametrize(
    ("predicted", "y", "classes"),
    [
        (np.zeros(2), np.zeros((2, 1)), True),
        (np.zeros(2), np.zeros((2, 1)), False),
        (np.zeros(2), np.array(["a", "b"]), False),
    ],
)
def test_scores_need_matching_targets(predicted, y, classes):
    with pytest.raises(Exception, match="the target has"):
        score(predicted, y, classes=classes)


# --- info --------------------------------------------------------------------------------------


def test_info(run, circle):
    train(run, "--hidden 8,4 --no-early-stopping")
    text, _ = run("info model.npz")
    lines = dict(line.split(":", 1) for line in text.splitlines())
    said = {name: value.strip() for name, value in lines.items()}
    assert said["network"] == "dense: 2 -> 8, tanh, dense: 8 -> 4, tanh, dense: 4 -> 2"
    assert said["parameters"] == str(2 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2)
    assert said["classes"] == "in, out"
    assert said["columns"] == "x, y"
    assert said["read as"] == "lysep_fast.LySepClassifier"
    assert said["message"] == lysep_fast.Status.MAX_ITER.message
    found = json.loads(run("info model.npz --json")[0])
    result = lysep_fast.load("model.npz", as_result=True)
    assert found["loss"] == result.history[result.best_iter].loss
    assert found["validation loss"] is None
    assert found["classes"] == ["in", "out"]
    assert found["sweeps"] == 15


def test_info_finds_a_changed_bit(run, circle):
    train(run)
    content = bytearray(Path("model.npz").read_bytes())
    content[len(content) // 2] ^= 1
    Path("model.npz").write_bytes(content)
    out, err = run("info model.npz", code=1)
    assert "model.npz is damaged" in err
    assert out == ""


def test_info_of_results_and_of_many_labels(run):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)), np.arange(90) % 30
    lysep_fast.train(X, y, max_iter=1, random_state=0).save("r.npz")
    out, _ = run("info r.npz")
    assert "lysep_fast.Result" in out
    assert "9, 10, 11 and 18 more" in out
    np.save("x.npy", X)
    predicted, _ = run("predict r.npz x.npy")
    assert len(predicted.split()) == 91


def test_info_of_a_differential_equation(run):
    problem = pde.Problem(pde.Box(-1, 1, 1), pde.Operator(-1.0), 1.0, boundary=0.0)
    solution = pde.solve(problem, hidden_layer_sizes=(6,), max_iter=2, random_state=0)
    solution.save("s.npz")
    found = json.loads(run("info s.npz --json")[0])
    assert found["widths"] == [1, 6]
    assert found["read as"] == "lysep_fast.pde.Solution"
    assert found["loss"] == solution.history[solution.best_iter].loss
    assert "differential equation" in run("predict s.npz x.csv", code=1)[1]


# --- bench -------------------------------------------------------------------------------------


def test_bench_prints_what_it_measures(run, monkeypatch):
    monkeypatch.setattr(bench, "_SECONDS", 0.0)
    monkeypatch.setattr(bench, "_ENTRIES", 25_600 if JIT_ENABLED else 1000)
    monkeypatch.setattr(bench, "_SAMPLES", 60)
    monkeypatch.setattr(bench_training, "_PASSES", 3)
    found = json.loads(run("bench --json")[0])
    assert found["environment"]["versions"]["lysep_fast"] == lysep_fast.__version__
    assert {own["dtype"] for own in found["kernels"]} == {"float64", "float32"}
    assert all(own["lysep_fast"] > 0 and own["numpy"] > 0 for own in found["kernels"])
    ours = found["training"][0]
    assert ours["method"] == "lysep_fast"
    assert ours["ours"] > 0
    text, err = run("bench")
    assert "ns per entry" in text
    assert "2-50-50-2" in text
    assert "do not work on this machine" in err


def test_bench_tasks_compute_the_same():
    """A comparison of different things would be worth nothing."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 10)), rng.integers(0, 10, 30)
    for tasks, names in (
        (bench._tanh_tasks(X), "SD"),
        (bench._sigmoid_tasks(X), "SD"),
        (bench._softmax_tasks(X, y), "G"),
    ):
        outputs = []
        for task in tasks:
            cells = dict(zip(task.__code__.co_freevars, task.__closure__, strict=True))
            for name in names:
                cells[name].cell_contents.fill(np.nan)
            task()
            outputs.append([cells[name].cell_contents.copy() for name in names])
        assert np.all(np.isfinite(outputs))
        np.testing.assert_allclose(*outputs, rtol=1e-10, atol=1e-14)


def test_bench_reports_when_a_loss_was_reached():
    curve = [(0.0, 2.0), (1.0, 1.0), (2.0, 0.5)]
    assert bench._reached(curve, 1.0) == 1.0
    assert bench._reached(curve, 0.1) is None
    runs = [bench_training.Run("other", 3.0, 0.1, 0.5)]
    assert "not reached" in bench._training_table(runs, curve)


def test_bench_leaves_torch_as_it_was():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), torch.random.get_rng_state()
    X, y = make_circle(50, random_state=0)
    (own,) = bench_training.train_torch(bench_training.Split(X, y, X, y), (4,), 1)
    assert own.accuracy > 0.5
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


# --- processes ---------------------------------------------------------------------------------


def start(line, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "lysep_fast", *line.split()],
        env=os.environ | {"PYTHONPATH": PACKAGES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_a_reader_that_has_seen_enough_is_no_error(run, circle):
    train(run)
    np.save("long.npy", np.tile(circle[0], (500, 1)))
    with start("predict model.npz long.npy --proba") as process:
        assert process.stdout.readline().startswith("prediction")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_in_a_process(circle):
    line = "train data.csv --target place --out model.npz --max-iter 100000000 --quiet "
    with start(
        line + "--solver alternating --threads 1 --no-early-stopping "
        "--checkpoint c.npz --checkpoint-every 1",
        preexec_fn=global_state.heed_ctrl_c,
    ) as process:
        written = set()  # before the first sweep, and after every one
        while len(written) < 3:
            assert process.poll() is None
            time.sleep(0.01)
            if Path("c.npz").exists():
                written.add(Path("c.npz").stat().st_mtime_ns)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert lysep_fast.load("model.npz", as_result=True).n_iter > 0


def test_a_terminal_without_the_letters_of_a_label(run, circle, monkeypatch):
    model = Model(lysep_fast.load(_trained(run), as_result=True), np.array(["é", "ü"]))
    from lysep_fast.commands import predict

    monkeypatch.setattr(predict, "read_model", lambda *_: model)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert cli.main(["predict", "model.npz", "more.npz"]) == 1
    assert cli.main(["predict", "model.npz", "more.npz", "--out", "p.csv"]) == 0
    assert "é" in Path("p.csv").read_text(encoding="utf-8")


def _trained(run):
    train(run)
    return "model.npz"


# --- the guide ---------------------------------------------------------------------------------


def test_examples_of_the_guide(run):
    """Every line of the guide works, in its order, on a table of its names."""
    rng = np.random.default_rng(0)
    for name in ("flowers", "new", "test"):
        kinds = rng.integers(0, 2, 80)
        columns = [*(rng.normal(size=(2, 80)) + 3 * kinds), np.array(["rose", "lily"])[kinds]]
        write_csv(f"{name}.csv", ["long", "wide", "kind"], columns)
    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("lysep-fast ")]
    assert len(lines) == 7
    for line in lines:
        command = line.removeprefix("lysep-fast ")
        if command != "bench":  # has a test of its own
            run(command)
    assert len(Path("predictions.csv").read_text().split()) == 81


def test_a_closed_pipe_leaves_the_stdout_of_the_caller_alone(run, circle, monkeypatch):
    train(run)

    def closed(*arguments, **more):
        raise BrokenPipeError

    before = sys.stdout
    monkeypatch.setattr("builtins.print", closed)
    assert cli.main(["info", "model.npz"]) == 0
    assert sys.stdout is before


def test_of_equal_probabilities_the_larger_logit_is_predicted():
    b = [np.empty(0), np.array([0.0, np.finfo(float).eps / 8])]
    W = [np.empty((0, 0)), np.zeros((2, 3))]
    result = lysep_fast.Result(lysep_fast.network.Network.dense((3, 2), output_bias=True), W, b)
    X = np.ones((4, 3))
    predicted, proba = Model(result, np.array(["a", "b"])).predict(X)
    assert np.all(proba == 0.5)
    assert predicted.tolist() == ["b"] * 4
    np.testing.assert_array_equal(result.predict(X), np.ones(4))
