"""Objects whose state can be taken out as flat names and values, and put back: for checkpoints.

A state is a dict from dotted names to arrays and to what JSON holds in one piece: None, bool, int,
float, str.  Memory that is rewritten before it is read, and what follows from the arguments of a
run, is no state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Stateful", "flatten", "prefixed", "restore"]

_COUNT = "count-of"


class Stateful:
    """An object that names the attributes which make up its state.

    These are arrays, scalars, random generators, dataclasses and other `Stateful` objects, and
    lists, tuples and dicts of them.
    """

    state_names: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the state; the arrays are the object's own."""
        return flatten({name: getattr(self, name) for name in self.state_names})

    def load_state_dict(self, found: Mapping[str, Any]) -> None:
        """Take over the state of an object that was made with the same arguments.

        Arrays are written in place, so that views of them stay valid.
        """
        for name in self.state_names:
            setattr(self, name, restore(found, name, getattr(self, name)))


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return arrays and scalars by their dotted names.

    Raises
    ------
    TypeError
        If a value is neither, nor made of them.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        inner = _parts(value)
        if inner is None:
            found[name] = _leaf(name, value)
            continue
        if isinstance(value, list | tuple):
            found[f"{name}.{_COUNT}"] = len(value)
        found |= flatten(inner, f"{name}.")
    return found


def restore(found: Mapping[str, Any], name: str, current: Any) -> Any:
    """Return what `flatten` put under a name, in the place of `current` where that is possible.

    Raises
    ------
    ValueError
        If it does not fit: a name is missing, or an array has another shape or dtype.
    """
    if isinstance(current, Stateful):
        current.load_state_dict(prefixed(found, name))
        return current
    if isinstance(current, np.random.Generator):
        state = current.bit_generator.state
        current.bit_generator.state = restore(found, name, state)
        return current
    count = found.get(f"{name}.{_COUNT}")
    if isinstance(current, list | tuple) and isinstance(count, int):
        if not 0 <= count <= max(len(found), len(current)):  # new items have entries
            raise ValueError(f"the state has {name!r} of length {count}")
        items = [*current, *([None] * count)][:count]
        return type(current)(restore(found, f"{name}.{i}", item) for i, item in enumerate(items))
    inner = _parts(current)
    if inner is not None:
        made: Any = {key: restore(found, f"{name}.{key}", part) for key, part in inner.items()}
        return made if isinstance(current, Mapping) else dataclasses.replace(current, **made)
    if name not in found:
        raise ValueError(f"the state has no {name!r}")
    return _taken(name, found[name], current)


def prefixed(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the part of a state that is under a name."""
    start = f"{name}."
    return {key[len(start) :]: value for key, value in found.items() if key.startswith(start)}


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """Return what a value is made of, None for an array or a scalar."""
    if isinstance(value, Stateful):
        return value.state_dict()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _leaf(name: str, value: Any) -> Any:
    """Return a value that has no parts; NumPy's scalars as arrays, which keeps their dtype."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return np.asarray(value)
    raise TypeError(f"the state cannot hold {name}={value!r:.100}")


def _kind(value: Any) -> str:
    """Return in a word what a value without parts is; all numbers are alike."""
    if isinstance(value, bool | str | np.ndarray | None):
        return type(value).__name__
    return "number" if isinstance(value, int | float | np.number) else "something else"


def _taken(name: str, value: Any, current: Any) -> Any:
    """Return a stored value, written into the array `current` if that is one."""
    if not isinstance(value, np.ndarray):
        if current is not None and _kind(value) != _kind(current):
            raise ValueError(
                f"the state has {name!r}={value!r:.100}, where {_kind(current)} is needed"
            )
        return value
    if value.ndim == 0 and not isinstance(current, np.ndarray):
        return value[()]
    if not isinstance(current, np.ndarray):
        return value.copy()
    if (current.shape, current.dtype) != (value.shape, value.dtype):
        raise ValueError(
            f"the state has {name!r} of shape {value.shape} and dtype {value.dtype}, where "
            f"{current.shape} and {current.dtype} are needed"
        )
    current[...] = value
    return current
