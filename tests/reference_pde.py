"""The separated loss of a differential equation in plain NumPy, all points of a set at once."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr

FLOOR = 1e-3


def derivatives(name, x):
    """Return s(x) and its first three derivatives."""
    if name == "tanh":
        t = np.tanh(x)
        return t, 1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)
    if name == "sin":
        return np.sin(x), np.cos(x), -np.sin(x), -np.cos(x)
    p, bell = expit(x), np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    v = p * (1 - p)
    return {
        "sigmoid": (p, v, v * (1 - 2 * p), v * (1 - 6 * v)),
        "softplus": (np.logaddexp(0, x), p, v, v * (1 - 2 * p)),
        "gelu": (x * ndtr(x), ndtr(x) + x * bell, (2 - x**2) * bell, (x**3 - 4 * x) * bell),
    }[name]


class PdeReference:
    """Copies of all variables, the jets by set of conditions and by layer, and F of them."""

    def __init__(self, problem, state):
        network = state.jets
        self.sets, self.activation = network.sets, network.activation
        self.nonlinearity = network.nonlinearity
        self.weights, self.kappa, self.channels = problem.weights, problem.kappa, problem.channels
        self.w = state.w.copy()
        self.W = [W.copy() for W in state.hidden.W]
        self.b = [b.copy() for b in state.hidden.b]
        self.H = len(self.W) - 1
        self.J = []
        for on in self.sets:
            parts = [part for part in network.parts if part.channels == len(on.K)]
            jets = [np.concatenate([p.J[l] for p in parts], 1) for l in range(1, self.H + 1)]
            self.J.append([None, *jets])

    def features(self, s, l):
        """Return P_l of a set of conditions by the chain rule."""
        if l == 0:
            return self.sets[s].P
        J = self.J[s][l]
        value, first, second, _ = derivatives(self.activation, J[0])
        if len(J) == 1:
            return value[None]
        curved = second * np.sum(J[1:-1] ** 2, axis=0) + first * J[-1]
        return np.concatenate([value[None], first * J[1:-1], curved[None]])

    def difference(self, s, l):
        """Return J_l minus its prediction."""
        e = self.J[s][l] - self.features(s, l - 1) @ self.W[l].T
        e[0] -= self.b[l]
        return e

    def residual(self, s):
        """Return the residuals of a set's conditions."""
        on, O = self.sets[s], self.features(s, self.H) @ self.w
        r = np.sum(on.K * O, axis=0) - on.f
        return r if on.lift is None else r + self.nonlinearity[0](on.lift * O[0] + on.shift)

    def omegas(self, floor=FLOOR):
        """Return om_l; index 0 is empty."""
        om, top = [None] * self.H + [self.kappa * self.w**2], self.kappa * self.w @ self.w
        for l in range(self.H, 0, -1):
            if self.weights == "frobenius":
                norms = [np.sum(self.W[i] ** 2) for i in range(l + 1, self.H + 1)]
                om[l] = np.full(len(self.b[l]), top * np.prod(norms))
                continue
            om[l] = np.maximum(om[l], floor * om[l].mean())
            om[l - 1] = om[l] @ self.W[l] ** 2
        return om

    def channel_weights(self, s, l):
        """Return al_l of a set's channels as a column for every point and neuron."""
        al = np.ones(1) if len(self.sets[s].K) == 1 else self.channels[l]
        return al[:, None, None]

    def pointwise(self, s, floor=FLOOR):
        """Return every point's share of F, divided by its weight in the sum."""
        om, total = self.omegas(floor), self.residual(s) ** 2
        for l in range(1, self.H + 1):
            a = om[l] * self.channel_weights(s, l)
            total += np.sum(a * self.difference(s, l) ** 2, axis=(0, 2))
        return total

    def value(self, floor=FLOOR):
        """Return F, the neuron weights with this floor."""
        return sum(on.weight * self.pointwise(s, floor).sum() for s, on in enumerate(self.sets))

    def squares(self, l):
        """Return R_l of every neuron."""
        return sum(
            on.weight * np.sum(self.channel_weights(s, l) * self.difference(s, l) ** 2, (0, 1))
            for s, on in enumerate(self.sets)
        )

    def ridge(self, l):
        """Return eta_l of every neuron of the layer below."""
        eta = np.zeros(self.W[1].shape[1])
        for i in range(1, l):
            if self.weights == "frobenius":
                eta = np.full(
                    len(self.b[i]), self.squares(i).sum() + np.sum(self.W[i] ** 2) * eta[0]
                )
            else:
                eta = self.squares(i) + self.W[i] ** 2 @ eta
        return eta

    def least_squares(self, l):
        """Return the minimiser ``[W_l, b_l]`` from the stacked system of all channels."""
        m, k = self.W[l].shape
        rows, targets = [np.diag(np.append(np.sqrt(self.ridge(l)), 0.0))], [np.zeros((k + 1, m))]
        for s, on in enumerate(self.sets):
            P = self.features(s, l - 1)
            one = np.zeros((*P.shape[:2], 1))
            one[0] = 1.0
            root = np.sqrt(on.weight * self.channel_weights(s, l))
            rows.append((root * np.concatenate([P, one], 2)).reshape(-1, k + 1))
            targets.append((root * self.J[s][l]).reshape(-1, m))
        return np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0].T

    def along_jets(self, s, l, function, h=1e-5):
        """Return differences of a point's ``function()`` in the entries of its own J_l."""
        J = self.J[s][l]
        slopes = np.empty(J.shape)
        for ch, i in np.ndindex(J.shape[0], J.shape[2]):
            kept, values = J[ch, :, i].copy(), []
            for sign in (1, -1):
                J[ch, :, i] = kept + sign * h
                values.append(function())
            J[ch, :, i] = kept
            slopes[ch, :, i] = (values[0] - values[1]) / (2 * h)
        return slopes

    def gradient(self, array, floor=0.0, h=1e-5):
        """Return differences of F in one of the reference's own arrays of weights."""
        slopes = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            kept, values = array[index], []
            for sign in (1, -1):
                array[index] = kept + sign * h
                values.append(self.value(floor))
            array[index] = kept
            slopes[index] = (values[0] - values[1]) / (2 * h)
        return slopes
