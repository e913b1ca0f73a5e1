"""Differential equations by networks of jets: state a problem, solve it, use the solution.

>>> from lysep_fast.pde import Box, Operator, Problem, solve
>>> problem = Problem(Box(-1, 1, 2), Operator(-1.0), source=1.0, boundary=0.0)
>>> solution = solve(problem, (40, 40), max_iter=50, random_state=0)
>>> solution.u([[0.0, 0.0]]).shape
(1,)
"""

from .domains import Ball, Box, Points, SpaceTime
from .functions import Function
from .operator import Operator
from .problem import Problem
from .solution import PdeRow, PdeStatus, Solution
from .solve import PDE_SOLVERS, solve

__all__ = [
    "PDE_SOLVERS",
    "Ball",
    "Box",
    "Function",
    "Operator",
    "PdeRow",
    "PdeStatus",
    "Points",
    "Problem",
    "Solution",
    "SpaceTime",
    "solve",
]
