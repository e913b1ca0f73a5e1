"""Linear maps between layers: apply, adjoint, squared norm, normal equations."""

from .conv import Convolution
from .dense import Dense

__all__ = ["Convolution", "Dense"]
