"""Sparse inputs: what is taken as one, the products of their rows, and their moments."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_inputs import FORMATS, random_dense

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.layers import Convolution, Dense
from lysep_fast.layers.seen import Seen
from lysep_fast.layers.sparse import SparseRows, SparseSeen
from lysep_fast.samples.checked import check_sparse, checked_samples, is_sparse
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.samples.scaling import Scaling
from lysep_fast.samples.sparse import SparseSamples
from lysep_fast.threads.team import ALONE, Team, Workspace

EXAMPLES = settings(deadline=None, max_examples=80 if JIT_ENABLED else 15)


def samples_of(X, dtype=None):
    return SparseSamples(check_sparse(sp.csr_array(X), dtype=dtype))


def same(rows, X):
    assert isinstance(rows, SparseRows)
    assert (rows.indices.dtype, rows.indptr.dtype) == (np.int32, np.int64)
    for i in range(len(rows)):
        columns = rows.indices[rows.indptr[i] : rows.indptr[i + 1]]
        assert np.all(np.diff(columns) > 0)
    np.testing.assert_array_equal(rows.toarray(), X)


# --- what is taken -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_becomes_the_same_rows(name, kind):
    X = random_dense(9, 7)
    given = getattr(sp, f"{name}_{kind}")(X)
    assert is_sparse(given)
    same(check_sparse(given), X)
    samples = checked_samples(given)
    assert isinstance(samples, SparseSamples)
    assert samples.shape == (9, 7)


@pytest.mark.parametrize(
    ("given", "found"),
    [("f4", "f4"), ("f8", "f8"), ("i2", "f8"), ("u8", "f8"), ("?", "f8"), ("g", "f8")],
)
def test_float32_stays_and_everything_else_becomes_float64(given, found):
    X = (random_dense(5, 6) > 0).astype(given)
    rows = check_sparse(sp.csc_array(X))
    same(rows, X)
    assert rows.dtype == found
    assert check_sparse(sp.csr_array(X), dtype=np.float32).dtype == np.float32


def test_duplicates_are_summed_columns_sorted_and_the_matrix_of_the_user_left_alone():
    data, indices, indptr = [1.0, 2.0, 3.0, 0.0, 4.0], [2, 0, 2, 1, 0], [0, 3, 3, 5]
    given = sp.csr_array((data, indices, indptr), shape=(3, 4))
    before = [a.copy() for a in (given.data, given.indices, given.indptr)]
    rows = check_sparse(given)
    same(rows, [[2, 0, 4, 0], [0, 0, 0, 0], [4, 0, 0, 0]])
    assert len(rows.data) == 4  # the explicit zero stays
    for old, new in zip(before, (given.data, given.indices, given.indptr), strict=True):
        np.testing.assert_array_equal(new, old)
    coo = sp.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(1, 3))
    same(check_sparse(coo), [[0, 3, 0]])
    assert coo.nnz == 2


def test_rows_in_order_are_not_copied_and_read_only_ones_are_taken():
    X = sp.csr_array(random_dense(6, 5))
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    rows = check_sparse(X)
    assert np.shares_memory(rows.data, X.data)
    assert np.shares_memory(rows.indices, X.indices)
    layer, W = Dense(5, 2), np.ones((2, 5))
    Z = SparseSamples(rows).seen_by(layer, slice(0, 6), Workspace()).product(W, np.empty((6, 2)))
    np.testing.assert_allclose(Z, X.toarray() @ W.T, atol=1e-14)


def test_64_bit_indices():
    X = random_dense(6, 5)
    given = sp.csr_array(X)
    wide = sp.csr_array(
        (given.data, given.indices.astype(np.int64), given.indptr.astype(np.int64)), given.shape
    )
    assert wide.indices.dtype == np.int64
    same(check_sparse(wide), X)
    with pytest.raises(ValueError, match=r"X has \d+ columns, but at most"):
        check_sparse(sp.csr_array(([1.0], [2**40], [0, 1]), shape=(1, 2**41)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_its_place(value):
    X = np.zeros((4, 5))
    X[2, 3] = value
    with pytest.raises(ValueError, match=f"X must be finite, got {value} in row 2, column 3"):
        check_sparse(sp.csc_array(X))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (sp.csr_array(np.ones((2, 2)) * 1j), TypeError, "X must be real"),
        (sp.csr_array((0, 3)), ValueError, "at least one sample and one feature"),
        (sp.csr_array((3, 0)), ValueError, "at least one sample and one feature"),
        (sp.coo_array(np.ones(3)), ValueError, "two dimensions"),
        (sp.csr_array([[1.0, 1e200]]), ValueError, "X must be below .* column 1; divide"),
        (sp.csr_array(np.ones((2, 3))), ValueError, "3 features, but the network .* 4"),
    ],
)
def test_refusals_name_what_is_wrong(given, error, message):
    with pytest.raises(error, match=message):
        check_sparse(given, n_features=4 if given.shape == (2, 3) else None)


def test_indices_out_of_range_are_refused():
    X = sp.csr_array(np.eye(3))
    X.indices[1] = 7
    with pytest.raises(ValueError, match=r"X is no valid sparse matrix: .* build it anew"):
        check_sparse(X)


def test_a_number_too_large_for_float32_is_infinite():
    with pytest.raises(ValueError, match="X must be finite, got inf in row 0, column 1"):
        check_sparse(sp.csr_array([[0.0, 1e300]]), dtype=np.float32)


def test_dense_inputs_are_no_sparse_ones():
    assert not is_sparse(np.eye(3))
    assert isinstance(checked_samples(np.eye(3)), ArraySamples)


# --- products ----------------------------------------------------------------------------------


def pair(n, d, m, seed, dtype=np.float64):
    """Return the same rows seen by a layer as sparse and as dense ones, and a generator."""
    X, layer = random_dense(n, d, seed, dtype=dtype), Dense(d, m)
    sparse = samples_of(X).seen_by(layer, slice(0, n), Workspace())
    return sparse, Seen(layer, X), np.random.default_rng(seed + 1)


@EXAMPLES
@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 10), st.integers(0, 10**6))
def test_products_are_adjoint_to_each_other(n, d, m, seed):
    seen, _, rng = pair(n, d, m, seed)
    W, T = rng.normal(size=(m, d)), rng.normal(size=(n, m))
    Z, G = seen.product(W, np.empty((n, m))), seen.correlation(T, np.empty((m, d)))
    np.testing.assert_allclose(np.vdot(T, Z), np.vdot(G, W), rtol=1e-11, atol=1e-11)


@EXAMPLES
@given(
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(1, 10),
    st.integers(0, 10**6),
    st.sampled_from([np.float64, np.float32]),
)
def test_everything_that_a_layer_sees_is_that_of_dense_rows(n, d, m, seed, dtype):
    seen, dense, rng = pair(n, d, m, seed, dtype)
    W, T, c = rng.normal(size=(m, d)), rng.normal(size=(n, m)), rng.uniform(0, 2, n)
    W, T, c, ws = W.astype(dtype), T.astype(dtype), c.astype(dtype), Workspace()
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    rows, index = slice(0, n), rng.integers(0, n, 5)
    assert len(seen) == n
    assert seen.dtype == dtype
    for name, own, other in (
        ("product", seen.product(W, np.empty((n, m), dtype)), dense.S @ W.T),
        ("correlation", seen.correlation(T, np.empty((m, d), dtype)), T.T @ dense.S),
        ("gram", seen.gram(np.empty((d, d), dtype)), dense.S.T @ dense.S),
        ("metric", seen.metric(ws, "M"), dense.S.T @ dense.S),
        ("row squares", seen.row_squares(), dense.row_squares()),
        ("column sum", seen.column_sum(None, rows), dense.column_sum(None, rows)),
        ("weighted column sum", seen.column_sum(c, rows), dense.column_sum(c, rows)),
        ("weighted sum", seen.weighted_sum(c), dense.weighted_sum(c)),
        ("matrix", seen.matrix(), dense.matrix()),
        ("scaled", seen.scaled(c, ws, "S").matrix(), dense.S * c[:, None]),
        ("take", seen.take(index).matrix(), dense.S[index]),
        ("cast", seen.cast(np.float64, ws, "C").matrix(), dense.S),
    ):
        np.testing.assert_allclose(own, other, err_msg=name, **close)
    assert seen.scaled(c, ws, "S").dtype == dtype
    np.testing.assert_array_equal(seen.matrix(), dense.S)  # never written to


def test_of_many_columns_the_metric_is_the_diagonal():
    seen, dense, _ = pair(8, 6, 3, 0)
    few = SparseSeen(seen.layer, seen.S, has_gram=False).metric(Workspace(), "M")
    np.testing.assert_allclose(few, np.sum(dense.S**2, axis=0), rtol=1e-14)


@pytest.mark.parametrize("one", [None, 1.0, 0.0])
def test_a_batch_has_its_column_of_ones(one):
    X, index = random_dense(30, 6), np.array([7, 7, 0, 29])
    samples, extra = samples_of(X), one is not None
    wanted = np.hstack([X[index], np.full((4, int(extra)), one or 0.0)])
    seen = samples.batch(Dense(6, 2), index, np.empty((0, 0)), one)
    np.testing.assert_array_equal(seen.matrix(), wanted)
    gram = seen.metric(Workspace(), "M")
    np.testing.assert_allclose(gram, wanted.T @ wanted, atol=1e-13)
    out = np.empty(wanted.shape)
    samples.gather(index, out, one)
    np.testing.assert_array_equal(out, wanted)


def test_a_layer_that_is_no_matrix_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Convolution.* does not take sparse X"):
        samples_of(np.eye(4)).seen_by(Convolution((1, 2, 2), 1, 1), slice(0, 4), Workspace())


# --- samples -----------------------------------------------------------------------------------


def test_rows_and_samples_of_samples():
    X, ws = random_dense(40, 6), Workspace()
    samples, index = samples_of(X), np.array([5, 5, 39, 0])
    for rows in (slice(3, 9), slice(30, 100), index):
        np.testing.assert_array_equal(samples.rows(rows, ws), X[rows])
    part = samples.take(index)
    assert (len(part), part.n_features, part.dtype) == (4, 6, X.dtype)
    np.testing.assert_array_equal(part.take(np.array([2])).rows(slice(0, 1), ws), X[[39]])
    assert samples.largest() == np.abs(X).max()
    assert samples_of(np.zeros((3, 2))).largest() == 0.0


@EXAMPLES
@given(st.integers(1, 40), st.integers(1, 8), st.booleans(), st.integers(0, 10**6))
def test_moments_are_those_of_the_dense_columns_about_zero(n, d, weighted, seed):
    X = random_dense(n, d, seed)
    c = np.random.default_rng(seed).uniform(0.1, 2, n) if weighted else None
    found = samples_of(X).moments(ALONE, c)
    assert not np.any(found.mean)
    for power, own in ((2, found.second), (4, found.fourth)):
        wanted = np.average((X / found.unit) ** power, axis=0, weights=c)
        np.testing.assert_allclose(own, wanted, rtol=1e-10)


def test_scaled_samples_have_scaled_entries_and_share_their_places():
    X = random_dense(30, 6)
    samples = samples_of(X)
    scaling = Scaling.of(samples.moments(ALONE), X.dtype)
    assert not np.any(scaling.shift)
    assert np.all(np.isinf(scaling.scale) == ~np.any(X, axis=0))
    own = samples.scaled(scaling)
    np.testing.assert_allclose(own.entries.toarray(), X / scaling.scale, rtol=1e-15)
    assert own.entries.indices is samples.entries.indices
    np.testing.assert_array_equal(samples.entries.toarray(), X)


def test_moments_and_blocks_do_not_depend_on_threads():
    samples = samples_of(random_dense(3000 if JIT_ENABLED else 700, 5))
    found = []
    for n_threads in (1, 4):
        with Team(n_threads) as team:
            found.append(samples.moments(team))
    for own, other in zip(astuple(found[0]), astuple(found[1]), strict=True):
        np.testing.assert_array_equal(own, other)
    assert samples.blocks(4) == samples.blocks(4)


def test_leaves_of_wide_samples_have_entries_for_the_columns():
    n, d = 4000, 1000
    index = np.arange(n, dtype=np.int32) % d
    wide = SparseRows(np.ones(n), index, np.arange(n + 1), d)
    blocks = SparseSamples(wide).blocks(10)
    assert [b.start for b in blocks][1:] == [b.stop for b in blocks][:-1]
    assert blocks[-1].stop == n
    assert 4 <= len(blocks.leaves) <= 8  # enough for threads, and 500 entries or more in each
