"""The lists of settings that the mini-batch rivals choose from, and what of them was searched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FrozenSetting", "Setting", "at_edge", "nearest", "rivals"]

ADAM_RATES: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
ADAMW_RATES: tuple[float, ...] = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
ADAMW_DECAYS: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Setting:
    """What a torch rival is run with.

    Attributes
    ----------
    rate : float
        Constant learning rate.
    weight_decay : float
        Decoupled decay of the weights, not of the biases; 0 makes AdamW the same as Adam.
    averaging : float
        Weight of the past in the average of the iterates, ``min(averaging, 1 - 1/(k+1))``, which
        is then what is evaluated; 0 evaluates the last iterate.
    label_smoothing : float
        In the training loss; the held-out loss is always the plain cross-entropy.
    """

    rate: float = 1e-3
    weight_decay: float = 0.0
    averaging: float = 0.0
    label_smoothing: float = 0.0

    def __str__(self) -> str:
        """Only what sets it apart from the others of its kind."""
        decay = f", decay {self.weight_decay:g}" if self.weight_decay else ""
        return f"rate {self.rate:g}{decay}"


@dataclass(frozen=True)
class FrozenSetting:
    """How the hidden layers of the frozen features are drawn, and what trains the last one."""

    init: str = "normalised"
    solver: str = "mini-batch"

    def __str__(self) -> str:
        """In words."""
        return f"{self.init}, {self.solver}"


def rivals(quick: bool = False) -> dict[str, tuple[Any, ...]]:
    """Return the fixed lists of settings that the validation loss chooses from."""
    rates, decays = ADAMW_RATES, ADAMW_DECAYS
    adam = tuple(Setting(rate) for rate in ADAM_RATES)
    if quick:
        adam, rates, decays = adam[2:3], rates[1:3], decays[2:4]
    adamw = tuple(
        Setting(rate, decay, averaging=0.99, label_smoothing=0.1)
        for rate in rates
        for decay in decays
    )
    frozen = tuple(
        FrozenSetting(init, solver)
        for init in ("normalised-small", "normalised")
        for solver in ("mini-batch", "quasi-newton")
    )
    return {"torch Adam": adam, "torch AdamW": adamw, "frozen features": frozen}


def _axes(setting: Setting) -> tuple[float, float]:
    return setting.rate, setting.weight_decay


def nearest(settings: Sequence[Setting], centre: Setting, count: int) -> tuple[Setting, ...]:
    """Return the `count` settings nearest to one of them, in steps of the lists."""
    grids = [sorted(set(values)) for values in zip(*map(_axes, settings), strict=True)]

    def place(setting: Setting) -> np.ndarray:
        pairs = zip(grids, _axes(setting), strict=True)
        return np.array([grid.index(value) for grid, value in pairs], float)

    ordered = sorted(settings, key=lambda s: float(np.sum((place(s) - place(centre)) ** 2)))
    chosen = ordered[:count]
    return tuple(setting for setting in settings if setting in chosen)


def at_edge(tried: Iterable[Setting], winner: Setting) -> list[str]:
    """Return in words where something beyond the winner was not tried: its list's edges."""
    tried, edges = list(tried), []
    for name, axis in (("rate", 0), ("decay", 1)):
        if len({_axes(s)[axis] for s in tried}) < 2:
            continue
        own, other = _axes(winner)[axis], _axes(winner)[1 - axis]
        along = [_axes(s)[axis] for s in tried if _axes(s)[1 - axis] == other]
        edges += [f"no smaller {name}"] * (own <= min(along))
        edges += [f"no larger {name}"] * (own >= max(along))
    return edges
