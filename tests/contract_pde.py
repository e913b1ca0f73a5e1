"""The contract of the blocks of a differential equation: the shared check, and fresh caches."""

from __future__ import annotations

import numpy as np
from contract import check_update
from reference_pde import FLOOR, PdeReference, derivatives


def variables(state):
    """Return all arrays of a state by name, the jets of all parts one after the other."""
    found = {"w": state.w}
    for l in range(1, state.hidden.depth + 1):
        found[f"W{l}"], found[f"b{l}"] = state.hidden.W[l], state.hidden.b[l]
        found[f"J{l}"] = np.concatenate([part.J[l].ravel() for part in state.jets.parts])
    found["P0"] = np.concatenate([part.P[0].ravel() for part in state.jets.parts])
    found["K"] = np.concatenate([part.loss.K.ravel() for part in state.jets.parts])
    return found


def floor_of(block, state):
    """Return the floor of the neuron weights in the objective that a block does not increase.

    The weights do not depend on jets: blocks of jets may hold them as they are.  The others move
    them, and their ridge knows the products of squared weights but not the floor.
    """
    return FLOOR if all(name.startswith("J") for name in block.touches(state)) else 0.0


def check_contract(block, problem, state):
    """Update `state` by `block`; raise AssertionError when the block breaks its contract."""
    floor = floor_of(block, state)
    step = check_update(
        block, problem, state, variables, lambda: PdeReference(problem, state).value(floor), 1e-12
    )
    for part in state.jets.parts:
        for l in range(1, part.depth + 1):
            check_cache(block, part, l, state.jets.activation)
    truth = PdeReference(problem, state)
    np.testing.assert_allclose(problem.value(state), truth.value(), rtol=1e-9, err_msg="stale F")
    return step


def check_cache(block, part, l, activation):
    """Check that features and derivatives are those of the jets."""
    J = part.J[l]
    value, *D = derivatives(activation, J[0])
    P = value[None]
    if part.channels > 1:
        curved = D[1] * np.sum(J[1:-1] ** 2, axis=0) + D[0] * J[-1]
        P = np.concatenate([P, D[0] * J[1:-1], curved[None]])
    for name, cache, wanted in (("P", part.P[l], P), ("D", part.D[l], D[: len(part.D[l])])):
        gap = np.abs(cache - np.asarray(wanted)).max()
        size = 1 + np.abs(J).max() ** 2
        assert gap <= 1e-13 * size, f"{block.name} left {name}{l} off J{l} by {gap}"
