"""What bench_tables.py compares, each at its defaults, and how one fold of one table is judged."""

from __future__ import annotations

import importlib
import os
import sys
import time
import warnings
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.metrics import root_mean_squared_error as rmse
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table_sets import TASKS, Table, load

__all__ = [
    "FOLDS",
    "METHODS",
    "MLP",
    "OURS",
    "PACKAGES",
    "ROOT",
    "evaluate",
    "folds",
    "make",
    "scores",
]

#: The checkout, whose lysep_fast comes before an installed one.
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
FOLDS = 5
OURS = "lysep_fast"
MLP = "MLP, scaled inputs"
#: What pip has to install beside scikit-learn, by method.
PACKAGES = {"LightGBM": "lightgbm", "RealMLP": "pytabkit"}
METHODS = (
    OURS,
    MLP,
    "MLP, raw inputs",
    "linear, scaled inputs",
    "HistGradientBoosting",
    *PACKAGES,
)


def make(method: str, task: str, seed: int, threads: int) -> Any:
    """Return an estimator at its defaults: nothing is set but the seed, the threads and silence.

    Raises
    ------
    ImportError
        If the package of the method is not installed.
    """
    classes = task == TASKS[0]
    if method == OURS:
        return _ours(classes, seed, threads)
    if method == "LightGBM":
        package = importlib.import_module("lightgbm")
        kind = package.LGBMClassifier if classes else package.LGBMRegressor
        return kind(random_state=seed, n_jobs=threads, verbose=-1)
    if method == "RealMLP":
        package = importlib.import_module("pytabkit")
        kind = package.RealMLP_TD_Classifier if classes else package.RealMLP_TD_Regressor
        return kind(device="cpu", random_state=seed, n_threads=threads)
    if method == "HistGradientBoosting":
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return kind(random_state=seed)
    if method == "linear, scaled inputs":
        return make_pipeline(StandardScaler(), LogisticRegression() if classes else Ridge())
    network = (MLPClassifier if classes else MLPRegressor)(random_state=seed)
    if method == MLP:
        return make_pipeline(StandardScaler(), network)
    if method == "MLP, raw inputs":
        return network
    raise ValueError(f"no method is called {method!r}: choose from {', '.join(METHODS)}")


def _ours(classes: bool, seed: int, threads: int) -> Any:
    """Return our estimator, from the checkout that this file is in."""
    package = importlib.import_module("lysep_fast")
    if ROOT not in Path(package.__file__ or "").resolve().parents:
        raise ImportError(f"lysep_fast comes from {package.__file__}, not from beside bench/")
    kind = package.LySepClassifier if classes else package.LySepRegressor
    return kind(random_state=seed, n_threads=threads)


def folds(table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows for training and for testing, the same for all methods."""
    kind = StratifiedKFold if table.task == TASKS[0] else KFold
    return list(kind(FOLDS, shuffle=True, random_state=0).split(table.X, table.y))


def evaluate(name: str, method: str, fold: int, threads: int) -> dict[str, Any]:
    """Fit and judge one method on one fold; what it raises becomes part of the record.

    Returns
    -------
    record : dict
        What was run, and either ``error`` or the scores with ``seconds`` and ``cpu_seconds`` of
        the fit (the latter over all threads and children) and ``predict_seconds``.
    """
    table = _table(name)
    record = {"table": name, "task": table.task, "half": table.half, "method": method}
    record |= {"fold": fold, "rows": len(table.y), "columns": table.X.shape[1], "threads": threads}
    train, test = folds(table)[fold]
    try:
        _warm_up(method, table.task, threads)
        model = make(method, table.task, fold, threads)
        # A default that warns is a default all the same; that it did is in the record.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record |= _measure(table, train, test, model)
        return record | {"warnings": sorted({w.category.__name__ for w in caught})}
    except Exception as error:
        return record | {"error": f"{type(error).__name__}: {error}"[:300]}


@lru_cache(maxsize=4)
def _table(name: str) -> Table:
    """Return a table, and keep it for the next method."""
    return load(name)


@cache
def _warm_up(method: str, task: str, threads: int) -> None:
    """Import and compile before the clock runs."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(np.int64) if task == TASKS[0] else X[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(method, task, 0, threads).fit(X, y)


def _measure(table: Table, train: np.ndarray, test: np.ndarray, model: Any) -> dict[str, Any]:
    """Fit, predict and judge."""
    wall, cpu = time.perf_counter(), _cpu()
    model.fit(table.X[train], table.y[train])
    seconds, cpu_seconds = time.perf_counter() - wall, _cpu() - cpu
    wall = time.perf_counter()
    classes = table.task == TASKS[0]
    predicted = (model.predict_proba if classes else model.predict)(table.X[test])
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "predict_seconds": time.perf_counter() - wall,
        **scores(table.task, table.y[test], predicted),
    }


def _cpu() -> float:
    """Return the seconds of all threads and of the children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


def scores(task: str, y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the scores of probabilities (columns by class number) or of predicted targets.

    Raises
    ------
    ValueError
        If something predicted is not finite.
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise ValueError("predictions are not finite")
    if task != TASKS[0]:
        predicted = predicted.reshape(len(y))
        return {"r2": float(r2_score(y, predicted)), "rmse": float(rmse(y, predicted))}
    # Single precision does not add up to one closely enough for scikit-learn.
    predicted = predicted / predicted.sum(axis=1, keepdims=True)
    ranked = predicted[:, 1] if predicted.shape[1] == 2 else predicted
    return {
        "auc": float(roc_auc_score(y, ranked, multi_class="ovr")),
        "log_loss": float(log_loss(y, predicted, labels=np.arange(predicted.shape[1]))),
        "accuracy": float(accuracy_score(y, predicted.argmax(axis=1))),
    }
