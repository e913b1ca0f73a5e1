"""Sparse matrices, and problems on them with a dense copy beside, for tests of sparse inputs."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from conftest import _make_problem, refresh

from lysep_fast.objective import TrainingProblem
from lysep_fast.samples.checked import check_sparse
from lysep_fast.samples.sparse import SparseSamples
from lysep_fast.threads.blocks import row_blocks

FORMATS = ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")


def random_dense(n, d, seed=0, density=0.3, dtype=np.float64):
    """Return a dense matrix that is mostly zero, some rows and columns of it entirely."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < density)
    X[rng.random(n) < 0.1] = 0.0
    X[:, rng.random(d) < 0.1] = 0.0
    return np.ascontiguousarray(X, dtype)


class ShownSamples(SparseSamples):
    """Sparse samples that show the reference a dense copy of themselves."""

    @property
    def X(self):
        return self.entries.toarray()


def sparse_problem(widths, *, gram=True, rows=16, seed=0, density=0.3, **options):
    """Return a problem on sparse inputs and a state as `make_problem` does.

    With ``gram=False`` its columns count as too many for a Gram matrix.
    """
    problem, state = _make_problem(widths, seed=seed, rows=rows, **options)
    n, d = problem.samples.X.shape
    X = random_dense(n, d, seed, density, problem.samples.dtype)
    samples = ShownSamples(check_sparse(scipy.sparse.csr_array(X)))
    samples.has_gram = gram
    own = TrainingProblem(
        problem.network,
        problem.loss,
        samples,
        problem.team,
        problem.objective.norm,
        alpha=problem.alpha,
    )
    own.blocks = row_blocks(n, rows)
    refresh(own, state)
    return own, state
