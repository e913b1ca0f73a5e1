"""What bench_budgets.py compares: the methods, and the settings that each chooses from.

The settings of a method are the first points of one scrambled Sobol sequence through its space:
spread more evenly than independent draws, and a longer list begins with the shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from scipy.stats import qmc

__all__ = ["ABOUT", "DEFAULT", "METHODS", "OURS", "RIVALS", "SPACES", "Log", "draw", "label"]

OURS, DEFAULT = "lysep_fast", "lysep_fast, default"
#: In this order in reports; the default has nothing to choose.
ABOUT = {
    OURS: "mini-batch solver, settings chosen as those of the rivals; no training loss per epoch",
    DEFAULT: "mini-batch solver as it is, with its training loss per epoch",
    "AdamW": "fused, rate falling linearly to 0",
    "Muon": "orthogonalised momentum in float32, AdamW for biases and the output layer, rate "
    "falling linearly to 0",
    "SOAP": "Adam in the eigenbasis of Shampoo, 5 % of the steps to warm up, then linearly to 0",
    "schedule-free AdamW": "constant rate after 5 % of the steps to warm up, averaged weights",
}
METHODS = tuple(ABOUT)
RIVALS = METHODS[2:]

Setting = dict[str, Any]


class Log(NamedTuple):
    """A range of numbers, their logarithms equally likely."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """Return a number by its share of the way, in [0, 1), to three digits."""
        return float(f"{self.low * (self.high / self.low) ** share:.3g}")


#: What every method chooses from. Smoothing, batches and activations are the same for all.
_SHARED: dict[str, Log | tuple[Any, ...]] = {
    "activation": ("relu", "gelu", "tanh"),
    "batch_size": (64, 128, 256, 512),
    "label_smoothing": (0.0, 0.1),
}
_RIVAL = _SHARED | {
    "weight_decay": Log(1e-3, 1.0),
    "inputs": ("raw", "centred", "standardised"),
    # torch's own initial weights fade through many layers; larger ones generalise worse in few.
    "start": ("torch", "scaled"),
}
#: Whether the layer on the inputs, the most expensive one, gets all of the method.
_FIRST = {"first": (True, False)}
SPACES: dict[str, dict[str, Log | tuple[Any, ...]]] = {
    OURS: {
        "polar_rate": Log(0.01, 0.1),
        **_SHARED,
        "polar_decay": Log(0.1, 1.0),
        "inputs": ("own", "centred"),
    },
    DEFAULT: {},
    "AdamW": {"rate": Log(3e-4, 1e-2), **_RIVAL},
    "Muon": {"rate": Log(5e-4, 2e-2), **_RIVAL, **_FIRST},
    "SOAP": {"rate": Log(5e-4, 2e-2), **_RIVAL, **_FIRST},
    "schedule-free AdamW": {"rate": Log(1e-3, 3e-2), **_RIVAL},
}


def draw(method: str, trials: int) -> list[Setting]:
    """Return the settings that a method chooses from; one that is empty if it has no choice."""
    space = SPACES[method]
    if not space:
        return [{}]
    # All points up to a power of two: the sequence is balanced there, and SciPy warns elsewhere.
    sequence = qmc.Sobol(len(space), seed=METHODS.index(method))
    points = sequence.random_base2(math.ceil(math.log2(trials)))[:trials]
    return [
        {name: _pick(values, float(u)) for (name, values), u in zip(space.items(), p, strict=True)}
        for p in points
    ]


def _pick(values: Log | tuple[Any, ...], share: float) -> Any:
    if isinstance(values, Log):
        return values.at(share)
    return values[min(int(share * len(values)), len(values) - 1)]


def label(setting: Mapping[str, Any]) -> str:
    """Return a setting in words, which also tell it from the others in the records."""
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "default"
