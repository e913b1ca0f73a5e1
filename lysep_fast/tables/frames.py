"""pandas, on first use only, and frames made of whatever pandas can make one of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["TableError", "as_frame", "listed", "need_pandas"]


class TableError(ValueError):
    """A table that cannot be read or encoded; the message says where and what to do."""


def need_pandas() -> Any:
    """Return the module pandas.

    Raises
    ------
    ImportError
        If it is not installed; the message has the command that brings it.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "tables need pandas 2.2 or newer; install it with pip install 'lysep_fast[table]', or "
            "give numbers as arrays, in files of the suffixes .npz and .npy"
        ) from error
    return pandas


def as_frame(X: Any) -> tuple[Any, bool]:
    """Return a frame whose column names are strings, and whether X had names itself.

    Columns without names, as those of an array, are called x0, x1, ...

    Parameters
    ----------
    X : DataFrame, ndarray of shape (n, d), dict of columns, or list of rows
        A table.

    Raises
    ------
    TableError
        If it is none, has no rows or columns, or two columns of one name.
    TypeError
        If it is sparse.
    """
    if hasattr(X, "tocsr"):
        raise TypeError("a sparse matrix is no table; give sparse numbers to the estimator itself")
    pandas = need_pandas()
    frame = X if isinstance(X, pandas.DataFrame) else _made(X)
    named = not isinstance(frame.columns, pandas.RangeIndex)
    names = [str(name) for name in frame.columns] if named else _numbered(frame.shape[1])
    if len(frame) == 0 or not names:
        what = "sample" if len(frame) == 0 else "feature"
        raise TableError(
            f"X has 0 {what}(s) (shape={frame.shape}) while a minimum of 1 is required."
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise TableError(f"two columns have the name {listed(twice)}; rename one of them")
    return frame.set_axis(names, axis=1), named


def _made(X: Any) -> Any:
    """Return a frame of something else."""
    pandas = need_pandas()
    if hasattr(X, "__array__"):
        X = np.asarray(X)
    ndim = np.ndim(X) if isinstance(X, np.ndarray | np.generic) else getattr(X, "ndim", 2)
    if np.isscalar(X) or ndim != 2 or (isinstance(X, list | tuple) and _is_flat(X)):
        raise TableError(
            f"Expected 2D array, got {X!r:.80} instead: a table has rows and columns. Reshape "
            "your data using array.reshape(-1, 1) for a single column, or array.reshape(1, -1) "
            "for a single row."
        )
    try:
        return pandas.DataFrame(X)
    except (ValueError, TypeError) as error:
        raise TableError(f"no table can be made of {X!r:.80}: {error}") from None


def _is_flat(rows: Sequence[Any]) -> bool:
    return any(np.isscalar(row) or row is None for row in rows)


def _numbered(count: int) -> list[str]:
    return [f"x{i}" for i in range(count)]


def listed(names: Sequence[str]) -> str:
    """Return names for a message, not too many."""
    shown = ", ".join(map(repr, names[:10]))
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
