"""How convolutions are asked for, checked, and the network that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..validation import check_integer, check_widths
from .chain import Network

__all__ = ["ConvolutionLayers"]


@dataclass(frozen=True)
class ConvolutionLayers:
    """Convolution-pooling layers at the bottom of a network, as the user asks for them.

    Attributes
    ----------
    channels : tuple of int
        Output channels, one entry per convolution.
    kernel_size, pool_size : int or sequence of int
        Edges of kernels and pooling windows, one for all or one each.
    padding : int or "same"
        Zeros around the images.
    """

    channels: tuple[int, ...]
    kernel_size: int | Sequence[int] = 3
    pool_size: int | Sequence[int] = 2
    padding: int | str = "same"

    @classmethod
    def check(
        cls, channels: Any, kernel_size: Any, pool_size: Any, padding: Any
    ) -> ConvolutionLayers:
        """Return the checked request, or raise an error that names the argument."""
        try:
            widths = check_widths(channels)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("hidden_layer_sizes", "conv_channels")) from None
        count = len(widths)
        for name, value in (("kernel_size", kernel_size), ("pool_size", pool_size)):
            several = isinstance(value, Sequence) and not isinstance(value, str)
            if several and count and len(value) != count:
                raise ValueError(
                    f"{name} must be one number or one for each of the {count} convolutions, got "
                    f"{value!r}"
                )
            for i, number in enumerate(value if several else (value,)):
                check_integer(number, f"{name}[{i}]" if several else name, minimum=1)
        if padding != "same":
            try:
                check_integer(padding, "padding", minimum=0)
            except (TypeError, ValueError):
                raise ValueError(
                    f"padding must be 'same' or a number of zeros, got {padding!r}"
                ) from None
        given = {"kernel_size": kernel_size, "pool_size": pool_size, "padding": padding}
        for name, value in given.items():
            if not count and value != getattr(cls, name):
                raise ValueError(
                    f"{name}={value!r} needs convolutions; set conv_channels, or leave it out"
                )
        return cls(widths, kernel_size, pool_size, padding)

    def network(
        self,
        image_shape: tuple[int, int, int],
        hidden: Sequence[int],
        n_outputs: int,
        activation: str,
        output_bias: bool,
    ) -> Network:
        """Build the network for images of a shape."""
        return Network.convolutional(
            image_shape,
            self.channels,
            hidden,
            n_outputs,
            activation,
            kernel_size=self.kernel_size,
            padding=self.padding,
            pool_size=self.pool_size,
            output_bias=output_bias,
        )
