"""Sample weights, weight decay and label smoothing in the alternating solver and its blocks.

What never rises, recomputed from scratch, is ``F + alpha/2 sum ||W||_F^2`` with weighted sums of
smoothed losses; integer weights are repeated samples, a weight of 0 is a sample that is not there.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import test_block_contract
import test_co_moving
from conftest import draw_weights
from contract import assert_parallel, check_contract, replaced, variables
from helpers import copied
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference, finite_difference_gradient

from lysep_fast import Status, train
from lysep_fast.blocks import Auxiliaries, LayerWeights, NewtonOutput, OutputWeights
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.dense import NORMS
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem, bound_constant
from lysep_fast.report import Step
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import Alternating
from lysep_fast.threads.blocks import row_blocks
from lysep_fast.threads.team import Team

WIDTHS = (3, 4, 5, 4, 3)
EVERYTHING = {"sample_weight": True, "alpha": 0.03, "label_smoothing": 0.1}
OPTIONS = {
    "weights": {"sample_weight": True},
    "decay": {"alpha": 0.03},
    "smoothing": {"label_smoothing": 0.2},
    "everything": EVERYTHING,
}
BLOCKS = {**test_block_contract.BLOCKS, **test_co_moving.BLOCKS}
VARIANTS = {"paper": {}, "paper-joint": {"bias": "joint"}, "co-moving": {"variant": "co-moving"}}
DTYPES = [np.float64, np.float32]
every_block = pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
small = {} if JIT_ENABLED else {"n": 6, "rows": 3}


# --- the contract ------------------------------------------------------------------------------


@every_block
@every_option
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_block_keeps_the_contract(make_problem, make_block, options, norm, dtype):
    activation = "relu" if norm == "spectral" else "tanh"
    problem, state = make_problem(
        WIDTHS, activation, norm=norm, dtype=dtype, output_bias=norm == "spectral", **options
    )
    block = make_block()
    for _ in range(3):
        check_contract(block, problem, state)
    assert state.is_finite()


@every_block
@pytest.mark.parametrize("activation", sorted(set(ACTIVATION_CODES) - {"tanh", "relu"}))
def test_every_block_keeps_the_contract_with_every_activation(
    make_problem, make_block, activation
):
    problem, state = make_problem(WIDTHS, activation, scale=2.0, output_bias=True, **EVERYTHING)
    check_contract(make_block(), problem, state)


@every_block
@pytest.mark.parametrize("residual", [0.0, 1e-8, 3.0])
@pytest.mark.parametrize("alpha", [1e-9, 10.0])
def test_every_block_keeps_the_contract_at_every_size(make_problem, make_block, residual, alpha):
    problem, state = make_problem(
        WIDTHS, residual=residual, scale=2.0, **(EVERYTHING | {"alpha": alpha})
    )
    for _ in range(2):
        check_contract(make_block(), problem, state)


@every_block
@pytest.mark.parametrize("layer", [2, 3, 4])
@pytest.mark.parametrize("factor", [0.0, 1e5])
def test_every_block_keeps_the_contract_with_zero_and_huge_maps(
    make_problem, refresh_state, make_block, layer, factor
):
    problem, state = make_problem(WIDTHS, residual=1e-6, **EVERYTHING)
    state.W[layer] *= factor
    refresh_state(problem, state)
    check_contract(make_block(), problem, state)
    assert state.is_finite()


@every_block
def test_every_block_keeps_the_contract_with_one_heavy_sample(make_problem, make_block):
    c = np.zeros(11)
    c[7] = 11.0
    problem, state = make_problem(WIDTHS, n=11, **(EVERYTHING | {"sample_weight": c}))
    check_contract(make_block(), problem, state)
    assert all(np.all(np.isfinite(array)) for array in variables(state).values())


class PaysNoPenalty:
    """Scale W_L up along with the features below: lowers nothing but raises the norms."""

    name = "broken"

    def touches(self, state):
        return {"W4"}

    def update(self, problem, state):
        state.W[4] *= 1.5
        state.nu[4] *= 1.5**2
        return Step(self.name, 1.0, 1.0, "gradient")


def test_the_contract_notices_a_block_that_forgets_the_penalty(make_problem):
    problem, state = make_problem(WIDTHS, alpha=100.0, residual=0.0)
    problem.synchronise(state)
    state.W[4][:] = np.ones(3)[:, None]  # equal logits: F does not depend on the scale of W_L
    state.nu[4] = np.sum(state.W[4] ** 2)
    problem.synchronise(state)
    with pytest.raises(AssertionError, match="raised"):
        check_contract(PaysNoPenalty(), problem, state)


# --- terms and gradients -----------------------------------------------------------------------


@every_option
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_separated_loss_and_its_penalty_agree_with_the_reference(
    make_problem, options, norm, dtype
):
    problem, state = make_problem(WIDTHS, norm=norm, dtype=dtype, output_bias=True, **options)
    truth, loss = Reference.of(problem, state), problem.objective.separated_loss(state)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(loss.data, truth.data(), rtol=rtol)
    np.testing.assert_allclose(loss.penalties, truth.penalties(), rtol=rtol)
    assert problem.objective.penalised(state) == pytest.approx(truth.penalised(), rel=rtol)
    assert loss.total == pytest.approx(truth.separated_loss(), rel=rtol)
    problem.synchronise(state)
    e2 = np.mean(truth.c * problem_losses(problem, truth) ** 2)
    assert problem.objective.separated_loss(state).total == pytest.approx(e2, rel=rtol)


def problem_losses(problem, truth):
    """Return the smoothed losses of the true network."""
    e = np.empty(problem.n_samples)
    problem.loss.losses(np.ascontiguousarray(truth.logits()), problem.loss.y, e)
    return e


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_formulas_of_the_reference_are_finite_differences(make_problem, layer):
    problem, state = make_problem(WIDTHS, "gelu", n=5, output_bias=True, **EVERYTHING)
    truth = Reference.of(problem, state)
    in_W, in_b = truth.weight_gradient(layer)
    out_W, out_b = truth.output_gradient()
    for group, l, gradient in [
        ("A", layer, truth.auxiliary_gradient(layer)),
        ("W", layer, in_W),
        ("b", layer, in_b),
        ("W", 4, out_W),
        ("b", 4, out_b),
    ]:
        wanted = finite_difference_gradient(replaced(truth, group, l), getattr(truth, group)[l])
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_a_closed_form_leaves_no_gradient(make_problem, layer, dtype, tolerance):
    problem, state = make_problem(WIDTHS, dtype=dtype, **EVERYTHING)
    before = Reference.of(problem, state).weight_gradient(layer)
    assert LayerWeights(layer, "joint").update(problem, state).accepted == 1.0
    after = Reference.of(problem, state).weight_gradient(layer)
    size = max(np.abs(gradient).max() for gradient in before)
    assert max(np.abs(gradient).max() for gradient in after) <= tolerance * size


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_bias_after_the_weights_is_the_weighted_mean_of_the_remainder(make_problem, layer):
    problem, state = make_problem(WIDTHS, **EVERYTHING)
    LayerWeights(layer, "after").update(problem, state)
    mean = problem.loss.sample_weight @ state.R[layer] / problem.n_samples
    assert np.abs(mean).max() <= 1e-13


@pytest.mark.parametrize("bias", ["after", "joint"])
def test_a_singular_problem_is_solved_from_weighted_rows(make_problem, refresh_state, bias):
    # Two equal inputs: the Gram matrix is singular, the factor of the rows decides.
    problem, state = make_problem(WIDTHS, sample_weight=True)
    problem.samples.X[:, 1] = problem.samples.X[:, 0] * (1 + 1e-13)
    refresh_state(problem, state)
    root = np.sqrt(problem.loss.sample_weight)[:, None]
    S = (
        np.hstack([problem.samples.X, np.ones((problem.n_samples, 1))])
        if bias == "joint"
        else problem.samples.X
    )
    fit = np.linalg.lstsq(root * S, root * state.R[1], rcond=1e-10)[0]
    rest = root * (state.R[1] - S @ fit)
    step = check_contract(LayerWeights(1, bias), problem, state)
    assert step.method in ("qr", "svd")
    assert step.accepted == 1.0
    assert state.r2[1] <= np.sum(rest**2) * (1 + 1e-9)


@pytest.mark.parametrize("factor", [0.0, 1e-160])
def test_decay_keeps_weights_that_nothing_else_sees(make_problem, refresh_state, factor):
    problem, state = make_problem(WIDTHS, alpha=0.1)
    state.W[3] *= factor
    refresh_state(problem, state)
    old = state.W[2].copy()
    step = check_contract(LayerWeights(2), problem, state)
    assert step.accepted == 0.0
    np.testing.assert_array_equal(state.W[2], old)


@pytest.mark.parametrize("output_bias", [False, True])
def test_the_output_block_steps_along_the_negative_gradient(make_problem, output_bias):
    problem, state = make_problem(WIDTHS, output_bias=output_bias, **EVERYTHING)
    truth = Reference.of(problem, state)
    assert OutputWeights().update(problem, state).accepted == 1.0
    in_W, in_b = truth.output_gradient()
    step = assert_parallel(state.W[4] - truth.W[4], in_W)
    np.testing.assert_allclose(state.b[4] - truth.b[4], -step * in_b, rtol=1e-6, atol=1e-12)


@every_option
@pytest.mark.parametrize("norm", NORMS)
def test_newton_judges_its_steps_by_the_whole_cost_of_the_weights(make_problem, options, norm):
    problem, state = make_problem(WIDTHS, norm=norm, output_bias=True, **options)
    truth = Reference.of(problem, state)
    point = NewtonOutput()._measure(problem, state, state.W[4], state.b[4], truth.ridge(4))
    n = problem.n_samples
    wanted = n * truth.data() + truth.ridge(4) * truth.nu(4)
    wanted += n * truth.alpha / 2 * np.sum(truth.W[4] ** 2)
    assert point.f == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("line_search", ["row", "matrix"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_row_takes_the_step_that_it_takes_without_weights(make_problem, layer, line_search):
    results = []
    for weight in (None, np.ones(45), True):
        problem, state = make_problem(WIDTHS, n=45, sample_weight=weight)
        Auxiliaries(layer, line_search=line_search).update(problem, state)
        results.append(state.A[layer])
    np.testing.assert_array_equal(results[0], results[1])
    if line_search == "row":
        np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("norm", NORMS)
def test_decay_lowers_the_weights_and_weights_without_loss_vanish(make_problem, norm):
    problem, state = make_problem((3, 4, 2), alpha=1e6, norm=norm)
    for _ in range(5):
        check_contract(NewtonOutput(), problem, state)
    assert np.abs(state.W[2]).max() < 1e-3


# --- weights are repetitions -------------------------------------------------------------------


def run(problem, state, variant, sweeps):
    """Sweep; return the state, after checking every sweep against the reference."""
    solver = Alternating(**variant)
    solver.start(problem, state)
    before = Reference.of(problem, state).penalised()
    eps = float(np.finfo(problem.samples.X.dtype).eps)
    for _ in range(sweeps):
        solver.step(problem, state)
        truth = Reference.of(problem, state)
        now = truth.penalised()
        assert now <= before * (1 + 50 * eps)
        bound = problem.objective.constant * math.sqrt(truth.separated_loss())
        assert truth.smoothed_loss() <= bound * (1 + 1e-6)
        assert problem.objective.penalised(state) == pytest.approx(now, rel=2e4 * eps)
        before = now
    return state


def two_problems(make_problem, counts, options, **kwargs):
    """Return a problem with integer weights, and the one with so many copies of every sample."""
    counts = np.asarray(counts)
    n, total = len(counts), int(np.sum(counts))
    weighted, state = make_problem(
        WIDTHS, n=n, sample_weight=counts * (n / total), **options, **kwargs
    )
    index = np.repeat(np.arange(n), counts)
    loss = CrossEntropy(weighted.loss.y[index], WIDTHS[-1], None, weighted.loss.label_smoothing)
    X = np.ascontiguousarray(weighted.samples.X[index])
    repeated = TrainingProblem(
        weighted.network,
        loss,
        ArraySamples(X),
        weighted.team,
        weighted.objective.norm,
        alpha=weighted.alpha,
    )
    repeated.blocks = row_blocks(total, 16)
    other = copied(state)
    other.A = [state.A[0], *(A[index] for A in state.A[1:])]
    other.R = [other.R[0], *(R[index] for R in state.R[1:])]
    factor = total / n
    other.r2, other.e2 = state.r2 * factor, state.e2 * factor
    return (weighted, state), (repeated, other), index


COUNTS = {
    "repeated": np.random.default_rng(0).integers(1, 4, 20 if JIT_ENABLED else 7),
    "removed": np.arange(30 if JIT_ENABLED else 9) % 3 > 0,
    "both": np.random.default_rng(1).integers(0, 4, 25 if JIT_ENABLED else 8),
}


@every_variant
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
@pytest.mark.parametrize("options", [{}, {"alpha": 1e-3, "label_smoothing": 0.1}])
def test_integer_weights_are_repeated_samples(make_problem, variant, counts, options):
    (weighted, state), (repeated, other), index = two_problems(
        make_problem, counts.astype(int), options, residual=0.05
    )
    for sweeps in (1, 2):
        run(weighted, state, variant, sweeps)
        run(repeated, other, variant, sweeps)
        tolerance = {"rtol": 1e-6, "atol": 1e-8}
        for l in range(1, 5):
            np.testing.assert_allclose(state.W[l], other.W[l], **tolerance)
            np.testing.assert_allclose(state.b[l], other.b[l], **tolerance)
        for l in range(1, 4):
            np.testing.assert_allclose(state.A[l][index], other.A[l], **tolerance)
        F = (p.objective.separated_loss(s) for p, s in ((weighted, state), (repeated, other)))
        first, second = F
        assert first.total == pytest.approx(second.total, rel=1e-7)


# A first step length of W_L that is given as a number is one in the units of n F.
SCALED = [key for key in BLOCKS if key != "output-long-steps"]


@pytest.mark.parametrize("make_block", [BLOCKS[key] for key in SCALED], ids=SCALED)
@pytest.mark.parametrize("norm", NORMS)
def test_every_block_takes_integer_weights_for_repeated_samples(make_problem, make_block, norm):
    (weighted, state), (repeated, other), _ = two_problems(
        make_problem, COUNTS["both"], {"alpha": 1e-3, "label_smoothing": 0.1}, norm=norm
    )
    make_block().update(weighted, state)
    make_block().update(repeated, other)
    for l in range(1, 5):
        np.testing.assert_allclose(state.W[l], other.W[l], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(state.b[l], other.b[l], rtol=1e-7, atol=1e-9)
    first, second = weighted.objective.penalised(state), repeated.objective.penalised(other)
    assert first == pytest.approx(second, rel=1e-9)


def test_a_sample_without_weight_does_not_shorten_the_common_step(make_problem):
    # The sample with the largest loss would ask for the shortest step.
    worst = np.argmax(Reference.of(*make_problem(WIDTHS, n=12)).surrogate_losses())
    counts = (np.arange(12) != worst).astype(int)
    (weighted, state), (repeated, other), index = two_problems(make_problem, counts, {})
    block = Auxiliaries(3, line_search="matrix", reach=0.5)
    assert block.update(weighted, state).trials == block.update(repeated, other).trials == 1.0
    np.testing.assert_allclose(state.A[3][index], other.A[3], rtol=1e-12)


# --- the bound ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200 if JIT_ENABLED else 25)
@given(
    seed=st.integers(0, 2**32 - 1),
    hidden=st.lists(st.integers(1, 5), min_size=0, max_size=4),
    activation=st.sampled_from(sorted(ACTIVATION_CODES)),
    norm=st.sampled_from(NORMS),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    residual=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    spread=st.floats(0.0, 20.0),
    mean=st.sampled_from([1.0, 0.25, 3.0]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_the_weighted_separated_loss_bounds_the_weighted_smoothed_cross_entropy(
    make_problem, seed, hidden, activation, norm, scale, residual, spread, mean, smoothing
):
    c = np.exp(-spread * np.random.default_rng(seed).uniform(size=5))
    problem, state = make_problem(
        (2, *hidden, 3), activation, n=5, rows=3, seed=seed, norm=norm, scale=scale,
        residual=residual, sample_weight=c * (5 * mean / np.sum(c)), label_smoothing=smoothing,
    )  # fmt: skip
    truth, objective = Reference.of(problem, state), problem.objective
    bound = objective.constant * objective.separated_loss(state).root
    assert truth.smoothed_loss() <= bound * (1 + 1e-9)
    plain = bound_constant(problem.network.depth, problem.network.lipschitz)
    assert objective.constant == pytest.approx(plain * math.sqrt(mean), rel=1e-12)


# --- whole runs --------------------------------------------------------------------------------


@every_variant
@every_option
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_runs_are_monotone_and_keep_the_bound(make_problem, variant, options, norm, dtype):
    problem, state = make_problem(
        WIDTHS, norm=norm, dtype=dtype, residual=0.0, output_bias=norm == "spectral", **options
    )
    problem.synchronise(state)
    before = problem.objective.penalised(state)
    run(problem, state, variant, 8 if JIT_ENABLED else 2)
    assert problem.objective.penalised(state) < 0.99 * before


@pytest.mark.parametrize("widths", [(3, 4), (3, 5, 2)])
@every_variant
def test_shallow_networks_take_the_options_as_well(make_problem, variant, widths):
    run(*make_problem(widths, residual=0.0, output_bias=True, **EVERYTHING), variant, 4)


def fit(X, y, variant, **options):
    settings = {"hidden_layer_sizes": (6, 5), "max_iter": 6 if JIT_ENABLED else 2, "tol": 0.0}
    return train(
        X, y, solver="alternating", solver_options=variant, random_state=0,
        **(settings | {"n_iter_no_change": 100} | options),
    )  # fmt: skip


@every_variant
@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_runs_do_not_depend_on_the_number_of_threads(blobs, variant, dtype):
    X, y = blobs
    options = EVERYTHING | {"sample_weight": draw_weights(len(y))}
    one, two = (fit(X.astype(dtype), y, variant, n_threads=k, **options) for k in (1, 2))
    for a, b in zip(one.W + one.b, two.W + two.b, strict=True):
        assert a.dtype == dtype
        assert a.tobytes() == b.tobytes()


@every_variant
def test_the_history_reports_plain_losses_and_f_without_its_penalty(blobs, variant):
    X, y = blobs
    c = draw_weights(len(y))
    result = fit(X, y, variant, **(EVERYTHING | {"sample_weight": 7 * c}))
    truth = Reference(X, y, result.W, result.b, [X], sample_weight=c, smoothing=0.1)
    row = result.history[-1]
    assert row.loss == pytest.approx(truth.loss(), rel=1e-10)
    assert row.accuracy == pytest.approx(
        np.mean(c * (np.argmax(truth.logits(), axis=1) == y)), rel=1e-10
    )
    assert row.separated_loss**2 == pytest.approx(row.data + np.sum(row.penalties))
    assert truth.smoothed_loss() <= result.bound_constant * row.separated_loss * (1 + 1e-9)


@every_variant
def test_each_option_changes_the_result_and_neutral_values_do_not(blobs, variant):
    X, y = blobs
    plain = fit(X, y, variant)
    for name in EVERYTHING:
        value = draw_weights(len(y)) if name == "sample_weight" else 0.05
        assert np.any(fit(X, y, variant, **{name: value}).W[-1] != plain.W[-1])
    neutral = fit(X, y, variant, alpha=0.0, label_smoothing=0.0)
    assert neutral.W[-1].tobytes() == plain.W[-1].tobytes()


@pytest.mark.parametrize("solver", ["alternating", "quasi-newton"])
def test_the_bound_holds_where_the_weights_of_the_training_part_have_another_mean(blobs, solver):
    X, y = blobs
    c = np.where(X[:, 0] > 0.5, 30.0, 0.1)
    result = train(
        X, y, hidden_layer_sizes=(5,), solver=solver, sample_weight=c, early_stopping=True,
        validation_fraction=0.4, max_iter=5, random_state=0,
    )  # fmt: skip
    for row in result.history:
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-9)
    # Their weights get mean 1 again.
    wanted = bound_constant(2) if solver == "alternating" else 1.0
    assert result.bound_constant == pytest.approx(wanted, rel=1e-6)


# --- what counts as progress -------------------------------------------------------------------


class ShrinksIdleWeights(Alternating):
    """Only the penalty sees what it does: the first input is zero, its weights are halved."""

    promise = "none"

    def start(self, problem, state):
        pass

    def step(self, problem, state):
        state.W[1][:, 0] *= 0.5
        problem.synchronise(state)
        return [Step("W_1", 1.0, 1.0, "gradient")]


@pytest.mark.parametrize(("alpha", "status"), [(0.0, Status.CONVERGED), (1.0, Status.MAX_ITER)])
def test_a_fall_of_the_penalty_is_progress(blobs, alpha, status):
    X, y = blobs
    X = np.hstack([np.zeros((len(X), 1)), X])
    result = train(
        X, y, hidden_layer_sizes=(4,), solver=ShrinksIdleWeights(), alpha=alpha, tol=1e-9,
        n_iter_no_change=2, max_iter=5, random_state=0,
    )  # fmt: skip
    # Nothing is learned, which is said where it ends of its own accord.
    assert result.status is (Status.NOTHING_FOUND if status is Status.CONVERGED else status)


@pytest.mark.parametrize("alpha", [0.0, 1e-2])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_quasi_newton_stops_by_the_objective_that_it_lowers(blobs, alpha, smoothing):
    # Its objective falls in every step that is taken; the reported loss may rise meanwhile.
    X, y = blobs
    result = train(
        X, y, hidden_layer_sizes=(8,), solver="quasi-newton", alpha=alpha, tol=0.0,
        label_smoothing=smoothing, n_iter_no_change=1, random_state=0,
        max_iter=60 if JIT_ENABLED else 5,
    )  # fmt: skip
    taken = [row.steps[0].accepted == 1.0 for row in result.history[1:]]
    assert all(taken[:-1])
    rises = np.diff([row.loss for row in result.history]) > 0
    if JIT_ENABLED and (alpha or smoothing):
        assert np.any(rises[:-1])


# --- states that could not be built otherwise --------------------------------------------------


def test_weights_of_zero_for_a_whole_block_of_rows_are_no_trouble(make_problem):
    c = np.zeros(45)
    c[:10] = 4.5
    for make_block in BLOCKS.values():
        problem, state = make_problem(WIDTHS, n=45, rows=8, **(EVERYTHING | {"sample_weight": c}))
        check_contract(make_block(), problem, state)
        assert state.is_finite()


def test_a_problem_knows_the_mean_of_its_weights():
    network, X, y = Network.dense((2, 3)), np.ones((4, 2)), np.array([0, 1, 2, 0])
    loss = CrossEntropy(y, 3, np.array([0.0, 1.0, 2.0, 3.0]))
    assert TrainingProblem(network, loss, ArraySamples(X), Team(1)).objective.mean_weight == 1.5
    assert (
        TrainingProblem(
            network, CrossEntropy(y, 3), ArraySamples(X), Team(1)
        ).objective.mean_weight
        == 1.0
    )
