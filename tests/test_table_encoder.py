"""`TableEncoder`: scikit-learn's conventions, and what it says of tables that do not fit."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn.base", exc_type=ImportError)

from sklearn.base import clone  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from lysep_fast import LySepClassifier, TableEncoder  # noqa: E402


@parametrize_with_checks([TableEncoder()])
def test_conventions(estimator, check):
    check(estimator)


@pytest.fixture
def table():
    kind = ["a", "b", "a", "b", None, "a"]
    return pandas.DataFrame(
        {"size": [1.5, None, 3, 4, 5, 6], "kind": kind, "id": list("uvwxyz")},
        index=list("ABCDEF"),
    )


def fitted(table, **options):
    with pytest.warns(UserWarning, match="column 'id': 6 different texts"):
        return TableEncoder(**options).fit(table)


def test_a_table_becomes_numbers(table):
    encoder = fitted(table)
    X = encoder.transform(table)
    assert X.dtype == np.float64
    names = ["size", "size=(missing)", "kind=a", "kind=b", "kind=(missing)"]
    assert encoder.get_feature_names_out().tolist() == names
    assert X.tolist()[1] == [4, 1, 0, 1, 0]
    assert X.tolist()[4] == [5, 0, 0, 0, 1]
    assert encoder.n_features_in_ == 3
    assert encoder.feature_names_in_.tolist() == ["size", "kind", "id"]


def test_the_warning_points_at_the_caller(table):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = TableEncoder().fit(table)
        encoder.transform(table.assign(size=np.inf))
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_frames_come_out_where_they_are_asked_for(table):
    encoder = fitted(table).set_output(transform="pandas")
    found = encoder.transform(table)
    assert found.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert found.index.tolist() == table.index.tolist()
    np.testing.assert_array_equal(found, fitted(table).transform(table))


def test_columns_are_found_by_name_and_others_are_named(table):
    encoder = fitted(table)
    X = encoder.transform(table)
    np.testing.assert_array_equal(encoder.transform(table[["id", "kind", "size"]]), X)
    with pytest.raises(ValueError, match=r"lacks the columns 'size' and has the unseen .* 'Size'"):
        encoder.transform(table.rename(columns={"size": "Size"}))
    with pytest.raises(ValueError, match="has the unseen columns 'more'; give the columns"):
        encoder.transform(table.assign(more=1))
    np.testing.assert_array_equal(encoder.transform(table.to_numpy()), X)
    with pytest.raises(ValueError, match="X has 2 features, but TableEncoder is expecting 3"):
        encoder.transform(table.to_numpy()[:, :2])


def test_fitting_again_forgets_the_names(table):
    encoder = fitted(table).fit(np.eye(3))
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1", "x2"]
    assert encoder.get_feature_names_out(["x0", "x1", "x2"]).tolist() == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="input_features is not equal"):
        encoder.get_feature_names_out(["a", "b", "c"])
    frame = pandas.DataFrame(np.eye(3), columns=list("abc"))
    np.testing.assert_array_equal(encoder.transform(frame), np.eye(3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_categories": -1}, "max_categories"),
        ({"max_categories": 2.5}, "max_categories"),
        ({"min_frequency": 0}, "min_frequency"),
        ({"min_frequency": "two"}, "min_frequency"),
    ],
)
def test_wrong_parameters_are_named(table, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        TableEncoder(**options).fit(table)


def test_parameters_matter(table):
    assert fitted(table, max_categories=1).get_feature_names_out().tolist() == [
        "size", "size=(missing)", "kind=a", "kind=(other)", "kind=(missing)",
    ]  # fmt: skip
    none = fitted(table, min_frequency=3)
    assert none.get_feature_names_out().tolist()[2:] == [
        "kind=a", "kind=(other)", "kind=(missing)",
    ]  # fmt: skip


def test_before_fitting():
    for use in (lambda e: e.transform([[1]]), lambda e: e.get_feature_names_out()):
        with pytest.raises(NotFittedError):
            use(TableEncoder())


def test_copies_are_equal(table):
    encoder = fitted(table, max_categories=5)
    assert clone(encoder).get_params() == {"max_categories": 5, "min_frequency": 2}
    again = pickle.loads(pickle.dumps(encoder))
    restored = TableEncoder.of(type(encoder.encoding_).restored(encoder.encoding_.state()))
    assert restored.get_params() == encoder.get_params()
    for other in (again, restored.set_output(transform="default")):
        assert other.transform(table).tobytes() == encoder.transform(table).tobytes()


def test_sparse_matrices_are_refused():
    import scipy.sparse

    with pytest.raises(TypeError, match="sparse"):
        TableEncoder().fit(scipy.sparse.eye_array(3).tocsr())


def test_it_goes_into_pipelines(table):
    y = np.array(["no", "yes"])[(table["kind"] == "a").astype(int)]
    model = make_pipeline(
        make_column_transformer((TableEncoder(), ["size", "kind"])),
        LySepClassifier((4,), solver="quasi-newton", random_state=0, n_threads=1),
    )
    assert model.fit(table, y).score(table, y) == 1.0


def test_without_pandas_the_message_has_the_command():
    code = (
        "import sys\n"
        "sys.modules['pandas'] = None\n"
        "from lysep_fast import TableEncoder\n"
        "encoder = TableEncoder()\n"
        "try:\n"
        "    encoder.fit([[1], [2]])\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tables need pandas")
    assert "pip install 'lysep_fast[table]'" in done.stdout
