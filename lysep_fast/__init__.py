"""Layer separation training of deep networks on CPUs: the public names, nothing else."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__
from .container.errors import ModelFileError
from .load import load
from .network import Network
from .result import HistoryRow, Result, Status
from .train import train

if TYPE_CHECKING:
    from . import pde
    from .estimators import LySepClassifier, LySepConvClassifier, LySepRegressor, TableEncoder


__all__ = [
    "HistoryRow",
    "LySepClassifier",
    "LySepConvClassifier",
    "LySepRegressor",
    "ModelFileError",
    "Network",
    "Result",
    "Status",
    "TableEncoder",
    "load",
    "pde",
    "train",
]

_ESTIMATORS = ("LySepClassifier", "LySepConvClassifier", "LySepRegressor", "TableEncoder")


def __getattr__(name: str) -> Any:
    # The estimators need scikit-learn, an extra: they are imported on first use only.
    if name in _ESTIMATORS:
        from . import estimators

        return getattr(estimators, name)
    if name == "pde":  # on first use as well: most users need one half of the package only
        return importlib.import_module(".pde", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
