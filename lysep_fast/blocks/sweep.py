"""One sweep: the blocks of Algorithms 1 and 2 in their order, from the last layer to the first.

W_L  ->  A_{L-1}  ->  (W_l, b_l  ->  A_{l-1})  for l = L-1 .. 2  ->  W_1, b_1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..container.stateful import Stateful
from ..report import Step
from .base import Block

__all__ = ["Sweep", "alternating_order"]


class Sweep(Stateful):
    """An ordered tuple of blocks; variants are other tuples, never another loop.

    Parameters
    ----------
    blocks : iterable of Block
        Updated one after the other.
    """

    state_names = ("blocks",)

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = tuple(blocks)

    def __call__(self, problem: Any, state: Any) -> list[Step]:
        """Update every block in place and return their reports."""
        return [block.update(problem, state) for block in self.blocks]


def alternating_order(
    depth: int,
    output: Block,
    auxiliaries: Callable[[int], Block],
    weights: Callable[[int], Block],
) -> list[Block]:
    """Return the blocks of Algorithm 1 for a network of `depth` linear layers.

    Parameters
    ----------
    depth : int
        Number L of linear layers.
    output : Block
        Block of W_L.
    auxiliaries, weights : callable
        Make the blocks of ``A_l`` and of ``(W_l, b_l)`` from l.
    """
    blocks: list[Block] = [output]
    for l in range(depth - 1, 0, -1):
        blocks += [auxiliaries(l), weights(l)]
    return blocks
