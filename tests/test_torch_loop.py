"""The loop that trains the rivals in torch: steps, ends, averages, and the same networks."""

import numpy as np
import pytest
from experiments import part

import lysep_fast

loop = part("_torch_loop")


@pytest.fixture
def weight(torch):
    """Return one weight at 1, whose loss in the tests is its half square."""
    return torch.ones(1, dtype=torch.float64, requires_grad=True)


def half_square(weight):
    return lambda: 0.5 * weight.square().sum()


def test_the_rate_follows_its_schedule(torch, weight):
    rates, seen = [0.5, 0.25, 0.0], []
    optimiser = torch.optim.SGD([weight], lr=9.0)
    loop.run(optimiser, half_square(weight), steps=3, rate=rates.__getitem__, seen=seen.append)
    assert seen == [0.5, 0.5 * 0.5**2, 0.5 * 0.375**2]
    assert weight.item() == 0.375


def test_no_step_follows_the_loss_that_ends_a_training(torch, weight):
    seen = []
    optimiser = torch.optim.SGD([weight], lr=0.5)
    end = lambda loss: seen.append(loss) or len(seen) == 3  # noqa: E731
    loop.run(optimiser, half_square(weight), steps=9, seen=end)
    assert weight.item() == 0.25
    loop.run(optimiser, half_square(weight), steps=9, stepped=lambda k: k == 2)
    assert weight.item() == 0.0625


def test_lbfgs_ends_in_the_middle_of_its_search(torch, weight):
    seen = []
    end = lambda loss: seen.append(loss) or len(seen) == 2  # noqa: E731
    loop.run(loop.lbfgs([weight]), half_square(weight), seen=end)
    assert len(seen) == 2
    loop.run(loop.lbfgs([weight]), half_square(weight))
    assert abs(weight.item()) < 1e-12


def test_a_gradient_that_is_there_already_is_taken(torch, weight):
    def loss():
        half = 0.5 * weight.square().sum()
        half.backward()
        return half.detach()

    loop.run(torch.optim.SGD([weight], lr=0.5), loss, steps=2)
    assert weight.item() == 0.25


def test_the_average_forgets_the_start_and_is_only_lent(torch, weight):
    average, values = loop.Average([weight], 0.6), [3.0, 5.0, 1.0, 7.0]
    expected = 0.0
    for k, value in enumerate(values, 1):
        with torch.no_grad():
            weight.fill_(value)
        average.add(k)
        past = min(0.6, 1 - 1 / k)
        expected = past * expected + (1 - past) * value
        with average.inside():
            assert weight.item() == pytest.approx(expected, rel=1e-14)
        assert weight.item() == value
    last = loop.Average([weight], 0.0)
    last.add(1)
    with last.inside():
        assert weight.item() == 7.0


def test_the_best_weights_come_back(torch, weight):
    best = loop.Best([weight])
    offered = []
    for loss in (3.0, 1.0, 2.0, np.nan, 1.0):
        with torch.no_grad():
            weight.fill_(loss)
        offered.append(best.offer(loss))
    best.restore()
    assert offered == [True, True, False, False, False]
    assert (weight.item(), best.loss) == (1.0, 1.0)
    assert weight.requires_grad


def test_batches_are_taken_in_turn_and_scores_are_those_of_all(torch):
    X = np.random.default_rng(0).normal(size=(2100, 3))
    y = (X[:, 0] > 0).astype(np.int64)
    with loop.session(0):
        model = loop.twin(lysep_fast.Network.dense((3, 4, 2), "sigmoid", output_bias=True))
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    losses = loop.cross_entropy(model, x, labels, iter([slice(0, 9), [3, 5]]), 0.1)
    for rows in (slice(0, 9), [3, 5]):
        smooth = torch.nn.functional.cross_entropy(
            model(x[rows]), labels[rows], label_smoothing=0.1
        )
        assert losses().item() == smooth.item()
    loss, accuracy = loop.score(model, x, labels)
    assert loss == pytest.approx(loop.cross_entropy(model, x, labels)().item(), rel=1e-12)
    assert accuracy == (model(x).argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize("name", sorted(loop._ACTIVATIONS))
def test_activations_of_a_twin_are_those_of_the_network(torch, name):
    model = loop.twin(lysep_fast.Network.dense((1, 1, 1), name, output_bias=True))
    X = np.linspace(-9.0, 9.0, 101)
    found = model[1](torch.from_numpy(X)).numpy()
    assert found == pytest.approx(lysep_fast.kernels.activation(name, X), abs=1e-12)
