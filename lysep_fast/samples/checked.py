"""Inputs as users give them, dense or sparse, checked and made samples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..layers.sparse import SparseRows
from ..validation import check_inputs, size_limit
from .kinds import Samples, as_samples
from .sparse import SparseSamples

__all__ = ["check_sparse", "checked_samples", "difference_limit", "is_sparse", "refuse_sparse"]

_MOST_COLUMNS = 2**31 - 2


def difference_limit(dtype: Any) -> float:
    """Return the size of numbers up to which sums and differences of two do not overflow."""
    return float(np.finfo(dtype).max) / 4.0


def is_sparse(X: Any) -> bool:
    """Return whether X is a sparse array or matrix of SciPy, without importing it."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and bool(module.issparse(X))


def refuse_sparse(X: Any, other: str) -> None:
    """Raise if X is sparse, naming what does not go with it.

    Raises
    ------
    ValueError
        If X is sparse.
    """
    if is_sparse(X):
        raise ValueError(
            f"X is sparse ({type(X).__name__}), which does not go with {other}: convolutions "
            "need dense images; pass X.toarray(), or take dense layers"
        )


def checked_samples(
    X: Any,
    *,
    n_features: int | None = None,
    dtype: Any = None,
    limit: Callable[[Any], float] = size_limit,
) -> Samples:
    """Return the inputs as samples; the caller's array or matrix is never changed.

    Parameters
    ----------
    X : array-like or SciPy sparse array or matrix, shape (n, d)
        float32 stays float32 (unless `dtype` is given), everything else becomes float64.
    n_features : int, optional
        Required number of columns.
    dtype : dtype, optional
        Required dtype.
    limit : callable
        Returns the largest size of numbers of a dtype.

    Raises
    ------
    ValueError, TypeError
        As `lysep_fast.validation.check_inputs` does.
    """
    if is_sparse(X):
        return SparseSamples(check_sparse(X, n_features=n_features, dtype=dtype, limit=limit))
    return as_samples(check_inputs(X, n_features=n_features, dtype=dtype, limit=limit))


def check_sparse(
    X: Any,
    *,
    n_features: int | None = None,
    dtype: Any = None,
    name: str = "X",
    limit: Callable[[Any], float] = size_limit,
) -> SparseRows:
    """Return a sparse matrix as compressed rows, columns sorted and duplicates summed.

    Parameters
    ----------
    X : SciPy sparse array or matrix, shape (n, d)
        Of any format, with 32- or 64-bit indices.  Entries stored as zero stay.
    n_features : int, optional
        Required number of columns.
    dtype : dtype, optional
        Required dtype of the result.
    name : str
        Name of the argument in messages.
    limit : callable
        Returns the largest size of numbers of a dtype.

    Raises
    ------
    ValueError, TypeError
        As `lysep_fast.validation.check_inputs` does, or if indices are out of range.
    """
    if X.dtype.kind not in "fiub":
        # The checks of dense arrays say what is wrong with a dtype, a shape and a single entry.
        check_inputs(np.zeros((1, 1), X.dtype), name=name)
    if X.ndim != 2 or 0 in X.shape or X.shape[1] != (n_features or X.shape[1]):
        check_inputs(np.broadcast_to(0.0, X.shape), n_features=n_features, name=name)
    if X.shape[1] > _MOST_COLUMNS:
        raise ValueError(
            f"{name} has {X.shape[1]} columns, but at most {_MOST_COLUMNS} can be trained on; "
            "hash them to fewer"
        )
    if dtype is None:
        dtype = np.float32 if X.dtype == np.float32 else np.float64
    rows = _compressed(X, name)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: seen below
        data = np.ascontiguousarray(rows.data, dtype=dtype)
    indices = np.ascontiguousarray(rows.indices, dtype=np.int32)
    made = SparseRows(data, indices, np.ascontiguousarray(rows.indptr, dtype=np.int64), X.shape[1])
    _check_entries(made, name, limit(dtype))
    return made


def _compressed(X: Any, name: str) -> Any:
    """Return the compressed rows of a sparse matrix, an object of its own in canonical form."""
    from scipy.sparse import csr_array

    rows = X.tocsr()
    own = csr_array((rows.data, rows.indices, rows.indptr), shape=rows.shape)
    try:
        own.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{name} is no valid sparse matrix: {error}; build it anew") from None
    if not own.has_canonical_format:
        own = own.copy()
        own.sum_duplicates()
    return own


def _check_entries(rows: SparseRows, name: str, limit: float) -> None:
    """Raise where an entry is not finite, or above the limit."""
    largest = float(np.max(np.abs(rows.data), initial=0.0))
    if np.isfinite(largest) and largest <= limit:
        return
    place = int(np.argmax(~np.isfinite(rows.data) | (np.abs(rows.data) == largest)))
    row, column = rows.places()[place], rows.indices[place]
    if not np.isfinite(largest):
        raise ValueError(
            f"{name} must be finite, got {rows.data[place]} in row {row}, column {column}; "
            "remove or impute such values"
        )
    raise ValueError(
        f"{name} must be below {limit:.1e} in size for {rows.dtype}, got "
        f"{largest:.1e} in row {row}, column {column}; divide it by a constant"
    )
