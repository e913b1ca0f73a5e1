"""Sample blocks, workspaces and the thread team; results that do not depend on its size."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from lysep_fast import train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.threads.blocks import Blocks, row_blocks, sample_blocks
from lysep_fast.threads.team import Team, Workspace, available_cpus


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@settings(deadline=None)
@given(n=st.integers(1, 10**6), width=st.integers(1, 10**5), itemsize=st.sampled_from([4, 8]))
def test_sample_blocks_cover_every_row_once_and_in_order(n, width, itemsize):
    blocks = sample_blocks(n, width, itemsize)
    assert blocks[0].start == 0
    assert blocks[-1].stop == n
    assert all(a.stop == b.start for a, b in itertools.pairwise(blocks))
    assert all(0 < block.stop - block.start <= 2048 for block in blocks)


@settings(deadline=None)
@given(n=st.integers(1, 10**6), width=st.integers(1, 10**5), itemsize=st.sampled_from([4, 8]))
def test_the_tree_of_sums_depends_on_the_number_of_samples_only(n, width, itemsize):
    def borders(blocks):
        return [(leaf[0].start, leaf[-1].stop) for leaf in blocks.leaves]

    found = borders(sample_blocks(n, width, itemsize))
    assert found == borders(sample_blocks(n, 1, 8))
    assert len(found) <= 256
    assert all(stop % 16 == 0 for _, stop in found[:-1])
    if n >= 16 * 256:  # where rounding to whole vectors does not matter much
        assert 0.4 < len(found) / 2 ** round(np.log2(len(found))) < 1.5


@settings(deadline=None)
@given(n=st.integers(1, 10**5), rows=st.integers(1, 10**5), most=st.integers(1, 10**4))
def test_merged_blocks_are_those_of_a_higher_level(n, rows, most):
    blocks = sample_blocks(n, 10, 8)
    merged = blocks.merged(rows, most)
    flat = list(merged)
    assert (flat[0].start, flat[-1].stop) == (0, n)
    assert all(a.stop == b.start for a, b in itertools.pairwise(flat))
    assert all(block.stop - block.start <= most for block in flat)
    first = merged.leaves[0]
    assert len(merged.leaves) == 1 or first[-1].stop - first[0].start >= rows
    starts = {leaf[0].start for leaf in blocks.leaves}
    assert {leaf[0].start for leaf in merged.leaves} <= starts


def tree_sum(values):
    """Add neighbours, then neighbouring pairs, and so on: what a sum over blocks is."""
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_sums_follow_the_binary_tree_to_the_last_bit(count, n_threads):
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, 3)) * 10.0 ** rng.integers(-8, 8, (count, 1))
    rng.shuffle(order := list(range(count)))
    waits = dict(zip(order, range(count), strict=True))

    def task(rows, ws):
        if n_threads > 1 and waits[rows.start] % 3 == 0:
            threading.Event().wait(0.002)  # leaves become ready in another order
        return values[rows.start], float(values[rows.start, 0])

    with Team(n_threads) as team:
        total, first = team.sum(task, row_blocks(count, 1))
        joined = team.reduce(
            lambda rows, ws: f"{rows.start}", row_blocks(count, 1), "({} {})".format
        )
    assert total.tobytes() == tree_sum(list(values)).tobytes()
    assert first == tree_sum([float(v) for v in values[:, 0]])
    wanted = [f"{i}" for i in range(count)]
    while len(wanted) > 1:
        pairs = [wanted[i : i + 2] for i in range(0, len(wanted), 2)]
        wanted = ["({} {})".format(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    assert joined == wanted[0]


def test_blocks_of_a_leaf_are_added_one_after_the_other():
    values = np.random.default_rng(0).normal(size=5) * 10.0 ** np.arange(5)
    blocks = Blocks([[slice(0, 1), slice(1, 2), slice(2, 3)], [slice(3, 4), slice(4, 5)]])
    with Team(1) as team:
        (total,) = team.sum(lambda rows, ws: (float(values[rows.start]),), blocks)
    assert total == ((values[0] + values[1]) + values[2]) + (values[3] + values[4])
    assert blocks == Blocks(blocks.leaves)
    assert blocks != row_blocks(5, 1)
    assert hash(blocks) == hash(row_blocks(5, 1))


def test_an_error_in_combining_reaches_the_caller():
    def combine(a, b):
        raise ZeroDivisionError("here")

    with Team(2) as team, pytest.raises(ZeroDivisionError, match="here"):
        team.reduce(lambda rows, ws: rows.start, row_blocks(6, 1), combine)


@pytest.mark.parametrize(("n", "rows", "count"), [(1, 5, 1), (5, 5, 1), (6, 5, 2), (14, 5, 3)])
def test_row_blocks_end_with_the_remainder(n, rows, count):
    blocks = row_blocks(n, rows)
    assert len(blocks) == count
    assert sum(block.stop - block.start for block in blocks) == n


def test_a_workspace_gives_the_same_memory_for_the_same_name_only():
    ws = Workspace()
    first = ws.array("S", (4, 3), np.float64)
    assert np.shares_memory(first, ws.array("S", (2, 3), np.float64))
    assert not np.shares_memory(first, ws.array("G", (4, 3), np.float64))
    assert not np.shares_memory(first, ws.array("S", (4, 3), np.float32))
    larger = ws.array("S", (50, 3), np.float64)
    assert larger.shape == (50, 3)
    assert larger.flags.c_contiguous


@pytest.mark.parametrize("n_threads", [1, 2, 3, 9])
def test_results_come_back_in_block_order(n_threads):
    blocks = row_blocks(101, 10)
    with Team(n_threads) as team:
        starts = team.map(lambda rows, ws: rows.start, blocks)
    assert starts == [block.start for block in blocks]


def test_a_team_works_with_several_threads():
    barrier = threading.Barrier(3, timeout=30)

    def task(rows, ws):
        barrier.wait()  # passes only when three blocks are worked on at once
        return threading.get_ident()

    with Team(3) as team:
        assert len(set(team.map(task, row_blocks(3, 1)))) == 3


def test_no_two_threads_share_a_workspace():
    barrier = threading.Barrier(2, timeout=30)

    def task(rows, ws):
        barrier.wait()
        return ws

    with Team(2) as team:
        first, second = team.map(task, row_blocks(2, 1))
    assert first is not second


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_a_block_reaches_the_caller_and_the_team_stays_usable(n_threads, error):
    def task(rows, ws):
        if rows.start == 6:
            raise error("block 6")
        return rows.start

    with Team(n_threads) as team:
        with pytest.raises(error, match="block 6"):
            team.map(task, row_blocks(20, 2))
        assert team.map(lambda rows, ws: 1, row_blocks(20, 2)) == [1] * 10


@pytest.mark.parametrize("n_threads", [1, 2])
def test_blas_has_one_thread_inside_a_team_and_the_former_number_after_it(n_threads):
    before = blas_threads()
    with Team(n_threads), Team(1):
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before


def test_an_exception_leaves_neither_threads_nor_limits_behind():
    def work():
        with Team(3) as team:
            team.map(lambda rows, ws: None, row_blocks(6, 1))
            raise RuntimeError

    before = blas_threads()
    threads = threading.active_count()
    with pytest.raises(RuntimeError):
        work()
    assert blas_threads() == before
    assert threading.active_count() == threads


@pytest.mark.parametrize("n_blocks", [1, 5, 64, 65, 200])
def test_sums_are_formed_in_float64_from_arrays_that_may_be_reused(n_blocks):
    values = np.random.default_rng(0).normal(size=(n_blocks, 2, 3)).astype(np.float32)

    def task(rows, ws):
        part = ws.array("part", (2, 3), np.float32)
        part[...] = values[rows.start]
        return part, rows.start, np.float32(0.5)

    with Team(2) as team:
        total, starts, halves = team.sum(task, row_blocks(n_blocks, 1))
    assert total.dtype == np.float64
    np.testing.assert_allclose(total, np.sum(values, axis=0, dtype=float), rtol=1e-12, atol=1e-12)
    assert (starts, halves) == (n_blocks * (n_blocks - 1) / 2, n_blocks / 2)


def test_sums_are_bit_identical_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    values = rng.normal(size=201) * 10.0 ** rng.integers(-8, 9, 201)
    sums = set()
    for n_threads in (1, 2, 3, 8):
        with Team(n_threads) as team:
            sums.add(team.sum(lambda rows, ws: (values[rows].sum(),), row_blocks(201, 2))[0])
    assert len(sums) == 1


def test_a_team_takes_all_cpus_by_default():
    assert Team().n_threads == available_cpus() >= 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver_options": {"bias": "joint", "auxiliary_steps": 2}},
        {"solver_options": {"line_search": "matrix"}, "output_bias": True},
        {"weights": "spectral", "activation": "relu"},
    ],
    ids=["default", "joint", "matrix", "spectral"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_training_is_bit_identical_for_any_number_of_threads(options, dtype):
    # Blocks have at least 64 rows or so: four or eight of them here, the last one shorter.
    n, width, sweeps = (667, 12, 6) if JIT_ENABLED else (257, 2, 1)
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 2)).astype(dtype)
    y = (np.sum(X**2, axis=1) < 0.6).astype(int)
    assert len(sample_blocks(n, width, X.itemsize)) >= 3

    def run(n_threads):
        return train(
            X, y, hidden_layer_sizes=(width, width), max_iter=sweeps, tol=0, random_state=1,
            n_threads=n_threads, solver="alternating", **options,
        )  # fmt: skip

    one = run(1)
    assert one.n_iter == sweeps
    for n_threads in (2, 3):
        other = run(n_threads)
        for a, b in zip(one.W + one.b, other.W + other.b, strict=True):
            assert a.tobytes() == b.tobytes()
        for a, b in zip(one.history, other.history, strict=True):
            assert (a.loss, a.separated_loss, a.data) == (b.loss, b.separated_loss, b.data)
            assert a.penalties.tobytes() == b.penalties.tobytes()
            assert [(s.accepted, s.trials) for s in a.steps] == [
                (s.accepted, s.trials) for s in b.steps
            ]
        assert one.predict_proba(X).tobytes() == other.predict_proba(X).tobytes()
