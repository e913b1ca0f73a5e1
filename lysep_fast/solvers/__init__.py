"""Solvers: short compositions of the shared parts, one idea each."""

from .alternating import Alternating
from .base import SOLVERS, Solver, choose_init, choose_solver, make_solver
from .measured import MeasuredSweeps
from .mini_batch import MiniBatch
from .online import OnlineMiniBatch
from .quasi_newton import QuasiNewton

__all__ = [
    "SOLVERS",
    "Alternating",
    "MeasuredSweeps",
    "MiniBatch",
    "OnlineMiniBatch",
    "QuasiNewton",
    "Solver",
    "choose_init",
    "choose_solver",
    "make_solver",
]
