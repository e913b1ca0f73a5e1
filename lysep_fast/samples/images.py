"""Images as rows: what shape they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..validation import check_integer

__all__ = ["image_rows", "is_images", "rows_like"]


def image_rows(X: Any, image_shape: Any = None) -> tuple[Any, tuple[int, int, int] | None]:
    """Return X with one row per image, and the shape ``(channels, height, width)`` of a row.

    Parameters
    ----------
    X : array-like, shape (n, H, W), (n, C, H, W) or (n, features)
        Images; entries are not looked at.
    image_shape : tuple of 2 or 3 int, optional
        ``(H, W)`` or ``(C, H, W)`` of a row of features.  Without it, a square number of features
        is taken for a grey image, and any other for one line of pixels.

    Raises
    ------
    ValueError
        If the shape does not fit.
    """
    given = None if image_shape is None else _check_shape(image_shape)
    shape = _shape(X)
    if len(shape) in (3, 4):
        own = _own_shape(shape)
        if given is not None and given != own:
            raise ValueError(
                f"image_shape={image_shape!r} does not fit X of shape {shape}; leave it at None "
                "for images that have their shape already"
            )
        return np.reshape(np.asarray(X), (shape[0], math.prod(own))), own
    if len(shape) != 2 or not shape[1]:
        return X, given  # the checks of X say what is wrong
    if given is None:
        edge = math.isqrt(shape[1])
        given = (1, edge, edge) if edge * edge == shape[1] else (1, 1, shape[1])
    elif math.prod(given) != shape[1]:
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(given)} pixels, but X has {shape[1]} "
            "features; give the shape of one row"
        )
    return X, given


def is_images(X: Any) -> bool:
    """Return whether X has the shape of images, (n, H, W) or (n, C, H, W)."""
    return len(_shape(X)) in (3, 4)


def rows_like(X: Any, image_shape: tuple[int, int, int]) -> Any:
    """Return X with one row per image, for a network trained with images of `image_shape`.

    Raises
    ------
    ValueError
        If X holds images of another shape.
    """
    if not is_images(X):
        return X  # rows, or the checks of X say what is wrong
    shape = _shape(X)
    own = _own_shape(shape)
    if own != image_shape:
        raise ValueError(
            f"X has shape {shape}, but the network was trained with images of shape "
            f"{image_shape} (channels, height, width); pass images of that shape"
        )
    return np.reshape(np.asarray(X), (shape[0], math.prod(own)))


def _shape(X: Any) -> tuple[int, ...]:
    """Return the shape of tables, arrays and nested lists; () if the rows of a list differ."""
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        return shape
    try:
        return np.asarray(X).shape
    except ValueError:
        return ()


def _own_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, height and width of images (n, H, W) or (n, C, H, W)."""
    height, width = shape[-2:]
    return (shape[1] if len(shape) == 4 else 1, height, width)


def _check_shape(image_shape: Any) -> tuple[int, int, int]:
    """Return ``(C, H, W)`` for two or three positive integers."""
    if not isinstance(image_shape, Sequence) or len(image_shape) not in (2, 3):
        raise ValueError(
            f"image_shape must be (height, width) or (channels, height, width), got "
            f"{image_shape!r}"
        )
    numbers = [check_integer(v, f"image_shape[{i}]", minimum=1) for i, v in enumerate(image_shape)]
    c, h, w = (1, *numbers) if len(numbers) == 2 else numbers
    return c, h, w
