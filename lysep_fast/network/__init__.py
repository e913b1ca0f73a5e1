"""The network as a chain of layers: its parts, its parameters, and the one walk through it."""

from .chain import INITIALISATIONS, Feature, Layer, Network

__all__ = ["INITIALISATIONS", "Feature", "Layer", "Network"]
