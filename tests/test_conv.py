"""Convolution against explicit loops, its sparse matrix and its patch matrix."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from helpers import sparse_kernel_solve, sparse_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers import Convolution
from lysep_fast.layers.conv_gram import has_lag_gram

DTYPES = [np.float64, np.float32]

# Image (channels, height, width), output channels, kernel, stride, padding.
GEOMETRIES = [
    ((1, 6, 6), 1, 3, 1, 0),
    ((1, 8, 5), 4, 3, 1, "same"),
    ((3, 5, 7), 2, (3, 5), 1, "same"),
    ((2, 6, 9), 5, (3, 2), 1, (1, 0)),
    ((5, 4, 5), 3, 1, 1, 0),
    ((1, 5, 4), 2, (5, 4), 1, 0),  # kernel as large as the image: one position
    ((2, 3, 4), 3, (4, 5), 1, (2, 1)),  # kernel larger than the image
    ((2, 4, 4), 3, 2, 1, 3),  # more padding than the kernel can use
    ((1, 9, 9), 2, 5, 1, 1),
    ((2, 7, 8), 3, (3, 2), (2, 1), 1),
    ((3, 8, 7), 4, 3, 2, 0),
    ((2, 6, 6), 3, 1, 3, 0),  # stride larger than the kernel: unseen pixels
    ((2, 9, 8), 3, (5, 3), (2, 3), (3, 0)),
    ((1, 4, 4), 2, 3, 2, 3),
]
if JIT_ENABLED:
    GEOMETRIES += [
        ((4, 14, 14), 7, 5, 1, "same"),
        ((1, 28, 28), 6, 5, 1, 0),
        ((6, 28, 28), 5, 3, 1, 0),
    ]


def build(geometry):
    image, channels, kernel, stride, padding = geometry
    return Convolution(image, channels, kernel, stride=stride, padding=padding)


def draw(layer, rows, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (rows, layer.n_inputs), (rows, layer.n_outputs), layer.weight_shape
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def by_loops(layer, S, W):
    """Convolve by the definition: four nested loops and no padding arithmetic."""
    (c_out, height, width), (c_in, *size) = layer.output_shape, layer.image_shape
    X = S.astype(float).reshape(-1, *layer.image_shape)
    K = W.astype(float).reshape(c_out, c_in, *layer.kernel_size)
    out = np.zeros((len(S), c_out, height, width))
    positions, taps = np.ndindex(height, width), list(np.ndindex(*layer.kernel_size))
    for (i, j), (di, dj) in itertools.product(positions, taps):
        y = i * layer.stride[0] + di - layer.padding[0]
        x = j * layer.stride[1] + dj - layer.padding[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            out[:, :, i, j] += X[:, :, y, x] @ K[:, :, di, dj].T
    return out.reshape(len(S), -1)


def close(actual, wanted, dtype, factor=100.0):
    """Check to rounding, relative to the largest entry."""
    assert actual.shape == wanted.shape
    size = max(np.abs(wanted).max(), np.finfo(dtype).tiny)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=factor * np.finfo(dtype).eps * size)


@pytest.fixture(params=GEOMETRIES, ids=str)
def layer(request):
    return build(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5])
def test_the_map_is_the_convolution_and_its_sparse_matrix(layer, rows, dtype):
    S, G, W = draw(layer, rows, dtype)
    C = sparse_matrix(layer, W.astype(float))
    out = layer.apply(S, W, np.full_like(G, 9))
    assert out.dtype == dtype
    close(out, by_loops(layer, S, W), dtype)
    close(out, S @ C.T, dtype)
    close(layer.adjoint(G, W, np.full_like(S, 9)), G @ C, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_map_adjoint_and_correlation_are_one_trilinear_form(layer, dtype):
    S, G, W = draw(layer, 4, dtype)
    out, back, kernel = np.empty_like(G), np.empty_like(S), np.full_like(W, 9)
    forms = [
        np.sum(layer.apply(S, W, out).astype(float) * G),
        np.sum(layer.adjoint(G, W, back).astype(float) * S),
        np.sum(layer.correlation(G, S, kernel).astype(float) * W),
    ]
    size = np.linalg.norm(S) * np.linalg.norm(G) * np.linalg.norm(W)
    assert np.ptp(forms) <= 20 * np.finfo(dtype).eps * size
    assert kernel.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 7])
def test_the_least_squares_sums_are_those_of_the_patch_matrix(layer, rows, dtype):
    S, G, W = draw(layer, rows, dtype)
    M = layer.patch_matrix(S.astype(float))
    T = G.astype(float).reshape(rows, -1, layer.n_positions).transpose(0, 2, 1)
    gram = np.full((M.shape[1], M.shape[1]), 9, dtype)
    close(layer.gram(S, gram), M.T @ M, dtype)
    np.testing.assert_array_equal(gram, gram.T)
    close(layer.correlation(G, S, np.full_like(W, 9)), T.reshape(len(M), -1).T @ M, dtype)
    assert layer.patch_sum(S).dtype == np.float64
    np.testing.assert_allclose(layer.patch_sum(S), M.sum(axis=0), rtol=1e-12, atol=1e-11)


def test_the_patch_matrix_holds_what_the_kernel_sees(layer):
    S, _, W = draw(layer, 3, np.float64)
    out = (layer.patch_matrix(S) @ W.T).reshape(3, layer.n_positions, -1).transpose(0, 2, 1)
    close(out.reshape(3, -1), by_loops(layer, S, W), np.float64)


@settings(max_examples=60 if JIT_ENABLED else 15, deadline=None)
@given(
    data=st.data(),
    c_in=st.integers(1, 5),
    c_out=st.integers(1, 6),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    rows=st.integers(1, 4),
)
def test_random_geometries(data, c_in, c_out, stride, padding, rows):
    limit = 12 if JIT_ENABLED else 5
    size = data.draw(st.tuples(st.integers(1, limit), st.integers(1, limit)), label="size")
    kernel = [
        data.draw(st.integers(1, min(5, n + 2 * p))) for n, p in zip(size, padding, strict=True)
    ]
    layer = Convolution((c_in, *size), c_out, kernel, stride=stride, padding=padding)
    S, G, W = draw(layer, rows, np.float64)
    C, M = sparse_matrix(layer, W), layer.patch_matrix(S)
    close(layer.apply(S, W, np.full_like(G, 9)), by_loops(layer, S, W), np.float64)
    close(layer.adjoint(G, W, np.full_like(S, 9)), G @ C, np.float64)
    close(layer.gram(S, np.empty((len(W.T), len(W.T)))), M.T @ M, np.float64)
    T = G.reshape(rows, c_out, -1)
    wanted = np.einsum("ncp,npt->ct", T, M.reshape(rows, layer.n_positions, -1))
    close(layer.correlation(G, S, np.empty_like(W)), wanted, np.float64)


@pytest.mark.parametrize("geometry", [GEOMETRIES[8], GEOMETRIES[9]], ids=str)
@pytest.mark.parametrize("rows", [150, 171])
def test_many_samples_pass_the_scratch_in_groups(geometry, rows):
    # More samples than the scratch takes at once, and a last group that does not fill it.
    layer = build(geometry)
    S, G, W = draw(layer, rows, np.float64)
    C, M = sparse_matrix(layer, W), layer.patch_matrix(S)
    close(layer.apply(S, W, np.full_like(G, 9)), S @ C.T, np.float64)
    close(layer.adjoint(G, W, np.full_like(S, 9)), G @ C, np.float64)
    close(layer.gram(S, np.empty((len(W.T),) * 2)), M.T @ M, np.float64)
    T = G.reshape(rows, len(W), -1).transpose(1, 0, 2).reshape(len(W), -1)
    close(layer.correlation(G, S, np.empty_like(W)), T @ M, np.float64)


def test_both_routes_of_the_gram_matrix_are_taken():
    routes = {has_lag_gram(build(geometry)) for geometry in GEOMETRIES}
    assert routes == {True, False}


def test_long_sums_in_float32_keep_their_precision():
    # All pixels of one sign: the sums grow with the number of terms, the errors must not.
    layer = Convolution((1, 9, 9), 1, 3, padding="same")
    rows = 3000 if JIT_ENABLED else 30
    S = np.random.default_rng(1).uniform(1, 2, size=(rows, layer.n_inputs)).astype(np.float32)
    M = layer.patch_matrix(S.astype(float))
    close(layer.gram(S, np.empty((9, 9), np.float32)), M.T @ M, np.float32, factor=5)
    actual = layer.correlation(S, S, np.empty((1, 9), np.float32))
    close(actual, S.ravel().astype(float) @ M[None], np.float32, factor=5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_is_added_by_channel_and_summed_by_its_adjoint(layer, dtype):
    _, G, _ = draw(layer, 5, dtype)
    b = np.arange(1, layer.n_biases + 1).astype(dtype)
    wanted = G + np.repeat(b, layer.n_positions)
    Z = G.copy()
    assert layer.add_bias(Z, b) is Z
    np.testing.assert_array_equal(Z, wanted)
    sums = layer.bias_sum(G)
    assert sums.dtype == np.float64
    by_channel = G.astype(float).reshape(5, layer.n_biases, -1).sum(axis=(0, 2))
    np.testing.assert_allclose(sums, by_channel, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_frobenius_norm_is_exact_and_the_others_bound_the_operator_norm(layer, dtype):
    _, _, W = draw(layer, 1, dtype)
    C = sparse_matrix(layer, W.astype(float))
    frobenius = np.sum(C.data**2)
    np.testing.assert_allclose(layer.squared_norm(W, "frobenius"), frobenius, rtol=1e-12)
    small = max(C.shape) < 500
    operator = (
        np.linalg.norm(C.toarray(), 2) if small else svds(C, k=1, v0=np.ones(min(C.shape)))[1][0]
    )
    operator = operator**2 * (1 - 1e-12)
    patch, spectral = (layer.squared_norm(W, kind) for kind in ("patch", "spectral"))
    assert operator <= spectral <= patch * (1 + 1e-12)
    for kind in ("frobenius", "patch"):
        D = layer.norm_diagonal(kind)
        assert D.shape == layer.weight_shape[1:]
        np.testing.assert_allclose(
            np.sum(W.astype(float) ** 2 * D), layer.squared_norm(W, kind), rtol=1e-12
        )


def test_the_spectral_bound_is_attained_without_overlap():
    # Patches that do not overlap: C is W repeated, so its operator norm is that of W.
    layer = Convolution((2, 6, 6), 3, 2, stride=2)
    _, _, W = draw(layer, 1, np.float64)
    operator = np.linalg.norm(sparse_matrix(layer, W).toarray(), 2) ** 2
    np.testing.assert_allclose(layer.squared_norm(W, "spectral"), operator, rtol=1e-12)


@pytest.mark.parametrize("kind", ["frobenius", "patch"])
@pytest.mark.parametrize("geometry", [GEOMETRIES[1], GEOMETRIES[9]], ids=str)
def test_the_normal_equations_solve_the_sparse_system(geometry, kind):
    layer = build(geometry)
    S, T, W = draw(layer, 12, np.float64)
    eta = 0.3
    gram = layer.gram(S, np.empty((len(W.T), len(W.T))))
    right = layer.correlation(T, S, np.empty_like(W))
    solved = np.linalg.solve(gram + eta * np.diag(layer.norm_diagonal(kind)), right.T).T
    np.testing.assert_allclose(
        sparse_kernel_solve(layer, S, T, eta, kind), solved, rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_the_cut_into_blocks(layer, dtype):
    S, G, W = draw(layer, 11, dtype)
    whole = layer.apply(S, W, np.empty_like(G)), layer.adjoint(G, W, np.empty_like(S))
    parts = np.empty_like(G), np.empty_like(S)
    for block in (slice(0, 1), slice(1, 4), slice(4, 11)):
        layer.apply(S[block], W, parts[0][block])
        layer.adjoint(G[block], W, parts[1][block])
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_pixel_reaches_only_what_sees_it(layer, bad):
    S, G, W = draw(layer, 5, np.float64)
    clean_out = layer.apply(S, W, np.empty_like(G))
    clean_back = layer.adjoint(G, W, np.empty_like(S))
    pixel, position = layer.n_inputs // 2, layer.n_outputs // 2
    C = sparse_matrix(layer, W).toarray()
    S[2, pixel] = G[2, position] = bad
    for map_, X, clean, seen in [
        (layer.apply, S, clean_out, C[:, pixel] != 0),
        (layer.adjoint, G, clean_back, C[position] != 0),
    ]:
        out = map_(X, W, np.empty_like(clean))
        reached = np.zeros(clean.shape, bool)
        reached[2] = seen
        assert not np.isfinite(out[reached]).any()
        np.testing.assert_array_equal(out[~reached], clean[~reached])


def test_nothing_is_written_beside_the_result(layer):
    S, G, W = draw(layer, 3, np.float64)
    frame = np.full(G.size + 32, 7.0), np.full(S.size + 32, 7.0)
    layer.apply(S, W, frame[0][16:-16].reshape(G.shape))
    layer.adjoint(G, W, frame[1][16:-16].reshape(S.shape))
    for array in frame:
        assert np.all(array[:16] == 7)
        assert np.all(array[-16:] == 7)


def test_arguments_are_not_changed(layer):
    S, G, W = draw(layer, 3, np.float64)
    kept = S.copy(), G.copy(), W.copy()
    layer.apply(S, W, np.empty_like(G))
    layer.adjoint(G, W, np.empty_like(S))
    layer.correlation(G, S, np.empty_like(W))
    layer.gram(S, np.empty((len(W.T), len(W.T))))
    layer.patch_sum(S)
    for array, before in zip((S, G, W), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_weights_may_be_a_part_of_a_matrix(layer):
    S, G, W = draw(layer, 3, np.float64)
    joint = np.hstack([W, np.ones((len(W), 1))])
    wanted = layer.apply(S, W, np.empty_like(G)), layer.adjoint(G, W, np.empty_like(S))
    part = joint[:, :-1]
    np.testing.assert_array_equal(layer.apply(S, part, np.empty_like(G)), wanted[0])
    np.testing.assert_array_equal(layer.adjoint(G, part, np.empty_like(S)), wanted[1])


@pytest.mark.skipif(not JIT_ENABLED, reason="takes many samples")
@pytest.mark.parametrize("geometry", [((4, 12, 12), 5, 3, 1, 1), ((4, 12, 12), 5, 3, 2, 1)])
def test_no_method_holds_the_patches_of_all_samples(geometry):
    layer = build(geometry)
    S, G, W = draw(layer, 1000, np.float32)
    few = slice(0, 4)
    results = np.empty_like(G), np.empty_like(S), np.empty_like(W), np.empty((len(W.T),) * 2, "f4")
    for rows in (few, slice(None)):  # the first round compiles
        tracemalloc.start()
        layer.apply(S[rows], W, results[0][rows])
        layer.adjoint(G[rows], W, results[1][rows])
        layer.correlation(G[rows], S[rows], results[2])
        layer.gram(S[rows], results[3])
        layer.patch_sum(S[rows])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    patches = len(S) * layer.n_positions * len(W.T) * S.itemsize
    assert peak < patches / 5


def test_shapes_and_sizes():
    layer = Convolution((3, 9, 8), 4, (3, 5), stride=(2, 1), padding=(1, 2))
    assert layer.output_shape == (4, 5, 8)
    assert (layer.n_inputs, layer.n_outputs, layer.n_positions) == (216, 160, 40)
    assert (layer.weight_shape, layer.n_biases) == ((4, 45), 4)
    assert layer.initial_scale() == pytest.approx(45**-0.5)
    assert Convolution((1, 9, 8), 2, 5, padding="same").output_shape == (2, 9, 8)


def test_equality_hash_text_and_pickle(layer):
    layer.apply(*(draw(layer, 1, np.float64)[i] for i in (0, 2)), np.empty((1, layer.n_outputs)))
    copy = pickle.loads(pickle.dumps(layer))
    assert copy == layer
    assert hash(copy) == hash(layer)
    assert repr(copy) == repr(layer)
    assert str(layer.image_shape) in repr(layer)
    assert layer != Convolution((9, 9, 9), 1, 1)
    assert layer != repr(layer)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (((1, 4, 4), 1, 5), {}, ValueError, r"kernel_size=\(5, 5\)"),
        (((1, 4, 4), 1, (3, 7)), {"padding": 1}, ValueError, r"padding=\(1, 1\)"),
        (((4, 4), 1), {}, TypeError, "image_shape"),
        (((1, 4, 0), 1), {}, ValueError, "image_shape"),
        (((1, 4, 4), 0), {}, ValueError, "n_channels"),
        (((1, 4, 4), 1, 2.5), {}, TypeError, "kernel_size"),
        (((1, 4, 4), 1, (1, 2, 3)), {}, TypeError, "kernel_size"),
        (((1, 4, 4), 1, 0), {}, ValueError, "kernel_size"),
        (((1, 4, 4), 1), {"stride": 0}, ValueError, "stride"),
        (((1, 4, 4), 1), {"padding": -1}, ValueError, "padding"),
        (((1, 4, 4), 1), {"padding": True}, TypeError, "padding"),
        (((1, 4, 4), 1), {"padding": "full"}, ValueError, "full"),
        (((1, 4, 4), 1, 2), {"padding": "same"}, ValueError, "odd kernel"),
        (((1, 4, 4), 1, 3), {"padding": "same", "stride": 2}, ValueError, "stride"),
    ],
)
def test_errors_name_the_argument_and_its_value(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Convolution(*arguments, **options)


def test_unknown_norms_are_named():
    layer = Convolution((1, 4, 4), 1)
    with pytest.raises(ValueError, match="nuclear"):
        layer.squared_norm(np.ones((1, 9)), "nuclear")
    with pytest.raises(ValueError, match="spectral"):
        layer.norm_diagonal("spectral")
