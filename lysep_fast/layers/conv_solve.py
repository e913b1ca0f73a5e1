"""The kernel's least-squares problem by an iterative solver: a check of the normal equations."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from .conv import Convolution

__all__ = ["sparse_kernel_solve"]


def sparse_kernel_solve(
    layer: Convolution, S: np.ndarray, T: np.ndarray, eta: float, kind: str
) -> np.ndarray:
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
