"""The contract of the blocks of a differential equation, and blocks that break it.

A block touches only the variables it declares; the separated loss, recomputed from scratch, does
not rise (for which weights is said in contract_pde.floor_of); features follow their jets; closed
forms leave no gradient; steps of the jets are those of the formulas, point by point.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from contract_pde import check_contract, variables
from pde_problems import PROBLEMS, build, separate
from reference_pde import PdeReference

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.kernels.jet import JET_CODES
from lysep_fast.pde.blocks import HiddenJets, LastJets, LayerWeights, OutputWeights, sweep_blocks
from lysep_fast.pde.solvers_separated import WEIGHTS
from lysep_fast.report import Step
from lysep_fast.threads.team import Team

DEPTHS = {1: (4,), 2: (5, 4), 3: (4, 5, 3)}
every_problem = pytest.mark.parametrize("name", list(PROBLEMS))
every_weight = pytest.mark.parametrize("weights", WEIGHTS)


@pytest.fixture
def make():
    """Return a function that makes a separated problem and a state of disturbed jets."""
    with Team(1) as team:

        def made(name, weights="frobenius", disturb=0.2, **options):
            problem, state = build(team, name, **options)
            return separate(problem, state, weights, disturb), state

        yield made


# --- every block, every equation, both weightings ----------------------------------------------


@every_problem
@every_weight
@pytest.mark.parametrize("depth", list(DEPTHS))
def test_every_block_keeps_the_contract(make, name, weights, depth):
    problem, state = make(name, weights, widths=DEPTHS[depth])
    blocks = sweep_blocks(depth)
    for _ in range(3 if JIT_ENABLED else 1):
        for block in blocks:
            assert check_contract(block, problem, state).accepted > 0.5
    # In another order and alone they keep it too.
    for block in reversed(blocks):
        check_contract(block, problem, state)


@every_weight
@pytest.mark.parametrize("activation", list(JET_CODES))
def test_every_block_keeps_the_contract_with_every_activation(make, weights, activation):
    problem, state = make("cubic", weights, activation=activation, seed=1)
    for block in sweep_blocks(2):
        check_contract(block, problem, state)


@every_problem
@every_weight
@pytest.mark.parametrize("disturb", [0.0, 3.0])
def test_every_block_keeps_the_contract_without_residuals_and_far_off(
    make, name, weights, disturb
):
    problem, state = make(name, weights, disturb, seed=2)
    for block in sweep_blocks(2):
        check_contract(block, problem, state)


@every_weight
@pytest.mark.parametrize("zero", ["w", "W1", "W2"])
def test_every_block_keeps_the_contract_where_a_map_is_zero(make, weights, zero):
    for block in sweep_blocks(2):
        problem, state = make("linear", weights)
        variables(state)[zero][...] = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            check_contract(block, problem, state)
        assert all(np.all(np.isfinite(array)) for array in variables(state).values())


def test_the_floor_of_the_neuron_weights_may_raise_the_loss_though_not_without_it(make):
    # A neuron that the layer above ignores has the floor for its weight.  When that layer's other
    # weights grow, the floor does, and with it the price of this neuron's residual.
    problem, state = make("linear", "neuron", 0.0)
    for part in state.jets.parts:
        part.J[1][..., 0] += 1e3
        part.refresh(1)
    state.hidden.W[2] *= 0.1
    state.hidden.W[2][:, 0] = 0.0
    before = PdeReference(problem, state)
    check_contract(LayerWeights(2), problem, state)
    after = PdeReference(problem, state)
    assert after.value(0.0) < before.value(0.0)
    assert after.value() > 1.1 * before.value()


@every_problem
def test_a_sweep_lowers_the_loss_much(make, name):
    problem, state = make(name)
    before = PdeReference(problem, state).value()
    for _ in range(2):
        for block in sweep_blocks(2):
            block.update(problem, state)
    assert PdeReference(problem, state).value() < 0.9 * before


# --- closed forms ------------------------------------------------------------------------------

CLOSED = {"w": OutputWeights, "1": lambda: LayerWeights(1), "2": lambda: LayerWeights(2)}


@every_problem
@every_weight
@pytest.mark.parametrize("which", list(CLOSED))
def test_a_closed_form_leaves_no_gradient_and_a_second_update_does_nothing(
    make, name, weights, which
):
    problem, state = make(name, weights)
    block, start = CLOSED[which](), PdeReference(problem, state)
    check_contract(block, problem, state)
    truth = PdeReference(problem, state)

    def gradients(at):
        arrays = [at.w] if which == "w" else [at.W[int(which)], at.b[int(which)]]
        return np.concatenate([at.gradient(array).ravel() for array in arrays])

    assert np.abs(gradients(truth)).max() <= 1e-6 * np.abs(gradients(start)).max()
    once = {key: array.copy() for key, array in variables(state).items()}
    check_contract(block, problem, state)
    for key, array in variables(state).items():
        # A nonlinear equation is solved until the loss resolves no more: to half of the digits.
        atol = 1e-8 if state.jets.is_linear else 1e-6
        np.testing.assert_allclose(array, once[key], rtol=1e-7, atol=atol)


@every_problem
@every_weight
@pytest.mark.parametrize("l", [1, 2, 3])
def test_layer_weights_agree_with_lstsq_on_the_stacked_system(make, name, weights, l):
    problem, state = make(name, weights, widths=DEPTHS[3])
    wanted = PdeReference(problem, state).least_squares(l)
    LayerWeights(l).update(problem, state)
    found = np.column_stack([state.hidden.W[l], state.hidden.b[l]])
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)


# --- steps of the jets -------------------------------------------------------------------------


def step_lengths(block, problem, state, directions):
    """Update the jets; return the report and every point's step along its direction."""
    start = PdeReference(problem, state)
    report = block.update(problem, state)
    after, lengths = PdeReference(problem, state), []
    for s, direction in enumerate(directions):
        change = after.J[s][block.layer] - start.J[s][block.layer]
        t = np.sum(change * direction, axis=(0, 2)) / np.sum(direction**2, axis=(0, 2))
        gap = np.abs(change - t[:, None] * direction).max(axis=(0, 2))
        assert np.all(gap <= 1e-5 * np.abs(change).max(axis=(0, 2)) + 1e-14)
        assert np.all(after.pointwise(s) <= start.pointwise(s) * (1 + 1e-11))
        lengths.append(t)
    return report, np.concatenate(lengths)


def check_halvings(report, first, t):
    """Check that steps are halves of the first ones, as often as the report says."""
    moved = t > 0.0
    halvings = np.log2(first[moved] / t[moved])
    np.testing.assert_allclose(halvings, np.round(halvings), atol=1e-4)
    trials = np.full(len(t), 6.0)
    trials[moved] = 1 + np.round(halvings)
    assert report.accepted == pytest.approx(moved.mean())
    assert report.trials == pytest.approx(trials.mean())
    assert report.accepted > 0.5


def downhill(problem, state, l):
    """Return minus half the gradient of every point's objective in J_l, by differences."""
    truth = PdeReference(problem, state)
    return [
        -0.5 * truth.along_jets(s, l, functools.partial(truth.pointwise, s))
        for s in range(len(truth.sets))
    ]


@every_problem
@every_weight
@pytest.mark.parametrize("l", [1, 2])
def test_hidden_jets_step_along_their_own_negative_gradient(make, name, weights, l):
    problem, state = make(name, weights, widths=DEPTHS[3])
    truth, block = PdeReference(problem, state), HiddenJets(l)
    om = truth.omegas()[l]
    first = np.concatenate(
        [
            np.full(len(on.f), 1 / np.max(om * truth.channel_weights(s, l)))
            for s, on in enumerate(truth.sets)
        ]
    )
    for _ in range(2):
        directions = downhill(problem, state, l)
        report, t = step_lengths(block, problem, state, directions)
        check_halvings(report, first, t)
        # Next a point tries twice what it took, or less than anything that it tried.
        first = np.where(t > 0.0, 2 * t, first / 64)
        np.testing.assert_allclose(block.steps, first, rtol=1e-4)
        first = block.steps.copy()


@every_problem
@every_weight
def test_last_jets_go_to_the_minimiser_of_their_linearised_problem(make, name, weights):
    problem, state = make(name, weights, 1.0)
    truth, H = PdeReference(problem, state), 2
    directions = []
    for s in range(len(truth.sets)):
        g = truth.along_jets(s, H, functools.partial(truth.residual, s))
        r, e = truth.residual(s), truth.difference(s, H)
        root = np.sqrt(truth.omegas()[H] * truth.channel_weights(s, H))
        d = np.empty(e.shape)
        for n in range(len(r)):
            system = np.vstack(
                [g[:, n].ravel(), np.diag(np.broadcast_to(root[:, 0], g[:, n].shape).ravel())]
            )
            right = np.append(-r[n], -(root[:, 0] * e[:, n]).ravel())
            d[:, n] = np.linalg.lstsq(system, right, rcond=None)[0].reshape(d[:, n].shape)
        directions.append(d)
    report, t = step_lengths(LastJets(H), problem, state, directions)
    check_halvings(report, np.ones(len(t)), t)


@pytest.mark.parametrize("l", [1, 2])
def test_points_without_success_stay_as_they_were(make, l):
    problem, state = make("linear")
    block = HiddenJets(1) if l == 1 else LastJets(2)
    if l == 1:
        block.steps = np.full(state.jets.n_rows, 1e12)
    else:
        # So steep that the linear model says nothing about any of the trials.
        state.w *= np.inf
    old = {name: array.copy() for name, array in variables(state).items()}
    with np.errstate(all="ignore"):
        step = block.update(problem, state)
    assert (step.accepted, step.trials) == (0.0, 6.0)
    for name, array in variables(state).items():
        assert array.tobytes() == old[name].tobytes(), name


def test_the_formulas_of_the_reference_are_finite_differences_of_each_other(make):
    # The value of F is the sum over points, and the stacked system has the gradient of F.
    problem, state = make("cubic", "neuron", widths=DEPTHS[3])
    truth = PdeReference(problem, state)
    shares = [on.weight * truth.pointwise(s).sum() for s, on in enumerate(truth.sets)]
    assert truth.value() == pytest.approx(sum(shares))
    solved = truth.least_squares(2)
    truth.W[2][...], truth.b[2][...] = solved[:, :-1], solved[:, -1]
    size = truth.value(0.0)
    assert np.abs(truth.gradient(truth.W[2])).max() <= 1e-8 * size
    assert np.abs(truth.gradient(truth.b[2])).max() <= 1e-8 * size


# --- step lengths belong to their block ----------------------------------------------------------


def test_step_lengths_are_the_state_of_their_block(make):
    problem, state = make("heat")
    block, other = HiddenJets(1), HiddenJets(1)
    assert block.state_dict() == {"steps": None}
    block.update(problem, state)
    other.load_state_dict(block.state_dict())
    assert other.steps is not block.steps
    np.testing.assert_array_equal(other.steps, block.steps)
    assert [block.state_dict() for block in (OutputWeights(), LastJets(2), LayerWeights(1))] == [
        {}
    ] * 3


def test_a_sweep_goes_from_the_last_layer_to_the_first():
    names = [block.name for block in sweep_blocks(3)]
    assert names == ["w", "J_3", "W_3", "J_2", "W_2", "J_1", "W_1"]
    assert [block.name for block in sweep_blocks(1)] == ["w", "J_1", "W_1"]


# --- blocks that break the contract ------------------------------------------------------------


class Broken:
    """Base of the blocks below: does nothing, declares J_1."""

    name = "broken"

    def touches(self, state):
        return {"J1"}

    def change(self, problem, state):
        pass

    def update(self, problem, state):
        self.change(problem, state)
        return Step(self.name, 1.0, 1.0, "gradient")


class TouchesAnother(Broken):
    def change(self, problem, state):
        state.hidden.b[2][0] = np.nextafter(state.hidden.b[2][0], np.inf)


class WritesTheInput(Broken):
    def change(self, problem, state):
        P = state.jets.parts[-1].P[0]
        P[0, 0, 0] = np.nextafter(P[0, 0, 0], np.inf)


class Uphill(Broken):
    step = -0.01

    def change(self, problem, state):
        direction = downhill(problem, state, 1)[0]
        for part in state.jets.parts:
            if part.channels > 1:
                part.J[1] += self.step * direction[:, part.rows]
                part.refresh(1)


class LeavesTheFeatures(Broken):
    def change(self, problem, state):
        state.jets.parts[-1].P[1] *= 1 + 1e-9


class LeavesTheDerivatives(Broken):
    def change(self, problem, state):
        state.jets.parts[0].D[1][2] *= 1 + 1e-9


class ForgetsTheChannels(Broken):
    def change(self, problem, state):
        problem.value = lambda state, value=problem.value: value(state) * (1 + 1e-8)


class SaysNothingMoved(Uphill):
    step = 1e-6

    def update(self, problem, state):
        self.change(problem, state)
        return Step(self.name, 0.0, 1.0, "gradient")


class SaysTooMuch(Broken):
    def update(self, problem, state):
        return Step(self.name, 2.0, 1.0, "gradient")


class Misnamed(Broken):
    def touches(self, state):
        return {"J9"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (TouchesAnother, "touched b2"),
        (WritesTheInput, "touched P0"),
        (Uphill, "raised the separated loss"),
        (LeavesTheFeatures, "left P1 off J1"),
        (LeavesTheDerivatives, "left D1 off J1"),
        (ForgetsTheChannels, "stale F"),
        (SaysNothingMoved, "reports no step but moved"),
        (SaysTooMuch, "reports a share of 2"),
        (Misnamed, "do not exist"),
    ],
)
def test_the_check_notices_a_block_that_breaks_the_contract(make, broken, message):
    with pytest.raises(AssertionError, match=message):
        check_contract(broken(), *make("linear"))


def test_the_check_lets_an_idle_block_pass(make):
    check_contract(Broken(), *make("linear"))
