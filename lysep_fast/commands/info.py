"""`lysep-fast info`: what is in a model file, after all of it has been checked."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..container.archive import Archive
from ..features import PooledActivation
from ..files.estimators import CLASSES
from ..files.solutions import SOLUTION
from ..layers import Convolution
from ..network import Network
from ..pde.solution import Solution
from .messages import OK
from .models import read_model

__all__ = ["add_parser", "run"]

_SHOWN = 12  # class labels and column names on the screen; --json has them all


_SCORES = (
    "loss",
    "separated_loss",
    "accuracy",
    "r2",
    "validation_loss",
    "validation_accuracy",
    "validation_r2",
)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        help="show what is in a model file",
        description="Check a model file completely and show what is in it.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    found = describe(options.model)
    if options.json:
        print(json.dumps(found, allow_nan=False, indent=2))
        return OK
    width = max(map(len, found)) + 1
    for name, value in found.items():
        if value is not None:
            print(f"{name + ':':<{width}}  {_text(value)}")
    return OK


def describe(path: Path) -> dict[str, Any]:
    """Return what a model file holds, as JSON can hold it.

    Raises
    ------
    ModelFileError
        If an array or the header does not have its SHA-256, or anything else is wrong.
    """
    with Archive.open(path) as archive:
        kind, version = archive.kind, archive.version
    found: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "format": f"version {version}, kind {kind!r}, all SHA-256 verified",
        "read as": f"lysep_fast.{CLASSES.get(kind, 'Result')}",
    }
    if kind == SOLUTION:
        return found | _solution(path)
    model = read_model(path)
    result, network = model.result, model.result.network
    row = result.history[result.best_iter] if result.history else None
    return found | {
        "trained for": result.loss,
        "network": layer_texts(network),
        "parameters": network_size(network),
        "dtype": str(result.W[1].dtype),
        "inputs": network.widths[0],
        "columns": model.names if model.encoding is None else model.encoding.names,
        "encoding": None if model.encoding is None else model.encoding.described(),
        "outputs": network.widths[-1],
        "classes": model.labels.tolist() if model.is_classifier else None,
        "status": result.status.name,
        "message": result.message,
        "sweeps": result.n_iter,
        "best sweep": result.best_iter,
        "seconds": _number(result.history[-1].seconds) if result.history else None,
        **{
            name.replace("_", " "): _number(getattr(row, name)) if row is not None else None
            for name in _SCORES
        },
        "bound constant": _number(result.bound_constant),
    }


def layer_texts(network: Network) -> list[str]:
    """Return one line for every layer, from the input on."""
    texts = []
    for l, layer in enumerate(network.layers, start=1):
        if isinstance(layer, Convolution):
            shapes = [" x ".join(map(str, s)) for s in (layer.image_shape, layer.output_shape)]
            kernel = " x ".join(map(str, layer.kernel_size))
            text = f"convolution {kernel}: {shapes[0]} -> {shapes[1]}"
        else:
            text = f"dense: {layer.n_inputs} -> {layer.n_outputs}"
        if l < network.depth:
            feature = network.features[l]
            text += f", {feature.name}"
            if isinstance(feature, PooledActivation):
                text += f", mean over {' x '.join(map(str, feature.pool_size))}"
        texts.append(text)
    return texts


def network_size(network: Network) -> int:
    """Return the number of weights and biases that are trained."""
    weights = sum(math.prod(layer.weight_shape) for layer in network.layers)
    biases = sum(layer.weight_shape[0] for layer in network.layers)
    return weights + biases - (0 if network.output_bias else network.layers[-1].weight_shape[0])


def _solution(path: Path) -> dict[str, Any]:
    """Return what there is to say about the solution of a differential equation."""
    with Archive.open(path) as archive:
        solution, _ = Solution.read(archive)
    row = solution.history[solution.best_iter] if solution.history else None
    return {
        "read as": "lysep_fast.pde.Solution",
        "widths": [int(width) for width in solution.hidden.widths],
        "activation": solution.activation,
        "parameters": int(solution.hidden.theta.size + solution.w.size),
        "status": solution.status.name,
        "message": solution.status.message,
        "best iteration": solution.best_iter,
        "loss": None if row is None else _number(row.loss),
    }


def _number(value: float) -> float | None:
    """Return a number that JSON has."""
    return float(value) if np.isfinite(value) else None


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "".join(f"\n  {name}: {words}" for name, words in value.items())
    if not isinstance(value, list):
        return str(value)
    shown = ", ".join(map(str, value[:_SHOWN]))
    return shown if len(value) <= _SHOWN else f"{shown} and {len(value) - _SHOWN} more"
