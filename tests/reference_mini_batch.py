"""Small mini-batch problems, and the equations of both kinds of steps in plain NumPy."""

import numpy as np

from lysep_fast.kernels import activation_and_derivative
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.samples.kinds import ArraySamples
from lysep_fast.solvers.mini_batch import _even_batches
from lysep_fast.threads.team import Team


def make(
    widths=(4, 6, 5, 3),
    activation="tanh",
    *,
    n=23,
    dtype=np.float64,
    output_bias=False,
    weighted=False,
    alpha=0.0,
    smoothing=0.0,
    team=None,
    seed=0,
):
    """Return a problem and its synchronised state."""
    rng = np.random.default_rng(seed)
    network = Network.dense(widths, activation, output_bias=output_bias)
    X = rng.normal(size=(n, widths[0])).astype(dtype)
    y = rng.integers(0, widths[-1], n)
    weights = None
    if weighted:
        weights = rng.uniform(0.2, 2.0, n)
        weights = (weights / weights.mean()).astype(dtype)
    loss = CrossEntropy(y, widths[-1], weights, smoothing)
    problem = TrainingProblem(
        network,
        loss,
        ArraySamples(X),
        team or Team(1),
        alpha=alpha,
        rng=np.random.default_rng(seed + 1),
    )
    W, b = network.initial_weights(rng, np.dtype(dtype))
    return problem, problem.synchronised_state(W, b, auxiliaries=False)


def run_epochs(solver, problem, state, epochs):
    with problem.team:
        solver.start(problem, state)
        for _ in range(epochs):
            solver.step(problem, state)
    return state


class Naive:
    """The steps of the solver's equations, literally; ``mean`` is the averaged network."""

    def __init__(self, problem, state, solver):
        self.problem, self.network, self.solver = problem, problem.network, solver
        self.L = self.network.depth
        self.T = [None] + [np.column_stack([state.W[l], state.b[l]]) for l in range(1, self.L + 1)]
        self.V = [None] + [np.zeros_like(t) for t in self.T[1:]]
        self.mean = [None] + [np.zeros_like(t) for t in self.T[1:]]
        n, K = problem.n_samples, self.network.widths[-1]
        weights = problem.loss.sample_weight
        self.c = np.ones(n) if weights is None else weights
        smoothing = problem.loss.label_smoothing
        if smoothing is None:
            smoothing = solver.label_smoothing
        self.Y = (1 - smoothing) * np.eye(K)[problem.loss.y] + smoothing / K
        norms = np.sum(problem.samples.X**2, axis=1) + 1
        self.tau = np.mean(self.c * norms) / (problem.samples.X.shape[1] + 1)
        self.rate = 0.2 if solver.rate is None else solver.rate
        self.n_batches = len(_even_batches(n, solver.batch_size))
        self.averaging = solver.averaging
        if self.averaging is None:
            self.averaging = 1 - 1 / min(max(self.n_batches, 50), 1000)
        self.decay = solver.weight_decay
        if self.decay is None:
            self.decay = min(
                5e-3,
                0.14 * min(1, problem.samples.X.shape[1] / 40) / (self.rate * self.n_batches),
            )
        self.M, self.inverse = {}, {}
        self.k = self.n_grams = self.n_averaged = 0
        self.next_inverse = 1

    def run(self, rng, epochs):
        """Return the average after some epochs."""
        n = self.problem.n_samples
        for _ in range(epochs):
            order = rng.permutation(n)
            for rows in _even_batches(n, self.solver.batch_size):
                self.step(order[rows])
        return self.mean

    def step(self, i):
        """Do one step on the samples i."""
        g, S = self.gradient(i)
        if self.k < 32 or self.k % self.solver.gram_period == 0:
            self.update_metric(i, S)
        p = [None, g[1] / self.tau] + [g[l] @ self.inverse[l] for l in range(2, self.L + 1)]
        s = np.sqrt(sum(np.vdot(p[l], g[l]) for l in range(1, self.L + 1)))
        beta, eta = self.solver.momentum, self.rate
        for l in range(1, self.L + 1):
            cut = p[l] * min(1.0, self.solver.radius / s)
            self.V[l] = beta * self.V[l] - (1 - beta) * eta * cut
            self.T[l] += self.V[l]
            self.T[l][:, :-1] *= 1 - eta * self.decay
        if self.k % self.solver.average_period == 0:
            limit = self.averaging**self.solver.average_period
            a = min(limit, 1 - 1 / (self.n_averaged + 1))
            for m, t in zip(self.mean[1:], self.T[1:], strict=True):
                m[:] = a * m + (1 - a) * t
            self.n_averaged += 1
        self.k += 1

    def gradient(self, i):
        """Return the gradients and the features with their column of ones."""
        Z, S, D = self.problem.samples.X[i], [], []
        for l in range(1, self.L + 1):
            S.append(np.hstack([Z, np.full((len(i), 1), float(self.network.has_bias(l)))]))
            Z = S[-1] @ self.T[l].T
            if l < self.L:
                Z, derivative = activation_and_derivative(self.network.features[1].name, Z)
                D.append(derivative)
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        delta = self.c[i, None] * (P / P.sum(axis=1, keepdims=True) - self.Y[i])
        g = [None] * (self.L + 1)
        for l in range(self.L, 0, -1):
            g[l] = delta.T @ S[l - 1] / len(i)
            g[l][:, :-1] += self.problem.alpha * self.T[l][:, :-1]
            if l > 1:
                delta = (delta @ self.T[l][:, :-1]) * D[l - 2]
        return g, S

    def update_metric(self, i, S):
        """Move the Gram matrices, and invert them when their turn has come."""
        a = min(self.solver.metric_averaging, 1 - 1 / (self.n_grams + 1))
        self.n_grams += 1
        renew = self.n_grams == self.next_inverse
        if renew:
            self.next_inverse += min(self.next_inverse, self.solver.inverse_period)
        for l in range(2, self.L + 1):
            gram = S[l - 1].T @ (self.c[i, None] * S[l - 1]) / len(i)
            self.M[l] = a * self.M.get(l, 0.0) + (1 - a) * gram
            if renew:
                dim = self.network.widths[l - 1] + self.network.has_bias(l)
                damping = self.solver.damping * np.trace(self.M[l]) / dim
                self.inverse[l] = np.linalg.inv(self.M[l] + damping * np.eye(len(gram)))


class NaivePolar(Naive):
    """The polar steps, literally; every root is new."""

    def __init__(self, problem, state, solver):
        super().__init__(problem, state, solver)
        self.Z = [None] + [t.copy() for t in self.T[1:]]
        self.mean = [None] + [t.copy() for t in self.T[1:]]
        self.rate = 0.1 if solver.rate is None else solver.rate
        self.polar_rate = 0.02 if solver.polar_rate is None else solver.polar_rate
        self.polar_decay = 0.4 if solver.polar_decay is None else solver.polar_decay
        self.share = 0.5 if solver.interpolation is None else solver.interpolation
        self.output_decay = 1e-3 if solver.weight_decay is None else solver.weight_decay

    def step(self, i):
        """Do one step on the samples i."""
        g, S = self.gradient(i)
        if self.k < 32 or self.k % self.solver.gram_period == 0:
            self.update_metric(i, S)
        self.k += 1
        beta = self.solver.momentum
        for l in range(1, self.L + 1):
            if l < self.L:
                self.V[l] = beta * self.V[l] + (1 - beta) * g[l]
                move, eta, decay = self.polar(l), self.polar_rate, self.polar_decay
                eta *= 1.0 if l == 1 else 0.5
                rows, columns = self.T[l][:, :-1].shape
                move = move * np.sqrt(max(1.0, rows / columns))
            else:
                p = g[l] @ self.inverse[l]
                cut = min(1.0, self.solver.radius / np.sqrt(np.vdot(p, g[l])))
                self.V[l] = beta * self.V[l] + (1 - beta) * cut * p
                move, eta, decay = self.V[l], self.rate, self.output_decay
            self.Z[l][:, :-1] *= 1 - eta * decay
            self.Z[l] -= eta * move
            self.mean[l] += 3 / (self.k + 2) * (self.Z[l] - self.mean[l])
            self.T[l] = (1 - self.share) * self.Z[l] + self.share * self.mean[l]

    def polar(self, l):
        """Return the damped polar factor of the momentum, by its singular values."""
        U, s, Vt = np.linalg.svd(self.V[l], full_matrices=False)
        # The matrices of the solver have a row of zeros more where the next layer is alike.
        size = min(self.V[l].shape[0] + 1, self.V[l].shape[1])
        shift = self.solver.polar_damping * np.sum(s**2) / size
        return (U * (s / np.sqrt(s**2 + shift))) @ Vt
