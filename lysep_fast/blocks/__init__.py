"""Blocks: each updates one group of variables and never increases the separated loss F."""

from .auxiliaries import Auxiliaries
from .base import Block, Step
from .output import OutputWeights
from .weights import LayerWeights

__all__ = ["Auxiliaries", "Block", "LayerWeights", "OutputWeights", "Step"]
