"""Second opinions on the package's parts, and what only the tests need of them."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from lysep_fast.blocks.joint_rows import JointRows, RowSearch
from lysep_fast.container.archive import Archive
from lysep_fast.container.stateful import Stateful
from lysep_fast.kernels.auxiliaries import row_sums_of_squares
from lysep_fast.layers.seen import Seen
from lysep_fast.network.walk import Walk
from lysep_fast.passes.full import evaluate
from lysep_fast.report import Step
from lysep_fast.state import State


def evaluated(problem, state):
    """Return mean loss and mean hits of the true network on the training data."""
    seen = evaluate(problem.network, state.W, state.b, problem.batch, problem.team)
    return seen.loss / problem.n_samples, seen.correct / problem.n_samples


def copied(state):
    """Return a deep copy of a state; ``A[0]`` is empty and shared."""
    return State(
        [w.copy() for w in state.W],
        [v.copy() for v in state.b],
        [state.A[0], *(a.copy() for a in state.A[1:])],
        [r.copy() for r in state.R],
        state.nu.copy(),
        state.r2.copy(),
        state.e2,
    )


def logits(network, X, W, b, ws):
    """Return the true network's logits of dense inputs."""
    return Walk(network, W, b, ws).forward(Seen(network.layer(1), X))


def unpacked(layers, W, b):
    """Copy matrices ``[W_l, b_l]``, with or without spare rows, to weights and biases."""
    for own, w, v in zip(layers[1:], W[1:], b[1:], strict=True):
        w[...], v[...] = own[: len(w), :-1], own[: len(v), -1]


def read_archive(path, kind, expected):
    """Return header and arrays of a file of one kind."""
    with Archive.open(path) as archive:
        archive.check_kind((kind,))
        return archive.header, archive.arrays(expected)


def sparse_matrix(layer, W):
    """Return the matrix C, ``(n_outputs, n_inputs)``: for small images and for checks."""
    channels, positions, taps = layer.output_shape[0], layer.n_positions, layer.weight_shape[1]
    # Pixels counted from 1 and unfolded: 0 is a pixel of the padding.
    pixels = np.arange(1, layer.n_inputs + 1, dtype=float)
    source = layer.patch_matrix(pixels[None]).astype(np.intp) - 1
    row = np.arange(layer.n_outputs).reshape(channels, positions, 1)
    shape = (channels, positions, taps)
    row, source = np.broadcast_to(row, shape), np.broadcast_to(source, shape)
    inside = source >= 0
    value = np.broadcast_to(W[:, None, :], shape)[inside]
    return scipy.sparse.csr_array(
        (value, (row[inside], source[inside])), shape=(layer.n_outputs, layer.n_inputs)
    )


def sparse_kernel_solve(layer, S, T, eta, kind):
    """Solve for the kernel by LSMR on the explicit sparse system: a second opinion.

    Minimises ``||T - apply(S, W)||^2 + eta * squared_norm(W, kind)`` as the paper's least-squares
    problem (4.5) for the shared parameters, (4.6), stacked with the rows ``sqrt(eta D)``.

    Parameters
    ----------
    layer : Convolution
    S : ndarray, shape (rows, n_inputs)
    T : ndarray, shape (rows, n_outputs)
    eta : float
        Weight of the norm.
    kind : {"frobenius", "patch"}
        The norm.

    Returns
    -------
    ndarray of float64, shape `layer.weight_shape`
    """
    channels, positions = layer.output_shape[0], layer.n_positions
    M = scipy.sparse.csr_array(layer.patch_matrix(S.astype(float)))
    ridge = scipy.sparse.diags(np.sqrt(eta * layer.norm_diagonal(kind)))
    system = scipy.sparse.vstack([M, ridge], format="csr")
    right = T.astype(float).reshape(-1, channels, positions)
    zeros = np.zeros(layer.weight_shape[1])
    W = np.empty(layer.weight_shape)
    for c in range(channels):
        target = np.concatenate([right[:, c].ravel(), zeros])
        W[c] = scipy.sparse.linalg.lsmr(system, target, atol=1e-14, btol=1e-14, maxiter=10**5)[0]
    return W


class JointAuxiliaries(Stateful):
    """Rank-one step on all auxiliaries of every sample.

    Parameters
    ----------
    shrink , default 0.4
        Factor between the trials of a row.
    max_trials , default 8
        Bound on the trials of a row.
    """

    def __init__(self, *, shrink=0.4, max_trials=8):
        self.name = "A"
        self.search = RowSearch(shrink, max_trials)

    def touches(self, state):
        """Return the names of the variables an update may change."""
        return {f"{letter}{l}" for letter in "AR" for l in range(1, state.depth)}

    def update(self, problem, state):
        """Move the auxiliaries in place; no row of F increases."""
        w = problem.objective.weights(state.nu)

        def task(rows, ws):
            joint = JointRows(problem, state.W, state.b, w, rows, ws)
            R = [np.empty((rows.stop - rows.start, 0)), *(a[rows] for a in state.R[1:])]
            A = [a[rows] for a in state.A]
            return joint.minimise(R, _row_values(joint, A, R), 0.0, self.search, R, A)

        e2, *r2, moved, trials = problem.team.sum(task, problem.blocks)
        state.e2, state.r2[1:] = e2, r2
        n = problem.n_samples
        return Step(self.name, moved / n, trials / n, "gauss-newton")


def _row_values(joint, A, R):
    """Return ``F_n`` of every row of a block."""
    L = len(A)
    S = joint.network.feature(L - 1, A[-1], joint.ws)
    U = joint.ws.array("value U", (len(S), joint.network.widths[L]), S.dtype)
    joint.network.layer(L).apply(S, joint.W[L], U)
    _, e = joint.losses("value", U + joint.b[L], joint.y)
    value, r2 = np.square(e, dtype=np.float64), np.empty(len(e))
    for l in joint.hidden:
        row_sums_of_squares(R[l], r2)
        value += joint.w[l] * r2
    return value
