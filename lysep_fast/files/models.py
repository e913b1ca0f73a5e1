"""Reading a model file of any kind."""

from __future__ import annotations

import os
from typing import Any

from . import estimators, results
from .archive import Archive

__all__ = ["load"]

_SOLUTION = "pde-solution"  # its module is imported on use only: most need one half of the package


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
        its problem, which `lysep_fast.pde.Solution.load` takes.

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
        if as_result:
            archive.check_kind((results.KIND, *estimators.CLASSES))
        else:
            archive.check_kind((results.KIND, *estimators.CLASSES, _SOLUTION))
        if archive.kind == results.KIND:
            return results.read_result(archive)
        if archive.kind in estimators.CLASSES:
            read = estimators.read_bare_result if as_result else estimators.read_estimator
            return read(archive)
    from .solutions import load_solution

    return load_solution(path, None)
