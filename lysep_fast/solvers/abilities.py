"""What solvers need of the layers and feature maps of a network, and the refusal of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..network import Network

__all__ = ["check_network", "lacking"]

#: Abilities of layers and of feature maps, which are attributes of theirs, and what is said of
#: one that lacks it.
LAYER_ABILITIES = {
    "has_gram": "has no Gram matrix of what it sees (gram, patch_sum)",
    "has_closed_form": "has no closed form for its weights (patch_matrix, norm_diagonal)",
    "is_matrix": "is not the product with its matrix of weights",
}
FEATURE_ABILITIES = {"is_entrywise": "is not entrywise"}


def lacking(network: Network, needs: Sequence[str]) -> str | None:
    """Return in words the first layer or feature map that lacks an ability, None if none does."""
    for name in needs:
        on_layers = name in LAYER_ABILITIES
        known = LAYER_ABILITIES if on_layers else FEATURE_ABILITIES
        parts: Sequence[Any] = network.layers if on_layers else network.features
        for l, part in enumerate(parts, start=int(on_layers)):
            if not getattr(part, name, False):
                noun = "layer" if on_layers else "the feature map after layer"
                return f"{noun} {l}, {part!r}, which {known[name]}"
    return None


def check_network(solver: Any, network: Network, others: Mapping[str, type[Any]]) -> None:
    """Raise where a solver cannot handle a part of the network.

    Parameters
    ----------
    solver : Solver
        Names what it needs in ``needs``; a solver of the user's that does not is taken as it is.
    network : Network
        The chain of layers.
    others : mapping of str to type
        Solvers by name, for the remedy.

    Raises
    ------
    ValueError
        The message names the solver and the layer or feature map.
    """
    found = lacking(network, getattr(solver, "needs", ()))
    if found is None:
        return
    able = [kind.title for kind in others.values() if lacking(network, kind.needs) is None]
    remedy = f"choose one of {', '.join(able)}" if able else "no other solver can"
    name = getattr(solver, "title", type(solver).__name__)
    raise ValueError(f"{name} cannot train {found}; {remedy}")
