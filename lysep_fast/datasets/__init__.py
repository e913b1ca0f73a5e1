"""Data sets of the experiments: drawn on the spot, or read from local files."""

from .mnist import Mnist, load_mnist
from .synthetic import make_checkerboard, make_circle, make_two_spirals

__all__ = ["Mnist", "load_mnist", "make_checkerboard", "make_circle", "make_two_spirals"]
