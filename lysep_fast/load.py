"""Reading model files: the only place that knows every kind of them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .container.archive import Archive
from .files.estimators import (
    CLASSES,
    check_fitted,
    expected_estimator,
    unpack_attributes,
    unpack_encoding_of,
    unpack_labels_of,
    unpack_parameters,
)
from .files.results import RESULT
from .files.solutions import SOLUTION
from .result import Result
from .tables.encoding import Encoding

__all__ = ["load", "read_labelled"]


def load(path: str | os.PathLike[str], *, as_result: bool = False) -> Any:
    """Read a model file that ``save`` of a result, an estimator or a solution wrote.

    No file can run code, whoever made it.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    as_result : bool, default False
        Return the `Result` of an estimator's file, for use without scikit-learn: the network
        without class labels, feature names and parameters.

    Returns
    -------
    Result, LySepClassifier, LySepConvClassifier, LySepRegressor or pde.Solution
        What was saved; its predictions are the same to the last bit.  A solution comes without
        its problem, which `lysep_fast.pde.Solution.load` takes.  An estimator that learned the
        columns of a table has its `TableEncoder` as ``encoder_``.

    Raises
    ------
    ModelFileError
        If the file is damaged, was made by a newer version, or is no model file.
    ImportError
        If it holds an estimator and scikit-learn is missing.
    OSError
        If the file cannot be read.
    """
    with Archive.open(path) as archive:
        archive.check_kind((RESULT, *CLASSES) if as_result else (RESULT, *CLASSES, SOLUTION))
        if archive.kind == RESULT:
            return Result.read(archive)
        if archive.kind in CLASSES:
            return _read_estimator(archive) if not as_result else _read_parts(archive)[0]
    from .pde.solution import Solution  # on use only: most need one half of the package

    return Solution.load(path)


def read_labelled(
    archive: Archive,
) -> tuple[Result, dict[str, np.ndarray], Encoding | None]:
    """Return result, labels and the table's encoding of an open file, without scikit-learn.

    The labels are under the names of the attributes, ``classes_`` and ``feature_names_in_``, as
    far as the estimator has them.
    """
    result, arrays = _read_parts(archive)
    labels = unpack_labels_of(archive.header, arrays)
    encoding = unpack_encoding_of(archive.header, arrays)
    check_fitted(archive.kind, result, archive.header["n_features_in"], labels, encoding)
    return result, labels, encoding


def _read_parts(archive: Archive) -> tuple[Result, dict[str, np.ndarray]]:
    """Return result and arrays of an open file that holds an estimator."""
    arrays = archive.arrays(lambda header: expected_estimator(header, Result.table()))
    return Result.unpack(archive.header["result"], arrays), arrays


def _read_estimator(archive: Archive) -> Any:
    """Return the fitted estimator of an open file."""
    made = _class(archive)
    result, arrays = _read_parts(archive)
    parameters = unpack_parameters(archive.header)
    unknown = sorted(set(parameters) - set(made().get_params(deep=False)))
    if unknown:
        raise ValueError(f"its header has the unknown parameters {unknown!r:.200}")
    estimator = made(**parameters)
    found = unpack_attributes(archive.header, arrays)
    labels = unpack_labels_of(archive.header, arrays)
    encoding = unpack_encoding_of(archive.header, arrays)
    check_fitted(archive.kind, result, found["n_features_in_"], labels, encoding)
    if encoding is not None:
        from .estimators import TableEncoder

        found["encoder_"] = TableEncoder.of(encoding)
    vars(estimator).update(found, result_=result)
    if archive.kind == "conv-classifier":
        estimator._shape = getattr(result.network.layer(1), "image_shape", None)
    return estimator


def _class(archive: Archive) -> Any:
    name = CLASSES[archive.kind]
    try:
        from . import estimators
    except ImportError as error:
        raise ImportError(
            f"{archive.path} holds a {name}, which needs scikit-learn; install it with pip "
            "install 'lysep_fast[sklearn]', or read the network alone with "
            "lysep_fast.load(path, as_result=True)"
        ) from error
    return getattr(estimators, name)
