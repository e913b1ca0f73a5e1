"""What all estimators share: fitting through `lysep_fast.train`, and what is read afterwards."""

from __future__ import annotations

import copy
import numbers
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "the estimators need scikit-learn 1.6 or newer; install it with "
        "pip install 'lysep_fast[sklearn]', or use lysep_fast.train, which does without"
    ) from error

from ..files.estimators import learned, save_estimator
from ..losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from ..result import Result, Status
from ..solvers import OnlineMiniBatch, make_solver
from ..solvers.online import Memory
from ..train import train
from ..validation import check_flag

__all__ = ["NetworkEstimator"]

#: What turns outputs into predictions, by loss.
OUT_ACTIVATIONS = {
    CrossEntropy.name: "softmax",
    BinaryCrossEntropy.name: "logistic",
    SquaredError.name: "identity",
}
#: Parameters of the estimators that `train` does not have.
_OWN = ("class_weight", "random_state", "warm_start")
#: Solvers of `partial_fit` that go on from part to part.
_ONLINE = ("auto", "mini-batch")
#: Statuses that a user should hear of.
_UNFINISHED = (Status.MAX_ITER, Status.NOT_FINITE, Status.NOTHING_FOUND)


class NetworkEstimator(BaseEstimator):
    """Estimator whose parameters are arguments of `lysep_fast.train` by the same names.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default None
        Seed of the initial weights.
    early_stopping : bool or "auto", default "auto"
        True: hold out `validation_fraction` of the samples, spread over the classes, stop when
        their loss has not improved for `n_iter_no_change` sweeps, and keep the best weights.
        ``"auto"``: with 10 to 10,000 samples the number of sweeps, at most `max_iter`, is what did
        best in a cross-validation before training, which then takes all samples; otherwise, with
        convolutions, in `partial_fit` and after a warm start, False.
    warm_start : bool, default False
        Whether `fit` goes on from the weights of its last call, which had the same architecture
        and, for a classifier, the same classes.  The solver starts afresh, with the parameters as
        they are now.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str
        Names of the features, if X had any.
    loss_curve_ : list of float
        Loss of the true network on the training data after every sweep.
    separated_loss_curve_ : list of float
        LS = sqrt(F) after every sweep, without the penalty of `alpha`.
    validation_loss_curve_ : list of float or None
        Loss of the held-out samples after every sweep; None without early stopping, NaN for
        those calls among several that were without.
    validation_scores_ : list of float or None
        Score on the held-out samples after every sweep; None or NaN like the losses.
    loss_ : float
        Loss of the network on the training data, with the weights that were kept.
    best_loss_ : float or None
        Smallest loss of a sweep; None with early stopping, where held-out samples judge.
    best_validation_score_ : float or None
        Largest validation score of a sweep; None without early stopping.
    bound_constant_ : float
        C of the bound of the loss by the separated loss.
    n_iter_ : int
        Number of sweeps done in the last call; the curves go on over all calls since a fresh
        start.
    n_layers_ : int
        Number of layers, the inputs counted as one.
    n_outputs_ : int
        Number of outputs: one per class, also for two classes, or one per target.
    out_activation_ : {"softmax", "logistic", "identity"}
        What turns outputs into probabilities or predictions.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (fan_in, fan_out) and biases, layer by layer.
    result_ : lysep_fast.Result
        Network, history and status.
    """

    random_state: Any
    warm_start: bool
    early_stopping: bool | str
    #: Formats of sparse inputs that are taken as they are, or False.
    _accept_sparse: Any = ("csr", "csc", "coo")

    def _keep(self, given: Mapping[str, Any]) -> None:
        """Set the parameters; ``self._keep(locals())`` is all that an `__init__` does."""
        for name in given.keys() - {"self", "__class__"}:
            setattr(self, name, given[name])

    def _former(self, partial: bool) -> Result | None:
        """Return the result that a fit goes on from, None if it starts afresh."""
        check_flag(self.warm_start, "warm_start")
        if partial and self.early_stopping not in (False, "auto"):
            raise ValueError(
                f"early_stopping={self.early_stopping!r} does not go with partial_fit, which sees "
                "a part of the data only; set it to False, or use fit"
            )
        former: Result | None = getattr(self, "result_", None)
        return former if partial or self.warm_start else None

    def _train(
        self,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: Any,
        former: Result | None,
        *,
        partial: bool,
        **more: Any,
    ) -> None:
        """Train on checked data and set the attributes that do not depend on the task.

        To be called by `fit` itself, so that its warning points at the caller of `fit`.
        """
        arguments = self._arguments() | more
        if former is not None:
            arguments["init"] = former
        if former is None or not partial:
            self._random, self._memory = check_random_state(self.random_state), None
        if partial:
            arguments = _one_sweep(arguments, X.shape[0], self._memory)
        result = train(
            X,
            y,
            sample_weight=sample_weight,
            random_state=self._random.randint(np.iinfo(np.int32).max),
            **arguments,
        )
        if partial:
            self._memory = getattr(arguments["solver"], "memory", None)
        self._record(result, afresh=former is None)
        if not partial and result.status in _UNFINISHED:
            warnings.warn(
                f"{type(self).__name__} stopped after {result.n_iter} sweeps: {result.message}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and everything learned to a model file for `lysep_fast.load`.

        Raises
        ------
        TypeError
            If a parameter is neither None, number, string nor a list, tuple or dict of these,
            or the class labels are neither numbers, bools nor strings.
        OSError
            If the file cannot be written; one that was there before is kept.
        """
        check_is_fitted(self, "result_")
        save_estimator(self, path)

    def _record(self, result: Result, *, afresh: bool) -> None:
        """Set what is read after a fit; the curves go on where training did."""
        for name, value in learned(result, None if afresh else vars(self)).items():
            setattr(self, name, value)

    @property
    def loss_(self) -> float:
        """Loss of the network, with the weights that were kept, on the training data."""
        check_is_fitted(self, "result_")
        return float(self.result_.history[self.result_.best_iter].loss)

    @property
    def n_layers_(self) -> int:
        """Number of layers, the inputs counted as one."""
        check_is_fitted(self, "result_")
        return int(self.result_.network.depth) + 1

    @property
    def n_outputs_(self) -> int:
        """Number of outputs."""
        check_is_fitted(self, "result_")
        return int(self.result_.network.widths[-1])

    @property
    def out_activation_(self) -> str:
        """What turns outputs into predictions."""
        check_is_fitted(self, "result_")
        return OUT_ACTIVATIONS[self.result_.loss]

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of shape (fan_in, fan_out), layer by layer."""
        check_is_fitted(self, "result_")
        return [W.T for W in self.result_.W[1:]]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases, layer by layer (zeros in the output layer without `output_bias`)."""
        check_is_fitted(self, "result_")
        return list(self.result_.b[1:])

    def _arguments(self) -> dict[str, Any]:
        """Return the parameters as arguments of `lysep_fast.train`."""
        arguments = self.get_params(deep=False)
        for name in _OWN:
            arguments.pop(name, None)
        # A solver object is a parameter: training with it would change it.
        arguments["solver"] = copy.deepcopy(arguments["solver"])
        return dict(arguments)

    def _first_rows(self, X: Any) -> Any:
        """Return X with one row per sample, before a network is there; images override it."""
        return X

    def _rows(self, X: Any) -> Any:
        """Return X with one row per sample; images override it."""
        return X

    def _training_data(self, X: Any, y: Any, former: Result | None, **more: Any) -> Any:
        """Return X and y, checked against those of the former result if there is one."""
        rows = self._first_rows(X) if former is None else self._rows(X)
        dtype = (np.float64, np.float32) if former is None else former.W[1].dtype
        more["accept_sparse"] = self._accept_sparse
        return validate_data(self, rows, y, dtype=dtype, reset=former is None, **more)

    def _checked(self, X: Any) -> np.ndarray:
        """Return the inputs of a prediction, checked against those of the training."""
        check_is_fitted(self, "result_")
        checked: np.ndarray = validate_data(
            self,
            self._rows(X),
            accept_sparse=self._accept_sparse,
            dtype=(np.float64, np.float32),
            reset=False,
        )
        return checked

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = bool(self._accept_sparse)
        return tags


def _one_sweep(arguments: dict[str, Any], n_samples: int, memory: Memory | None) -> dict[str, Any]:
    """Return the arguments of `train` for one sweep over a part of the data."""
    own: dict[str, Any] = {"max_iter": 1, "early_stopping": False}
    if isinstance(arguments["batch_size"], numbers.Integral):
        own["batch_size"] = min(arguments["batch_size"], n_samples)
    arguments = arguments | own
    if not isinstance(arguments["solver"], str) or arguments["solver"] not in _ONLINE:
        return arguments
    options = arguments["solver_options"]
    if isinstance(options, Mapping | None):
        subsets = {name: arguments.pop(name, None) for name in ("batch_size", "refresh_every")}
        given = {name: v for name, v in subsets.items() if v is not None and v != "auto"}
        options = {**(options or {}), **given}
    make_solver("mini-batch", options)  # which says what is wrong with them
    return arguments | {"solver": OnlineMiniBatch(memory, **options), "solver_options": None}
