"""Linear maps between layers: apply, adjoint, squared norm, normal equations."""

from .dense import Dense

__all__ = ["Dense"]
