"""Blocks: each updates one group of variables and never increases the separated loss F."""

from .auxiliaries import Auxiliaries
from .base import Block, Step
from .co_moving_weights import CoMovingWeights
from .joint_auxiliaries import JointAuxiliaries
from .newton_output import NewtonOutput
from .output import OutputWeights
from .output_least_squares import OutputLeastSquares
from .weights import LayerWeights

__all__ = [
    "Auxiliaries",
    "Block",
    "CoMovingWeights",
    "JointAuxiliaries",
    "LayerWeights",
    "NewtonOutput",
    "OutputLeastSquares",
    "OutputWeights",
    "Step",
]
