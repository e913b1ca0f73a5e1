"""Fitted scikit-learn estimators as headers and arrays, and back to their attributes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..container.archive import Expected, write_archive
from ..container.fields import field, integer, integers
from ..container.values import (
    decode,
    encode,
    expected_labels,
    labels_header,
    pack_labels,
    unpack_labels,
)
from ..report import HistoryTable
from ..tables.encoding import Encoding
from .encodings import expected_encoding, pack_encoding, unpack_encoding
from .results import expected_result

__all__ = [
    "CLASSES",
    "CURVES",
    "check_encoding",
    "check_fitted",
    "expected_estimator",
    "learned",
    "save_estimator",
    "unpack_attributes",
    "unpack_encoding_of",
    "unpack_labels_of",
    "unpack_parameters",
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
CURVES = (
    "loss_curve_",
    "separated_loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
)
# Those that are None with early stopping, or without it.
_OPTIONAL = (*CURVES[2:], *_NUMBERS[2:])
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
        ``n_features_in_``; with ``encoder_`` the `TableEncoder` that made the features.

    Raises
    ------
    ValueError
        If the encoder makes other features than the estimator was fitted on.
    """
    result, arrays = own["result_"].packed()
    header: dict[str, Any] = {
        "result": result,
        "parameters": {key: encode(value, key) for key, value in parameters.items()},
        "n_features_in": int(own["n_features_in_"]),
        "numbers": {key: encode(own[key], key) for key in _NUMBERS if own.get(key) is not None},
        "curves": {key: len(own[key]) for key in CURVES if own.get(key) is not None},
        "labels": {},
        "random": None,
        "spread": None,
        "memory": "_memory" in own,
        "encoding": None,
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
    if "encoder_" in own:
        encoding = own["encoder_"].encoding_
        check_encoding(encoding, header["n_features_in"], own.get("feature_names_in_"))
        header["encoding"], arrays["encoding"] = pack_encoding(encoding)
    write_archive(path, kind, header, arrays)


def learned(result: Any, former: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what fitting leaves on an estimator, by attribute.

    Parameters
    ----------
    result : Result
        What training returned.
    former : mapping, optional
        The attributes before, if training went on from there: the curves go on as well.
    """
    score = "validation_r2" if result.loss == "squared-error" else "validation_accuracy"
    start, *rows = result.history
    columns = dict(zip(CURVES, ("loss", "separated_loss", "validation_loss", score), strict=True))
    held_out = not math.isnan(start.validation_loss)
    curves = {
        key: [getattr(row, column) for row in rows] if held_out or key not in _OPTIONAL else None
        for key, column in columns.items()
    }
    if former is not None:
        done = len(former["loss_curve_"])
        curves = {key: _joined(former[key], done, new, len(rows)) for key, new in curves.items()}
    losses, scores = curves["loss_curve_"] or [], curves["validation_scores_"]
    return {
        "result_": result,
        "n_iter_": result.n_iter,
        "bound_constant_": result.bound_constant,
        **curves,
        "best_loss_": None if held_out else _extreme(min, losses, start.loss),
        "best_validation_score_": _extreme(max, scores or [], getattr(start, score))
        if held_out
        else None,
    }


def _joined(
    former: list[float] | None, done: int, new: list[float] | None, more: int
) -> list[float] | None:
    """Return two curves as one; NaN stands for one that is not there unless both are not."""
    if former is None and new is None:
        return None
    return (former or [math.nan] * done) + (new or [math.nan] * more)


def _extreme(choose: Any, values: list[float], otherwise: float) -> float:
    """Return the smallest or largest of the numbers that are not NaN."""
    chosen: float = choose((x for x in values if not math.isnan(x)), default=otherwise)
    return chosen


def unpack_labels_of(
    header: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return class labels and feature names under the names of the attributes."""
    labels = field(header, "labels", dict)
    return {key: unpack_labels(own, arrays[key]) for key, own in labels.items()}


def unpack_parameters(header: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an estimator."""
    return {name: decode(value) for name, value in field(header, "parameters", dict).items()}


def unpack_attributes(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what fitting leaves on an estimator, but its result, by attribute.

    scikit-learn is needed for the spread of a regressor's targets.
    """
    found: dict[str, Any] = {"n_features_in_": integer(header, "n_features_in", 1)}
    found |= dict.fromkeys(_OPTIONAL)
    found |= {key: _number(value) for key, value in header["numbers"].items()}
    found |= {key: arrays[key].tolist() for key in header["curves"]}
    found |= unpack_labels_of(header, arrays)
    if header["random"] is not None:
        found["_random"] = _unpack_random(header["random"], arrays["random_key"])
    if header["spread"] is not None:
        found["_spread"] = _unpack_spread(header["spread"], arrays)
    if field(header, "memory", bool):
        found["_memory"] = None  # of the steps of `partial_fit`, which start afresh
    return found


def unpack_encoding_of(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Encoding | None:
    """Return how the features are made of a table, None if they were arrays."""
    if header.get("encoding") is None:  # files of version 1 have no such entry
        return None
    return unpack_encoding(arrays["encoding"])


def check_encoding(encoding: Encoding, n_features: int, names: Any) -> None:
    """Raise if an encoding makes other features than an estimator has."""
    if encoding.n_outputs != n_features or (
        names is not None and encoding.feature_names != list(names)
    ):
        raise ValueError(
            f"its encoder_ makes {encoding.n_outputs} features, but the estimator was fitted on "
            f"{n_features}, or on others; set encoder_ to the encoder that made them, or delete it"
        )


def check_fitted(
    kind: str,
    result: Any,
    n_features: int,
    labels: Mapping[str, np.ndarray],
    encoding: Encoding | None = None,
) -> None:
    """Raise if the parts of an estimator do not fit together."""
    widths = result.network.widths
    is_regressor = kind == "regressor"
    if is_regressor != (result.loss == "squared-error"):
        raise ValueError(f"it holds a {kind} trained with loss={result.loss!r}")
    names, classes = labels.get("feature_names_in_"), labels.get("classes_")
    if n_features != widths[0] or (names is not None and len(names) != widths[0]):
        raise ValueError("its number of features is not that of its network")
    if is_regressor != (classes is None) or (classes is not None and len(classes) != widths[-1]):
        raise ValueError("its number of classes is not that of its network")
    if encoding is not None:
        check_encoding(encoding, n_features, names)


def expected_estimator(header: dict[str, Any], table: HistoryTable) -> Expected:
    """Return shapes and dtypes of the arrays of an estimator."""
    expected = dict(expected_result(field(header, "result", dict), table))
    if not set(field(header, "numbers", dict)) <= set(_NUMBERS):
        raise ValueError("its header has unknown numbers")
    curves, labels = field(header, "curves", dict), field(header, "labels", dict)
    if not set(curves) <= set(CURVES) or not set(labels) <= set(_LABELS):
        raise ValueError("its header has unknown curves or labels")
    expected |= {key: ((integer(curves, key),), np.dtype(np.float64)) for key in curves}
    expected |= {key: expected_labels(own) for key, own in labels.items()}
    if header["random"] is not None:
        expected["random_key"] = ((624,), np.dtype(np.uint32))
    if header["spread"] is not None:
        shape = (integer(header["spread"], "outputs", 1),)
        expected |= {f"spread_{key}": (shape, np.dtype(np.float64)) for key in _SPREAD}
    if header.get("encoding") is not None:
        expected["encoding"] = expected_encoding(header["encoding"])
    return expected


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
