"""Files as they come: encodings, compressions, separators, decimals, dates, gaps; one outcome."""

import bz2
import csv
import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lysep_fast.commands.messages import CommandError
from lysep_fast.commands.tables import read_table
from lysep_fast.tables import frame_files
from lysep_fast.tables.compressed import read_bytes, text_encoding
from lysep_fast.tables.encoding import Encoding
from lysep_fast.tables.frames import TableError, need_pandas

pandas = pytest.importorskip("pandas")

N = 24
KINDS = ["rosé", "blanc", "?"]
HEADER = ["size", "kind", "when", "ripe", "target"]


def rows(decimal=".", gap="", date="{:04}-{:02}-{:02}", truth=("True", "False")):
    """Return rows of text: numbers with gaps, categories, dates and truth values."""
    found = []
    for i in range(N):
        size = gap if i % 7 == 3 else f"{i * 1.25 - 3}".replace(".", decimal)
        kind = gap if KINDS[i % 3] == "?" else KINDS[i % 3]
        day = (2020 + i % 2, 1 + i % 12, 1 + i)
        found.append([size, kind, date.format(*day), truth[i % 2], "yes" if i % 5 else "no"])
    return found


def text(cells=None, delimiter=",", line="\n", header=True, **options):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line)
    writer.writerows([HEADER] * header)
    writer.writerows(rows(**options) if cells is None else cells)
    return file.getvalue()


def zipped(content, names=("t.csv",)):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


#: Name of the file and its bytes, by what is unusual about it.
DRESSES = {
    "plain": ("t.csv", text().encode()),
    "gap NA": ("t.csv", text(gap="NA").encode()),
    "gap ?": ("t.csv", text(gap="?").encode()),
    "gap blank": ("t.csv", text(gap=" ").encode()),
    "gap NaN": ("t.csv", text(gap="NaN").encode()),
    "gap null": ("t.csv", text(gap="null").encode()),
    "gap n/a": ("t.csv", text(gap="n/a").encode()),
    "gap None": ("t.csv", text(gap="None").encode()),
    "gap #N/A": ("t.csv", text(gap="#N/A").encode()),
    "decimal comma": ("t.csv", text(decimal=",", delimiter=";").encode()),
    "quoted decimal comma": ("t.csv", text(decimal=",").encode()),
    "tab": ("t.tsv", text(delimiter="\t").encode()),
    "pipe": ("t.txt", text(delimiter="|").encode()),
    "semicolon": ("t.dat", text(delimiter=";").encode()),
    "CRLF": ("t.csv", text(line="\r\n").encode()),
    "CR": ("t.csv", text(line="\r").encode()),
    "blank lines": ("t.csv", text(line="\n\n").encode()),
    "blanks": ("t.csv", text().replace(",", " , ").encode()),
    "german": (
        "t.csv", text(decimal=",", delimiter=";", date="{2:02}.{1:02}.{0:04}").encode("latin-1")
    ),
    "american": ("t.csv", text(date="{1}/{2}/{0}").encode()),
    "slashes": ("t.csv", text(date="{:04}/{:02}/{:02}").encode()),
    "true and false": ("t.csv", text(truth=("true", "false")).encode()),
    "TRUE and FALSE": ("t.csv", text(truth=("TRUE", "FALSE")).encode()),
    "0 and 1": ("t.csv", text(truth=("1", "0")).encode()),
    "utf-8-sig": ("t.csv", text().encode("utf-8-sig")),
    "utf-16": ("t.csv", text().encode("utf-16")),
    "utf-16-le": ("t.csv", text().encode("utf-16-le")),
    "utf-16-be": ("t.csv", text().encode("utf-16-be")),
    "utf-32": ("t.csv", text().encode("utf-32")),
    "latin-1": ("t.csv", text().encode("latin-1")),
    "cp1252": ("t.csv", text().encode("cp1252")),
    "gz": ("t.csv.gz", gzip.compress(text().encode())),
    "bz2": ("t.csv.bz2", bz2.compress(text().encode())),
    "xz": ("t.csv.xz", lzma.compress(text().encode("latin-1"))),
    "zip": ("t.csv.zip", zipped(text().encode("utf-16"))),
    "zip by name alone": ("t.zip", zipped(text().encode())),
    "index": (
        "t.csv", text([["", *HEADER], *([i, *row] for i, row in enumerate(rows()))],
                      header=False).encode()
    ),
    "other order": (
        "t.csv", text([row[::-1] for row in [HEADER, *rows()]], header=False).encode()
    ),
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return to


@pytest.fixture(scope="module")
def plain():
    """Return the encoding of the plain file, made of a frame in memory, and its numbers."""
    frame = pandas.DataFrame(rows(), columns=HEADER).drop(columns="target")
    encoding = Encoding.learn(frame, pytest.fail)
    return encoding, encoding.apply(frame, pytest.fail)


@pytest.mark.parametrize("dress", DRESSES)
def test_files_of_every_kind_give_the_same_numbers(write, plain, dress):
    table = read_table(write(*DRESSES[dress]), target="target")
    assert table.y.tolist() == [row[-1] for row in rows()]
    encoding = Encoding.learn(table.X, pytest.fail)
    numbers = encoding.apply(table.X, pytest.fail)
    places = [encoding.feature_names.index(name) for name in plain[0].feature_names]
    np.testing.assert_array_equal(numbers[:, places], plain[1])
    assert len(places) == encoding.n_outputs


#: Files in which numbers or dates are not written as in the plain one.
UNLIKE = {"decimal comma", "quoted decimal comma", "german", "american", "slashes"}


@pytest.mark.parametrize("dress", sorted(set(DRESSES) - UNLIKE))
def test_a_model_of_one_file_takes_the_others(write, plain, dress):
    table = read_table(write(*DRESSES[dress]), encoding=plain[0])
    np.testing.assert_array_equal(plain[0].apply(table.X, pytest.fail), plain[1])


@pytest.mark.parametrize("dress", sorted(UNLIKE))
def test_another_format_than_that_of_the_training_is_no_gap(write, plain, dress):
    table = read_table(write(*DRESSES[dress]), encoding=plain[0])
    with pytest.raises(
        TableError, match=r"column '(size|when)': .* written as .* write them alike"
    ):
        plain[0].apply(table.X, pytest.fail)


def test_columns_that_were_text_are_read_as_text(write):
    """007 is a code where the training had letters, and so is True."""
    cells = [["007", "True"], ["7", "x"], ["A1", "False"]] * 3
    content = "code,flag\n" + "".join(f"{a},{b}\n" for a, b in cells)
    encoding = Encoding.learn(read_table(write("a.csv", content.encode())).X, pytest.fail)
    table = read_table(write("b.csv", b"flag,code\nTrue,007\nFalse,7\n"), encoding=encoding)
    found = dict(
        zip(encoding.feature_names, encoding.apply(table.X, pytest.fail).T.tolist(), strict=True)
    )
    assert found["code=007"] == found["flag=True"] == [1, 0]
    assert found["code=7"] == found["flag=False"] == [0, 1]


def test_a_late_word_makes_all_of_a_column_text(write):
    """However long it is: pandas would read parts of a long one as numbers."""
    content = "x,y\n" + "01,2\n" * 150_000 + "b,3\n"
    table = read_table(write("t.csv", content.encode()))
    assert set(table.X["x"]) == {"01", "b"}
    assert table.X["y"].dtype.kind == "i"


def test_numbers_have_all_their_digits(write):
    values = np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-250, 250)
    content = "x,y\n" + "".join(f"{value!r},1\n" for value in values.tolist())
    np.testing.assert_array_equal(read_table(write("t.csv", content.encode())).X["x"], values)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.zip", zipped(b"a", ("a.csv", "b.csv")), "2 files"),
        ("t.zip", b"", "damaged"),
        ("t.gz", b"\x1f\x8b", "damaged"),
        ("t.xz", lzma.compress(b"text" * 100)[:-30], "damaged"),
        ("t.bz2", bz2.compress(b"text" * 100)[:-5], "damaged"),
        ("t.bz2", b"none", "damaged"),
    ],
)
def test_damaged_and_strange_archives(write, name, content, words):
    with pytest.raises(TableError, match=words):
        read_bytes(write(name, content))


def test_a_zip_archive_with_a_password_is_refused(write):
    content = bytearray(zipped(b"a,b\n"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(TableError, match=r"cannot be unpacked: .*password"):
        read_bytes(write("t.zip", bytes(content)))


def test_a_missing_file_stays_an_error_of_the_system(tmp_path):
    for name in ("t.csv", "t.bz2", "t.zip"):
        with pytest.raises(FileNotFoundError):
            read_bytes(tmp_path / name)


def test_encodings(tmp_path):
    assert text_encoding(tmp_path, b"a") == "utf-8"
    long = ("a" * ((1 << 20) - 1) + "é" * 5).encode()  # a letter across two parts
    assert text_encoding(tmp_path, long) == "utf-8"
    assert text_encoding(tmp_path, b"\xe9") == "cp1252"
    assert text_encoding(tmp_path, b"\xe9\x81") == "latin-1"


# --- other formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", frame_files.FRAME_SUFFIXES)
def test_formats_of_other_libraries_say_what_they_need(write, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, frame_files.FRAME_SUFFIXES[suffix], None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    library = frame_files.FRAME_SUFFIXES[suffix]
    path = write(f"t{suffix}", b"")
    if suffix == ".xlsx":  # an empty file is not even asked about
        monkeypatch.setattr(pandas, "read_excel", lambda file: missing(library))
    with pytest.raises(ImportError, match=f"need {library}; install it with pip install"):
        read_table(path, target="t")


def missing(library):
    raise ImportError(f"Missing optional dependency '{library}'.")


@pytest.fixture
def parquet(write, monkeypatch):
    """Return a file that pandas reads as the frame of the plain text."""
    frame = pandas.read_csv(io.StringIO(text()), index_col=False)
    monkeypatch.setattr(pandas, "read_parquet", lambda file: frame)
    return write("t.parquet", b"")


def test_frames_of_files_are_tables(parquet, plain):
    table = read_table(parquet, target="target")
    assert table.names == HEADER[:-1]
    assert table.y.tolist() == [row[-1] for row in rows()]
    encoding = Encoding.learn(table.X, pytest.fail)
    np.testing.assert_array_equal(encoding.apply(table.X, pytest.fail), plain[1])
    again = read_table(parquet, encoding=encoding)
    np.testing.assert_array_equal(encoding.apply(again.X, pytest.fail), plain[1])


def test_damaged_files_of_other_libraries(parquet, monkeypatch):
    def damaged(file):
        raise KeyError("magic")

    monkeypatch.setattr(pandas, "read_parquet", damaged)
    with pytest.raises(CommandError, match=r"t.parquet is damaged: 'magic'"):
        read_table(parquet)
    monkeypatch.setattr(pandas, "read_parquet", lambda file: Path("none/where").stat())
    with pytest.raises(FileNotFoundError):
        read_table(parquet)


# --- pandas --------------------------------------------------------------------------------------


def test_without_pandas_the_message_has_the_command(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"need pandas 2.2 .* pip install 'lysep_fast\[table\]'"):
        need_pandas()
    with pytest.raises(ImportError, match="need pandas"):
        read_table(write("t.csv", b"a,b\n1,2\n"))
    np.save(path := write("t.npy", b""), np.ones((2, 2)))
    assert read_table(path).X.shape == (2, 2)


def test_another_number_of_rows_is_noticed(write, monkeypatch):
    monkeypatch.setattr(pandas, "read_csv", lambda *a, **k: pandas.DataFrame({0: [1], 1: [2]}))
    with pytest.raises(CommandError, match="3 lines hold cells, but pandas found 1 rows"):
        read_table(write("t.csv", b"a,b\n1,2\n3,4\n"))


@pytest.mark.parametrize(("version", "options"), [
    ("2.2.3", {"float_precision": "round_trip"}), ("3.0.1", {"float_precision": "round_trip"}),
    ("3.1.0", {}), ("4.0.0.dev0", {}),
])  # fmt: skip
def test_pandas_is_asked_for_exact_decimals_where_it_has_to_be(monkeypatch, version, options):
    from lysep_fast.tables import csv_files

    monkeypatch.setattr(pandas, "__version__", version)
    assert csv_files._exact() == options
