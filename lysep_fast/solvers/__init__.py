"""Solvers: short compositions of the shared parts, one idea each."""

from .alternating import Alternating
from .base import SOLVERS, Solver, make_solver

__all__ = ["SOLVERS", "Alternating", "Solver", "make_solver"]
