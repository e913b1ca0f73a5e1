"""Feature maps: what a layer's linear map sees of the auxiliary variable below it."""

from .activation import Activation
from .jet import Jet
from .pooled import PooledActivation

__all__ = ["Activation", "Jet", "PooledActivation"]
