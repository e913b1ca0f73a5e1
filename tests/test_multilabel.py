"""Several labels per sample, through `train`, the classifiers and files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

import lysep_fast
from lysep_fast import train
from lysep_fast.commands.models import read_model, score
from lysep_fast.kernels._jit import JIT_ENABLED

HIDDEN, SWEEPS = ((8,), 40) if JIT_ENABLED else ((3,), 3)
N = 160 if JIT_ENABLED else 24
LOSS = "binary-cross-entropy"
SMALL = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
SOLVERS = {
    "alternating": {"solver": "alternating"},
    "co-moving": {"solver": "alternating", "solver_options": {"variant": "co-moving"}},
    "subsets": {"solver": "alternating", "batch_size": N // 2},
    "quasi-newton": {"solver": "quasi-newton"},
    "mini-batch": {"solver": "mini-batch"},
    "measured-sweeps": {"solver": "measured-sweeps", "batch_size": N // 4},
}
every_solver = pytest.mark.parametrize("options", SOLVERS.values(), ids=SOLVERS)
pytestmark = pytest.mark.filterwarnings("ignore:LySep")


@pytest.fixture(scope="module")
def data():
    """Return inputs in the plane and three labels: two half planes and a disc."""
    X = np.random.default_rng(0).uniform(-1, 1, (N, 2))
    conditions = (X[:, 0] > 0.2, X[:, 1] > X[:, 0], np.sum(X**2, axis=1) < 0.6)
    return X, np.stack(conditions, axis=1).astype(int)


def fit(data, **options):
    return train(*data, loss=LOSS, **(SMALL | options))


# --- train -------------------------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_solver_learns_and_tells_the_truth(data, options, dtype):
    X, Y = data[0].astype(dtype), data[1]
    result = fit((X, Y), **options)
    first, *_, last = result.history
    assert last.loss < first.loss
    U = result.decision_function(X)
    z = np.where(Y == 1, -U, U).astype(float)
    np.testing.assert_array_equal(result.predict(X), U > 0)
    np.testing.assert_allclose(result.predict_proba(X), expit(U), rtol=1e-5, atol=1e-30)
    if options["solver"] != "measured-sweeps" and "batch_size" not in options:
        loss = np.mean(np.sum(np.logaddexp(0, z), axis=1))
        assert last.loss == pytest.approx(loss, rel=1e-5)
        assert last.accuracy == pytest.approx(np.mean(np.all((U > 0) == Y, axis=1)))
    for row in result.history:
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-6)
        assert np.isnan(row.r2)
    if JIT_ENABLED and options["solver"] in ("quasi-newton", "mini-batch"):
        assert last.accuracy > 0.8


@every_solver
def test_results_do_not_depend_on_the_number_of_threads(data, options):
    one, two = (fit(data, **options, n_threads=k, max_iter=3) for k in (1, 2))
    assert [a.tobytes() for a in one.W] == [a.tobytes() for a in two.W]


def test_integer_weights_are_repeated_samples(data):
    X, Y = data
    c, start = np.arange(len(X)) % 3, fit(data, max_iter=0)
    options = {"solver": "alternating", "init": start, "max_iter": 3}
    weighted = fit(data, **options, sample_weight=c).history[-1]
    repeated = fit((X.repeat(c, axis=0), Y.repeat(c, axis=0)), **options).history[-1]
    assert weighted.loss == pytest.approx(repeated.loss, rel=1e-6)
    assert weighted.accuracy == pytest.approx(repeated.accuracy)


@every_solver
def test_labels_that_do_not_vary_do_no_harm(data, options):
    X = data[0]
    Y = np.column_stack([np.zeros(len(X)), np.ones(len(X)), data[1][:, 0]])
    result = fit((X, Y), **options)
    assert np.all(np.isfinite(result.W[-1]))
    P = result.predict_proba(X)
    assert np.all(np.isfinite(P))
    if JIT_ENABLED:
        assert P[:, 0].mean() < 0.2 < 0.8 < P[:, 1].mean()


def test_rare_labels_are_predicted_as_often_as_they_occur():
    X = np.random.default_rng(0).normal(size=(N, 3))
    Y = np.zeros((N, 2))
    Y[: N // 20, 0] = Y[: N // 2, 1] = 1  # without any relation to X
    result = train(X, Y, loss=LOSS, hidden_layer_sizes=(), solver="quasi-newton", max_iter=50)
    np.testing.assert_allclose(result.predict_proba(X).mean(axis=0), Y.mean(axis=0), atol=1e-3)


def test_a_single_label_is_logistic_regression(data):
    X, Y = data
    label = Y[:, :1]
    linear = {"hidden_layer_sizes": (), "solver": "quasi-newton", "max_iter": 200, "alpha": 1e-2}
    one = fit((X, label), **linear)
    # Two rows of weights, half as large each and opposite, cost half as much.
    two = train(X, label[:, 0], **(SMALL | linear | {"alpha": 2e-2, "output_bias": True}))
    P = two.predict_proba(X)[:, 1:]
    np.testing.assert_allclose(one.predict_proba(X), P, atol=1e-4)
    assert one.history[-1].accuracy == two.history[-1].accuracy


def test_convolutions_take_labels_too():
    images = np.random.default_rng(0).normal(size=(N, 4, 4))
    Y = np.stack([images.mean(axis=(1, 2)) > 0, images[:, 0].mean(axis=1) > 0], axis=1)
    result = fit((images, Y), conv_channels=(2,), max_iter=3)
    assert result.predict(images).shape == (N, 2)


@pytest.mark.parametrize("solver", ["alternating", "quasi-newton", "mini-batch"])
def test_early_stopping_and_checkpoints(data, solver, tmp_path):
    # Without an output bias, which the end of a run would make exact in the row of the best.
    settings = {"early_stopping": True, "n_iter_no_change": 2, "output_bias": False}
    stopped = fit(data, solver=solver, **settings)
    assert stopped.history[stopped.best_iter].validation_loss == min(
        row.validation_loss for row in stopped.history
    )
    assert np.isfinite(stopped.history[-1].validation_accuracy)
    options = {"solver": solver, "max_iter": 3}
    whole = fit(data, **options)
    fit(data, **options | {"max_iter": 2}, checkpoint=tmp_path / "run.npz")
    again = fit(data, **options, resume=tmp_path / "run.npz")
    assert [a.tobytes() for a in again.W] == [a.tobytes() for a in whole.W]
    with pytest.raises(ValueError, match="y holds other values"):
        fit((data[0], 1 - data[1]), **options, resume=tmp_path / "run.npz")


def test_files_know_the_loss(data, tmp_path):
    result = fit(data)
    result.save(tmp_path / "labels.npz")
    again = lysep_fast.load(tmp_path / "labels.npz")
    assert again.loss == LOSS
    np.testing.assert_array_equal(again.predict(data[0]), result.predict(data[0]))
    model = read_model(tmp_path / "labels.npz")
    predicted, proba = model.predict(data[0])
    np.testing.assert_array_equal(predicted, again.predict(data[0]))
    np.testing.assert_array_equal(proba, again.predict_proba(data[0]))
    assert score(predicted, predicted, classes=True) == "accuracy 100.00 %"
    other = predicted.copy()
    other[: N // 4, 1] ^= 1
    assert score(predicted, other, classes=True) == "accuracy 75.00 %"


@pytest.mark.parametrize(
    ("Y", "options", "message"),
    [
        (np.zeros(N), {}, r"shape \(samples, labels\).*reshape\(-1, 1\)"),
        (np.zeros((N, 0)), {}, "shape"),
        (np.zeros((N - 1, 2)), {}, f"{N} samples and {N - 1} rows"),
        (np.full((N, 2), 2), {}, "labels 0 and 1.*got .*2"),
        (np.full((N, 2), np.nan), {}, "labels 0 and 1.*nan"),
        (np.full((N, 2), "a"), {}, "labels 0 and 1.*'a'"),
        (None, {"n_classes": 3}, "n_classes=3 belongs to classes.*has labels"),
        (None, {"label_smoothing": 0.1}, "label_smoothing=0.1 belongs to classes"),
        (None, {"target_unit": 2.0}, "target_unit=2.0 belongs to numbers.*'squared-error'"),
    ],
    ids=str,
)
def test_unusable_arguments_are_named(data, Y, options, message):
    with pytest.raises(ValueError, match=message):
        fit((data[0], data[1] if Y is None else Y), **options)


def test_a_solver_of_ones_own_that_cannot_take_labels_is_refused(data):
    class Mine(lysep_fast.solvers.MiniBatch):
        supports = ("regression",)

    with pytest.raises(ValueError, match="cannot take loss='binary-cross-entropy'; choose"):
        fit(data, solver=Mine())


# --- the classifiers ---------------------------------------------------------------------------


@pytest.fixture(params=["LySepClassifier", "LySepConvClassifier"])
def model(request):
    pytest.importorskip("sklearn", minversion="1.6")
    estimators = pytest.importorskip("lysep_fast.estimators")
    more = {"conv_channels": (2,), "image_shape": (1, 2)} if "Conv" in request.param else {}
    return getattr(estimators, request.param)(**SMALL, **more)


def test_predictions_have_a_column_for_every_label(model, data):
    X, Y = data
    model.fit(X, Y)
    P = model.predict_proba(X)
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.n_outputs_, model.out_activation_) == (3, "logistic")
    np.testing.assert_array_equal(model.predict(X), P > 0.5)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(P))
    np.testing.assert_allclose(expit(model.decision_function(X)), P, rtol=1e-10)
    assert model.score(X, Y) == np.mean(np.all(model.predict(X) == Y, axis=1))
    assert model.score(X, Y) == pytest.approx(model.result_.history[-1].accuracy)


@pytest.mark.parametrize("form", ["bool", "float", "list", "frame", "sparse"])
def test_labels_may_be_of_any_kind(model, data, form):
    X, Y = data
    sparse = pytest.importorskip("scipy.sparse")
    if form == "frame":
        other = pytest.importorskip("pandas").DataFrame(Y, columns=["a", "b", "c"])
    else:
        forms = {
            "bool": Y > 0,
            "float": 1.0 * Y,
            "list": Y.tolist(),
            "sparse": sparse.csr_array(Y),
        }
        other = forms[form]
    model.set_params(max_iter=2)
    P = model.fit(X, other).predict_proba(X)
    np.testing.assert_array_equal(P, model.fit(X, Y).predict_proba(X))


def test_two_labels_are_no_two_classes(model, data):
    X, Y = data
    model.fit(X, Y[:, :2])
    assert model.decision_function(X).shape == (len(X), 2)
    assert not np.allclose(model.predict_proba(X).sum(axis=1), 1)


def test_one_column_is_a_vector_of_classes_with_a_warning(model, data):
    from sklearn.exceptions import DataConversionWarning

    X, Y = data
    model.set_params(max_iter=2)
    with pytest.warns(DataConversionWarning):
        P = model.fit(X, Y[:, :1]).predict_proba(X)
    np.testing.assert_array_equal(P, model.fit(X, Y[:, 0]).predict_proba(X))


def test_parts_weights_warm_starts_and_files(model, data, tmp_path):
    X, Y = data
    for part in (slice(0, N // 2), slice(N // 2, N)):
        model.partial_fit(X[part], Y[part])
    assert len(model.loss_curve_) == 2
    model.partial_fit(X, Y, classes=[0, 1, 2], sample_weight=np.ones(N))
    model.save(tmp_path / "labels.npz")
    again = lysep_fast.load(tmp_path / "labels.npz")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    before = model.loss_
    model.set_params(warm_start=True, solver="quasi-newton").fit(X, Y)
    assert model.loss_ < before
    model.set_params(early_stopping=True).fit(X, Y, sample_weight=1.0 + Y[:, 0])
    assert max(model.validation_scores_[-model.n_iter_ :]) == model.best_validation_score_


def test_what_does_not_go_together_is_refused(model, data):
    X, Y = data
    for weights in ("balanced", {0: 2.0}):
        with pytest.raises(ValueError, match=r"class_weight=.*several labels.*sample_weight"):
            model.set_params(class_weight=weights).fit(X, Y)
    model.set_params(class_weight=None, warm_start=True, max_iter=1, output_bias=True)
    with pytest.raises(ValueError, match=r"classes=\[0, 1\] are not the numbers of the 3 columns"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="3 columns that hold more than 0 and 1"):
        model.fit(X, 2 * Y + Y[::-1])
    model.fit(X, Y)
    with pytest.raises(ValueError, match="classes of the last fit"):
        model.fit(X, Y[:, :2])
    classes = Y.sum(axis=1).clip(0, 2)
    assert set(classes) == {0, 1, 2}
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="y has one class per sample, but the last call had"):
            call(X, classes)
    model.set_params(warm_start=False).fit(X, classes).set_params(warm_start=True)
    with pytest.raises(ValueError, match="y has labels per sample, but the last call had one"):
        model.fit(X, Y)


def test_one_class_is_predicted_with_certainty(model, data):
    X = data[0]
    for solver in ("auto", "quasi-newton", "alternating", "measured-sweeps"):
        model.set_params(solver=solver, max_iter=2).fit(X, ["only"] * N)
        assert set(model.predict(X)) == {"only"}
        np.testing.assert_array_equal(model.predict_proba(X), np.ones((N, 1)))
        np.testing.assert_array_equal(model.predict_log_proba(X), np.zeros((N, 1)))


def test_logarithms_are_finite_where_probabilities_underflow(model, data):
    X, Y = data
    for y in (Y, Y[:, 0]):
        model.fit(X, y)
        W = model.result_.W[-1]
        W[:] = 1e4 * np.random.default_rng(0).normal(size=W.shape)
        P = model.predict_proba(X)
        assert np.min(P) < 1e-300
        assert (np.min(P) == 0.0) == (y.ndim == 1)  # labels are never certain
        assert (np.max(P) == 1.0) == (y.ndim == 1)
        assert np.all(np.isfinite(model.predict_log_proba(X)))
