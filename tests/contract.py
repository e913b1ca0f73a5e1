"""The contract that every block keeps, as a check, and checks of gradient steps."""

from __future__ import annotations

import numpy as np
from reference import Reference

from lysep_fast.report import Step

METHODS = {"cholesky", "qr", "svd", "lsmr", "gradient", "gauss-newton"}


def variables(state, problem=None):
    """Return all arrays of a state by name, and the input of a problem as X."""
    groups = {"W": state.W, "b": state.b, "A": state.A, "R": state.R}
    found = {f"{letter}{l}": a for letter, group in groups.items() for l, a in enumerate(group)}
    return found if problem is None else found | {"X": problem.samples.X}


def rounding_scale(truth, l):
    """Return the size of the terms of ``R_l = A_l - S_{l-1} W_l' - b_l``."""
    S = np.abs(truth.features(l - 1))
    terms = np.abs(truth.A[l]) + S @ np.abs(truth.matrix(l)).T + np.abs(truth.bias(l))
    return 1 + terms.max()


def check_update(block, problem, state, variables, loss, rtol):
    """Update `state` by `block`: it moves what it declares, as it reports, and `loss` not up.

    ``variables(state)`` returns arrays by name, ``loss()`` the objective recomputed from scratch.
    """
    old, before = {name: array.copy() for name, array in variables(state).items()}, loss()
    step = block.update(problem, state)
    new = variables(state)

    touched = block.touches(state)
    assert touched <= set(new), f"{block.name} declares variables that do not exist: {touched}"
    for name in set(new) - touched:
        assert new[name].tobytes() == old[name].tobytes(), f"{block.name} touched {name}"
    changed = {name for name in touched if new[name].tobytes() != old[name].tobytes()}

    assert isinstance(step, Step)
    assert step.block == block.name
    assert step.method in METHODS
    assert 0.0 <= step.accepted <= 1.0, f"{block.name} reports a share of {step.accepted}"
    assert step.trials >= 0.0
    if step.accepted == 0.0:
        moved = {name for name in changed if not name.startswith("R")}
        assert not moved, f"{block.name} reports no step but moved {moved}"

    rise = loss() - before
    assert rise <= rtol * before, f"{block.name} raised the separated loss by {rise}"
    return step


def check_contract(block, problem, state):
    """Update `state` by `block`; raise AssertionError when the block breaks its contract.

    With weight decay it is the separated loss with its penalty that must not rise.
    """
    eps = float(np.finfo(problem.samples.dtype).eps)
    truth = Reference.of(problem, state)

    def loss():
        return Reference.of(problem, state).penalised()

    def everything(state):
        return variables(state, problem)

    step = check_update(block, problem, state, everything, loss, 50 * eps)
    after = Reference.of(problem, state)
    for l in range(1, after.depth):
        # Residuals move by increments, so they carry the rounding of the former variables too.
        size = max(rounding_scale(truth, l), rounding_scale(after, l))
        gap = np.abs(state.R[l] - after.residual(l)).max()
        assert gap <= 20 * eps * size, f"{block.name} left R{l} off A{l} - T{l} by {gap}"
        np.testing.assert_allclose(
            state.r2[l],
            np.sum(after.c[:, None] * state.R[l].astype(float) ** 2),
            rtol=1e-12,
            err_msg="stale r2",
        )
    nu = [after.nu(l) for l in range(1, after.depth + 1)]
    np.testing.assert_allclose(state.nu[1:], nu, rtol=1e-12, err_msg="stale nu")
    e2 = after.data() * len(after.y)
    np.testing.assert_allclose(state.e2, e2, rtol=100 * eps, err_msg="stale e2")
    return step


def replaced(truth, group, l):
    """Return n times the penalised F, whose gradients the blocks follow, of one variable."""
    arrays, kept = getattr(truth, group), getattr(truth, group)[l]

    def function(value):
        arrays[l] = value
        result = truth.penalised() * len(truth.y)
        arrays[l] = kept
        return result

    return function


def assert_parallel(change, gradient, rtol=1e-6):
    """Check that `change` is a positive multiple of ``-gradient`` and return the multiple."""
    step = -np.sum(change * gradient) / np.sum(gradient**2)
    assert step > 0
    assert np.abs(change + step * gradient).max() <= rtol * step * np.abs(gradient).max()
    return step
