"""Settings of `lysep_fast.train`: its arguments beside the data, checked.

Annotations are those of checked values: what may be left out has its default after the checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checkpoint import digest
from ..layers.conv import CONVOLUTION_NORMS
from ..layers.dense import NORMS
from ..losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from ..losses.targets import LOSSES
from ..network.architecture import ConvolutionLayers
from ..passes.normalise import INIT_CHOICES
from ..result import Result
from ..solvers import (
    SOLVERS,
    Alternating,
    MeasuredSweeps,
    QuasiNewton,
    Solver,
    choose_solver,
    make_solver,
)
from ..validation import (
    check_activation,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_widths,
)
from .run import IN_SOLVER, NOT_GIVEN, RunSettings, compared_as

__all__ = ["FEWEST_FOLDED", "MOST_FOLDED", "Settings"]

#: Fewest and most samples of which ``early_stopping="auto"`` makes folds.
FEWEST_FOLDED, MOST_FOLDED = 10, 10_000
#: Solvers for the papers' classifiers, which have no bias at the output.
_WITHOUT_BIAS = ("alternating", Alternating, "measured-sweeps", MeasuredSweeps)

#: What the targets of a loss are, and the loss that a setting belongs to.
_TARGETS = {
    CrossEntropy.name: "classes",
    BinaryCrossEntropy.name: "labels",
    SquaredError.name: "numbers",
}
_BELONGS = {
    "n_classes": CrossEntropy.name,
    "label_smoothing": CrossEntropy.name,
    "target_unit": SquaredError.name,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(RunSettings):
    """Checked settings of `lysep_fast.train`, by the names of its arguments."""

    loss: str = CrossEntropy.name
    hidden_layer_sizes: tuple[int, ...] = (100,)
    activation: str | None = None
    conv_channels: tuple[int, ...] = ()
    kernel_size: int | Sequence[int] = 3
    pool_size: int | Sequence[int] = 2
    padding: int | str = "same"
    image_shape: Sequence[int] | None = None
    solver: str | Solver = field(default="auto", metadata=IN_SOLVER)
    solver_options: dict[str, Any] | None = field(default=None, metadata=IN_SOLVER)
    weights: str = "frobenius"
    output_bias: bool = NOT_GIVEN
    init: str | Result | None = field(default=None, metadata=compared_as(lambda own: own._start()))
    standardise: bool = NOT_GIVEN
    alpha: float = 0.0
    label_smoothing: float | None = None
    batch_size: int | None = field(default=None, metadata=IN_SOLVER)
    refresh_every: int | None = field(default=None, metadata=IN_SOLVER)
    early_stopping: bool | str = False
    validation_fraction: float = field(
        default=0.1,
        metadata=compared_as(
            lambda own: own.validation_fraction if own.early_stopping is True else None
        ),
    )
    n_classes: int | None = None
    target_unit: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._check_network()
        self._check_targets()
        self._check_standardise()
        if self.init is not None and not isinstance(self.init, Result):
            check_choice(self.init, "init", INIT_CHOICES)
        self._keep(
            alpha=check_number(self.alpha, "alpha", 0.0),
            early_stopping=_early(self.early_stopping),
            validation_fraction=check_number(
                self.validation_fraction, "validation_fraction", 0.0, 1.0, exclusive=True
            ),
        )
        given: Any = self.batch_size
        if isinstance(given, str) and given == "auto":
            self._keep(batch_size=None)
        super().__post_init__()
        if not self.is_auto:  # which has options when the data is known
            self._made(self.solver)

    def _check_network(self) -> None:
        convolutions = ConvolutionLayers.check(
            self.conv_channels, self.kernel_size, self.pool_size, self.padding
        )
        if self.image_shape is not None and not convolutions.channels:
            raise ValueError(
                f"image_shape={self.image_shape!r} needs convolutions; set conv_channels, or "
                "leave it out"
            )
        norms = CONVOLUTION_NORMS if convolutions.channels else NORMS
        self._keep(
            conv_channels=convolutions.channels,
            hidden_layer_sizes=check_widths(self.hidden_layer_sizes),
            activation=self._activation(),
            weights=check_choice(self.weights, "weights", norms),
        )

    def _activation(self) -> str | None:
        """Return the activation, by default that of given weights, or None for the solver's."""
        if self.activation is not None:
            return check_activation(self.activation)
        given = self.init.network.features if isinstance(self.init, Result) else ()
        return given[-1].name if len(given) > 1 else None

    def _check_standardise(self) -> None:
        dense = not self.conv_channels
        wanted = dense if self.standardise is None else self.standardise
        if check_flag(wanted, "standardise") and not dense:
            raise ValueError(
                f"standardise={self.standardise!r} is for fully connected networks: kernels of "
                f"conv_channels={self.conv_channels} have one weight for many columns of X; leave "
                "it out, and scale the images together"
            )
        self._keep(standardise=wanted)

    def _check_targets(self) -> None:
        loss = check_choice(self.loss, "loss", LOSSES)
        for name, owner in _BELONGS.items():
            value = getattr(self, name)
            if value is not None and owner != loss:
                raise ValueError(
                    f"{name}={value!r} belongs to {_TARGETS[owner]}, but loss={loss!r} has "
                    f"{_TARGETS[loss]} as targets; leave it out, or choose loss={owner!r}"
                )
        if self.target_unit is not None:
            self._keep(target_unit=_units(self.target_unit))
        if self.n_classes is not None:
            self._keep(n_classes=check_integer(self.n_classes, "n_classes", minimum=1))
        if self.label_smoothing is not None:
            smoothing = check_number(self.label_smoothing, "label_smoothing", 0.0, 0.999)
            self._keep(label_smoothing=smoothing)
        bias: Any = self.output_bias
        if bias is None and isinstance(self.init, Result):
            bias = self.init.network.output_bias
        elif bias is None:
            kind: Any = self.solver if isinstance(self.solver, str) else type(self.solver)
            bias = loss != CrossEntropy.name or kind not in _WITHOUT_BIAS
        self._keep(output_bias=check_flag(bias, "output_bias"))

    @property
    def is_auto(self) -> bool:
        """Whether the solver is to be chosen."""
        return isinstance(self.solver, str) and self.solver == "auto"

    @property
    def has_dense_hidden(self) -> bool:
        """Whether there are hidden layers, all of them dense."""
        return bool(self.hidden_layer_sizes) and not self.conv_channels

    def cross_validates(self, n_samples: int) -> bool:
        """Return whether the number of sweeps is to be chosen before training."""
        given = isinstance(self.init, Result)
        few = FEWEST_FOLDED <= n_samples <= MOST_FOLDED and not self.conv_channels
        return self.early_stopping == "auto" and few and not given and self.max_iter > 0

    @property
    def convolutions(self) -> ConvolutionLayers:
        """The convolutions below the fully connected layers."""
        return ConvolutionLayers(
            self.conv_channels, self.kernel_size, self.pool_size, self.padding
        )

    def make_solver(
        self, n_samples: int, n_features: int, sample_weight: np.ndarray | None
    ) -> Solver:
        """Return the solver, for ``"auto"`` the one that suits the data.

        Raises
        ------
        ValueError, TypeError
            If it does not know an option, or cannot take a setting or the weights into account.
        """
        solver = self.solver
        if self.is_auto:
            solver = "mini-batch"
            if not self.conv_channels:
                solver = choose_solver(n_samples, n_features, self.loss, sample_weight)
        return self._made(solver, weighted=sample_weight is not None)

    def other_solver(self, solver: Any) -> Solver:
        """Return the solver that ``"auto"`` did not take at first."""
        name = "mini-batch" if isinstance(solver, QuasiNewton) else "quasi-newton"
        return self._made(name)

    def _made(self, solver: str | Solver, *, weighted: bool = False) -> Solver:
        method = make_solver(solver, self._options())
        if self.refresh_every is not None and getattr(method, "batch_size", None) is None:
            raise ValueError(
                f"refresh_every={self.refresh_every} needs subsets to refresh; set batch_size, or "
                "leave it out"
            )
        wanted = {
            "weights": self.weights != "frobenius",
            "alpha": self.alpha > 0.0,
            "sample_weight": weighted,
            "label_smoothing": bool(self.label_smoothing),
            "regression": self.loss == SquaredError.name,
            "multilabel": self.loss == BinaryCrossEntropy.name,
        }
        for name in (name for name, is_set in wanted.items() if is_set):
            if name not in method.supports:
                raise ValueError(_unsupported(name, solver))
        return method

    def _options(self) -> Any:
        """Return the solver's options, those among them that have arguments of their own."""
        options = self.solver_options
        own = {"batch_size": self.batch_size, "refresh_every": self.refresh_every}
        own = {name: value for name, value in own.items() if value is not None}
        if not own or not isinstance(options, Mapping | None):
            return options  # no mapping is refused where the solver is made
        for name in own.keys() & (options or {}).keys():
            raise ValueError(
                f"{name} is given twice: {name}={own[name]!r} and in solver_options as "
                f"{(options or {})[name]!r}; leave one of them out"
            )
        return {**(options or {}), **own}

    def _start(self) -> str | None:
        """Return the initial weights in words, given ones by a fingerprint."""
        if isinstance(self.init, Result):
            return digest(*self.init.W, *self.init.b)
        return self.init


def _early(given: Any) -> bool | str:
    """Return whether to stop early, or raise an error that says what can be given."""
    if isinstance(given, str):
        return check_choice(given, "early_stopping", ("auto",))
    return check_flag(given, "early_stopping")


def _units(given: Any) -> float | tuple[float, ...]:
    """Return the units of the targets, or raise an error that names what is wrong with them."""
    if np.ndim(given) == 0:
        return check_number(given, "target_unit", 0.0, exclusive=True)
    return tuple(
        check_number(value, f"target_unit[{k}]", 0.0, exclusive=True)
        for k, value in enumerate(given)
    )


def _unsupported(name: str, solver: str | Solver) -> str:
    """Return an error message about what a solver cannot take into account."""
    able = [key for key, kind in SOLVERS.items() if name in kind.supports]
    what, else_ = f"{name} into account", "leave it at its default, or "
    kinds = {"regression": SquaredError.name, "multilabel": BinaryCrossEntropy.name}
    if name in kinds:
        what, else_ = f"loss={kinds[name]!r}", ""
    return (
        f"solver={solver!r} cannot take {what}; {else_}choose one of {', '.join(map(repr, able))}"
    )
