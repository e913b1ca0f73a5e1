"""Tables into numbers: what text means, what is learned of a column, and what it becomes."""

import datetime
import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from lysep_fast.tables.dates import DATE_FORMATS, PARTS, date_format, date_parts, text_seconds
from lysep_fast.tables.encoding import Encoding
from lysep_fast.tables.frames import TableError, as_frame
from lysep_fast.tables.text import GAPS, SPELLINGS, label, number_format, numbers

pandas = pytest.importorskip("pandas")


def learned(columns, **options):
    """Return encoding, numbers and messages of a dict of columns."""
    notes = []
    frame = pandas.DataFrame(columns)
    encoding = Encoding.learn(frame, notes.append, **options)
    return encoding, encoding.apply(frame, lambda text: None), notes


def encoded(column, **options):
    """Return what one column becomes, by the names of its columns of numbers, and the messages."""
    columns = {"x": pandas.Series(column), "other": np.arange(len(column))}
    encoding, A, notes = learned(columns, **options)
    assert encoding.feature_names[-1] == "other"
    found = dict(zip(encoding.feature_names, A.T.tolist(), strict=True))
    del found["other"]
    return found, notes


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "form", "values"),
    [
        (["1", "-2.5", "+.5", "1e3", "7."], "point", [1, -2.5, 0.5, 1000, 7]),
        (["1,5", "-2", ",25", "1,5e2"], "comma", [1.5, -2, 0.25, 150]),
        (["1,234", "999", "1,234,567.5"], "comma between thousands", [1234, 999, 1234567.5]),
        (["1,234", "999"], "comma between thousands", [1234, 999]),
        (["0,123", "1,234"], "comma", [0.123, 1.234]),
        (["1.234,5", "7"], "comma, point between thousands", [1234.5, 7]),
        (["1 234,5", "7"], "comma, space between thousands", [1234.5, 7]),
        (["1\u00a0234.5", "7"], "point, space between thousands", [1234.5, 7]),
        (["1'234", "7"], "point, space between thousands", [1234, 7]),
        (["inf", "-Infinity", "3"], "point", [math.inf, -math.inf, 3]),
    ],
)
def test_numbers_in_the_ways_people_write_them(texts, form, values):
    assert number_format(texts) == (form, len(texts))
    assert numbers(texts, form).tolist() == values


@pytest.mark.parametrize(
    "text", ["1_000", "0x1f", "1.2.3", "1e", "e5", "--1", "1,2,3", "½", "\u0661"]
)
def test_what_is_no_number(text):
    assert number_format([text])[1] == 0
    assert np.isnan(numbers([text], "point")).all()


def test_a_format_reads_plain_numbers_and_truth_values_too():
    assert numbers(["1.5", "TRUE", "False"], "comma").tolist() == [1.5, 1, 0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" a ", "a"), ("?", None), ("", None), (2, "2"), (2.0, "2"), (2.5, "2.5"), (True, "True"),
        (np.bool_(False), "False"), (np.float32(3), "3"), (Decimal("4.0"), "4"),
        (Fraction(1, 4), "0.25"), (float("nan"), None), (float("inf"), "inf"),
        (10**30, "1e+30"),
        ([1], "[1]"), (b"x", "b'x'"),
    ],
)  # fmt: skip
def test_labels(value, text):
    assert label(value) == text


def test_spellings_of_classes_are_fewer_than_those_of_inputs():
    assert SPELLINGS < GAPS
    assert {"None", "-"} <= GAPS - SPELLINGS


# --- dates ---------------------------------------------------------------------------------------

MOMENT = datetime.datetime(2021, 12, 31, 14, 5, 9, 250_000)
EXAMPLES = {
    "ISO8601": "%Y-%m-%dT%H:%M:%S.%f",
}


def test_truth_values_among_numbers_and_text_stay_what_they_are():
    column = pandas.Series([True, 1, 0.0, "no", False, None, True, 1, 0.0, "no"], dtype=object)
    frame = pandas.DataFrame({"a": column})
    encoding = Encoding.learn(frame, lambda text: None)
    whole = encoding.apply(frame, lambda text: None)
    assert len(encoding.feature_names) == 6  # "0", "1", "True" and "no", others, gaps
    for i in range(len(frame)):
        row = encoding.apply(frame.iloc[[i]], lambda text: None)
        np.testing.assert_array_equal(row, whole[[i]])


@pytest.mark.parametrize(
    ("learned", "text", "number"),
    [(["1,5", "2,25"], "1.234,5", 1234.5), (["1.5", "2.25"], "1,234.5", 1234.5)],
)
def test_thousands_that_only_come_later_are_read_where_they_are_clear(learned, text, number):
    frame = pandas.DataFrame({"a": [*learned, learned[0]]})
    encoding = Encoding.learn(frame, lambda text: None)
    later = pandas.DataFrame({"a": [text, learned[0]]})
    found = encoding.apply(later, lambda text: None)
    np.testing.assert_array_equal(found[:, 0], [number, float(learned[0].replace(",", "."))])
    other = pandas.DataFrame({"a": ["1.234,5" if "." in learned[0] else "1,234.5", learned[0]]})
    with pytest.raises(TableError, match="were written as"):
        encoding.apply(other, lambda text: None)


@pytest.mark.parametrize("form", DATE_FORMATS)
def test_every_format_reads_what_it_writes(form):
    pattern = EXAMPLES.get(form, form)
    text = MOMENT.strftime(pattern)
    again = datetime.datetime.strptime(text, pattern)
    (seconds,) = text_seconds([text], form)
    assert date_format([text]) is not None
    if "%Y" in pattern or "%y" in pattern:  # a time without a day gets one from pandas
        assert seconds == (again - datetime.datetime(1970, 1, 1)).total_seconds()


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["2020-02-29", "1999-12-31"], "ISO8601"),
        (["2020-02-29 10:00", "2020-02-29 10:00:00.5", "2020-02-29T10:00:00Z"], "ISO8601"),
        (["03/04/2020", "12/31/2020"], "%m/%d/%Y"),
        (["03/04/2020", "31/12/2020"], "%d/%m/%Y"),
        (["3.4.2020", "31.12.2020"], "%d.%m.%Y"),
        (["Jan 5, 2020", "Feb 7, 2021"], "%b %d, %Y"),
        (["5-Jan-20", "7-Feb-21"], "%d-%b-%y"),
        (["1/2/2020 3:04 PM"], "%m/%d/%Y %I:%M %p"),
        (["2020-01", "2020-12"], "%Y-%m"),
        (["09:30", "23:59"], "%H:%M"),
    ],
)
def test_formats_of_dates_are_recognised(texts, form):
    assert date_format(texts) == form
    assert np.all(np.isfinite(text_seconds(texts, form)))


@pytest.mark.parametrize(
    "texts",
    [
        ["20200131"], ["2020"], ["1.5"], ["43831"], ["12-5"], ["1/2"], ["2020-13-01"],
        ["2021-02-29"], ["2020-01-01", "soon"], ["03/04/2020", "3.4.2020"], ["31/31/2020"],
        ["192.168.10.20"], ["555-1234"], ["May"], ["a-b-c"],
    ],
)  # fmt: skip
def test_numbers_and_other_text_are_no_dates(texts):
    assert date_format(texts) is None


def test_dates_are_taken_apart_as_python_does():
    rng = np.random.default_rng(0)
    seconds = rng.integers(-4_000_000_000, 8_000_000_000, 200).astype(float)
    parts = date_parts(seconds, seconds[0])
    assert tuple(parts) == PARTS
    start = datetime.datetime(1970, 1, 1)
    for i, s in enumerate(seconds):
        t = start + datetime.timedelta(seconds=s)
        expected = (
            s - seconds[0],
            t.year,
            t.month,
            t.day,
            t.weekday(),
            t.hour,
            t.minute,
            t.second,
        )
        assert tuple(part[i] for part in parts.values()) == expected


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ([3, 1, 2], [3, 1, 2]),
        (np.array([3, 1, 2], np.float32), [3, 1, 2]),
        ([True, False, True], [1, 0, 1]),
        (["True", "false", "TRUE"], [1, 0, 1]),
        (["1,5", "2", " 3 "], [1.5, 2, 3]),
        ([Decimal("1.5"), Fraction(1, 2), 3], [1.5, 0.5, 3]),
        (pandas.array([3, 1, 2], "Int64"), [3, 1, 2]),
        (pandas.to_timedelta(["1h", "2h", "1s"]), [3600, 7200, 1]),
        (pandas.arrays.SparseArray([0.0, 1.0, 0.0]), [0, 1, 0]),
    ],
)
def test_numbers_stay_numbers(column, values):
    assert encoded(column) == ({"x": values}, [])


@pytest.mark.parametrize("gap", [None, float("nan"), "NA", "?", "", " ", "n/a", "NULL", "-"])
def test_gaps_are_the_lower_median_and_have_a_column(gap):
    column = [5, gap, 1, 2, 9]
    if isinstance(gap, str):
        column = [gap if value is gap else str(value) for value in column]
    found, notes = encoded(column)
    assert found == {"x": [5, 2, 1, 2, 9], "x=(missing)": [0, 1, 0, 0, 0]}
    assert notes == []


def test_gaps_that_the_training_did_not_have_are_filled():
    encoding, _, _ = learned({"x": [1, 2, 3], "k": ["a", "b", "a"], "d": ["2020-01-01"] * 2 + [
        "2020-01-02"]}, min_frequency=1)  # fmt: skip
    A = encoding.apply(pandas.DataFrame({"x": ["?"], "k": [None], "d": [""]}), pytest.fail)
    assert A.tolist() == [[2, 0, 0, 0, 1, 2]]


def test_infinite_numbers_are_gaps_and_it_is_said():
    found, notes = encoded([1.0, math.inf, -math.inf, 3.0])
    assert found == {"x": [1, 1, 1, 3], "x=(missing)": [0, 1, 1, 0]}
    assert notes == ["column 'x': 2 infinite numbers are taken as gaps"]


def test_a_median_of_huge_numbers_is_finite():
    assert encoded([1.7e308, 1.6e308, None])[0]["x"] == [1.7e308, 1.6e308, 1.6e308]


def test_categories_share_a_column_if_rare_or_unseen():
    column = ["a"] * 5 + ["b"] * 3 + ["c", "d"] + [None]
    found, notes = encoded(column)
    assert list(found) == ["x=a", "x=b", "x=(other)", "x=(missing)"]
    assert np.sum(list(found.values()), axis=0).tolist() == [1] * 11
    assert found["x=(other)"] == [0] * 8 + [1, 1, 0]
    assert notes == []
    encoding, _, _ = learned({"x": column})
    assert encoding.apply(pandas.DataFrame({"x": ["z", "?"]}), pytest.fail).tolist() == [
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_without_rare_ones_the_unseen_have_zeros():
    encoding, _, _ = learned({"x": ["a", "b"] * 3})
    assert encoding.apply(pandas.DataFrame({"x": ["z", "b"]}), pytest.fail).tolist() == [
        [0, 0],
        [0, 1],
    ]


def test_the_number_of_categories_is_limited_to_the_most_frequent():
    column = [f"k{i}" for i in range(40) for _ in range(i + 1)]
    found, _ = encoded(column, max_categories=3)
    assert list(found) == ["x=k39", "x=k38", "x=k37", "x=(other)"]
    assert len(encoded(column)[0]) == 31
    assert len(encoded(column, max_categories=100, min_frequency=11)[0]) == 31


@pytest.mark.parametrize("n", [20, 100])
def test_identifiers_are_left_out_and_it_is_said(n):
    column = [f"id{i}" for i in range(n - 2)] + ["id1", "id2"]
    found, (note,) = encoded(column, min_frequency=3)
    assert found == {}
    assert "hardly repeat" in note
    column[0] = None
    assert list(encoded(column, min_frequency=3)[0]) == ["x=(missing)"]


def test_declared_categories_stay_categories():
    column = pandas.Series([3, 1, 3, 1], dtype="category")
    assert list(encoded(column)[0]) == ["x=1", "x=3"]
    many = pandas.Series([f"id{i}" for i in range(50)], dtype="category")
    assert len(encoded(many, min_frequency=1)[0]) == 31


def test_whole_numbers_stay_numbers_however_few():
    assert list(encoded([3, 1, 3, 1])[0]) == ["x"]


def test_text_that_is_mostly_numbers_is_numbers():
    column = [str(i) for i in range(40)] + ["<5"]
    found, notes = encoded(column)
    assert list(found) == ["x", "x=(missing)"]
    assert notes == ["column 'x': what is no number is taken as a gap: '<5'"]
    assert list(encoded(["1", "2", "x"] * 3)[0]) == ["x=1", "x=2", "x=x"]


def test_mixed_cells_are_text_in_which_a_number_has_one_spelling():
    column = [1, "a", 1.0, "1", True, None, "a", "True", datetime.date(2020, 1, 1)]
    found, _ = encoded(pandas.Series(column, dtype=object))
    assert found["x=1"] == [1, 0, 1, 1, 0, 0, 0, 0, 0]
    assert found["x=True"] == [0, 0, 0, 0, 1, 0, 0, 1, 0]
    assert found["x=(other)"][-1] == 1


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ([7, 7, 7], "holds 7 in every row"),
        (["a", "a", "a"], "holds 'a' in every row"),
        (["2020-01-01"] * 3, "the same date"),
        ([None, None, None], "gaps only"),
        (["?", "", "NA"], "gaps only"),
        ([math.inf] * 3, "gaps only"),
        (pandas.array([None] * 3, "Int64"), "gaps only"),
        (pandas.to_datetime([None] * 3), "gaps only"),
    ],
)
def test_columns_without_news_are_left_out(column, what):
    encoding, A, notes = learned({"x": column, "y": [1, 2, 3]})
    assert A.tolist() == [[1], [2], [3]]
    assert encoding.used == ["y"]
    assert what in encoding.described()["x"]
    assert bool(notes) == ("gaps only" in what)


@pytest.mark.parametrize("value", [7, "a", "2020-01-01", pandas.Timestamp("2020-01-01")])
def test_constant_columns_with_gaps_say_where(value):
    assert encoded([value, None, value])[0] == {"x=(missing)": [0, 1, 0]}


@pytest.mark.parametrize(
    "column",
    [
        ["2020-01-31 10:00", "2020-02-01 12:00", None],
        ["31.01.2020 10:00", "01.02.2020 12:00", "?"],
        pandas.to_datetime(["2020-01-31 10:00", "2020-02-01 12:00", None]),
        pandas.to_datetime(["2020-01-31 11:00", "2020-02-01 13:00", None]).tz_localize(
            "Europe/Berlin"
        ),
        [datetime.datetime(2020, 1, 31, 10), datetime.datetime(2020, 2, 1, 12), None],
        pandas.PeriodIndex(["2020-01-31 10:00", "2020-02-01 12:00", None], freq="h"),
    ],
)
def test_dates_of_every_origin(column):
    found, notes = encoded(column)
    assert found == {
        "x:seconds": [0, 26 * 3600, 0],
        "x:month": [1, 2, 1],
        "x:day": [31, 1, 31],
        "x:weekday": [4, 5, 4],
        "x:hour": [10, 12, 10],
        "x=(missing)": [0, 0, 1],
    }
    assert notes == []


def test_dates_of_objects_and_what_is_none():
    found, _ = encoded([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)])
    assert found["x:year"] == [2020, 2021]
    encoding, _, _ = learned({"x": ["2020-01-01", "2021-01-01"]})
    notes = []
    A = encoding.apply(pandas.DataFrame({"x": ["2020-01-01", "soon"]}), notes.append)
    assert A[1].tolist() == A[0].tolist()
    assert notes == ["column 'x': what is no date (ISO8601) is taken as a gap: 'soon'"]
    stamps = encoding.apply(pandas.DataFrame({"x": pandas.to_datetime(["2021-01-01"])}), print)
    assert stamps[0, 1] == 2021


def test_cells_have_one_text_whatever_stands_beside_them():
    """In a part of a table a mixed column may hold one kind only."""
    moment = datetime.datetime(2020, 1, 1, 10, 0, 0, 999_999)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    cells = [True, 0.1, np.float32(0.1), Decimal("0.50"), datetime.date(2020, 1, 1), moment,
             moment.replace(tzinfo=zone), pandas.Timestamp(moment), "x", 10**400]  # fmt: skip
    frame = pandas.DataFrame({"x": pandas.Series(cells * 2, dtype=object)})
    encoding = Encoding.learn(frame, pytest.fail)
    whole = encoding.apply(frame, pytest.fail)
    for i in range(len(cells) - 1):
        part = encoding.apply(frame.iloc[i : i + 1].infer_objects(), pytest.fail)
        assert part.tolist() == whole[i : i + 1].tolist(), cells[i]
        assert np.sum(part) == 1


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ([1, 2], pandas.to_datetime(["2020-01-01"]), "held numbers .* holds dates"),
        (["2020-01-01", "2021-01-01"], [5], "held dates .* holds numbers"),
    ],
)
def test_columns_that_hold_something_else_are_refused(first, then, words):
    encoding, _, _ = learned({"x": first})
    with pytest.raises(TableError, match=f"column 'x' {words}"):
        encoding.apply(pandas.DataFrame({"x": then}), print)


def test_categories_take_numbers_and_dates_as_text():
    encoding, _, _ = learned({"x": ["1", "2", "z"] * 2})
    A = encoding.apply(pandas.DataFrame({"x": [1.0, 2.0, 0.5, None]}), pytest.fail)
    assert A.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    stamps = pandas.DataFrame({"x": pandas.to_datetime(["2020-01-01"])})
    assert encoding.apply(stamps, pytest.fail).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("column", [np.array([1j, 2]), pandas.Series([1j, "a"], dtype=object)])
def test_complex_numbers_are_refused(column):
    with pytest.raises(TableError, match="Complex data not supported: column 'x'"):
        learned({"x": column})


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1, 2], [3, 4]]),
        [[1, 2], [3, 4]],
        [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
        {"a": [1, 3], "b": [2, 4]},
        pandas.DataFrame([[1, 2], [3, 4]], index=[5, 5]),
    ],
)
def test_what_pandas_can_make_a_frame_of(X):
    assert Encoding.learn(X, pytest.fail).apply(X, pytest.fail).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("X", [5, "text", [1, 2], np.zeros(3), np.zeros((2, 2, 2)), ["ab", "c"]])
def test_what_is_no_table(X):
    with pytest.raises(TableError, match=r"Expected 2D array|no table can be made"):
        as_frame(X)


def test_names_are_strings_and_different():
    frame, named = as_frame(pandas.DataFrame([[1, 2]], columns=[3, "b"]))
    assert (list(frame.columns), named) == (["3", "b"], True)
    for columns in (["a", "a"], ["3", 3]):
        with pytest.raises(TableError, match="two columns have the name"):
            as_frame(pandas.DataFrame([[1, 2]], columns=columns))
    assert as_frame(np.zeros((1, 2)))[0].columns.tolist() == ["x0", "x1"]


@pytest.mark.parametrize("shape", [(0, 2), (2, 0)])
def test_empty_tables(shape):
    with pytest.raises(TableError, match="while a minimum of 1 is required"):
        as_frame(np.zeros(shape))


def test_a_table_that_says_nothing_is_refused():
    with pytest.raises(TableError, match=r"no column of the table can be used .* 'a': left out"):
        learned({"a": [1, 1], "b": ["x", "x"]})


def test_names_of_columns_of_numbers_are_different_and_short():
    encoding, _, _ = learned(
        {"a": ["b", "c"], "a=b": [1, 2], "long": ["x" * 99 + "1", "x" * 99 + "2"], "\0": [1, 2]},
        min_frequency=1,
    )
    names = encoding.feature_names
    assert len(set(names)) == len(names) == 6
    assert names[:3] == ["a=b", "a=c", "a=b 2"]
    assert max(map(len, names)) < 65
    assert not any("\0" in name for name in names)


# --- state ---------------------------------------------------------------------------------------


def everything():
    n = 12
    return pandas.DataFrame(
        {
            "number": [*range(n - 1), None],
            "comma": [f"{i},5" for i in range(n)],
            "kind": ["a", "b", "c"] * 4,
            "when": pandas.date_range("2020-01-01", periods=n, freq="31h").astype(str),
            "stamp": pandas.date_range("2020-01-01", periods=n, freq="31h"),
            "flag": [True, False] * 6,
            "same": [1] * n,
        }
    )


def test_the_state_is_plain_and_gives_the_same_bits():
    frame = everything()
    encoding = Encoding.learn(frame, pytest.fail)
    text = json.dumps(encoding.state(), allow_nan=False)
    again = Encoding.restored(json.loads(text))
    assert again == encoding
    assert again.feature_names == encoding.feature_names
    turned = frame.iloc[:, ::-1].assign(more=1)
    A, B = (e.apply(f, pytest.fail) for e, f in ((encoding, frame), (again, turned)))
    assert A.dtype == np.float64
    assert A.tobytes() == B.tobytes()


def test_columns_that_are_left_out_need_not_be_there():
    frame = everything()
    encoding = Encoding.learn(frame, pytest.fail)
    encoding.apply(frame.drop(columns="same"), pytest.fail)
    with pytest.raises(TableError, match=r"lacks 2 of the columns .* 'number', 'kind'; it has"):
        encoding.apply(frame.drop(columns=["number", "kind"]), pytest.fail)
    with pytest.raises(TableError, match="has 6 columns and had 7"):
        encoding.apply(frame.drop(columns="same").to_numpy(), pytest.fail)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["columns"][0].update(median=math.inf), "not finite"),
        (lambda s: s["columns"][0].update(median=1), "median"),
        (lambda s: s["columns"][0].update(form="roman"), "unknown form"),
        (lambda s: s["columns"][0].update(more=1), "unknown"),
        (lambda s: s["columns"][0].pop("gaps"), "gaps"),
        (lambda s: s["columns"][0].update(kind="eval"), "unknown kind"),
        (lambda s: s["columns"][2].update(levels=["a", "a"]), "different texts"),
        (lambda s: s["columns"][2].update(levels=["a", 1]), "different texts"),
        (lambda s: s["columns"][3].update(form="%s"), "unknown form"),
        (lambda s: s["columns"][3].update(parts=["century"]), "unknown parts"),
        (lambda s: s["columns"][3].update(first=1e300), "too far away"),
        (lambda s: s["columns"][0].update(name="kind"), "two columns of one name"),
        (lambda s: s.update(columns=s["columns"][-1:]), "none that is used"),
        (lambda s: s.update(columns=None), "columns"),
        (lambda s: s.update(named=1), "named"),
    ],
)
def test_states_that_are_none(change, words):
    state = Encoding.learn(everything(), pytest.fail).state()
    change(state)
    with pytest.raises(ValueError, match=words):
        Encoding.restored(state)
