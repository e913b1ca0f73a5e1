"""The contract that every block keeps, and blocks that break it to test the check itself.

A block touches only the variables it declares; the separated loss, recomputed from scratch in
float64, does not rise; residuals and cached sums stay those of the variables.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from contract import assert_parallel, check_contract, replaced, variables
from reference import Reference, finite_difference_gradient

from lysep_fast.blocks import Auxiliaries, LayerWeights, OutputWeights
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.dense import NORMS
from lysep_fast.report import Step

# --- every block, every norm, both precisions --------------------------------------------------

BLOCKS = {
    "output": lambda: OutputWeights(),
    "output-long-steps": lambda: OutputWeights(100.0, shrink=0.1, max_trials=20, steps=3),
    "weights-1-after": lambda: LayerWeights(1),
    "weights-2-after": lambda: LayerWeights(2),
    "weights-1-joint": lambda: LayerWeights(1, "joint"),
    "weights-3-joint": lambda: LayerWeights(3, "joint"),
    "weights-2-none": lambda: LayerWeights(2, "none"),
    "weights-2-proximal": lambda: LayerWeights(2, "joint", proximal=1e-2),
    "hidden-rows": lambda: Auxiliaries(1),
    "hidden-rows-many-trials": lambda: Auxiliaries(2, reach=64.0, shrink=0.25, steps=3),
    "hidden-rows-fixed-step": lambda: Auxiliaries(2, step=10.0, max_trials=30),
    "hidden-matrix": lambda: Auxiliaries(1, line_search="matrix"),
    "hidden-matrix-fixed-step": lambda: Auxiliaries(
        1, line_search="matrix", step=10.0, max_trials=30, steps=2
    ),
    "last-rows": lambda: Auxiliaries(3),
    "last-rows-many-trials": lambda: Auxiliaries(3, reach=64.0, shrink=0.25, steps=3),
    "last-rows-fixed-step": lambda: Auxiliaries(3, step=10.0, max_trials=30),
    "last-matrix": lambda: Auxiliaries(3, line_search="matrix", reach=8.0),
    "last-matrix-fixed-step": lambda: Auxiliaries(3, line_search="matrix", step=1.0),
}
every_block = pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())
WIDTHS = (3, 4, 5, 4, 3)


@every_block
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_every_block_keeps_the_contract(make_problem, make_block, norm, dtype, activation):
    problem, state = make_problem(
        WIDTHS, activation, norm=norm, dtype=dtype, output_bias=activation == "tanh"
    )
    block = make_block()
    first = check_contract(block, problem, state)
    assert first.accepted > 0
    check_contract(block, problem, state)


@every_block
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "sin", "gelu"])
def test_every_block_keeps_the_contract_with_the_other_activations(
    make_problem, make_block, activation
):
    problem, state = make_problem(WIDTHS, activation, seed=3, residual=1.0, scale=2.0)
    assert check_contract(make_block(), problem, state).accepted > 0


@every_block
def test_every_block_keeps_the_contract_without_residuals(make_problem, make_block):
    problem, state = make_problem(WIDTHS, residual=0.0)
    problem.synchronise(state)
    check_contract(make_block(), problem, state)


@every_block
def test_every_block_keeps_the_contract_with_one_sample(make_problem, make_block):
    problem, state = make_problem(WIDTHS, n=1)
    check_contract(make_block(), problem, state)


@every_block
@pytest.mark.parametrize("layer", [2, 3, 4])
def test_every_block_keeps_the_contract_where_a_linear_map_is_zero(
    make_problem, refresh_state, make_block, layer
):
    problem, state = make_problem(WIDTHS)
    state.W[layer][...] = 0.0
    refresh_state(problem, state)
    check_contract(make_block(), problem, state)
    assert state.is_finite()


@every_block
def test_every_block_keeps_the_contract_with_huge_weights_above(
    make_problem, refresh_state, make_block
):
    problem, state = make_problem(WIDTHS, residual=1e-6)
    state.W[3] *= 1e5
    refresh_state(problem, state)
    check_contract(make_block(), problem, state)


@every_block
def test_blocks_of_every_size_give_the_same_update(make_problem, make_block):
    results = []
    for rows in (3, 16, 1000):
        problem, state = make_problem(WIDTHS, rows=rows)
        make_block().update(problem, state)
        results.append(state)
    for other in results[1:]:
        for name, array in variables(other).items():
            np.testing.assert_allclose(array, variables(results[0])[name], rtol=1e-9, atol=1e-12)


# --- closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["joint", "none"])
@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_a_closed_form_leaves_no_gradient_and_a_second_update_does_nothing(
    make_problem, bias, layer, dtype, tolerance
):
    problem, state = make_problem(WIDTHS, dtype=dtype)
    start, block = Reference.of(problem, state), LayerWeights(layer, bias)
    assert block.update(problem, state).accepted == 1.0
    truth = Reference.of(problem, state)
    before, after = start.weight_gradient(layer), truth.weight_gradient(layer)
    size = np.abs(before[0]).max()
    assert np.abs(after[0]).max() <= tolerance * size
    if bias == "joint":
        assert np.abs(after[1]).max() <= tolerance * max(size, np.abs(before[1]).max())
    once = {name: array.copy() for name, array in variables(state).items()}
    check_contract(block, problem, state)
    for name, array in variables(state).items():
        np.testing.assert_allclose(array, once[name], rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_bias_after_the_weights_is_the_mean_of_the_remainder(make_problem, layer):
    problem, state = make_problem(WIDTHS)
    old_bias = state.b[layer].copy()
    LayerWeights(layer, "after").update(problem, state)
    assert np.abs(state.R[layer].mean(axis=0)).max() <= 1e-13
    # The weights are the minimiser for the bias as it was.
    truth = Reference.of(problem, state)
    truth.b[layer] = old_bias
    size = np.abs(truth.weight(layer) * truth.features(layer - 1).T @ truth.A[layer]).max()
    assert np.abs(truth.weight_gradient(layer)[0]).max() <= 1e-11 * size


@pytest.mark.parametrize("bias", ["after", "joint", "none"])
@pytest.mark.parametrize("layer", [1, 2])
def test_closed_forms_agree_with_lstsq_on_the_stacked_system(make_problem, bias, layer):
    problem, state = make_problem(WIDTHS)
    truth = Reference.of(problem, state)
    LayerWeights(layer, bias).update(problem, state)
    b = truth.b[layer].copy()
    truth.update_weights(layer, "joint" if bias == "joint" else "after")
    if bias == "none":
        truth.b[layer] = b
    np.testing.assert_allclose(state.W[layer], truth.W[layer], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.b[layer], truth.b[layer], rtol=1e-9, atol=1e-12)


def test_a_closed_form_of_another_norm_is_damped_until_the_loss_does_not_rise(make_problem):
    # The solve minimises a Frobenius model; with spectral weights its full step can be too long.
    damped = 0
    for seed in range(10):
        problem, state = make_problem(WIDTHS, norm="spectral", scale=3.0, seed=seed)
        for _ in range(6):
            for layer in (3, 2, 1):
                check_contract(Auxiliaries(layer, reach=4.0), problem, state)
                step = check_contract(LayerWeights(layer, "joint"), problem, state)
                damped += 0.0 < step.accepted < 1.0
    assert damped > 0


def test_a_solve_that_rounding_spoils_is_taken_back(make_problem, refresh_state):
    # Two features differ in the last place of a single sample: in float32 the weights of the
    # solve are so large that their rounding alone raises the loss.
    problem, state = make_problem(WIDTHS, dtype=np.float32, n=11, residual=1.0)
    X = problem.samples.X
    X[:, 1] = X[:, 0]
    X[0, 1] = np.nextafter(X[0, 1], np.float32(9))
    refresh_state(problem, state)
    old = {name: array.copy() for name, array in variables(state).items()}
    cached = problem.objective.separated_loss(state).total
    step = check_contract(LayerWeights(1, "none"), problem, state)
    assert problem.objective.separated_loss(state).total <= cached * (1 + 1e-6)
    if step.accepted == 0.0:
        for name, array in variables(state).items():
            assert array.tobytes() == old[name].tobytes(), name


# --- gradient steps ----------------------------------------------------------------------------


small = {} if JIT_ENABLED else {"n": 5, "rows": 2}


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("activation", ["tanh", "gelu", "identity"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_formulas_of_the_reference_are_finite_differences(
    make_problem, layer, activation, norm
):
    problem, state = make_problem(WIDTHS, activation, norm=norm, n=5, output_bias=True)
    truth = Reference.of(problem, state)
    groups = [("A", truth.auxiliary_gradient(layer))]
    if norm == "frobenius":
        in_W, in_b = truth.weight_gradient(layer)
        groups += [("W", in_W), ("b", in_b)]
    for group, gradient in groups:
        wanted = finite_difference_gradient(
            replaced(truth, group, layer), getattr(truth, group)[layer]
        )
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("widths", [WIDTHS, (3, 2)], ids=str)
def test_the_output_block_steps_along_the_negative_gradient(make_problem, widths, output_bias):
    problem, state = make_problem(widths, output_bias=output_bias, **small)
    truth, L = Reference.of(problem, state), state.depth
    OutputWeights().update(problem, state)
    gradient = finite_difference_gradient(replaced(truth, "W", L), truth.W[L])
    step = assert_parallel(state.W[L] - truth.W[L], gradient)
    if output_bias:
        gradient = finite_difference_gradient(replaced(truth, "b", L), truth.b[L])
        bias_step = assert_parallel(state.b[L] - truth.b[L], gradient)
        assert bias_step == pytest.approx(step, rel=1e-6)
    else:
        assert not np.any(state.b[L])


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_fixed_step_of_the_whole_matrix_is_tau_times_the_gradient(
    make_problem, layer, norm, activation
):
    problem, state = make_problem(WIDTHS, activation, norm=norm, **small)
    truth, tau = Reference.of(problem, state), 1e-3
    block = Auxiliaries(layer, line_search="matrix", step=tau, shrink=0.5)
    step = block.update(problem, state)
    gradient = finite_difference_gradient(replaced(truth, "A", layer), truth.A[layer])
    taken = assert_parallel(state.A[layer] - truth.A[layer], gradient)
    assert taken == pytest.approx(tau * 0.5 ** (step.trials - 1), rel=1e-5)


@pytest.mark.parametrize("step", ["curvature", 1e-3])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_every_row_steps_along_its_own_negative_gradient(make_problem, layer, norm, step):
    problem, state = make_problem(WIDTHS, norm=norm, **small)
    truth, reach, shrink = Reference.of(problem, state), 16.0, 0.25
    report = Auxiliaries(layer, step=step, reach=reach, shrink=shrink).update(problem, state)
    gradient = finite_difference_gradient(replaced(truth, "A", layer), truth.A[layer])
    first = np.full(problem.n_samples, 1e-3)
    if step == "curvature":
        first = truth.first_step(layer, reach)
    trials = []
    for n in range(problem.n_samples):
        taken = assert_parallel(state.A[layer][n] - truth.A[layer][n], gradient[n], rtol=1e-5)
        k = np.log(taken / first[n]) / np.log(shrink)
        assert k == pytest.approx(round(k), abs=1e-4)
        trials.append(1 + round(k))
    assert report.accepted == 1.0
    assert report.trials == pytest.approx(np.mean(trials))


def test_rows_search_on_their_own(make_problem):
    # With long first steps some rows need more trials than others.
    problem, state = make_problem(WIDTHS, residual=1.0, scale=3.0)
    truth = Reference.of(problem, state)
    Auxiliaries(3, reach=64.0, shrink=0.5).update(problem, state)
    truth_step = truth.first_step(3, 64.0)
    gradient = truth.auxiliary_gradient(3)
    taken = -np.sum((state.A[3] - truth.A[3]) * gradient, axis=1) / np.sum(gradient**2, axis=1)
    assert len(np.unique(np.round(np.log2(taken / truth_step)))) > 1
    for n in range(problem.n_samples):
        rows = truth.row_objective(3, n, state.A[3][n]), truth.row_objective(3, n, truth.A[3][n])
        assert rows[0] <= rows[1] * (1 + 1e-12)


@pytest.mark.parametrize("line_search", ["row", "matrix"])
@pytest.mark.parametrize("layer", [2, 3])
def test_a_search_without_success_leaves_everything_as_it_was(make_problem, layer, line_search):
    problem, state = make_problem(WIDTHS)
    old = {name: array.copy() for name, array in variables(state).items()}
    sums = state.nu.copy(), state.r2.copy(), state.e2
    block = Auxiliaries(layer, line_search=line_search, step=1e12, max_trials=2)
    step = check_contract(block, problem, state)
    assert (step.accepted, step.trials) == (0.0, 2.0)
    for name, array in variables(state).items():
        assert array.tobytes() == old[name].tobytes()
    np.testing.assert_array_equal(state.nu, sums[0])
    np.testing.assert_allclose(state.r2, sums[1], rtol=1e-14)
    assert state.e2 == pytest.approx(sums[2], rel=1e-14)


def test_an_output_search_without_success_leaves_everything_as_it_was(make_problem):
    problem, state = make_problem(WIDTHS)
    old = {name: array.copy() for name, array in variables(state).items()}
    step = check_contract(OutputWeights(1e12, max_trials=2), problem, state)
    assert (step.accepted, step.trials) == (0.0, 2.0)
    for name, array in variables(state).items():
        assert array.tobytes() == old[name].tobytes()


def test_the_next_output_search_starts_from_the_last_accepted_step(make_problem):
    problem, state = make_problem(WIDTHS)
    block = OutputWeights(growth=1.5)
    steps = []
    for _ in range(3):
        truth = Reference.of(problem, state)
        report = block.update(problem, state)
        step = assert_parallel(state.W[4] - truth.W[4], truth.output_gradient()[0])
        steps.append((step, report.trials))
    for (former, _), (step, trials) in itertools.pairwise(steps):
        assert step == pytest.approx(1.5 * former * 0.5 ** (trials - 1), rel=1e-6)


# --- blocks that break the contract ------------------------------------------------------------


class Broken:
    """Base of the blocks below: does nothing, declares A_1 and R_1."""

    name = "broken"

    def touches(self, state):
        return {"A1", "R1"}

    def change(self, problem, state, truth):
        pass

    def update(self, problem, state):
        self.change(problem, state, Reference.of(problem, state))
        return Step(self.name, 1.0, 1.0, "gradient")


class TouchesAnother(Broken):
    def change(self, problem, state, truth):
        state.b[2][0] = np.nextafter(state.b[2][0], np.inf)


class WritesTheInput(Broken):
    def change(self, problem, state, truth):
        problem.samples.X[0, 0] = np.nextafter(problem.samples.X[0, 0], np.inf)


class Uphill(Broken):
    def touches(self, state):
        return {"A1", "R1", "R2"}

    def change(self, problem, state, truth):
        state.A[1][...] += 0.01 * truth.auxiliary_gradient(1)
        self.refresh(problem, state)


class LeavesTheResidual(Broken):
    def change(self, problem, state, truth):
        state.A[1][...] -= 1e-3 * truth.auxiliary_gradient(1)


class StaleSum(Broken):
    def change(self, problem, state, truth):
        state.r2[1] *= 1 - 1e-6


class StaleNorm(Broken):
    def change(self, problem, state, truth):
        state.nu[2] *= 1 - 1e-6


class StaleLoss(Broken):
    def change(self, problem, state, truth):
        state.e2 *= 1 - 1e-6


class SaysNothingMoved(Broken):
    def touches(self, state):
        return {"A1", "R1", "R2"}

    def update(self, problem, state):
        truth = Reference.of(problem, state)
        state.A[1][...] -= 1e-3 * truth.auxiliary_gradient(1)
        self.refresh(problem, state)
        return Step(self.name, 0.0, 1.0, "gradient")


class Misnamed(Broken):
    def touches(self, state):
        return {"A9"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (TouchesAnother, "touched b2"),
        (WritesTheInput, "touched X"),
        (Uphill, "raised the separated loss"),
        (LeavesTheResidual, "left R1 off"),
        (StaleSum, "stale r2"),
        (StaleNorm, "stale nu"),
        (StaleLoss, "stale e2"),
        (SaysNothingMoved, "reports no step but moved"),
        (Misnamed, "do not exist"),
    ],
)
def test_the_check_notices_a_block_that_breaks_the_contract(
    make_problem, refresh_state, broken, message
):
    problem, state = make_problem(WIDTHS)
    block = broken()
    block.refresh = refresh_state
    with pytest.raises(AssertionError, match=message):
        check_contract(block, problem, state)


def test_the_check_lets_an_idle_block_pass(make_problem):
    check_contract(Broken(), *make_problem(WIDTHS))


# --- arguments ---------------------------------------------------------------------------------


def test_unknown_modes_are_named():
    with pytest.raises(ValueError, match=r"line_search.*'column'"):
        Auxiliaries(1, line_search="column")
    with pytest.raises(ValueError, match=r"bias.*'before'"):
        LayerWeights(1, "before")
