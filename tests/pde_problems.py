"""Small equations of every kind, drawn at points, with a separated loss on request."""

from __future__ import annotations

import numpy as np

from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.pde import Box, Operator, Problem, SpaceTime
from lysep_fast.pde.hidden import Hidden
from lysep_fast.pde.jets import JetNetwork
from lysep_fast.pde.separated import Separated
from lysep_fast.pde.state import Discrete, PdeState, Sampling

# Several blocks, the last one shorter; without the JIT every entry costs tens of microseconds.
POINTS, EDGE = (150, 70) if JIT_ENABLED else (10, 5)


def sines(X):
    return np.prod(np.sin(np.pi * X[:, :2]), axis=1)


def bubble(X):
    return np.prod(1 - X**2, axis=1)


CUBE = (lambda u: u**3, lambda u: 3 * u**2)
BOX = Box(-1, 1, 2)
SMOOTH = Operator(
    lambda X: -(2 + X), advection=lambda X: X, reaction=lambda X: X[:, 0] ** 2, nonlinearity=None
)
CUBIC = Operator(-1.0, nonlinearity=CUBE)
PROBLEMS = {
    "linear": Problem.manufactured(BOX, SMOOTH, sines),
    "cubic": Problem.manufactured(BOX, CUBIC, sines),
    "lifted": Problem.manufactured(BOX, CUBIC, lambda X: bubble(X) + 1, lift=(bubble, 1.0)),
    "heat": Problem.manufactured(
        SpaceTime(Box(-1, 1, 2)), Operator([-1.0, -1.0, 0.0], [0.0, 0.0, 1.0]), sines
    ),
}


def build(team, name, widths=(5, 4), activation="tanh", seed=0):
    """Return a discrete problem and a random state for a problem's name."""
    problem, rng = PROBLEMS[name], np.random.default_rng(seed)
    sets = problem.collocate(POINTS, EDGE, 10.0, rng)
    widths = (problem.dimension, *widths)
    network = JetNetwork(sets, widths, activation, problem.operator.nonlinearity, team)
    hidden = Hidden.random(widths, 1.0, problem.domain.bounds(), rng)
    state = PdeState(hidden, rng.normal(size=widths[-1]))
    return Discrete(problem, network, Sampling(POINTS, EDGE, 10.0), rng), state


def separate(problem, state, weights="frobenius", disturb=0.0):
    """Give `state` jets of a forward pass, moved at random; return the separated loss."""
    state.jets = network = problem.network
    network.forward(state.hidden)
    made = Separated(weights, 0.5)
    made.refresh_channels(network)
    rng = np.random.default_rng(9)
    for part in network.parts:
        for l in range(1, network.depth + 1):
            part.J[l] += disturb * rng.normal(size=part.J[l].shape)
            part.refresh(l)
    return made
