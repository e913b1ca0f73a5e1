"""The blocks of the sweep on sparse inputs: contract, closed form, LSMR, singular systems."""

from __future__ import annotations

import numpy as np
import pytest
from contract import check_contract, variables
from reference import Reference
from sparse_inputs import sparse_problem

from lysep_fast.blocks import (
    Auxiliaries,
    CoMovingWeights,
    LayerWeights,
    NewtonOutput,
    OutputLeastSquares,
    OutputWeights,
)
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.linalg.sparse_least_squares import SparseSystem
from lysep_fast.losses import SquaredError
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.solvers import Alternating
from lysep_fast.threads.team import Team

WIDTHS = (8, 4, 5, 3)
WEIGHTED = {"sample_weight": True, "label_smoothing": 0.1, "alpha": 0.05}
extras = pytest.mark.parametrize("extra", [{}, WEIGHTED], ids=["plain", "weighted"])
grams = pytest.mark.parametrize("gram", [True, False], ids=["few", "many"])
DTYPES = [np.float64, np.float32] if JIT_ENABLED else [np.float64]

BLOCKS = {
    "weights-after": lambda: LayerWeights(1),
    "weights-joint": lambda: LayerWeights(1, "joint"),
    "weights-none": lambda: LayerWeights(1, "none"),
    "weights-proximal": lambda: LayerWeights(1, "joint", proximal=1e-2),
    "auxiliaries": lambda: Auxiliaries(1),
    "output": lambda: OutputWeights(),
    "co-moving": lambda: CoMovingWeights(),
}


@pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
@grams
@extras
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_every_block_keeps_the_contract(make_block, gram, extra, dtype, norm):
    problem, state = sparse_problem(WIDTHS, gram=gram, dtype=dtype, norm=norm, **extra)
    block = make_block()
    assert check_contract(block, problem, state).accepted > 0
    check_contract(block, problem, state)


@pytest.mark.parametrize("make_block", [OutputWeights, NewtonOutput])
@grams
@extras
def test_blocks_of_a_linear_model_keep_the_contract(make_block, gram, extra):
    for output_bias in (False, True):
        network = Network.dense((8, 3), output_bias=output_bias)
        problem, state = sparse_problem(network, gram=gram, **extra)
        assert check_contract(make_block(), problem, state).accepted > 0
        check_contract(make_block(), problem, state)


@grams
@extras
@pytest.mark.parametrize("bias", ["after", "joint", "none"])
def test_the_closed_form_is_least_squares_on_the_dense_copy(gram, extra, bias):
    problem, state = sparse_problem(WIDTHS, gram=gram, **extra)
    truth, old = Reference.of(problem, state), state.b[1].copy()
    step = LayerWeights(1, bias).update(problem, state)
    assert step.method == ("cholesky" if gram else "lsmr")
    assert step.accepted == 1.0
    W = truth.W[1]
    truth.update_weights(1, "joint" if bias == "joint" else "after")
    if bias == "none":
        truth.b[1] = old
    found = Reference.of(problem, state)
    # A column without entries stays where it is, unless decay takes it to zero.
    empty = ~np.any(problem.samples.X, axis=0)
    assert np.any(empty)
    wanted = truth.W[1].copy()
    wanted[:, empty] = 0.0 if extra else W[:, empty]
    np.testing.assert_allclose(found.W[1], wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.b[1], truth.b[1], rtol=1e-6, atol=1e-7)


@grams
def test_a_closed_form_leaves_no_gradient_and_a_second_update_does_nothing(gram):
    problem, state = sparse_problem(WIDTHS, gram=gram)
    start, block = Reference.of(problem, state), LayerWeights(1, "joint")
    block.update(problem, state)
    before, after = (t.weight_gradient(1) for t in (start, Reference.of(problem, state)))
    size = max(np.abs(g).max() for g in before)
    assert max(np.abs(g).max() for g in after) <= 1e-6 * size
    once = {name: array.copy() for name, array in variables(state).items()}
    block.update(problem, state)
    for name, array in variables(state).items():
        np.testing.assert_allclose(array, once[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", ["after", "joint"])
def test_columns_that_depend_on_each_other_go_to_lsmr(refresh_state, dtype, bias):
    problem, state = sparse_problem(WIDTHS, dtype=dtype)
    rows = problem.samples.entries
    # One category of three in every row: the columns sum to one, as that of the bias does.
    count = len(rows)
    rows.data, rows.indices = np.ones(count, dtype), np.arange(count, dtype=np.int32) % 3
    rows.indptr = np.arange(count + 1)
    refresh_state(problem, state)
    step = check_contract(LayerWeights(1, bias), problem, state)
    assert step.method == ("lsmr" if bias == "joint" else "cholesky")
    assert state.is_finite()


@grams
@pytest.mark.parametrize("output_bias", [False, True])
def test_linear_regression_in_closed_form(gram, output_bias):
    network = Network.dense((6, 2), output_bias=output_bias)
    problem, state = sparse_problem(network, gram=gram, n=60 if JIT_ENABLED else 20)
    X, rng = problem.samples.X, np.random.default_rng(1)
    T = X @ rng.normal(size=(6, 2)) + 1.0 + 0.1 * rng.normal(size=(len(X), 2))
    own = TrainingProblem(network, SquaredError(T), problem.samples, problem.team)
    state = own.synchronised_state(state.W, state.b)
    OutputLeastSquares(1, output_bias).update(own, state)
    design = np.hstack([X, np.ones((len(X), 1))]) if output_bias else X
    wanted = design @ np.linalg.lstsq(design, T, rcond=None)[0]
    np.testing.assert_allclose(X @ state.W[1].T + state.b[1], wanted, rtol=1e-6, atol=1e-6)


@grams
@pytest.mark.parametrize("variant", ["paper", "co-moving"])
def test_sweeps_never_raise_the_separated_loss_and_do_not_depend_on_threads(gram, variant):
    states = []
    for n_threads in (1, 3):
        with Team(n_threads) as team:
            problem, state = sparse_problem(WIDTHS, gram=gram, team=team)
            solver, losses = Alternating(variant=variant), []
            solver.start(problem, state)
            for _ in range(4):
                solver.step(problem, state)
                losses.append(problem.objective.penalised(state))
        assert np.all(np.diff(losses) <= 0.0)
        states.append(variables(state))
    for name, array in states[0].items():
        assert array.tobytes() == states[1][name].tobytes()


# --- the system itself -------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_system_of_lsmr_and_its_adjoint(bias, ridge):
    rng = np.random.default_rng(0)
    S, root = rng.normal(size=(9, 4)), rng.uniform(0.0, 2.0, 9)
    S[:, 2] = 0.0
    squares = np.sum((root[:, None] * S) ** 2, axis=0)
    system = SparseSystem(S.__matmul__, S.T.__matmul__, squares, root, np.full(4, ridge), bias)
    x, u = rng.normal(size=4 + bias), rng.normal(size=13)
    assert np.vdot(u, system._matvec(x)) == pytest.approx(np.vdot(system._rmatvec(u), x))
    r, t = rng.normal(size=9), rng.normal(size=4)
    found, db = system.solve(r, t)
    whole = np.vstack([S, np.sqrt(ridge) * np.eye(4)])
    if bias:
        whole = np.hstack([whole, np.r_[np.ones(9), np.zeros(4)][:, None]])
    factor = np.r_[root, np.ones(4)]
    wanted = np.linalg.lstsq(factor[:, None] * whole, np.r_[root * r, t], rcond=None)[0]
    np.testing.assert_allclose(np.r_[found, [db] * bias], wanted, rtol=1e-6, atol=1e-7)
    if not ridge:
        assert found[2] == 0.0
