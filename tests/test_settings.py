"""One argument, one place: signatures, settings, checkpoints, estimators and command line agree.

Each check is a function that returns what it finds, so that copies with a forgotten argument show
that it would be found.  Every exception is listed with its reason.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect

import numpy as np
import pytest

from lysep_fast import train
from lysep_fast.checkpoint import Checkpoints, solver_settings
from lysep_fast.commands import train as command
from lysep_fast.pde import Box, Operator, Problem, solve
from lysep_fast.pde.settings import PdeSettings
from lysep_fast.settings.run import RunSettings, free
from lysep_fast.settings.train import Settings
from lysep_fast.solvers import Alternating, MiniBatch

DATA = {"X": "data", "y": "data", "sample_weight": "data"}
PROBLEM, OTHER = (Problem(Box(-1, 1, 2), Operator(-1.0), source, 0.0) for source in (1.0, 2.0))
DOORS = [(train, Settings, DATA), (solve, PdeSettings, {})]
each_door = pytest.mark.parametrize(("door", "kind", "beside"), DOORS, ids=["train", "solve"])
NOTHING = object()


def signature(function):
    """Return the defaults of a signature, ... for none, by name."""
    found = inspect.signature(function).parameters.values()
    return {p.name: ... if p.default is p.empty else p.default for p in found}


def fields(kind):
    """Return the defaults of the fields of settings, ... for none, by name."""
    missing = dataclasses.MISSING
    return {f.name: ... if f.default is missing else f.default for f in dataclasses.fields(kind)}


def unlike(found, wanted, *exceptions):
    """Return the names that only one of two tables has, or with another default."""
    names = found.keys() | wanted.keys()
    differ = {n for n in names if found.get(n, NOTHING) != wanted.get(n, NOTHING)}
    return sorted(differ.difference(*exceptions))


def with_signature(function, change):
    """Return a function whose signature is that of another, with changed defaults."""

    def copy():
        raise NotImplementedError

    table = change(signature(function))
    copy.__signature__ = inspect.Signature(
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=inspect._empty if value is ... else value
        )
        for name, value in table.items()
    )
    return copy


#: How an argument may be forgotten in one place, here or in all others.
FORGETFUL = {
    "lost": (lambda table: {n: v for n, v in table.items() if n != "tol"}, ["tol"]),
    "more": (lambda table: table | {"momentum": 0.9}, ["momentum"]),
    "default": (lambda table: table | {"tol": 1e-3}, ["tol"]),
    "renamed": (
        lambda table: {"patience" if n == "tol" else n: v for n, v in table.items()},
        ["patience", "tol"],
    ),
}
forgetful = pytest.mark.parametrize(("change", "found"), FORGETFUL.values(), ids=FORGETFUL)


# --- signatures and settings -------------------------------------------------------------------


@each_door
def test_arguments_are_the_fields_of_the_settings_with_the_same_defaults(door, kind, beside):
    assert unlike(signature(door), fields(kind), beside) == []


@each_door
@forgetful
def test_an_argument_that_signature_or_settings_forget_is_noticed(
    door, kind, beside, change, found
):
    assert unlike(signature(with_signature(door, change)), fields(kind), beside) == found
    assert unlike(signature(door), change(fields(kind)), beside) == found


@each_door
def test_what_every_run_takes_is_written_once(door, kind, beside):
    shared = fields(RunSettings)
    own = set(vars(kind)["__annotations__"])
    assert shared.keys() <= fields(kind).keys()
    # Iterations on differential equations have their own patience.
    assert own & shared.keys() == ({"n_iter_no_change"} if kind is PdeSettings else set())


def test_an_argument_without_a_field_is_an_error_and_one_without_a_value_has_its_default():
    with pytest.raises(TypeError, match="momentum"):
        Settings.of({"X": 1, "momentum": 0.9}, beside=["X"])
    with pytest.raises(TypeError, match="'X'"):
        Settings.of({"X": 1})
    assert Settings.of({"tol": 0}).max_iter == 200


# --- the checks --------------------------------------------------------------------------------


def test_settings_are_frozen_and_hold_checked_values():
    settings = Settings(
        hidden_layer_sizes=[np.int64(4), 3], conv_channels=2, alpha=1, tol=np.float32(0.5),
        max_iter=np.int64(7), early_stopping=np.True_, loss="squared-error", target_unit=2,
    )  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.tol = 0.1
    wanted = {
        "hidden_layer_sizes": (4, 3), "conv_channels": (2,), "alpha": 1.0, "tol": 0.5,
        "max_iter": 7, "early_stopping": True, "output_bias": True, "target_unit": 2.0,
    }  # fmt: skip
    for name, value in wanted.items():
        assert getattr(settings, name) == value
        assert type(getattr(settings, name)) is type(value), name
    assert settings.n_threads >= 1
    assert Settings().output_bias is True
    assert Settings(solver="alternating").output_bias is False
    assert Settings(loss="binary-cross-entropy").output_bias is True
    assert PdeSettings(problem=PROBLEM).scale == 0.6
    assert PdeSettings(problem=PROBLEM, hidden_layer_sizes=3).widths == (2, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"momentum": 1}, "momentum"),
        ({"tol": -1}, "tol must be"),
        ({"callback": 3}, "callback must be callable or None, got 3"),
        ({"random_state": "x"}, "random_state must be"),
        ({"checkpoint": 5}, "checkpoint must be the path"),
        ({"n_classes": 0}, "n_classes must be at least 1, got 0"),
        ({"n_classes": 3, "loss": "squared-error"}, "n_classes=3 belongs to classes"),
        ({"label_smoothing": 0, "loss": "squared-error"}, "label_smoothing=0 belongs to classes"),
        ({"label_smoothing": 2}, "label_smoothing must be"),
        ({"target_unit": 1.0}, "target_unit=1.0 belongs to numbers"),
        ({"n_classes": 3, "loss": "binary-cross-entropy"}, "has labels as targets"),
        ({"label_smoothing": 0.1, "loss": "binary-cross-entropy"}, "belongs to classes"),
        ({"target_unit": 1.0, "loss": "binary-cross-entropy"}, "belongs to numbers"),
        ({"target_unit": 0, "loss": "squared-error"}, "target_unit must be"),
        ({"image_shape": (2, 2)}, "image_shape=(2, 2) needs convolutions"),
        ({"weights": "patch"}, "weights must be one of"),
        ({"solver": "mini-batch", "solver_options": {"speed": 1}}, "speed=1"),
        ({"solver": "mini-batch", "refresh_every": 2}, "refresh_every"),
        (
            {"solver": "mini-batch", "batch_size": 2, "solver_options": {"batch_size": 3}},
            "batch_size is given twice",
        ),
        ({"solver": "measured-sweeps", "loss": "squared-error"}, "cannot take"),
    ],
    ids=str,
)
def test_settings_are_checked_without_any_data(given, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        Settings(**given)
    assert words in str(caught.value)


def test_the_solver_that_suits_is_made_when_the_data_is_known():
    assert isinstance(Settings(batch_size=8).make_solver(10**5, 30, None), MiniBatch)
    weight = np.ones(50)
    assert not isinstance(Settings().make_solver(50, 2, weight), MiniBatch)
    assert isinstance(Settings(conv_channels=2).make_solver(50, 2, None), MiniBatch)
    own = Alternating()
    assert Settings(solver=own).make_solver(50, 2, weight) is own
    own.supports = ()
    with pytest.raises(ValueError, match="sample_weight"):
        Settings(solver=own).make_solver(50, 2, weight)


# --- checkpoints -------------------------------------------------------------------------------

#: What a run that goes on may change.
FREE = {
    "max_iter": "a run may go on for longer",
    "n_threads": "results do not depend on it",
    "callback": "it looks at rows only",
    "verbose": "it prints",
    "checkpoint": "files may move",
    "checkpoint_every": "how often to write",
    "checkpoint_errors": "what a full disk does",
    "resume": "files may move",
}
RUN_CHANGES = {
    "max_iter": {"max_iter": 3},
    "tol": {"tol": 0.5},
    "n_iter_no_change": {"n_iter_no_change": 3},
    "random_state": {"random_state": 3},
    "n_threads": {"n_threads": 3},
    "callback": {"callback": print},
    "verbose": {"verbose": 1},
    "checkpoint": {"checkpoint": "c.npz"},
    "checkpoint_every": {"checkpoint_every": 3},
    "checkpoint_errors": {"checkpoint_errors": "warn"},
    "resume": {"resume": "c.npz"},
}
IMAGES = {"conv_channels": 2}
NUMBERS = {"loss": "squared-error"}
SUBSETS = {"solver": "alternating", "batch_size": 5, "refresh_every": 2}
TRAINED = train([[0.0], [1.0]], [0, 1], hidden_layer_sizes=2, max_iter=0, random_state=0)
#: For every field settings that differ in it alone.
CHANGES = {
    Settings: {
        **{name: ({}, change) for name, change in RUN_CHANGES.items()},
        "loss": ({}, NUMBERS),
        "hidden_layer_sizes": ({}, {"hidden_layer_sizes": (100, 100)}),
        "activation": ({}, {"activation": "sin"}),
        "conv_channels": (IMAGES, {"conv_channels": 3}),
        "kernel_size": (IMAGES, {"kernel_size": 2}),
        "pool_size": (IMAGES, {"pool_size": 1}),
        "padding": (IMAGES, {"padding": 0}),
        "image_shape": (IMAGES, {"image_shape": (2, 3)}),
        "solver": ({}, {"solver": "alternating"}),
        "solver_options": ({"solver": "mini-batch"}, {"solver_options": {"rate": 0.4}}),
        "weights": ({"solver": "alternating"}, {"weights": "spectral"}),
        "output_bias": ({}, {"output_bias": False}),
        "standardise": ({}, {"standardise": False}),
        "init": ({}, {"init": TRAINED}),
        "alpha": ({}, {"alpha": 0.1}),
        "label_smoothing": ({}, {"label_smoothing": 0.1}),
        "batch_size": (SUBSETS, {"batch_size": 6}),
        "refresh_every": (SUBSETS, {"refresh_every": 3}),
        "early_stopping": ({}, {"early_stopping": True}),
        "validation_fraction": ({"early_stopping": True}, {"validation_fraction": 0.2}),
        "n_classes": ({}, {"n_classes": 7}),
        "target_unit": (NUMBERS, {"target_unit": 2.0}),
    },
    PdeSettings: {
        **{name: ({}, change) for name, change in RUN_CHANGES.items()},
        "problem": ({}, {"problem": OTHER}),
        "hidden_layer_sizes": ({}, {"hidden_layer_sizes": (40, 39)}),
        "activation": ({}, {"activation": "sin"}),
        "solver": ({}, {"solver": "nesterov"}),
        "solver_options": ({"solver": "nesterov"}, {"solver_options": {"kappa": 0.4}}),
        "n_interior": ({}, {"n_interior": 500}),
        "n_boundary": ({}, {"n_boundary": 100}),
        "boundary_weight": ({}, {"boundary_weight": 50.0}),
        "scale": ({}, {"scale": 0.5}),
    },
}
KINDS = pytest.mark.parametrize("kind", CHANGES, ids=["train", "solve"])


def compared(kind, given):
    """Return what a checkpoint of these settings compares."""
    settings = kind(**({"problem": PROBLEM} if issubclass(kind, PdeSettings) else {}) | given)
    sizes = () if issubclass(kind, PdeSettings) else (90, 3, None)
    return {**settings.compared(), **solver_settings(settings.make_solver(*sizes))}


def unproved(kind, changes, may_differ):
    """Return the fields that no change is known for, or that checkpoints treat otherwise."""
    wrong = fields(kind).keys() ^ changes.keys()
    for name in changes.keys() - wrong:
        base, change = changes[name]
        seen = compared(kind, base) != compared(kind, base | change)
        if seen == (name in may_differ):
            wrong.add(name)
    return sorted(wrong)


@KINDS
def test_checkpoints_compare_every_field_but_those_with_a_reason(kind):
    assert unproved(kind, CHANGES[kind], FREE) == []


@KINDS
def test_a_field_that_checkpoints_forget_is_noticed(kind):
    @dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
    class Forgets(kind):
        tol: float = dataclasses.field(default=1e-4, metadata=free("a slip"))
        verbose: int = 0

    assert unproved(Forgets, CHANGES[kind], FREE) == ["tol", "verbose"]


@KINDS
def test_a_new_field_is_compared_and_asks_for_its_proof(kind):
    @dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
    class More(kind):
        momentum: float = 0.9

    assert unproved(More, CHANGES[kind], FREE) == ["momentum"]
    change = {"momentum": ({}, {"momentum": 0.5})}
    assert unproved(More, CHANGES[kind] | change, FREE) == []


def test_data_and_held_out_share_count_as_they_are_used(tmp_path):
    assert compared(Settings, {}) == compared(Settings, {"validation_fraction": 0.2})
    one, other = {"batch_size": 9}, {"solver_options": {"batch_size": 9}}
    batches = {"solver": "mini-batch"}
    assert compared(Settings, batches | one) == compared(Settings, batches | other)
    settings = Settings(checkpoint=tmp_path / "c.npz", n_classes=None)
    begun = settings.begin(Alternating(), settings.generator(), lambda: {"n_classes": 3})
    assert isinstance(begun, Checkpoints)
    assert begun.settings["n_classes"] == 3
    assert begun.settings["solver"] == "Alternating"


# --- estimators --------------------------------------------------------------------------------

OWN = {
    "class_weight": "labels are the estimators' business; train has weights of samples",
    "warm_start": "train says it by init",
}
WITHOUT = {
    "loss": "it is that of the estimator",
    "n_classes": "the labels tell",
    "target_unit": "the targets tell",
    "checkpoint": "a search copies an estimator: all copies would write one file",
    "checkpoint_every": "see checkpoint",
    "checkpoint_errors": "see checkpoint",
    "resume": "see checkpoint",
}
DENSE = {
    "conv_channels": "LySepConvClassifier has it",
    "kernel_size": "LySepConvClassifier has it",
    "pool_size": "LySepConvClassifier has it",
    "padding": "LySepConvClassifier has it",
    "image_shape": "LySepConvClassifier has it",
    "refresh_every": "sweeps on subsets are for large sets of images",
}
OTHERS = {
    "random_state": "scikit-learn's kinds as well",
    "early_stopping": "an estimator is for new data, train does what it is told",
}
#: Parameters by estimator that `train` has not, has alone, or has with another default or text.
ESTIMATORS = {
    "LySepClassifier": (OWN, WITHOUT | DENSE, OTHERS),
    "LySepRegressor": (
        {"warm_start": OWN["warm_start"]},
        WITHOUT | DENSE | {"label_smoothing": "for classes"},
        OTHERS,
    ),
    "LySepConvClassifier": (
        OWN,
        WITHOUT,
        OTHERS | {"conv_channels": "it needs some", "hidden_layer_sizes": "they cost more here"},
    ),
}
each_estimator = pytest.mark.parametrize("name", ESTIMATORS)


@pytest.fixture
def estimators():
    pytest.importorskip("sklearn")
    return importlib.import_module("lysep_fast.estimators")


def strayed(table, name):
    """Return the parameters of an estimator that are not as the lists say."""
    own, without, others = ESTIMATORS[name]
    wanted = fields(Settings)
    wrong = unlike(table, wanted, own, without, others)
    wrong += [n for n in [*own, *others] if n not in table]
    return sorted([*wrong, *(n for n in without if n in table), *(own.keys() & wanted.keys())])


@each_estimator
def test_parameters_of_the_estimators_are_the_fields_of_the_settings(estimators, name):
    assert strayed(signature(getattr(estimators, name)), name) == []
    assert set(WITHOUT) | set(DENSE) <= fields(Settings).keys()


@each_estimator
@forgetful
def test_a_parameter_that_an_estimator_forgets_is_noticed(estimators, name, change, found):
    kind = getattr(estimators, name)
    assert strayed(signature(with_signature(kind, change)), name) == found
    assert strayed({"resume": None, **signature(kind)}, name) == ["resume"]
    assert strayed({n: v for n, v in signature(kind).items() if n != "warm_start"}, name) == [
        "warm_start"
    ]


@each_estimator
def test_an_estimator_keeps_its_parameters_as_they_are(estimators, name):
    kind = getattr(estimators, name)
    given = {parameter: object() for parameter in signature(kind)}
    assert vars(kind(**given)) == given


def test_a_subclass_may_have_parameters_of_its_own(estimators):
    class Mine(estimators.LySepClassifier):
        def __init__(self, extra=1, max_iter=5):
            super().__init__(max_iter=max_iter)
            self.extra = extra

    assert Mine(extra=2).get_params() == {"extra": 2, "max_iter": 5}
    assert Mine().tol == 1e-4


# --- docstrings --------------------------------------------------------------------------------


def entries(thing):
    documented = importlib.import_module("lysep_fast.estimators._documented")
    return documented.described(thing, "Parameters")


def misquoted(thing):
    """Return the parameters whose documented default is not that of the signature."""
    known, wrong = entries(thing), []
    for name, default in signature(thing).items():
        head = known[name].partition("\n")[0]
        names, _, said = head.partition(" : ")
        values = said.partition(", default ")[2]
        if values:
            at = names.split(", ").index(name)
            value = ast.literal_eval(values.split(" and ")[at])
            wrong += [] if value == default else [name]
        elif default is not ... and default is not None:
            wrong.append(name)
    return wrong


@each_estimator
def test_estimators_describe_shared_parameters_in_the_words_of_train(estimators, name):
    kind, words = getattr(estimators, name), entries(train)
    assert list(entries(kind)) == list(signature(kind))
    own, _, others = ESTIMATORS[name]
    assert unlike(entries(kind), words, own, others, words.keys() - signature(kind).keys()) == []


@pytest.mark.parametrize("name", ["train", "solve", *ESTIMATORS])
def test_documented_defaults_are_those_of_the_signature(estimators, name):
    thing = {"train": train, "solve": solve}.get(name) or getattr(estimators, name)
    assert misquoted(thing) == []


def test_a_wrong_default_in_a_docstring_is_noticed(estimators):
    for change in ("tol", "kernel_size", "hidden_layer_sizes"):
        copy = with_signature(train, lambda table, name=change: table | {name: 7})
        copy.__doc__ = train.__doc__
        assert misquoted(copy) == [change]


def test_docstrings_are_completed_from_the_bases_and_from_train(estimators, monkeypatch):
    make = importlib.import_module("lysep_fast.estimators._documented").documented
    base = importlib.import_module("lysep_fast.estimators._base").NetworkEstimator

    def init(self, tol=1.0, warm_start=False, extra=1, pool_size=2, kernel_size=3):
        raise NotImplementedError

    body = {"__doc__": SHORT, "__init__": init, "__module__": "lysep_fast.estimators.mine"}
    assert make(type("Short", (base,), dict(body))).__doc__.startswith(COMPLETED)
    assert make(type("Bare", (base,), body | {"__doc__": None})).__doc__ is None


SHORT = """Do it.

    Parameters
    ----------
    extra : int, default 1
        More.
    tol : float, default 1.0
        Another one.
    """
COMPLETED = """\
Do it.

Parameters
----------
tol : float, default 1.0
    Another one.
warm_start : bool, default False
    Whether `fit` goes on from the weights of its last call, which had the same architecture
    and, for a classifier, the same classes.  The solver starts afresh, with the parameters as
    they are now.
extra : int, default 1
    More.
kernel_size, pool_size : int or sequence of int, default 3 and 2
    Edges of the square kernels"""


# --- the command line --------------------------------------------------------------------------

#: Options of other names, and those with other defaults.
OPTIONS = {"hidden": "hidden_layer_sizes", "conv": "conv_channels", "threads": "n_threads"}
OTHER_OPTIONS = {"seed": "the same command gives the same model", "class_weight": "see OWN"}


def test_options_of_the_command_line_have_the_defaults_of_the_settings():
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    found = vars(parser.parse_args(["train", "a.csv", "--target", "y", "--out", "m.npz"]))
    found = {OPTIONS.get(name, name): value for name, value in found.items()}
    shared = found.keys() & fields(Settings).keys()
    assert {"max_iter", "alpha", "checkpoint_every", "n_threads", "activation"} <= shared
    # A table is for new data, as with the estimators.
    assert found.pop("early_stopping") == "auto"
    for name in shared - {"early_stopping"}:
        assert found[name] == fields(Settings)[name], name
    assert OTHER_OPTIONS.keys() <= found.keys()
