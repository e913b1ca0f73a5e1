"""scikit-learn estimators; importing this package needs the ``sklearn`` extra."""

from .conv import LySepConvClassifier
from .dense import LySepClassifier
from .regressor import LySepRegressor
from .table_encoder import TableEncoder

__all__ = ["LySepClassifier", "LySepConvClassifier", "LySepRegressor", "TableEncoder"]
