"""Bad input: an error that names the argument and the value, and inputs that stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast import train
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.solvers import Alternating
from lysep_fast.validation import (
    check_activation,
    check_choice,
    check_inputs,
    check_integer,
    check_labels,
    check_number,
    check_weights,
    check_widths,
)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 2)), np.arange(12) % 3


def with_entry(value):
    changed = X.copy()
    changed[7, 1] = value
    return changed


def refused(**arguments):
    """Return the message of the error that train raises; the data must not have changed."""
    given = {"X": X.copy(), "y": Y.copy(), "max_iter": 1} | arguments
    data = {name: given[name].copy() for name in "Xy" if isinstance(given[name], np.ndarray)}
    with pytest.raises((ValueError, TypeError)) as caught:
        train(**given)
    for name, kept in data.items():
        np.testing.assert_array_equal(given[name], kept)
    return str(caught.value)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (with_entry(np.nan), "finite nan row 7 column 1"),
        (with_entry(np.inf), "finite inf row 7 column 1"),
        (with_entry(-np.inf), "finite -inf row 7 column 1"),
        (X[:, 0], "two dimensions (12,) reshape"),
        (X[None], "two dimensions (1, 12, 2)"),
        (np.float64(3.0), "two dimensions ()"),
        (np.empty((0, 2)), "at least one (0, 2)"),
        (np.empty((12, 0)), "at least one (12, 0)"),
        ([[1.0, 2.0], [3.0]], "rows"),
        (X + 1j, "real complex128"),
        (X.astype(str), "numeric <U astype"),
        ([["a", "b"]] * 12, "numeric <U1"),
        (np.array([[None, 1.0]] * 12), "numeric object"),
        (None, "numeric object"),
    ],
)
def test_unusable_inputs_are_named(bad, words):
    message = refused(X=bad)
    assert message.startswith("X ")
    for word in words.split(" "):
        assert word in message


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Y[:-1], "length 12 11"),
        (Y[:, None], "one dimension (12, 1)"),
        (np.eye(3)[Y], "one dimension (12, 3) argmax"),
        (None, "one dimension ()"),
        (np.array(["a", "b", "c"])[Y], "integer <U1 unique LySepClassifier"),
        (Y == 1, "integer bool"),
        (Y + 0.5, "integer 0.5"),
        (np.where(Y == 1, np.nan, Y), "finite"),
        (np.where(Y == 1, np.inf, Y), "finite"),
        (Y - 1, "from 0 -1"),
        (np.zeros(12, int), "one class 0"),
        (np.full(12, 2), "one class 2"),
        (np.where(Y == 1, 10**6, Y), "1000000 12 unique"),
        (np.where(Y == 1, 1e300, Y), "1e+300"),
        ([[1], [1, 2]] * 6, "rows"),
    ],
)
def test_unusable_labels_are_named(bad, words):
    message = refused(y=bad)
    assert "y " in message
    for word in words.split(" "):
        assert word in message


ARGUMENTS = [
    ("activation", "than"),
    ("activation", 1),
    ("solver", "sgd"),
    ("weights", "nuclear"),
    ("weights", None),
    ("init", "zeros"),
    ("init", 3),
    ("n_classes", 0),
    ("n_classes", 3.5),
    ("max_iter", -1),
    ("max_iter", 2.5),
    ("max_iter", True),
    ("max_iter", "9"),
    ("tol", -1e-3),
    ("tol", np.nan),
    ("tol", np.inf),
    ("tol", "small"),
    ("tol", None),
    ("n_iter_no_change", 0),
    ("n_iter_no_change", 1.5),
    ("n_threads", 0),
    ("n_threads", -1),
    ("n_threads", 1.5),
    ("callback", 3),
    ("callback", "print"),
    ("hidden_layer_sizes", 0),
    ("hidden_layer_sizes", 7.0),
    ("hidden_layer_sizes", "10"),
    ("hidden_layer_sizes", None),
    ("hidden_layer_sizes", True),
    ("hidden_layer_sizes", np.array(5)),
    ("hidden_layer_sizes", np.array([[5, 5]])),
]
WIDTHS = [((5, 0), 1, "0"), ((-3,), 0, "-3"), ((5, 2.5), 1, "2.5"), ([5, "a"], 1, "'a'")]
WIDTHS += [([[5]], 0, "[5]"), (np.array([5.0]), 0, "5.0"), ((None,), 0, "None")]


@pytest.mark.parametrize(("name", "value"), ARGUMENTS)
def test_bad_arguments_are_named_with_their_value(name, value):
    message = refused(**{name: value})
    assert name in message
    assert repr(value) in message


@pytest.mark.parametrize(("value", "index", "shown"), WIDTHS)
def test_bad_widths_are_named_with_their_place_and_value(value, index, shown):
    message = refused(hidden_layer_sizes=value)
    assert f"hidden_layer_sizes[{index}]" in message
    assert message.endswith(f"got {shown}")


@pytest.mark.parametrize("name", ["activation", "weights", "init", "solver"])
def test_a_bad_choice_lists_the_good_ones(name):
    message = refused(**{name: "nonsense"})
    good = {"activation": "softplus", "weights": "spectral", "init": "orthogonal"}
    assert good.get(name, "alternating") in message


def test_a_label_beyond_the_number_of_classes_is_named():
    message = refused(n_classes=2)
    assert "n_classes=2" in message
    assert "got 2" in message


OPTIONS = [
    ("line_search", "x"),
    ("line_search", None),
    ("step", "x"),
    ("step", 0.0),
    ("step", -1.0),
    ("step", None),
    ("step", np.inf),
    ("reach", -1),
    ("reach", 0),
    ("reach", "far"),
    ("output_step", 0),
    ("output_step", "x"),
    ("output_growth", 0),
    ("output_growth", np.nan),
    ("shrink", 2),
    ("shrink", 1.0),
    ("shrink", 0.0),
    ("shrink", None),
    ("max_trials", 0),
    ("max_trials", 1.5),
    ("auxiliary_steps", 0),
    ("auxiliary_steps", 2.0),
    ("output_steps", -2),
    ("output_steps", True),
    ("bias", "x"),
    ("bias", "none"),
    ("bias", True),
    ("proximal", -1),
    ("proximal", np.nan),
    ("proximal", "x"),
]


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_bad_options_of_the_solver_are_named_with_their_value(name, value):
    with pytest.raises((ValueError, TypeError)) as caught:
        Alternating(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert refused(solver="alternating", solver_options={name: value}) == str(caught.value)


def test_good_options_of_the_solver_are_taken():
    options = {
        "line_search": "matrix", "step": 1, "reach": np.float32(2), "output_step": 0.5,
        "output_growth": 0.9, "shrink": 0.75, "max_trials": np.int64(1), "auxiliary_steps": 2,
        "output_steps": 3, "bias": "joint", "proximal": 1e-12,
    }  # fmt: skip
    solver = Alternating(**options)
    options["step_length"] = options.pop("step")
    assert {name: getattr(solver, name) for name in options} == options
    assert Alternating(output_step=None).output_step is None


def test_an_unknown_option_of_the_solver_is_named():
    assert "speed=3" in refused(solver_options={"speed": 3})


def test_options_do_not_go_with_a_solver_object():
    message = refused(solver=Alternating(), solver_options={"bias": "joint"})
    assert "solver_options" in message


@pytest.mark.parametrize(
    "arguments",
    [
        {"random_state": -1},
        {"random_state": "seven"},
        {"random_state": 1.5},
        {"solver": None},
        {"solver": 3},
        {"solver": Alternating},
        {"solver_options": [1]},
        {"output_bias": "x"},
        {"verbose": "x"},
    ],
    ids=str,
)
def test_more_bad_arguments_are_named_with_their_value(arguments):
    with pytest.raises((ValueError, TypeError)) as caught:
        train(X, Y, max_iter=0, **arguments)
    ((name, value),) = arguments.items()
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


# --- the checks one by one ---------------------------------------------------------------------


def test_inputs_that_are_as_needed_are_not_copied():
    assert check_inputs(X) is X
    single = X.astype(np.float32)
    assert check_inputs(single) is single
    assert check_inputs(X, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint64, bool, np.longdouble])
def test_other_inputs_become_float64(dtype):
    given = np.ones((3, 2), dtype)
    assert check_inputs(given).dtype == np.float64


def test_the_number_of_features_is_checked_if_known():
    assert check_inputs(X, n_features=2) is X
    with pytest.raises(ValueError, match=r"points has 2 features.*3"):
        check_inputs(X, n_features=3, name="points")


def test_labels_come_back_as_int64_with_the_number_of_classes():
    labels, n_classes = check_labels([2.0, 0.0, 1.0], 3)
    assert labels.dtype == np.int64
    assert (labels.tolist(), n_classes) == ([2, 0, 1], 3)
    assert check_labels(np.array([0, 3]), 2)[1] == 4
    assert check_labels(np.array([0, 3]), 2, 9)[1] == 9


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(7, (7,)), ((), ()), ([3, 4], (3, 4)), (np.array([3, 4]), (3, 4)), (np.int32(5), (5,))],
)
def test_widths_come_back_as_a_tuple_of_ints(given, wanted):
    widths = check_widths(given)
    assert widths == wanted
    assert all(type(width) is int for width in widths)


def test_integers_and_numbers_of_numpy_are_taken():
    assert check_integer(np.int16(3), "k", 1) == 3
    assert check_number(np.float32(0.5), "x", 0.0, 1.0) == 0.5
    assert check_number(0, "x", 0.0) == 0.0


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.1])
def test_exclusive_limits_leave_out_their_ends(value):
    with pytest.raises(ValueError, match=r"x must be .* in \(0, 1\), got"):
        check_number(value, "x", 0.0, 1.0, exclusive=True)
    if value in (0.0, 1.0):
        assert check_number(value, "x", 0.0, 1.0) == value


def test_choices_are_strings():
    assert check_choice("b", "letter", ("a", "b")) == "b"
    with pytest.raises(ValueError, match=r"letter must be one of 'a', 'b', got \['a'\]"):
        check_choice(["a"], "letter", ("a", "b"))


@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_every_activation_is_known(name):
    assert check_activation(name) == name


# --- sample weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5e-324, 1e-300, 3.0, 1e308])
def test_weights_of_any_size_have_mean_one(size):
    X = np.zeros((4, 1))
    np.testing.assert_allclose(check_weights(np.full(4, size), X), 1.0, rtol=1e-15)
    found = check_weights(np.array([1.0, 2.0, 0.0, 5.0]) * min(size, 1e307), X)
    if size >= 1e-300:
        np.testing.assert_allclose(found, np.array([1.0, 2.0, 0.0, 5.0]) / 2.0, rtol=1e-14)
    assert np.mean(found) == pytest.approx(1.0)
