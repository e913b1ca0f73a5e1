"""The border: the only place that checks user input and raises on it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .kernels.activation import ACTIVATION_CODES
from .threads.team import ALONE, available_cpus

__all__ = [
    "check_activation",
    "check_callback",
    "check_choice",
    "check_flag",
    "check_generator",
    "check_inputs",
    "check_integer",
    "check_labels",
    "check_number",
    "check_targets",
    "check_threads",
    "check_weights",
    "check_widths",
    "size_limit",
]


def size_limit(dtype: Any) -> float:
    """Return the size up to which sums of squares and products do not overflow."""
    return float(np.finfo(dtype).max) ** 0.4


def check_inputs(
    X: Any,
    *,
    n_features: int | None = None,
    dtype: Any = None,
    name: str = "X",
    limit: Callable[[Any], float] = size_limit,
) -> np.ndarray:
    """Return X as a C-contiguous float matrix; the caller's array is never changed.

    Parameters
    ----------
    X : array-like, shape (n, d)
        float32 stays float32 (unless `dtype` is given), everything else becomes float64.
    n_features : int, optional
        Required number of columns.
    dtype : dtype, optional
        Required dtype of the result.
    name : str
        Name of the argument in messages.
    limit : callable
        Returns the largest size for a dtype.

    Raises
    ------
    ValueError
        If X is not two-dimensional, is empty, has the wrong number of columns, holds NaN or
        infinity, or numbers above the limit.
    TypeError
        If X is not real and numeric.
    """
    array = _array(X, f"{name} must be a matrix of numbers")
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, got dtype {array.dtype}; pass {name}.real")
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must be numeric, got dtype {array.dtype}; convert it with "
            f"{name}.astype(float)"
        )
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have two dimensions (samples, features), got shape {array.shape}; "
            f"use {name}.reshape(-1, 1) for one feature or {name}.reshape(1, -1) for one sample"
        )
    if 0 in array.shape:
        raise ValueError(
            f"{name} must hold at least one sample and one feature, got shape {array.shape}"
        )
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(
            f"{name} has {array.shape[1]} features, but the network was trained with "
            f"{n_features}; pass the same columns as in training"
        )
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: seen below
        array = np.ascontiguousarray(array, dtype=dtype)
    _check_entries(array, name, limit(dtype))
    return array


def _check_entries(array: np.ndarray, name: str, limit: float) -> None:
    """Raise where a matrix is not finite, or above the limit."""
    largest = max(abs(float(np.min(array))), abs(float(np.max(array))))  # NaN and infinity stay
    if not np.isfinite(largest):
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{name} must be finite, got {array[row, column]} in row {row}, column {column}; "
            "remove or impute such values"
        )
    _check_size(largest, array.dtype, name, limit)


def _array(value: Any, wanted: str) -> np.ndarray:
    """Return `value` as an array, or raise an error that begins with what is wanted."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{wanted}; its rows differ: {error}") from None


def _check_size(largest: float, dtype: Any, name: str, limit: float) -> None:
    """Raise above the limit."""
    if largest > limit:
        raise ValueError(
            f"{name} must be below {limit:.1e} in size for {np.dtype(dtype)}, got {largest:.1e}; "
            "divide it by a constant"
        )


def check_labels(y: Any, n_samples: int, n_classes: int | None = None) -> tuple[np.ndarray, int]:
    """Return class indices as int64 and the number of classes.

    Raises
    ------
    ValueError
        If y is not one-dimensional, of another length than X, not made of integers
        ``0..n_classes-1``, or holds a single class while `n_classes` is not given.
    TypeError
        If y is not integer-valued.
    """
    array = _array(y, "y must be a vector of class indices")
    if array.ndim != 1:
        raise ValueError(
            f"y must have one dimension (one class index per sample), got shape {array.shape}; "
            "use numpy.argmax(y, axis=1) for one-hot rows"
        )
    if len(array) != n_samples:
        raise ValueError(
            f"X and y must have the same length, got {n_samples} samples and {len(array)} labels"
        )
    labels = _indices(array)
    if n_classes is None:
        return labels, _count_classes(labels)
    if int(labels.max()) >= n_classes:
        raise ValueError(f"y must be below n_classes={n_classes}, got {labels.max()}")
    return labels, n_classes


def _indices(array: np.ndarray) -> np.ndarray:
    """Return non-negative integers of any dtype as int64."""
    if array.dtype.kind == "b" or array.dtype.kind not in "iuf":
        raise TypeError(
            f"y must hold integer class indices, got dtype {array.dtype}; map the labels with "
            "numpy.unique(y, return_inverse=True)[1], or use LySepClassifier"
        )
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)):
            raise ValueError("y must be finite, got NaN or infinity; remove such samples")
        if np.any(array != np.floor(array)):
            raise ValueError(
                f"y must hold integer class indices, got {array[array != np.floor(array)][0]}"
            )
    if np.any(array >= 2**62):
        raise ValueError(f"y must hold class indices 0..K-1, got {array.max()}")
    labels = array.astype(np.int64)
    if np.any(labels < 0):
        raise ValueError(f"y must hold class indices from 0, got {labels.min()}")
    return labels


def _count_classes(labels: np.ndarray) -> int:
    """Return the number of classes that the indices speak of."""
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest == largest:
        raise ValueError(
            f"y holds one class only, {smallest}; training needs samples of at least two, or "
            "the number of all classes in n_classes"
        )
    if largest >= 2 * len(labels) + 1000:
        raise ValueError(
            f"y has the class index {largest} for {len(labels)} samples; map the labels to "
            "0..K-1 with numpy.unique(y, return_inverse=True)[1]"
        )
    return largest + 1


def check_targets(T: Any, n_samples: int, dtype: Any) -> np.ndarray:
    """Return the targets of a regression as a float64 matrix, one row per sample.

    Raises
    ------
    ValueError
        If they are not finite numbers, one or one row per sample, with squares within `dtype`.
    TypeError
        If they are not real and numeric.
    """
    T = _array(T, "y must be numbers, one row per sample")
    array = check_inputs(T[:, None] if T.ndim == 1 else T, dtype=np.float64, name="y")
    if len(array) != n_samples:
        raise ValueError(
            f"X and y must have the same length, got {n_samples} samples and {len(array)} targets"
        )
    _check_size(float(np.max(np.abs(array))), dtype, "y", size_limit(dtype))
    return array


def check_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Return sample weights of mean 1 in the dtype of X, or None for None.

    Raises
    ------
    ValueError
        If they are not one finite, non-negative number per sample, or all zero.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        kind = type(sample_weight).__name__
        raise TypeError(f"sample_weight must hold numbers, got {kind}") from None
    n_samples = X.shape[0]  # sparse matrices have no length
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one per sample, got {weights.shape}"
        )
    if not np.all(np.isfinite(weights)) or np.any(weights < 0.0):
        bad = weights[~(np.isfinite(weights) & (weights >= 0.0))][0]
        raise ValueError(f"sample_weight must be finite and not negative, got {bad}")
    if not np.any(weights > 0.0):
        raise ValueError("sample_weight must hold a positive weight, got zeros only")
    # A power of two changes no digit, and the sum of huge weights does not overflow.
    weights = np.ldexp(weights, -int(np.frexp(np.max(weights))[1]))
    return (weights * (n_samples / ALONE.total(weights))).astype(X.dtype, copy=False)


def check_widths(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """Return the hidden widths as a tuple; a single integer means one hidden layer.

    Raises
    ------
    ValueError
        If a width is not positive.
    TypeError
        If a width is not an integer.
    """
    if isinstance(hidden_layer_sizes, numbers.Integral):
        hidden_layer_sizes = (hidden_layer_sizes,)
    if isinstance(hidden_layer_sizes, np.ndarray) and hidden_layer_sizes.ndim == 1:
        hidden_layer_sizes = hidden_layer_sizes.tolist()
    if not isinstance(hidden_layer_sizes, Sequence) or isinstance(hidden_layer_sizes, str):
        raise TypeError(
            "hidden_layer_sizes must be a sequence of positive integers such as (100, 100), got "
            f"{hidden_layer_sizes!r}"
        )
    return tuple(
        check_integer(width, f"hidden_layer_sizes[{i}]", minimum=1)
        for i, width in enumerate(hidden_layer_sizes)
    )


def check_integer(value: Any, name: str, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`, or raise an error that names it."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def check_number(
    value: Any,
    name: str,
    minimum: float = -np.inf,
    maximum: float = np.inf,
    *,
    exclusive: bool = False,
) -> float:
    """Return `value` as a finite float within the limits, or raise an error that names it."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    outside = (
        number <= minimum or number >= maximum if exclusive else not (minimum <= number <= maximum)
    )
    if not np.isfinite(number) or outside:
        brackets = "()" if exclusive else "[]"
        raise ValueError(
            f"{name} must be a finite number in {brackets[0]}{minimum:g}, {maximum:g}"
            f"{brackets[1]}, got {value!r}"
        )
    return number


def check_flag(value: Any, name: str) -> bool:
    """Return `value` as a bool, or raise an error that names it."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_generator(random_state: Any) -> np.random.Generator:
    """Return a random generator for None, a non-negative integer or a generator."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, bool | np.bool_) or not isinstance(random_state, numbers.Integral):
        raise TypeError(
            "random_state must be None, an integer or a numpy.random.Generator, got "
            f"{random_state!r}"
        )
    return np.random.default_rng(check_integer(random_state, "random_state", minimum=0))


def check_callback(callback: Any) -> Any:
    """Return the callback, or raise an error if it can neither be called nor is None."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {callback!r}")
    return callback


def check_threads(n_threads: Any) -> int:
    """Return the number of threads, that of the process's CPUs for None."""
    return check_integer(available_cpus() if n_threads is None else n_threads, "n_threads", 1)


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`, or raise an error that lists them."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_activation(activation: Any) -> str:
    """Return the activation's name here, or raise an error that lists the known ones.

    ``"logistic"`` is what scikit-learn calls the sigmoid; it has one name in files and networks.
    """
    if isinstance(activation, str) and activation == "logistic":
        return "sigmoid"
    return check_choice(activation, "activation", tuple(ACTIVATION_CODES))
