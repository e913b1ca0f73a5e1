"""Forward and backward pass over one mini-batch, in preallocated memory.

Biases are columns: with ``S~ = [S, 1]`` and ``W~ = [[W, b], [0, 0]]`` a layer is one product
``S~ W~'``, its gradient one product ``delta' S~``, its Gram matrix ``S~' S~``.  The zero row of
hidden layers makes room for the column of ones; it never moves, because delta is zero there.  A
layer without a bias sees a column of zeros instead.

The batch is cut into fixed pieces that threads share; their sums are added in order.
"""

from __future__ import annotations

import numpy as np

from ..kernels.batch import add_into, gather_into, soften_into
from ..kernels.softmax import correct_count, cross_entropy_gradient_into
from ..losses import CrossEntropy
from ..network import Network
from ..parallel import Team, Workspace

__all__ = ["BatchPass", "homogeneous_views", "pack_homogeneous", "unpack_homogeneous"]

# Multiplications in a batch from which on two threads gain more than they cost to wake.
_WORTH_SPLITTING = 1 << 22


def pack_homogeneous(
    network: Network, W: list[np.ndarray], b: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a flat vector of all ``W~_l`` and its matrices; index 0 is empty."""
    L, dtype = network.depth, W[1].dtype
    shapes = [
        (layer.n_outputs + (l < L), layer.n_inputs + 1)
        for l, layer in enumerate(network.layers, 1)
    ]
    theta = np.zeros(sum(rows * columns for rows, columns in shapes), dtype)
    layers = homogeneous_views(theta, shapes)
    for l in range(1, L + 1):
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
    """Arrays of one piece of a batch, of up to `rows` samples."""

    def __init__(
        self, network: Network, rows: int, shapes: list[tuple[int, int]], dtype: np.dtype
    ) -> None:
        widths = network.widths
        empty = np.empty((0, 0), dtype)
        self.S = [np.empty((rows, m + 1), dtype) for m in widths[:-1]]
        self.D = [np.empty((rows, m + 1), dtype) for m in widths[:-1]]
        self.Z = [np.empty((rows, m + 1), dtype) for m in widths[:-1]]
        self.U = np.empty((rows, widths[-1]), dtype)
        self.gradient = [empty, *(np.empty(shape, dtype) for shape in shapes)]
        self.grams = [empty, empty, *(np.empty((m + 1, m + 1), dtype) for m in widths[1:-1])]
        self.correct = 0.0
        self._rows = rows

    def arrays(self, count: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """Return the first `count` rows of S~, of the derivatives and of the scratch arrays."""
        if count == self._rows:
            return self.S, self.D, self.Z
        return (
            [s[:count] for s in self.S],
            [d[:count] for d in self.D],
            [z[:count] for z in self.Z],
        )


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

    Attributes
    ----------
    gradient : list of ndarray
        ``sum_n c_n delta_{l,n} S~_{l-1,n}`` of the last batch; index 0 unused.
    grams : list of ndarray
        ``sum_n c_n S~_{l-1,n}' S~_{l-1,n}`` of the last batch that asked for them, l >= 2.
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
    ) -> None:
        self.network, self.layers, self.X, self.team = network, layers, X, team
        shapes = [(w.shape[0], w.shape[1]) for w in layers[1:]]
        work = batch_size * sum(rows * columns for rows, columns in shapes)
        count = 2 if work >= _WORTH_SPLITTING and batch_size >= 2 else 1
        rows = -(-batch_size // count)
        self._pieces = [_Piece(network, rows, shapes, X.dtype) for _ in range(count)]
        self._numbers = [slice(i, i + 1) for i in range(count)]
        self._ones = [float(network.has_bias(l)) for l in range(1, network.depth + 1)]
        self.gradient = self._pieces[0].gradient
        self.grams = self._pieces[0].grams
        self.losses = np.zeros(len(X), X.dtype)
        self.correct = 0.0

    def __call__(
        self, index: np.ndarray, loss: CrossEntropy, rows: slice, *, grams: bool
    ) -> float:
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
        return self._reduce(grams)

    def _run(
        self, piece: _Piece, index: np.ndarray, loss: CrossEntropy, rows: slice, grams: bool
    ) -> None:
        """Run over one piece."""
        L, W = len(self.layers) - 1, self.layers
        S, D, Z = piece.arrays(rows.stop - rows.start)
        gather_into(self.X, index[rows], S[0], self._ones[0])
        for l in range(1, L):
            np.dot(S[l - 1], W[l].T, out=Z[l])
            self.network.features[l].forward_with_derivative(Z[l], S[l], D[l])
            S[l][:, -1] = self._ones[l]
            D[l][:, -1] = 0.0
        delta = np.dot(S[L - 1], W[L].T, out=piece.U[: len(S[0])])
        self._output_gradient(piece, delta, loss, rows)
        for l in range(L, 0, -1):
            np.dot(delta.T, S[l - 1], out=piece.gradient[l])
            if l > 1:
                if grams:
                    weighted = S[l - 1]
                    if loss.sample_weight is not None:
                        weighted = weighted * loss.sample_weight[rows][:, None]
                    np.dot(S[l - 1].T, weighted, out=piece.grams[l])
                delta = np.dot(delta, W[l], out=Z[l - 1])
                delta *= D[l - 1]

    def _output_gradient(
        self, piece: _Piece, U: np.ndarray, loss: CrossEntropy, rows: slice
    ) -> None:
        """Overwrite the logits with ``c_n (P - Y)``, Y the smoothed target."""
        y = loss.y[rows]
        weight = None if loss.sample_weight is None else loss.sample_weight[rows]
        if weight is None:
            piece.correct = float(correct_count(U, y))
        else:
            piece.correct = float(np.dot(weight, np.argmax(U, axis=1) == y))
        cross_entropy_gradient_into(U, y, self.losses[rows], U)
        if loss.label_smoothing:
            soften_into(U, y, loss.label_smoothing)
        if weight is not None:
            U *= weight[:, None]

    def _reduce(self, grams: bool) -> float:
        """Add the other pieces to the first, in order; return ``||gradient_1||^2``."""
        first = self._pieces[0]
        if len(self._pieces) == 1:
            return float(np.vdot(first.gradient[1], first.gradient[1]))
        square = 0.0
        for piece in self._pieces[1:]:
            for l in range(len(self.layers) - 1, 0, -1):
                square = add_into(first.gradient[l], piece.gradient[l])
                if grams and l > 1:
                    first.grams[l] += piece.grams[l]
        return square
