"""The bounds the solvers rest on, as properties of random states, and how tight they are.

With ``kappa_l = prod_{i>l} ||W_i||_2 c^(L-l)`` for c-Lipschitz activations, ``w_l = kappa_l^2``:

    CE <= C sqrt(F),   F = (1/n) [ sum e_n^2 + sum_l w_l |R_l|^2 ],   C = sqrt(1 + 2 (L-1))
    e_true,n <= e_aux,n exp(sqrt(2) rho_n),   rho_n = sum_l kappa_l |R_{l,n}|       (self-bounding)
    CE <= C_v sqrt(F_v),   F_v = (1/n) [ sum e_n^2 + sum_l w_l sum_n e_n^2 |R_{l,n}|^2 ],
    C_v^2 = 1 + 2 c_v^2 (L-1),   c_v = (exp(sqrt(2) r) - 1) / (sqrt(2) r),   r = max rho_n
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATIONS, Reference, cross_entropy

from lysep_fast.kernels import LIPSCHITZ
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.objective import bound_constant

ROOT2 = np.sqrt(2.0)
EXAMPLES = 60 if JIT_ENABLED else 15


@st.composite
def states(draw):
    """Return random networks with random auxiliaries, of all sizes of weights and residuals."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, n = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    activation = draw(st.sampled_from(sorted(ACTIVATIONS)))
    classes = draw(st.integers(2, 4))
    widths = [2, *rng.integers(1, 5, depth - 1), classes]
    scale = 10.0 ** draw(st.floats(-1.5, 1.0))
    size = 10.0 ** draw(st.floats(-6.0, 1.0))
    W, b = [np.empty((0, 0))], [np.empty(0)]
    for fan_in, fan_out in itertools.pairwise(widths):
        W.append(scale * rng.normal(size=(fan_out, fan_in)))
        b.append(rng.normal(size=fan_out))
    X, y = rng.normal(size=(n, 2)), rng.integers(0, classes, n)
    truth = Reference(X, y, W, b, [X], activation, "spectral")
    for l in range(1, depth):
        target = truth.prediction(l)
        truth.A.append(target + size * rng.normal(size=target.shape))
    return truth


def kappas(truth):
    """Return ``kappa_l``, l = 1..L-1."""
    L, c = truth.depth, LIPSCHITZ[truth.activation]
    return [np.sqrt(truth.weight(l)) * c ** (L - l) for l in range(1, L)]


def row_norms(truth):
    return [np.linalg.norm(truth.residual(l), axis=1) for l in range(1, truth.depth)]


def losses(truth):
    """Return ``e_true,n`` and ``e_aux,n``."""
    return cross_entropy(truth.logits(), truth.y), cross_entropy(truth.surrogate_logits(), truth.y)


def check_spectral_bound(truth, constant_factor=1.0):
    true, _ = losses(truth)
    constant = bound_constant(truth.depth, LIPSCHITZ[truth.activation])
    bound = constant_factor * constant * np.sqrt(truth.separated_loss())
    assert np.mean(true) <= bound * (1 + 1e-9) + 1e-300


def check_self_bounding(truth, exponent=ROOT2):
    true, aux = losses(truth)
    rho = sum((k * r for k, r in zip(kappas(truth), row_norms(truth), strict=True)), 0.0)
    # In logarithms: the exponential may overflow where the loss underflows.
    normal = aux > 1e-290
    with np.errstate(divide="ignore"):
        gap = np.log(true) - np.log(aux, where=normal, out=np.zeros_like(aux)) - exponent * rho
    assert np.all(gap[normal] <= 1e-9 * (1 + np.max(rho)))


def check_weighted_bound(truth, constant_factor=1.0):
    true, aux = losses(truth)
    parts = list(zip(kappas(truth), row_norms(truth), strict=True))
    rho = np.max(sum((k * r for k, r in parts), np.zeros(len(true))))
    c = np.expm1(ROOT2 * rho) / (ROOT2 * rho) if rho > 0 else 1.0
    F_v = np.mean(aux**2) + sum(k**2 * np.mean(aux**2 * r**2) for k, r in parts)
    constant = np.sqrt(1 + 2 * c**2 * (truth.depth - 1))
    assert np.mean(true) <= constant_factor * constant * np.sqrt(F_v) * (1 + 1e-9) + 1e-300


@settings(max_examples=EXAMPLES, deadline=None)
@given(states())
def test_the_spectral_separated_loss_bounds_the_cross_entropy(truth):
    check_spectral_bound(truth)


@settings(max_examples=EXAMPLES, deadline=None)
@given(states())
def test_a_sample_loss_grows_at_most_exponentially_in_its_residuals(truth):
    check_self_bounding(truth)


@settings(max_examples=EXAMPLES, deadline=None)
@given(states())
def test_the_loss_weighted_separated_loss_bounds_the_cross_entropy(truth):
    rho = sum((k * np.max(r) for k, r in zip(kappas(truth), row_norms(truth), strict=True)), 0.0)
    if rho < 200:  # beyond, the squared constant is infinite
        check_weighted_bound(truth)


@settings(max_examples=EXAMPLES, deadline=None)
@given(states())
def test_synchronising_raises_the_loss_by_at_most_the_squared_constant(truth):
    before = truth.separated_loss()
    for l in range(1, truth.depth):
        truth.A[l] = truth.prediction(l)
    constant = bound_constant(truth.depth, LIPSCHITZ[truth.activation])
    # One sample: there the mean of squares is the square of the mean.
    if len(truth.y) == 1:
        assert truth.separated_loss() <= constant**2 * before * (1 + 1e-9) + 1e-300


# --- states that (nearly) reach the bounds: a smaller constant must be noticed ------------------


def aligned_state(loss, residual):
    """Return one sample of two classes whose residual works against the label with all its force.

    Two layers, ``s`` = identity, ``||W_2||_2 = 1``: the surrogate loss is that of the margin
    `loss`, the true margin is worse by ``sqrt(2) residual``.
    """
    W = [np.empty((0, 0)), np.eye(1), np.array([[1.0], [-1.0]]) / ROOT2]
    b = [np.empty(0), np.zeros(1), np.zeros(2)]
    surrogate = -loss / ROOT2  # margin u_1 - u_0 = -sqrt(2) A_1 = loss
    X = np.array([[surrogate - residual]])
    A = [X, np.array([[surrogate]])]
    return Reference(X, np.array([0]), W, b, A, "identity", "spectral")


def test_the_aligned_state_is_as_it_says():
    true, aux = losses(aligned_state(3.0, 0.5))
    assert aux[0] == pytest.approx(np.logaddexp(0, 3.0))
    assert true[0] == pytest.approx(np.logaddexp(0, 3.0 + ROOT2 * 0.5))


def test_the_checks_pass_at_their_limit_and_notice_smaller_constants():
    large = aligned_state(50.0, ROOT2 * 50.0)
    check_spectral_bound(large)
    with pytest.raises(AssertionError):
        check_spectral_bound(large, 0.99)
    fitted = aligned_state(-30.0, 2.0)
    check_self_bounding(fitted)
    with pytest.raises(AssertionError):
        check_self_bounding(fitted, 0.99 * ROOT2)
    # sqrt(2) c rho = 2 makes Cauchy-Schwarz an equality: e (1 + c sqrt(2) rho) = C sqrt(F_v).
    fitted = aligned_state(-30.0, 1e-3)
    check_weighted_bound(fitted)
    rho = 0.8
    equal = aligned_state(-30.0, rho)
    check_weighted_bound(equal)
    with pytest.raises(AssertionError):
        check_weighted_bound(equal, 0.85)
