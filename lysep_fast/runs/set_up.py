"""From checked data and settings to a problem with its solver and its initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import Loss
from ..losses.targets import Split
from ..network import Network
from ..objective import TrainingProblem
from ..passes.full import Batch
from ..passes.normalise import initial_weights
from ..result import Result
from ..samples.kinds import Samples
from ..samples.scaling import Scaling
from ..settings.data import Data
from ..settings.train import Settings
from ..solvers import MiniBatch, OnlineMiniBatch, Solver, choose_activation, choose_init
from ..solvers.training import NetworkTraining
from ..threads.team import Team
from ..validation import size_limit

__all__ = ["Inputs", "Start", "set_up"]


@dataclass(frozen=True)
class Inputs:
    """Inputs as training sees them, with the loss bound to their targets.

    Attributes
    ----------
    samples : Samples
        The inputs, scaled.
    loss : Loss
        The loss.
    scaling : Scaling or None
        What was done to their columns.
    """

    samples: Samples
    loss: Loss
    scaling: Scaling | None

    @classmethod
    def of(cls, data: Data, settings: Settings, solver: Any, team: Team) -> Inputs:
        """Return the inputs of the data, standardised if the settings say so."""
        samples, loss = data.samples, data.targets.loss
        if not settings.standardise:
            return cls(samples, loss, None)
        moments = samples.moments(team, loss.sample_weight)
        if isinstance(solver, OnlineMiniBatch):
            moments = solver.with_former(moments)
        scaling = Scaling.of(moments, samples.dtype)
        samples = samples.scaled(scaling)
        if not samples.largest() <= size_limit(samples.dtype):
            raise ValueError(
                f"X has a sample that is {samples.largest():.1e} spreads away from the others, "
                "with sample_weight 0 or in a part of the data that came before; leave it out"
            )
        return cls(samples, loss, scaling)

    def take(self, index: np.ndarray) -> Inputs:
        """Return some of the samples, their weights with mean 1 again."""
        loss = self.loss.take(index)
        if loss.sample_weight is not None:
            c = loss.sample_weight * (len(index) / loss.total_weight)
            loss.sample_weight = c.astype(loss.sample_weight.dtype)
        return Inputs(self.samples.take(index), loss, self.scaling)


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes
    ----------
    solver : Solver
        A solver that has not started.
    init : str or Result or None
        Initial weights; None means those that suit the solver.
    """

    solver: Solver
    init: str | Result | None


def set_up(
    data: Data,
    inputs: Inputs,
    settings: Settings,
    start: Start,
    rng: np.random.Generator,
    team: Team,
    split: Split | None = None,
) -> NetworkTraining:
    """Return what the loop trains, with the initial weights in its result.

    Parameters
    ----------
    data : Data
        The data as given.
    inputs : Inputs
        What training sees of them.
    settings : Settings
        Network, penalty and the like.
    start : Start
        Solver and kind of initial weights.
    rng : numpy.random.Generator
        That of the run.
    team : Team
        Threads.
    split : tuple of two ndarray of int, optional
        Indices of the samples to train on, and of those to validate on.
    """
    solver: Any = start.solver
    if isinstance(solver, MiniBatch):
        solver.suit(len(data.samples), settings.has_dense_hidden, inputs.samples, inputs.loss)
    network = _network(data, settings, start.solver)
    validation = None
    if split is not None:
        held_out = inputs.take(split[1])
        validation = Batch.make(held_out.samples, held_out.loss, network)
        inputs = inputs.take(split[0])
    problem = TrainingProblem(
        network,
        inputs.loss,
        inputs.samples,
        team,
        settings.weights,
        alpha=settings.alpha,
        rng=rng,
        has_validation=split is not None,
        scaling=inputs.scaling,
    )
    W, b = _weights(problem, settings, start)
    flat, n_threads = data.targets.flat, settings.n_threads
    result = Result(network, W, b, n_threads=n_threads, loss=settings.loss, flat=flat)
    result.bound_constant = problem.objective.constant
    if start.solver.synchronised:  # all residuals are zero
        result.bound_constant = problem.objective.synchronised_constant
    return NetworkTraining(problem, start.solver, result, validation)


def _weights(
    problem: TrainingProblem, settings: Settings, start: Start
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return initial weights and biases, drawn or those of a former result."""
    samples = problem.samples
    if isinstance(start.init, Result):
        W, b = start.init.copy_weights(problem.network, samples.dtype)
        problem.prepare(W, b)
        return W, b
    init = start.init or choose_init(start.solver, samples.n_features, settings.loss)
    weight = problem.loss.sample_weight
    return initial_weights(problem.network, samples, problem.rng, init, weight, team=problem.team)


def _network(data: Data, settings: Settings, solver: Solver) -> Network:
    """Return the network between the inputs and the outputs."""
    hidden, n_outputs = settings.hidden_layer_sizes, data.targets.loss.n_outputs
    activation = settings.activation or choose_activation(solver, settings.loss)
    output_bias = settings.output_bias
    if data.image_shape is None:
        widths = (data.samples.n_features, *hidden, n_outputs)
        return Network.dense(widths, activation, output_bias=output_bias)
    return settings.convolutions.network(
        data.image_shape, hidden, n_outputs, activation, output_bias
    )
