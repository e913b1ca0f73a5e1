"""Checkpoints: bit-identical resumption of every solver, refusals, and faults of the disk."""

from __future__ import annotations

import enum
import errno
import importlib
import inspect
import os
from collections import deque

import manual
import numpy as np
import pytest

from lysep_fast import ModelFileError, Status
from lysep_fast.checkpoint import Checkpoints, solver_settings
from lysep_fast.container import archive, atomic
from lysep_fast.container.stateful import Stateful, flatten, restore
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.network import Network
from lysep_fast.pde import PdeStatus
from lysep_fast.threads.team import Team, Workspace
from tools import _checkpoint_runs as runs

# The functions have the names of their modules.
DOORS = {
    importlib.import_module("lysep_fast.runs.set_up"): "NetworkTraining",
    importlib.import_module("lysep_fast.pde.solve"): "EquationTraining",
}

DENSE, EQUATIONS, LAST = runs.DENSE, runs.EQUATIONS, runs.LAST
RUNS, PDE_RUNS, X, Y = runs.RUNS, runs.PDE_RUNS, runs.X, runs.Y


def go(run, **options):
    """Train or solve, and return the result and the object that was in the loop."""
    made = []

    def recorded(kind):
        def make(*args):
            made.append(kind(*args))
            return made[-1]

        return make

    with pytest.MonkeyPatch.context() as patch:
        for module, name in DOORS.items():
            patch.setattr(module, name, recorded(getattr(module, name)))
        result = runs.perform(run, **options)
    return result, made[0]


def interrupted(run, path, after, **options):
    """Train until Ctrl-C is pressed after a sweep."""

    def callback(row):
        if getattr(row, "sweep", getattr(row, "iteration", None)) == after:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by Ctrl-C"):
        result, _ = go(run, callback=callback, checkpoint=path, **options)
    assert result.n_iter == after


# What is rewritten before it is read, and what does not decide the numbers.
SCRATCH = {"_scratch", "_pieces", "grams", "direction", "seconds"}
IGNORED = (Team, Workspace, Network)


def differences(a, b, name="", seen=None):
    """Return the dotted names of all attributes that differ, however deep."""
    seen = set() if seen is None else seen
    if isinstance(a, IGNORED) or (id(a), id(b)) in seen:
        return []
    if type(a) is not type(b):
        return [name]
    if isinstance(a, np.ndarray | np.generic):
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return [] if same else [name]
    if isinstance(a, np.random.Generator):
        a, b = flatten({"rng": a}), flatten({"rng": b})
    elif isinstance(a, list | tuple | deque):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    elif isinstance(a, int | float | str | slice | enum.Enum | None):
        return [] if a == b or (a != a and b != b) else [name]
    elif type(a).__module__.startswith("lysep_fast"):
        seen.add((id(a), id(b)))
        a, b = vars(a), vars(b)
    elif not isinstance(a, dict):
        return []  # functions
    if a.keys() != b.keys():
        return [f"{name}: {sorted(map(str, a.keys() ^ b.keys()))}"]
    inner = [key for key in a if key not in SCRATCH]
    return [d for key in inner for d in differences(a[key], b[key], f"{name}.{key}", seen)]


ALL_RUNS = RUNS | PDE_RUNS


@pytest.mark.parametrize("name", ALL_RUNS)
def test_an_interrupted_run_goes_on_with_the_same_bits(name, tmp_path):
    # The comparison covers every attribute of the problem, the variables, the solver and the
    # result, so that it fails for one that a checkpoint has forgotten.
    run, path = ALL_RUNS[name], tmp_path / "c.npz"
    whole = go(run)
    if whole[0].status is PdeStatus.SOLVED:
        go(run, checkpoint=path)
    else:
        assert whole[0].n_iter == LAST
        # The last checkpoint is that of sweep 3: sweep 4 is repeated.
        interrupted(run, path, 4, checkpoint_every=3)
    again = go(run, resume=path)
    assert differences(whole[1], again[1]) == []


@pytest.mark.parametrize("after", range(1, LAST) if JIT_ENABLED else (3,))
@pytest.mark.parametrize(
    "name", ["quasi-newton, rejected", "rejected", "co-moving, subsets", "mini-batch"]
)
def test_any_sweep_will_do(name, after, tmp_path):
    run, path = ALL_RUNS[name], tmp_path / "c.npz"
    interrupted(run, path, after + 1, checkpoint_every=after)
    whole, again = go(run), go(run, resume=path)
    if name.endswith("rejected"):
        assert any(row.steps[0].accepted < 0.5 for row in whole[0].history[1:])
    assert differences(whole[1], again[1]) == []


def test_a_run_may_be_interrupted_more_than_once(tmp_path):
    run, path = RUNS["paper, subsets"], tmp_path / "c.npz"
    whole = go(run)
    interrupted(run, path, 2, checkpoint_every=1)
    interrupted(run, path, 5, checkpoint_every=1, resume=path)
    assert differences(whole[1], go(run, resume=path)[1]) == []


STATES = {
    "paper": ["last_step"],
    "co-moving": ["mu", "t", "age", "former"],
    "quasi-newton": ["damping", "age", "memory"],
    "mini-batch": ["theta", "velocity", "average", "metrics", "count"],
    "mini-batch, polar": ["iterate", "mean", "velocity", "factors", "metrics", "count"],
    "measured sweeps": ["subsets", "velocity", "metrics", "sizes", "count"],
    "nesterov, linear": ["x", "y", "run", "sweeps"],
}


@pytest.mark.parametrize(("name", "lost"), [(n, a) for n, names in STATES.items() for a in names])
def test_the_comparison_sees_what_is_forgotten(name, lost, tmp_path, monkeypatch):
    run, path = ALL_RUNS[name], tmp_path / "c.npz"
    whole = go(run)
    owners = [kind for kind in _kinds(Stateful) if lost in vars(kind).get("state_names", ())]
    for kind in owners:
        names = tuple(name for name in kind.state_names if name != lost)
        monkeypatch.setattr(kind, "state_names", names)
    assert owners
    seen = []
    for after in (2, 3):  # some parts happen to have their first value again after one of these
        interrupted(run, path, after + 1, checkpoint_every=after)
        seen += differences(whole[1], go(run, resume=path)[1])
    assert seen


def _kinds(kind):
    return [*kind.__subclasses__(), *(k for sub in kind.__subclasses__() for k in _kinds(sub))]


# --- what a run may change ---------------------------------------------------------------------


def test_a_finished_run_gives_its_result_again_and_goes_on_with_more_sweeps(tmp_path):
    run, path = RUNS["mini-batch, held out"], tmp_path / "c.npz"
    first = go(run, max_iter=4, checkpoint=path)
    before = path.read_bytes()
    again = go(run, max_iter=4, resume=path, checkpoint=path)
    assert differences(first[0], again[0]) == []
    assert again[0].status is Status.MAX_ITER
    assert path.read_bytes() == before
    assert differences(go(run)[1], go(run, resume=path)[1]) == []
    with pytest.raises(ValueError, match="max_iter=3 is below the 4 sweeps"):
        go(run, max_iter=3, resume=path)


def test_the_callback_and_the_printed_lines_go_on_after_the_checkpoint(tmp_path, capsys):
    path, seen = tmp_path / "c.npz", []
    stopped = go(RUNS["mini-batch"], callback=lambda row: row.sweep == 2, checkpoint=path)
    assert stopped[0].status is Status.CALLBACK
    result, _ = go(RUNS["mini-batch"], callback=seen.append, resume=path, verbose=1)
    assert [row.sweep for row in seen] == list(range(3, LAST + 1))
    assert [row.sweep for row in result.history] == list(range(LAST + 1))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[:2]] == ["3", "4"]
    seconds = [row.seconds for row in result.history]
    assert seconds == sorted(seconds)


def test_threads_may_change_and_the_seed_be_left_out(tmp_path):
    run, path = RUNS["mini-batch, held out"], tmp_path / "c.npz"
    interrupted(run, path, 4, checkpoint_every=2)
    numbers = {"n_iter_no_change": np.int64(10), "validation_fraction": np.float64(0.1)}
    again, _ = go(run, resume=path, random_state=None, n_threads=2, **numbers)
    assert differences(go(run)[0].W, again.W) == []


def test_a_run_without_a_seed_goes_on_with_its_own_draws(tmp_path):
    # The held-out samples and the points are drawn again as they were.
    path = tmp_path / "c.npz"
    for run in (RUNS["mini-batch, held out"], PDE_RUNS["nesterov, linear"]):
        whole, _ = go(run, random_state=None, checkpoint=path, max_iter=5)
        interrupted(run, path, 3, random_state=None, checkpoint_every=1)
        half, _ = go(run, random_state=None, resume=path, max_iter=5)
        again, _ = go(run, random_state=None, resume=path, max_iter=5)
        assert differences(half.history, again.history) == []
        assert half.history[0].loss != whole.history[0].loss


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_kind_of_generator_is_kept(kind, tmp_path):
    run, path = RUNS["measured sweeps"], tmp_path / "c.npz"
    whole = go(run, random_state=np.random.Generator(kind(5)))
    interrupted(run, path, 4, random_state=np.random.Generator(kind(5)), checkpoint_every=2)
    again = go(run, random_state=np.random.Generator(kind(6)), resume=path)
    assert differences(whole[1], again[1]) == []
    with pytest.raises(ValueError, match=f"random generator was '{kind.__name__}', not 'PCG64'"):
        go(run, random_state=None, resume=path)


# --- refusals ----------------------------------------------------------------------------------


def changed(array):
    array = array.copy()
    array.flat[5] += 1
    return array


OTHERS = [
    ({"X": changed(X)}, "X holds other values"),
    ({"X": X.astype(np.float32)}, "X holds other values"),
    ({"y": np.roll(Y, 1)}, "y holds other values"),
    ({"sample_weight": np.arange(90.0)}, "sample_weight holds other values"),
    ({"hidden_layer_sizes": (6, 6)}, r"hidden_layer_sizes was \[6, 5\], not \[6, 6\]"),
    ({"activation": "sigmoid"}, "activation was None, not 'sigmoid'"),
    ({"solver": "quasi-newton"}, "solver was 'MiniBatch', not 'QuasiNewton'"),
    ({"solver_options": {"rate": 0.4}}, "the solver's rate was None, not 0.4"),
    ({"alpha": 0.1}, "alpha was 0.0, not 0.1"),
    ({"early_stopping": True}, "validation_fraction was None, not 0.1"),
    ({"tol": 0.0}, "tol was 0.0001, not 0.0"),
    ({"random_state": 4}, "random_state was 3, not 4"),
    ({"n_classes": 5}, "n_classes was 3, not 5"),
]


@pytest.mark.parametrize(("other", "words"), OTHERS)
def test_another_run_is_refused_and_what_differs_is_named(other, words, tmp_path):
    run, path = DENSE | {"solver": "mini-batch"}, tmp_path / "c.npz"
    go(run, max_iter=1, checkpoint=path)
    with pytest.raises(ValueError, match=f"belongs to another run: .*{words}"):
        go(run, resume=path, **other)


def test_training_that_started_from_a_result_goes_on_with_the_same_start_only(tmp_path):
    run, path = DENSE | {"solver": "mini-batch"}, tmp_path / "c.npz"
    first, other = (go(run, max_iter=1, random_state=seed)[0] for seed in (1, 2))
    whole = go(run, init=first)[0]
    go(run, init=first, max_iter=2, checkpoint=path)
    for w, v in zip(go(run, init=first, resume=path)[0].W, whole.W, strict=True):
        np.testing.assert_array_equal(w, v)
    with pytest.raises(ValueError, match="belongs to another run: init holds other values"):
        go(run, init=other, resume=path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"problem": EQUATIONS["cubic"]}, "problem holds other values"),
        ({"n_interior": 81}, "n_interior was 80, not 81"),
        ({"scale": 0.5}, "scale was 0.6, not 0.5"),
        ({"solver_options": {"kappa": 0.4}}, "the solver's kappa was 0.3, not 0.4"),
    ],
)
def test_another_equation_is_refused(other, words, tmp_path):
    run, path = {"problem": EQUATIONS["linear"], "solver": "nesterov"}, tmp_path / "c.npz"
    go(run, max_iter=1, checkpoint=path)
    with pytest.raises(ValueError, match=words):
        go(run, resume=path, **other)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"checkpoint": 5}, TypeError, "checkpoint must be the path of a file or None, got 5"),
        ({"resume": b"x"}, TypeError, "resume must be the path"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be at least 1, got 0"),
        ({"checkpoint_errors": "ask"}, ValueError, "checkpoint_errors must be one of"),
        ({"resume": "no such file"}, FileNotFoundError, "no such file"),
    ],
)
def test_bad_arguments_are_named(options, error, words):
    for run in (RUNS["mini-batch"], PDE_RUNS["nesterov, linear"]):
        with pytest.raises(error, match=words):
            go(run, **options)


def test_a_solver_without_a_state_is_refused(tmp_path):
    class Own:
        promise, supports, init = "none", (), "uniform"
        auxiliaries, synchronised = False, True
        separated = evaluation = None

        def start(self, problem, state):
            pass

        def step(self, problem, state):
            return []

    go(DENSE | {"solver": Own()})
    with pytest.raises(TypeError, match="the solver Own has no method 'state_dict'"):
        go(DENSE | {"solver": Own()}, checkpoint=tmp_path / "c.npz")


def test_damaged_files_are_refused(tmp_path):
    path, other = tmp_path / "c.npz", tmp_path / "other.npz"
    go(RUNS["mini-batch"], max_iter=1, checkpoint=path)
    whole = path.read_bytes()
    for where in (100, len(whole) // 2, len(whole) - 100):
        other.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
        with pytest.raises(ModelFileError, match=r"other\.npz"):
            go(RUNS["mini-batch"], resume=other)
    archive.write_archive(other, "model", {}, {})
    with pytest.raises(ModelFileError, match="holds a 'model', not 'checkpoint'"):
        go(RUNS["mini-batch"], resume=other)


@pytest.mark.parametrize(
    "what",
    ["lost", "more", "shape", "rows", "not finite", "text", "best", "no settings", "odd settings"],
)
def test_states_that_do_not_fit_are_refused(what, tmp_path, monkeypatch):
    # Files that are sound but made by code that differs.
    path, write = tmp_path / "c.npz", archive.write_archive

    def other(path, kind, header, arrays):
        name = "training.solver.moves.theta"
        if what == "lost":
            del arrays[name], header["arrays"][name]
        elif what == "more":
            header["scalars"]["training.solver.other"] = 1
        elif what == "text":
            header["scalars"]["loop.seconds"] = "1"
        elif what == "best":
            header["scalars"]["loop.best_iter"] = 2
        elif what == "not finite":
            arrays["training.best.W.1"] = np.full_like(arrays["training.best.W.1"], np.nan)
        elif what == "rows":
            header["scalars"]["loop.iteration"] = 0
        elif what == "no settings":
            del header["settings"]
        elif what == "odd settings":
            header["settings"] = []
        else:
            arrays[name] = arrays[name][1:]
            header["arrays"][name][1] = [len(arrays[name])]
        write(path, kind, header, arrays)

    monkeypatch.setattr("lysep_fast.checkpoint.write_archive", other)
    go(RUNS["mini-batch"], max_iter=1, checkpoint=path)
    with pytest.raises(ModelFileError, match=r"c\.npz.* (is damaged|has no settings)"):
        go(RUNS["mini-batch"], resume=path)


# --- faults of the disk ------------------------------------------------------------------------


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def short_write(handle):
    """Keep half of a file, as a file system may that reports no error."""
    os.ftruncate(handle, os.fstat(handle).st_size // 2)


FAULTS = {
    "fsync": lambda patch: patch.setattr(atomic.os, "fsync", full_disk),
    "open": lambda patch: patch.setattr(atomic, "open", full_disk, raising=False),
    "rename": lambda patch: patch.setattr(atomic.os, "replace", full_disk),
    "short write": lambda patch: patch.setattr(atomic.os, "fsync", short_write),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_disk_stops_training_or_warns(fault, tmp_path):
    run, path = RUNS["quasi-newton"], tmp_path / "c.npz"
    whole, before = go(run)[0], []
    with pytest.MonkeyPatch.context() as patch:

        def callback(row):
            if row.sweep == 4:
                before.append(path.read_bytes())
                FAULTS[fault](patch)

        options = {"callback": callback, "checkpoint": path, "checkpoint_every": 2}
        with pytest.raises(OSError, match=r"c\.npz after iteration 4: .*checkpoint_errors='warn'"):
            go(run, **options)
        assert path.read_bytes() == before.pop()
        patch.undo()
        with pytest.warns(RuntimeWarning, match="training goes on") as warned:
            result, _ = go(run, checkpoint_errors="warn", **options)
    assert len(warned) == 4  # after sweeps 4, 6, 8 and 9
    assert path.read_bytes() == before.pop()
    assert os.listdir(tmp_path) == ["c.npz"]
    assert differences(whole.W, result.W) == []
    again, _ = go(run, resume=path)
    assert differences(whole.W, again.W) == []


def test_training_stops_before_the_first_sweep_if_the_file_cannot_be_written(tmp_path):
    seen = []
    with pytest.raises(OSError, match="after iteration 0: No such file or directory"):
        go(RUNS["mini-batch"], checkpoint=tmp_path / "none" / "c.npz", callback=seen.append)
    assert [row.sweep for row in seen] == [0]


def test_ctrl_c_while_a_checkpoint_is_written_leaves_the_former_one(tmp_path, monkeypatch):
    run, path = RUNS["paper, subsets"], tmp_path / "c.npz"
    whole = go(run)
    fsync, calls = os.fsync, []

    def interrupt(handle):
        calls.append(handle)
        if len(calls) == 5:  # the file's of the third checkpoint; each has two
            raise KeyboardInterrupt
        fsync(handle)

    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        stopped, _ = go(run, checkpoint=path, checkpoint_every=1)
    assert (stopped.status, stopped.n_iter) == (Status.INTERRUPTED, 2)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["c.npz"]
    assert differences(whole[1], go(run, resume=path)[1]) == []


def test_checkpoints_are_written_when_they_are_due(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoints, "_write", lambda self, *_: written.append(self._written))
    go(RUNS["mini-batch"], checkpoint=tmp_path / "c.npz", checkpoint_every=3)
    assert written == [-1, 0, 3, 6]  # the ones before those of 0, 3, 6 and 9


# --- states ------------------------------------------------------------------------------------


class Part(Stateful):
    state_names = ("n", "x", "items", "table", "nothing", "single")

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.n, self.x = seed, rng.standard_normal((2, 3))
        self.view = self.x[0]
        self.items = (rng.standard_normal(2), [1.5, "word"], True)
        self.table = {1: rng.standard_normal(1), "a": np.float32(seed)}
        self.nothing, self.single = None, np.float64(seed)


def test_a_state_is_flat_and_goes_back_in_place():
    one, two = Part(1), Part(2)
    state = one.state_dict()
    assert {"n", "x", "items.0", "items.1.0", "items.1.1", "table.1", "table.a"} < state.keys()
    two.load_state_dict(state)
    assert differences(one, two) == []
    assert two.view is not one.view
    np.testing.assert_array_equal(two.view, one.view)
    assert not np.shares_memory(two.items[0], one.items[0])
    assert type(two.table["a"]) is np.float32


def test_lists_may_grow_and_shrink():
    for length in (0, 1, 3):
        arrays = [np.full(2, i) for i in range(length)]
        again = restore(flatten({"a": arrays}), "a", [np.zeros(2, np.int64)])
        assert differences(arrays, again) == []


@pytest.mark.parametrize("count", [-1, 10**3, 10**18])
def test_a_list_cannot_be_longer_than_what_there_is(count):
    with pytest.raises(ValueError, match=f"'a' of length {count}"):
        restore({"a.count-of": count, "a.0": 1}, "a", [1])


def test_states_that_do_not_fit_name_the_part():
    state = Part(1).state_dict()
    with pytest.raises(ValueError, match="no 'n'"):
        Part(1).load_state_dict({})
    with pytest.raises(ValueError, match=r"'x' of shape \(4,\) and dtype float64, where \(2, 3\)"):
        Part(1).load_state_dict(state | {"x": np.zeros(4)})
    with pytest.raises(ValueError, match="float32, where"):
        Part(1).load_state_dict(state | {"x": np.zeros((2, 3), np.float32)})
    for value in (object(), 1j, np.array(["a"]), np.array([None])):
        with pytest.raises(TypeError, match=r"cannot hold a\.b="):
            flatten({"a": {"b": value}})


@pytest.mark.parametrize("name", ALL_RUNS)
def test_settings_are_the_options_and_no_run_changes_them(name):
    _, training = go(ALL_RUNS[name], max_iter=0)
    before = solver_settings(training.solver)
    _, training = go(ALL_RUNS[name], max_iter=3)
    assert solver_settings(training.solver) == before
    for option in inspect.signature(type(training.solver)).parameters:
        assert {option, f"{option}_length"} & vars(training.solver).keys()


def test_the_lines_of_the_guide_run_and_go_on(tmp_path, monkeypatch):
    lines, own = manual.python_blocks("checkpoints.md")
    monkeypatch.chdir(tmp_path)
    found = []
    for sweeps in ("3", "8"):
        names = {"X": X, "y": Y}
        exec(compile(lines.replace("500", sweeps), "docs/checkpoints.md", "exec"), names)
        found.append(names["result"])
    assert [result.n_iter for result in found] == [3, 8]
    # The row of the kept weights speaks of their output bias made exact.
    assert differences(found[0].history[:3], found[1].history[:3]) == []
    names = {"Stateful": Stateful}
    exec(compile(own, "docs/checkpoints.md", "exec"), names)
    solver = names["MySolver"]()
    solver.velocity, solver.count = np.zeros(2), 0
    solver.resume(None, None, {"velocity": np.ones(2), "count": 3})
    assert (solver.velocity.sum(), solver.count) == (2.0, 3)


def test_another_version_of_the_library_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    go(RUNS["mini-batch"], max_iter=1, checkpoint=path)
    monkeypatch.setattr("lysep_fast.checkpoint.__version__", "0.0.9")
    with pytest.raises(ValueError, match=r"version of lysep_fast was '.*', not '0\.0\.9'"):
        go(RUNS["mini-batch"], resume=path)
