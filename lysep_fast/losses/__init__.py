"""Losses at the end of the chain: value and gradient in the surrogate output."""

from .base import Loss
from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .pde_residual import PdeResidual
from .squared_error import SquaredError

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Loss", "PdeResidual", "SquaredError"]
