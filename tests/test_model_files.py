"""Model files: what is saved comes back, old files load, and wrong files do no harm."""

from __future__ import annotations

import builtins
import dataclasses
import json
import os

import model_files
import numpy as np
import pytest
from model_files import FOLDER, MAKERS, NAMES, grid, make_classifier, make_result, outputs, saved

import lysep_fast
from lysep_fast import HistoryRow, ModelFileError, pde
from lysep_fast.container.archive import FORMAT_VERSION, Archive, write_archive
from lysep_fast.files.estimators import expected_estimator
from lysep_fast.files.results import RESULT
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.report import HistoryTable
from tools import _mutate as mutate

WITHOUT_SKLEARN = ("result", "solution")


def has_sklearn():
    """Return whether scikit-learn can be imported; one that is found may still refuse."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return False
    return True


needs_sklearn = pytest.mark.skipif(not has_sklearn(), reason="needs scikit-learn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def reloaded(model, path, **options):
    """Save and load a model, and check what every model has to keep."""
    model.save(path)
    again = lysep_fast.load(path, **options)
    if not options:
        assert saved(again, path.parent) == path.read_bytes()
        assert type(again) is type(model)
        assert vars(again).keys() == vars(model).keys()
    said, says = outputs(model), outputs(again)
    for name, values in said.items():
        np.testing.assert_array_equal(says[name], values)
        assert says[name].dtype == values.dtype
    return again


def kinds():
    """Return the names of the kinds, those of estimators marked as needing scikit-learn."""
    return [
        pytest.param(name, marks=() if name in WITHOUT_SKLEARN else needs_sklearn)
        for name in MAKERS
    ]


# --- what is saved comes back ------------------------------------------------------------------


@pytest.mark.parametrize("name", kinds())
def test_every_kind_comes_back(name, path):
    reloaded(MAKERS[name](), path)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "alternating", "hidden_layer_sizes": (4, 3, 2), "activation": "relu"},
        {"solver": "quasi-newton", "output_bias": True, "alpha": 0.1},
        {"solver": "mini-batch", "early_stopping": True, "label_smoothing": 0.1},
        {"hidden_layer_sizes": (), "solver": "alternating"},
        {"max_iter": 0},
        {"dtype": np.float32},
        {"conv_channels": (2, 3), "kernel_size": (2, 1), "padding": 1, "pool_size": 2},
    ],
)
def test_results_of_all_sorts_come_back(options, path):
    result = make_result(**options)
    again = reloaded(result, path)
    assert again.network == result.network
    assert (again.status, again.n_iter, again.message) == (
        result.status, result.n_iter, result.message
    )  # fmt: skip
    for row, other in zip(result.history, again.history, strict=True):
        assert repr(dataclasses.replace(row, penalties=other.penalties)) == repr(other)
        np.testing.assert_array_equal(row.penalties, other.penalties)


@pytest.mark.parametrize("columns", [0, slice(None)])
def test_regressions_keep_the_shape_of_their_targets(columns, path):
    result = model_files.make_regression(columns)
    again = reloaded(result, path)
    assert np.ndim(again.predict(grid(5, 3))) == (1 if columns == 0 else 2)


def test_stored_columns_are_all_numbers_of_a_row():
    for kind, vectors in ((HistoryRow, ["penalties"]), (pde.PdeRow, [])):
        table = HistoryTable(kind)
        assert table.vectors == vectors
        names = {field.name for field in dataclasses.fields(kind)}
        assert {*table.columns, *vectors, "steps"} == names


def test_a_file_cannot_ask_for_more_threads_than_there_are_processors(path):
    result = make_result()
    result.n_threads = 10**6
    result.save(path)
    assert lysep_fast.load(path).n_threads == lysep_fast.threads.team.available_cpus()


def test_solutions_with_a_lift_ask_for_their_problem(path):
    lift = (pde.Function(lambda X: np.prod(np.sin(np.pi * X), axis=1)), 0.0)
    solution = model_files.make_solution(lift)
    solution.save(path)
    with pytest.raises(ValueError, match="boundary values built in: pass the problem"):
        lysep_fast.load(path)
    X = grid(5, 2)
    again = pde.Solution.load(path, solution.problem)
    np.testing.assert_array_equal(again.u(X), solution.u(X))


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        NAMES.astype(object),
        [3, 5, 7],
        np.array([3, 5, 2**40], np.uint64),
        [1.0, 5.0, -2.0],
    ],
)
@needs_sklearn
def test_class_labels_keep_their_dtype(labels, path):
    model = make_classifier(labels, solver="alternating")
    again = reloaded(model, path)
    assert again.classes_.dtype == model.classes_.dtype
    assert again.classes_.tolist() == model.classes_.tolist()


@needs_sklearn
def test_two_classes_may_be_bools(path):
    model = make_classifier([False, True, True], solver="alternating")
    assert reloaded(model, path).classes_.tolist() == [False, True]


@needs_sklearn
def test_parameters_come_back_with_their_types(path):
    model = make_classifier(
        hidden_layer_sizes=[np.int64(4), 3],
        solver="alternating",
        solver_options={"shrink": 0.5, "bias": "joint"},
        tol=np.float64(0.25),
        verbose=0,
        early_stopping=np.False_,
    )
    again = reloaded(model, path)
    assert again.get_params() == model.get_params()
    assert type(again.hidden_layer_sizes) is list
    model.set_params(hidden_layer_sizes=(4, 3), alpha=float("inf"))
    again = reloaded(model, path)
    assert again.hidden_layer_sizes == (4, 3)
    assert again.alpha == float("inf")


@needs_sklearn
def test_feature_names_come_back(path):
    model = make_classifier()
    model.feature_names_in_ = np.array(["a", "b", "ü"], object)  # as a table of pandas leaves it
    model.save(path)
    names = lysep_fast.load(path).feature_names_in_
    assert names.dtype == object
    assert names.tolist() == ["a", "b", "ü"]
    model.feature_names_in_ = np.array(["a", "b"], object)
    model.save(path)
    with pytest.raises(ModelFileError, match="number of features"):
        lysep_fast.load(path)


@needs_sklearn
def test_a_loaded_estimator_can_be_cloned_and_fitted_again(path):
    from sklearn.base import clone

    model = make_classifier()
    again = reloaded(model, path)
    X = grid(30, 3)
    model_files.fitted(clone(again), X, model_files.sides(X))
    model_files.fitted(again, X, NAMES[model_files.sides(X)])
    for name, values in outputs(model).items():
        np.testing.assert_array_equal(outputs(again)[name], values)


@needs_sklearn
def test_the_network_of_an_estimator_needs_no_scikit_learn(path, monkeypatch):
    model = make_classifier()
    model.save(path)
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if fromlist and "estimators" in fromlist and level == 1:
            raise ImportError("No module named 'sklearn'")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs scikit-learn; .* as_result=True"):
        lysep_fast.load(path)
    result = lysep_fast.load(path, as_result=True)
    monkeypatch.undo()
    X = grid(5, 3)
    np.testing.assert_array_equal(result.decision_function(X), model.decision_function(X))


# --- what cannot be saved ----------------------------------------------------------------------


@needs_sklearn
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callback", print),
        ("random_state", np.random.RandomState(0)),
        ("solver", lysep_fast.solvers.Alternating()),
        ("solver_options", {"line_search": print}),
        ("hidden_layer_sizes", np.array([3])),
    ],
)
def test_parameters_that_cannot_be_stored_are_named(name, value, path):
    model = make_classifier().set_params(**{name: value})
    with pytest.raises(TypeError, match=f"{name}=.* cannot be stored in a model file"):
        model.save(path)
    assert not path.exists()


@needs_sklearn
@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.array([1, "a", None], object), "dtype object cannot be stored"),
        (np.array(["a\0", "b", "c"], object), "ends in a zero character"),
        (np.array([1, 2, 3], "M8[D]"), "dtype datetime64"),
    ],
)
def test_labels_that_need_pickle_are_refused(labels, match, path):
    model = make_classifier()
    model.classes_ = labels
    with pytest.raises(TypeError, match=match):
        model.save(path)


@needs_sklearn
def test_only_fitted_estimators_of_known_classes_are_saved(path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        lysep_fast.LySepRegressor().save(path)

    class Own(lysep_fast.LySepClassifier):
        pass

    model = Own()
    model.result_ = make_classifier().result_
    with pytest.raises(TypeError, match="a Own would come back as another class"):
        model.save(path)


def test_weights_that_are_not_finite_or_do_not_fit_are_not_saved(path):
    result = make_result()
    result.b[1][0] = np.nan
    with pytest.raises(ValueError, match="b_1 holds NaN or infinity"):
        result.save(path)
    result.b[1] = np.zeros(9)
    with pytest.raises(ValueError, match=r"b_1 has shape \(9,\) .* but the network needs \(4,\)"):
        result.save(path)
    assert not path.exists()


# --- wrong files -------------------------------------------------------------------------------


def forged(path, change):
    """Change the header's own part in a file, all hashes right, and load it."""
    path.write_bytes(mutate.forge(path.read_bytes(), lambda whole: change(whole["header"])))
    return lysep_fast.load(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h["network"]["layers"][0].update(n_outputs=5), "layers 1 and 2"),
        (lambda h: h["network"]["layers"][0].update(kind="recurrent"), "unknown kind"),
        (lambda h: h["network"]["features"].pop(), "one activation between"),
        (lambda h: h["network"]["features"][1].update(name="exec"), "unknown name: 'exec'"),
        (lambda h: h["network"].update(layers=[{}] * 10_001), "10001 layers"),
        (lambda h: h["network"]["layers"][0].update(n_inputs=1 << 40), "n_inputs outside"),
        (lambda h: h.update(dtype="|O"), "float32 or float64, not '|O'"),
        (lambda h: h.update(status="LOST"), "unknown status"),
        (lambda h: h.update(bound_constant=None), "no bound_constant"),
        (lambda h: h.update(n_threads=True), "no n_threads"),
        (lambda h: h["history"].update(names=[]), "list index out of range"),
        (lambda h: h["history"].update(columns=["sweep"] * 10), "its history has the columns"),
    ],
)
def test_headers_that_describe_no_result(change, match, path):
    make_result().save(path)
    with pytest.raises(ModelFileError, match=match):
        forged(path, change)


@pytest.mark.parametrize(
    "size", [{"image_shape": [1 << 31] * 3}, {"padding": [1 << 31] * 2}, {"kernel_size": [9, 9]}]
)
def test_images_of_absurd_size_are_refused(size, path):
    make_result(conv_channels=2, hidden_layer_sizes=3, kernel_size=1).save(path)
    with pytest.raises(ModelFileError):
        forged(path, lambda h: h["network"]["layers"][0].update(size))


def test_images_whose_number_of_pixels_has_no_64_bits_are_refused(path):
    make_result(conv_channels=2, hidden_layer_sizes=3, kernel_size=1, pool_size=3).save(path)

    def change(header):
        header["network"]["layers"][0].update(image_shape=[1, 1 << 31, 1 << 31])
        pooled = {"image_shape": [2, 1 << 31, 1 << 31], "pool_size": [1 << 31, 1 << 31]}
        header["network"]["features"][1].update(pooled)

    with pytest.raises(ModelFileError, match="images of shape"):
        forged(path, change)


@pytest.mark.parametrize(
    ("column", "code", "match"),
    [(0, -1, "negative"), (1, -1, "negative"), (0, 99, "out of range")],
)
def test_steps_of_rows_that_are_not_there_are_refused(column, code, match, path):
    header, arrays = make_result(solver="alternating").packed()
    arrays["step_codes"][0, column] = code
    write_archive(path, RESULT, header, arrays)
    with pytest.raises(ModelFileError, match=match):
        lysep_fast.load(path)


@needs_sklearn
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h["parameters"].update(backdoor=1), "unknown parameters .*backdoor"),
        (lambda h: h["parameters"].update(tol={"code": "x"}), "unknown kind of value"),
        (lambda h: h["parameters"].update(tol=1 << 70), "an integer that no parameter has"),
        (lambda h: h["numbers"].update(predict=1), "unknown numbers"),
        (lambda h: h["numbers"].update(n_iter_="x"), "in place of a number"),
        (lambda h: h["curves"].update(__class__=1), "unknown curves"),
        (lambda h: h["labels"]["classes_"].update(dtype="|O"), "labels of dtype"),
        (lambda h: h.update(n_features_in=4), "number of features"),
        (lambda h: h["result"].update(loss="squared-error"), "trained with loss='squared-error'"),
    ],
)
def test_headers_that_describe_no_estimator(change, match, path):
    make_classifier().save(path)
    with pytest.raises(ModelFileError, match=match):
        forged(path, change)


def change_encoding(path, change):
    """Rewrite the encoding in a file, as a forger would."""
    with Archive.open(path) as archive:
        header = archive.header
        arrays = archive.arrays(lambda h: expected_estimator(h, lysep_fast.Result.table()))
    arrays["encoding"] = np.frombuffer(change(arrays["encoding"].tobytes()), np.uint8)
    header["encoding"]["bytes"] = len(arrays["encoding"])
    write_archive(path, "classifier", header, arrays)


@needs_sklearn
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text.replace(b'"comma"', b'"roman"'), "unknown form"),
        (lambda text: text.replace(b"86400.0", b"NaN"), "holds NaN"),
        (lambda text: text.replace(b'"a"', b"  'a'"), "Expecting value"),
        (lambda text: text.replace(b":", b": "), "not written as this format prescribes"),
        (lambda text: text.replace(b'"other":true', b'"other":false'), "makes 6 features"),
        (lambda text: b"[" * 100_000, "recursion"),
        (lambda text: b"[]", "no columns"),
    ],
)
def test_encodings_that_are_none(change, match, path):
    model_files.make_table_classifier().save(path)
    change_encoding(path, change)
    with pytest.raises(ModelFileError, match=match):
        lysep_fast.load(path)


@needs_sklearn
def test_an_encoder_that_makes_other_features_is_not_saved(path):
    model = model_files.make_table_classifier()
    model.save(path)
    before = path.read_bytes()
    model.feature_names_in_ = np.array([f"x{i}" for i in range(7)], object)
    with pytest.raises(ValueError, match=r"encoder_ makes 7 features, .* or on others; set"):
        model.save(path)
    assert path.read_bytes() == before
    other = make_classifier()
    other.encoder_ = model.encoder_
    with pytest.raises(ValueError, match="makes 7 features, but the estimator was fitted on 3"):
        other.save(path)


def test_kinds_are_not_mixed_up(path):
    make_result().save(path)
    with pytest.raises(ModelFileError, match="holds a 'result', not 'pde-solution'"):
        pde.Solution.load(path)
    model_files.make_solution().save(path)
    with pytest.raises(ModelFileError, match="holds a 'pde-solution', not 'result' or"):
        lysep_fast.load(path, as_result=True)


@needs_sklearn
def test_mutated_files_are_refused_or_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow, and nothing is kept
    files = {name: saved(make(), tmp_path) for name, make in MAKERS.items()}
    seen = mutate.torture(
        files,
        tmp_path,
        count=2000 if JIT_ENABLED else 300,
        seed=0,
        read=lysep_fast.load,
        same=lambda name, model: saved(model, tmp_path) == files[name],
        use=model_files.use,
    )
    outcomes = {how.split(": ")[1] for how in seen}
    assert outcomes == {"refused", "the same", "another"}
    assert sum(count for how, count in seen.items() if "refused" in how) > 0.7 * seen.total()


# --- old files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
@pytest.mark.parametrize("name", kinds())
def test_files_of_every_version_load_for_ever(name, version):
    if version < model_files.SINCE.get(name, 1):
        pytest.skip("this version did not have the kind")
    path = FOLDER / f"{name}_v{version}.npz"
    assert path.stat().st_size < 20_000
    says = outputs(lysep_fast.load(path))
    said = json.loads(path.with_suffix(".json").read_text())
    assert said.keys() == says.keys()
    for key, values in said.items():
        if np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(says[key], values, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(says[key], values)


@pytest.mark.parametrize("wrong", [None, 0, 1.5, ["a"], True])
def test_what_is_no_path_is_named(wrong):
    with pytest.raises(TypeError, match="path must be the name of a file, got"):
        lysep_fast.load(wrong)


def test_a_null_character_in_a_path_is_named():
    with pytest.raises(ValueError, match=r"path must be the name of a file, got 'a\\x00b' with"):
        lysep_fast.load("a\0b")
