"""Held-out scores of data that come in parts: partial_fit with and without a solver that goes on.

python bench/bench_parts.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits, make_friedman1
from sklearn.model_selection import train_test_split

from lysep_fast import LySepClassifier, LySepRegressor
from lysep_fast.solvers import MiniBatch


def score(model, data, size, passes):
    """Return the held-out score after some passes over the data in parts, in a new order each."""
    X, X_test, y, y_test = data
    classes = {"classes": np.unique(y)} if isinstance(model, LySepClassifier) else {}
    for k in range(passes):
        order = np.random.default_rng(k).permutation(len(X))
        for start in range(0, len(X), size):
            part = order[start : start + size]
            model.partial_fit(X[part], y[part], **classes)
    return model.score(X_test, y_test)


def main():
    X, y = load_digits(return_X_y=True)
    digits = train_test_split(X / 16, y, random_state=0)
    X, y = make_friedman1(2000, random_state=0, noise=0.3)
    friedman = train_test_split(X, 1000 * y, random_state=0)
    print(" part  passes  digits: on, afresh; friedman1: on, afresh")
    for size in (len(X), 200, 50):
        for passes in (1, 5, 20):
            found = []
            for kind, data in ((LySepClassifier, digits), (LySepRegressor, friedman)):
                # A solver object is copied for every call, and so starts afresh.
                for solver in ("auto", MiniBatch()):
                    model = kind(random_state=0, n_threads=1, solver=solver)
                    found.append(score(model, data, size, passes))
            cells = "  ".join(f"{value:.3f}" for value in found)
            print(f"{size:5d}  {passes:6d}  {cells}")


if __name__ == "__main__":
    main()
