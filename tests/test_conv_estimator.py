"""Convolutions through the front doors: `train` and the scikit-learn estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from reference import ConvolutionalReference, softmax

from lysep_fast import Network, Status, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.solvers import Alternating, choose_solver

HIDDEN, SWEEPS = (4,), 3 if JIT_ENABLED else 1
SOLVERS = ("mini-batch", "measured-sweeps", "alternating", "quasi-newton")


@pytest.fixture(scope="module")
def pictures():
    """Return two-channel images (n, 2, 4, 6) whose class is the brightest third, and labels."""
    rng = np.random.default_rng(7)
    n = 90 if JIT_ENABLED else 12
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 2, 4, 6))
    for k in range(3):
        X[y == k, :, :, 2 * k : 2 * k + 2] += 1.0
    return X, y


def short(X, y, **options):
    settings = {
        "conv_channels": (2,), "hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0,
        "random_state": 0, "n_threads": 1,
    }  # fmt: skip
    return train(X, y, **(settings | options))


def same(a, b):
    """Whether two results hold the same weights, to the last bit."""
    return all(u.tobytes() == v.tobytes() for u, v in zip(a.W + a.b, b.W + b.b, strict=True))


def reference(result, X, y):
    """Return the trained network by explicit matrices."""
    W, b = ([w.astype(float) for w in group] for group in (result.W, result.b))
    name = result.network.features[-1].name
    truth = ConvolutionalReference(X.reshape(len(X), -1).astype(float), y, W, b, [], name)
    truth.network = result.network
    return truth


# --- train ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_history_tells_the_truth_and_keeps_the_bound(pictures, solver, dtype):
    X, y = pictures[0].astype(dtype), pictures[1]
    options = {"monitor": "exact"} if solver == "mini-batch" else {}
    result = short(X, y, solver=solver, solver_options=options, output_bias=True)
    truth, row = reference(result, X, y), result.history[-1]
    assert {w.dtype for w in result.W + result.b} == {np.dtype(dtype)}
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    U = truth.logits()
    np.testing.assert_allclose(
        result.decision_function(X), U, rtol=tolerance, atol=tolerance * np.abs(U).max()
    )
    np.testing.assert_allclose(result.predict_proba(X), softmax(U), atol=10 * tolerance)
    np.testing.assert_array_equal(result.predict(X), np.argmax(result.predict_proba(X), axis=1))
    if solver != "measured-sweeps":  # which reports what it saw before its steps
        assert row.loss == pytest.approx(truth.loss(), rel=10 * tolerance)
        assert row.accuracy == pytest.approx(truth.accuracy())
    for row in result.history:
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-6)
    if solver == "alternating":
        LS = np.array([row.separated_loss for row in result.history])
        assert np.all(np.diff(LS) <= 10 * tolerance * LS[:-1])


def test_all_forms_of_the_same_images_give_the_same_network(pictures):
    X, y = pictures
    wanted = short(X, y)
    flat = X.reshape(len(X), -1)
    for form, shape in (
        (flat, (2, 4, 6)),
        (X, (2, 4, 6)),
        (X.tolist(), None),
        (np.asfortranarray(X), None),
        (flat, [2, 4, 6]),
    ):
        result = short(form, y, image_shape=shape)
        assert same(result, wanted)
        np.testing.assert_array_equal(result.predict_proba(form), wanted.predict_proba(X))
    grey = short(X[:, 0], y)
    for form, shape in ((X[:, :1], None), (X[:, 0].reshape(len(X), -1), (4, 6))):
        assert same(short(form, y, image_shape=shape), grey)
    np.testing.assert_array_equal(grey.predict(X[:, 0]), grey.predict(X[:, :1]))


def test_without_a_shape_rows_are_squares_or_lines(pictures):
    X, y = pictures
    rows = X.reshape(len(X), -1)
    assert short(rows[:, :16], y).network.layer(1).image_shape == (1, 4, 4)
    assert short(rows[:, :17], y).network.layer(1).image_shape == (1, 1, 17)


def test_the_network_is_the_one_asked_for(pictures):
    X, y = pictures
    result = short(
        X, y, conv_channels=[3, 2], kernel_size=(3, 2), pool_size=(1, 2), padding=1,
        activation="relu", output_bias=True, n_classes=5, max_iter=1,
    )  # fmt: skip
    assert result.network == Network.convolutional(
        (2, 4, 6), (3, 2), HIDDEN, 5, "relu", kernel_size=(3, 2), pool_size=(1, 2), padding=1,
        output_bias=True,
    )  # fmt: skip
    assert short(X, y, conv_channels=2, max_iter=0).network.layer(1).output_shape == (2, 4, 6)
    assert short(X, y, hidden_layer_sizes=(), max_iter=1).network.depth == 2


def test_auto_is_the_mini_batch_solver_for_convolutions(pictures):
    X, y = pictures
    small = X[:, 0, :3, :1]  # so few pixels that a dense network would take another one
    assert choose_solver(len(X), 3) == "quasi-newton"
    assert same(short(small, y), short(small, y, solver="mini-batch"))
    assert not same(short(small, y), short(small, y, solver="quasi-newton"))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("pool_size", [1, 2, 9])
def test_every_option_goes_with_every_solver(pictures, solver, pool_size):
    X, y = pictures
    weights = np.where(y == 2, 0.0, 1.0)
    options = {"sample_weight": weights, "early_stopping": True, "pool_size": pool_size}
    options["validation_fraction"] = 0.3
    if solver != "measured-sweeps":
        options |= {"alpha": 1e-3, "label_smoothing": 0.1}
    result = short(X, y, solver=solver, activation="softplus", init="orthogonal", **options)
    assert result.n_iter == SWEEPS
    assert np.all(np.isfinite(result.predict_proba(X)))
    assert np.isfinite(result.history[-1].validation_loss)


@pytest.mark.parametrize("norm", ["patch", "spectral"])
def test_other_norms_are_tighter(pictures, norm):
    X, y = pictures
    results = [
        short(X, y, solver="alternating", weights=kind, max_iter=1, init="orthogonal")
        for kind in ("frobenius", norm)
    ]
    assert not same(*results)
    assert results[1].history[-1].separated_loss > 0


BAD = [
    ({"conv_channels": (0,)}, ValueError, r"conv_channels\[0\] must be at least 1, got 0"),
    ({"conv_channels": "ab"}, TypeError, "conv_channels must be a sequence.*'ab'"),
    ({"kernel_size": 9, "padding": 0}, ValueError, r"kernel_size=\(9, 9\).*smaller kernel"),
    ({"kernel_size": 2}, ValueError, r'padding="same" needs.*odd kernel.*\(2, 2\).*number'),
    ({"kernel_size": (3, 3)}, ValueError, r"kernel_size.*1 convolutions.*\(3, 3\)"),
    ({"pool_size": 0}, ValueError, "pool_size must be at least 1, got 0"),
    ({"pool_size": 1.5}, TypeError, "pool_size must be an integer, got 1.5"),
    ({"padding": "valid"}, ValueError, "padding must be 'same' or a number.*'valid'"),
    ({"image_shape": (4, 6)}, ValueError, r"image_shape=\(4, 6\).*leave it at None"),
    ({"conv_channels": (), "image_shape": (2, 4, 6)}, ValueError, "image_shape.*conv_channels"),
    ({"conv_channels": ()}, ValueError, "X must have two dimensions"),
    ({"weights": "nuclear"}, ValueError, "weights must be one of.*'patch'.*'nuclear'"),
    ({"solver": "measured-sweeps", "weights": "patch"}, ValueError, "weights.*'alternating'"),
    ({"solver": "measured-sweeps", "alpha": 0.1}, ValueError, "alpha.*default"),
    (
        {"solver": "alternating", "solver_options": {"variant": "co-moving"}},
        ValueError,
        "variant='co-moving'.*variant='paper'",
    ),
    ({"refresh_every": 3}, TypeError, "refresh_every=3.*'mini-batch'"),
    ({"solver": "quasi-newton", "batch_size": 5}, TypeError, "batch_size=5.*'quasi-newton'"),
    ({"solver": "quasi-newton", "refresh_every": 5}, TypeError, "refresh_every=5"),
    ({"solver": "alternating", "refresh_every": 5}, ValueError, "refresh_every=5.*batch_size"),
    ({"solver": "measured-sweeps", "refresh_every": 0}, ValueError, "refresh_every.*got 0"),
    ({"solver": Alternating(), "batch_size": 5}, ValueError, "batch_size.*solver object"),
    ({"solver_options": 3, "batch_size": 5}, TypeError, "solver_options must be a dict.*3"),
    (
        {"solver": "mini-batch", "solver_options": {"batch_size": 7}, "batch_size": 5},
        ValueError,
        "batch_size is given twice: batch_size=5 and .* as 7; leave one",
    ),
    (
        {"solver": "alternating", "solver_options": {"report_every": 3}},
        ValueError,
        "report_every=3.*batch_size",
    ),
    ({"conv_channels": (), "kernel_size": 5}, ValueError, "kernel_size=5 needs conv"),
    ({"conv_channels": (), "pool_size": (1, 2)}, ValueError, r"pool_size=\(1, 2\) needs conv"),
    ({"conv_channels": (), "padding": 0}, ValueError, "padding=0 needs conv"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_wrong_arguments_are_named_with_value_and_remedy(pictures, options, error, message):
    with pytest.raises(error, match=message):
        short(*pictures, **options)


def test_patch_weights_need_convolutions(pictures):
    X, y = pictures
    with pytest.raises(ValueError, match="weights must be one of 'frobenius', 'spectral'"):
        short(X.reshape(len(X), -1), y, conv_channels=(), weights="patch", solver="alternating")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 4, 6)), "at least one sample"),
        (np.zeros((3, 0, 6)), "at least one"),
        (np.full((3, 4, 6), np.nan), "finite.*nan"),
        (np.zeros((3, 1, 1, 4, 6)), "two dimensions"),
        (np.zeros(3), "two dimensions"),
        ([[1, 2], [3]], "rows differ"),
    ],
)
def test_unusable_images_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        short(X, [0, 1, 0])


def test_predictions_take_images_of_the_trained_shape_only(pictures):
    X, y = pictures
    result = short(X, y, max_iter=0)
    for wrong, message in (
        (X[:, 0], r"X has shape.*trained with.*\(2, 4, 6\).*pass"),
        (X.transpose(0, 1, 3, 2), r"X has shape.*\(2, 4, 6\)"),
        (X.reshape(len(X), -1)[:, 1:], "47 features.*48.*same columns"),
        (X[0], r"X has shape \(2, 4, 6\)"),
        (X[0, 0], "6 features"),
    ):
        with pytest.raises(ValueError, match=message):
            result.predict(wrong)


def test_labels_are_counted_against_images(pictures):
    X, y = pictures
    with pytest.raises(ValueError, match="same length"):
        short(X, y[1:])


# --- the estimator -------------------------------------------------------------------------------

sklearn = pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone, is_classifier  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402

from lysep_fast import LySepConvClassifier  # noqa: E402

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = np.array(["north", "east", "west"])


def model(**options):
    settings = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
    return LySepConvClassifier(**({"conv_channels": (2,), "n_threads": 1} | settings | options))


@quiet
def test_the_estimator_is_a_thin_cover_of_train(pictures):
    X, y = pictures
    options = {
        "kernel_size": 2, "pool_size": 3, "padding": 1, "activation": "relu", "weights": "patch",
        "solver": "alternating", "batch_size": 30, "refresh_every": 2, "output_bias": True,
        "init": "orthogonal", "alpha": 1e-3, "label_smoothing": 0.1,
    }  # fmt: skip
    estimator = model(**options).fit(X, NAMES[y], np.ones(len(y)))
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    labels = np.unique(NAMES[y], return_inverse=True)[1]
    result = short(X, labels, sample_weight=np.ones(len(y)), **options, random_state=seed)
    assert same(estimator.result_, result)
    np.testing.assert_array_equal(estimator.predict(X), np.sort(NAMES)[result.predict(X)])
    assert estimator.n_features_in_ == 48
    assert [W.shape for W in estimator.coefs_] == [(8, 2), (4, 4), (4, 3)]
    assert estimator.bound_constant_ == pytest.approx(np.sqrt(5))
    assert len(estimator.loss_curve_) == estimator.n_iter_ == SWEEPS


@quiet
def test_images_and_rows_give_the_same_estimator(pictures):
    X, y = pictures
    flat = X.reshape(len(X), -1)
    wanted = model().fit(X, y)
    rows = model(image_shape=(2, 4, 6)).fit(flat, y)
    assert same(wanted.result_, rows.result_)
    for fitted in (wanted, rows):  # either takes both
        P = fitted.predict_proba(X)
        np.testing.assert_array_equal(P, fitted.predict_proba(flat))
        assert fitted.score(X, y) == fitted.score(flat, y)
        assert fitted.decision_function(X).shape == (len(X), 3)


@quiet
def test_an_estimator_takes_images_of_its_own_shape_only(pictures):
    X, y = pictures
    flat = X.reshape(len(X), -1)
    for fitted in (model().fit(X, y), model(image_shape=(2, 4, 6)).fit(flat, y)):
        for wrong in (X[:, :1], X[:, 0], X.reshape(-1, 2, 6, 4), X.reshape(-1, 4, 12)):
            with pytest.raises(ValueError, match=r"X has shape.*\(2, 4, 6\)"):
                fitted.predict(wrong)
        with pytest.raises(ValueError, match="47 features"):
            fitted.predict(flat[:, 1:])


@quiet
def test_fitting_again_forgets_the_former_shape(pictures):
    X, y = pictures
    estimator = model().fit(X, y)
    again = estimator.fit(X[:, 0], y).predict_proba(X[:, 0])
    np.testing.assert_array_equal(again, model().fit(X[:, 0], y).predict_proba(X[:, 0]))
    flat = X.reshape(len(X), -1)[:, :16]
    estimator.fit(flat, y)
    assert estimator.result_.network.layer(1).image_shape == (1, 4, 4)


@quiet
def test_pickle_clone_and_parameters(pictures):
    X, y = pictures
    estimator = model(conv_channels=(3,)).fit(X, y)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.predict_proba(X), estimator.predict_proba(X))
    with pytest.raises(ValueError, match="X has shape"):
        copy.predict(X[:, 0])
    bare = clone(estimator)
    assert bare.get_params() == estimator.get_params()
    assert is_classifier(bare)
    with pytest.raises(NotFittedError, match="LySepConvClassifier"):
        bare.predict(X)
    assert same(bare.fit(X, y).result_, estimator.result_)
    for name in LySepConvClassifier().get_params():
        assert f"{name} :" in LySepConvClassifier.__doc__ or f"{name}," in (
            LySepConvClassifier.__doc__
        )


@quiet
def test_grid_search_over_channels_and_cross_validation(pictures):
    X, y = pictures
    grid = {"conv_channels": [(1,), (2, 2), 3]}
    search = GridSearchCV(model(max_iter=2), grid, cv=2).fit(X, NAMES[y])
    assert search.best_params_["conv_channels"] in grid["conv_channels"]
    assert set(search.predict(X)) <= set(NAMES)
    assert cross_val_score(model(max_iter=1), X, y, cv=2).shape == (2,)


@quiet
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv_channels": (0,)}, r"conv_channels\[0\].*0"),
        ({"kernel_size": 9, "padding": 0}, r"kernel_size=\(9, 9\)"),
        ({"pool_size": 0}, "pool_size.*0"),
        ({"padding": "valid"}, "padding.*'valid'"),
        ({"image_shape": (4, 6)}, r"image_shape=\(4, 6\)"),
        ({"refresh_every": 3}, "refresh_every=3"),
        ({"solver": "alternating", "refresh_every": 3}, "refresh_every=3.*batch_size"),
    ],
)
def test_bad_parameters_are_refused_by_fit_not_by_the_constructor(pictures, options, message):
    estimator = model(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(*pictures)


@pytest.mark.skipif(not JIT_ENABLED, reason="needs compiled kernels")
def test_it_learns_the_brightest_third(pictures):
    X, y = pictures
    estimator = model(max_iter=80, tol=1e-4).fit(X, NAMES[y])
    assert estimator.score(X, NAMES[y]) > 0.95
    assert estimator.result_.status is not Status.NOT_FINITE
