"""Data sets of the experiments: drawn on the spot, or read from local files."""

from .allen_cahn import InterfaceSlice, make_interface
from .mnist import Mnist, load_mnist
from .synthetic import make_checkerboard, make_circle, make_two_spirals

__all__ = [
    "InterfaceSlice",
    "Mnist",
    "load_mnist",
    "make_checkerboard",
    "make_circle",
    "make_interface",
    "make_two_spirals",
]
