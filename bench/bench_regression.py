"""Regression: R^2 on held-out data of LySepRegressor and scikit-learn's MLPRegressor, by default.

    python bench/bench_regression.py [seeds]

Inputs are standardised on the training part.  Once with the targets as they are, once, for
MLPRegressor only, with standardised targets (ours are standardised inside).
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from lysep_fast import LySepRegressor

MODELS = {
    "LySep": lambda seed: LySepRegressor(random_state=seed),
    "LySep, early stop": lambda seed: LySepRegressor(early_stopping=True, random_state=seed),
    "MLP": lambda seed: MLPRegressor(random_state=seed),
    "MLP, scaled y": lambda seed: TransformedTargetRegressor(
        MLPRegressor(random_state=seed), transformer=StandardScaler()
    ),
}


def data_sets(seed):
    """Yield names, inputs and targets."""
    rng = np.random.default_rng(seed)
    yield "diabetes", *load_diabetes(return_X_y=True)
    for n in (300, 1500, 6000):
        yield f"friedman1 {n}", *make_friedman1(n, noise=1.0, random_state=seed)
    yield "friedman2 1000", *make_friedman2(1000, noise=20.0, random_state=seed)
    yield "linear 500 x 20", *make_regression(500, 20, noise=20.0, random_state=seed)
    X = rng.uniform(-2, 2, (1000, 1))
    yield "sine 1000 x 1", X, np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=len(X))
    X = rng.uniform(-1, 1, (3000, 2))
    waves = np.sin(6 * X[:, 0]) * np.cos(4 * X[:, 1])
    yield "waves 3000 x 2", X, waves + 0.1 * rng.normal(size=len(X))
    X = rng.uniform(-1, 1, (120, 3))
    bumps = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]
    yield "bumps 120 x 3", X, bumps + 0.1 * rng.normal(size=len(X))


def measure(model, X, y, seed):
    """Return R^2 on held-out data and the seconds of the fit."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(X)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(X), y)
    return model.score(scaler.transform(X_test), y_test), time.perf_counter() - began


def main(seeds):
    """Print the table: means over the seeds, seconds in brackets."""
    LySepRegressor(tol=0.9, n_iter_no_change=1).fit(np.eye(50), np.arange(50.0))  # compiles
    found = {}
    for seed in range(seeds):
        for name, X, y in data_sets(seed):
            for key, make in MODELS.items():
                found.setdefault(name, {}).setdefault(key, []).append(
                    measure(make(seed), X, y, seed)
                )
    print(f"{'':16}" + "".join(f"{key:>20}" for key in MODELS))
    for name, row in found.items():
        means = [np.mean(row[key], axis=0) for key in MODELS]
        print(f"{name:16}" + "".join(f"{score:12.3f} ({s:4.2f})" for score, s in means))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
