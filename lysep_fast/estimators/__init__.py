"""scikit-learn estimators; importing this package needs the ``sklearn`` extra."""

from .conv import LySepConvClassifier
from .dense import LySepClassifier

__all__ = ["LySepClassifier", "LySepConvClassifier"]
