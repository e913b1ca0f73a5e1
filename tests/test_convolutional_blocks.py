"""The blocks of the sweep on convolutions: contract, kernel system, steps through pooling."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CONVOLUTIONAL, conv_network
from contract import assert_parallel, check_contract, replaced, variables
from reference import Reference, finite_difference_gradient

from lysep_fast.blocks import Auxiliaries, LayerWeights, OutputWeights
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers.conv import CONVOLUTION_NORMS
from lysep_fast.network import Network
from lysep_fast.solvers import Alternating

every_network = pytest.mark.parametrize("name", CONVOLUTIONAL)
every_norm = pytest.mark.parametrize("norm", CONVOLUTION_NORMS)
DTYPES = [np.float64, np.float32] if JIT_ENABLED else [np.float64]
ROWS = {"n": 21, "rows": 8} if JIT_ENABLED else {"n": 6, "rows": 2}
WEIGHTED = {"sample_weight": True, "label_smoothing": 0.1, "alpha": 0.05}
extras = pytest.mark.parametrize("extra", [{}, WEIGHTED], ids=["plain", "weighted"])

BLOCKS = {
    "output": lambda l: OutputWeights(),
    "output-long-steps": lambda l: OutputWeights(100.0, shrink=0.1, max_trials=20, steps=2),
    "weights-after": lambda l: LayerWeights(l),
    "weights-joint": lambda l: LayerWeights(l, "joint"),
    "weights-none": lambda l: LayerWeights(l, "none"),
    "weights-proximal": lambda l: LayerWeights(l, "joint", proximal=1e-2),
    "rows": lambda l: Auxiliaries(l),
    "rows-many-trials": lambda l: Auxiliaries(l, reach=64.0, shrink=0.25, steps=2),
    "rows-fixed-step": lambda l: Auxiliaries(l, step=10.0, max_trials=30),
    "matrix": lambda l: Auxiliaries(l, line_search="matrix"),
}
every_block = pytest.mark.parametrize("make_block", BLOCKS.values(), ids=BLOCKS.keys())


@every_block
@every_norm
@extras
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_block_keeps_the_contract(make_problem, make_block, norm, extra, dtype):
    for name, activation in (("two", "tanh"), ("no hidden layer", "softplus"), ("line", "relu")):
        network = conv_network(name, activation, output_bias=name == "two")
        problem, state = make_problem(network, norm=norm, dtype=dtype, **ROWS, **extra)
        for l in range(network.depth - 1, 0, -1):
            check_contract(make_block(l), problem, state)


@every_block
@pytest.mark.parametrize("zero", [1, 2, 3])
def test_every_block_keeps_the_contract_where_a_map_is_zero(
    make_problem, refresh_state, make_block, zero
):
    problem, state = make_problem(conv_network("two"), **ROWS)
    state.W[zero][...] = 0.0
    refresh_state(problem, state)
    for l in (3, 2, 1):
        check_contract(make_block(l), problem, state)
    assert state.is_finite()


@every_block
@every_network
def test_blocks_of_every_size_give_the_same_update(make_problem, make_block, name):
    results = []
    for rows in (3, 1000):
        problem, state = make_problem(conv_network(name), n=ROWS["n"], rows=rows)
        make_block(1).update(problem, state)
        results.append(variables(state))
    for key, array in results[1].items():
        np.testing.assert_allclose(array, results[0][key], rtol=1e-8, atol=1e-11)


# --- the kernel system ---------------------------------------------------------------------------


@every_network
@extras
@pytest.mark.parametrize("norm", ["frobenius", "patch"])
@pytest.mark.parametrize("bias", ["after", "joint", "none"])
@pytest.mark.parametrize("layer", [1, 2])
def test_the_kernel_system_is_least_squares_over_all_patches(
    make_problem, name, norm, bias, layer, extra
):
    network = conv_network(name)
    if layer >= network.depth:
        pytest.skip("the output layer has a block of its own")
    problem, state = make_problem(network, norm=norm, **ROWS, **extra)
    truth = Reference.of(problem, state)
    old = truth.b[layer].copy()
    step = LayerWeights(layer, bias).update(problem, state)
    assert step.accepted == 1.0
    truth.update_weights(layer, "joint" if bias == "joint" else "after")
    if bias == "none":
        truth.b[layer] = old
    # Taps that never see the image are free: compare the maps, not the kernels.
    found = Reference.of(problem, state)
    np.testing.assert_allclose(found.matrix(layer), truth.matrix(layer), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.b[layer], truth.b[layer], rtol=1e-8, atol=1e-9)


@every_network
@extras
@pytest.mark.parametrize("norm", ["frobenius", "patch"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_a_closed_form_leaves_no_gradient_and_a_second_update_does_nothing(
    make_problem, name, norm, dtype, tolerance, extra
):
    network = conv_network(name)
    problem, state = make_problem(network, norm=norm, dtype=dtype, **ROWS, **extra)
    for layer in range(1, network.depth):
        block, start = LayerWeights(layer, "joint"), Reference.of(problem, state)
        assert block.update(problem, state).accepted == 1.0
        before = start.weight_gradient(layer)
        after = Reference.of(problem, state).weight_gradient(layer)
        size = max(np.abs(gradient).max() for gradient in before)
        assert max(np.abs(gradient).max() for gradient in after) <= tolerance * size
        once = {key: array.copy() for key, array in variables(state).items()}
        check_contract(block, problem, state)
        for key, array in variables(state).items():
            np.testing.assert_allclose(array, once[key], rtol=tolerance, atol=30 * tolerance)


@every_network
def test_the_bias_after_the_kernels_is_the_mean_of_the_remainder_by_channel(make_problem, name):
    problem, state = make_problem(conv_network(name), sample_weight=True, **ROWS)
    LayerWeights(1, "after").update(problem, state)
    truth = Reference.of(problem, state)
    by_channel = truth.targets(1, truth.c[:, None] * state.R[1]).mean(axis=0)
    assert len(by_channel) == len(state.b[1])
    assert np.abs(by_channel).max() <= 1e-13


def constant_images(make_problem, refresh_state, network, *, residual=0.3, **options):
    """Return a problem whose patches are all the same up to the border: rank-deficient."""
    problem, state = make_problem(network, residual=residual, **ROWS, **options)
    problem.samples.X[...] = 1.0
    refresh_state(problem, state)
    return problem, state


@pytest.mark.parametrize("padding", [0, "same"])
@pytest.mark.parametrize("bias", ["after", "joint"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_images_take_the_fallback(make_problem, refresh_state, padding, bias, dtype):
    network = Network.convolutional((2, 6, 5), (2,), (3,), 3, padding=padding)
    problem, state = constant_images(make_problem, refresh_state, network, dtype=dtype)
    truth = Reference.of(problem, state)
    step = check_contract(LayerWeights(1, bias), problem, state)
    assert step.method in ("qr", "svd")
    assert step.accepted == 1.0
    # Many kernels are minimisers; the residual and F are those of all of them.
    truth.update_weights(1, bias)
    found = problem.objective.separated_loss(state).total
    rtol = 1e-9 if dtype == np.float64 else 1e-3
    assert found == pytest.approx(truth.separated_loss(), rel=rtol)
    assert np.abs(state.W[1]).max() < 100


@pytest.mark.parametrize("norm", ["frobenius", "patch"])
@pytest.mark.parametrize("bias", ["after", "joint", "none"])
def test_the_fallback_keeps_the_ridge_where_some_taps_never_see_the_image(
    make_problem, refresh_state, norm, bias
):
    # Taps beside a line of pixels cost nothing in the Frobenius norm; the others still do.
    network = conv_network("line", "identity")
    problem, state = make_problem(network, norm=norm, **ROWS)
    state.A[1][...] = 1.0  # constant features: the system is singular but for the ridge
    refresh_state(problem, state)
    truth = Reference.of(problem, state)
    assert truth.ridge(2) > 0.0
    LayerWeights(2, bias).update(problem, state)
    seen = truth.norm_diagonal(2) > 0.0
    assert np.all(seen) == (norm == "patch")
    after = Reference.of(problem, state)
    if bias == "after":
        after.b[2] = truth.b[2]  # the weights are the minimiser for the bias as it was
    size = np.abs(truth.weight_gradient(2)[0]).max()
    assert np.abs(after.weight_gradient(2)[0]).max() <= 1e-9 * size


@every_norm
def test_kernels_in_another_norm_are_damped_until_the_loss_does_not_rise(make_problem, norm):
    damped = 0
    for seed in range(6):
        problem, state = make_problem(conv_network("two"), norm=norm, scale=3.0, seed=seed, **ROWS)
        for layer in (3, 2, 1) * 2:
            check_contract(Auxiliaries(layer, reach=4.0), problem, state)
            step = check_contract(LayerWeights(layer, "joint"), problem, state)
            damped += 0.0 < step.accepted < 1.0
    assert damped == 0 or norm == "spectral"


# --- steps through pooling -----------------------------------------------------------------------


@every_network
@every_norm
@extras
def test_the_formulas_of_the_reference_are_finite_differences(make_problem, name, norm, extra):
    network = conv_network(name, "gelu", output_bias=True)
    problem, state = make_problem(network, norm=norm, n=3, rows=2, **extra)
    truth, rng = Reference.of(problem, state), np.random.default_rng(0)
    groups = [("A", l, truth.auxiliary_gradient(l)) for l in range(1, truth.depth)]
    if norm != "spectral":
        for l in range(1, truth.depth):
            groups += zip("Wb", (l, l), truth.weight_gradient(l), strict=True)
        groups += zip("Wb", (truth.depth,) * 2, truth.output_gradient(), strict=True)
    for group, l, gradient in groups:
        function, start = replaced(truth, group, l), getattr(truth, group)[l]
        direction = rng.normal(size=start.shape)
        h = 1e-6
        wanted = (function(start + h * direction) - function(start - h * direction)) / (2 * h)
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert np.vdot(gradient, direction) == pytest.approx(wanted, rel=1e-5, abs=1e-7 * size)


@every_network
@every_norm
@pytest.mark.parametrize("step", ["curvature", 1e-3])
def test_every_row_steps_along_its_own_negative_gradient(make_problem, name, norm, step):
    network = conv_network(name)
    for layer in range(1, network.depth):
        problem, state = make_problem(network, norm=norm, n=4, rows=3, sample_weight=True)
        check_rows_step_along_their_gradients(problem, state, layer, step)


def check_rows_step_along_their_gradients(problem, state, layer, step):
    """Compare with the gradient of what a row costs, by finite differences."""
    truth, reach, shrink = Reference.of(problem, state), 16.0, 0.25
    report = Auxiliaries(layer, step=step, reach=reach, shrink=shrink).update(problem, state)
    assert report.accepted == 1.0
    first = truth.first_step(layer, reach) if step == "curvature" else np.full(4, 1e-3)
    for n in range(problem.n_samples):

        def cost(a, n=n):
            return truth.row_objective(layer, n, a)

        gradient = finite_difference_gradient(cost, truth.A[layer][n])
        taken = assert_parallel(state.A[layer][n] - truth.A[layer][n], gradient, rtol=1e-5)
        k = np.log(taken / first[n]) / np.log(shrink)
        assert k == pytest.approx(round(k), abs=1e-4)
        assert cost(state.A[layer][n]) <= cost(truth.A[layer][n]) * (1 + 1e-12)


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("norm", ["frobenius", "patch"])
@extras
def test_the_output_block_above_a_pooled_convolution_follows_the_gradient(
    make_problem, output_bias, norm, extra
):
    network = conv_network("no hidden layer", output_bias=output_bias)
    problem, state = make_problem(network, norm=norm, residual=2.0, **ROWS, **extra)
    truth, L = Reference.of(problem, state), state.depth
    assert truth.pooling_norm(L) != 1.0
    OutputWeights().update(problem, state)
    gradient = finite_difference_gradient(replaced(truth, "W", L), truth.W[L])
    step = assert_parallel(state.W[L] - truth.W[L], gradient)
    if output_bias:
        gradient = finite_difference_gradient(replaced(truth, "b", L), truth.b[L])
        assert assert_parallel(state.b[L] - truth.b[L], gradient) == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("name", ["two", "no hidden layer"])
@pytest.mark.parametrize("bias", ["after", "joint"])
@pytest.mark.parametrize(
    "extra", [{}, {"sample_weight": True, "label_smoothing": 0.1}, {"alpha": 1e-4}], ids=str
)
def test_sweeps_follow_the_reference(make_problem, name, bias, extra):
    problem, state = make_problem(conv_network(name), n=6, rows=4, **extra)
    truth, solver, step = Reference.of(problem, state), Alternating(bias=bias), None
    solver.start(problem, state)
    for _ in range(2):
        solver.step(problem, state)
        step = 1.5 * truth.sweep(output_step=step, bias=bias) or None
    for l in range(1, truth.depth + 1):
        np.testing.assert_allclose(state.W[l], truth.W[l], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(state.b[l], truth.b[l], rtol=1e-6, atol=1e-8)
    F = problem.objective.separated_loss(state).total
    assert pytest.approx(truth.separated_loss(), rel=1e-7) == F
