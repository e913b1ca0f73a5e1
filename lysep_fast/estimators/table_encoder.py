"""Tables into numbers, with scikit-learn's conventions of a transformer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..tables.encoding import Encoding
from ..tables.frames import TableError, as_frame, listed
from ..validation import check_integer

__all__ = ["TableEncoder"]


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encoder of tables as they come: text, dates, gaps and numbers into numbers.

    Numbers stay what they are, whatever their unit.  Gaps (NaN, None, and in text an empty cell,
    ``NA``, ``?`` and the like) are filled with the median of the training, and a column that had
    gaps in the training has one more of zeros and ones that says where.  Infinite numbers are
    taken as gaps, with a warning.  Text is numbers where all of it can be read as numbers, with a
    decimal comma or separated thousands too; dates where all of it has one format of dates; and
    categories otherwise.  Dates are taken apart into the seconds since the first, year, month,
    day, weekday, hour, minute and second, as far as these vary in the training.  A category has
    one column of zeros and ones for each of its frequent texts, and one that the rare and the
    unseen share.  Columns that are constant, empty, or text that hardly repeats are left out, the
    latter two with a warning.

    What pandas can make a frame of is a table: frames, arrays, dicts of columns, lists of rows.

    Parameters
    ----------
    max_categories : int, default 30
        Most texts of a column that get a column each.
    min_frequency : int, default 2
        Fewest rows in which such a text occurs.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of str
        Their names, if the table had any.
    encoding_ : Encoding
        What was learned: its ``described()`` says what becomes of every column, its ``state()``
        is all of it as plain lists, dicts, strings and numbers.

    Examples
    --------
    >>> import pandas
    >>> from lysep_fast import TableEncoder
    >>> table = pandas.DataFrame({"size": [1.5, None, 3, 4], "kind": ["a", "b", "a", "b"]})
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['size', 'size=(missing)', 'kind=a', 'kind=b']
    >>> encoder.transform(table)[1].tolist()
    [3.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, max_categories: int = 30, min_frequency: int = 2) -> None:
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    @classmethod
    def of(cls, encoding: Encoding) -> TableEncoder:
        """Return the fitted encoder of an encoding.

        With names it gives frames, so that an estimator which was fitted on columns of these
        names finds them.
        """
        encoder = cls(encoding.max_categories, encoding.min_frequency)
        encoder._keep(encoding)
        return encoder.set_output(transform="pandas") if encoding.named else encoder

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn the columns of a table; `y` is not looked at.

        Raises
        ------
        ValueError
            If X is no table, has two columns of one name, or none that can be used; or if a
            parameter is wrong.
        ImportError
            If pandas is missing.
        """
        limits = {
            "max_categories": check_integer(self.max_categories, "max_categories", 0),
            "min_frequency": check_integer(self.min_frequency, "min_frequency", 1),
        }
        notes: list[str] = []
        self._keep(Encoding.learn(X, notes.append, **limits))
        _warn(notes, 3)
        return self

    def transform(self, X: Any) -> Any:
        """Return a table as numbers, float64 of shape (n, columns), all finite.

        Columns are found by name, in any order, if both tables have names, by order otherwise.

        Raises
        ------
        ValueError
            If the table does not have the columns of the training, or they hold something else;
            the message names them.
        """
        check_is_fitted(self, "encoding_")
        frame, named = as_frame(X)
        if not (named and self.encoding_.named):
            if frame.shape[1] != self.n_features_in_:
                raise TableError(
                    f"X has {frame.shape[1]} features, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input"
                )
        else:
            known = set(self.encoding_.names)
            missing = [name for name in self.encoding_.names if name not in frame.columns]
            unseen = [name for name in frame.columns if name not in known]
            if missing or unseen:
                raise TableError(_other_columns(missing, unseen))
        columns = frame.columns if named else range(frame.shape[1])
        notes: list[str] = []
        encoded = self.encoding_.apply(frame.set_axis(columns, axis=1), notes.append)
        _warn(notes, 4)  # scikit-learn has one call between
        return encoded

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of numbers.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the table's columns: these are known, and anything else is an error.
        """
        check_is_fitted(self, "encoding_")
        known = self.encoding_.names
        if input_features is not None and list(input_features) != known:
            raise ValueError(
                f"input_features is not equal to feature_names_in_: {listed(known)}; leave it out"
            )
        return np.array(self.encoding_.feature_names, object)

    def _keep(self, encoding: Encoding) -> None:
        """Set what is read after a fit."""
        self.encoding_ = encoding
        self.n_features_in_ = len(encoding.columns)
        if encoding.named:
            self.feature_names_in_ = np.array(encoding.names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _other_columns(missing: list[str], unseen: list[str]) -> str:
    """Return the message on a table with other columns."""
    parts = [
        f"{what} {listed(names)}"
        for what, names in (("lacks the columns", missing), ("has the unseen columns", unseen))
        if names
    ]
    return f"X {' and '.join(parts)}; give the columns of the table that fit saw"


def _warn(notes: list[str], level: int) -> None:
    for text in notes:
        warnings.warn(text, UserWarning, stacklevel=level)
