"""What users of scikit-learn expect of a neural network: arguments and fitted attributes."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast import Status, load, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.pde import Box, Operator, Problem, solve
from lysep_fast.settings.run import RunSettings
from lysep_fast.settings.train import Settings

HIDDEN, SWEEPS = ((6,), 8) if JIT_ENABLED else ((2,), 3)
SMALL = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
ESTIMATORS = ("LySepClassifier", "LySepConvClassifier", "LySepRegressor")
pytestmark = pytest.mark.filterwarnings("ignore:LySep")


@pytest.fixture(params=ESTIMATORS)
def model(request):
    """Return an unfitted estimator of every kind."""
    pytest.importorskip("sklearn")
    estimators = pytest.importorskip("lysep_fast.estimators")
    more = {"conv_channels": (2,), "image_shape": (1, 2)} if "Conv" in request.param else {}
    return getattr(estimators, request.param)(**SMALL, **more)


def bits(model):
    return [a.tobytes() for a in [*model.coefs_, *model.intercepts_]]


# --- arguments ---------------------------------------------------------------------------------


def test_flags_and_numbers_say_whether_to_print(blobs, capsys):
    for verbose, lines in ((False, 0), (0, 0), (True, 3), (1, 3), (np.True_, 3), (10, 3)):
        train(*blobs, hidden_layer_sizes=2, max_iter=1, random_state=0, verbose=verbose)
        assert capsys.readouterr().out.count("\n") == lines
    problem = Problem(Box(-1, 1, 1), Operator(-1.0), 1.0, 0.0)
    solve(problem, hidden_layer_sizes=2, max_iter=1, n_interior=8, n_boundary=2, verbose=True)
    assert capsys.readouterr().out.count("\n") == 3
    for wrong, error in (("yes", TypeError), (-1, ValueError), (0.5, TypeError)):
        with pytest.raises(error, match="verbose must be"):
            RunSettings(verbose=wrong)


@pytest.mark.parametrize("solver", ["quasi-newton", "mini-batch", "alternating"])
def test_infinite_patience_does_all_sweeps(blobs, solver):
    options = {"hidden_layer_sizes": HIDDEN, "solver": solver, "tol": 1e9, "max_iter": 12}
    patient = train(*blobs, **options, random_state=0, n_iter_no_change=np.inf)
    assert (patient.n_iter, patient.status) == (12, Status.MAX_ITER)
    hasty = train(*blobs, **options, random_state=0, n_iter_no_change=3)
    assert hasty.n_iter == 3
    assert hasty.status in (Status.CONVERGED, Status.NOTHING_FOUND)


def test_patience_is_a_number_of_sweeps_or_infinite():
    assert RunSettings(n_iter_no_change=float("inf")).n_iter_no_change == np.inf
    assert type(RunSettings(n_iter_no_change=np.int64(3)).n_iter_no_change) is int
    for wrong, error in (
        (-np.inf, TypeError),
        (np.nan, TypeError),
        (2.5, TypeError),
        (0, ValueError),
    ):
        with pytest.raises(error, match="n_iter_no_change must be"):
            RunSettings(n_iter_no_change=wrong)


def test_a_checkpoint_knows_infinite_patience(blobs, tmp_path):
    options = {"hidden_layer_sizes": HIDDEN, "random_state": 0, "n_iter_no_change": np.inf}
    path = tmp_path / "run.npz"
    train(*blobs, **options, max_iter=2, checkpoint=path)
    whole = train(*blobs, **options, max_iter=4)
    again = train(*blobs, **options, max_iter=4, resume=path)
    assert again.W[1].tobytes() == whole.W[1].tobytes()
    with pytest.raises(ValueError, match="n_iter_no_change was None, not 10"):
        train(*blobs, **(options | {"n_iter_no_change": 10}), max_iter=4, resume=path)


def test_the_sigmoid_has_two_names_here_and_one_in_the_network(blobs):
    one, other = (
        train(*blobs, hidden_layer_sizes=HIDDEN, activation=name, max_iter=2, random_state=0)
        for name in ("sigmoid", "logistic")
    )
    assert one.network == other.network
    assert one.W[1].tobytes() == other.W[1].tobytes()
    assert Settings(activation="logistic").compared() == Settings(activation="sigmoid").compared()
    with pytest.raises(
        ValueError, match="activation must be one of 'identity', 'tanh', 'sigmoid'"
    ):
        Settings(activation="logit")


def test_auto_leaves_the_batch_size_to_the_solver():
    for more in ({}, {"solver": "mini-batch"}, {"solver_options": {"batch_size": 7}}):
        auto = Settings(**more, batch_size="auto").make_solver(100, 30, None)
        assert auto.batch_size == Settings(**more).make_solver(100, 30, None).batch_size
    for wrong in ("automatic", 0.5):
        with pytest.raises(TypeError, match="batch_size must be an integer"):
            Settings(batch_size=wrong).make_solver(100, 30, None)


def test_estimators_take_the_names_too(model, blobs):
    other = type(model)(**model.get_params()).set_params(
        batch_size="auto", activation="logistic", n_iter_no_change=np.inf, verbose=False
    )
    model.set_params(activation="sigmoid")
    assert bits(other.fit(*blobs)) == bits(model.fit(*blobs))
    assert other.activation == "logistic"
    assert bits(other.partial_fit(*blobs)) == bits(model.partial_fit(*blobs))


# --- attributes --------------------------------------------------------------------------------


def test_attributes_that_need_a_fit_are_not_there_before(model):
    for name in ("loss_", "n_layers_", "n_outputs_", "out_activation_"):
        assert not hasattr(model, name)


def test_layers_and_outputs_are_counted(model, blobs):
    model.fit(*blobs)
    is_regressor = hasattr(model, "_spread")
    assert model.n_layers_ == len(model.coefs_) + 1
    assert model.n_outputs_ == len(model.intercepts_[-1]) == (1 if is_regressor else 3)
    assert model.out_activation_ == ("identity" if is_regressor else "softmax")


def test_losses_are_of_the_kept_weights_and_the_best_sweep(model, blobs):
    model.set_params(solver="mini-batch", batch_size=3, solver_options={"rate": 20.0})
    model.set_params(early_stopping=False, output_bias=False, activation="tanh")
    if "label_smoothing" in model.get_params():
        model.set_params(label_smoothing=0.05)
    model.fit(*blobs)
    curve = model.loss_curve_
    assert model.loss_ == curve[-1]
    assert model.best_loss_ == min(curve)
    assert min(curve) < curve[-1] or not JIT_ENABLED  # such steps are far too long, given a few
    assert model.validation_scores_ is model.validation_loss_curve_ is None
    assert model.best_validation_score_ is None
    model.partial_fit(*blobs)
    assert model.best_loss_ == min(model.loss_curve_)
    model.set_params(max_iter=0).fit(*blobs)
    assert model.loss_curve_ == []
    assert model.best_loss_ == model.loss_ == model.result_.history[0].loss


def test_held_out_samples_judge_in_place_of_the_loss(model, blobs, tmp_path):
    model.set_params(early_stopping=True, validation_fraction=0.3, warm_start=True).fit(*blobs)
    scores = model.validation_scores_
    assert model.best_loss_ is None
    assert model.best_validation_score_ == max(scores)
    assert model.loss_ == model.result_.history[model.result_.best_iter].loss
    assert len(scores) == len(model.validation_loss_curve_) == model.n_iter_
    for saved in (model, model.set_params(early_stopping=False).fit(*blobs)):
        saved.save(tmp_path / "model.npz")
        found, known = vars(load(tmp_path / "model.npz")), vars(saved)
        for name in ("best_loss_", "best_validation_score_"):
            assert found[name] == known[name]
        for name in ("validation_scores_", "validation_loss_curve_", "loss_curve_"):
            np.testing.assert_array_equal(found[name], known[name])
    assert model.validation_scores_[: len(scores)] == scores
    assert np.isnan(model.validation_scores_[len(scores) :]).all()
    assert model.best_validation_score_ is None
    assert model.best_loss_ == min(model.loss_curve_)


def test_files_keep_what_is_not_there(model, blobs, tmp_path):
    model.fit(*blobs).save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert again.validation_scores_ is again.best_validation_score_ is None
    assert again.best_loss_ == model.best_loss_
    assert again.n_outputs_ == model.n_outputs_
