"""Fitted scikit-learn estimators as model files; scikit-learn is needed to read them as such."""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Result
from .archive import Archive, Expected, write_archive
from .fields import field, integer, integers
from .results import expected_result, pack_result, unpack_result
from .values import (
    decode,
    encode,
    expected_labels,
    labels_header,
    pack_labels,
    unpack_labels,
)

__all__ = [
    "CLASSES",
    "read_bare_result",
    "read_estimator",
    "read_labelled",
    "save_estimator",
    "write_fitted",
]

#: Name of the class by kind of file.
CLASSES = {
    "classifier": "LySepClassifier",
    "conv-classifier": "LySepConvClassifier",
    "regressor": "LySepRegressor",
}

# What fitting leaves on an estimator besides its result: numbers, and lists of numbers.
_NUMBERS = ("n_iter_", "bound_constant_", "best_loss_", "best_validation_score_")
_CURVES = (
    "loss_curve_",
    "separated_loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
)
_LABELS = ("classes_", "feature_names_in_")
_SPREAD = ("mean_", "var_", "scale_")  # of the StandardScaler of a regressor's targets


def save_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator; see its ``save``."""
    name = type(estimator).__name__
    kinds = [kind for kind, known in CLASSES.items() if known == name]
    if not kinds or not type(estimator).__module__.startswith("lysep_fast."):
        raise TypeError(
            f"a {name} would come back as another class; save its network with result_.save"
        )
    write_fitted(path, kinds[0], estimator.get_params(deep=False), vars(estimator))


def write_fitted(
    path: str | os.PathLike[str], kind: str, parameters: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
    """Write the file of a fitted estimator; scikit-learn is not needed.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    kind : str
        A key of `CLASSES`.
    parameters : mapping
        Parameters of the estimator; those left out have their defaults when it is read.
    own : mapping
        What fitting leaves on the estimator, by attribute: at least ``result_`` and
        ``n_features_in_``.
    """
    result, arrays = pack_result(own["result_"])
    header: dict[str, Any] = {
        "result": result,
        "parameters": {key: encode(value, key) for key, value in parameters.items()},
        "n_features_in": int(own["n_features_in_"]),
        "numbers": {key: encode(own[key], key) for key in _NUMBERS if key in own},
        "curves": {key: len(own[key]) for key in _CURVES if key in own},
        "labels": {},
        "random": None,
        "spread": None,
        "memory": "_memory" in own,
    }
    arrays |= {key: np.array(own[key], np.float64) for key in header["curves"]}
    for key in _LABELS:
        if key in own:
            arrays[key] = pack_labels(own[key], key)
            header["labels"][key] = labels_header(own[key], arrays[key])
    if "_random" in own:
        header["random"], arrays["random_key"] = _pack_random(own["_random"])
    if "_spread" in own:
        count = encode(own["_spread"].n_samples_seen_, "n_samples_seen_")
        header["spread"] = {"count": count, "outputs": len(own["_spread"].mean_)}
        arrays |= {f"spread_{key}": getattr(own["_spread"], key) for key in _SPREAD}
    write_archive(path, kind, header, arrays)


def read_bare_result(archive: Archive) -> Result:
    """Return the result of an open file that holds an estimator."""
    arrays = archive.arrays(_expected)
    return unpack_result(archive.header["result"], arrays)


def read_labelled(archive: Archive) -> tuple[Result, dict[str, np.ndarray]]:
    """Return result, class labels and feature names of an open file, without scikit-learn.

    The labels are under the names of the attributes, ``classes_`` and ``feature_names_in_``, as
    far as the estimator has them.
    """
    arrays, header = archive.arrays(_expected), archive.header
    labels = _unpack_all_labels(header, arrays)
    result = unpack_result(header["result"], arrays)
    _check(types.SimpleNamespace(**labels, **_base(header, result)), archive.kind)
    return result, labels


def read_estimator(archive: Archive) -> Any:
    """Return the fitted estimator of an open file.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    made: Any = _class(archive)
    arrays, header = archive.arrays(_expected), archive.header
    parameters = {name: decode(value) for name, value in field(header, "parameters", dict).items()}
    unknown = sorted(set(parameters) - set(made().get_params(deep=False)))
    if unknown:
        raise ValueError(f"its header has the unknown parameters {unknown!r:.200}")
    estimator = made(**parameters)
    result = unpack_result(header["result"], arrays)
    vars(estimator).update(_base(header, result))
    for key, value in header["numbers"].items():
        setattr(estimator, key, _number(value))
    for key in header["curves"]:
        setattr(estimator, key, arrays[key].tolist())
    vars(estimator).update(_unpack_all_labels(header, arrays))
    if header["random"] is not None:
        estimator._random = _unpack_random(header["random"], arrays["random_key"])
    if header["spread"] is not None:
        estimator._spread = _unpack_spread(header["spread"], arrays)
    if field(header, "memory", bool):
        estimator._memory = None  # of the steps of `partial_fit`, which start afresh
    _check(estimator, archive.kind)
    if archive.kind == "conv-classifier":
        estimator._shape = getattr(result.network.layer(1), "image_shape", None)
    return estimator


def _base(header: dict[str, Any], result: Result) -> dict[str, Any]:
    """Return the attributes that every fitted estimator has."""
    return {"result_": result, "n_features_in_": integer(header, "n_features_in", 1)}


def _unpack_all_labels(
    header: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return class labels and feature names under the names of the attributes."""
    return {key: unpack_labels(own, arrays[key]) for key, own in header["labels"].items()}


def _class(archive: Archive) -> type:
    name = CLASSES[archive.kind]
    try:
        from .. import estimators
    except ImportError as error:
        raise ImportError(
            f"{archive.path} holds a {name}, which needs scikit-learn; install it with pip "
            "install 'lysep_fast[sklearn]', or read the network alone with "
            "lysep_fast.load(path, as_result=True)"
        ) from error
    made: type = getattr(estimators, name)
    return made


def _expected(header: dict[str, Any]) -> Expected:
    """Return shapes and dtypes of the arrays of an estimator."""
    expected = dict(expected_result(field(header, "result", dict)))
    if not set(field(header, "numbers", dict)) <= set(_NUMBERS):
        raise ValueError("its header has unknown numbers")
    curves, labels = field(header, "curves", dict), field(header, "labels", dict)
    if not set(curves) <= set(_CURVES) or not set(labels) <= set(_LABELS):
        raise ValueError("its header has unknown curves or labels")
    expected |= {key: ((integer(curves, key),), np.dtype(np.float64)) for key in curves}
    expected |= {key: expected_labels(own) for key, own in labels.items()}
    if header["random"] is not None:
        expected["random_key"] = ((624,), np.dtype(np.uint32))
    if header["spread"] is not None:
        shape = (integer(header["spread"], "outputs", 1),)
        expected |= {f"spread_{key}": (shape, np.dtype(np.float64)) for key in _SPREAD}
    return expected


def _check(estimator: Any, kind: str) -> None:
    """Raise if the parts of an estimator do not fit together."""
    result = estimator.result_
    widths = result.network.widths
    is_regressor = kind == "regressor"
    if is_regressor != (result.loss == "squared-error"):
        raise ValueError(f"it holds a {kind} trained with loss={result.loss!r}")
    names = getattr(estimator, "feature_names_in_", None)
    if estimator.n_features_in_ != widths[0] or (names is not None and len(names) != widths[0]):
        raise ValueError("its number of features is not that of its network")
    classes = getattr(estimator, "classes_", None)
    if is_regressor != (classes is None) or (classes is not None and len(classes) != widths[-1]):
        raise ValueError("its number of classes is not that of its network")


def _number(value: Any) -> float:
    """Return a number of a header."""
    number = decode(value)
    if type(number) not in (int, float):
        raise ValueError(f"its header has {number!r:.100} in place of a number")
    return number


def _pack_random(random: np.random.RandomState) -> tuple[dict[str, Any], np.ndarray]:
    """Return header and array of the random state from which `partial_fit` goes on."""
    state: Any = random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise TypeError(
            f"random_state with a {state['bit_generator']} cannot be stored; use an integer"
        )
    position = [int(state["state"]["pos"]), int(state["has_gauss"])]
    cached = encode(float(state["gauss"]), "random_state")
    return {"position": position, "cached": cached}, state["state"]["key"]


def _unpack_random(header: Any, key: np.ndarray) -> np.random.RandomState:
    """Return the random state of a header and its array."""
    position, has_gauss = integers(header, "position", 2, minimum=0)
    if position > 624 or has_gauss > 1:
        raise ValueError("its header has an impossible state of random numbers")
    random = np.random.RandomState()
    random.set_state(("MT19937", key, position, has_gauss, _number(header["cached"])))
    return random


def _unpack_spread(header: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the scaler that knows the spread of a regressor's targets so far."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.n_features_in_ = header["outputs"]
    scaler.n_samples_seen_ = np.array(_number(header["count"]))[()]  # scikit-learn asks its shape
    for key in _SPREAD:
        setattr(scaler, key, arrays[f"spread_{key}"])
    return scaler
