"""Class weights and sample weights of the scikit-learn estimators, and their routing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lysep_fast import LySepClassifier, LySepConvClassifier, LySepRegressor
from lysep_fast.kernels._jit import JIT_ENABLED

HIDDEN, SWEEPS = ((6,), 5) if JIT_ENABLED else ((2,), 2)
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = np.array(["east", "north", "west"])
SETTINGS = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
MODELS = {
    "classifier": LySepClassifier(**SETTINGS),
    "regressor": LySepRegressor(**SETTINGS),
    "conv": LySepConvClassifier(conv_channels=(2,), image_shape=(1, 2), **SETTINGS),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_classifier = pytest.mark.parametrize("name", ["classifier", "conv"])


def make(name, **options):
    return clone(MODELS[name]).set_params(**options)


@pytest.fixture
def uneven(blobs):
    """Return inputs and names, three times as many of the first as of the last."""
    X, y = blobs
    kept = (np.arange(len(y)) // 3) % (y + 1) == 0
    return X[kept], NAMES[y[kept]]


def data(name, blobs):
    X, y = blobs
    return (X, 5 + np.tanh(X @ [1.0, 2.0])) if name == "regressor" else (X, NAMES[y])


# --- class weights -------------------------------------------------------------------------------


@quiet
@every_classifier
def test_class_weights_multiply_sample_weights(uneven, name):
    X, y = uneven
    weights = {"east": 0.2, "west": 3.0}  # 1 for the one that is left out
    by_hand = np.array([0.2, 1.0, 3.0])[np.searchsorted(NAMES, y)]
    own = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    wanted = make(name).fit(X, y, by_hand).predict_proba(X)
    found = make(name, class_weight=weights).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    wanted = make(name).fit(X, y, by_hand * own).predict_proba(X)
    found = make(name, class_weight=weights).fit(X, y, own).predict_proba(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    plain = make(name).partial_fit(X, y, NAMES, by_hand * own).predict_proba(X)
    part = make(name, class_weight=weights).partial_fit(X, y, NAMES, own).predict_proba(X)
    np.testing.assert_allclose(part, plain, rtol=1e-6)
    assert np.any(np.abs(plain - make(name).partial_fit(X, y, NAMES).predict_proba(X)) > 1e-6)


@quiet
@every_classifier
def test_balanced_classes_count_alike(uneven, name):
    X, y = uneven
    counts = np.array([np.sum(y == label) for label in NAMES])
    weights = dict(zip(NAMES, len(y) / (3.0 * counts), strict=True))
    wanted = make(name, class_weight=weights).fit(X, y).predict_proba(X)
    found = make(name, class_weight="balanced").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.any(np.abs(found - make(name).fit(X, y).predict_proba(X)) > 1e-4)


@quiet
@every_classifier
def test_balance_is_that_of_the_weighted_samples(uneven, name):
    X, y = uneven
    own = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    totals = np.array([np.sum(own[y == label]) for label in NAMES])
    wanted = make(name).fit(X, y, own / totals[np.searchsorted(NAMES, y)]).predict_proba(X)
    found = make(name, class_weight="balanced").fit(X, y, own).predict_proba(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    none = np.where(y == "west", 0.0, own)  # a class without any weight stays without
    assert np.all(np.isfinite(make(name, class_weight="balanced").fit(X, y, none).coefs_[0]))


@every_classifier
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("even", "class_weight must be one of 'balanced', got 'even'"),
        (3, "class_weight must be one of 'balanced', got 3"),
        ({"up": 2.0}, "classes.*not in class_weight"),
        ({"east": -1.0}, "class_weight must hold finite weights.*-1.0"),
        ({"east": np.nan}, "class_weight must hold finite weights.*nan"),
    ],
)
def test_unusable_class_weights_are_named(uneven, name, weights, message):
    with pytest.raises(ValueError, match=message):
        make(name, class_weight=weights).fit(*uneven)


@every_model
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight must have shape \(.*\(3,\)"),
        ("heavy", "sample_weight must hold numbers, got str"),
        (0, "sample_weight must have shape"),
        (-1.0, "sample_weight must be finite and not negative, got -1.0"),
    ],
)
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_unusable_sample_weights_are_named(blobs, name, weights, message, class_weight):
    X, y = data(name, blobs)
    options = {"class_weight": class_weight} if name != "regressor" else {}
    if np.ndim(weights) == 0 and weights == -1.0:
        weights = np.full(len(y), weights)
    with pytest.raises((ValueError, TypeError), match=message):
        make(name, **options).fit(X, y, sample_weight=weights)


# --- warnings ------------------------------------------------------------------------------------


@every_model
def test_the_warning_points_at_the_line_that_called_fit(blobs, name):
    X, y = data(name, blobs)
    for warm in (False, True):
        with pytest.warns(
            ConvergenceWarning, match=f"{type(MODELS[name]).__name__}.*max_iter"
        ) as caught:
            make(name, warm_start=warm).fit(X, y)
        assert [w.filename for w in caught] == [__file__]


# --- routing and embedding -----------------------------------------------------------------------


@quiet
@every_model
def test_sample_weights_are_routed_through_pipelines_and_searches(blobs, name):
    X, y = data(name, blobs)
    w = np.where(np.arange(len(y)) % 4, 1.0, 0.1)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = make(name).set_fit_request(sample_weight=True)
        asking.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, asking).fit(X, y, sample_weight=w)
        direct = make(name).fit(StandardScaler().fit_transform(X), y, sample_weight=w)
        Z = pipeline[0].transform(X)
        np.testing.assert_array_equal(pipeline[-1].predict(Z), direct.predict(Z))
        np.testing.assert_array_equal(pipeline[-1].coefs_[0], direct.coefs_[0])
        search = GridSearchCV(asking, {"activation": [None]}, cv=2)
        best = search.fit(X, y, sample_weight=w).best_estimator_
        np.testing.assert_array_equal(best.coefs_[0], make(name).fit(X, y, w).coefs_[0])
        found = cross_validate(asking, X, y, cv=2, params={"sample_weight": w})
        assert np.all(np.isfinite(found["test_score"]))
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(scaler, make(name)).fit(X, y, sample_weight=w)
        asking.set_partial_fit_request(sample_weight=True)
        request = asking.get_metadata_routing().partial_fit.requests
    assert request["sample_weight"] is True
    assert ("classes" in request) == is_classifier(asking)


@quiet
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_jobs_in_threads_and_processes_give_the_same_scores(blobs, backend):
    joblib = pytest.importorskip("joblib")
    for name in MODELS if backend == "threading" else ("classifier",):
        X, y = data(name, blobs)
        alone = cross_val_score(make(name), X, y, cv=4)
        with joblib.parallel_config(backend, n_jobs=2):
            together = cross_val_score(make(name), X, y, cv=4)
        np.testing.assert_array_equal(together, alone)


def test_convolutions_refuse_sparse_input_with_the_remedy(blobs):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data("conv", blobs)
    with pytest.raises(TypeError, match=r"[Ss]parse.*toarray"):
        make("conv").fit(sparse.csr_array(X), y)
    model = make("conv", max_iter=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    with pytest.raises(TypeError, match=r"[Ss]parse.*toarray"):
        model.predict(sparse.csr_array(X))


@quiet
@every_model
def test_names_of_features_are_kept_and_compared(blobs, name):
    pandas = pytest.importorskip("pandas")
    X, y = data(name, blobs)
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = make(name).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict(frame), make(name).fit(X, y).predict(X))
    for call in (model.predict, lambda X: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match="feature names should match"):
            call(frame[["b", "a"]])
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            call(X)
    if is_classifier(model):
        series = pandas.Series(y, dtype="category")
        np.testing.assert_array_equal(make(name).fit(frame, series).classes_, NAMES)
