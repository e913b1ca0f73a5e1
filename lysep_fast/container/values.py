"""Values of parameters as JSON and back, and labels as arrays and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .fields import field, integer

__all__ = [
    "decode",
    "encode",
    "expected_labels",
    "labels_header",
    "pack_labels",
    "unpack_labels",
]

_DTYPE = re.compile(r"[<|]([biuf][1248]|U[1-9][0-9]{0,6})")
_INTEGER = 1 << 64


def encode(value: Any, name: str) -> Any:
    """Return a value as JSON that `decode` turns into an equal one of the same type.

    NumPy's numbers become Python's.

    Raises
    ------
    TypeError
        If it is not made of None, bools, numbers, strings, lists, tuples and dicts; the message
        names it.
    """
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        value = value.item()
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int and -_INTEGER < value < _INTEGER:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) is list:
        return [encode(part, name) for part in value]
    if type(value) is tuple:
        return {"tuple": [encode(part, name) for part in value]}
    if isinstance(value, Mapping):
        pairs = [[encode(key, name), encode(part, name)] for key, part in value.items()]
        return {"dict": pairs}
    raise TypeError(
        f"{name}={value!r:.200} cannot be stored in a model file, which holds numbers, strings, "
        f"lists, tuples and dicts; set it to one of these, or to None, before saving"
    )


def decode(value: Any) -> Any:
    """Return the value that `encode` turned into JSON."""
    if type(value) is list:
        return [decode(part) for part in value]
    if type(value) is int and not -_INTEGER < value < _INTEGER:
        raise ValueError("its header holds an integer that no parameter has")
    if type(value) is not dict:
        return value
    if list(value) == ["tuple"]:
        return tuple(decode(part) for part in field(value, "tuple", list))
    if list(value) == ["dict"]:
        return {decode(key): decode(part) for key, part in field(value, "dict", list)}
    if list(value) == ["float"] and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    raise ValueError(f"its header holds an unknown kind of value: {value!r:.100}")


def pack_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels in a dtype that can be stored without pickle.

    Raises
    ------
    TypeError
        If they are neither numbers, bools nor strings.
    """
    labels = np.asarray(labels)
    stored = labels
    if labels.dtype == object and all(type(label) is str for label in labels):
        stored = labels.astype(np.str_)
        if stored.astype(object).tolist() != labels.tolist():  # NumPy drops zeros at the end
            raise TypeError(f"{name} cannot be stored: a string ends in a zero character")
    if stored.dtype.kind not in "biufU":
        raise TypeError(
            f"{name} of dtype {labels.dtype} cannot be stored in a model file; use integers, "
            "floats, bools or strings"
        )
    return stored


def labels_header(labels: np.ndarray, stored: np.ndarray) -> dict[str, Any]:
    """Return what the header has to say of labels that `pack_labels` turned into `stored`."""
    dtype = stored.dtype.newbyteorder("<").str
    return {"count": len(stored), "dtype": dtype, "object": labels.dtype == object}


def expected_labels(header: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of stored labels."""
    text = field(header, "dtype", str)
    if not _DTYPE.fullmatch(text):
        raise ValueError(f"its header has labels of dtype {text!r:.20}")
    if field(header, "object", bool) and text[1] != "U":
        raise ValueError("its header has objects that are no strings")
    return (integer(header, "count"),), np.dtype(text)


def unpack_labels(header: dict[str, Any], stored: np.ndarray) -> np.ndarray:
    """Return labels in the dtype that they had."""
    return stored.astype(object) if header["object"] else stored
