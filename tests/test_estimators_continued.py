"""The scikit-learn estimators over several calls: warm starts and data in parts."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone, is_classifier

from lysep_fast import LySepClassifier, LySepConvClassifier, LySepRegressor, Status
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.solvers import MiniBatch

HIDDEN, SWEEPS = ((6,), 5) if JIT_ENABLED else ((2,), 2)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = np.array(["east", "north", "west"])
SETTINGS = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
CONV = {"conv_channels": (2,), "image_shape": (1, 2)}
MODELS = {
    "classifier": LySepClassifier(**SETTINGS),
    "regressor": LySepRegressor(**SETTINGS),
    "conv": LySepConvClassifier(**SETTINGS, **CONV),
}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name, **options):
    return clone(MODELS[name]).set_params(**options)


def data(name, blobs):
    X, y = blobs
    return (X, 5 + np.tanh(X @ [1.0, 2.0])) if name == "regressor" else (X, NAMES[y])


def first(model, X, y, **options):
    """Call partial_fit for the first time."""
    classes = {"classes": NAMES} if is_classifier(model) else {}
    return model.partial_fit(X, y, **classes, **options)


def outputs(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


# --- warm starts ---------------------------------------------------------------------------------


@every_model
def test_a_warm_start_goes_on_where_the_last_fit_ended(blobs, name):
    X, y = data(name, blobs)
    model = make(name, warm_start=True, solver="quasi-newton").fit(X, y)
    before, curve = model.result_, list(model.loss_curve_)
    model.fit(X, y)
    assert model.result_.history[0].loss == pytest.approx(before.history[-1].loss, rel=1e-6)
    assert model.loss_curve_[-1] < curve[-1]
    assert model.n_iter_ == model.result_.n_iter
    assert model.loss_curve_[: len(curve)] == curve
    assert len(model.loss_curve_) == len(curve) + model.n_iter_
    assert len(model.separated_loss_curve_) == 2 * len(curve)
    assert model.validation_scores_ is None
    assert model.best_loss_ == min(model.loss_curve_)
    cold = model.set_params(warm_start=False).fit(X, y)
    assert cold.loss_curve_ == make(name, solver="quasi-newton").fit(X, y).loss_curve_ == curve


@every_model
def test_other_parameters_may_change_between_warm_starts(blobs, name):
    X, y = data(name, blobs)
    model = make(name, warm_start=True, solver="quasi-newton").fit(X, y)
    loss = model.loss_curve_[-1]
    model.set_params(solver="mini-batch", max_iter=2, early_stopping=True, alpha=1e-6).fit(X, y)
    assert len(model.loss_curve_) == len(model.validation_loss_curve_) == SWEEPS + 2
    assert np.isnan(model.validation_scores_[:SWEEPS]).all()
    assert np.isfinite(model.validation_scores_[SWEEPS:]).all()
    assert model.best_validation_score_ == max(model.validation_scores_[SWEEPS:])
    assert model.result_.history[0].loss < 2 * loss


@every_model
@pytest.mark.parametrize(
    "change", [{"hidden_layer_sizes": (3, 3)}, {"activation": "softplus"}, {"output_bias": None}]
)
@pytest.mark.parametrize("partial", [False, True])
def test_a_changed_architecture_is_refused(blobs, name, change, partial):
    X, y = data(name, blobs)
    model = make(name, warm_start=True, max_iter=1).fit(X, y)
    if "output_bias" in change:
        change = {"output_bias": not model.result_.network.output_bias}
    former, curve = model.result_, list(model.loss_curve_)
    model.set_params(**change)
    with pytest.raises(ValueError, match=r"another network.*warm_start=False"):
        (model.partial_fit if partial else model.fit)(X, y)
    assert model.result_ is former
    assert model.loss_curve_ == curve
    model.set_params(warm_start=False).fit(X, y)


def test_changed_convolutions_and_images_are_refused(blobs):
    X, y = data("conv", blobs)
    model = make("conv", warm_start=True, max_iter=1).fit(X, y)
    for change in ({"conv_channels": (3,)}, {"kernel_size": 1}, {"image_shape": (2, 1)}):
        with pytest.raises(ValueError, match="another network"):
            clone_fitted(model).set_params(**change).fit(X, y)
    with pytest.raises(ValueError, match=r"X has shape.*\(1, 1, 2\)"):
        model.fit(X.reshape(-1, 2, 1), y)
    model.fit(X.reshape(-1, 1, 2), y)


def clone_fitted(model):
    return pickle.loads(pickle.dumps(model))


@every_model
def test_data_of_another_kind_are_refused(blobs, name):
    X, y = data(name, blobs)
    model = make(name, warm_start=True, max_iter=1).fit(X, y)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="features"):
            call(np.hstack([X, X]), y)
    if is_classifier(model):
        with pytest.raises(ValueError, match=r"warm_start=True needs the classes.*'east'.*\['"):
            model.fit(X[y != "east"], y[y != "east"])
    else:
        with pytest.raises(ValueError, match="another network"):
            model.fit(X, np.stack([y, y], axis=1))
    with pytest.raises(TypeError, match="warm_start must be True or False, got 1"):
        model.set_params(warm_start=1).fit(X, y)


@every_model
def test_the_dtype_is_that_of_the_first_data(blobs, name):
    X, y = data(name, blobs)
    model = first(make(name, warm_start=True), X.astype(np.float32), y)
    assert model.fit(X, y).coefs_[0].dtype == np.float32
    assert model.partial_fit(X, y).coefs_[0].dtype == np.float32
    assert outputs(model, X).dtype == np.float32


# --- data in parts -------------------------------------------------------------------------------


@every_model
def test_a_part_is_one_sweep_and_the_curves_go_on(blobs, name):
    X, y = data(name, blobs)
    model = make(name, max_iter=77)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first(model, X[:20], y[:20])
        assert model.n_iter_ == 1
        for k in range(2, 5):
            assert model.partial_fit(X, y).n_iter_ == 1
            assert len(model.loss_curve_) == k
    assert model.result_.status is Status.MAX_ITER
    assert model.predict(X).shape == y.shape


@pytest.mark.skipif(not JIT_ENABLED, reason="needs compiled kernels")
@every_model
def test_small_parts_teach_as_much_as_large_ones(blobs, name):
    X, y = data(name, blobs)
    scores = []
    for size in (10, len(X)):
        model = first(make(name, batch_size=10), X[:size], y[:size])
        for _ in range(30):
            for start in range(0, len(X), size):
                model.partial_fit(X[start : start + size], y[start : start + size])
        scores.append(model.score(X, y))
    assert min(scores) > 0.85
    assert scores[0] > scores[1] - 0.05


@every_model
@pytest.mark.parametrize("solver", ["auto", "quasi-newton", "alternating", MiniBatch()])
def test_parts_may_be_tiny_with_every_solver(blobs, name, solver):
    X, y = data(name, blobs)
    size = {"batch_size": 32} if solver == "auto" else {}
    model = make(name, solver=solver, **size)
    for i in range(5):
        first(model, X[i : i + 1], y[i : i + 1])
    assert np.all(np.isfinite(outputs(model, X)))
    assert len(model.loss_curve_) == 5


@every_model
def test_it_goes_on_after_fit_and_after_pickling(blobs, name):
    X, y = data(name, blobs)
    model = make(name).fit(X, y)
    before = outputs(model, X)
    model.partial_fit(X, y).partial_fit(X[::2], y[::2], sample_weight=np.ones(len(X[::2])))
    other = clone_fitted(model)
    assert np.any(outputs(model, X) != before)
    for each in (model, other):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(outputs(model, X), outputs(other, X))
    again = model.fit(X, y)  # which forgets the parts
    np.testing.assert_array_equal(outputs(again, X), before)


def test_targets_are_scaled_by_all_that_were_seen(blobs):
    X, y = data("regressor", blobs)
    model = make("regressor")
    for start in range(0, len(X), 12):
        model.partial_fit(X[start : start + 12], y[start : start + 12])
    assert model._spread.scale_ == pytest.approx(np.std(y))
    w = np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    weighted = make("regressor").partial_fit(X, y, sample_weight=w)
    assert weighted._spread.scale_ == pytest.approx(np.std(y[w > 0]))
    same = make("regressor").fit(X, y).partial_fit(X[:1], y[:1])  # fit has seen them all
    assert same._spread.scale_ == pytest.approx(np.std([*y, y[0]]))
    constant = make("regressor").partial_fit(X, np.full(len(X), 3.0))
    assert np.isfinite(constant.predict(X)).all()


def test_a_solver_object_stays_as_it_was_given(blobs):
    X, y = data("classifier", blobs)
    solver = MiniBatch(batch_size=8)
    given = set(vars(solver))
    model = make("classifier", solver=solver).fit(X, y).partial_fit(X, y)
    assert set(vars(model.solver)) == given
    np.testing.assert_array_equal(outputs(clone_fitted(model), X), outputs(model, X))


def test_the_random_stream_goes_on_from_part_to_part(blobs):
    X, y = data("classifier", blobs)
    model = make("classifier", solver=MiniBatch(batch_size=8)).fit(X, y)
    start = clone_fitted(model)
    one = outputs(model.partial_fit(X, y), X)
    start._random.randint(9)  # other batches
    assert np.any(one != outputs(start.partial_fit(X, y), X))


@pytest.mark.parametrize("name", ["classifier", "conv"])
def test_the_classes_are_given_with_the_first_part(blobs, name):
    X, y = data(name, blobs)
    model = make(name)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="at least two labels"):
        model.partial_fit(X, y, classes=["east"])
    east = y == "east"
    model.partial_fit(X[east], y[east], classes=NAMES[::-1])  # one class, in any order
    assert model.classes_.tolist() == NAMES.tolist()
    assert model.predict_proba(X).shape == (len(X), 3)
    model.partial_fit(X, y).partial_fit(X, y, NAMES)
    with pytest.raises(ValueError, match=r"classes=\['a', 'b'\] are not those of the last call"):
        model.partial_fit(X, y, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"y has the labels \['up'\].*classes="):
        model.partial_fit(X[:2], ["up", "east"])


@pytest.mark.parametrize("value", ["balanced", "even"])
def test_what_needs_all_data_is_refused(blobs, value):
    X, y = data("classifier", blobs)
    with pytest.raises(ValueError, match=rf"class_weight='{value}' does not go with partial_fit"):
        make("classifier", class_weight=value).partial_fit(X, y, classes=NAMES)
    for name in MODELS:
        X, y = data(name, blobs)
        with pytest.raises(ValueError, match="early_stopping=True does not go with partial_fit"):
            first(make(name, early_stopping=True), X, y)


@every_model
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver_options": {"speed": 3}}, "speed=3"),
        ({"solver_options": 3}, "solver_options must be a dict or None, got 3"),
        ({"solver_options": {"rate": -1.0}}, "rate.*-1.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer, got 2.5"),
        ({"solver": "sgd"}, "solver must be one of.*'sgd'"),
    ],
)
def test_bad_options_are_named_by_partial_fit_too(blobs, name, options, message):
    X, y = data(name, blobs)
    with pytest.raises((ValueError, TypeError), match=message):
        first(make(name, **options), X, y)


def test_equal_targets_have_no_spread_whatever_rounding_makes_of_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    for target in (1.0, 1e10):
        for _ in range(20):
            weight = rng.uniform(0.0, 2.0, size=40) * (rng.uniform(size=40) < 0.7)
            model = LySepRegressor((3,), max_iter=1, random_state=0)
            with np.errstate(invalid="raise"):
                for _ in range(2):
                    model.partial_fit(X, np.full(40, target), weight)
            assert model._unit(X, np.full(40, target), weight) == 1.0
