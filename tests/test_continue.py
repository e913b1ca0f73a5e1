"""Training that goes on from a former result: all at once, or in parts of the data."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast import Network, Result, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.solvers import OnlineMiniBatch, choose_solver

HIDDEN, SWEEPS = ((6, 5), 6) if JIT_ENABLED else ((2,), 2)
LOSSES = ("cross-entropy", "squared-error")
every_loss = pytest.mark.parametrize("loss", LOSSES)


def fit(X, y, **options):
    settings = {"hidden_layer_sizes": HIDDEN, "max_iter": SWEEPS, "tol": 0, "random_state": 0}
    return train(X, y, **(settings | options))


def targets(blobs, loss):
    X, y = blobs
    return (X, y) if loss == "cross-entropy" else (X, 40 + 1e3 * np.tanh(X @ [[1.0], [2.0]]))


def same(a, b):
    """Whether two results hold the same weights, to the last bit."""
    return all(u.tobytes() == v.tobytes() for u, v in zip(a.W + a.b, b.W + b.b, strict=True))


@every_loss
@pytest.mark.parametrize("solver", ["alternating", "quasi-newton", "mini-batch"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_starts_where_the_former_result_ended(blobs, loss, solver, dtype):
    X, y = targets(blobs, loss)
    X = X.astype(dtype)
    former = fit(X, y, loss=loss, solver="quasi-newton")
    kept = [w.copy() for w in former.W]
    further = fit(X, y, loss=loss, solver=solver, init=former)
    close = pytest.approx(former.history[-1].loss, rel=1e-9 if dtype == np.float64 else 1e-3)
    assert further.history[0].loss == close
    assert {w.dtype for w in further.W} == {np.dtype(dtype)}
    assert all(np.array_equal(a, b) for a, b in zip(kept, former.W, strict=True))  # copied
    if solver == "quasi-newton":
        assert further.history[-1].loss < further.history[0].loss
    np.testing.assert_allclose(
        fit(X, y, loss=loss, init=former, max_iter=0).predict(X),
        former.predict(X),
        rtol=1e-9 if dtype == np.float64 else 1e-3,
    )


def test_a_result_may_be_made_from_weights_of_ones_own(blobs):
    X, y = blobs
    rng = np.random.default_rng(3)
    network = Network.dense((2, *HIDDEN, 3), output_bias=True)
    own = Result(network, *network.initial_weights(rng, np.dtype(float)))
    found = fit(X, y, init=own, output_bias=True, max_iter=0)
    # The scaling of the columns is taken out and put back, with its rounding errors.
    for a, b in zip(found.W + found.b, own.W + own.b, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"hidden_layer_sizes": (7,)}, "layers"),
        ({"n_classes": 4}, "layers"),
        ({"activation": "relu"}, "features"),
        ({"output_bias": False}, "output_bias"),
    ],
)
def test_another_network_is_refused(blobs, options, what):
    former = fit(*blobs, max_iter=0)
    with pytest.raises(ValueError, match=rf"init.*another network: its {what} are.*init=None"):
        fit(*blobs, init=former, **options)


def test_weights_of_wrong_shapes_are_refused(blobs):
    former = fit(*blobs, max_iter=0)
    former.b[1] = former.b[1][:1]
    with pytest.raises(ValueError, match=r"init.W and init.b have the shapes.*one bias per row"):
        fit(*blobs, init=former)
    with pytest.raises(ValueError, match="init must be one of"):
        fit(*blobs, init=former.W)


@pytest.mark.parametrize("solver", ["alternating", "quasi-newton", "mini-batch"])
def test_one_of_several_classes_can_be_trained_on(blobs, solver):
    X = blobs[0]
    result = fit(X, np.full(len(X), 1), n_classes=3, solver=solver)
    assert np.all(np.isfinite(result.predict_proba(X)))
    assert result.history[-1].loss < result.history[0].loss
    with pytest.raises(ValueError, match=r"one class only, 1.*n_classes"):
        fit(X, np.full(len(X), 1))


@every_loss
@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("steps", ["gram", "polar"])
def test_epochs_in_parts_are_those_of_one_run(blobs, loss, conv, steps):
    X, y = targets(blobs, loss)
    shape = {}
    if conv:
        X, shape = np.tile(X, 6), {"conv_channels": 2, "image_shape": (2, 6)}
    options = {"loss": loss, "batch_size": 8, **shape}
    whole = fit(
        X, y, solver="mini-batch", solver_options={"steps": steps},
        random_state=np.random.default_rng(5), **options,
    )  # fmt: skip
    rng, solver, result = np.random.default_rng(5), None, None
    for _ in range(SWEEPS):
        memory = None if solver is None else solver.memory
        solver = OnlineMiniBatch(memory, batch_size=8, steps=steps)
        result = train(
            X, y, loss=loss, hidden_layer_sizes=HIDDEN, max_iter=1, random_state=rng,
            solver=solver, init=result, **shape,
        )  # fmt: skip
    if loss == "cross-entropy" and conv:
        assert same(result, whole)
    else:  # units and means are taken out and put back, with their rounding errors
        for own, wanted in zip(result.W[1:], whole.W[1:], strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-9)


def test_parts_in_other_units_do_not_upset_the_memory(blobs):
    X, y = targets(blobs, "squared-error")
    order = np.argsort(y[:, 0], kind="stable")  # every part has a mean and a spread of its own
    solver, result = OnlineMiniBatch(batch_size=4), None
    losses = []
    for _ in range(20 if JIT_ENABLED else 2):
        for part in np.array_split(order, 3):
            result = train(
                X[part], y[part], loss="squared-error", hidden_layer_sizes=HIDDEN, max_iter=1,
                random_state=0, solver=solver, init=result, target_unit=500.0,
            )  # fmt: skip
        losses.append(np.mean((result.predict(X) - y) ** 2))
    assert losses[-1] < 0.5 * losses[0] if JIT_ENABLED else np.all(np.isfinite(losses))


def test_the_last_move_is_taken_over_in_the_unit_of_the_targets(blobs):
    X, y = targets(blobs, "squared-error")
    solver, options = (
        OnlineMiniBatch(batch_size=8),
        {"loss": "squared-error", "target_unit": 300.0},
    )
    former = fit(X, y, solver=solver, max_iter=1, **options)
    other = OnlineMiniBatch(solver.memory, batch_size=8)
    fit(X, y, solver=other, init=former, max_iter=0, **(options | {"target_unit": 600.0}))
    assert np.any(solver.moves.velocity[-1])
    np.testing.assert_allclose(other.moves.velocity[-1], solver.moves.velocity[-1] / 2)
    np.testing.assert_allclose(other.moves.velocity[1], solver.moves.velocity[1], rtol=1e-12)


def test_the_unit_of_the_targets_can_be_given(blobs):
    X, y = targets(blobs, "squared-error")
    spread = float(np.std(y))
    options = {"loss": "squared-error", "solver": "alternating"}
    own, given = (fit(X, y, target_unit=u, **options).predict(X) for u in (None, spread))
    np.testing.assert_allclose(given, own, rtol=1e-6)
    # Decay counts against the squares of targets in that unit.
    weak, strong = (fit(X, y, target_unit=u, alpha=3.0, **options) for u in (spread / 10, spread))
    assert 2 * np.std(strong.predict(X)) < np.std(weak.predict(X))
    one = fit(X[:1], y[:1], target_unit=3.0, max_iter=1, **options)
    assert np.isfinite(one.predict(X)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_unit": 2.0}, r"target_unit=2.0 belongs to numbers.*leave it out"),
        ({"target_unit": 0.0}, r"target_unit must be a finite number.*0.0"),
        ({"target_unit": "m"}, r"target_unit must be a number, got 'm'"),
    ],
)
def test_an_unusable_unit_is_named(blobs, options, message):
    loss = "cross-entropy" if "belongs" in message else "squared-error"
    with pytest.raises((ValueError, TypeError), match=message):
        fit(*targets(blobs, loss), loss=loss, **options)


def test_auto_leaves_very_uneven_weights_to_the_mini_batches(blobs):
    uneven, even = np.array([1e-4, 1.0, 0.0]), np.array([1e-2, 1.0, 0.0])
    for loss in LOSSES:
        assert choose_solver(3000, 2, loss, uneven) == "mini-batch"
        assert choose_solver(3000, 2, loss, even) == "quasi-newton"
    X, y = blobs
    for lightest, solver in ((1e-4, "mini-batch"), (1e-2, "quasi-newton")):
        weights = np.where(y == 0, 1.0, lightest)
        (step,) = fit(X, y, sample_weight=weights, max_iter=1).history[-1].steps
        assert step.method == solver
