"""Losses at the end of the chain: value and gradient in the surrogate output."""

from .cross_entropy import CrossEntropy

__all__ = ["CrossEntropy"]
