"""Solvers: short compositions of the shared parts, one idea each."""

from .alternating import Alternating
from .base import SOLVERS, Solver, make_solver
from .quasi_newton import QuasiNewton

__all__ = ["SOLVERS", "Alternating", "QuasiNewton", "Solver", "make_solver"]
