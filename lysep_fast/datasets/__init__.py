"""Data sets of the experiments: drawn on the spot, or read from local files."""

from .synthetic import make_checkerboard, make_circle, make_two_spirals

__all__ = ["make_checkerboard", "make_circle", "make_two_spirals"]
