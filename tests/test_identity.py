"""A weighted closed-form sweep from a synchronised state is a preconditioned gradient step.

R_{l,n} = -t delta_{l,n} / (w_l v_n),   min_dW  sum_n v_n |R_{l,n} - dW S_n|^2 + mu |dW|^2
gives  dW_l = -(t / w_l) (sum_n delta_{l,n} S_n') (sum_n v_n S_n S_n' + mu I)^-1
"""

from __future__ import annotations

import numpy as np
import pytest
from reference import ACTIVATIONS, Reference, softmax

from lysep_fast.metrics.layers import LayerMetric, measured_weights
from lysep_fast.network.parameters import Parameters, parameter_shapes
from lysep_fast.passes.full import Batch, gradient_pass
from lysep_fast.threads.team import Team

WIDTHS, MU, STEP = (3, 5, 4, 3), 0.05, 0.7


def synchronised(make_problem, activation, seed=0):
    problem, state = make_problem(WIDTHS, activation, output_bias=True, residual=0.0, seed=seed)
    problem.synchronise(state)
    state.b[3][...] = [0.3, -0.2, 0.1]
    return problem, state


def deltas(truth):
    """Return ``delta_l``, l = 1..L, of the cross-entropy."""
    G = softmax(truth.logits())
    G[np.arange(len(G)), truth.y] -= 1
    delta = [None] * truth.depth + [G]
    for l in range(truth.depth - 1, 0, -1):
        delta[l] = (delta[l + 1] @ truth.W[l + 1]) * truth.ds(truth.A[l])
    return delta


def closed_form(truth, l, R, v, ridge):
    """Solve the weighted least-squares problem of layer l by its stacked system."""
    S = np.hstack([truth.features(l - 1), np.ones((len(v), 1))])
    root = np.sqrt(v)[:, None]
    stacked = np.vstack([root * S, np.sqrt(ridge) * np.eye(S.shape[1])])
    targets = np.vstack([root * R, np.zeros((S.shape[1], R.shape[1]))])
    return np.linalg.lstsq(stacked, targets, rcond=None)[0].T


def plain_sweep(truth, w, v, t, mu):
    """Return the steps of all layers, and the damping used."""
    delta, steps = deltas(truth), [None]
    for l in range(1, truth.depth + 1):
        S = np.hstack([truth.features(l - 1), np.ones((len(v), 1))])
        ridge = mu * np.sum(v[:, None] * S**2) / S.shape[1]
        steps.append(closed_form(truth, l, -t * delta[l] / (w[l] * v[:, None]), v, ridge))
    return steps


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_sweep_from_a_synchronised_state_is_a_step_in_the_layer_metric(make_problem, activation):
    problem, state = synchronised(make_problem, activation)
    truth = Reference.of(problem, state)
    P = softmax(truth.logits())
    q = 1 - P[np.arange(len(P)), truth.y]
    v = q / np.sum(q)
    sizes = np.array([0.0, *(np.sum(d**2) for d in deltas(truth)[1:])])
    w = measured_weights(sizes)
    wanted = plain_sweep(truth, w, v, STEP, MU)

    batch = Batch.make(problem.samples, problem.loss, problem.network)
    with Team(1) as team:
        found = gradient_pass(problem.network, state.W, state.b, batch, team, grams=True)
    np.testing.assert_allclose(found.sizes, sizes, rtol=1e-11)
    grams = [gram / found.gram_weight for gram in found.grams]
    metric = LayerMetric(grams, measured_weights(found.sizes), MU, [True] * (truth.depth + 1))
    out = found.gradient.like(np.empty_like(found.gradient.theta))
    metric.apply_inverse(found.gradient, out)
    for l in range(1, truth.depth + 1):
        size = np.abs(wanted[l]).max()
        np.testing.assert_allclose(-STEP * out.layers[l], wanted[l], rtol=1e-8, atol=1e-11 * size)


@pytest.mark.parametrize("seed", range(5))
def test_the_identity_holds_for_any_weights_of_samples_and_layers(make_problem, seed):
    problem, state = synchronised(make_problem, "tanh", seed)
    truth, rng = Reference.of(problem, state), np.random.default_rng(seed)
    v, w = rng.uniform(0.1, 2.0, len(problem.samples)), rng.uniform(0.1, 10.0, truth.depth + 1)
    sweep, delta = plain_sweep(truth, w, v, STEP, MU), deltas(truth)
    for l in range(1, truth.depth + 1):
        S = np.hstack([truth.features(l - 1), np.ones((len(v), 1))])
        gram = S.T @ (v[:, None] * S)
        gram += MU * np.trace(gram) / len(gram) * np.eye(len(gram))
        step = -STEP / w[l] * np.linalg.solve(gram, S.T @ delta[l]).T
        size = np.abs(step).max()
        np.testing.assert_allclose(sweep[l], step, rtol=1e-8, atol=1e-12 * size)


def test_an_output_layer_without_bias_takes_the_step_of_its_weights_alone(make_problem):
    problem, state = make_problem(WIDTHS, residual=0.0)
    problem.synchronise(state)
    truth = Reference.of(problem, state)
    P = softmax(truth.logits())
    q = 1 - P[np.arange(len(P)), truth.y]
    v = q / np.sum(q)
    batch = Batch.make(problem.samples, problem.loss, problem.network)
    with Team(1) as team:
        found = gradient_pass(problem.network, state.W, state.b, batch, team, grams=True)
    out = found.gradient.like(np.empty_like(found.gradient.theta))
    grams = [gram / found.gram_weight for gram in found.grams]
    LayerMetric(grams, np.ones(4), MU, [True, True, True, False]).apply_inverse(
        found.gradient, out
    )
    S, delta = truth.features(2), deltas(truth)[3]
    gram = S.T @ (v[:, None] * S)
    ridge = MU * (np.trace(gram) + 1) / (len(gram) + 1)
    wanted = np.linalg.solve(gram + ridge * np.eye(len(gram)), S.T @ delta).T
    np.testing.assert_allclose(out.layers[3][:, :-1], wanted, rtol=1e-9)
    np.testing.assert_array_equal(out.layers[3][:, -1], 0.0)


def test_parameters_carry_the_same_numbers_as_weights_and_biases(make_problem):
    problem, state = synchronised(make_problem, "tanh")
    packed = Parameters.pack(parameter_shapes(problem.network), state.W, state.b)
    W, b = [w.copy() for w in state.W], [v.copy() for v in state.b]
    for array in (*state.W[1:], *state.b[1:]):
        array[...] = 0.0
    packed.unpack(state.W, state.b)
    for mine, old in zip(state.W + state.b, W + b, strict=True):
        np.testing.assert_array_equal(mine, old)
