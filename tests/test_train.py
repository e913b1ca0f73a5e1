"""The training loop: monotone, reproducible, stoppable, and a good guest in the process."""

from __future__ import annotations

import itertools
import math
import threading
import warnings

import numpy as np
import pytest
from reference import Reference, cross_entropy, softmax
from threadpoolctl import threadpool_info

from lysep_fast import HistoryRow, Network, Status, train
from lysep_fast.datasets import make_circle
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.dense import NORMS
from lysep_fast.network import INITIALISATIONS
from lysep_fast.report import Step
from lysep_fast.solvers import Alternating, choose_solver

HIDDEN, SWEEPS = ((8, 8), 20) if JIT_ENABLED else ((3, 3), 4)


def short(X, y, **options):
    """Train a small network for a few sweeps, always the same."""
    settings = {"hidden_layer_sizes": HIDDEN, "max_iter": 3, "tol": 0, "random_state": 0}
    return train(X, y, **({"solver": "alternating"} | settings | options))


def same(a, b):
    """Whether two results hold the same weights, to the last bit."""
    return all(u.tobytes() == v.tobytes() for u, v in zip(a.W + a.b, b.W + b.b, strict=True))


def reference(result, X, y):
    """Return the trained network in plain NumPy."""
    W, b = ([w.astype(float) for w in group] for group in (result.W, result.b))
    return Reference(np.asarray(X, float), y, W, b, [], result.network.features[-1].name)


# --- what training promises --------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATION_CODES)
@pytest.mark.parametrize("weights", NORMS)
def test_the_separated_loss_falls_monotonically_and_bounds_the_loss(blobs, activation, weights):
    result = short(*blobs, activation=activation, weights=weights, max_iter=SWEEPS)
    history = result.history
    assert [row.sweep for row in history] == list(range(SWEEPS + 1))
    LS = np.array([row.separated_loss for row in history])
    assert np.all(np.diff(LS) <= 1e-12 * LS[:-1])
    assert LS[-1] < LS[0]
    for row in history:
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_history_tells_the_truth_about_the_network(blobs, activation):
    X, y = blobs
    result = short(X, y, activation=activation, max_iter=SWEEPS, output_bias=True)
    truth, row = reference(result, X, y), result.history[-1]
    assert row.loss == pytest.approx(truth.loss(), rel=1e-10)
    assert row.accuracy == pytest.approx(truth.accuracy(), rel=1e-12)
    assert row.separated_loss == pytest.approx(math.sqrt(row.data + row.penalties.sum()))
    names = ["W_L", "A_2", "W_2, b_2", "A_1", "W_1, b_1"]
    assert [step.block for step in row.steps] == names
    assert row.methods["W_1, b_1"] in ("cholesky", "qr", "svd")
    assert row.methods["A_1"] == "gradient"
    first = result.history[0]
    assert first.separated_loss == pytest.approx(math.sqrt(first.data))
    assert not np.any(first.penalties)
    assert first.steps == ()
    seconds = [row.seconds for row in result.history]
    assert seconds == sorted(seconds)


@pytest.mark.skipif(not JIT_ENABLED, reason="needs compiled kernels")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_circle_is_learnt(dtype):
    X, y = make_circle(3000, random_state=0)
    result = train(
        X.astype(dtype), y, hidden_layer_sizes=(50, 50), max_iter=40, tol=0, random_state=0
    )
    assert result.history[-1].accuracy >= 0.99
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    unseen, labels = make_circle(2000, random_state=1)
    assert np.mean(result.predict(unseen) == labels) >= 0.97


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_network_without_hidden_layers_is_a_linear_classifier(n_classes):
    rng = np.random.default_rng(0)
    y = np.arange(30) % n_classes
    X = rng.normal(size=(30, 2)) * 0.1 + np.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])[y]
    result = short(X, y, hidden_layer_sizes=(), max_iter=60, output_bias=True)
    assert result.network.depth == 1
    assert result.bound_constant == 1.0
    assert result.history[-1].accuracy == 1.0
    np.testing.assert_allclose(result.decision_function(X), X @ result.W[1].T + result.b[1])


@pytest.mark.parametrize("output_bias", [False, True])
def test_the_output_bias_stays_zero_unless_asked_for(blobs, output_bias):
    result = short(*blobs, output_bias=output_bias)
    assert np.any(result.b[-1]) == output_bias


def test_a_width_may_be_one_and_one_integer_is_one_hidden_layer(blobs):
    assert short(*blobs, hidden_layer_sizes=1).network.widths == (2, 1, 3)
    assert short(*blobs, hidden_layer_sizes=np.array([2, 3])).network.widths == (2, 2, 3, 3)


def test_classes_that_do_not_occur_may_be_announced(blobs):
    X, y = blobs
    result = short(X, y, n_classes=5)
    assert result.predict_proba(X).shape == (len(X), 5)


# --- why it stops ------------------------------------------------------------------------------


class Scripted(Alternating):
    """A solver that does as told: "idle", "flat", "halve" the last weights, or "poison" them."""

    promise = "none"

    def __init__(self, *orders):
        super().__init__()
        self.orders = list(orders)

    def start(self, problem, state):
        pass

    def step(self, problem, state):
        order = self.orders.pop(0)
        if order == "halve":
            state.W[-1] *= 0.5
            problem.synchronise(state)
        if order == "poison":
            for W in state.W[1:]:
                W[...] = np.nan
            problem.synchronise(state)
        return [Step("W", float(order != "idle"), 1.0, "gradient")]


def test_it_stops_after_max_iter_sweeps(blobs):
    result = short(*blobs, max_iter=2)
    assert result.status is Status.MAX_ITER
    assert result.n_iter == 2
    assert len(result.history) == 3
    assert "max_iter" in result.message


def test_max_iter_0_evaluates_the_initial_network(blobs):
    X, y = blobs
    result = short(X, y, max_iter=0, standardise=False)
    assert (result.status, result.n_iter, len(result.history)) == (Status.MAX_ITER, 0, 1)
    W, _ = Network.dense((2, *HIDDEN, 3)).initial_weights(
        np.random.default_rng(0), np.dtype(float), "uniform"
    )
    for l in range(1, 4):
        np.testing.assert_array_equal(result.W[l], W[l])


@pytest.mark.parametrize("patience", [1, 3])
def test_it_has_converged_after_some_sweeps_in_a_row_below_tol(blobs, patience):
    result = short(*blobs, tol=0.5, n_iter_no_change=patience, max_iter=50)
    assert result.status is Status.CONVERGED
    LS = [row.separated_loss for row in result.history]
    quiet = [a - b <= 0.5 * a for a, b in itertools.pairwise(LS)]
    assert all(quiet[-patience:])
    for k in range(patience, len(quiet)):
        assert not all(quiet[k - patience : k])


def test_a_sweep_above_tol_starts_the_count_anew(blobs):
    orders = ["flat", "halve", "flat", "flat", "halve"]
    result = short(
        *blobs, solver=Scripted(*orders), tol=1e-6, n_iter_no_change=2, max_iter=50,
        hidden_layer_sizes=(), output_bias=True,
    )  # fmt: skip
    assert result.status in (Status.CONVERGED, Status.NOTHING_FOUND)  # halved it is no better
    assert result.n_iter == 4


@pytest.mark.parametrize("last", [0, 2])
def test_the_callback_sees_every_row_and_stops_by_returning_true(blobs, last):
    rows = []

    def callback(row):
        rows.append(row)
        return row.sweep == last

    result = short(*blobs, callback=callback, max_iter=9)
    assert result.status is Status.CALLBACK
    assert result.n_iter == last
    assert rows == result.history
    assert all(isinstance(row, HistoryRow) for row in rows)


@pytest.mark.parametrize("answer", [None, False, 0, 1, "yes"])
def test_other_answers_of_the_callback_do_not_stop(blobs, answer):
    assert short(*blobs, callback=lambda row: answer, max_iter=2).status is Status.MAX_ITER


def test_the_true_of_numpy_stops_as_well(blobs):
    result = short(*blobs, callback=lambda row: np.bool_(True))
    assert result.status is Status.CALLBACK


def test_it_stops_when_no_block_makes_progress(blobs):
    result = short(*blobs, solver=Scripted("halve", "idle", "halve"), max_iter=9)
    assert result.status is Status.NO_PROGRESS
    assert result.n_iter == 2


def test_a_problem_without_gradient_makes_no_progress():
    # All inputs are zero and nothing has a bias: the logits are zero whatever the weights.
    result = short(np.zeros((6, 2)), np.arange(6) % 2, hidden_layer_sizes=(), max_iter=9)
    assert result.status is Status.NO_PROGRESS
    assert result.history[-1].loss == pytest.approx(math.log(2))


def test_it_returns_the_last_finite_weights_when_the_loss_is_no_longer_finite(blobs):
    X, y = blobs
    result = short(X, y, solver=Scripted("halve", "poison"), max_iter=9)
    assert result.status is Status.NOT_FINITE
    assert result.n_iter == 2
    halved = short(X, y, solver=Scripted("halve"), max_iter=1)
    assert same(result, halved)
    assert np.all(np.isfinite(result.predict_proba(X)))
    assert "float64" in result.message


def test_inputs_too_large_for_the_precision_are_refused(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"X must be below 2\.6e\+15 in size for float32, got"):
        short((X * 1e30).astype(np.float32), y, activation="identity", standardise=False)
    with pytest.raises(ValueError, match=r"X must be below 4\.5e\+307 in size for float64, got"):
        short(X / np.abs(X).max() * 1e308, y)


def test_a_loss_that_is_not_finite_at_the_start_is_refused(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match="loss is inf before the first iteration: X or y is too"):
        train(
            X * 1e100, y * 1e100, loss="squared-error", hidden_layer_sizes=(), random_state=0,
            solver="alternating", max_iter=2, standardise=False,
        )  # fmt: skip


def test_every_status_has_a_message_for_people():
    assert all(len(status.message) > 20 for status in Status)


# --- reproducibility and precision -------------------------------------------------------------


def test_the_seed_decides_the_result(blobs):
    assert same(short(*blobs, random_state=3), short(*blobs, random_state=3))
    assert not same(short(*blobs, random_state=3), short(*blobs, random_state=4))


def test_a_generator_is_used_and_advanced(blobs):
    rng = np.random.default_rng(3)
    first, second = short(*blobs, random_state=rng), short(*blobs, random_state=rng)
    assert same(first, short(*blobs, random_state=3))
    assert not same(first, second)


def test_the_global_random_state_is_left_alone(blobs):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    short(*blobs, random_state=None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize("weights", NORMS)
def test_float32_data_are_trained_in_float32_to_a_similar_result(blobs, init, weights):
    X, y = blobs
    single = short(X.astype(np.float32), y, init=init, weights=weights)
    double = short(X.astype(np.float32).astype(float), y, init=init, weights=weights)
    assert {a.dtype for a in single.W + single.b} == {np.dtype(np.float32)}
    assert {a.dtype for a in double.W + double.b} == {np.dtype(np.float64)}
    assert single.predict_proba(X).dtype == np.float32
    assert single.history[-1].separated_loss == pytest.approx(
        double.history[-1].separated_loss, rel=1e-3
    )


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool])
def test_other_numbers_are_trained_in_float64(blobs, dtype):
    X, y = blobs
    X = (X * 3).astype(dtype)
    result = short(X, y)
    assert result.W[1].dtype == np.float64
    assert same(result, short(X.astype(float), y))


@pytest.mark.parametrize("labels", [np.int8, np.uint16, np.int64, np.float64, list])
def test_labels_may_be_any_whole_numbers(blobs, labels):
    X, y = blobs
    given = y.tolist() if labels is list else y.astype(labels)
    assert same(short(X, given), short(X, y))


def spaced(array):
    """Return the same values with gaps in between."""
    wide = np.zeros((2 * array.shape[0], 3 * array.shape[1]), array.dtype)
    wide[::2, ::3] = array
    return wide[::2, ::3]


def frozen(array):
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "layout",
    [frozen, spaced, np.asfortranarray, np.ndarray.tolist, lambda X: X[::-1].copy()[::-1]],
)
@pytest.mark.parametrize("hidden", [(), HIDDEN])
def test_the_layout_of_the_inputs_does_not_matter_and_they_are_never_changed(
    blobs, layout, dtype, hidden
):
    X, y = blobs
    X = X.astype(dtype)
    if layout is np.ndarray.tolist:
        X = X.astype(float)
    given, labels = layout(X), frozen(y)
    result = short(given, labels, hidden_layer_sizes=hidden)
    np.testing.assert_array_equal(np.asarray(given), X)
    plain = short(X, y, hidden_layer_sizes=hidden)
    assert same(result, plain)
    np.testing.assert_array_equal(result.predict_proba(given), plain.predict_proba(X))
    np.testing.assert_array_equal(np.asarray(given), X)


# --- the result --------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_predictions_are_those_of_the_network(blobs, activation):
    X, y = blobs
    result = short(X, y, activation=activation)
    new = np.random.default_rng(0).normal(size=(9, 2))
    U = reference(result, X, y).logits(new)
    np.testing.assert_allclose(result.decision_function(new), U, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(result.predict_proba(new), softmax(U), rtol=1e-11)
    np.testing.assert_array_equal(result.predict(new), np.argmax(U, axis=1))
    loss = np.mean(cross_entropy(result.decision_function(X), y))
    assert loss == pytest.approx(result.history[-1].loss, rel=1e-12)


def test_probabilities_are_probabilities_far_from_the_data(blobs):
    P = short(*blobs, activation="identity").predict_proba(np.array([[1e6, -1e6], [0.0, 0.0]]))
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)
    assert np.all(P >= 0)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((3, 5)), "X has 5 features.*2"),
        (np.zeros(2), "two dimensions"),
        (np.full((1, 2), np.nan), "finite.*nan"),
        (np.empty((0, 2)), "at least one sample"),
    ],
)
def test_predictions_refuse_unusable_inputs(blobs, X, message):
    with pytest.raises(ValueError, match=message):
        short(*blobs, max_iter=0).predict(X)


def test_a_float32_network_refuses_what_float32_cannot_hold(blobs):
    X, y = blobs
    result = short(X.astype(np.float32), y, max_iter=0)
    with pytest.raises(ValueError, match="X must be finite"):
        result.predict(np.array([[1e200, 0.0]]))


# --- a good guest ------------------------------------------------------------------------------


def test_verbose_prints_one_line_a_sweep_and_the_reason_to_stop(blobs, capsys):
    result = short(*blobs, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == result.n_iter + 2
    assert all("loss" in line and "accuracy" in line for line in lines[:-1])
    assert result.message in lines[-1]
    short(*blobs)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def surroundings():
    """Return what a library must leave as it was."""
    limits = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    return limits, np.geterr(), list(warnings.filters), threading.active_count()


class Interruption(Exception):
    pass


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("error", [None, Interruption, KeyboardInterrupt])
def test_the_process_is_left_as_it_was(blobs, n_threads, error):
    def callback(row):
        if error is not None and row.sweep == 1:
            raise error

    before = surroundings()
    if error is None:
        short(*blobs, n_threads=n_threads, callback=callback).predict(blobs[0])
    elif error is KeyboardInterrupt:
        with pytest.warns(UserWarning, match="Ctrl-C"):
            assert short(*blobs, n_threads=n_threads, callback=callback).n_iter == 1
    else:
        with pytest.raises(error):
            short(*blobs, n_threads=n_threads, callback=callback)
    assert surroundings() == before


def test_two_threads_of_the_caller_may_train_at_once(blobs):
    wanted, results = short(*blobs, n_threads=2), [None, None]
    start = threading.Barrier(2, timeout=30)

    def work(k):
        start.wait()
        results[k] = short(*blobs, n_threads=2)

    before = surroundings()
    workers = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(same(result, wanted) for result in results)
    assert surroundings() == before


def test_a_callback_may_train_another_network(blobs):
    inner = []

    def callback(row):
        if row.sweep == 1:
            inner.append(short(*blobs))

    outer = short(*blobs, callback=callback)
    assert same(outer, inner[0])


def test_a_solver_object_does_what_its_name_with_options_does(blobs):
    options = {"bias": "joint", "auxiliary_steps": 2}
    named = short(*blobs, solver="alternating", solver_options=options)
    assert same(named, short(*blobs, solver=Alternating(**options)))
    assert not same(named, short(*blobs))


def test_a_solver_object_can_be_used_again(blobs):
    solver = Alternating()
    assert same(short(*blobs, solver=solver), short(*blobs, solver=solver))


@pytest.mark.parametrize("hidden", [(), (3,)])
def test_only_an_output_bias_can_be_trained_when_all_features_are_zero(hidden):
    y = np.array([0, 0, 0, 1])
    result = train(
        np.zeros((4, 2)), y, hidden_layer_sizes=hidden, activation="identity",
        output_bias=True, init="orthogonal", max_iter=200, tol=0, random_state=0,
    )  # fmt: skip
    assert result.history[-1].loss < result.history[0].loss


# --- the choice of the solver --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_samples", "n_features", "solver"),
    [
        (1000, 2, "quasi-newton"),
        (10_001, 2, "mini-batch"),
        (1000, 4, "mini-batch"),
        (199, 20, "mini-batch"),
        (200, 20, "mini-batch"),
        (199, 21, "mini-batch"),
    ],
)
def test_auto_chooses_by_samples_and_features(n_samples, n_features, solver):
    assert choose_solver(n_samples, n_features) == solver


def test_auto_trains_with_the_chosen_solver(blobs):
    assert same(short(*blobs, solver="auto"), short(*blobs, solver="quasi-newton"))
    assert not same(short(*blobs, solver="auto"), short(*blobs, solver="alternating"))


class Plain(Alternating):
    supports = ()


@pytest.mark.parametrize("name", ["weights", "alpha", "sample_weight", "label_smoothing"])
def test_an_argument_that_the_solver_cannot_take_is_refused(blobs, name):
    X, y = blobs
    value = {"weights": "spectral", "sample_weight": np.ones(len(X))}.get(name, 0.1)
    with pytest.raises(ValueError, match=rf"{name}.*'alternating'"):
        short(X, y, solver=Plain(), **{name: value})
    for solver in ("alternating", "quasi-newton", "mini-batch"):
        if name != "weights" or solver == "alternating":
            assert short(X, y, solver=solver, **{name: value}).n_iter == 3
        else:
            with pytest.raises(ValueError, match=name):
                short(X, y, solver=solver, **{name: value})
    with pytest.raises((ValueError, TypeError), match="batch_size"):
        short(X, y, solver="quasi-newton", batch_size=4)


def test_early_stopping_returns_the_best_of_the_held_out_loss(blobs):
    X, y = blobs
    for solver in ("alternating", "quasi-newton", "mini-batch"):
        # Without an output bias, which the end of a run would make exact in the row of the best.
        result = short(
            X,
            y,
            solver=solver,
            early_stopping=True,
            validation_fraction=0.3,
            max_iter=12,
            output_bias=False,
        )
        held_out = [row.validation_loss for row in result.history]
        assert result.best_iter == int(np.argmin(held_out))
        assert all(0 <= row.validation_accuracy <= 1 for row in result.history)


def test_holding_out_nothing_is_an_error(blobs):
    with pytest.raises(ValueError, match="validation_fraction"):
        short(*blobs, early_stopping=True, validation_fraction=1e-6)
