"""Jets: the chain rule against differences along curves, dual numbers, and its own adjoint."""

from __future__ import annotations

import re

import llvmlite.binding
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config

from lysep_fast.features.jet import Jet
from lysep_fast.kernels import _jit, activation, activation_and_derivative
from lysep_fast.kernels import jet as jet_kernels
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.kernels.jet import JET_CODES

NAMES = list(JET_CODES)
DTYPES = [np.float64, np.float32]
# Without the JIT every entry costs a millisecond.
SHAPE = (37, 30) if JIT_ENABLED else (3, 5)
EXAMPLES = 40 if JIT_ENABLED else 8


def random_jet(r, seed=0, dtype=np.float64, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=(2 + r, *shape)).astype(dtype)


def apply(jet, J):
    """Return features and derivatives in new memory."""
    P, D = np.empty_like(J), np.empty((3, *J.shape[1:]), J.dtype)
    jet.forward(J, P, D)
    return P, D


def derivative(f, x, h):
    """Return a central difference of order eight."""
    weights = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
    return sum(w * (f(x + k * h) - f(x - k * h)) for k, w in enumerate(weights, 1)) / h


@pytest.mark.parametrize("name", NAMES)
def test_higher_derivatives_are_those_of_the_one_below(name):
    x = np.linspace(-6.1, 6.3, 301 if JIT_ENABLED else 21)[None, :]
    jet = Jet(name, 0)
    _, D = jet.derivatives(x)
    np.testing.assert_array_equal(D[0], activation_and_derivative(name, x)[1])
    for order in (1, 2):
        exact = derivative(lambda y, k=order: jet.derivatives(y)[1][k - 1], x, 0.01)
        np.testing.assert_allclose(D[order], exact, atol=2e-13)


@pytest.mark.parametrize("r", [0, 1, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_derivatives_along_curves(name, r):
    # The second derivative of s(A + t B_k) is s'' B_k^2, the first of s(A + t C) is s' C.
    J = random_jet(r)
    P, _ = apply(Jet(name, r), J)
    A, C, h = J[0], J[-1], 0.01
    np.testing.assert_array_equal(P[0], activation(name, A))
    second = derivative(lambda t: activation(name, A + t * C), 0.0, h)
    for k in range(1, r + 1):
        B = J[k]
        first = derivative(lambda t, B=B: activation(name, A + t * B), 0.0, h)
        np.testing.assert_allclose(P[k], first, atol=3e-11)

        def slope(t, B=B):
            return activation_and_derivative(name, A + t * B)[1] * B

        second += derivative(slope, 0.0, h)
    np.testing.assert_allclose(P[-1], second, atol=3e-9)


class Dual:
    """A number a + b e + c e^2 with e^3 = 0: its own little automatic differentiation."""

    def __init__(self, a, b=0.0, c=0.0):
        self.parts = np.array([a, b, c], float)

    def __add__(self, other):
        return Dual(*(self.parts + (other.parts if isinstance(other, Dual) else [other, 0, 0])))

    def __mul__(self, other):
        if not isinstance(other, Dual):
            return Dual(*(self.parts * other))
        (a, b, c), (x, y, z) = self.parts, other.parts
        return Dual(a * x, a * y + b * x, a * z + b * y + c * x)

    def reciprocal(self):
        a, b, c = self.parts
        return Dual(1 / a, -b / a**2, b * b / a**3 - c / a**2)

    def exp(self):
        a, b, c = self.parts
        return Dual(*(np.exp(a) * np.array([1, b, c + b * b / 2])))

    def tanh(self):
        return (self * 2.0).exp().__add__(1.0).reciprocal() * -2.0 + 1.0

    def sigmoid(self):
        return ((self * -1.0).exp() + 1.0).reciprocal()


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    name=st.sampled_from(["tanh", "sigmoid"]),
    a=st.floats(-5, 5),
    b=st.floats(-3, 3),
    c=st.floats(-3, 3),
)
def test_one_direction_agrees_with_dual_numbers(name, a, b, c):
    # Along x(t) = a + b t + c t^2 the coefficient of t^2 is s'' b^2 / 2 + s' c.
    P, _ = apply(Jet(name, 1), np.array([a, b, 2 * c]).reshape(3, 1, 1))
    value, first, second = getattr(Dual(a, b, c), name)().parts
    np.testing.assert_allclose(P.ravel(), [value, first, 2 * second], rtol=1e-12, atol=1e-13)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    name=st.sampled_from(NAMES),
    r=st.integers(0, 4),
    rows=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_adjoint_has_the_inner_product_of_the_linear_map(name, r, rows, seed):
    jet = Jet(name, r)
    J, dJ, G = (random_jet(r, seed + i, shape=(rows, 3)) for i in range(3))
    _, D = apply(jet, J)
    adjoint = jet.vjp(J, G, np.empty_like(J), D)
    moved = derivative(lambda t: apply(jet, J + t * dJ)[0], 0.0, 0.01)
    np.testing.assert_allclose(
        np.vdot(G, moved), np.vdot(adjoint, dJ), atol=1e-8 * np.abs(G).sum()
    )
    np.testing.assert_array_equal(jet.vjp(J, G, np.empty_like(J)), adjoint)


@pytest.mark.parametrize("r", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_adjoint_formula(name, r):
    jet, J, G = Jet(name, r), random_jet(r), random_jet(r, 1)
    _, (first, second, third) = apply(jet, J)
    B, C, gS, gT, gQ = J[1:-1], J[-1], G[0], G[1:-1], G[-1]
    squares = (B * B).sum(0)
    gA = first * gS + second * (B * gT).sum(0) + (third * squares + second * C) * gQ
    out = jet.vjp(J, G, np.empty_like(J))
    np.testing.assert_allclose(out[0], gA, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(out[1:-1], first * gT + 2 * second * B * gQ, atol=1e-13)
    np.testing.assert_allclose(out[-1], first * gQ, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_in_place_gives_the_same_features(name, dtype):
    jet, J = Jet(name, 3), random_jet(3, dtype=dtype)
    P, _ = apply(jet, J)
    assert jet.forward(J, J) is J
    np.testing.assert_allclose(J, P, rtol=0, atol=30 * np.finfo(dtype).eps)


@pytest.mark.parametrize("entries", [0, 1, 63, 64, 129, 2047, 2049, 4133])
def test_every_size_gives_the_entries_of_a_whole_array(entries, monkeypatch):
    # Whole tiles, single entries that are left, one or several chunks: all in one row of numbers.
    if not JIT_ENABLED:
        monkeypatch.setattr(jet_kernels, "_CHUNK", 50)
        entries = min(entries, 129)
    jet, J, G = Jet("tanh", 2), random_jet(2, shape=(1, 4200)), random_jet(2, 1, shape=(1, 4200))
    whole, D = apply(jet, J)
    adjoint = jet.vjp(J, G, np.empty_like(J), D)
    part = np.ascontiguousarray(J[:, :, :entries])
    P, part_D = apply(jet, part)
    np.testing.assert_allclose(P, whole[:, :, :entries], rtol=0, atol=1e-14)
    np.testing.assert_allclose(part_D, D[:, :, :entries], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(jet.forward(part, np.empty_like(part)), P)
    out = jet.vjp(part, np.ascontiguousarray(G[:, :, :entries]), np.empty_like(part), part_D)
    np.testing.assert_allclose(out, adjoint[:, :, :entries], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_the_result_is_written(dtype):
    # The tiles move whole vectors: neighbours in memory must not be touched.
    jet, J, G = Jet("gelu", 3), random_jet(3, dtype=dtype), random_jet(3, 1, dtype=dtype)
    before = J.copy(), G.copy()
    fences = [np.full(k * J[0].size + 128, 7, dtype) for k in (5, 3, 5)]
    P, D, out = (f[64:-64].reshape(-1, *SHAPE) for f in fences)
    jet.forward(J, P, D)
    jet.vjp(J, G, out, D)
    np.testing.assert_array_equal(J, before[0])
    np.testing.assert_array_equal(G, before[1])
    for fence in fences:
        assert np.all(fence[:64] == 7)
        assert np.all(fence[-64:] == 7)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_accurate_to_its_rounding(name):
    J = random_jet(4, dtype=np.float32)
    G = random_jet(4, 1, dtype=np.float32)
    jet = Jet(name, 4)
    P, D = apply(jet, J)
    wide, wide_D = apply(jet, J.astype(float))
    assert P.dtype == D.dtype == np.float32
    np.testing.assert_allclose(D, wide_D, rtol=0, atol=2e-6)
    np.testing.assert_allclose(P, wide, rtol=2e-6, atol=2e-5)
    adjoint = jet.vjp(J, G, np.empty_like(J), D)
    exact = jet.vjp(J.astype(float), G.astype(float), np.empty(J.shape), wide_D)
    np.testing.assert_allclose(adjoint, exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_reaches_what_depends_on_it_and_nothing_else(name, dtype):
    jet, clean = Jet(name, 2), random_jet(2, dtype=dtype)
    for channel, reached in ((0, [0, 1, 2, 3]), (1, [1, 3]), (3, [3])):
        J = clean.copy()
        J[channel, 1, 2] = np.nan
        P, _ = apply(jet, J)
        expected = np.zeros(J.shape, bool)
        expected[reached, 1, 2] = True
        np.testing.assert_array_equal(np.isnan(P), expected)
        adjoint = jet.vjp(J, clean, np.empty_like(J))
        assert np.isnan(adjoint[0, 1, 2])
        assert np.isnan(adjoint).sum() == np.isnan(adjoint[:, 1, 2]).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "sin"])
def test_saturated_neurons_are_flat(name, dtype):
    far = [50.0, 1e6, np.finfo(dtype).max, np.inf]
    A = np.array([far, [-x for x in far]], dtype)
    _, D = Jet(name, 1).derivatives(A)
    np.testing.assert_allclose(D[1:], 0.0, atol=1e-12)
    assert np.all(np.isfinite(D))


def _has_avx2():
    chosen = config.CPU_NAME or config.CPU_FEATURES or config.BOUNDSCHECK
    return not chosen and bool(llvmlite.binding.get_host_cpu_features().get("avx2"))


@pytest.mark.slow
@pytest.mark.skipif(not JIT_ENABLED or not _has_avx2(), reason="no AVX2 code to look at")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activations_are_vectorised(name, dtype):
    # The chain rule is vector code in any case; the activation before it is a loop for LLVM.  Only
    # that loop divides, or for sin changes signs as bits.
    array = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 3, "C")
    fresh = _jit.kernel(cache=False)(getattr(jet_kernels, f"_{name}_forward").py_func)
    fresh.compile((array,) * 3)
    code = fresh.inspect_llvm(fresh.signatures[0])
    element = r"(float|i32)" if dtype == np.float32 else r"(double|i64)"
    operation = "xor" if name == "sin" else "fdiv"
    assert re.search(rf"{operation} [a-z ]*<\d+ x {element}>", code)


@pytest.mark.parametrize("name", ["relu", "identity", "swish"])
def test_an_activation_without_second_derivative_is_refused(name):
    with pytest.raises(ValueError, match=f"activation='{name}' has no jet.*use one of 'tanh'"):
        Jet(name, 2)


def test_number_of_directions_is_checked():
    with pytest.raises(ValueError, match="r must be at least 0, got -1"):
        Jet("tanh", -1)
    assert Jet("sin", 3).n_channels == 5
    assert repr(Jet("sin", 3)) == "Jet('sin', 3)"
    assert Jet("sigmoid", 1).lipschitz == 0.25


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_network_jet_agrees_with_torch(name):
    torch = pytest.importorskip("torch")
    functions = {
        "tanh": torch.tanh,
        "sin": torch.sin,
        "softplus": torch.nn.functional.softplus,
        "gelu": torch.nn.functional.gelu,
        "sigmoid": torch.sigmoid,
    }
    rng = np.random.default_rng(3)
    d, m, n = 3, 6, 4
    W = [rng.normal(size=s) for s in ((m, d), (m, m))]
    b, w, X = rng.normal(size=(2, m)), rng.normal(size=m), rng.normal(size=(n, d))

    def network(x):
        for weight, bias in zip(W, b, strict=True):
            x = functions[name](torch.from_numpy(weight) @ x + torch.from_numpy(bias))
        return torch.from_numpy(w) @ x

    jet = Jet(name, d)
    P = np.zeros((d + 2, n, d))
    P[0] = X
    P[1:-1] = np.eye(d)[:, None, :]
    for weight, bias in zip(W, b, strict=True):
        J = P @ weight.T
        J[0] += bias
        P = jet.forward(J, np.empty_like(J))
    u = P @ w
    x = torch.from_numpy(X)
    gradient = torch.func.vmap(torch.func.jacrev(network))(x).numpy()
    hessian = torch.func.vmap(torch.func.jacfwd(torch.func.jacrev(network)))(x).numpy()
    np.testing.assert_allclose(u[1:-1].T, gradient, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(u[-1], np.trace(hessian, axis1=1, axis2=2), rtol=1e-11, atol=1e-12)
