"""Forward and backward pass over one mini-batch, in preallocated memory.

Weights and bias of a layer are one matrix.  Where W is the matrix of the map it is
``W~ = [[W, b], [0, 0]]`` and the layer sees ``S~ = [S, 1]``: its outputs are one product
``S~ W~'``, its gradient is one product ``delta' S~``, its Gram matrix ``S~' S~``.  The zero row,
under a layer of the same kind, makes room for the column of ones there; it never moves, because
delta is zero in it.  A layer without a bias sees a column of zeros instead.  Other layers have
``W~ = [W, b]`` and see what they see anyway; their Gram matrix is that of the patches with a one,
over samples and positions.

The batch is cut into fixed pieces that threads share; their sums are added by the team.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.batch import add_into
from ..layers.seen import Seen
from ..losses import Loss
from ..network import Network
from ..network.walk import Walk
from ..samples.kinds import Samples
from ..threads.blocks import row_blocks
from ..threads.team import Team, Workspace

__all__ = ["BatchPass", "batch_shapes"]

# Multiplications in a batch from which on two threads gain more than they cost to wake.
_WORTH_SPLITTING = 1 << 22


def _has_spare_row(network: Network, l: int) -> bool:
    """Return whether ``z_l`` has a spare column, in place of the ones that layer l+1 sees."""
    if l == network.depth or not network.features[l].is_entrywise:
        return False
    return network.layer(l).is_matrix and network.layer(l + 1).is_matrix


def batch_shapes(network: Network) -> list[tuple[int, int]]:
    """Return the shapes of ``W~_1 .. W~_L``."""
    shapes = []
    for l, layer in enumerate(network.layers, 1):
        rows, columns = layer.weight_shape
        shapes.append((rows + int(_has_spare_row(network, l)), columns + 1))
    return shapes


class _Piece(Walk):
    """The walk of one piece of a batch, of up to `rows` samples.

    Lists have an entry per layer: what it sees (S), its outputs and their derivative (Z, D), its
    gradient and Gram matrix; F holds features or their derivative on the way between layers of
    different kinds.
    """

    def __init__(
        self,
        network: Network,
        layers: list[np.ndarray],
        rows: int,
        metrics: frozenset[int],
        samples: Samples,
    ) -> None:
        empty, dtype = [np.empty((0, 0), layers[1].dtype)], layers[1].dtype
        self.layers, self.metrics, self.dense_inputs = layers, metrics, samples.is_dense
        self.matrix = [False, *(layer.is_matrix for layer in network.layers)]
        self.spare = [_has_spare_row(network, l) for l in range(network.depth + 1)]
        kernels = [np.empty(layer.weight_shape, dtype) for layer in network.layers]
        pairs = zip(self.matrix[1:], layers[1:], kernels, strict=True)
        W = [whole if own else kernel for own, whole, kernel in pairs]
        super().__init__(network, empty + W, [], Workspace())
        self.kernels, self.ones = empty + kernels, [0.0, *map(float, self._biases())]
        self.S, self.Z, self.D, self.F = (list(empty) for _ in range(4))
        for l, layer in enumerate(network.layers, 1):
            width = layer.n_outputs + int(self.spare[l])
            seen = layer.n_inputs + int(self.matrix[l]) if l > 1 or self.dense_inputs else 0
            self.S.append(np.empty((rows, seen), dtype))
            self.Z.append(np.empty((rows, width), dtype))
            self.D.append(np.empty((rows, width), dtype))
            self.F.append(np.empty((rows, layer.n_inputs if l > 1 else 0), dtype))
        self.gradient = empty + [np.empty(w.shape, dtype) for w in layers[1:]]
        self.grams = list(empty)
        for l, w in enumerate(layers[1:], 1):
            whole, size = l > 1 or samples.has_gram, w.shape[1] if l in metrics else 0
            self.grams.append(np.empty((size,) * (1 + int(whole)), dtype))
        self.sizes = np.zeros(network.depth + 1)
        self.correct, self.square, self.with_grams = 0.0, 0.0, False
        self.weight: np.ndarray | None = None

    def _biases(self) -> list[bool]:
        return [self.network.has_bias(l) for l in range(1, self.network.depth + 1)]

    def run(
        self,
        samples: Samples,
        index: np.ndarray,
        loss: Loss,
        rows: slice,
        losses: np.ndarray,
        *,
        squared: bool,
        grams: bool,
    ) -> _Piece:
        """Walk over the samples of the indices, whose targets are the rows of `loss`."""
        self.count, self.with_grams = len(index), grams
        self.weight = None if loss.sample_weight is None else loss.sample_weight[rows]
        for l, is_matrix in enumerate(self.matrix[1:], 1):
            if not is_matrix:
                self.kernels[l][...] = self.layers[l][:, :-1]
        one = self.ones[1] if self.matrix[1] else None
        self.first = samples.batch(self.network.layer(1), index, self.S[1][: self.count], one)
        delta = self.forward(self.first)
        self.correct = loss.batch_gradient(delta, rows, losses, squared)
        self.backward(delta)
        return self

    def add(self, other: _Piece) -> _Piece:
        """Add the sums of another piece to the own ones; keep ``||gradient_1||^2``."""
        for l in range(self.network.depth, 0, -1):
            self.square = add_into(self.gradient[l], other.gradient[l])
            if self.with_grams and l in self.metrics:
                self.grams[l] += other.grams[l]
        self.sizes += other.sizes
        self.correct += other.correct
        return self

    def outputs(self, l: int, seen: Seen) -> np.ndarray:
        """Return memory for the outputs."""
        return self.Z[l][: self.count]

    def shift(self, l: int, Z: np.ndarray) -> None:
        """Add the bias where it is no column of the product."""
        if not self.matrix[l]:
            self.network.layer(l).add_bias(Z, np.ascontiguousarray(self.layers[l][:, -1]))

    def features(self, l: int, Z: np.ndarray) -> np.ndarray:
        """Write what layer l+1 sees to its memory, with the ones that it may want."""
        feature, S, D = (
            self.network.features[l],
            self.S[l + 1][: self.count],
            self.D[l][: self.count],
        )
        if self.spare[l]:
            feature.forward_with_derivative(Z, S, D)
            D[:, -1] = 0.0
        elif not self.matrix[l + 1]:
            feature.forward_with_derivative(Z, S, D)
            return S
        else:
            F = self.F[l + 1][: self.count]
            feature.forward_with_derivative(Z, F, D)
            S[:, :-1] = F
        S[:, -1] = self.ones[l + 1]
        return S

    def cotangents(self, l: int, delta: np.ndarray) -> np.ndarray:
        """Return memory that is used up: of the outputs below, or of what the layer has seen."""
        if self.spare[l - 1]:
            return self.Z[l - 1][: self.count]
        return (self.S if self.matrix[l] else self.F)[l][: self.count]

    def pull_back(self, l: int, G: np.ndarray) -> np.ndarray:
        """Return the derivative in the outputs of layer l, in their memory."""
        feature, D, Z = self.network.features[l], self.D[l][: self.count], self.Z[l][: self.count]
        if not self.spare[l] and self.matrix[l + 1]:
            F = self.F[l + 1][: self.count]
            F[...] = G[:, :-1]
            G = F
        return feature.pull_back(G, D, Z)

    def visit(self, l: int, delta: np.ndarray) -> None:
        """Form size, gradient and, if asked for, Gram matrix."""
        layer, S, out = self.network.layer(l), self.S[l][: self.count], self.gradient[l]
        self.sizes[l] = np.vdot(delta, delta)
        if l == 1 and self.matrix[1]:
            self.first.correlation(delta, out)
        elif self.matrix[l]:
            layer.correlation(delta, S, out)
        else:
            # The kernels are needed below: their gradient goes by another way.
            out[:, :-1] = layer.correlation(
                delta, S, self.ws.array(f"G {l}", layer.weight_shape, S.dtype)
            )
            out[:, -1] = layer.bias_sum(delta) if self.ones[l] else 0.0
        if self.with_grams and l in self.metrics:
            self._gram(l, S, self.grams[l])

    def _gram(self, l: int, S: np.ndarray, out: np.ndarray) -> None:
        """Write the weighted Gram matrix of what layer l sees, with a one, to `out`."""
        layer, weight = self.network.layer(l), self.weight
        if l == 1 and not self.dense_inputs:
            first = self.first
            if weight is not None:
                first = first.scaled(np.sqrt(weight), self.ws, "rooted")
            out[...] = first.metric(self.ws, "gram 1")
            return
        if self.matrix[l]:
            np.dot(S.T, S if weight is None else S * weight[:, None], out=out)
            return
        rooted, total = S, float(len(S))
        if weight is not None:
            total = float(np.sum(weight, dtype=np.float64))
            S, rooted = S * weight[:, None], S * np.sqrt(weight)[:, None]
        p = layer.weight_shape[1]
        out[:-1, :-1] = layer.gram(rooted, self.ws.array(f"gram {l}", (p, p), S.dtype))
        # Sums over patches are linear in the images: one image, their sum, will do.
        sums = layer.patch_sum(S.sum(axis=0, keepdims=True)) if self.ones[l] else 0.0
        out[:-1, -1] = out[-1, :-1] = sums
        out[-1, -1] = total * layer.n_positions


class BatchPass:
    """Gradients of the summed loss and Gram matrices of mini-batches.

    Parameters
    ----------
    network : Network
        The chain of layers.
    layers : list of ndarray
        The matrices ``W~_l``, of the shapes of `batch_shapes`, read at every pass.
    samples : Samples
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
        samples: Samples,
        batch_size: int,
        team: Team,
        metrics: Sequence[int],
        *,
        squared: bool = False,
    ) -> None:
        self.layers, self.samples, self.team = layers, samples, team
        self.squared = squared
        self.metrics = frozenset(metrics)
        work = batch_size * sum(
            w.shape[0] * (w.shape[1] if l > 1 else samples.row_entries) * layer.n_positions
            for l, (w, layer) in enumerate(zip(layers[1:], network.layers, strict=True), 1)
        )
        count = 2 if work >= _WORTH_SPLITTING and batch_size >= 2 else 1
        rows = -(-batch_size // count)
        self._pieces = [_Piece(network, layers, rows, self.metrics, samples) for _ in range(count)]
        self._numbers = row_blocks(count, 1)
        self.gradient = self._pieces[0].gradient
        self.grams = self._pieces[0].grams
        self.losses = np.zeros(len(samples), samples.dtype)
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

        def task(number: slice, _: Workspace | None) -> _Piece:
            first = min(rows.start + number.start * share, rows.stop)
            part = slice(first, min(first + share, rows.stop))
            return pieces[number.start].run(
                self.samples,
                index[part],
                loss,
                part,
                self.losses[part],
                squared=self.squared,
                grams=grams,
            )

        if len(pieces) == 1:
            whole = task(self._numbers[0], None)
            square = float(np.vdot(whole.gradient[1], whole.gradient[1]))
        else:
            whole = self.team.reduce(task, self._numbers, _Piece.add)
            square = whole.square
        self.correct, self.sizes = whole.correct, whole.sizes
        return square
