"""Generated tables through encoder and command line: finite predictions, or a clear error."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from lysep_fast import cli
from lysep_fast.commands.tables import read_table
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.load import load
from lysep_fast.tables.encoding import Encoding
from lysep_fast.tables.frames import TableError

pandas = pytest.importorskip("pandas")
hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

try:
    from lysep_fast import TableEncoder
except ImportError:
    TableEncoder = None

#: To make a failing table smaller would take longer than to look at it.
SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [hypothesis.Phase.explicit, hypothesis.Phase.generate],
}
QUICK, ALL = 12, 100

WORDS = ["a", "b", "c", "süß", 'say "x"', "x,y", "x;y", "two\nlines", " b ", "1", "007", "1,5",
         "true", "?", "NA", "", "None", "2020-01-31", "日本", "=1+1", "inf"]  # fmt: skip
FLOATS = st.one_of(
    st.floats(-100, 100), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, 1e30])
)
#: Cells of a column, by what it holds.
CELLS = {
    "floats": FLOATS,
    "integers": st.integers(-5, 5),
    "large integers": st.integers(-(1 << 70), 1 << 70),
    "bools": st.booleans(),
    "bools with gaps": st.sampled_from([True, False, None]),
    "categories": st.sampled_from(["red", "green", "blue", None]),
    "words": st.sampled_from(WORDS),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    "decimal commas": st.sampled_from(["1,5", "-2,25", "3", "1.234,5", "", "?"]),
    "dates": st.datetimes().map(str),
    "days": st.dates().map(lambda day: day.strftime("%d.%m.%Y")),
    "moments": st.datetimes().map(pandas.Timestamp),
    "constant": st.just("same"),
    "nothing": st.just(None),
    "anything": st.one_of(FLOATS, st.sampled_from(WORDS), st.none(), st.booleans(), st.dates()),
}
TARGETS = {
    "floats": st.floats(-100, 100),
    "integers": st.integers(0, 3),
    "words": st.sampled_from(["yes", "no", "perhaps"]),
    "gaps": st.sampled_from(["yes", "no", "", "?"]),
    "bools": st.booleans(),
    "anything": st.one_of(FLOATS, st.sampled_from(WORDS), st.none()),
}
NAMES = st.sampled_from(["a", "b", "c", "größe", "", "1", "a b", "x,y", "weight (kg)", "t2"])


@st.composite
def tables(draw):
    """Draw a frame whose last column is called t; two columns may have the same name."""
    n = draw(st.integers(2, 25))
    columns, names = [], []
    for _ in range(draw(st.integers(1, 5))):
        cells = CELLS[draw(st.sampled_from(sorted(CELLS)))]
        column = pandas.Series(draw(st.lists(cells, min_size=n, max_size=n)), dtype=object)
        if draw(st.booleans()):
            with contextlib.suppress(OverflowError):
                column = column.infer_objects()
        if draw(st.integers(0, 9)) == 0 and column.map(type).isin([str, type(None)]).all():
            column = column.astype("category")
        columns.append(column)
        names.append(draw(NAMES))
    cells = TARGETS[draw(st.sampled_from(sorted(TARGETS)))]
    columns.append(pandas.Series(draw(st.lists(cells, min_size=n, max_size=n)), dtype=object))
    frame = pandas.concat(columns, axis=1)
    unique = draw(st.integers(0, 4)) > 0
    frame.columns = [f"{name}{i}" if unique else name for i, name in enumerate(names)] + ["t"]
    return frame


@st.composite
def dresses(draw):
    """Draw how a table is written."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    return {"sep": separator, "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))}


def said(line):
    """Run a command; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(line)
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def through_the_encoder(frame):
    """Encode a frame in memory, and its first rows, or have a clear error; return whether."""
    notes = []
    try:
        encoding = Encoding.learn(frame, notes.append)
    except TableError:  # the only one that may come; its messages have tests of their own
        return False
    X = encoding.apply(frame, notes.append)
    assert X.shape == (len(frame), encoding.n_outputs)
    assert np.all(np.isfinite(X))
    assert len(set(encoding.feature_names)) == encoding.n_outputs
    again = Encoding.restored(encoding.state())
    assert again.apply(frame, notes.append).tobytes() == X.tobytes()
    part = again.apply(frame.iloc[:2].iloc[:, ::-1], notes.append)
    assert part.tobytes() == X[:2].tobytes()
    for i in range(0, len(frame), 3):  # what a row holds says nothing of what the others do
        assert again.apply(frame.iloc[[i]], notes.append).tobytes() == X[[i]].tobytes()
    if TableEncoder is not None:
        encoder = TableEncoder.of(encoding).set_output(transform="default")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notes above
            assert encoder.transform(frame).tobytes() == X.tobytes()
    return True


def through_the_command_line(frame, dress, folder):
    """Train on a file of a table and predict, or have a clear error; return whether."""
    data, model = folder / "t.csv", folder / "m.npz"
    frame.to_csv(data, index=False, **dress)
    options = ["--hidden", "3", "--max-iter", "2", "--threads", "1", "--target", "t", "--header"]
    if not JIT_ENABLED:  # folds take plain Python minutes
        options.append("--no-early-stopping")
    code, _, err = said(["train", str(data), "--out", str(model), *options])
    if not model.exists():
        assert code == 1
        assert str(data) in err, err
        return False
    assert code == 0, err
    code, _, err = said(["predict", str(model), str(data), "--header"])
    assert code == 0, err
    out_file = folder / "p.npz"
    proba = ["--proba"] if "classes" in said(["info", str(model)])[1].split("\nstatus")[0] else []
    code, _, err = said(
        ["predict", str(model), str(data), "--header", "--out", str(out_file), *proba]
    )
    assert code == 0, err
    found = np.load(out_file)
    numbers = found["probability"] if proba else found["prediction"]
    assert len(numbers) == len(frame)
    assert np.all(np.isfinite(numbers))
    check_the_loaded_model(model, data, found)
    return True


def check_the_loaded_model(model, data, found):
    """The estimator of the file says the same of the table, to the last bit."""
    loaded = load(model, as_result=TableEncoder is None)
    if TableEncoder is None:
        return
    table = read_table(data, header=True, encoding=loaded.encoder_.encoding_)
    X = loaded.encoder_.encoding_.apply(table.X, lambda text: None)
    X = pandas.DataFrame(X, columns=loaded.encoder_.get_feature_names_out())
    if "probability" in found.files:
        assert loaded.predict_proba(X).tobytes() == found["probability"].tobytes()
        assert loaded.predict(X).astype(str).tolist() == found["prediction"].astype(str).tolist()
    else:
        assert loaded.predict(X).tobytes() == found["prediction"].tobytes()


def checked(frame, dress, seen):
    with tempfile.TemporaryDirectory() as name:
        seen["encoder"].append(through_the_encoder(frame.iloc[:, :-1]))
        seen["command"].append(through_the_command_line(frame, dress, Path(name)))


def generated(count):
    """Check that many tables; return how many were encoded, and how many learned."""
    seen = {"encoder": [], "command": []}

    @hypothesis.settings(
        max_examples=count, suppress_health_check=list(hypothesis.HealthCheck), **SETTINGS
    )
    @hypothesis.given(tables(), dresses())
    def check(frame, dress):
        checked(frame, dress, seen)

    check()
    return {name: (sum(own), len(own)) for name, own in seen.items()}


def test_a_few_generated_tables():
    for learned, total in generated(QUICK).values():
        assert 0 < learned <= total


@pytest.mark.slow
def test_a_hundred_generated_tables():
    """Most of them can be learned: a check of errors alone would say little."""
    for learned, total in generated(ALL).values():
        assert total >= ALL
        assert learned > total / 3
