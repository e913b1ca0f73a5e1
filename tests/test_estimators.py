"""The scikit-learn estimator: its own promises, and scikit-learn's checks of every estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from reference import Reference, softmax

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from lysep_fast import LySepClassifier, LySepConvClassifier, Status, train
from lysep_fast.kernels._jit import JIT_ENABLED

HIDDEN, SWEEPS = ((6,), 15) if JIT_ENABLED else ((2,), 3)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = np.array(["north", "east", "west"])


def model(**options):
    settings = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
    return LySepClassifier(**({"solver": "alternating"} | settings | options))


@pytest.fixture
def fitted(blobs):
    return model().fit(*blobs)


def test_attributes_after_fit(fitted):
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 2
    assert fitted.n_iter_ == SWEEPS
    assert len(fitted.loss_curve_) == len(fitted.separated_loss_curve_) == SWEEPS
    assert fitted.result_.status is Status.MAX_ITER
    assert fitted.bound_constant_ == pytest.approx(np.sqrt(2 * 2 - 1))
    LS = np.array(fitted.separated_loss_curve_)
    assert np.all(np.diff(LS) <= 1e-12 * LS[:-1])
    assert np.all(np.array(fitted.loss_curve_) <= fitted.bound_constant_ * LS * (1 + 1e-12))
    assert [W.shape for W in fitted.coefs_] == [(2, *HIDDEN), (*HIDDEN, 3)]
    assert [b.shape for b in fitted.intercepts_] == [HIDDEN, (3,)]


def test_predictions_are_those_of_the_network(blobs, fitted):
    X, y = blobs
    W = [None, *(w.T for w in fitted.coefs_)]
    U = Reference(X, y, W, [None, *fitted.intercepts_], []).logits()
    np.testing.assert_allclose(fitted.predict_proba(X), softmax(U), rtol=1e-10)
    np.testing.assert_allclose(fitted.decision_function(X), U, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), np.argmax(U, axis=1))
    assert fitted.score(X, y) == np.mean(np.argmax(U, axis=1) == y)


def test_two_classes_have_one_decision_value(blobs):
    X, y = blobs
    binary = model().fit(X, y > 0)
    decision, P = binary.decision_function(X), binary.predict_proba(X)
    assert decision.shape == (len(X),)
    assert binary.classes_.tolist() == [False, True]
    np.testing.assert_allclose(decision, np.log(P[:, 1] / P[:, 0]), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(binary.predict(X), decision > 0)


@pytest.mark.parametrize("labels", [NAMES, np.array([7, -3, 40]), NAMES.astype(object)])
def test_labels_may_be_anything_that_can_be_sorted(blobs, fitted, labels):
    X, y = blobs
    order = np.argsort(labels)  # class k of the integers is the k-th label in sorted order
    other = model().fit(X, labels[order][y])
    assert other.classes_.tolist() == sorted(labels)
    np.testing.assert_array_equal(other.predict(X), other.classes_[fitted.predict(X)])
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_the_estimator_is_a_thin_cover_of_train(blobs):
    X, y = blobs
    seen = []
    estimator = model(
        activation="relu", weights="spectral", output_bias=True, init="orthogonal", n_threads=2,
        solver_options={"bias": "joint"}, callback=seen.append,
    ).fit(X, y)  # fmt: skip
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    result = train(
        X, y, hidden_layer_sizes=HIDDEN, activation="relu", weights="spectral", output_bias=True,
        init="orthogonal", solver="alternating", solver_options={"bias": "joint"},
        max_iter=SWEEPS, tol=0, random_state=seed, early_stopping="auto",
    )  # fmt: skip
    for a, b in zip(estimator.result_.W, result.W, strict=True):
        assert a.tobytes() == b.tobytes()
    assert [row.sweep for row in seen] == list(range(SWEEPS + 1))


@pytest.mark.parametrize("variant", ["paper", "co-moving"])
def test_it_takes_sample_weights_decay_and_smoothing_with_every_solver(blobs, variant):
    X, y = blobs
    w = np.where(y == 2, 0.0, 1.0)
    options = {"solver_options": {"variant": variant}}
    weighted = model(max_iter=40, **options).fit(X, y, sample_weight=w)
    assert not np.any(weighted.predict(X[y < 2]) == 2)
    np.testing.assert_array_equal(
        weighted.predict_proba(X), model(max_iter=40, **options).fit(X, y, 5 * w).predict_proba(X)
    )
    for name, value in (("alpha", 0.1), ("label_smoothing", 0.3)):
        P = model(**options, **{name: value}).fit(X, y).predict_proba(X)
        assert P.max() < model(**options).fit(X, y).predict_proba(X).max()
    P = LySepClassifier(
        HIDDEN, solver="quasi-newton", label_smoothing=0.3, max_iter=SWEEPS, random_state=0
    ).fit(X, y, w).predict_proba(X)  # fmt: skip
    assert np.all(np.isfinite(P))


def test_parameters_can_be_read_set_and_cloned():
    estimator = model(activation="sin")
    assert estimator.get_params()["activation"] == "sin"
    estimator.set_params(activation="relu", hidden_layer_sizes=(3, 2))
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.hidden_layer_sizes == (3, 2)
    assert is_classifier(copy)
    with pytest.raises(ValueError, match="speed"):
        estimator.set_params(speed=3)


def test_every_parameter_is_documented():
    for name in LySepClassifier().get_params():
        assert f"{name} :" in LySepClassifier.__doc__ or f"{name}," in LySepClassifier.__doc__


def test_fitting_again_starts_afresh(blobs):
    X, y = blobs
    estimator = model().fit(X[:, ::-1], (y + 1) % 3)
    again = estimator.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again, model().fit(X, y).predict_proba(X))


def test_it_works_in_a_pipeline_and_a_grid_search(blobs):
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), model())
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)
    grid = {"lysepclassifier__activation": ["tanh", "identity"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, NAMES[y])
    assert search.best_params_["lysepclassifier__activation"] in ("tanh", "identity")
    assert set(search.predict(X)) <= set(NAMES)


@pytest.mark.skipif(not JIT_ENABLED, reason="needs compiled kernels")
def test_it_learns_the_blobs(blobs):
    X, y = blobs
    assert model(max_iter=100).fit(X, NAMES[y]).score(X, NAMES[y]) > 0.9


def test_a_fitted_estimator_can_be_pickled(blobs, fitted):
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(blobs[0]), fitted.predict_proba(blobs[0]))
    assert other.result_.status is Status.MAX_ITER


def test_float32_stays_float32(blobs):
    X, y = blobs
    single = model().fit(X.astype(np.float32), y)
    assert {W.dtype for W in single.coefs_} == {np.dtype(np.float32)}
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_the_seed_may_be_a_random_state(blobs):
    X, y = blobs
    rng = np.random.RandomState(0)
    first = model(random_state=rng).fit(X, y).predict_proba(X)
    second = model(random_state=rng).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(first, model(random_state=0).fit(X, y).predict_proba(X))
    assert np.any(first != second)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_it_warns_only_when_it_was_cut_off(blobs):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model().fit(*blobs)
    model(tol=0.9, n_iter_no_change=1).fit(*blobs)
    model(callback=lambda row: row.sweep == 1).fit(*blobs)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "decision_function", "score", "coefs_", "intercepts_"]
)
def test_an_estimator_that_is_not_fitted_says_so(blobs, method):
    arguments = {"score": blobs}.get(method, blobs[:1])
    with pytest.raises(NotFittedError, match="LySepClassifier"):
        getattr(model(), method)(*arguments)


def test_another_number_of_features_is_refused(blobs, fitted):
    with pytest.raises(ValueError, match=r"3 features.*2 features"):
        fitted.predict(np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "NaN"),
        (np.full((4, 2), np.inf), [0, 1, 0, 1], "infinity"),
        (np.zeros((4, 2)), [0, 1, 0], "inconsistent"),
        (np.zeros((4, 2)), [[0, 2], [1, 1], [2, 0], [0, 0]], "MultiOutputClassifier"),
        (np.zeros((4, 2)), [[1, 2], [1, 1], [2, 1], [1, 1]], "labels 0 and 1.*got 2"),
        (np.zeros((4, 2)), [0.1, 0.2, 0.3, 0.4], "[Cc]ontinuous"),
        (np.zeros(4), [0, 1, 0, 1], "2D"),
        (np.empty((0, 2)), [], "0 sample"),
    ],
)
def test_unusable_data_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        model().fit(X, y)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", (0,)),
        ("activation", "than"),
        ("solver", "sgd"),
        ("solver_options", {"shrink": 2}),
        ("weights", "nuclear"),
        ("init", "zeros"),
        ("max_iter", -1),
        ("tol", -1.0),
        ("n_iter_no_change", 0),
        ("n_threads", 0),
        ("callback", 3),
    ],
)
def test_bad_parameters_are_refused_by_fit_not_by_the_constructor(blobs, name, value):
    estimator = model(**{name: value})
    if isinstance(value, dict):
        ((name, value),) = value.items()
    shown = value[0] if isinstance(value, tuple) else value
    with pytest.raises((ValueError, TypeError), match=str(shown)) as caught:
        estimator.fit(*blobs)
    assert name in str(caught.value)


@pytest.mark.skipif(not JIT_ENABLED, reason="takes minutes without compiled kernels")
@parametrize_with_checks(
    [
        LySepClassifier(),
        LySepClassifier((), random_state=0, n_threads=1, output_bias=True),
        LySepConvClassifier(),
    ]
)
def test_scikit_learn_finds_nothing_to_object_to(estimator, check):
    check(estimator)
