"""Algorithm 2: sweeps on subsets of the samples, literal and with measured weights."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from conftest import conv_network, draw_weights
from helpers import copied, evaluated
from reference import Reference, cross_entropy

from lysep_fast import Network, Status, train
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.losses import CrossEntropy
from lysep_fast.objective import TrainingProblem
from lysep_fast.passes import batch as batch_pass
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.samples.subsets import Subsets
from lysep_fast.solvers import Alternating, MeasuredSweeps
from lysep_fast.threads.team import Team

DTYPES = [np.float64, np.float32] if JIT_ENABLED else [np.float64]
SOLVERS = ("mini-batch", "measured-sweeps", "alternating", "quasi-newton")
WEIGHTED = {"sample_weight": True, "label_smoothing": 0.1, "alpha": 1e-3}
extras = pytest.mark.parametrize("extra", [{}, WEIGHTED], ids=["plain", "weighted"])


class Record:
    """The sweep of a solver, which notes what it is called with and F before and after."""

    def __init__(self, solver):
        self.solver, self.sweep, self.seen = solver, solver.sweep, []

    def __call__(self, part, state):
        before = Reference.of(part, state)
        steps = self.sweep(part, state)
        after = Reference.of(part, state)
        self.seen.append((part, before, after, part.objective.separated_loss(state)))
        return steps


def run(solver, problem, state, iterations):
    """Let the solver do some iterations; return what its sweeps saw."""
    with problem.team:
        solver.start(problem, state)
        solver.sweep = record = Record(solver)
        for _ in range(iterations):
            solver.step(problem, state)
    return record.seen


def weights_only(problem, state):
    """Return the state without auxiliaries, as the training loop makes it for Algorithm 2."""
    return problem.synchronised_state(state.W, state.b, auxiliaries=False)


# --- the literal algorithm -----------------------------------------------------------------------


@extras
@pytest.mark.parametrize("name", ["one", "two", "dense", "co-moving"])
def test_the_loss_of_a_subset_does_not_rise_until_the_next_is_drawn(make_problem, name, extra):
    dense = name in ("dense", "co-moving")
    network = Network.dense((3, 4, 4, 3)) if dense else conv_network(name)
    problem, state = make_problem(network, n=14, **extra)
    solver = Alternating(
        batch_size=4, refresh_every=3, variant="co-moving" if name == "co-moving" else "paper"
    )
    seen = run(solver, problem, weights_only(problem, state), 2)
    assert len(seen) == 2 * 3 * (14 // 4)
    former = None
    for part, before, after, separated in seen:
        assert len(part.samples.X) == 4
        if part is not former:  # the auxiliaries of a new subset are its forward pass
            assert np.allclose(before.penalties(), 0.0, atol=1e-20)
        assert after.penalised() <= before.penalised() * (1 + 1e-12)
        assert separated.total == pytest.approx(after.separated_loss(), rel=1e-9)
        former = part
    assert len({id(part) for part, *_ in seen}) == 6
    # The state of the run holds the weights of the last sweep.
    for W, wanted in zip(state.W, seen[-1][2].W, strict=True):
        np.testing.assert_array_equal(W, wanted)


def test_the_check_would_notice_a_rise(make_problem):
    problem, state = make_problem(conv_network("one"), n=6)
    solver = Alternating(batch_size=3, refresh_every=2)

    def worse(part, state):
        state.A[1] += 0.1
        return []

    solver.start(problem, weights_only(problem, state))
    solver.sweep = worse
    solver.sweep = record = Record(solver)
    solver.step(problem, weights_only(problem, state))
    assert any(after.penalised() > before.penalised() for _, before, after, _ in record.seen)


@extras
@pytest.mark.parametrize("name", ["two hidden layers", "no hidden layer"])
def test_sweeps_on_subsets_follow_the_reference(make_problem, name, extra):
    # The subsets have more samples than a layer has features: one minimiser of every system.
    problem, state = make_problem(conv_network(name), n=24, **extra)
    truth = Reference.of(problem, state)
    problem.rng = np.random.default_rng(5)
    solver = Alternating(batch_size=11, refresh_every=2, report_every=6)
    run(solver, problem, weights_only(problem, state), 1)

    subsets, step = Subsets(24, 11, 2, np.random.default_rng(5)), None
    for _ in range(6):
        fresh, _ = subsets.draw()
        if fresh:
            index = np.sort(subsets.order[subsets.rows])
            part = problem.subset(index)
            theta = truth.W, truth.b
            truth = Reference.of(part, part.synchronised_state(*theta))
        step = 1.5 * truth.sweep(output_step=step) or None
    for l in range(1, truth.depth + 1):
        size = np.abs(truth.W[l]).max()
        np.testing.assert_allclose(state.W[l], truth.W[l], rtol=1e-5, atol=1e-7 * size)
        np.testing.assert_allclose(state.b[l], truth.b[l], rtol=1e-5, atol=1e-7)


def test_a_subset_is_a_problem_of_its_own(make_problem):
    problem, _ = make_problem(conv_network("one"), n=12, norm="patch", **WEIGHTED)
    index = np.array([7, 2, 9])
    part = problem.subset(index)
    np.testing.assert_array_equal(part.samples.X, problem.samples.X[index])
    assert not np.shares_memory(part.samples.X, problem.samples.X)
    np.testing.assert_array_equal(part.loss.y, problem.loss.y[index])
    np.testing.assert_array_equal(part.loss.sample_weight, problem.loss.sample_weight[index])
    assert part.loss.label_smoothing == problem.loss.label_smoothing
    assert (part.alpha, part.objective.norm) == (problem.alpha, "patch")
    assert part.objective.n_samples == part.n_samples == 3
    assert part.objective.mean_weight == pytest.approx(np.mean(part.loss.sample_weight))
    assert part.team is problem.team
    assert part.rng is problem.rng


def test_all_samples_in_one_subset_are_algorithm_1(make_problem):
    problem, state = make_problem(conv_network("two"), n=9, residual=0.0)
    problem.synchronise(state)
    other = weights_only(problem, copied(state))
    plain = Alternating()
    plain.start(problem, state)
    for _ in range(3):
        plain.step(problem, state)
    run(Alternating(batch_size=100, refresh_every=3), problem, other, 1)
    for l in range(1, problem.network.depth + 1):
        np.testing.assert_allclose(other.W[l], state.W[l], rtol=1e-7, atol=1e-9)


# --- what the history says -----------------------------------------------------------------------


@extras
@pytest.mark.parametrize("report_every", [None, 1, 4])
def test_a_row_is_the_mean_over_its_sweeps(make_problem, report_every, extra):
    problem, state = make_problem(conv_network("one"), n=13, **extra)
    solver = Alternating(batch_size=4, refresh_every=3, report_every=report_every)
    bare = weights_only(problem, state)
    count = 3 * 3 if report_every is None else report_every
    with problem.team:
        solver.start(problem, bare)
        solver.sweep = record = Record(solver)
        for k in range(3):
            solver.step(problem, bare)
            seen = record.seen[-count:]
            assert len(record.seen) == (k + 1) * count
            weight = sum(np.sum(after.c) for *_, after, _ in seen)
            loss = sum(after.loss() * 4 for *_, after, _ in seen) / weight
            F = sum(after.separated_loss() * 4 for *_, after, _ in seen) / weight
            found = solver.evaluation
            assert found.loss / 13 == pytest.approx(loss, rel=1e-9)
            assert solver.separated.total == pytest.approx(F, rel=1e-8)
            assert 0 <= found.correct / 13 <= 1
            if not extra:
                C = problem.objective.constant
                assert found.loss / 13 <= C * solver.separated.root * (1 + 1e-12)


def images(n, dtype=np.float64, seed=0, shape=(1, 6, 6)):
    """Return images whose class is the brightest third, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    X = rng.normal(size=(n, *shape))
    for k in range(3):
        X[y == k, :, 2 * k : 2 * k + 2] += 1.0
    return X.astype(dtype), y


N = 60 if JIT_ENABLED else 9


def fit(X, y, solver="alternating", **options):
    options = {
        "conv_channels": (2,), "hidden_layer_sizes": (4,), "max_iter": 3, "tol": 0,
        "random_state": 0, "n_threads": 1,
    } | options  # fmt: skip
    return train(X, y, solver=solver, **options)


def heavy_weights(n):
    """Return weights most of which are 0: subsets differ much in their weight."""
    c = np.zeros(n)
    c[: n // 4] = draw_weights(n // 4)
    return c


@pytest.mark.parametrize("solver", ["alternating", "measured-sweeps"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_row_keeps_the_bound(solver, weighted, dtype):
    X, y = images(N, dtype)
    result = fit(
        X, y, solver, batch_size=4, sample_weight=heavy_weights(N) if weighted else None,
        refresh_every=2, solver_options={"report_every": 1}, max_iter=40, n_iter_no_change=99,
    )  # fmt: skip
    assert result.status is Status.MAX_ITER
    assert result.bound_constant == pytest.approx(
        1.0 if solver == "measured-sweeps" else math.sqrt(2 * 3 - 1)
    )
    for row in result.history:
        # Squares underflow where the loss is below 1e-154.
        assert row.loss <= result.bound_constant * row.separated_loss * (1 + 1e-6) + 1e-150
        assert 0 <= row.accuracy <= 1 + 1e-6
        assert np.isfinite(row.separated_loss)
    assert all(np.all(np.isfinite(w)) for w in result.W)


def test_the_history_holds_the_separated_loss_of_the_solver():
    solver, seen = Alternating(batch_size=N // 3, refresh_every=3), []
    result = fit(*images(N), solver, callback=lambda row: seen.append(solver.separated))
    assert seen[0] is None  # before the first sweep all residuals are zero
    assert not np.any(result.history[0].penalties)
    for row, separated in zip(result.history[1:], seen[1:], strict=True):
        assert (row.separated_loss, row.data) == (separated.root, separated.data)
        np.testing.assert_array_equal(row.penalties, separated.penalties)
        assert np.any(row.penalties > 0)


def test_equal_losses_reach_the_bound_of_a_weighted_row():
    # Without pixels and biases all losses are log 3, whatever the weights of the subset.
    y = np.arange(12) % 3
    for seed in range(3):
        result = fit(
            np.zeros((12, 4, 4)), y, "measured-sweeps", batch_size=4, init="orthogonal",
            sample_weight=heavy_weights(12), solver_options={"report_every": 1}, max_iter=1,
            random_state=seed,
        )  # fmt: skip
        row = result.history[1]
        assert row.loss == pytest.approx(math.log(3), rel=1e-12)
        assert row.separated_loss == pytest.approx(row.loss, rel=1e-12)


@pytest.mark.parametrize("solver", ["alternating", "measured-sweeps"])
def test_refresh_and_report_count_sweeps(solver):
    X, y = images(N)
    for options, sweeps in (
        ({"batch_size": N // 3}, 3 if solver == "measured-sweeps" else 30),
        ({"batch_size": N // 3, "refresh_every": 2}, 6),
        ({"batch_size": N // 3, "refresh_every": 2, "report_every": 5}, 5),
        ({"batch_size": 10 * N, "refresh_every": 4}, 4),
    ):
        kind = Alternating if solver == "alternating" else MeasuredSweeps
        made, count = kind(**options), []
        drawn = Subsets.draw
        try:
            Subsets.draw = lambda self, drawn=drawn, count=count: count.append(1) or drawn(self)
            fit(X, y, made, max_iter=2)
        finally:
            Subsets.draw = drawn
        assert len(count) == 2 * sweeps


# --- reproducible, and small ---------------------------------------------------------------------


def same(a, b):
    return all(u.tobytes() == v.tobytes() for u, v in zip(a.W + a.b, b.W + b.b, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("batch_size", [None, 10])
def test_threads_and_repetition_do_not_change_a_bit(solver, batch_size, dtype, monkeypatch):
    if solver == "quasi-newton" and batch_size:
        pytest.skip("it has no batches")
    monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    X, y = images(5 * N, dtype)
    options = {"batch_size": batch_size, "max_iter": 2}
    if solver in ("alternating", "measured-sweeps") and batch_size:
        options |= {"refresh_every": 2, "solver_options": {"report_every": 6}}
    first, *others = (fit(X, y, solver, n_threads=k, **options) for k in (1, 1, 2, 3))
    assert all(same(first, other) for other in others)
    losses = [[row.loss for row in result.history] for result in (first, *others)]
    assert losses.count(losses[0]) == len(losses)
    assert not same(first, fit(X, y, solver, random_state=1, **options))


def peak_of_training(solver, n):
    """Return the peak of what a solver allocates beyond the data, in bytes."""
    network = Network.convolutional((1, 8, 8), (4,), (8,), 3)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 64)), rng.integers(0, 3, n)
    W, b = network.initial_weights(rng, X.dtype)
    with Team(1) as team:
        problem = TrainingProblem(network, CrossEntropy(y, 3), ArraySamples(X), team)
        state = problem.synchronised_state(W, b, auxiliaries=False)
        tracemalloc.start()
        try:
            solver.start(problem, state)
            solver.step(problem, state)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.skipif(not JIT_ENABLED, reason="takes many samples")
@pytest.mark.parametrize("kind", [Alternating, MeasuredSweeps])
def test_memory_depends_on_the_subset_only(kind):
    def peak(n, size=100):
        return peak_of_training(kind(batch_size=size, refresh_every=2, report_every=4), n)

    peak(500)  # compilation allocates too
    small, large = peak(5_000), peak(20_000)
    # Permutation, labels and losses: a few numbers for every sample, whose images have 64 each.
    assert large - small <= 15_000 * 8 * 6
    # The measure sees the auxiliaries of a subset: more of them take more memory.
    assert peak(20_000, 2000) > large + 1900 * 8 * 64


# --- measured weights ----------------------------------------------------------------------------


class NaiveMeasuredSweeps:
    """The equations of `lysep_fast.solvers.measured`, literally."""

    def __init__(self, problem, state, solver):
        self.problem, self.solver, self.network = problem, solver, problem.network
        self.W, self.b = [w.copy() for w in state.W], [v.copy() for v in state.b]
        self.M, self.V, self.sizes, self.count = {}, {}, 0.0, 0
        n, size = problem.n_samples, solver.batch_size
        self.subsets = Subsets(n, size, solver.refresh_every, np.random.default_rng(5))

    def sweep(self):
        self.subsets.draw()
        part = self.problem.subset(self.subsets.order[self.subsets.rows])
        truth = Reference.of(part, part.synchronised_state(self.W, self.b))
        in_W, in_b, deltas = truth.loss_gradient(squared=True)
        B, L, solver = len(part.samples.X), truth.depth, self.solver
        old = min(solver.weight_averaging, 1 - 1 / (self.count + 1))
        new = np.array([0.0] + [np.sum(delta**2) / B for delta in deltas[1:]])
        self.sizes = old * self.sizes + (1 - old) * new
        old = min(solver.gram_averaging, 1 - 1 / (self.count + 1))
        for l in range(1, L + 1):
            M = truth.rows(l, truth.features(l - 1))
            P = len(M) // B
            g = in_W[l] / B
            if self.network.has_bias(l):
                M, g = np.hstack([M, np.ones((len(M), 1))]), np.hstack([g, in_b[l][:, None] / B])
            gram = M.T @ (np.repeat(truth.c, P)[:, None] * M) / (B * P)
            self.M[l] = old * self.M.get(l, 0.0) + (1 - old) * gram
            mean = np.trace(self.M[l]) / len(gram)
            damped = self.M[l] + solver.mu * mean * np.eye(len(gram))
            w = self.sizes[l] / self.sizes[L] * P**solver.position_power
            step = solver.step_length / (w * np.sqrt(self.sizes[L]))
            self.V[l] = solver.momentum * self.V.get(l, 0.0)
            self.V[l] = self.V[l] - step * np.linalg.solve(damped, g.T).T
            p = self.W[l].shape[1]
            self.W[l] = self.W[l] + self.V[l][:, :p]
            if self.network.has_bias(l):
                self.b[l] = self.b[l] + self.V[l][:, p]
        self.count += 1


@pytest.mark.parametrize("name", ["one", "two", "line", "dense"])
@pytest.mark.parametrize(
    ("options", "setting", "split"),
    [
        ({}, {}, False),
        ({"refresh_every": 2, "momentum": 0.0}, {"output_bias": True}, True),
        ({"position_power": 1.0, "mu": 0.3}, {"sample_weight": True}, True),
        ({"gram_averaging": 0.0, "weight_averaging": 0.0}, {"activation": "softplus"}, False),
    ],
)
def test_measured_sweeps_equal_the_equations(
    make_problem, name, options, setting, split, monkeypatch
):
    if split:
        monkeypatch.setattr(batch_pass, "_WORTH_SPLITTING", 1)
    given = {key: value for key, value in setting.items() if key != "sample_weight"}
    if name == "dense":
        network = Network.dense((4, 5, 4, 3), **given)
    else:
        network = conv_network(name, **given)
    weight = setting.get("sample_weight")
    problem, state = make_problem(network, n=13, sample_weight=weight, residual=0.0)
    problem.rng = np.random.default_rng(5)
    solver = MeasuredSweeps(batch_size=4, report_every=7, step=0.2, **options)
    naive = NaiveMeasuredSweeps(problem, state, solver)
    with problem.team:
        bare = weights_only(problem, state)
        solver.start(problem, bare)
        solver.step(problem, bare)
    for _ in range(7):
        naive.sweep()
    for l in range(1, network.depth + 1):
        size = np.abs(naive.W[l]).max()
        np.testing.assert_allclose(bare.W[l], naive.W[l], rtol=1e-7, atol=1e-9 * size)
        np.testing.assert_allclose(bare.b[l], naive.b[l], rtol=1e-7, atol=1e-9)


def test_measured_sweeps_report_what_they_saw_before_their_steps(make_problem):
    problem, state = make_problem(conv_network("one"), n=10, residual=0.0, sample_weight=True)
    bare = weights_only(problem, state)
    solver = MeasuredSweeps(batch_size=10, report_every=1)
    with problem.team:
        loss, accuracy = evaluated(problem, bare)
        e = cross_entropy(Reference.of(problem, bare).logits(), problem.loss.y)
        solver.start(problem, bare)
        (step,) = solver.step(problem, bare)
    assert solver.evaluation.loss / 10 == pytest.approx(loss, rel=1e-12)
    assert solver.evaluation.correct / 10 == pytest.approx(accuracy, rel=1e-12)
    squares = np.dot(problem.loss.sample_weight, e**2)
    assert solver.evaluation.squares == pytest.approx(squares, rel=1e-12)
    assert (step.accepted, step.trials) == (1.0, 1.0)


# --- what they learn -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Return scikit-learn's 8 x 8 digits: images and labels, every fourth held out."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 8, 8)
    test = np.arange(len(X)) % 4 == 0
    return X[~test], y[~test], X[test], y[test]


@pytest.mark.skipif(not JIT_ENABLED, reason="needs compiled kernels")
@pytest.mark.parametrize(
    ("solver", "sweeps", "options"),
    [
        ("measured-sweeps", 10, {"batch_size": 200}),  # 60 sweeps over subsets
        ("mini-batch", 4, {}),
        ("quasi-newton", 12, {}),
        ("alternating", 25, {}),
        ("alternating", 4, {"batch_size": 300, "refresh_every": 8}),  # 128 sweeps over subsets
    ],
)
def test_every_solver_learns_the_digits(digits, solver, sweeps, options):
    X, y, X_test, y_test = digits
    result = fit(
        X, y, solver, conv_channels=(6,), hidden_layer_sizes=(24,), max_iter=sweeps, **options
    )
    assert np.mean(result.predict(X) == y) > 0.985
    assert np.mean(result.predict(X_test) == y_test) > 0.955
    assert result.history[-1].accuracy > 0.95


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"refresh_every": 0}, ValueError, "refresh_every must be at least 1, got 0"),
        ({"report_every": 0}, ValueError, "report_every must be at least 1, got 0"),
    ],
)
@pytest.mark.parametrize("kind", [Alternating, MeasuredSweeps])
def test_options_of_both_are_checked(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "step"),
        ({"momentum": 1.0}, "momentum"),
        ({"mu": 0.0}, "mu"),
        ({"gram_averaging": 1.0}, "gram_averaging"),
        ({"weight_averaging": -0.1}, "weight_averaging"),
        ({"position_power": 2.0}, "position_power"),
    ],
)
def test_options_of_measured_sweeps_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        MeasuredSweeps(**options)


def test_the_default_batch_is_taken_where_none_is_asked_for():
    assert MeasuredSweeps(batch_size=None).batch_size == 500
    assert Alternating().promise == "F"
    assert Alternating(batch_size=3).promise == "none"
    assert [a.auxiliaries for a in (Alternating(), Alternating(batch_size=3))] == [True, False]
