"""Sparse inputs: a text-like task beside scikit-learn's models, and where Gram matrices pay.

    python bench/bench_sparse.py text [seeds]   # accuracy and seconds, 20,000 columns
    python bench/bench_sparse.py gram           # CPU seconds of the closed form of layer 1

A document is 20 words drawn by Zipf's law from 20,000, of which its topic (one of 10) prefers
some; entries are normalised tf-idf, about one in a thousand is filled.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier

from lysep_fast import LySepClassifier
from lysep_fast.blocks import LayerWeights
from lysep_fast.losses import CrossEntropy
from lysep_fast.network import Network
from lysep_fast.objective import TrainingProblem
from lysep_fast.samples import sparse
from lysep_fast.samples.checked import checked_samples
from lysep_fast.threads.team import Team

N_TRAIN, N_TEST, WORDS, TOPICS, LENGTH = 15_000, 5_000, 20_000, 10, 20

MODELS = {
    "LySep, early stop": lambda seed: LySepClassifier(early_stopping=True, random_state=seed),
    "LySep, linear": lambda seed: LySepClassifier((), early_stopping=True, random_state=seed),
    "LogisticRegression": lambda seed: LogisticRegression(),
    "SGDClassifier": lambda seed: SGDClassifier(loss="log_loss", random_state=seed),
    "MLP, early stop": lambda seed: MLPClassifier(early_stopping=True, random_state=seed),
}


def documents(n, rng, words=WORDS):
    """Return counts of words, CSR of shape (n, words), and topics."""
    usual = 1.0 / np.arange(1, words + 1)
    y = rng.integers(0, TOPICS, n)
    columns = np.empty((n, LENGTH), np.int32)
    for topic in range(TOPICS):
        preferred = usual.copy()
        # The same words in training and test: they belong to the topic, not to the draw.
        chosen = np.random.default_rng(topic).choice(words, words // 50, replace=False)
        preferred[chosen] *= 8.0
        own = y == topic
        shape = (np.count_nonzero(own), LENGTH)
        columns[own] = rng.choice(words, shape, p=preferred / preferred.sum())
    rows = np.repeat(np.arange(n, dtype=np.int32), LENGTH)
    ones = np.ones(rows.size)
    return scipy.sparse.coo_array((ones, (rows, columns.ravel())), (n, words)).tocsr(), y


def tf_idf(counts):
    """Return rows of length 1 from counts of words."""
    n, words = counts.shape
    known = np.bincount(counts.indices, minlength=words)
    data = (1.0 + np.log(counts.data)) * (np.log((1 + n) / (1 + known)) + 1.0)[counts.indices]
    X = scipy.sparse.csr_array((data, counts.indices, counts.indptr), counts.shape)
    length = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    X.data /= np.repeat(length, np.diff(X.indptr))
    return X


def text(seeds):
    """Print test accuracies and seconds of a fit, one line per model; means over the seeds."""
    LySepClassifier(max_iter=1, tol=0.9, n_iter_no_change=1).fit(
        scipy.sparse.csr_array(np.eye(50)), np.arange(50) % 2
    )  # compiles
    found = {name: [] for name in MODELS}
    for seed in range(seeds):
        counts, y = documents(N_TRAIN + N_TEST, np.random.default_rng(seed))
        X = tf_idf(counts)
        train, test = slice(0, N_TRAIN), slice(N_TRAIN, None)
        for name, make in MODELS.items():
            model, began = make(seed), time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X[train], y[train])
            seconds = time.perf_counter() - began
            found[name].append((model.score(X[test], y[test]), seconds))
            print(f"{seed} {name:20} {found[name][-1][0]:.4f} {seconds:8.2f} s", flush=True)
    print(f"{X.shape[1]} columns, {X.nnz / np.prod(X.shape):.1e} filled")
    for name, values in found.items():
        accuracy, seconds = np.mean(values, axis=0)
        print(f"{name:20} {accuracy:.4f} {seconds:8.2f} s")


def solve_once(X, y, most):
    """Return CPU seconds of the closed form of a first layer of 100 neurons, and its method."""
    sparse.MOST_GRAM_COLUMNS = most
    samples, rng = checked_samples(X), np.random.default_rng(0)
    network = Network.dense((X.shape[1], 100, TOPICS))
    with Team(1) as team:
        problem = TrainingProblem(network, CrossEntropy(y, TOPICS), samples, team, alpha=1e-4)
        W, b = network.initial_weights(rng, np.dtype(float))
        state = problem.synchronised_state(W, b)
        state.R[1][...] = rng.normal(size=state.R[1].shape)
        state.r2[1] = float(np.sum(np.square(state.R[1])))
        block = LayerWeights(1)
        seconds = []
        for _ in range(2):  # the Gram matrix is kept from the first one on
            began = time.process_time()
            step = block.update(problem, state)
            seconds.append(time.process_time() - began)
    return step.method, seconds


def gram():
    """Print CPU seconds of the first and of the second solve, by number of columns."""
    for words in (500, 1000, 2000, 4000, 8000):
        counts, y = documents(10_000, np.random.default_rng(0), words)
        X = tf_idf(counts)
        for most in (10**9, 0):
            method, (first, second) = solve_once(X, y, most)
            print(f"{words:6} {method:9} {first:8.2f} s {second:8.2f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["gram"]:
        gram()
    else:
        text(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
