"""Solvers: short compositions of the shared parts, one idea each."""

from .alternating import Alternating
from .base import SOLVERS, Solver, choose_solver, make_solver
from .mini_batch import MiniBatch
from .quasi_newton import QuasiNewton

__all__ = [
    "SOLVERS",
    "Alternating",
    "MiniBatch",
    "QuasiNewton",
    "Solver",
    "choose_solver",
    "make_solver",
]
