"""Trained networks with class labels and column names, in files that `lysep_fast.load` reads.

What was trained here is the file of an estimator, so that ``load`` gives a LySepClassifier or a
LySepRegressor; writing and using it takes no scikit-learn.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..container.archive import Archive
from ..files.estimators import CLASSES, learned, write_fitted
from ..files.results import RESULT
from ..layers import Convolution
from ..load import read_labelled
from ..result import Result
from ..tables.encoding import Encoding
from ..tables.frames import TableError, need_pandas
from ..threads.team import available_cpus
from .messages import CommandError
from .tables import Table

__all__ = ["Model", "read_model", "score", "write_model"]


@dataclass(frozen=True)
class Model:
    """A trained network and what its numbers mean.

    Attributes
    ----------
    result : Result
        The network.
    classes : ndarray, shape (K,), or None
        Labels of a classifier; None where they are 0..K-1, and for a regression.
    names : list of str or None
        Names of the columns that the network takes.
    encoding : Encoding or None
        How these are made of a table; None where they are its columns.
    """

    result: Result
    classes: np.ndarray | None = None
    names: list[str] | None = None
    encoding: Encoding | None = None

    @property
    def is_classifier(self) -> bool:
        """Whether classes are predicted, not numbers."""
        return self.result.loss != "squared-error"

    @property
    def labels(self) -> np.ndarray:
        """Labels of the classes, in the order of the outputs."""
        K = self.result.network.widths[-1]
        return np.arange(K) if self.classes is None else self.classes

    def check(self, X: np.ndarray, path: Path) -> None:
        """Raise if inputs do not have the shape that the model takes."""
        first, d = self.result.network.layer(1), self.result.network.widths[0]
        d = d if self.encoding is None else len(self.encoding.columns)
        if X.ndim == 2 and X.shape[1] != d:
            more = " (--target names one that is no input)" if X.shape[1] > d else ""
            raise CommandError(
                f"{path} has {X.shape[1]} input columns, but the model was trained with {d}; "
                f"choose them with --inputs{more}"
            )
        if X.ndim > 2 and not isinstance(first, Convolution):
            raise CommandError(f"{path} has images, but the model takes rows of {d} numbers")

    def matrix(self, table: Table, note: Callable[[str], None]) -> np.ndarray:
        """Return the inputs of a table as the network takes them."""
        if self.encoding is None:
            X = table.numbers()
            self.check(X, table.path)
            return X
        if not (table.is_frame and table.names is not None and self.encoding.named):
            self.check(table.X, table.path)
        frame = table.X if table.is_frame else need_pandas().DataFrame(table.X)
        try:
            return self.encoding.apply(frame, note)
        except TableError as error:
            raise CommandError(f"{table.path}: {error}") from None

    def predict(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return labels or numbers, and for a classifier the probabilities of the classes.

        A network for several labels per sample gives 0 or 1 for each.
        """
        if not self.is_classifier:
            return self.result.predict(X), None
        # Not the largest probability: logits that differ may have equal ones, by rounding.
        predicted, proba = self.result.predict(X), self.result.predict_proba(X)
        if self.result.loss == "binary-cross-entropy":
            return predicted, proba
        return self.labels[predicted], proba


def score(predicted: np.ndarray, y: np.ndarray, *, classes: bool) -> str:
    """Return accuracy, or R^2 over all outputs together, in words."""
    if classes:
        if y.ndim != predicted.ndim:
            raise CommandError(f"the target has shape {y.shape}; one class per row is needed")
        if "U" in (predicted.dtype.kind, y.dtype.kind):  # 7 in one file may be "7" in another
            predicted, y = predicted.astype(np.str_), y.astype(np.str_)
        right = (predicted == y).reshape(len(y), -1).all(axis=1)  # all labels of a row
        return f"accuracy {100 * np.mean(right):.2f} %"
    if y.dtype.kind == "U" or y.shape != predicted.shape:
        raise CommandError(
            f"the target has dtype {y.dtype} and shape {y.shape}, but the model predicts numbers "
            f"of shape {predicted.shape}"
        )
    y, predicted = y.astype(np.float64), predicted.astype(np.float64)
    spread = np.sum((y - np.mean(y, axis=0)) ** 2)
    error = np.sum((predicted - y) ** 2)
    rmse = f"root mean square error {np.sqrt(error / len(y)):.4g}"
    return f"R^2 {1.0 - error / spread:.4f}, {rmse}" if spread > 0.0 else rmse


def write_model(path: Path, model: Model, parameters: dict[str, Any], y: np.ndarray) -> None:
    """Write a model.

    Parameters
    ----------
    path : Path
        Name of the file.
    model : Model
        What was trained.
    parameters : dict
        Those of the estimator that it is read as.
    y : ndarray
        The targets of the training.
    """
    result = model.result
    convolutional = isinstance(result.network.layer(1), Convolution)
    if convolutional and not model.is_classifier:
        result.save(path)  # there is no estimator of this kind
        return
    kind = "classifier" if model.is_classifier else "regressor"
    if convolutional:
        kind, parameters = "conv-classifier", parameters | _image_parameters(result)
    own = learned(result) | {
        "n_features_in_": result.network.widths[0],
        # What partial_fit goes on from.
        "_random": np.random.RandomState(parameters["random_state"]),
        "_memory": None,
    }
    if model.is_classifier:
        own["classes_"] = model.labels
    else:
        own["_spread"] = _spread(y.reshape(len(y), -1))
    if model.names is not None:
        own["feature_names_in_"] = np.array(model.names, object)
    if model.encoding is not None:
        own["encoder_"] = types.SimpleNamespace(encoding_=model.encoding)
    write_fitted(path, kind, parameters, own)


def read_model(path: Path, threads: int | None = None) -> Model:
    """Read a model that was trained here or saved in Python, without scikit-learn.

    Raises
    ------
    ModelFileError
        If the file is damaged or no model file.
    CommandError
        If it holds something that has no predictions for tables.
    """
    with Archive.open(path) as archive:
        if archive.kind == "checkpoint":
            raise CommandError(
                f"{path} is a checkpoint, not a model; go on from it with lysep-fast train "
                f"--resume {path}"
            )
        if archive.kind == "pde-solution":
            raise CommandError(
                f"{path} holds the solution of a differential equation; use it in Python with "
                "lysep_fast.pde.Solution.load(path, problem)"
            )
        archive.check_kind((RESULT, *CLASSES))
        labels: dict[str, np.ndarray] = {}
        encoding = None
        if archive.kind == RESULT:
            result = Result.read(archive)
        else:
            result, labels, encoding = read_labelled(archive)
    result.n_threads = available_cpus() if threads is None else threads
    names = labels.get("feature_names_in_")
    listed = None if names is None else list(map(str, names))
    return Model(result, labels.get("classes_"), listed, encoding)


def _image_parameters(result: Result) -> dict[str, Any]:
    first = result.network.layer(1)
    assert isinstance(first, Convolution)
    return {"image_shape": tuple(int(k) for k in first.image_shape)}


def _spread(T: np.ndarray) -> types.SimpleNamespace:
    """Return what the scaler of a regressor's targets has learned; partial_fit goes on from it."""
    variance = np.var(T, axis=0)
    scale = np.where(variance > 0.0, np.sqrt(variance), 1.0)
    return types.SimpleNamespace(
        mean_=np.mean(T, axis=0), var_=variance, scale_=scale, n_samples_seen_=len(T)
    )
