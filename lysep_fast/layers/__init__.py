"""Linear maps between layers: apply, adjoint, squared norm, normal equations."""

from .conv import Convolution
from .conv_solve import sparse_kernel_solve
from .dense import Dense

__all__ = ["Convolution", "Dense", "sparse_kernel_solve"]
