"""Images as rows, and how a convolutional network is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from lysep_fast.network import Network
from lysep_fast.network.architecture import ConvolutionLayers
from lysep_fast.samples.images import image_rows, rows_like


@pytest.mark.parametrize(
    ("shape", "given", "wanted"),
    [
        ((5, 3, 4), None, (1, 3, 4)),
        ((5, 2, 3, 4), None, (2, 3, 4)),
        ((5, 3, 4), (3, 4), (1, 3, 4)),
        ((5, 2, 3, 4), [2, 3, 4], (2, 3, 4)),
        ((5, 16), None, (1, 4, 4)),
        ((5, 12), None, (1, 1, 12)),
        ((5, 12), (3, 4), (1, 3, 4)),
        ((5, 24), (2, 3, 4), (2, 3, 4)),
        ((5, 1), None, (1, 1, 1)),
    ],
)
def test_images_become_rows_in_c_order(shape, given, wanted):
    X = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    rows, found = image_rows(X, given)
    assert found == wanted
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, X.reshape(5, -1))
    np.testing.assert_array_equal(image_rows(X.tolist(), given)[0], X.reshape(5, -1))


@pytest.mark.parametrize("shape", [(), (5,), (5, 0), (2, 2, 2, 2, 2)])
def test_what_is_no_table_of_images_is_left_to_the_checks(shape):
    X = np.zeros(shape)
    assert image_rows(X)[0] is X
    ragged = [[1, 2], [3]]
    assert image_rows(ragged)[0] is ragged
    assert rows_like(ragged, (1, 2, 2)) is ragged


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 0, 4), (0, 2, 3, 4)])
def test_no_images_are_no_rows(shape):
    rows, _ = image_rows(np.zeros(shape))
    assert rows.shape == (shape[0], np.prod(shape[1:]))


@pytest.mark.parametrize(
    ("shape", "given", "error", "message"),
    [
        ((5, 3, 4), (4, 3), ValueError, r"image_shape=\(4, 3\) does not fit.*\(5, 3, 4\).*None"),
        ((5, 2, 3, 4), (3, 4), ValueError, r"image_shape=\(3, 4\)"),
        ((5, 12), (4, 4), ValueError, r"image_shape=\(4, 4\) has 16 pixels.*12 features"),
        ((5, 12), (12,), ValueError, r"image_shape.*\(height, width\).*\(12,\)"),
        ((5, 12), 12, ValueError, r"image_shape.*12"),
        ((5, 12), (0, 12), ValueError, r"image_shape\[0\] must be at least 1, got 0"),
        ((5, 12), (3.0, 4), TypeError, r"image_shape\[0\] must be an integer, got 3.0"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape, given, error, message):
    with pytest.raises(error, match=message):
        image_rows(np.zeros(shape), given)


def test_a_trained_network_takes_images_of_its_shape_only():
    X = np.arange(48.0).reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(rows_like(X, (2, 3, 4)), X.reshape(2, -1))
    np.testing.assert_array_equal(rows_like(X[:, 0], (1, 3, 4)), X[:, 0].reshape(2, -1))
    flat = np.zeros((2, 7))
    assert rows_like(flat, (2, 3, 4)) is flat
    for other in (X[:, 0], X[:, :1], X.transpose(0, 1, 3, 2), np.zeros((2, 4, 6))):
        with pytest.raises(ValueError, match=r"X has shape.*\(2, 3, 4\).*pass images"):
            rows_like(other, (2, 3, 4))


def test_a_request_builds_its_network():
    asked = ConvolutionLayers.check((3, 2), (3, 2), 2, 1)
    network = asked.network((2, 6, 5), (4,), 3, "relu", True)
    assert network == Network.convolutional(
        (2, 6, 5), (3, 2), (4,), 3, "relu", kernel_size=(3, 2), pool_size=2, padding=1,
        output_bias=True,
    )  # fmt: skip
    assert ConvolutionLayers.check(4, 3, 2, "same").channels == (4,)
    assert ConvolutionLayers.check((), 3, 2, "same").channels == ()


@pytest.mark.parametrize(
    ("channels", "kernel", "pool", "padding", "error", "message"),
    [
        ((0,), 3, 2, "same", ValueError, r"conv_channels\[0\] must be at least 1, got 0"),
        ((2.5,), 3, 2, "same", TypeError, r"conv_channels\[0\] must be an integer, got 2.5"),
        ("8", 3, 2, "same", TypeError, r"conv_channels must be a sequence.*'8'"),
        (None, 3, 2, "same", TypeError, r"conv_channels.*None"),
        ((4,), 0, 2, "same", ValueError, "kernel_size must be at least 1, got 0"),
        ((4,), 2.5, 2, "same", TypeError, "kernel_size must be an integer, got 2.5"),
        ((4,), (3, 3), 2, "same", ValueError, r"kernel_size.*1 convolutions.*\(3, 3\)"),
        ((4, 4), (3, 0), 2, "same", ValueError, r"kernel_size\[1\] must be at least 1, got 0"),
        ((4,), 3, 0, "same", ValueError, "pool_size must be at least 1, got 0"),
        ((4,), 3, "2", "same", TypeError, "pool_size must be an integer, got '2'"),
        ((4, 4), 3, (2, 2, 2), "same", ValueError, r"pool_size.*2 convolutions.*\(2, 2, 2\)"),
        ((4,), 3, 2, "full", ValueError, "padding must be 'same' or a number.*'full'"),
        ((4,), 3, 2, -1, ValueError, "padding must be 'same' or a number.*-1"),
        ((4,), 3, 2, True, ValueError, "padding.*True"),
        ((4,), 3, 2, (1, 1), ValueError, r"padding.*\(1, 1\)"),
    ],
)
def test_wrong_requests_are_named(channels, kernel, pool, padding, error, message):
    with pytest.raises(error, match=message):
        ConvolutionLayers.check(channels, kernel, pool, padding)
