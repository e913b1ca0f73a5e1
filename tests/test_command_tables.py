"""Reading tables for the command line: what is understood, and what is refused with its place."""

import gzip
import io
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lysep_fast.commands.columns import column_number
from lysep_fast.commands.messages import CommandError
from lysep_fast.commands.tables import read_table
from lysep_fast.commands.targets import choose_task

pytest.importorskip("pandas")

PLAIN = "a,b,kind\n1,2.5,cat\n-3e1,4,dog\n"


@pytest.fixture
def table(tmp_path):
    """Write text or bytes to a file and read it."""

    def read(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, **options)

    return read


def refusal(table, content, *words, numbers=False, **options):
    """Return the message, which has to contain all words."""

    def read():
        found = table(content, **options)
        return found.numbers() if numbers else found

    with pytest.raises(CommandError) as caught:
        read()
    message = str(caught.value)
    assert all(word in message for word in words), message
    return message


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", " "),
        PLAIN.replace(",", ", "),
        '"a","b","kind"\n"1","2.5","cat"\n\n"-3e1","4","dog"\n\n',
        "a;b;kind\n1;2.5;cat\n-3e1;4;dog\n",
    ],
)
def test_the_same_table_in_many_dresses(table, content):
    found = table(content, target="kind")
    assert found.numbers().tolist() == [[1.0, 2.5], [-30.0, 4.0]]
    assert found.numbers().dtype == np.float64
    assert found.names == ["a", "b"]
    assert found.y.tolist() == ["cat", "dog"]


def test_gzip_tsv_and_single_precision(table):
    found = table(gzip.compress(PLAIN.encode()), "t.csv.gz", target="kind").numbers(np.float32)
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, 2.5], [-30.0, 4.0]]
    tabs = table(PLAIN.replace(",", "\t"), "t.tsv", target="kind")
    np.testing.assert_array_equal(tabs.numbers(), found)


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(table):
    content = 'x,"a ""name"", long",y\n1,2,"one,\ntwo"\n3,4,"a ""b"""\n5,bad,c\n'
    options = {"target": "y", "delimiter": ",", "numbers": True}
    refusal(table, content, "line 5", "'a \"name\", long'", "'bad'", **options)
    found = table(content.replace("bad", "6"), target="y", delimiter=",")
    assert found.names == ["x", 'a "name", long']
    assert found.y.tolist() == ["one,\ntwo", 'a "b"', "c"]


@pytest.mark.parametrize(
    ("target", "inputs", "names"),
    [
        ("b", None, ["a", "kind"]),
        ("1", None, ["a", "kind"]),
        ("-2", None, ["a", "kind"]),
        ("a", "kind,b", ["kind", "b"]),
        ("-1", "1", ["b"]),
        (None, None, ["a", "b", "kind"]),
    ],
)
def test_columns_by_name_and_number(table, target, inputs, names):
    columns = {"a": [1.0, 4.0], "b": [2.0, 5.0], "kind": [3.0, 6.0]}
    found = table("a,b,kind\n1,2,3\n4,5,6\n", target=target, inputs=inputs)
    assert found.names == names
    assert found.numbers().T.tolist() == [columns[name] for name in names]


def test_a_name_comes_before_a_number():
    assert column_number(Path("f"), "1", ["x", "y", "1"], 3) == 2
    assert column_number(Path("f"), "1", ["x", "y", "z"], 3) == 1
    assert column_number(Path("f"), "-3", None, 3) == 0


@pytest.mark.parametrize(
    ("content", "options", "has_names"),
    [
        ("1,2\n3,4\n", {}, False),
        ("a,b\n3,4\n", {}, True),
        ("5.1,setosa\n4.9,setosa\n", {}, False),
        ("?,1,setosa\n4.9,2,setosa\n", {}, False),
        ("0,1,y\n5,6,cat\n", {"target": "y"}, True),  # a name is of use with a header only
        ("0,1\n5,6\n", {"header": True}, True),
        ("5,6\n", {}, False),
    ],
)
def test_header(table, content, options, has_names):
    options = {"target": "-1"} | options
    found = table(content, **options)
    lines = content.split()
    assert (found.names is not None) == has_names
    assert len(found.X) == len(lines) - has_names


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("0 1 -5", "i", [0, 1, -5]),
        ("1.0 2 3", "f", [1.0, 2.0, 3.0]),
        ("1e3 2", "f", [1000.0, 2.0]),
        ("007 7 +1", "U", ["007", "7", "+1"]),
        ("a b a", "U", ["a", "b", "a"]),
        ("7 yes no", "U", ["7", "yes", "no"]),
        ("99999999999999999999 1", "f", [1e20, 1.0]),
        ("1,5 2", "f", [1.5, 2.0]),
        ("1.234,5 2 -0,5", "f", [1234.5, 2.0, -0.5]),
        ("True False", "U", ["True", "False"]),
        ("none None", "U", ["none", "None"]),  # as Excel's and R's tables call a class
    ],
)
def test_kind_of_the_target(table, text, kind, values):
    rows = "".join(f"{i};{label}\n" for i, label in enumerate(text.split()))
    found = table("x;t\n" + rows, target="t")
    assert found.y.dtype.kind == kind
    assert found.y.tolist() == values


#: What a model that takes numbers refuses, and an encoder takes.
NO_NUMBERS = [
    ("a,b,t\n1,2,x\n1,,x\n", ["line 3", "'b'", "missing"]),
    ("a,b,t\n1,2,x\n\n1,NA,x\n", ["line 4", "'b'", "missing"]),
    ("a,b,t\n1,2,x\n\n1,big,x\n", ["line 4", "'b'", "'big'", "--inputs"]),
    ("a,b,t\n1,nan,x\n", ["line 2", "'b'", "missing"]),
    ("a,b,t\n1,2,x\n-inf,2,x\n", ["line 3", "'a'", "-inf"]),
    ("a,b,t\n1,2,x\n1e999,2,x\n", ["line 3", "'a'", "inf"]),
    ("a;b;t\n1,5;2;x\n", ["line 2", "'1,5'", "point"]),
    ("a,b,t\n1,2,caf\xe9\n1,caf\xe9,x\n".encode("latin-1"), ["line 3", "'caf\xe9'"]),
]


@pytest.mark.parametrize(("content", "words"), NO_NUMBERS)
def test_what_is_no_number_is_refused_with_its_place_where_numbers_are_needed(
    table, content, words
):
    refusal(table, content, "t.csv", *words, target="t", numbers=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,t\n1,2,x\n1,2\n", ["line 3", "2 columns", "3"]),
        ("a,b,t\n1,2,x\n1,2,x,\n", ["line 3", "4 columns"]),
        ("a,b,t\n1,2,NA\n1,2,\n", ["'t'", "target is missing in every row"]),
        ("a,b,t\n1,2,3\n1,2,4\n1,2,inf\n", ["line 4", "'inf'", "not a finite number"]),
        ("a,b,t\n1,2,3\n1,2,4\n1,2,1e999\n", ["line 4", "'1e999'"]),
        ("a,b,t\n1,2,3\n1,2,4\n1,2,cat\n", ["line 4", "'cat'", "not a finite number"]),
        ("a,a,t\n1,2,3\n", ["line 1", "'a'", "two columns", "--no-header"]),
        ("a,b,u\n1,2,3\n", ["'t'", "'a', 'b', 'u'"]),
        ("a,b,t\n", ["no rows"]),
        ("\n \n", ["empty"]),
        ('""\n', ["empty"]),
        ("", ["empty"]),
        ("t\n1\n2\n", ["no column beside the target", "--delimiter"]),
        ('a,b,t\n1,"2"3,x\n', ["line 2", "quotes"]),
        ('a,b,t\n1,2,"x\n', ["line 2", "quotes"]),
        (b"a,b,t\n1,2,\0\n", ["zero bytes", ".npz"]),
        ("a,b,t\n1,2,\0\n".encode("utf-16"), ["line 2", "zero character"]),
        ("a,b,t\n1,2,x\n".encode("utf-16")[:-1], ["utf-16", "truncated"]),
    ],
)
def test_what_is_refused_names_the_place(table, content, words):
    refusal(table, content, "t.csv", *words, target="t")


def test_rows_without_a_target_are_left_out(table):
    found = table("a,t\n1,3\n2,NA\n3,?\n\n4,5\n", target="t").with_targets()
    assert found.numbers().tolist() == [[1.0], [4.0]]
    assert found.y.tolist() == [3, 5]
    assert list(found.lines) == [2, 6]
    assert found.remarks == ["2 of 4 rows have no target and are left out"]
    whole = table("a,t\n1,3\n", target="t")
    assert whole.with_targets() is whole


@pytest.mark.parametrize("start", [0, 1])
def test_an_index_without_a_name_is_left_out(table, start):
    rows = "".join(f"{i},{i * i},x\n" for i in range(start, start + 4))
    found = table(",a,t\n" + rows, target="t")
    assert found.names == ["a"]
    assert "numbers the rows" in found.remarks[0]
    assert table("n,a,t\n" + rows, target="t").names == ["n", "a"]
    assert table(",a,t\n" + rows, target="t", inputs="0,1").names == ["column 0", "a"]
    assert table(",a,t\n5,1,x\n" + rows, target="t").names == ["column 0", "a"]


@pytest.mark.parametrize(
    ("n_rows", "n_different", "task"),
    [
        (120, 40, "regress"),
        (90, 10, "classify"),
        (1000, 21, "regress"),
        (1000, 20, "classify"),
        (14, 3, "regress"),
        (15, 3, "classify"),
        (3, 2, "classify"),
    ],
)
def test_whole_numbers_are_classes_if_few_have_many_rows(n_rows, n_different, task):
    found, why = choose_task(np.arange(n_rows) % n_different, n_different)
    assert found == task
    assert "whole numbers" in why


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "3"}, ["no column 3", "0 to 2"]),
        ({"target": "-4"}, ["no column -4"]),
        ({"target": "2", "inputs": "0,2"}, ["among the inputs"]),
        ({"target": "2", "inputs": "0,0"}, ["twice"]),
        ({"target": "t", "header": False}, ["no column 't'", "no header"]),
    ],
)
def test_columns_that_are_not_there(table, options, words):
    refusal(table, "1,2,3\n4,5,6\n", *words, **options)


def test_a_first_line_that_may_be_either_is_asked_about(table):
    content = "NA,1,2\n5,3,4\n"
    refusal(table, content, "line 1", "'NA'", "--header or --no-header", target="-1")
    assert np.isnan(table(content, target="-1", header=False).X.iloc[0, 0])
    assert table(content, target="-1", header=True).names == ["NA", "1"]
    years = "land,2019,2020\nFrance,5,6\nSpain,7,8\n"
    refusal(table, years, "line 1", "'land'", "--header or --no-header", target="-1")
    assert table(years, target="2020").names == ["land", "2019"]


def test_wanted_columns_are_found_by_name_in_any_order(table):
    content = "c,extra,a\n1,x,2\n3,y,4\n"
    found = table(content, wanted=["a", "c"])
    assert found.numbers().tolist() == [[2.0, 1.0], [4.0, 3.0]]
    refusal(table, content, "lacks 2 of the 3", "'b', 'd'", "'extra'", wanted=["a", "b", "d"])
    # Without a header there is only the order.
    assert table("1,2\n3,4\n", wanted=["a", "c"]).numbers().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    # Names of columns may look like numbers.
    assert table("1,0\n3,4\n", wanted=["0", "1"]).numbers().tolist() == [[4.0, 3.0]]


def test_damaged_gzip_and_unknown_suffixes(table):
    packed = gzip.compress(PLAIN.encode() * 100)
    refusal(table, packed[:-20], "t.csv.gz", "damaged", name="t.csv.gz", target="kind")
    for suffix in ("gz", "bz2", "xz", "zip"):
        name = f"t.csv.{suffix}"
        refusal(table, b"not packed at all", name, "damaged", name=name, target="kind")
    refusal(table, PLAIN, "'.xls'", ".npz", name="t.xls", target="kind")


def test_random_bytes_are_refused_or_read(table):
    """Nothing but messages, whatever stands in the file."""
    rng = random.Random(0)
    alphabet = [*'0123456789.,;\t\n"-eE naN', "\r\n", "é", "\0", "x"]
    refused = 0
    for _ in range(300):
        text = "".join(rng.choices(alphabet, k=rng.randrange(1, 60)))
        try:
            found = table(text, target="-1")
            assert len(found.X) == len(found.y) == len(found.lines)
            X = found.numbers()
        except CommandError:
            refused += 1
        else:
            assert np.all(np.isfinite(X))
    assert 0 < refused < 300


def test_memory_is_that_of_the_numbers(table):
    n = 20_000
    content = "a,b,c,d,t\n" + "0.123456789,1.5,-2.25,1e-3,name\n" * n
    table(content, target="t")
    tracemalloc.start()
    try:
        found = table(content, target="t")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    own = found.X.memory_usage(deep=False).sum() + found.y.nbytes
    text = len(content)  # encoded by the fixture
    assert peak < 2 * own + 2 * text, (peak, own, text)


# --- arrays ------------------------------------------------------------------------------------


def packed(save, *arguments, **arrays):
    file = io.BytesIO()
    save(file, *arguments, **arrays)
    return file.getvalue()


def test_npz_takes_arrays_by_name(table):
    X, y, z = np.arange(6).reshape(3, 2), np.array([0, 1, 0]), np.array(["a", "b", "a"])
    content = packed(np.savez_compressed, X=X, y=y, z=z, Q=2 * X)
    found = table(content, "t.npz", target="z", inputs="Q")
    np.testing.assert_array_equal(found.X, 2 * X)
    assert found.y.tolist() == ["a", "b", "a"]
    assert table(content, "t.npz").y is None
    refusal(table, content, "no array 'w'", "'X', 'y', 'z', 'Q'", name="t.npz", target="w")
    refusal(table, content, "no array 'w'", "--inputs", name="t.npz", inputs="w")


def test_npy_takes_columns_by_number(table):
    content = packed(np.save, np.arange(12.0).reshape(3, 4))
    found = table(content, "t.npy", target="-1", inputs="2,0")
    assert found.X.tolist() == [[2.0, 0.0], [6.0, 4.0], [10.0, 8.0]]
    assert found.y.tolist() == [3.0, 7.0, 11.0]
    assert table(content, "t.npy").X.shape == (3, 4)
    refusal(table, content, "no column 'y'", name="t.npy", target="y")
    cube = packed(np.save, np.zeros((2, 3, 4)))
    refusal(table, cube, "(2, 3, 4)", name="t.npy", target="0")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": np.array([["a"]]), "y": np.zeros(1)}, ["dtype <U1"]),
        ({"X": np.zeros((2, 2), complex), "y": np.zeros(2)}, ["complex128"]),
        ({"X": np.zeros(3), "y": np.zeros(3)}, ["(3,)"]),
        ({"X": np.zeros((0, 3)), "y": np.zeros(0)}, ["(0, 3)"]),
        ({"X": np.array([[1, np.nan]]), "y": np.zeros(1)}, ["row 0, column 1", "nan"]),
        ({"X": np.zeros((2, 2)), "y": np.zeros(3)}, ["(3,)", "2 rows"]),
        ({"X": np.zeros((2, 2)), "y": np.array([0, np.inf])}, ["row 1", "target is inf"]),
        ({"X": np.zeros((2, 2)), "y": np.array([b"a", b"b"])}, ["|S1"]),
        ({"X": np.array([[None]]), "y": np.zeros(1)}, ["Object arrays", "Python objects"]),
    ],
)
def test_arrays_that_cannot_be_learned(table, arrays, words):
    refusal(table, packed(np.savez, **arrays), "t.npz", *words, name="t.npz", target="y")


@pytest.mark.parametrize("name", ["t.npz", "t.npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"hello"])
def test_damaged_arrays(table, name, content):
    refusal(table, content, name, "cannot be read", name=name)


def test_text_options_do_not_go_with_arrays(table):
    content = packed(np.savez, X=np.zeros((2, 2)))
    refusal(table, content, "--delimiter", name="t.npz", delimiter=";")


def test_a_late_nan_is_found_by_its_row(table):
    X = np.zeros((300_000, 5), np.float32)
    X[299_999, 3] = np.nan
    refusal(table, packed(np.save, X), "row 299999, column 3", name="t.npy")


# --- scaling -----------------------------------------------------------------------------------
