"""Small models for every kind of model file; run as a program, it writes the files in data/."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np

import lysep_fast
from lysep_fast import pde

FOLDER = Path(__file__).parent / "data"
TINY = {"max_iter": 3, "n_threads": 1, "random_state": 0}
SMALL = {"hidden_layer_sizes": (4,)} | TINY
NAMES = np.array(["north", "east", "süd"])


def grid(n, d, dtype=np.float64):
    """Return n inputs in (-1, 1) that no generator of random numbers has to reproduce."""
    return np.sin(1.7 * np.arange(1, n * d + 1)).reshape(n, d).astype(dtype)


def sides(X):
    """Return class indices 0, 1, 2, all of which occur."""
    return np.digitize(X[:, 0], [-0.4, 0.4])


def make_result(dtype=np.float64, **options):
    X = grid(30, 3, dtype)
    return lysep_fast.train(X, sides(X), **(SMALL | options))


def make_regression(columns=slice(None), **options):
    X = grid(30, 3)
    Y = np.stack([X[:, 0] * X[:, 1], 5.0 + X[:, 2]], axis=1)
    return lysep_fast.train(X, Y[:, columns], loss="squared-error", **(SMALL | options))


def make_classifier(labels=NAMES, **options):
    X = grid(30, 3)
    model = lysep_fast.LySepClassifier(**(SMALL | options))
    return fitted(model, X, np.asarray(labels)[sides(X)])


def make_conv_classifier(**options):
    images = grid(24, 30).reshape(24, 5, 6)
    small = {"conv_channels": (2,), "hidden_layer_sizes": (3,)}
    model = lysep_fast.LySepConvClassifier(**(TINY | small | options))
    return fitted(model, images, sides(images[:, 0]))


def make_regressor(**options):
    X = grid(30, 3)
    model = lysep_fast.LySepRegressor(**(SMALL | options))
    return fitted(model, X, np.stack([X[:, 0] * X[:, 1], 5.0 + X[:, 2]], axis=1))


def make_table_classifier(**options):
    """Return a classifier that learned a table with a column of every kind."""
    from lysep_fast.tables.encoding import Encoding

    columns = [
        {"kind": "number", "form": "comma", "median": 0.1, "varies": True, "gaps": True},
        {"kind": "category", "levels": ["a", "süd"], "other": True, "gaps": False},
        {"kind": "date", "form": "ISO8601", "first": 0.0, "median": 86400.0,
         "parts": ["seconds", "weekday"], "gaps": False},
        {"kind": "left out", "why": "it holds 1 in every row"},
    ]  # fmt: skip
    named = [column | {"name": f"column {i}"} for i, column in enumerate(columns)]
    state = {"columns": named, "named": True, "max_categories": 30, "min_frequency": 2}
    encoder = lysep_fast.TableEncoder.of(Encoding.restored(state))
    X = grid(30, encoder.encoding_.n_outputs)
    model = fitted(lysep_fast.LySepClassifier(**(SMALL | options)), X, NAMES[sides(X)])
    model.encoder_ = encoder
    return model


def make_problem(lift=None):
    source = pde.Function(lambda X: np.prod(np.sin(np.pi * X), axis=1))
    boundary = None if lift else 0.0
    return pde.Problem(pde.Box(0.0, 1.0, 2), pde.Operator(-1.0), source, boundary, lift=lift)


def make_solution(lift=None, **options):
    settings = {"hidden_layer_sizes": (4, 3), "n_interior": 30, "n_boundary": 12}
    return pde.solve(make_problem(lift), **(TINY | settings | options))


def fitted(model, *data):
    """Return the fitted model; three sweeps are too few, and that is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LySep.* stopped after 3 sweeps")
        return model.fit(*data)


#: One model of every kind; "result" and "solution" need no scikit-learn.
MAKERS = {
    "result": make_result,
    "solution": make_solution,
    "classifier": make_classifier,
    "conv_classifier": make_conv_classifier,
    "regressor": make_regressor,
    "table_classifier": make_table_classifier,
}
#: Version of the format that brought a kind, where that is not the first.
SINCE = {"table_classifier": 2}


def outputs(model):
    """Return by name what a model says of inputs that it was not trained on."""
    if isinstance(model, pde.Solution):
        X = 0.5 + 0.4 * grid(7, 2)
        return {"u": model.u(X), "grad": model.grad(X)}
    result = getattr(model, "result_", model)
    first = result.network.layer(1)
    X = grid(7, first.n_inputs, result.W[1].dtype)
    found = {"predict": model.predict(X)}
    if result.loss == "cross-entropy":
        found["decision_function"] = model.decision_function(X)
        found["predict_proba"] = model.predict_proba(X)
    if hasattr(model, "encoder_"):
        found["names"] = model.encoder_.get_feature_names_out().astype(str)
    return found


def use(model):
    """Predict with a forged model, unless it asks for more memory than a test should take."""
    solution = isinstance(model, pde.Solution)
    widths = model.hidden.widths if solution else getattr(model, "result_", model).network.widths
    if max(widths) < 10_000:
        with np.errstate(all="ignore"):  # forged weights may be huge
            outputs(model)


def saved(model, folder):
    """Return the bytes of a model's file: those of equal models are equal."""
    path = folder / "saved.npz"
    model.save(path)
    return path.read_bytes()


def keep(folder, version):
    """Write a file of every kind, and what its model says, to be read for ever."""
    folder.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        path = folder / f"{name}_v{version}.npz"
        if path.exists():
            print(f"{path} is there and stays", file=sys.stderr)
            continue
        model = make()
        model.save(path)
        said = {key: value.tolist() for key, value in outputs(model).items()}
        path.with_suffix(".json").write_text(json.dumps(said) + "\n")


if __name__ == "__main__":
    keep(FOLDER, lysep_fast.container.archive.FORMAT_VERSION)
