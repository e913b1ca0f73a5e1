"""The scikit-learn regressor: its own promises, and scikit-learn's checks of every estimator."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from conftest import draw_weights

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from lysep_fast import LySepRegressor, train
from lysep_fast.kernels._jit import JIT_ENABLED


@pytest.fixture
def data():
    """Return inputs and two targets."""
    X = np.random.default_rng(4).normal(size=(90 if JIT_ENABLED else 20, 3))
    return X, np.stack([np.tanh(X[:, 0] - X[:, 1]), 3 + 2 * X[:, 2] * X[:, 0]], axis=1)


def model(**options):
    settings = {"hidden_layer_sizes": (6,), "max_iter": 10 if JIT_ENABLED else 2, "tol": 0}
    return LySepRegressor(**(settings | {"random_state": 0} | options))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestEstimator:
    def test_it_is_a_thin_cover_of_train(self, data):
        X, T = data
        w = draw_weights(len(X))
        estimator = model(alpha=1e-3, solver="quasi-newton").fit(X, T, sample_weight=w)
        seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
        result = train(
            X, T, loss="squared-error", hidden_layer_sizes=(6,), alpha=1e-3,
            solver="quasi-newton", sample_weight=w, max_iter=estimator.max_iter, tol=0,
            random_state=seed, early_stopping="auto",
        )  # fmt: skip
        np.testing.assert_array_equal(estimator.predict(X), result.predict(X))
        assert estimator.loss_curve_ == [row.loss for row in result.history[1:]]
        assert estimator.n_iter_ == result.n_iter
        assert estimator.bound_constant_ == 1.0
        assert [W.shape for W in estimator.coefs_] == [(3, 6), (6, 2)]
        assert np.any(estimator.intercepts_[-1])
        assert is_regressor(estimator)

    def test_shapes_dtypes_and_copies(self, data):
        X, T = data
        estimator = model(early_stopping=True).fit(X.astype(np.float32), T[:, 1])
        assert estimator.predict(X.astype(np.float32)).dtype == np.float32
        assert np.all(np.isfinite(estimator.validation_loss_curve_))
        other = pickle.loads(pickle.dumps(estimator))
        np.testing.assert_array_equal(other.predict(X), estimator.predict(X))
        assert clone(estimator).get_params() == estimator.get_params()
        search = GridSearchCV(model(), {"activation": ["tanh", "relu"]}, cv=2).fit(X, T)
        assert search.predict(X).shape == T.shape

    def test_names_of_features_are_remembered(self, data):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(data[0], columns=list("abc"))
        estimator = model().fit(frame, data[1])
        assert estimator.feature_names_in_.tolist() == ["a", "b", "c"]

    def test_every_parameter_is_documented(self):
        for name in model().get_params():
            assert f"{name} :" in LySepRegressor.__doc__

    def test_it_says_when_it_is_not_fitted(self, data):
        with pytest.raises(NotFittedError, match="LySepRegressor"):
            model().predict(data[0])


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python has too few samples to learn from")
def test_it_warns_only_when_it_was_cut_off(data):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model().fit(*data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model(tol=0.9, n_iter_no_change=1, early_stopping=False).fit(*data)


@pytest.mark.skipif(not JIT_ENABLED, reason="takes minutes without compiled kernels")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([LySepRegressor()])
def test_scikit_learn_finds_nothing_to_object_to(estimator, check):
    check(estimator)
