"""Solvers: short compositions of the shared parts, one idea each."""

from .alternating import Alternating
from .measured import MeasuredSweeps
from .mini_batch import MiniBatch
from .online import OnlineMiniBatch
from .protocol import Solver
from .quasi_newton import QuasiNewton
from .registry import SOLVERS, choose_activation, choose_init, choose_solver, make_solver

__all__ = [
    "SOLVERS",
    "Alternating",
    "MeasuredSweeps",
    "MiniBatch",
    "OnlineMiniBatch",
    "QuasiNewton",
    "Solver",
    "choose_activation",
    "choose_init",
    "choose_solver",
    "make_solver",
]
