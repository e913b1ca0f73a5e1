"""The method in plain NumPy and float64, slow and without cleverness: what the tests trust.

Every quantity is written as in the equations and recomputed from weights and auxiliaries alone;
nothing is cached, residuals are formed by subtraction, rows are treated one by one.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from helpers import sparse_matrix

from lysep_fast.layers import Convolution

erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x):
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def _normal_cdf(x):
    return (1 + erf(x / math.sqrt(2))) / 2


def _normal_density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


#: Name of an activation -> (s, s').
ACTIVATIONS = {
    "identity": (lambda x: x, np.ones_like),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "softplus": (lambda x: np.logaddexp(0, x), _sigmoid),
    "sin": (np.sin, np.cos),
    "gelu": (
        lambda x: x * _normal_cdf(x),
        lambda x: _normal_cdf(x) + x * _normal_density(x),
    ),
}


def cross_entropy(U, y, smoothing=0.0):
    """Return ``e_n = log(1 + sum_{j != y} exp(U_nj - U_ny))`` of every row.

    With smoothing it is ``logsumexp(U_n) - <t_n, U_n>``, the targets being those of `targets`.
    """
    losses, T = np.empty(len(U)), targets(y, U.shape[1], smoothing)
    for n in range(len(U)):
        margins = np.delete(U[n] - U[n, y[n]], y[n])
        losses[n] = np.logaddexp(0.0, np.logaddexp.reduce(margins))
        losses[n] -= T[n] @ (U[n] - U[n, y[n]])
    return losses


def targets(y, n_classes, smoothing=0.0):
    """Return ``t_n = (1 - smoothing) onehot(y_n) + smoothing / K``."""
    return (1 - smoothing) * np.eye(n_classes)[y] + smoothing / n_classes


def softmax(U):
    E = np.exp(U - U.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def squared_loss_gradient(U, y, smoothing=0.0):
    """Return the gradient of ``sum_n e_n^2`` in the logits, ``2 e_n (P - t)``."""
    G = softmax(U) - targets(y, U.shape[1], smoothing)
    return 2 * cross_entropy(U, y, smoothing)[:, None] * G


def squared_norm(W, norm):
    return np.linalg.norm(W, 2 if norm == "spectral" else "fro") ** 2


@functools.lru_cache
def tap_matrices(layer):
    """Return the matrices of a convolution with one channel and one tap, of the value 1, each.

    Their shape is ``(taps, positions, n_inputs)``.
    """
    one = Convolution(
        layer.image_shape, 1, layer.kernel_size, stride=layer.stride, padding=layer.padding
    )
    kernels = np.eye(layer.weight_shape[1])[:, None]
    return np.array([sparse_matrix(one, kernel).toarray() for kernel in kernels])


@functools.lru_cache
def pooling_matrix(feature):
    """Return the pooling as an explicit matrix, ``(n_outputs, n_inputs)``."""
    (channels, height, width), (ph, pw) = feature.image_shape, feature.pool_size
    P = np.zeros((feature.n_outputs, feature.n_inputs))
    pixel = np.arange(feature.n_inputs).reshape(channels, height, width)
    for row, (c, i, j) in enumerate(np.ndindex(feature.output_shape)):
        cell = pixel[c, i * ph : (i + 1) * ph, j * pw : (j + 1) * pw]
        P[row, cell.ravel()] = 1 / (ph * pw)
    return P


def ridge_least_squares(S, T, eta, root=1.0):
    """Return W of ``min_W ||root (S W' - T)||^2 + sum eta W^2`` from the stacked system.

    `root` has one factor for every row, a column; `eta` one number for every column of S.
    """
    p = S.shape[1]
    stacked = np.vstack([root * S, np.diag(np.sqrt(np.broadcast_to(eta, p)))])
    targets = np.vstack([root * T, np.zeros((p, T.shape[1]))])
    return np.linalg.lstsq(stacked, targets, rcond=None)[0].T


def ridge_least_squares_with_bias(S, T, eta, root=1.0):
    """Return W and b of the same with ``S W' + b``: the bias is not penalised."""
    eta = np.append(np.broadcast_to(eta, S.shape[1]), 0.0)
    both = ridge_least_squares(np.hstack([S, np.ones((len(S), 1))]), T, eta, root)
    return both[:, :-1], both[:, -1]


def finite_difference_gradient(function, x, step=1e-6):
    """Return the gradient of a scalar function of an array by central differences."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@dataclass
class Reference:
    """Weights, biases and auxiliaries; lists carry an unused entry or the input at index 0."""

    X: np.ndarray
    y: np.ndarray
    W: list
    b: list
    A: list
    activation: str = "tanh"
    norm: str = "frobenius"
    output_bias: bool = False
    sample_weight: np.ndarray | None = None
    smoothing: float = 0.0
    alpha: float = 0.0

    @staticmethod
    def of(problem, state):
        """Copy the library's state in float64; its residuals and cached sums are left behind.

        Networks with convolutions give a `ConvolutionalReference`, the squared error gives a
        `RegressionReference`, and several labels per sample give a `LabelReference`.
        """
        network, loss = problem.network, problem.loss
        regression = loss.name == "squared-error"
        convolutional = isinstance(network.layers[0], Convolution)
        kind = {
            "squared-error": RegressionReference,
            "binary-cross-entropy": LabelReference,
        }.get(loss.name, ConvolutionalReference if convolutional else Reference)
        truth = kind(
            problem.samples.X.astype(float),
            loss.y.astype(float) if regression else loss.y,
            *([a.astype(float) for a in group] for group in (state.W, state.b, state.A)),
            network.features[-1].name,
            problem.objective.norm,
            network.output_bias,
            loss.sample_weight,
            getattr(loss, "label_smoothing", None) or 0.0,
            problem.alpha,
        )
        if convolutional:
            truth.network = network
        return truth

    @property
    def depth(self):
        return len(self.W) - 1

    @property
    def c(self):
        """Return the weights of the samples."""
        given = self.sample_weight is not None
        return self.sample_weight.astype(float) if given else np.ones(len(self.y))

    # --- the network and the separated loss ---------------------------------------------------

    def s(self, A):
        return ACTIVATIONS[self.activation][0](A)

    def ds(self, A):
        return ACTIVATIONS[self.activation][1](A)

    # What a convolution changes: the matrix of a layer, its bias, pooling, and their adjoints.

    def matrix(self, l):
        """Return the matrix C_l of the linear map of layer l."""
        return self.W[l]

    def bias(self, l):
        """Return what layer l adds to its outputs."""
        return self.b[l]

    def pooled(self, l, S):
        """Return what layer l+1 sees of the activations of layer l."""
        return S

    def unpooled(self, l, G):
        """Return the adjoint of `pooled`."""
        return G

    def rows(self, l, S):
        """Return the rows that W_l multiplies."""
        return S

    def targets(self, l, Z):
        """Return outputs of layer l, one row for each of `rows`."""
        return Z

    def norm_diagonal(self, l):
        """Return D with ``nu_l = sum W_l^2 D`` (not for the spectral norm)."""
        return np.ones(self.W[l].shape[1])

    def features_of(self, l, A):
        """Return what layer l+1 sees of auxiliaries A of layer l."""
        return self.pooled(l, self.s(A))

    def features(self, l):
        """Return ``S_l``."""
        return self.X if l == 0 else self.features_of(l, self.A[l])

    def pre_activations(self, X=None):
        """Return ``z_1 .. z_L`` of the true network, after an unused entry."""
        Z, S = [None], self.X if X is None else X
        for l in range(1, self.depth + 1):
            Z.append(S @ self.matrix(l).T + self.bias(l))
            S = self.features_of(l, Z[l]) if l < self.depth else None
        return Z

    def logits(self, X=None):
        """Return the logits of the true network."""
        return self.pre_activations(X)[-1]

    def loss(self):
        """Return the weighted mean cross-entropy of the true network, never smoothed."""
        return np.mean(self.c * cross_entropy(self.logits(), self.y))

    def smoothed_loss(self):
        """Return the same against the smoothed targets."""
        return np.mean(self.c * cross_entropy(self.logits(), self.y, self.smoothing))

    def accuracy(self):
        return np.mean(np.argmax(self.logits(), axis=1) == self.y)

    def surrogate_logits(self):
        L = self.depth
        return self.features(L - 1) @ self.matrix(L).T + self.bias(L)

    def prediction(self, l):
        """Return ``T_l = S_{l-1} W_l' + b_l``."""
        return self.features(l - 1) @ self.matrix(l).T + self.bias(l)

    def residual(self, l):
        return self.A[l] - self.prediction(l)

    def r2(self, l):
        """Return ``sum_n c_n |R_{l,n}|^2``."""
        return np.sum(self.c[:, None] * self.residual(l) ** 2)

    def nu(self, l):
        return squared_norm(self.W[l], self.norm)

    def weight(self, l):
        """Return ``w_l = prod_{i=l+1..L} ||W_i||^2``."""
        return math.prod(self.nu(i) for i in range(l + 1, self.depth + 1))

    def ridge(self, l):
        """Return ``eta_l = sum_{k<l} prod_{k<i<l} ||W_i||^2 ||R_k||^2`` (for l = L: c_L)."""
        return sum(
            math.prod(self.nu(i) for i in range(k + 1, l)) * self.r2(k) for k in range(1, l)
        )

    def surrogate_losses(self):
        return cross_entropy(self.surrogate_logits(), self.y, self.smoothing)

    def data(self):
        return np.mean(self.c * self.surrogate_losses() ** 2)

    def penalties(self):
        n = len(self.y)
        return np.array([self.weight(l) * self.r2(l) / n for l in range(1, self.depth)])

    def separated_loss(self):
        """Return F."""
        return self.data() + np.sum(self.penalties())

    def penalised(self):
        """Return ``F + alpha/2 sum_l ||W_l||_F^2``."""
        return self.separated_loss() + self.alpha / 2 * sum(np.sum(W**2) for W in self.W[1:])

    # --- gradients of n times the penalised F in one variable, by the subproblems' equations --

    def weighted_loss_gradient(self):
        """Return the gradient of ``sum_n c_n e_n^2`` in the surrogate logits."""
        G = squared_loss_gradient(self.surrogate_logits(), self.y, self.smoothing)
        return self.c[:, None] * G

    def output_gradient(self):
        """Return the gradients in W_L and b_L (Frobenius norm)."""
        L = self.depth
        G, decay = self.weighted_loss_gradient(), len(self.y) * self.alpha
        ridge = 2 * self.ridge(L) * self.norm_diagonal(L) + decay
        in_W = G.T @ self.features(L - 1) + ridge * self.W[L]
        in_b = G.sum(axis=0) if self.output_bias else np.zeros(len(self.b[L]))
        return in_W, in_b

    def auxiliary_gradient(self, l):
        """Return the gradient in A_l."""
        c = self.c[:, None]
        own = 2 * self.weight(l) * c * self.residual(l)
        if l == self.depth - 1:
            above = self.weighted_loss_gradient() @ self.matrix(l + 1)
        else:
            above = -2 * self.weight(l + 1) * c * self.residual(l + 1) @ self.matrix(l + 1)
        return self.unpooled(l, above) * self.ds(self.A[l]) + own

    def weight_gradient(self, l):
        """Return the gradients in W_l and b_l, l < L (Frobenius norm)."""
        w = self.weight(l)
        R = self.targets(l, self.c[:, None] * self.residual(l))
        decay = 2 * w * self.ridge(l) * self.norm_diagonal(l) + len(self.y) * self.alpha
        in_W = -2 * w * R.T @ self.rows(l, self.features(l - 1)) + decay * self.W[l]
        return in_W, -2 * w * R.sum(axis=0)

    def loss_gradient(self, squared=False):
        """Return the gradients of ``sum_n c_n e_n`` (or of e_n^2) of the true network.

        They are those in W_l and b_l, and ``delta_l``, the derivatives in z_l times c_n; index 0
        is unused.  Losses are against the smoothed targets.
        """
        Z, L = self.pre_activations(), self.depth
        delta = softmax(Z[L]) - targets(self.y, Z[L].shape[1], self.smoothing)
        if squared:
            delta = squared_loss_gradient(Z[L], self.y, self.smoothing)
        deltas = [None] * L + [self.c[:, None] * delta]
        in_W, in_b = [None] * (L + 1), [None] * (L + 1)
        for l in range(L, 0, -1):
            S = self.X if l == 1 else self.features_of(l - 1, Z[l - 1])
            T = self.targets(l, deltas[l])
            in_W[l], in_b[l] = T.T @ self.rows(l, S), T.sum(axis=0)
            if l > 1:
                back = self.unpooled(l - 1, deltas[l] @ self.matrix(l))
                deltas[l - 1] = back * self.ds(Z[l - 1])
        if not self.output_bias:
            in_b[L] = np.zeros_like(in_b[L])
        return in_W, in_b, deltas

    # --- one block of Algorithm 1 after the other ---------------------------------------------

    def update_output(self, start, shrink, max_trials):
        """Take one gradient step on W_L with backtracking; return the accepted step length."""
        L, S, c = self.depth, self.features(self.depth - 1), self.c
        ridge = self.ridge(L) * self.norm_diagonal(L) + len(self.y) * self.alpha / 2

        def f(W, b):
            e = cross_entropy(S @ W.T + b, self.y, self.smoothing)
            return np.sum(c * e**2) + np.sum(W**2 * ridge)

        in_W, in_b = self.output_gradient()
        if start is None:
            squares = np.sum(S**2, axis=1) + self.output_bias
            curvature = np.sum(c * squares * (4 + 2 * self.surrogate_losses()))
            start = 1 / (curvature + 2 * np.max(ridge))
        for k in range(max_trials):
            step = start * shrink**k
            W, b = self.W[L] - step * in_W, self.b[L] - step * in_b
            if f(W, b) <= f(self.W[L], self.b[L]):
                self.W[L], self.b[L] = W, b
                return step
        return 0.0

    def row_objective(self, l, n, a):
        """Return the terms of n F that see row n of A_l, at the value a of that row."""
        S, target = self.features_of(l, a[None])[0], self.prediction(l)[n]
        U = S @ self.matrix(l + 1).T + self.bias(l + 1)
        own = self.weight(l) * np.sum((a - target) ** 2)
        if l == self.depth - 1:
            return own + cross_entropy(U[None, :], self.y[n : n + 1], self.smoothing)[0] ** 2
        R = self.A[l + 1][n] - U
        return own + self.weight(l + 1) * np.sum(R**2)

    def first_step(self, l, reach):
        """Return reach over the curvature bound of every row."""
        above = np.ones(len(self.y))
        if l == self.depth - 1:
            above = 2 + self.surrogate_losses()
        return reach / (2 * self.weight(l) * (1 + above))

    def update_auxiliary_rows(self, l, reach, shrink, max_trials):
        """Take one gradient step on every row of A_l, each with its own step length."""
        # A sample weight is a factor of all that the row costs: it changes no step.
        given, self.sample_weight = self.sample_weight, None
        gradient, start = self.auxiliary_gradient(l), self.first_step(l, reach)
        A = self.A[l].copy()
        for n in range(len(A)):
            old = self.row_objective(l, n, self.A[l][n])
            for k in range(max_trials):
                row = self.A[l][n] - start[n] * shrink**k * gradient[n]
                if self.row_objective(l, n, row) <= old:
                    A[n] = row
                    break
        self.A[l], self.sample_weight = A, given

    def update_auxiliary_matrix(self, l, tau, shrink, max_trials):
        """Take one gradient step on A_l with one step length for all rows."""
        gradient, old, A = self.auxiliary_gradient(l), self.separated_loss(), self.A[l]
        for k in range(max_trials):
            self.A[l] = A - tau * shrink**k * gradient
            if self.separated_loss() <= old:
                return
        self.A[l] = A

    def update_weights(self, l, bias):
        """Solve for W_l, then for b_l ("after"), or for both at once ("joint")."""
        S, T = self.rows(l, self.features(l - 1)), self.targets(l, self.A[l])
        root = np.sqrt(self.targets(l, np.repeat(self.c[:, None], self.A[l].shape[1], axis=1)))
        root = root[:, :1]
        eta = self.ridge(l) * self.norm_diagonal(l)
        if self.alpha:
            eta = eta + len(self.y) * self.alpha / (2 * self.weight(l))
        if bias == "joint":
            self.W[l], self.b[l] = ridge_least_squares_with_bias(S, T, eta, root)
        else:
            self.W[l] = ridge_least_squares(S, T - self.b[l], eta, root)
            self.b[l] = np.average(T - S @ self.W[l].T, axis=0, weights=root[:, 0] ** 2)

    def sweep(
        self, *, output_step=None, bias="after", reach=4.0, shrink=0.25, max_trials=12, tau=None
    ):
        """Do one sweep of Algorithm 1; return the accepted step length of W_L.

        With `tau`, the auxiliaries take one step length for the whole matrix, starting there.
        """
        accepted = self.update_output(output_step, shrink, max_trials)
        for l in range(self.depth - 1, 0, -1):
            if tau is None:
                self.update_auxiliary_rows(l, reach, shrink, max_trials)
            else:
                self.update_auxiliary_matrix(l, tau, shrink, max_trials)
            self.update_weights(l, bias)
        return accepted


class ConvolutionalReference(Reference):
    """The same for a `network` of convolutions and poolings, by explicit matrices."""

    def matrix(self, l):
        if not self.convolves(l):
            return self.W[l]
        C = np.tensordot(self.W[l], tap_matrices(self.network.layer(l)), 1)
        return C.reshape(-1, C.shape[2])

    def convolves(self, l):
        return isinstance(self.network.layer(l), Convolution)

    def bias(self, l):
        return np.repeat(self.b[l], self.network.layer(l).n_positions)

    def pooled(self, l, S):
        return S @ pooling_matrix(self.network.features[l]).T if self.convolves(l) else S

    def unpooled(self, l, G):
        return G @ pooling_matrix(self.network.features[l]) if self.convolves(l) else G

    def rows(self, l, S):
        return self.network.layer(l).patch_matrix(S)

    def targets(self, l, Z):
        by_position = Z.reshape(len(Z), len(self.b[l]), -1).transpose(0, 2, 1)
        return by_position.reshape(-1, len(self.b[l]))

    def pooling_norm(self, l):
        """Return the squared norm of the pooling below layer l."""
        if l == 1 or not self.convolves(l - 1):
            return 1.0
        P = pooling_matrix(self.network.features[l - 1])
        return np.linalg.norm(P, "fro" if self.norm == "frobenius" else 2) ** 2

    def patches_of_a_pixel(self, l):
        """Return ``ceil(kh/sh) ceil(kw/sw)``."""
        layer = self.network.layer(l)
        pairs = zip(layer.kernel_size, layer.stride, strict=True)
        return math.prod(math.ceil(taps / step) for taps, step in pairs)

    def nu(self, l):
        """Return ``||C_l||^2 ||pool_{l-1}||^2``."""
        if not self.convolves(l):
            own = squared_norm(self.W[l], self.norm)
        elif self.norm == "frobenius":
            own = np.sum(self.matrix(l) ** 2)
        else:
            own = self.patches_of_a_pixel(l) * squared_norm(self.W[l], self.norm)
        return own * self.pooling_norm(l)

    def norm_diagonal(self, l):
        D = np.ones(self.W[l].shape[1])
        if self.convolves(l):
            ones = np.sum(tap_matrices(self.network.layer(l)) ** 2, axis=(1, 2))
            D *= ones if self.norm == "frobenius" else self.patches_of_a_pixel(l)
        return D * self.pooling_norm(l)


def train(reference, n_sweeps, growth=1.5, **options):
    """Sweep in place; return LS after every sweep."""
    step, history = None, []
    for _ in range(n_sweeps):
        accepted = reference.sweep(output_step=step, **options)
        step = growth * accepted or None
        history.append(math.sqrt(reference.separated_loss()))
    return history


class RegressionReference(Reference):
    """The same with the squared error: y holds the targets (n, K), and ``e_n = |U_n - y_n|``."""

    def errors(self, U):
        return np.linalg.norm(U - self.y, axis=1)

    def loss(self):
        """Return the weighted mean of ``|U_n - y_n|^2`` of the true network."""
        return np.mean(self.c * self.errors(self.logits()) ** 2)

    def surrogate_losses(self):
        return self.errors(self.surrogate_logits())

    def weighted_loss_gradient(self):
        return 2 * self.c[:, None] * (self.surrogate_logits() - self.y)

    def update_output(self):
        """Solve for W_L, and b_L with an output bias, at once."""
        L, S, root = self.depth, self.features(self.depth - 1), np.sqrt(self.c)[:, None]
        eta = self.ridge(L) * self.norm_diagonal(L) + len(self.y) * self.alpha / 2
        if self.output_bias:
            self.W[L], self.b[L] = ridge_least_squares_with_bias(S, self.y, eta, root)
        else:
            self.W[L] = ridge_least_squares(S, self.y - self.b[L], eta, root)


class LabelReference(Reference):
    """The same with several labels per sample: y is 0 or 1, (n, K), and losses are summed."""

    def errors(self, U):
        return np.sum(np.where(self.y == 1, np.logaddexp(0, -U), np.logaddexp(0, U)), axis=1)

    def loss(self):
        """Return the weighted mean over the samples of the sum over the labels."""
        return np.mean(self.c * self.errors(self.logits()))

    def surrogate_losses(self):
        return self.errors(self.surrogate_logits())

    def weighted_loss_gradient(self):
        U = self.surrogate_logits()
        return 2 * (self.c * self.errors(U))[:, None] * (_sigmoid(U) - self.y)

    def accuracy(self):
        return np.mean(np.all((self.logits() > 0) == self.y, axis=1))
