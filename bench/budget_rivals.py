"""Train the rivals of bench_budgets.py in torch: AdamW, Muon, SOAP, schedule-free AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from budget_clock import Clock, Stopwatch, Trained
from budget_sets import BudgetSet
from peers_minibatch import shuffled
from torch import nn

from lysep_fast.cli import load_experiment
from lysep_fast.network import Network

__all__ = ["FIRST_UNITS", "PERIOD", "Muon", "make_optimiser", "rate_at", "scaled", "train"]

loop = load_experiment("_torch_loop")[1]

#: SOAP renews its basis every ten steps: only whole tens have the pace of a long training.
FIRST_UNITS, PERIOD = 10, 20
_ENDLESS = 10**6
#: Share of the steps with a growing rate.
WARM_UP = {"SOAP": 0.05, "schedule-free AdamW": 0.05}


class Muon(torch.optim.Optimizer):
    """Momentum steps with all singular values brought near to 1, for matrices.

    ``torch.optim.Muon`` does the same in bfloat16, which is 20 to 40 times slower on CPUs that
    have no such arithmetic.  The step is scaled to the usual size of AdamW's, whose rates suit.
    """

    #: Of the quintic polynomial that pulls singular values into about (0.7, 1.2), steep at 0.
    POLYNOMIAL = 3.4445, -4.7750, 2.0315

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        iterations: int = 5,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "times": iterations},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                past = self.state[w].setdefault("past", torch.zeros_like(w))
                past.lerp_(w.grad, 1.0 - group["momentum"])
                ahead = w.grad.lerp(past, group["momentum"])
                size = 0.2 * math.sqrt(max(w.shape))
                w.mul_(1.0 - group["lr"] * group["weight_decay"])
                w.sub_(self.orthogonalised(ahead, group["times"]), alpha=group["lr"] * size)
        return loss

    @classmethod
    def orthogonalised(cls, G: torch.Tensor, times: int) -> torch.Tensor:
        """Return a matrix of the same singular vectors and of singular values near 1."""
        a, b, c = cls.POLYNOMIAL
        wide = G if G.shape[0] <= G.shape[1] else G.T
        Q = wide / wide.norm().clamp(min=1e-7)
        for _ in range(times):
            gram = Q @ Q.T
            Q = torch.addmm(Q, torch.addmm(gram, gram, gram, beta=b, alpha=c), Q, beta=a)
        return Q if wide is G else Q.T


class Together:
    """Several optimisers, each with parameters of its own, that step as one."""

    def __init__(self, *optimisers: torch.optim.Optimizer) -> None:
        self._optimisers = optimisers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of all of them."""
        return [group for one in self._optimisers for group in one.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for one in self._optimisers:
            one.zero_grad(set_to_none=set_to_none)

    def step(self, closure: Callable[[], Any]) -> Any:
        """Do one step each, on the same gradient."""
        loss = closure()
        for one in self._optimisers:
            one.step()
        return loss


def make_optimiser(
    method: str, model: nn.Module, setting: Mapping[str, Any], steps: int
) -> torch.optim.Optimizer | Together:
    """Return the optimiser of a method; weights decay, biases do not."""
    rate, decay = setting["rate"], setting["weight_decay"]
    matrices = [w for w in model.parameters() if w.ndim == 2]
    biases = [w for w in model.parameters() if w.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    if method == "AdamW":
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if method == "Muon":
        own = matrices[0 if setting["first"] else 1 : -1]
        groups[0]["params"] = [w for w in matrices if not any(w is o for o in own)]
        adamw = torch.optim.AdamW(groups, lr=rate, fused=True)
        return Together(Muon(own, rate, decay), adamw) if own else adamw
    if method == "SOAP":
        from pytorch_optimizer import SOAP

        # Without `first` the larger side of the layer on the inputs keeps its own basis.
        largest = 10_000 if setting["first"] else max(1, max(matrices[0].shape) - 1)
        groups[0]["params"] = matrices[1:]
        first = {**groups[0], "params": matrices[:1], "max_precondition_dim": largest}
        return SOAP([first, *groups], lr=rate)
    if method == "schedule-free AdamW":
        from schedulefree import AdamWScheduleFree

        warm = math.ceil(WARM_UP[method] * steps)
        return AdamWScheduleFree(groups, lr=rate, warmup_steps=warm)
    raise ValueError(f"no rival is called {method!r}")


def rate_at(rate: float, steps: int, warm_up: float = 0.0) -> Callable[[int], float]:
    """Return the schedule: linear growth over a share of the steps, and a linear fall to 0."""
    grown = max(1.0, warm_up * steps)
    return lambda k: rate * min(1.0, (k + 1) / grown) * (1.0 - k / steps)


def make_model(data: BudgetSet, setting: Mapping[str, Any]) -> nn.Sequential:
    """Return the network with its initial weights."""
    activation = setting["activation"]
    model: nn.Sequential = loop.twin(
        Network.dense(data.widths, activation, output_bias=True), "float32"
    )
    if setting["start"] == "scaled":
        layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        for l, layer in enumerate(layers, 1):
            straight = l == len(layers) or activation == "tanh"
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if straight else "relu")
            nn.init.zeros_(layer.bias)
    return model


def scaled(kind: str, X: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return mean and spread of the columns as far as they are taken out."""
    if kind == "raw":
        return None, None
    mean = X.mean(axis=0)
    if kind == "centred":
        return mean, None
    spread = X.std(axis=0)
    return mean, np.where(spread > 0.0, spread, np.float32(1.0))


def _inputs(X: np.ndarray, mean: np.ndarray | None, spread: np.ndarray | None) -> torch.Tensor:
    X = X if mean is None else X - mean
    return torch.from_numpy(X if spread is None else X / spread)


def train(
    method: str,
    data: BudgetSet,
    setting: Mapping[str, Any],
    seed: int,
    threads: int,
    units: int | None,
    watch: Stopwatch | None = None,
) -> Trained:
    """Train so many steps, or until the stopwatch says so, and test."""
    steps, done = units or _ENDLESS, 0
    with loop.session(seed, threads):
        clock = Clock()
        shift = scaled(setting["inputs"], data.X)
        x, y = _inputs(data.X, *shift), torch.from_numpy(data.y)
        model = make_model(data, setting)
        optimiser = make_optimiser(method, model, setting, steps)
        free = method == "schedule-free AdamW"
        if free:
            optimiser.train()

        def stepped(k: int) -> bool:
            nonlocal done
            done = k
            return watch is not None and watch.watch(lambda: clock.seconds)

        rows = shuffled(len(y), max(1, round(len(y) / setting["batch_size"])))
        loop.run(
            optimiser,
            loop.cross_entropy(model, x, y, rows, setting["label_smoothing"]),
            steps=steps,
            rate=None if free else rate_at(setting["rate"], steps, WARM_UP.get(method, 0.0)),
            stepped=stepped,
        )
        if free:
            optimiser.eval()
        seconds = clock.seconds
        loss, accuracy = loop.score(
            model, _inputs(data.X_test, *shift), torch.from_numpy(data.y_test)
        )
    return Trained(seconds, accuracy, loss, done)
