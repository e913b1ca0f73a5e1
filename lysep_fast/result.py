"""What training returns: the fitted network, its history, and why it stopped."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .container.archive import Archive, write_archive
from .files.results import RESULT, expected_result, pack_result, unpack_result
from .kernels.activation import SIGMOID, activation_into
from .kernels.softmax import softmax_into
from .network import Network
from .network.walk import Walk
from .report import HistoryTable, Step
from .samples.checked import checked_samples, difference_limit, refuse_sparse
from .samples.images import rows_like
from .samples.kinds import Samples
from .threads.team import Team, Workspace

__all__ = ["HistoryRow", "Result", "Status"]


class Status(enum.Enum):
    """Why training stopped, with a message for people."""

    RUNNING = "training has not stopped yet"
    MAX_ITER = "the maximal number of sweeps was reached; raise max_iter to train further"
    CONVERGED = "the minimised loss has stopped improving by more than tol"
    EARLY_STOPPED = "the validation loss has stopped improving; the best weights are returned"
    CROSS_VALIDATED = "that many sweeps did best on held-out folds of the training data"
    NOTHING_FOUND = (
        "the network is hardly better than the best constant: either the inputs tell nothing "
        "about the targets, or it needs another start (init), solver, width or more sweeps"
    )
    CALLBACK = "the callback asked to stop"
    INTERRUPTED = "interrupted by Ctrl-C; the best weights so far are returned"
    NO_PROGRESS = "the minimised loss could not be lowered any further in this precision"
    NOT_FINITE = (
        "the loss is no longer finite; the last finite weights are returned. "
        "Scale the inputs to about unit size, or train in float64"
    )

    @property
    def message(self) -> str:
        """One sentence for people."""
        return self.value


@dataclass(frozen=True)
class HistoryRow:
    """State of the training after one sweep (sweep 0: the initial network).

    Attributes
    ----------
    sweep : int
        Number of sweeps done.
    seconds : float
        Wall time since training began, evaluation included.
    loss : float
        Mean cross-entropy of the true network on the training data, with sample weights, never
        smoothed, summed over labels if there are any; for a regression the mean squared error,
        summed over the outputs.
    accuracy : float
        Share of training samples that the true network classifies correctly, all of their labels
        if there are any; NaN for a regression.
    separated_loss : float
        LS = sqrt(F), without the penalty of weight decay;
        ``loss <= bound_constant * separated_loss``, for a regression with ``sqrt(loss)`` on the
        left.  Where the alternating method smooths labels,
        F is made of the smoothed losses and bounds their mean instead.
    data : float
        The term ``(1/n) sum c_n e_n^2`` of F.
    penalties : ndarray, shape (L-1,)
        The terms ``(1/n) w_l sum_n c_n |R_{l,n}|^2`` of F.
    steps : tuple of Step
        What every block did, least-squares methods and line-search trials included.
    validation_loss, validation_accuracy : float
        Loss and accuracy on the held-out samples; NaN without early stopping.
    r2, validation_r2 : float
        In place of the accuracies for a regression: ``1 - loss / loss of the mean``, over all
        outputs together.  NaN for a classifier, or for targets that do not vary.
    """

    sweep: int
    seconds: float
    loss: float
    accuracy: float
    separated_loss: float
    data: float
    penalties: np.ndarray
    steps: tuple[Step, ...] = ()
    validation_loss: float = float("nan")
    validation_accuracy: float = float("nan")
    r2: float = float("nan")
    validation_r2: float = float("nan")

    @property
    def methods(self) -> dict[str, str]:
        """How every block found its update, by the block's name."""
        return {step.block: step.method for step in self.steps}


@dataclass
class Result:
    """A trained network.

    Attributes
    ----------
    network : Network
        The architecture.
    W, b : list of ndarray
        Weights and biases of layers 1..L; index 0 is empty.
    history : list of HistoryRow
        One row per sweep, the first for the initial network.
    status : Status
        Why training stopped.
    bound_constant : float
        C of ``loss <= C separated_loss`` (for a regression ``sqrt(loss)``); 1 without auxiliaries.
    n_threads : int
        Threads used in training, and by default in prediction.
    best_iter : int
        Number of sweeps after which the returned weights were reached.
    loss : {"cross-entropy", "binary-cross-entropy", "squared-error"}
        What was minimised, so whether this is a classifier of classes or of labels, or a
        regression.
    flat : bool
        Whether `predict` of a regression returns one number per sample, as the targets were.
    """

    network: Network
    W: list[np.ndarray]
    b: list[np.ndarray]
    history: list[HistoryRow] = field(default_factory=list)
    status: Status = Status.RUNNING
    bound_constant: float = 1.0
    n_threads: int = 1
    best_iter: int = 0
    loss: str = "cross-entropy"
    flat: bool = False

    @property
    def message(self) -> str:
        """Why training stopped, in words."""
        return self.status.message

    @property
    def n_iter(self) -> int:
        """Number of sweeps done."""
        return self.history[-1].sweep if self.history else 0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write network, weights and history to a model file for `lysep_fast.load`.

        Raises
        ------
        ValueError
            If a weight is NaN or infinite.
        OSError
            If the file cannot be written; one that was there before is kept.
        """
        write_archive(path, RESULT, *self.packed())

    @staticmethod
    def table() -> HistoryTable:
        """Return an empty table for the history of a result."""
        return HistoryTable(HistoryRow)

    def packed(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return header and arrays for a model file."""
        return pack_result(self, self.table())

    @classmethod
    def unpack(cls, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Result:
        """Return the result of header and arrays."""
        return cls(**unpack_result(header, arrays, cls.table(), Status))

    @classmethod
    def read(cls, archive: Archive) -> Result:
        """Return the result of an open file."""
        arrays = archive.arrays(lambda header: expected_result(header, cls.table()))
        return cls.unpack(archive.header, arrays)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the logits of a classifier.

        Parameters
        ----------
        X : array-like or SciPy sparse, shape (n, d), or images of the shape seen in training
            Inputs, with the number of columns seen in training.

        Returns
        -------
        ndarray, shape (n, K)
            Logits in the dtype of the weights.

        Raises
        ------
        ValueError
            If X is not a finite numeric matrix with d columns, or if this is a regression.
        """
        if self.loss == "squared-error":
            raise ValueError(
                f"decision_function and predict_proba are a classifier's, but loss={self.loss!r}; "
                "use predict"
            )
        return self._outputs(X)

    def _outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the network's outputs, shape (n, K)."""
        d, K = self.network.widths[0], self.network.widths[-1]
        shape = self.network.layer(1).input_shape
        if len(shape) == 3:
            refuse_sparse(X, f"a network with the layer {self.network.layer(1)!r}")
            X = rows_like(X, shape)
        samples = checked_samples(X, n_features=d, dtype=self.W[1].dtype, limit=difference_limit)
        out = np.empty((len(samples), K), samples.dtype)

        def task(rows: slice, ws: Workspace) -> None:
            seen = samples.seen_by(self.network.layer(1), rows, ws)
            out[rows] = Walk(self.network, self.W, self.b, ws).forward(seen)

        with Team(self.n_threads) as team:
            team.map(task, samples.blocks(max(self.network.widths[1:])))
        return _finite(out, samples)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities of the classes or labels, shape (n, K); see `decision_function`.

        Those of labels are never rounded to 0 or 1: no label is certain.
        """
        U = self.decision_function(X)
        if self.loss != "binary-cross-entropy":
            softmax_into(U, U)
            return U
        activation_into(SIGMOID, U, U)
        number = U.dtype.type
        return np.clip(U, np.finfo(number).tiny, np.nextafter(number(1), number(0)), out=U)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return class indices, shape (n,), labels 0 or 1, (n, K), or numbers, (n, K) or (n,)."""
        if self.loss == "squared-error":
            outputs = self._outputs(X)
            return outputs[:, 0] if self.flat else outputs
        if self.loss == "binary-cross-entropy":
            return (self._outputs(X) > 0.0).astype(np.int64)
        return np.argmax(self.decision_function(X), axis=1)

    def copy_weights(
        self, network: Network, dtype: np.dtype
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return copies of weights and biases, to train a network of this architecture on.

        Raises
        ------
        ValueError
            If `network` is another one, or the arrays do not have its shapes.
        """
        for part in ("layers", "features", "output_bias"):
            own, wanted = getattr(self.network, part), getattr(network, part)
            if own != wanted:
                raise ValueError(
                    f"init is the result of another network: its {part} are {own}, but {wanted} "
                    "are asked for; keep architecture and data as they were, or start afresh "
                    "with init=None (warm_start=False in an estimator)"
                )
        W, b = ([np.array(a, dtype, order="C") for a in arrays] for arrays in (self.W, self.b))
        shapes = [layer.weight_shape for layer in network.layers]
        if [w.shape for w in W[1:]] != shapes or [v.shape for v in b[1:]] != [
            s[:1] for s in shapes
        ]:
            raise ValueError(
                f"init.W and init.b have the shapes {[a.shape for a in W[1:] + b[1:]]}, but the "
                f"network needs {shapes} and one bias per row"
            )
        return W, b


def _finite(outputs: np.ndarray, samples: Samples) -> np.ndarray:
    """Return the outputs, or raise where the inputs are so large that they overflow."""
    bad = ~np.isfinite(outputs).all(axis=1)
    if np.any(bad):
        row = int(np.argmax(bad))
        given = samples.rows(slice(row, row + 1), Workspace())[0]
        column = int(np.argmax(np.abs(given)))
        raise ValueError(
            f"the outputs for row {row} of X overflow {outputs.dtype}: column {column} has "
            f"{given[column]:.1e} there; give inputs of the size of those in training"
        )
    return outputs
