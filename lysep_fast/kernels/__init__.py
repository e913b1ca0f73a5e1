"""Compiled elementwise and row-wise kernels, and checked functions on top of them.

A raw kernel (``..._into``) takes C-contiguous writable arrays of one dtype, writes arrays that
the caller owns and checks nothing.  The functions without the suffix take any array, check it and
return new arrays.  Compilation happens at the first call and is cached on disk.
"""

from lysep_fast.kernels.activation import (
    ACTIVATION_CODES,
    GELU,
    IDENTITY,
    LIPSCHITZ,
    RELU,
    SIGMOID,
    SIN,
    SOFTPLUS,
    TANH,
    activation,
    activation_and_derivative,
    activation_derivative_into,
    activation_into,
)
from lysep_fast.kernels.softmax import (
    correct_count,
    cross_entropy,
    cross_entropy_gradient,
    cross_entropy_gradient_into,
    cross_entropy_into,
    softmax,
    softmax_into,
    squared_cross_entropy_gradient,
    squared_cross_entropy_gradient_into,
)

__all__ = [
    "ACTIVATION_CODES",
    "GELU",
    "IDENTITY",
    "LIPSCHITZ",
    "RELU",
    "SIGMOID",
    "SIN",
    "SOFTPLUS",
    "TANH",
    "activation",
    "activation_and_derivative",
    "activation_derivative_into",
    "activation_into",
    "correct_count",
    "cross_entropy",
    "cross_entropy_gradient",
    "cross_entropy_gradient_into",
    "cross_entropy_into",
    "softmax",
    "softmax_into",
    "squared_cross_entropy_gradient",
    "squared_cross_entropy_gradient_into",
]
