"""A call of an entry point, and the check that it is refused by name or gives finite numbers."""

from __future__ import annotations

import contextlib
import re
import signal
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Call", "check"]

#: Longest time of one call in seconds, far above what any takes.
PATIENCE = 120

NAMES = (
    "X|y|loss|hidden_layer_sizes|activation|conv_channels|kernel_size|pool_size|padding|"
    "image_shape|solver|solver_options|weights|output_bias|init|alpha|sample_weight|"
    "label_smoothing|batch_size|refresh_every|early_stopping|validation_fraction|n_classes|"
    "max_iter|tol|n_iter_no_change|random_state|n_threads|callback|verbose|rate|mu|samples|"
    "operator|source|boundary|domain|initial|lift|n_interior|n_boundary|boundary_weight|scale|"
    "path|as_result|n_samples|label_noise|cells|turns|problem|low|high|centre|radius|interior|dimension|noise"
)


@dataclass
class Call:
    """A call of an entry point with the arrays that it must not change."""

    function: Any
    arrays: list[np.ndarray] = field(default_factory=list)
    words: str = ""

    def __repr__(self) -> str:
        return self.words


@contextlib.contextmanager
def time_limit():
    """Raise TimeoutError when something takes for ever."""

    def stop(*_):
        raise TimeoutError(f"longer than {PATIENCE} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def check(call):
    """Make the call and check what came of it; return "refused" or the name of a status."""
    before = [array.tobytes() for array in call.arrays]
    with warnings.catch_warnings(), time_limit():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".* stopped after")  # ConvergenceWarning
        # scikit-learn's own, of labels that look like numbers
        warnings.filterwarnings("ignore", module="sklearn")
        # its sum over huge inputs, to see whether they are finite
        warnings.filterwarnings("ignore", "invalid value encountered in reduce", RuntimeWarning)
        try:
            kind, values = call.function()
        except (ValueError, TypeError) as error:
            if not re.search(rf"\b({NAMES})\b", str(error)):
                raise AssertionError(f"names no argument: {error}") from error
            kind, values = "refused", {}
    for name, value in values.items():
        assert np.all(np.isfinite(value)), f"{name} is not finite: {value}"
    assert [array.tobytes() for array in call.arrays] == before
    return kind
