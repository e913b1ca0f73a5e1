"""The parts of the MNIST experiment: settings, clock, page of wrong digits, torch baselines."""

from pathlib import Path

import numpy as np
import pytest
from experiments import part

import lysep_fast
from lysep_fast import cli

scripts, mnist = cli.load_experiment("mnist")


models, figures = part("_mnist_models"), part("_mnist_figures")
baseline, loop, watch = part("_mnist_torch"), part("_torch_loop"), part("_watch")

N, EDGE = 24, 8


def make_data():
    X = np.random.default_rng(0).random((N, EDGE * EDGE), dtype=np.float32)
    y = np.arange(N) % 10
    return mnist.Data(X, y, X, y)


# --- settings and clock ------------------------------------------------------------------------


def test_rows_are_those_of_the_paper():
    shapes = [(row.layers, row.channels) for row in mnist.ROWS.values()]
    assert shapes == [(l, c) for l in (1, 2, 3) for c in (4, 8, 16)]
    assert list(mnist.ROWS) == list(range(1, 10))
    one = mnist.Data(np.zeros((1, 784)), np.array([9]), None, None)
    for row in mnist.ROWS.values():
        network = row.architecture.network(one)
        assert network.layers[row.layers].n_inputs == 49 * row.channels
        assert row.paper_lysep_loss[0] < row.paper_ce_loss[0]


def test_all_models_work_through_as_many_images():
    plan = mnist.make_plan(scripts.RunOptions(Path(), rows=[6]))
    X = np.zeros((60000, 4), np.float32)
    y = np.zeros(60000, int)
    case = mnist.make_case(6, plan, mnist.Data(X, y, X, y))
    passes = mnist.ROWS[6].sweeps * 500 / 60000
    for model in ("lysep", "fast"):
        method = case.methods[model]
        assert method.n_iter * method.passes_per_step(60000) == pytest.approx(passes)
    for rival in (case.rivals["descent"], case.rivals["adam"]):
        assert rival.n_iter * rival.batch_size / 60000 == pytest.approx(passes, rel=1e-3)
    assert case.rivals["lbfgs"].n_iter > passes  # of all images each


def test_marks_begin_at_the_start_and_end_at_the_end():
    assert watch.marks(1) == {0, 1}
    assert watch.marks(720) >= {0, 3, 180, 720}
    assert len(watch.marks(720)) == 17


def test_a_paused_clock_stands_still(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watch.time, "perf_counter", lambda: now[0])
    clock = watch.Clock()
    now[0] = 2.0
    with clock.paused():
        now[0] = 7.0
    now[0] = 8.0
    assert clock.seconds == 3.0


def test_kernel_change():
    start = np.array([[3.0, 4.0]])
    assert models.kernel_change([(start, start), (start, 2 * start)]) == [0.0, 1.0]


# --- the page of wrong digits -------------------------------------------------------------------


def test_the_page_of_wrong_digits_shows_those_and_no_others():
    X, y = np.zeros((70, 16)), np.zeros(70, dtype=int)
    predicted = np.where(np.arange(70) % 7 == 0, 3, 0)
    figure = figures.mistakes(X, y, predicted, "A network")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["0 as 3"] * 10
    assert "10 of 70 test images wrong\n" in figure.get_suptitle()
    figure = figures.mistakes(X, y, np.ones(70, dtype=int), "A network")
    assert "the first 60 of them" in figure.get_suptitle()
    assert "0 of 70" in figures.mistakes(X, y, y, "A network").get_suptitle()


# --- the torch baselines -----------------------------------------------------------------------


def test_torch_trains_the_network_that_we_train(torch):
    architecture = models.Architecture((2, 3, 2), (2, 2, 1), 4)
    network = lysep_fast.Network.convolutional(
        (1, EDGE, EDGE), (2, 3, 2), (4,), 10, "tanh", padding="same", pool_size=(2, 2, 1)
    )
    data = make_data()
    assert repr(architecture.network(data)) == repr(network)
    theirs = loop.twin(network, "float32")
    W, b = [np.empty(0)], [np.empty(0)]
    for layer in theirs:
        if hasattr(layer, "weight"):
            weight = layer.weight.detach().numpy()
            W.append(np.ascontiguousarray(weight.reshape(len(weight), -1)))
            b.append(
                np.zeros(10, np.float32) if layer.bias is None else layer.bias.detach().numpy()
            )
    ours = lysep_fast.Result(network, W, b).decision_function(data.X)
    np.testing.assert_allclose(loop.logits(theirs, loop.inputs(network, data.X)), ours, atol=1e-5)
    assert isinstance(theirs[0], torch.nn.Conv2d)


def test_descent_is_plain_gradient_descent_and_torch_keeps_its_state(torch):
    data, architecture = make_data(), models.Architecture((2,), (4,), 3)
    numbers, n_threads = torch.random.get_rng_state(), torch.get_num_threads()
    trained = baseline.train(
        data.X, data.y, network=architecture.network(data), optimiser="descent", rate=0.5,
        n_iter=2, batch_size=100, seed=1, n_threads=1, curve_samples=N,
    )  # fmt: skip
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert torch.get_num_threads() == n_threads
    with loop.session(1):
        network = loop.twin(architecture.network(data), "float32")
    x, y = torch.from_numpy(data.X).reshape(N, 1, EDGE, EDGE), torch.from_numpy(data.y)
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        losses.append(loss.item())
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.5 * gradient
    np.testing.assert_allclose(trained.losses, losses[:2], rtol=1e-5)
    np.testing.assert_allclose(trained.curves["loss"], losses, rtol=1e-5)
    assert trained.curves["passes"] == [0.0, 1.0, 2.0]
