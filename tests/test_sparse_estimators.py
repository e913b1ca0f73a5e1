"""The estimators on sparse inputs: all of their methods, and scikit-learn's conventions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sparse_inputs import FORMATS, random_dense

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from lysep_fast import LySepClassifier, LySepConvClassifier, LySepRegressor
from lysep_fast.kernels._jit import JIT_ENABLED

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Constructing a DIA matrix"),
]
N, D = (200, 9) if JIT_ENABLED else (40, 5)
# Columns as they are: those of the dense copy would be centred as well.
SETTINGS = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0, "standardise": False}
MODELS = {"classifier": LySepClassifier, "regressor": LySepRegressor}
every_model = pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS.keys())


def data(kind):
    X = random_dense(N, D, density=0.4)
    values = X[:, 0] + X[:, 1] ** 2
    return X, np.where(values > 0.1, "up", "down") if kind is LySepClassifier else values


def outputs(model, X):
    return model.predict(X) if isinstance(model, LySepRegressor) else model.predict_proba(X)


@every_model
@pytest.mark.parametrize("name", FORMATS)
def test_fit_and_predict_take_every_format(kind, name):
    X, y = data(kind)
    given = getattr(sp, f"{name}_array")(X)
    own, dense = kind(**SETTINGS).fit(given, y), kind(**SETTINGS).fit(X, y)
    np.testing.assert_allclose(outputs(own, given), outputs(dense, X), rtol=1e-8, atol=1e-9)
    assert own.score(given, y) == pytest.approx(dense.score(X, y))
    assert own.n_features_in_ == D


@every_model
def test_partial_fit_and_warm_start(kind):
    X, y = data(kind)
    extra = {"classes": ["down", "up"]} if kind is LySepClassifier else {}
    models = []
    for given in (sp.csr_matrix(X), X):
        model = kind(**SETTINGS, batch_size=16)
        for half in (slice(0, N // 2), slice(N // 2, N)):
            model.partial_fit(given[half], y[half], **extra)
        model.set_params(warm_start=True).fit(given, y)
        models.append(outputs(model, given))
    np.testing.assert_allclose(*models, rtol=1e-7, atol=1e-8)


@every_model
def test_sample_and_class_weights(kind):
    X, y = data(kind)
    weight = np.random.default_rng(0).uniform(0.0, 2.0, N)
    extra = {"class_weight": "balanced"} if kind is LySepClassifier else {}
    own, dense = (
        kind(**SETTINGS, **extra).fit(A, y, sample_weight=weight) for A in (sp.coo_matrix(X), X)
    )
    np.testing.assert_allclose(outputs(own, sp.csr_array(X)), outputs(dense, X), rtol=1e-8)


def test_the_tags_say_who_takes_sparse_inputs():
    for kind in MODELS.values():
        assert get_tags(kind()).input_tags.sparse
    assert not get_tags(LySepConvClassifier()).input_tags.sparse


def test_integers_and_bools_are_taken():
    X, y = data(LySepClassifier)
    for dtype in (np.int64, np.bool_, np.uint8):
        given = sp.csr_array((X > 0).astype(dtype))
        model = LySepClassifier(**SETTINGS).fit(given, y)
        assert model.coefs_[0].dtype == np.float64
        dense = LySepClassifier(**SETTINGS).fit((X > 0).astype(float), y)
        np.testing.assert_allclose(outputs(model, given), outputs(dense, given), rtol=1e-8)


def test_text_through_a_pipeline():
    rng = np.random.default_rng(0)
    words = {"sea": ["wave", "fish", "salt"], "sky": ["cloud", "wind", "star"]}
    y = np.array(["sea", "sky"] * 30)
    texts = [" ".join(rng.choice([*words[k], "the", "a"], 6)) for k in y]
    model = make_pipeline(TfidfVectorizer(), LySepClassifier((5,), max_iter=10, random_state=0))
    assert np.mean(cross_val_score(model, texts, y, cv=3)) > 0.9
