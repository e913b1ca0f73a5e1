"""Generated arrays that are hard on numerics: inputs, labels, targets and sample weights."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lysep_fast.kernels._jit import JIT_ENABLED

__all__ = ["label_matrices", "labels", "matrices", "sample_weights", "targets"]


def _plain(X, rng):
    return X


def _constant_column(X, rng):
    X[:, rng.integers(X.shape[1])] = rng.normal()
    return X


def _all_equal(X, rng):
    X[...] = rng.choice([0.0, 1.0, -3.7, 1e10])
    return X


def _rank_one(X, rng):
    return np.outer(X[:, 0], rng.normal(size=X.shape[1]))


def _duplicate_samples(X, rng):
    return X[rng.integers(max(1, len(X) // 4), size=len(X))]


def _scales(X, rng):
    return X * 10.0 ** rng.integers(-30, 30, X.shape[1])


def _mixed_entries(X, rng):
    return X * 10.0 ** rng.integers(-35, 36, X.shape)


def _denormal(X, rng):
    return X * 5e-324 / np.finfo(float).eps


def _spike(X, rng):
    X[rng.integers(len(X)), rng.integers(X.shape[1])] = rng.choice([1e30, -1e38, 1e150, 1e300])
    return X


def _far_away(X, rng):
    return 1e12 + X


def _integers(X, rng):
    return np.round(3 * X)


SHAPES = (
    _plain, _constant_column, _all_equal, _rank_one, _duplicate_samples, _scales, _mixed_entries,
    _denormal, _spike, _far_away, _integers,
)  # fmt: skip
FACTORS = (*[1.0] * 8, 1e-300, 1e-160, 1e-40, 1e-10, 1e10, 1e19, 1e38, 1e100, 1e160, 1e300)


def _layout(X, kind):
    """Return the same numbers in another memory layout or container."""
    if kind == "read-only":
        X = X.copy()
        X.setflags(write=False)
    elif kind == "Fortran":
        X = np.asfortranarray(X)
    elif kind == "strided":
        X = np.repeat(X, 2, axis=0)[::2]
    elif kind == "reversed":
        X = X[::-1].copy()[::-1]
    elif kind == "big-endian":
        X = X.astype(X.dtype.newbyteorder(">"))
    return X


LAYOUTS = ("plain", "plain", "read-only", "Fortran", "strided", "reversed", "big-endian")


@st.composite
def matrices(draw, n=None, d=None):
    """Draw a matrix of finite numbers that may be anything but well-behaved."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    if n is None:
        n = draw(st.sampled_from([1, 2, 5, 10, 20, 20, 40] if JIT_ENABLED else [1, 6]))
    if d is None:
        d = draw(st.sampled_from([1, 2, 3, 5, 50 if JIT_ENABLED else 8]))
    X = draw(st.sampled_from(SHAPES))(rng.normal(size=(n, d)), rng)
    with np.errstate(all="ignore"):
        X = np.clip(X * draw(st.sampled_from(FACTORS)), -1e308, 1e308)
        dtype = draw(st.sampled_from([np.float64, np.float64, np.float32, np.float16, np.int64]))
        if dtype != np.float64:
            limit = 2**62 if dtype == np.int64 else float(np.finfo(dtype).max)
            X = np.clip(X, -limit, limit).astype(dtype)
    return _layout(X, draw(st.sampled_from(LAYOUTS)))


@st.composite
def labels(draw, X):
    """Draw class indices: at random, separable, one class only, or one sample of a class."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    kind = draw(st.sampled_from(["random"] * 5 + ["separable"] * 5 + ["rare"] * 2 + ["one class"]))
    if kind == "one class":
        return np.full(len(X), draw(st.integers(0, 1)))
    if kind == "rare":
        y = np.zeros(len(X), np.int64)
        y[rng.integers(len(X))] = 1
        return y
    if kind == "separable":
        return (X[:, 0] > np.sort(X[:, 0])[len(X) // 2]).astype(int)
    y = rng.integers(0, draw(st.integers(2, 4)), len(X))
    y[:2] = np.arange(2)[: len(y)]
    return y


@st.composite
def label_matrices(draw, X):
    """Draw labels 0 and 1: at random, rare, or the same for all samples."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 0.5, 1.0]))
    return (rng.uniform(size=(len(X), draw(st.integers(1, 4)))) < share).astype(np.int64)


@st.composite
def targets(draw, X):
    """Draw numbers, one or a row of them per sample."""
    T = draw(matrices(n=len(X), d=draw(st.integers(1, 3))))
    return T[:, 0] if draw(st.booleans()) else T


@st.composite
def sample_weights(draw, n):
    """Draw sample weights with zeros and extremes."""
    if draw(st.booleans()):
        return None
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    kind = draw(st.sampled_from(["random", "zeros", "one only", "extreme"] * 3 + ["all zero"]))
    c = rng.uniform(0.1, 2.0, n)
    if kind == "zeros":
        c[rng.uniform(size=n) < 0.5] = 0.0
    elif kind == "all zero":
        c[:] = 0.0
    elif kind == "one only":
        c[1:] = 0.0
    elif kind == "extreme":
        c *= 10.0 ** rng.integers(-300, 300, n)
    return c
