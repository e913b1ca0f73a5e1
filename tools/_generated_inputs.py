"""Generated inputs that are hard on numerics, and what must hold of whatever comes out.

Every public entry point has a strategy of calls here; a call gives a finite result, or a
ValueError or TypeError that names the argument, and leaves its inputs as they were.
"""

from __future__ import annotations

import functools
import inspect
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from lysep_fast import ModelFileError, datasets, load, pde, train
from lysep_fast.kernels import ACTIVATION_CODES
from lysep_fast.kernels._jit import JIT_ENABLED

from . import _mutate
from ._calls import Call
from ._generated_arrays import label_matrices, labels, matrices, sample_weights, targets

# --- calls ---------------------------------------------------------------------------------------

SOLVERS = ("auto", "alternating", "quasi-newton", "mini-batch", "measured-sweeps")
OPTIONS = {
    "alternating": (
        {}, {"variant": "co-moving"}, {"bias": "joint", "auxiliary_steps": 2},
        {"line_search": "matrix"}, {"step": 1.0, "proximal": 1e-12},
    ),
}  # fmt: skip


#: Targets by loss.
DRAWN = {
    "cross-entropy": labels,
    "binary-cross-entropy": label_matrices,
    "squared-error": targets,
}


@st.composite
def network_options(draw):
    """Draw the arguments of `train` that all entry points share."""
    depth = draw(st.sampled_from([0, 1, 1, 2, 3, 20]))
    options = {
        "hidden_layer_sizes": (draw(st.integers(1, 5)),) * depth,
        "activation": draw(st.sampled_from(sorted(ACTIVATION_CODES))),
        "solver": draw(st.sampled_from(SOLVERS)),
        "max_iter": draw(st.integers(0, 4)) if JIT_ENABLED else 1,
        "tol": draw(st.sampled_from([0.0, 1e-4])),
        "alpha": draw(st.sampled_from([0.0, 0.0, 1e-3, 1e10, 1e300])),
        "random_state": 0,
        "n_threads": draw(st.integers(1, 2)),
        "init": draw(st.sampled_from([None, None, "uniform", "orthogonal", "normalised"])),
        "early_stopping": draw(st.integers(0, 7)) == 0,
    }
    if options["solver"] == "measured-sweeps":
        options["alpha"] = 0.0
    choices = OPTIONS.get(options["solver"], ({},))
    options["solver_options"] = dict(draw(st.sampled_from(choices)))
    return options


def _fit(X, y, c, options):
    result = train(X, y, sample_weight=c, **options)
    values = {
        "W": np.concatenate([w.ravel() for w in result.W[1:]]),
        "b": np.concatenate(result.b),
    }
    values["loss"] = result.history[result.best_iter].loss
    values["predict"] = result.predict(X)
    if result.loss != "squared-error":
        values["predict_proba"] = result.predict_proba(X)
    return result.status.name, values


@st.composite
def dense(draw, loss="cross-entropy"):
    """Draw a call of `train` on rows of numbers."""
    X = draw(matrices())
    y = draw(DRAWN[loss](X))
    c, options = draw(sample_weights(len(X))), draw(network_options()) | {"loss": loss}
    if loss == "cross-entropy" and draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 0.9]))
    arrays = [X, y] if c is None else [X, y, c]
    return Call(lambda: _fit(X, y, c, options), arrays, f"train({X!r}, {y!r}, c={c!r}, {options})")


@st.composite
def convolutional(draw):
    """Draw a call of `train` on images."""
    channels, height, width = (draw(st.integers(1, k)) for k in (2, 6, 6))
    X = draw(
        matrices(
            n=draw(st.sampled_from([1, 4, 10, 20] if JIT_ENABLED else [1, 3])),
            d=channels * height * width,
        )
    )
    y, c = draw(labels(X)), draw(sample_weights(len(X)))
    options = draw(network_options())
    options |= {
        "conv_channels": (draw(st.integers(1, 3)),) * draw(st.integers(1, 3)),
        "image_shape": (channels, height, width),
        "kernel_size": draw(st.integers(1, 3)),
        "pool_size": draw(st.integers(1, 3)),
        "hidden_layer_sizes": options["hidden_layer_sizes"][:2],
    }
    arrays = [X, y] if c is None else [X, y, c]
    return Call(lambda: _fit(X, y, c, options), arrays, f"train({X!r}, {y!r}, c={c!r}, {options})")


def _fit_estimator(model, X, y, c):
    model.fit(X, y, c)
    values = {"coefs_": np.concatenate([w.ravel() for w in model.coefs_])}
    found = model.predict(X)
    if hasattr(model, "classes_"):
        assert set(found) <= set(model.classes_)
        values["predict_proba"] = model.predict_proba(X)
        values["decision_function"] = model.decision_function(X)
    else:
        values["predict"] = found
    return model.result_.status.name, values


@st.composite
def estimator(draw, name):
    """Draw a fit of an estimator and its predictions."""
    import lysep_fast

    convolutions = name == "LySepConvClassifier"
    X = draw(matrices())
    y = draw(targets(X) if name == "LySepRegressor" else labels(X))
    c, options = draw(sample_weights(len(X))), draw(network_options())
    if convolutions:
        options["conv_channels"] = draw(st.integers(1, 3))
        options["hidden_layer_sizes"] = options["hidden_layer_sizes"][:2]
    model = getattr(lysep_fast, name)(**options)
    arrays = [X, y] if c is None else [X, y, c]
    words = f"{name}(**{options}).fit({X!r}, {y!r}, {c!r})"
    return Call(lambda: _fit_estimator(model, X, y, c), arrays, words)


EXTREMES = (0.0, 1.0, -1.0, 1e-300, 1e-10, 1e10, 1e100, 1e160, 1e300)


@st.composite
def equation(draw):
    """Draw a differential equation and solve it."""
    d = draw(st.integers(1, 3))
    size = draw(st.sampled_from([1.0, 1.0, 1e-300, 1e-10, 1e10, 1e160, 1e300]))
    second, reaction, source, edge = (draw(st.sampled_from(EXTREMES)) for _ in range(4))
    options = {
        "hidden_layer_sizes": (draw(st.integers(1, 5)),) * draw(st.sampled_from([1, 1, 2, 3, 8])),
        "activation": draw(st.sampled_from(["tanh", "sin", "softplus", "gelu", "sigmoid"])),
        "solver": draw(st.sampled_from(sorted(pde.PDE_SOLVERS))),
        "n_interior": draw(st.integers(1, 30)),
        "n_boundary": draw(st.integers(1, 10)),
        "boundary_weight": draw(st.sampled_from([100.0, 1e-300, 1e300])),
        "scale": draw(st.sampled_from([None, None, 1e-10, 1e10])),
        "max_iter": draw(st.integers(0, 4)) if JIT_ENABLED else 1,
        "random_state": 0,
        "n_threads": draw(st.integers(1, 2)),
    }

    def solve():
        domain = pde.Box(-size, size, d)
        operator = pde.Operator(second, reaction=reaction)
        problem = pde.Problem(domain, operator, source, boundary=edge)
        solution = pde.solve(problem, **options)
        at = domain.interior(5, np.random.default_rng(0))
        values = {"theta": solution.hidden.theta, "w": solution.w, "values": solution(at)}
        values["loss"] = solution.history[solution.best_iter].loss
        return solution.status.name, values

    words = f"Box({size}, {d}), Operator({second}, {reaction}), {source}, {edge}, {options}"
    return Call(solve, [], words)


ODD = (
    1,
    2,
    7,
    50,
    10**3,
    0,
    -1,
    1.5,
    0.3,
    -0.1,
    1e300,
    float("nan"),
    float("inf"),
    True,
    None,
    "3",
)


@st.composite
def data_set(draw):
    """Draw a call of a function that makes data."""
    makers = (datasets.make_circle, datasets.make_checkerboard, datasets.make_two_spirals)
    function = draw(st.sampled_from(makers))
    names = inspect.signature(function).parameters
    options = {name: draw(st.sampled_from(ODD)) for name in names if draw(st.integers(0, 2)) == 0}

    def make():
        X, y = function(**options)
        assert len(X) == len(y)
        return "made", {"X": X, "y": y}

    return Call(make, [], f"{function.__name__}(**{options})")


@functools.cache
def _model_file() -> bytes:
    """Return the bytes of a small model file."""
    X = np.linspace(-1, 1, 12).reshape(6, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        train(X, np.arange(6) % 2, hidden_layer_sizes=2, max_iter=1, random_state=0).save(path)
        return path.read_bytes()


PATHS = (
    None,
    1.5,
    3,
    -1,
    True,
    [],
    {},
    ("a",),
    np.zeros(2),
    "",
    "a\0b",
    b"none",
    "no such file",
    "/",
)


@st.composite
def model_file(draw):
    """Draw a call of `load`: of things that are no path, and of damaged files."""
    as_result = draw(st.sampled_from([False, True]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["intact", "mutated", "mutated", "mutated", "noise", "odd"]))
    odd = draw(st.sampled_from(PATHS)) if kind == "odd" else None
    how, data = kind, _model_file()
    if kind == "mutated":
        how, _, data = _mutate.mutate(data, rng)
    elif kind == "noise":
        data = rng.bytes(int(rng.integers(300)))

    def read():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.npz")
            path.write_bytes(data)
            try:
                load(odd if kind == "odd" else path, as_result=as_result)
            except ModelFileError as error:
                if "model.npz" not in str(error):
                    raise AssertionError(f"names no file: {error}") from error
                return "refused", {}
            except OSError:
                assert kind == "odd", "a file that is there is not found"
                return "no such file", {}
            return "read", {}

    return Call(read, [], f"load({odd!r}, {how}, as_result={as_result})")


ENTRIES = {
    "load": model_file(),
    "datasets": data_set(),
    "train": dense(),
    "train regression": dense("squared-error"),
    "train labels": dense("binary-cross-entropy"),
    "train convolutions": convolutional(),
    "LySepClassifier": st.deferred(lambda: estimator("LySepClassifier")),
    "LySepRegressor": st.deferred(lambda: estimator("LySepRegressor")),
    "LySepConvClassifier": st.deferred(lambda: estimator("LySepConvClassifier")),
    "pde.solve": equation(),
}
