"""The rivals in torch on all data at once: gradient descent, Adam, L-BFGS, the choice of rates."""

import math

import numpy as np
import pytest
from experiments import part

import lysep_fast
from lysep_fast.kernels import cross_entropy, cross_entropy_gradient

circle, classifier, loop = part("circle"), part("_torch_classifier"), part("_torch_loop")
choose_rate, ExperimentError = part("_rates").choose_rate, part("_rates").ExperimentError

# --- gradient descent --------------------------------------------------------------------------


def test_gradient_descent_is_gradient_descent(torch):
    X, y = circle.make_circle(50, 0)
    with loop.session(4):
        network = loop.twin(lysep_fast.Network.dense((2, 6, 2)))
    V, c, W = (p.detach().numpy().copy() for p in network.parameters())
    losses = []
    for _ in range(6):
        S = np.tanh(X @ V.T + c)
        e, G = cross_entropy_gradient(S @ W.T, y)
        losses.append(np.mean(e))
        D = (G @ W) * (1 - S**2) / len(y)
        V, c, W = V - 0.3 * D.T @ X, c - 0.3 * D.sum(axis=0), W - 0.3 * G.T @ S / len(y)
    settings = {"widths": (2, 6, 2), "rate": 0.3, "n_iter": 5, "seed": 4}
    trained = classifier.train(X, y, method="descent", n_threads=1, **settings)
    np.testing.assert_allclose(trained.loss, losses, rtol=1e-10)
    logits = trained.logits(X)
    assert np.mean(cross_entropy(logits, y)) == pytest.approx(losses[-1], rel=1e-10)
    assert np.all(np.diff(trained.seconds) >= 0)
    assert trained.accuracy[-1] == np.mean(logits.argmax(axis=1) == y)


def test_torch_keeps_its_global_state(torch):
    X, y = circle.make_circle(20, 0)
    numbers, n_threads = torch.random.get_rng_state(), torch.get_num_threads()
    for method in ("descent", "adam", "lbfgs"):
        classifier.train(
            X, y, method=method, widths=(2, 3, 2), rate=0.1, n_iter=2, seed=0,
            n_threads=n_threads + 1,
        )  # fmt: skip
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert torch.get_num_threads() == n_threads
    assert torch.get_default_dtype() == torch.float32


def test_the_rate_with_the_lowest_loss_wins_and_divergence_never(torch):
    X, y = circle.make_circle(40, 0)

    def losses(rate, seed):
        settings = {"method": "descent", "widths": (2, 5, 2), "n_iter": 20, "n_threads": 1}
        return classifier.train(X, y, rate=rate, seed=seed, **settings).loss

    rate, reached = choose_rate((1e-4, 0.3, float("inf")), (0, 1), losses)
    assert rate == 0.3
    assert reached[1] < reached[0]
    assert reached[2] == math.inf


# --- rates --------------------------------------------------------------------------------------


def test_a_rate_that_one_of_the_seeds_does_not_bear_loses():
    tails = {(0.1, 0): 3.0, (0.1, 1): 5.0, (1.0, 0): 1.0, (1.0, 1): 9.0, (3.0, 0): 0.5}

    def losses(rate, seed):
        return np.r_[np.full(18, 99.0), np.full(2, tails.get((rate, seed), np.nan))]

    assert choose_rate((0.1, 1.0, 3.0), (0, 1), losses) == (0.1, [4.0, 5.0, math.inf])
    assert choose_rate((0.1, 1.0, 3.0), (0,), losses) == (3.0, [3.0, 1.0, 0.5])


def test_when_every_rate_diverges_that_is_an_error():
    with pytest.raises(ExperimentError, match=r"all rates .* diverge; .* smaller"):
        choose_rate((0.1, 1.0), (0,), lambda rate, seed: np.full(5, np.nan))


# --- Adam and L-BFGS -----------------------------------------------------------------------------


OPTIMISERS = ("adam", "lbfgs")
SMALL = {"widths": (2, 8, 2), "seed": 0, "n_threads": 1, "rate": 0.01}


@pytest.mark.parametrize("method", OPTIMISERS)
def test_optimisers_lower_the_loss_and_return_the_best_network(torch, method):
    X, y = circle.make_circle(60, 0)
    steps = []
    trained = classifier.train(
        X, y, method=method, n_iter=60, advance=lambda: steps.append(1), **SMALL
    )
    assert len(steps) == len(trained.loss) - 1 <= 60
    assert trained.loss.min() < 0.9 * trained.loss[0]
    logits = trained.logits(X)
    assert np.mean(cross_entropy(logits, y)) == pytest.approx(trained.loss.min(), rel=1e-10)
    assert np.all(np.diff(trained.seconds) >= 0)
    best = int(np.argmin(trained.loss))
    assert trained.accuracy[best] == np.mean(logits.argmax(axis=1) == y)


@pytest.mark.parametrize("method", OPTIMISERS)
def test_optimisers_start_where_gradient_descent_does(torch, method):
    X, y = circle.make_circle(40, 0)
    first = classifier.train(X, y, method=method, n_iter=2, **SMALL).loss[0]
    assert first == classifier.train(X, y, method="descent", n_iter=0, **SMALL).loss[0]


@pytest.mark.parametrize("method", OPTIMISERS)
def test_optimisers_stop_at_the_loss_asked_for(torch, method):
    X, y = circle.make_circle(60, 0)
    whole = classifier.train(X, y, method=method, n_iter=40, **SMALL).loss
    level = whole[20:].max()
    loss = classifier.train(X, y, method=method, n_iter=40, stop_at=level, **SMALL).loss
    assert loss[-1] <= level < loss[:-1].min()
    np.testing.assert_array_equal(loss, whole[: len(loss)])


def test_adam_is_adam(torch):
    X, y = circle.make_circle(50, 0)
    with loop.session(0):
        network = loop.twin(lysep_fast.Network.dense((2, 8, 2)))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(X)), torch.tensor(y))
        losses.append(loss.item())
        loss.backward()
        optimiser.step()
    found = classifier.train(X, y, method="adam", n_iter=4, **SMALL).loss
    np.testing.assert_allclose(found, losses, rtol=1e-10)


@pytest.mark.parametrize("method", OPTIMISERS)
def test_an_optimiser_that_diverges_ends_and_keeps_its_best(torch, method):
    X, y = circle.make_circle(20, 0)
    X[0, 0] = np.inf  # the first loss is finite for tanh, the gradient is not
    trained = classifier.train(X, y, method=method, n_iter=30, **{**SMALL, "rate": 1.0})
    assert len(trained.loss) < 31
    assert np.all(np.isfinite(trained.logits(np.zeros((3, 2)))))
