"""Flat vectors of weights: one class cuts them, whatever the order of the arrays in them."""

from __future__ import annotations

import numpy as np

from lysep_fast.layers.dense import Dense
from lysep_fast.network import Network
from lysep_fast.network.parameters import Packing, Parameters, dense_shapes, parameter_shapes
from lysep_fast.pde.hidden import Hidden


def test_views_share_the_memory_and_lie_one_after_the_other():
    packing = Packing([(2, 3), (2,), (), (0, 5), (4, 1, 2)])
    theta = np.arange(packing.size, dtype=np.float32)
    views = packing.views(theta)
    assert packing.size == 6 + 2 + 1 + 0 + 8
    assert [view.shape for view in views] == list(packing.shapes)
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in views]), theta)
    assert all(view.flags.c_contiguous and view.dtype == np.float32 for view in views)
    views[1][...] = -1.0
    np.testing.assert_array_equal(theta[6:8], -1.0)


def test_nothing_is_packed_in_no_memory():
    assert (Packing([]).size, Packing([]).views(np.empty(0))) == (0, [])
    assert dense_shapes((3,)) == []


def test_hidden_layers_keep_weights_and_biases_one_after_the_other():
    # The order of model files: it must never change.
    hidden = Hidden((2, 3, 4), np.arange(25.0))
    np.testing.assert_array_equal(hidden.W[1], np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(hidden.b[1], [6, 7, 8])
    np.testing.assert_array_equal(hidden.W[2], np.arange(9.0, 21.0).reshape(4, 3))
    np.testing.assert_array_equal(hidden.b[2], [21, 22, 23, 24])
    assert dense_shapes((2, 3, 4)) == [(3, 2), (3,), (4, 3), (4,)]


def test_the_matrices_of_a_network_are_another_order_of_the_same_packing():
    network = Network.dense((2, 3, 4), "tanh")
    assert all(isinstance(layer, Dense) for layer in network.layers)
    packing = Packing(parameter_shapes(network))
    theta = np.arange(float(packing.size))
    for view, layer in zip(
        packing.views(theta), Parameters(theta, parameter_shapes(network)).layers[1:], strict=True
    ):
        np.testing.assert_array_equal(view, layer)
