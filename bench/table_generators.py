"""Tables of table_sets.py that scikit-learn ships, or that a few lines generate by fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import datasets

__all__ = [
    "Make",
    "friedman",
    "hastie",
    "hypercube",
    "linnerud",
    "moons",
    "rare_class",
    "ring",
    "shipped",
    "sign_parity",
    "sine_product",
    "sparse_linear",
    "steps",
]

Arrays = tuple[np.ndarray, np.ndarray]
Make = Callable[[], Arrays]


def moons() -> Arrays:
    return datasets.make_moons(1000, noise=0.3, random_state=0)


def hastie() -> Arrays:
    return datasets.make_hastie_10_2(2000, random_state=0)


def hypercube() -> Arrays:
    return datasets.make_classification(
        1500, 30, n_informative=8, n_redundant=6, n_classes=6, class_sep=1.5, random_state=0
    )


def sign_parity() -> Arrays:
    X = np.random.default_rng(0).normal(size=(2000, 8))
    return X, (np.prod(X[:, :3], axis=1) > 0).astype(int)


def ring() -> Arrays:
    """Return a wide normal distribution around a narrow one, as Breiman's ringnorm."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, size=2000)
    X = random.normal(size=(2000, 20))
    return np.where(y[:, None] == 0, 2 * X, X + 2 / np.sqrt(20)), y


def rare_class() -> Arrays:
    random = np.random.default_rng(0)
    X = random.normal(size=(4000, 10)) * 10.0 ** np.arange(-4, 6)
    return X, (random.random(4000) < 1 / (1 + np.exp(5 - 1e4 * X[:, 0] - X[:, 4]))).astype(int)


def sine_product() -> Arrays:
    random = np.random.default_rng(0)
    X = random.normal(size=(2000, 6))
    return X, np.sin(2 * X[:, 0]) * X[:, 1] + 0.1 * random.normal(size=2000)


def steps() -> Arrays:
    random = np.random.default_rng(0)
    X = random.uniform(size=(1500, 5))
    return X, np.floor(4 * X[:, 0]) * (X[:, 1] > 0.5) + 0.1 * random.normal(size=1500)


def sparse_linear() -> Arrays:
    return datasets.make_regression(400, 100, n_informative=10, noise=50.0, random_state=0)


def friedman(number: int) -> Make:
    """Return a generator with noise of about a fifth of the signal's spread."""
    noise = {1: 1.0, 2: 75.0, 3: 0.06}[number]
    make = getattr(datasets, f"make_friedman{number}")
    return lambda: make(n_samples=1000, noise=noise, random_state=0)


def linnerud() -> Arrays:
    X, Y = datasets.load_linnerud(return_X_y=True)
    return X, Y[:, 1]


def shipped(name: str) -> Make:
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)
