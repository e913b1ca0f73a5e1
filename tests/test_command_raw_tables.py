"""`lysep-fast` on tables as they come: the encoding is learned, kept, shown and used again."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import lysep_fast
from lysep_fast import cli
from lysep_fast.commands.tables import read_table
from lysep_fast.kernels._jit import JIT_ENABLED

pandas = pytest.importorskip("pandas")

# Folds take plain Python minutes.
SHORT = "--hidden 4 --max-iter 3 --seed 1 --threads 1" + (
    "" if JIT_ENABLED else " --no-early-stopping"
)
N, FORM = 60, "%d.%m.%Y %H:%M"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command; return what it prints to stdout and stderr."""

    def call(line, code=0):
        found = cli.main(line.split())
        out, err = capsys.readouterr()
        assert found == code, (found, out, err)
        assert "Traceback" not in err
        return out, err

    return call


def frame(seed=0):
    """Return a table of everything, whose target is learned from the kind."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["red", "green", "blau"], N)
    found = pandas.DataFrame(
        {
            "id": [f"row {i}" for i in range(N)],
            "size": rng.normal(size=N) * 1000,
            "kind": kind,
            "when": pandas.date_range("2021-03-01", periods=N, freq="9h").strftime(FORM),
            "ok": rng.random(N) < 0.5,
            "price": [f"{v:.2f}".replace(".", ",") for v in rng.normal(size=N)],
            "unit": "kg",
            "t": np.where(kind == "red", "yes", "no"),
        }
    )
    found.loc[3, "size"] = np.nan
    found.loc[4, "kind"] = "?"
    return found


@pytest.fixture
def raw():
    table = frame()
    table.to_csv("raw.csv", index=False, sep=";", encoding="utf-16")
    return table


def train(run, more="", data="raw.csv", code=0):
    return run(f"train {data} --target t --out model.npz {SHORT} {more}", code)


def test_the_same_raw_file_in_any_order_gives_the_same_bits(run, raw):
    _, err = train(run)
    assert "60 rows, 7 inputs; 2 classes (the target holds strings)" in err
    assert "column 'id': 60 different texts in 60 rows" in err
    assert "encoded as 12 columns of numbers" in err
    expected = run("predict model.npz raw.csv --proba")[0]
    assert set(line.split(",")[0] for line in expected.split()[1:]) <= {"yes", "no"}
    turned = raw[["unit", "t", "when", "price", "ok", "kind", "size"]].assign(more="x")
    turned.to_csv("turned.csv.xz", index=False)
    turned.drop(columns=["t", "unit"]).to_csv("bare.csv", index=False, encoding="latin-1")
    for name in ("turned.csv.xz", "bare.csv"):
        assert run(f"predict model.npz {name} --proba")[0] == expected


def test_loading_gives_the_estimator_and_its_encoder(run, raw):
    pytest.importorskip("sklearn")
    train(run)
    run("predict model.npz raw.csv --proba --out p.npy")
    model = lysep_fast.load("model.npz")
    assert type(model) is lysep_fast.LySepClassifier
    encoder = model.encoder_
    assert type(encoder) is lysep_fast.TableEncoder
    assert encoder.feature_names_in_.tolist() == [name for name in raw if name != "t"]
    X = encoder.transform(raw.drop(columns="t"))  # a frame, whose names the model knows
    assert X.columns.tolist() == model.feature_names_in_.tolist()
    assert model.predict_proba(X).tobytes() == np.load("p.npy").tobytes()
    model.save("again.npz")
    assert run("predict again.npz raw.csv")[0] == run("predict model.npz raw.csv")[0]


def test_an_encoder_of_python_makes_a_model_for_the_command_line(run, raw):
    pytest.importorskip("sklearn")
    encoder = lysep_fast.TableEncoder().set_output(transform="pandas")
    X = encoder.fit_transform(raw[["size", "kind", "when"]])
    model = lysep_fast.LySepClassifier((4,), max_iter=400, random_state=0, n_threads=1)
    model.fit(X, raw["t"])
    model.encoder_ = encoder
    model.save("model.npz")
    expected = ["prediction", *model.predict(X)]
    assert run("predict model.npz raw.csv --inputs size,kind,when")[0].split() == expected
    assert run("predict model.npz raw.csv")[0].split() == expected


def test_info_shows_the_encoding(run, raw):
    train(run, "--max-categories 1")
    text = run("info model.npz")[0]
    assert "version 2" in text
    for line in (
        "  id: left out: identifiers or free text, which hardly repeat",
        "  size: a number, gaps filled with ",
        "  kind: a category: ",
        "  when: a date written as %d.%m.%Y %H:%M: seconds, ",
        "  ok: a number, ",
        "  price: a number written with comma, ",
        "  unit: left out: it holds 'kg' in every row",
    ):
        assert f"\n{line}" in text
    found = json.loads(run("info model.npz --json")[0])
    assert found["encoding"]["kind"].endswith("one column for all others, one column for gaps")
    assert found["columns"] == ["id", "size", "kind", "when", "ok", "price", "unit"]


def test_rows_without_a_target(run, raw):
    raw["t"] = raw["t"].where(raw.index % 10 > 0, "?")
    raw.to_csv("gaps.csv", index=False)
    out, err = train(run, "--validation gaps.csv", data="gaps.csv")
    assert "gaps.csv: 6 of 60 rows have no target and are left out\n" in err
    assert "54 rows, 7 inputs; 2 classes" in err
    out, err = run("predict model.npz gaps.csv --target t")
    assert len(out.split()) == 61
    assert "6 of 60 rows have no target and are left out of the score" in err
    said = np.array(out.split()[1:])[raw["t"] != "?"]
    accuracy = np.mean(said == raw["t"][raw["t"] != "?"])
    assert f"accuracy {100 * accuracy:.2f} %" in err


def test_forty_whole_numbers_in_120_rows_are_amounts(run):
    rows = "".join(f"{i % 7},{i % 40}\n" for i in range(120))
    Path("raw.csv").write_text("x,t\n" + rows)
    assert "regression (40 different whole numbers in 120 rows" in train(run)[1]
    assert "40 classes (as asked)" in train(run, "--task classify --force")[1]


def test_tables_without_names_go_by_order(run, raw):
    raw.drop(columns="id").to_csv("raw.csv", index=False, header=False, sep=";")
    run(f"train raw.csv --target -1 --out model.npz {SHORT} --no-header --quiet")
    expected = run("predict model.npz raw.csv --no-header --target -1")[0]
    raw.drop(columns=["id", "t"]).to_csv("bare.csv", index=False)
    assert run("predict model.npz bare.csv")[0] == expected
    _, err = run("predict model.npz raw.csv --no-header", code=1)
    assert "has 7 input columns, but the model was trained with 6" in err
    assert "(--target names one that is no input)" in err
    if "sklearn" in sys.modules:
        model = lysep_fast.load("model.npz")
        X = model.encoder_.transform(raw.drop(columns=["id", "t"]))
        assert type(X) is np.ndarray
        assert model.predict(X).tolist() == expected.split()[1:]


def test_arrays_go_by_order_too(run):
    X = np.random.default_rng(0).normal(size=(40, 3))
    table = pandas.DataFrame(X, columns=list("abc")).assign(t=X[:, 0] > 0)
    table.to_csv("raw.csv", index=False)
    train(run)
    np.save("x.npy", X)
    assert run("predict model.npz x.npy")[0] == run("predict model.npz raw.csv")[0]
    table.assign(a=pandas.date_range("2020-01-01", periods=40)).to_csv("raw.csv", index=False)
    train(run, "--force")
    _, err = run("predict model.npz x.npy", code=1)
    assert "x.npy: column 'a' held dates in the training and holds numbers now" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns=["kind", "ok"]), ["lacks 2 of the 5 columns", "'kind', 'ok'"]),
        (lambda t: t.assign(price="1,500.5"), ["column 'price': numbers were written as"]),
        (
            lambda t: t.assign(when="2020-01-31"),
            ["column 'when': dates were written as"],
        ),
    ],
)
def test_tables_that_do_not_fit_the_model(run, raw, change, words):
    train(run)
    change(raw).to_csv("other.csv", index=False, sep=";")
    _, err = run("predict model.npz other.csv", code=1)
    assert all(word in err for word in words), err


def test_cells_that_cannot_be_read_are_gaps_and_it_is_said(run, raw):
    train(run)
    raw["size"] = ["unknown", "inf", *raw["size"].astype(str)[2:]]
    raw["when"] = ["unknown", *raw["when"][1:]]
    raw.to_csv("other.csv", index=False)
    out, err = run("predict model.npz other.csv")
    assert len(out.split()) == 61
    assert "warning" not in err
    assert "column 'size': what is no number is taken as a gap: 'unknown'" in err
    assert "column 'size': 1 infinite numbers are taken as gaps" in err
    assert "column 'when': what is no date (%d.%m.%Y %H:%M) is taken as a gap: 'unknown'" in err


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        ("x,t\n1,a\n1,b\n", "", "raw.csv: no column of the table can be used"),
        ("x,t\n1e39,a\n1,b\n", "--float32", "too large for --float32"),
        ("x,t\n1,?\n2,NA\n", "", "the target is missing in every row"),
        ("x,t\n1,a\nb,b\n", "--conv 2 --image-shape 1,1", "line 3, column 'x': 'b' is not a"),
        ("x,t\n,a\n2,b\n", "--conv 2 --image-shape 1,1", "line 2, column 'x': the value is mis"),
        ("x,t\n2020-01-01,a\n2,b\n", "--conv 2 --image-shape 1,1", "line 2, column 'x'"),
    ],
)
def test_tables_that_cannot_be_learned(run, content, more, words):
    Path("raw.csv").write_text(content)
    assert words in train(run, more, code=1)[1]
    assert not Path("model.npz").exists()


def test_models_of_arrays_take_tables_of_numbers_only(run):
    X = np.random.default_rng(0).normal(size=(40, 2))
    np.savez("x.npz", X=X, t=X[:, 0] > 0)
    train(run, data="x.npz")
    pandas.DataFrame(X).to_csv("x.csv", index=False, header=False)
    assert run("predict model.npz x.csv")[0] == run("predict model.npz x.npz")[0]
    Path("bad.csv").write_text("1,2\n3,?\n")
    _, err = run("predict model.npz bad.csv", code=1)
    assert "bad.csv, line 2, column 1: the value is missing" in err
    table = read_table(Path("x.csv"))
    table.X[0] = pandas.date_range("2020-01-01", periods=40)
    with pytest.raises(Exception, match="dates are no numbers"):
        table.numbers()


def test_without_pandas(run, raw, monkeypatch):
    train(run)
    np.savez("x.npz", X=np.eye(4), t=np.arange(4) % 2)
    run(f"train x.npz --target t --out plain.npz {SHORT}")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert "pip install 'lysep_fast[table]'" in run("predict model.npz raw.csv", code=1)[1]
    assert "kind: a category" in run("info model.npz")[0]
    assert len(run("predict plain.npz x.npz")[0].split()) == 5
