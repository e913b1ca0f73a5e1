"""The arguments of `lysep-fast train` that say what the network is like and how it is trained."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..kernels import ACTIVATION_CODES
from ..solvers import SOLVERS
from .arguments import add_threads, fraction, natural, not_negative, positive, sizes

__all__ = ["add_network_arguments", "add_training_arguments"]


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the network is like."""
    add = parser.add_argument
    add(
        "--hidden",
        type=sizes,
        default=(100,),
        metavar="100,50",
        help='widths of the hidden layers, "none" for a linear model (default: 100)',
    )
    add("--activation", choices=tuple(ACTIVATION_CODES), help="default: by the solver")
    add(
        "--conv",
        type=sizes,
        default=(),
        metavar="8,8",
        help="channels of convolutions below the hidden layers; inputs are images then",
    )
    add("--image-shape", type=sizes, metavar="C,H,W", help="shape of one row, for --conv")
    add(
        "--max-categories",
        type=natural,
        default=30,
        metavar="N",
        help="most texts of a column that get a column of numbers each (default: 30)",
    )
    add(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="train on columns of mean 0 and about unit spread; the model takes them as they are "
        "in the file (default: yes, without --conv)",
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how it is trained."""
    add = parser.add_argument
    add("--solver", choices=("auto", *SOLVERS), default="auto", help="default: auto")
    add("--max-iter", type=natural, default=200, metavar="N", help="sweeps (default: 200)")
    add("--alpha", type=not_negative, default=0.0, help="weight decay (default: 0)")
    add(
        "--class-weight",
        choices=("balanced",),
        help="let all classes count alike, however many rows they have",
    )
    add(
        "--early-stopping",
        action=argparse.BooleanOptionalAction,
        default="auto",
        help="hold out a part of the rows and keep the sweep that is best on it (default: a "
        "cross-validation says how many sweeps up to 10,000 rows get)",
    )
    add(
        "--validation-fraction",
        type=fraction,
        default=0.1,
        metavar="X",
        help="part to hold out (default: 0.1)",
    )
    add("--validation", type=Path, metavar="FILE", help="score the model on this table at the end")
    add("--float32", action="store_true", help="train in single precision")
    add("--seed", type=natural, default=0, metavar="N", help="default: 0")
    add_threads(parser)
    add("--checkpoint", type=Path, metavar="FILE", help="keep the state of the run in this file")
    add(
        "--checkpoint-every",
        type=positive,
        default=10,
        metavar="K",
        help="sweeps between two checkpoints (default: 10)",
    )
    add("--resume", type=Path, metavar="FILE", help="go on from a checkpoint, with equal options")
    add("--quiet", action="store_true", help="no progress")
