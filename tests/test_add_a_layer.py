"""A layer kind made by following docs/add_a_layer.md: it trains with the solvers that claim it.

The kind is a diagonal map, ``U_i = S_i W_i + b``: one row of weights, used at m positions, each of
which sees one input.
"""

from __future__ import annotations

import numpy as np
import pytest
from contract import check_contract
from reference import finite_difference_gradient

from lysep_fast import Result
from lysep_fast.blocks import Auxiliaries, LayerWeights
from lysep_fast.features import Activation, PooledActivation
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers import Convolution, Dense
from lysep_fast.loop import Stopping, run
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes.full import gradient_pass
from lysep_fast.result import Status
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers import SOLVERS, make_solver
from lysep_fast.solvers.abilities import FEATURE_ABILITIES, LAYER_ABILITIES, lacking
from lysep_fast.solvers.training import NetworkTraining
from lysep_fast.threads.team import Team

M = 6


class Diagonal:
    """The toy kind, with no more than the page asks for."""

    is_matrix, shares_weights = False, True
    has_gram = has_closed_form = True

    def __init__(self, size):
        self.n_inputs = self.n_outputs = self.n_positions = size
        self.weight_shape, self.input_shape = (1, size), (size,)

    def apply(self, S, W, out):
        return np.multiply(S, W[0], out=out)

    def adjoint(self, G, W, out):
        return np.multiply(G, W[0], out=out)

    def correlation(self, T, S, out):
        out[0] = np.einsum("ni,ni->i", T, S)
        return out

    def gram(self, S, out):
        out[...] = np.diag(np.einsum("ni,ni->i", S, S))
        return out

    def patch_sum(self, S):
        return S.sum(axis=0, dtype=np.float64)

    def patch_matrix(self, S):
        return (S[:, :, None] * np.eye(self.n_inputs, dtype=S.dtype)).reshape(-1, self.n_inputs)

    def add_bias(self, Z, b):
        Z += b[0]
        return Z

    def bias_sum(self, G):
        return np.array([G.sum(dtype=np.float64)])

    def norm_diagonal(self, kind):
        return np.ones(self.n_inputs)

    def squared_norm(self, W, kind):
        square = np.square(W, dtype=np.float64)
        return float(np.max(square) if kind == "spectral" else np.sum(square))

    def initial_scale(self):
        return 1.0

    def __eq__(self, other):
        return isinstance(other, Diagonal) and other.n_inputs == self.n_inputs

    def __hash__(self):
        return hash(self.n_inputs)

    def __repr__(self):
        return f"Diagonal({self.n_inputs})"


class Bare(Diagonal):
    """A kind without anything for closed forms and metrics."""

    has_gram = has_closed_form = False
    gram = patch_sum = patch_matrix = norm_diagonal = None


def network(kind=Diagonal, activation="tanh"):
    """Return dense, toy, dense, dense: the toy has another kind below and above."""
    layers = (Dense(2, M), kind(M), Dense(M, 5), Dense(5, 3))
    hidden = Activation(activation)
    return Network(layers, (Activation("identity"), hidden, hidden, hidden))


def first_network():
    """Return the toy on the inputs themselves, followed by another one."""
    hidden = Activation("tanh")
    return Network(
        (Diagonal(2), Diagonal(2), Dense(2, 3)), (Activation("identity"), hidden, hidden)
    )


def training(net, X, y, solver, team, **options):
    """Return what the loop trains, and its result."""
    problem = TrainingProblem(net, CrossEntropy(y, 3), ArraySamples(X), team)
    W, b = net.initial_weights(np.random.default_rng(1), X.dtype, "orthogonal")
    result = Result(net, W, b, n_threads=1)
    return NetworkTraining(problem, make_solver(solver, options), result), result


def trained(net, X, y, solver, sweeps, **options):
    with Team(1) as team:
        run_, result = training(net, X, y, solver, team, **options)
        run(run_, Stopping(sweeps, 0.0, sweeps, Status.CONVERGED, Status.MAX_ITER))
    return result


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("net", [network(), first_network()], ids=["inside", "first"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_toy_trains_with_every_solver(blobs, solver, net, dtype):
    X, y = blobs
    result = trained(net, X.astype(dtype), y, solver, 15 if JIT_ENABLED else 4)
    losses = [row.loss for row in result.history]
    # Plain Python takes fewer samples and sweeps.
    assert losses[-1] < (0.9 if JIT_ENABLED else 1.0) * losses[0]
    moved = net.initial_weights(np.random.default_rng(1), dtype, "orthogonal")[0]
    for l, layer in enumerate(net.layers, start=1):
        if isinstance(layer, Diagonal):
            assert np.any(result.W[l] != moved[l])
    assert result.predict(X[:5]).shape == (5,)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_blocks_keep_their_contract_around_the_toy(make_problem, refresh_state, layer):
    # The reference knows the toy as the dense matrix that it is.
    dense = Network.dense((2, M, M, 5, 3))
    problem, state = make_problem(dense, residual=0.3)
    np.copyto(state.W[2], np.diag(np.linspace(-1.0, 1.5, M)))
    state.b[2][...] = 0.2
    refresh_state(problem, state)
    check_contract(Auxiliaries(layer), problem, state)
    toy = TrainingProblem(network(), problem.loss, problem.samples, problem.team)
    toy.blocks = problem.blocks
    own = toy.synchronised_state(
        [*state.W[:2], np.diag(state.W[2])[None].copy(), *state.W[3:]],
        [*state.b[:2], state.b[2][:1].copy(), *state.b[3:]],
    )
    for l in range(1, 4):
        own.A[l][...], own.R[l][...] = state.A[l], state.R[l]
    own.r2[...], own.e2 = state.r2, state.e2
    np.testing.assert_allclose(own.nu, state.nu, rtol=1e-12)
    before = toy.objective.separated_loss(own).total
    assert before == pytest.approx(problem.objective.separated_loss(state).total, rel=1e-12)
    for block in (LayerWeights(layer, "joint"), Auxiliaries(layer)):
        assert block.update(toy, own).accepted > 0.0
        after = toy.objective.separated_loss(own).total
        assert after <= before * (1 + 1e-12)
        before = after


def test_the_gradient_through_the_toy_is_a_finite_difference(blobs):
    X, y = blobs[0][:9], blobs[1][:9]
    net, team = network(), Team(1)
    problem = TrainingProblem(net, CrossEntropy(y, 3), ArraySamples(X), team)
    W, b = net.initial_weights(np.random.default_rng(0), np.dtype(float))
    found = gradient_pass(net, W, b, problem.batch, team, grams=True)

    def loss(value):
        kept, W[2] = W[2], value
        total = gradient_pass(net, W, b, problem.batch, team).evaluation.loss
        W[2] = kept
        return total

    wanted = finite_difference_gradient(loss, W[2])
    np.testing.assert_allclose(found.gradient.layers[2][:, :-1], wanted, rtol=1e-6, atol=1e-8)
    assert found.grams[2].shape == (M + 1, M + 1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_a_solver_needs_and_a_layer_lacks_is_named(blobs, solver):
    X, y = blobs
    with Team(1) as team, pytest.raises(ValueError, match=rf"{solver}.*layer 2, Diagonal\(6\)"):
        training(network(Bare), X, y, solver, team)[0].start()


def test_a_solver_that_wants_matrices_names_itself_the_layer_and_the_remedy(blobs):
    X, y = blobs
    message = (
        r"solver='alternating' with variant='co-moving' cannot train layer 2, Diagonal\(6\), "
        r"which is not the product with its matrix of weights; choose one of solver='alternating' "
        r"with variant='paper', solver='quasi-newton'"
    )
    with Team(1) as team, pytest.raises(ValueError, match=message):
        training(network(), X, y, "alternating", team, variant="co-moving")[0].start()


def test_a_feature_map_that_a_solver_cannot_handle_is_named():
    class Entries(PooledActivation):
        """Entries of images in a fully connected network."""

    pooled = Entries("tanh", (1, 2, 3), (2, 1))
    net = Network((Dense(2, 6), Dense(3, 2)), (Activation("identity"), pooled))
    assert "feature map after layer 1" in lacking(net, ("is_matrix", "is_entrywise"))
    assert lacking(net, ("has_gram",)) is None


def test_every_ability_is_one_of_a_known_part():
    for kind in (Dense(2, 3), Convolution((1, 3, 3), 2), Diagonal(3)):
        for name in LAYER_ABILITIES:
            assert isinstance(getattr(kind, name), bool)
    for kind in (Activation("tanh"), PooledActivation("tanh", (1, 2, 2), 2)):
        for name in FEATURE_ABILITIES:
            assert isinstance(getattr(kind, name), bool)
    known = {*LAYER_ABILITIES, *FEATURE_ABILITIES}
    for solver in (*(make_solver(name) for name in SOLVERS),):
        assert set(solver.needs) <= known
    assert set(make_solver("alternating", {"variant": "co-moving"}).needs) <= known


def test_the_last_layer_has_to_be_a_matrix():
    with pytest.raises(ValueError, match=r"last layer.*Diagonal\(3\)"):
        Network((Dense(2, 3), Diagonal(3)), (Activation("identity"), Activation("tanh")))
