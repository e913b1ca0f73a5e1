"""Blocks: each updates one group of variables and never increases the separated loss F."""

from .auxiliaries import Auxiliaries
from .base import Block
from .co_moving_weights import CoMovingWeights
from .newton_output import NewtonOutput
from .output import OutputWeights
from .output_least_squares import OutputLeastSquares
from .weights import LayerWeights

__all__ = [
    "Auxiliaries",
    "Block",
    "CoMovingWeights",
    "LayerWeights",
    "NewtonOutput",
    "OutputLeastSquares",
    "OutputWeights",
]
