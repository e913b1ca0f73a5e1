"""scikit-learn estimators; importing this package needs the ``sklearn`` extra."""

from .conv import LySepConvClassifier
from .dense import LySepClassifier
from .regressor import LySepRegressor

__all__ = ["LySepClassifier", "LySepConvClassifier", "LySepRegressor"]
