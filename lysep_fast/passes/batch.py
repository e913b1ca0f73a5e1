"""Forward and backward pass over one mini-batch, in preallocated memory.

The layers' products and their adjoints are in `stages`, where biases are columns of the weights.
The batch is cut into fixed pieces that threads share; their sums are added in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.batch import add_into
from ..losses import Loss
from ..network import Network
from ..threads.team import Team, Workspace
from .stages import make_stages, stage_shapes

__all__ = ["BatchPass", "homogeneous_views", "pack_homogeneous", "unpack_homogeneous"]

# Multiplications in a batch from which on two threads gain more than they cost to wake.
_WORTH_SPLITTING = 1 << 22


def pack_homogeneous(
    network: Network, W: list[np.ndarray], b: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a flat vector of all ``W~_l`` and its matrices; index 0 is empty."""
    shapes = stage_shapes(network)
    theta = np.zeros(sum(rows * columns for rows, columns in shapes), W[1].dtype)
    layers = homogeneous_views(theta, shapes)
    for l in range(1, network.depth + 1):
        rows = len(W[l])
        layers[l][:rows, :-1] = W[l]
        layers[l][:rows, -1] = b[l]
    return theta, layers


def homogeneous_views(theta: np.ndarray, shapes: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return consecutive matrices in the memory of `theta`, after an empty one."""
    layers, start = [theta[:0].reshape(0, 0)], 0
    for rows, columns in shapes:
        layers.append(theta[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    return layers


def unpack_homogeneous(layers: list[np.ndarray], W: list[np.ndarray], b: list[np.ndarray]) -> None:
    """Copy the matrices ``W~_l`` into weights and biases, in place."""
    for l in range(1, len(layers)):
        rows = len(W[l])
        W[l][...] = layers[l][:rows, :-1]
        b[l][...] = layers[l][:rows, -1]


class _Piece:
    """Stages, gradients and Gram matrices of one piece of a batch, of up to `rows` samples."""

    def __init__(
        self, network: Network, rows: int, shapes: list[tuple[int, int]], dtype: np.dtype
    ) -> None:
        empty = np.empty((0, 0), dtype)
        self.stages = make_stages(network, rows, dtype)
        self.gradient = [empty, *(np.empty(shape, dtype) for shape in shapes)]
        self.grams = [empty, *(np.empty((p, p), dtype) for _, p in shapes)]
        self.sizes = np.zeros(len(shapes) + 1)
        self.correct = 0.0


class BatchPass:
    """Gradients of the summed loss and Gram matrices of mini-batches.

    Parameters
    ----------
    network : Network
        The chain of layers.
    layers : list of ndarray
        The matrices ``W~_l``, read at every pass.
    X : ndarray, shape (n, d)
        All samples.
    batch_size : int
        Largest number of samples in a batch.
    team : Team
        Threads.
    metrics : sequence of int
        Layers whose Gram matrices are formed.
    squared : bool
        Whether the loss of a sample is ``e_n^2`` instead of ``e_n``.

    Attributes
    ----------
    gradient : list of ndarray
        ``sum_n c_n delta_{l,n} S~_{l-1,n}`` of the last batch; index 0 unused.
    grams : list of ndarray
        ``sum_n c_n S~_{l-1,n}' S~_{l-1,n}`` of the last batch that asked for them; of a
        convolution over its positions as well.
    sizes : ndarray, shape (L+1,)
        ``sum_n |c_n delta_{l,n}|^2`` of the last batch; index 0 unused.
    losses : ndarray, shape (n,)
        Losses ``e_n`` at the weights of the pass that saw them last, in the order of the batches.
    correct : float
        Sum of ``c_n`` over the last batch's samples that were classified correctly.
    """

    def __init__(
        self,
        network: Network,
        layers: list[np.ndarray],
        X: np.ndarray,
        batch_size: int,
        team: Team,
        metrics: Sequence[int],
        *,
        squared: bool = False,
    ) -> None:
        self.network, self.layers, self.X, self.team = network, layers, X, team
        self.squared = squared
        self.metrics = frozenset(metrics)
        shapes = [(w.shape[0], w.shape[1]) for w in layers[1:]]
        work = batch_size * sum(
            rows * columns * layer.n_positions
            for (rows, columns), layer in zip(shapes, network.layers, strict=True)
        )
        count = 2 if work >= _WORTH_SPLITTING and batch_size >= 2 else 1
        rows = -(-batch_size // count)
        self._pieces = [_Piece(network, rows, shapes, X.dtype) for _ in range(count)]
        self._numbers = [slice(i, i + 1) for i in range(count)]
        self.gradient = self._pieces[0].gradient
        self.grams = self._pieces[0].grams
        self.losses = np.zeros(len(X), X.dtype)
        self.sizes = np.zeros(network.depth + 1)
        self.correct = 0.0

    def __call__(self, index: np.ndarray, loss: Loss, rows: slice, *, grams: bool) -> float:
        """Run over the samples ``index[rows]``, whose targets are the `rows` of `loss`.

        Returns
        -------
        float
            ``||gradient_1||^2``, summed on the way.
        """
        pieces = self._pieces
        share = -(-(rows.stop - rows.start) // len(pieces))

        def task(number: slice, _: Workspace | None) -> None:
            first = min(rows.start + number.start * share, rows.stop)
            part = slice(first, min(first + share, rows.stop))
            self._run(pieces[number.start], index, loss, part, grams)

        if len(pieces) == 1:
            task(self._numbers[0], None)
        else:
            self.team.map(task, self._numbers)
        self.correct = sum(piece.correct for piece in pieces)
        self.sizes = sum((piece.sizes for piece in pieces[1:]), pieces[0].sizes)
        return self._reduce(grams)

    def _run(self, piece: _Piece, index: np.ndarray, loss: Loss, rows: slice, grams: bool) -> None:
        """Run over one piece."""
        L, W, features = len(self.layers) - 1, self.layers, self.network.features
        stages, count = piece.stages, rows.stop - rows.start
        weight = None if loss.sample_weight is None else loss.sample_weight[rows]
        stages[0].gather(self.X, index[rows])
        for l in range(1, L):
            stages[l - 1].product(W[l], count)
            stages[l - 1].activate(features[l], stages[l], count)
        delta = stages[L - 1].product(W[L], count)
        piece.correct = loss.batch_gradient(delta, rows, self.losses[rows], self.squared)
        for l in range(L, 0, -1):
            stage = stages[l - 1]
            piece.sizes[l] = np.vdot(delta, delta)
            stage.gradient(delta, piece.gradient[l])
            if grams and l in self.metrics:
                stage.gram(count, weight, piece.grams[l])
            if l > 1:
                delta = stages[l - 2].back(features[l - 1], stage, delta, W[l])

    def _reduce(self, grams: bool) -> float:
        """Add the other pieces to the first, in order; return ``||gradient_1||^2``."""
        first = self._pieces[0]
        if len(self._pieces) == 1:
            return float(np.vdot(first.gradient[1], first.gradient[1]))
        square = 0.0
        for piece in self._pieces[1:]:
            for l in range(len(self.layers) - 1, 0, -1):
                square = add_into(first.gradient[l], piece.gradient[l])
                if grams and l in self.metrics:
                    first.grams[l] += piece.grams[l]
        return square
