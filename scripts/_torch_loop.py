"""The one loop that trains in torch: for the experiments, the benchmarks and `lysep-fast bench`.

torch is imported when it is used, and its global state (threads, random numbers) is put back.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lysep_fast.layers import Convolution
from lysep_fast.network import Network

_ACTIVATIONS = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "ReLU",
    "softplus": "Softplus",
    "gelu": "GELU",
}
#: Samples per forward pass of an evaluation.
EVALUATED_AT_ONCE = 1000


class _Finished(Exception):
    """Ends an optimiser, L-BFGS even in the middle of its search along a line."""


def how_to_get_torch(what: str) -> str:
    """Return what to do when torch is missing; `what` is like "baseline needs"."""
    return (
        f"The {what} torch, which is not installed. To add it, install a CPU build,\n"
        "e.g. pip install torch==2.13.0 where that is a CPU build (see pytorch.org for the CPU\n"
        "wheels; elsewhere the plain name can bring gigabytes of GPU libraries), and run the\n"
        "same command again: finished runs are kept."
    )


def available() -> bool:
    """Return whether torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def session(seed: int = 0, n_threads: int | None = None) -> Iterator[None]:
    """Let torch draw from a seed and use `n_threads` threads (None: as it is) inside."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(n_threads or before)
        try:
            # The first step of an optimiser imports for half a second, which should not count.
            for kind in (torch.optim.Adam, torch.optim.LBFGS):
                parameter = torch.zeros(1, requires_grad=True)
                parameter.grad = torch.zeros(1)
                kind([parameter]).step(parameter.square().sum)
            yield
        finally:
            torch.set_num_threads(before)


def run(
    optimiser: Any,
    loss: Callable[[], Any],
    *,
    steps: int = 1,
    rate: Callable[[int], float] | None = None,
    seen: Callable[[float], bool | None] | None = None,
    stepped: Callable[[int], bool | None] | None = None,
) -> None:
    """Do steps of an optimiser.

    Parameters
    ----------
    optimiser : torch optimiser
        A step of `lbfgs` is a whole training.
    loss : callable
        Returns the loss of all data or of the next batch. Where it has left its gradient in the
        parameters already, it returns a tensor without a graph.
    steps : int
        Bound on the steps.
    rate : callable, optional
        From the number of steps done to the rate of the next one.
    seen : callable, optional
        Takes every loss before its step; True ends the training, so that no step follows.
    stepped : callable, optional
        Called after every step with the number of steps done; True ends the training.
    """

    def closure() -> Any:
        optimiser.zero_grad(set_to_none=True)
        value = loss()
        if seen is not None and seen(value.item()):
            raise _Finished
        if value.requires_grad:
            value.backward()
        return value

    with contextlib.suppress(_Finished):
        for k in range(steps):
            if rate is not None:
                for group in optimiser.param_groups:
                    group["lr"] = rate(k)
            optimiser.step(closure)
            if stepped is not None and stepped(k + 1):
                return


def make_optimiser(name: str, parameters: Iterable[Any], rate: float) -> Any:
    """Return "descent", "adam" or "lbfgs"."""
    import torch

    kinds = {"descent": torch.optim.SGD, "adam": torch.optim.Adam, "lbfgs": lbfgs}
    return kinds[name](parameters, lr=rate)


def lbfgs(parameters: Iterable[Any], lr: float = 1.0, history: int = 20) -> Any:
    """Return L-BFGS with the strong Wolfe conditions, which goes on until it gets stuck."""
    import torch

    return torch.optim.LBFGS(
        parameters, lr=lr, max_iter=10**9, history_size=history, line_search_fn="strong_wolfe",
        tolerance_grad=0.0, tolerance_change=0.0,
    )  # fmt: skip


class Best:
    """The weights with the lowest loss of those offered."""

    def __init__(self, parameters: Iterable[Any]) -> None:
        self._parameters = list(parameters)
        self._kept = [parameter.detach().clone() for parameter in self._parameters]
        self.loss = np.inf

    def offer(self, loss: float) -> bool:
        """Keep the weights as they are now if their loss is lower; return whether it is."""
        if not loss < self.loss:
            return False
        self.loss = loss
        for kept, parameter in zip(self._kept, self._parameters, strict=True):
            kept.copy_(parameter.detach())
        return True

    def restore(self) -> None:
        """Go back to the weights that were kept."""
        for kept, parameter in zip(self._kept, self._parameters, strict=True):
            parameter.detach().copy_(kept)


class Average:
    """The average of the weights over the steps, the past with weight ``min(past, 1 - 1/k)``."""

    def __init__(self, parameters: Iterable[Any], past: float) -> None:
        self._parameters, self._past = list(parameters), past
        self._average = [w.detach().clone() if past else w.data for w in self._parameters]

    def add(self, k: int) -> None:
        """Take in the weights after step k, k = 1, 2, ...; a `past` of 0 keeps only the last."""
        import torch

        if self._past:
            share = 1.0 - min(self._past, 1.0 - 1.0 / k)
            with torch.no_grad():
                torch._foreach_lerp_(self._average, self._parameters, share)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Put the average into the model, by reference: nothing is copied."""
        own = [parameter.data for parameter in self._parameters]
        for parameter, data in zip(self._parameters, self._average, strict=True):
            parameter.data = data
        try:
            yield
        finally:
            for parameter, data in zip(self._parameters, own, strict=True):
                parameter.data = data


def twin(network: Network, dtype: str = "float64") -> Any:
    """Return the same network in torch, with torch's own initial weights."""
    import torch

    parts: list[Any] = []
    for l, layer in enumerate(network.layers, 1):
        bias = l < network.depth or network.output_bias
        if isinstance(layer, Convolution):
            channels = layer.image_shape[0], layer.output_shape[0]
            parts.append(
                torch.nn.Conv2d(
                    *channels, layer.kernel_size, layer.stride, layer.padding, bias=bias
                )
            )
        else:
            if l > 1 and isinstance(network.layers[l - 2], Convolution):
                parts.append(torch.nn.Flatten())
            parts.append(torch.nn.Linear(layer.n_inputs, layer.n_outputs, bias=bias))
        if l < network.depth:
            parts.append(getattr(torch.nn, _ACTIVATIONS[network.features[l].name])())
            if isinstance(layer, Convolution):
                parts.append(torch.nn.AvgPool2d(network.features[l].pool_size))
    return torch.nn.Sequential(*parts).to(getattr(torch, dtype))


def inputs(network: Network, X: np.ndarray) -> Any:
    """Return samples as the twin of a network takes them."""
    import torch

    first, x = network.layers[0], torch.from_numpy(X)
    return x.reshape(-1, *first.image_shape) if isinstance(first, Convolution) else x


def cross_entropy(
    model: Any, x: Any, y: Any, batches: Iterator[Any] | None = None, label_smoothing: float = 0.0
) -> Callable[[], Any]:
    """Return the function for `run` that forms the loss of all samples or of the next batch."""
    import torch

    rows = itertools.repeat(slice(None)) if batches is None else batches

    def loss() -> Any:
        own = next(rows)
        U = model(x[own])
        return torch.nn.functional.cross_entropy(U, y[own], label_smoothing=label_smoothing)

    return loss


def logits(model: Any, x: Any) -> Any:
    """Return the logits of samples, formed in parts."""
    import torch

    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(EVALUATED_AT_ONCE)])


def score(model: Any, x: Any, y: Any) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy."""
    import torch

    U = logits(model, x)
    loss = torch.nn.functional.cross_entropy(U, y).item()
    return loss, (U.argmax(dim=1) == y).double().mean().item()
