"""The method in plain NumPy and float64, slow and without cleverness: what the tests trust.

Every quantity is written as in the equations and recomputed from weights and auxiliaries alone;
nothing is cached, residuals are formed by subtraction, rows are treated one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
    return np.linalg.norm(W, "fro" if norm == "frobenius" else 2) ** 2


def ridge_least_squares(S, T, eta):
    """Return W of ``min_W ||S W' - T||^2 + eta ||W||^2`` from the stacked system."""
    p = S.shape[1]
    stacked = np.vstack([S, math.sqrt(eta) * np.eye(p)])
    targets = np.vstack([T, np.zeros((p, T.shape[1]))])
    return np.linalg.lstsq(stacked, targets, rcond=None)[0].T


def ridge_least_squares_with_bias(S, T, eta):
    """Return W and b of ``min ||S W' + b - T||^2 + eta ||W||^2``: the bias is not penalised."""
    n, p = S.shape
    stacked = np.block([[S, np.ones((n, 1))], [math.sqrt(eta) * np.eye(p), np.zeros((p, 1))]])
    targets = np.vstack([T, np.zeros((p, T.shape[1]))])
    both = np.linalg.lstsq(stacked, targets, rcond=None)[0].T
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

    @classmethod
    def of(cls, problem, state):
        """Copy the library's state in float64; its residuals and cached sums are left behind."""
        network = problem.network
        return cls(
            problem.X.astype(float),
            problem.loss.y,
            [w.astype(float) for w in state.W],
            [v.astype(float) for v in state.b],
            [a.astype(float) for a in state.A],
            network.features[-1].name,
            problem.objective.norm,
            network.output_bias,
            problem.loss.sample_weight,
            problem.loss.label_smoothing or 0.0,
            problem.alpha,
        )

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

    def features(self, l):
        """Return ``S_l``."""
        return self.X if l == 0 else self.s(self.A[l])

    def logits(self, X=None):
        """Return the logits of the true network."""
        S = self.X if X is None else X
        for l in range(1, self.depth):
            S = self.s(S @ self.W[l].T + self.b[l])
        return S @ self.W[self.depth].T + self.b[self.depth]

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
        return self.features(L - 1) @ self.W[L].T + self.b[L]

    def prediction(self, l):
        """Return ``T_l = S_{l-1} W_l' + b_l``."""
        return self.features(l - 1) @ self.W[l].T + self.b[l]

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
        in_W = G.T @ self.features(L - 1) + (2 * self.ridge(L) + decay) * self.W[L]
        in_b = G.sum(axis=0) if self.output_bias else np.zeros(len(self.b[L]))
        return in_W, in_b

    def auxiliary_gradient(self, l):
        """Return the gradient in A_l."""
        c = self.c[:, None]
        own = 2 * self.weight(l) * c * self.residual(l)
        if l == self.depth - 1:
            above = self.weighted_loss_gradient() @ self.W[l + 1]
        else:
            above = -2 * self.weight(l + 1) * c * self.residual(l + 1) @ self.W[l + 1]
        return above * self.ds(self.A[l]) + own

    def weight_gradient(self, l):
        """Return the gradients in W_l and b_l, l < L (Frobenius norm)."""
        R, w = self.c[:, None] * self.residual(l), self.weight(l)
        decay = 2 * w * self.ridge(l) + len(self.y) * self.alpha
        in_W = -2 * w * R.T @ self.features(l - 1) + decay * self.W[l]
        return in_W, -2 * w * R.sum(axis=0)

    # --- one block of Algorithm 1 after the other ---------------------------------------------

    def update_output(self, start, shrink, max_trials):
        """Take one gradient step on W_L with backtracking; return the accepted step length."""
        L, y, S = self.depth, self.y, self.features(self.depth - 1)
        c = self.ridge(L)

        def f(W, b):
            e = cross_entropy(S @ W.T + b, y)
            return np.sum(e**2) + c * squared_norm(W, self.norm)

        in_W, in_b = self.output_gradient()
        e = cross_entropy(self.surrogate_logits(), y)
        if start is None:
            start = 1 / (np.sum((np.sum(S**2, axis=1) + self.output_bias) * (4 + 2 * e)) + 2 * c)
        for k in range(max_trials):
            step = start * shrink**k
            W, b = self.W[L] - step * in_W, self.b[L] - step * in_b
            if f(W, b) <= f(self.W[L], self.b[L]):
                self.W[L], self.b[L] = W, b
                return step
        return 0.0

    def row_objective(self, l, n, a):
        """Return the terms of n F that see row n of A_l, at the value a of that row."""
        S, target, W = self.s(a), self.prediction(l)[n], self.W[l + 1]
        own = self.weight(l) * np.sum((a - target) ** 2)
        if l == self.depth - 1:
            U = S @ W.T + self.b[l + 1]
            return own + cross_entropy(U[None, :], self.y[n : n + 1])[0] ** 2
        R = self.A[l + 1][n] - S @ W.T - self.b[l + 1]
        return own + self.weight(l + 1) * np.sum(R**2)

    def first_step(self, l, reach):
        """Return reach over the curvature bound of every row."""
        above = np.ones(len(self.y))
        if l == self.depth - 1:
            above = 2 + cross_entropy(self.surrogate_logits(), self.y)
        return reach / (2 * self.weight(l) * (1 + above))

    def update_auxiliary_rows(self, l, reach, shrink, max_trials):
        """Take one gradient step on every row of A_l, each with its own step length."""
        gradient, start = self.auxiliary_gradient(l), self.first_step(l, reach)
        A = self.A[l].copy()
        for n in range(len(A)):
            old = self.row_objective(l, n, self.A[l][n])
            for k in range(max_trials):
                row = self.A[l][n] - start[n] * shrink**k * gradient[n]
                if self.row_objective(l, n, row) <= old:
                    A[n] = row
                    break
        self.A[l] = A

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
        S, eta = self.features(l - 1), self.ridge(l)
        if bias == "joint":
            self.W[l], self.b[l] = ridge_least_squares_with_bias(S, self.A[l], eta)
        else:
            self.W[l] = ridge_least_squares(S, self.A[l] - self.b[l], eta)
            self.b[l] = np.mean(self.A[l] - S @ self.W[l].T, axis=0)

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


def train(reference, n_sweeps, growth=1.5, **options):
    """Sweep in place; return LS after every sweep."""
    step, history = None, []
    for _ in range(n_sweeps):
        accepted = reference.sweep(output_step=step, **options)
        step = growth * accepted or None
        history.append(math.sqrt(reference.separated_loss()))
    return history
