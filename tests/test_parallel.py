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
from lysep_fast.threads.team import Team, Workspace, available_cpus, row_blocks, sample_blocks


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
    # Blocks have at least 64 rows: three or eleven of them here, the last one shorter.
    n, width, sweeps = (667, 12, 6) if JIT_ENABLED else (150, 2, 1)
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
