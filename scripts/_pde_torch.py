"""The rival: a physics-informed network in torch with Adam, L-BFGS, or one after the other.

It has the network, the points, the loss J, the precision and the first hidden weights of the
package's solvers; its output weights are trained like the others.  Derivatives in space are
carried forward through the layers, which here is faster than nested automatic differentiation, the
usual way; torch differentiates by the weights.  torch is imported when it is used.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lysep_fast.pde import Problem
from lysep_fast.pde.domains import box_for_weights
from lysep_fast.pde.jets import Hidden

from ._pde_recorder import Network, Recorder
from ._torch_loop import lbfgs, run, session

HISTORY = 50


class Pinn:
    """A network with tanh, its points, and J as a function of its parameters.

    Parameters
    ----------
    problem : Problem
        The equation.
    widths : tuple of int
        ``(d, m_1, ..., m_H)``.
    scale, n_interior, n_boundary, boundary_weight, seed
        As for `lysep_fast.pde.solve`, which draws the same points and hidden weights.
    """

    def __init__(
        self,
        problem: Problem,
        widths: tuple[int, ...],
        *,
        scale: float,
        n_interior: int,
        n_boundary: int,
        boundary_weight: float,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        sets = problem.collocate(n_interior, n_boundary, boundary_weight, rng)
        hidden = Hidden.random(widths, scale, box_for_weights(problem.domain), rng)
        limit = np.sqrt(6.0 / (widths[-1] + 1))
        self.widths, self.nonlinearity = widths, problem.operator.nonlinearity
        self.sets = [
            (_tensor(on.P), _tensor(on.K), _tensor(on.f), on.weight, on.lift is not None,
             _tensor(on.lift), _tensor(on.shift))
            for on in sets
        ]  # fmt: skip
        self.load(Network(hidden, rng.uniform(-limit, limit, widths[-1])))

    def load(self, network: Network) -> None:
        """Take weights over, as new parameters."""
        hidden = network.hidden
        self.layers = [(_tensor(W), _tensor(b)) for W, b in zip(hidden.W, hidden.b, strict=True)]
        del self.layers[0]
        self.w = _tensor(network.w)
        self.parameters = [*itertools.chain(*self.layers), self.w]
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    def network(self) -> Network:
        """Return a copy of the weights."""
        parts = [p.detach().numpy().ravel() for p in self.parameters[:-1]]
        return Network(Hidden(self.widths, np.concatenate(parts)), self.w.detach().numpy().copy())

    def loss(self) -> Any:
        """Return J."""
        total: Any = 0.0
        for P, K, f, weight, nonlinear, lift, shift in self.sets:
            O = self._output(P)
            r = (K * O).sum(0) - f
            if nonlinear:
                r = r + self.nonlinearity[0](lift * O[0] + shift)
            total = total + weight * r.square().sum()
        return total

    def differentiate(self) -> Any:
        """Return J, and add its gradient to those of the parameters."""
        J = self.loss()
        J.backward()
        return J.detach()

    def _output(self, P: Any) -> Any:
        """Return the output's jet: the value, and the derivatives where P has directions."""
        import torch

        if len(P) == 1:
            Z = P[0]
            for W, b in self.layers:
                Z = torch.tanh(torch.nn.functional.linear(Z, W, b))
            return (Z @ self.w)[None]
        for W, b in self.layers:
            J = P @ W.T
            t = torch.tanh(J[0] + b)
            slope = 1 - t * t
            B, C = J[1:-1], J[-1]
            second = slope * (C - 2 * t * B.square().sum(0))
            P = torch.cat([t[None], slope * B, second[None]])
        return P @ self.w


def train(
    pinn: Pinn, recorder: Recorder, method: str, rate: float, adam_share: float, n_threads: int
) -> dict[str, Any]:
    """Train until the recorder's time is up.

    Parameters
    ----------
    pinn, recorder
        What is trained, and who watches.
    method : {"adam", "lbfgs", "adam-lbfgs"}
        The last one gives Adam a share of the first budget.
    rate, adam_share : float
        Of Adam.
    n_threads : int
        Threads of torch.
    """
    with session(n_threads=n_threads):
        pinn.differentiate()
        recorder.begin()
        done = 0
        if method != "lbfgs":
            until = np.inf if method == "adam" else adam_share * recorder.budgets[0]
            done = _adam(pinn, recorder, rate, until)
        if method != "adam":
            _lbfgs(pinn, recorder, done)
    return recorder.finish()


def _adam(pinn: Pinn, recorder: Recorder, rate: float, until: float) -> int:
    """Do steps of Adam; return how many."""
    import torch

    count = 0

    def seen(J: float) -> bool:
        recorder.offer(count, J, pinn.network)
        return recorder.done or recorder.clock.seconds >= until or not np.isfinite(J)

    def stepped(k: int) -> None:
        nonlocal count
        count = k

    optimiser = torch.optim.Adam(pinn.parameters, lr=rate)
    run(optimiser, pinn.differentiate, steps=10**9, seen=seen, stepped=stepped)
    return count


def _lbfgs(pinn: Pinn, recorder: Recorder, count: int) -> None:
    """Do iterations of L-BFGS; start afresh from the best when it gets stuck, twice in vain."""
    vain = 0
    while vain < 2 and not recorder.done:
        if recorder.best is not None:
            pinn.load(recorder.best)
        before = recorder.best
        count = _lbfgs_until_stuck(pinn, recorder, count)
        vain = vain + 1 if recorder.best is before else 0


def _lbfgs_until_stuck(pinn: Pinn, recorder: Recorder, count: int) -> int:
    """Do iterations of L-BFGS after `count` others; return how many there are now."""
    optimiser = lbfgs(pinn.parameters, history=HISTORY)
    state = optimiser.state[pinn.parameters[0]]

    def seen(J: float) -> bool:
        recorder.offer(count + int(state.get("n_iter", 0)), J, pinn.network)
        return recorder.done

    run(optimiser, pinn.differentiate, seen=seen)
    return count + int(state.get("n_iter", 0))


def _tensor(array: np.ndarray | None) -> Any:
    import torch

    return None if array is None else torch.tensor(np.ascontiguousarray(array))
