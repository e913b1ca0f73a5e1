"""`lysep-fast train`: a network from a table, and its model file."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..losses.targets import balanced
from ..result import HistoryRow, Result, Status
from ..tables.encoding import Encoding
from ..tables.frames import TableError
from ..train import train
from .arguments import add_table_arguments
from .messages import FAILED, INTERRUPTED, OK, CommandError, UsageError, note
from .models import Model, score, write_model
from .tables import Table, read_table
from .targets import MOST_CLASSES, choose_task
from .train_arguments import add_network_arguments, add_training_arguments

__all__ = ["add_parser", "run"]

# Seconds between two lines of progress where stderr is no terminal.
_SILENCE = 10.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a network on a table and save it",
        description="Train a network on a table and save it as a model file.",
        epilog="In Python, lysep_fast.load reads the model file.",
    )
    add_table_arguments(
        parser, "column to learn, by name or number; in an .npz the name of an array", needed=True
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="model file to write, .npz")
    add("--force", action="store_true", help="replace files that are there already")
    add(
        "--task",
        choices=("classify", "regress"),
        help=f"default: classify strings, bools, and up to {MOST_CLASSES} different whole "
        "numbers with at least 5 rows each on average",
    )
    add_network_arguments(parser)
    add_training_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, save and say how it went."""
    began = time.perf_counter()
    _check_options(options)
    table = _read(options, options.data).with_targets()
    y, classes = _targets(table, options)
    X, encoding = _inputs(table, options)
    if X.ndim > 2 and not options.conv:
        raise CommandError(f"{options.data} has images of shape {X.shape[1:]}; add --conv")
    arguments = _arguments(options)
    weights = None
    if classes is not None and options.class_weight is not None:
        weights = balanced(y, len(classes))[y]
    with _Progress(options.quiet, options.max_iter) as progress:
        result = train(
            X,
            y,
            loss="squared-error" if classes is None else "cross-entropy",
            sample_weight=weights,
            n_threads=options.threads,
            checkpoint=options.checkpoint,
            checkpoint_every=options.checkpoint_every,
            checkpoint_errors="warn",  # the training is worth more than its checkpoints
            resume=options.resume,
            callback=progress.show,
            **arguments,
        )
    model = Model(result, classes, _names(table, encoding), encoding)
    parameters = {k: v for k, v in arguments.items() if options.conv or not k.startswith("conv")}
    parameters.pop("image_shape", None)  # stored as the network has it
    if classes is not None:
        parameters["class_weight"] = options.class_weight
    write_model(options.out, model, parameters, y)
    print(_summary(options.out, result, time.perf_counter() - began))
    if options.validation is not None:
        print(f"{options.validation}: {_validate(options, model)}")
    if result.status is Status.INTERRUPTED:
        return INTERRUPTED
    return FAILED if result.status is Status.NOT_FINITE else OK


def _check_options(options: argparse.Namespace) -> None:
    """Raise before any work is done if the end of it would fail."""
    if options.image_shape is not None and not options.conv:
        raise UsageError("--image-shape goes with --conv; set that, or leave it out")
    if options.image_shape is not None and len(options.image_shape) not in (2, 3):
        raise UsageError("--image-shape takes height,width or channels,height,width")
    if options.standardize and options.conv:
        raise UsageError("--standardize is for columns, not for the pixels of --conv")
    written = [path for path in (options.out, options.checkpoint) if path is not None]
    for path in written:
        if not path.parent.is_dir():
            raise CommandError(f"there is no folder {path.parent} for {path}; make it first")
    for path in (options.data, options.validation):
        if path is not None and path.resolve() in [kept.resolve() for kept in written]:
            raise UsageError(f"{path} is read and must not be written; choose another name")
    if len({path.resolve() for path in written}) < len(written):
        raise UsageError(f"--out and --checkpoint are both {options.out}; choose another name")
    if options.out.exists() and not options.force:
        raise CommandError(f"{options.out} exists; choose another --out, or add --force")
    checkpoint, resume = options.checkpoint, options.resume
    goes_on = (
        resume is not None
        and checkpoint is not None
        and resume.resolve() == (checkpoint.resolve())
    )
    if checkpoint is not None and checkpoint.exists() and not (goes_on or options.force):
        raise CommandError(
            f"{checkpoint} exists; go on from it with --resume {checkpoint}, or add --force to "
            "begin anew"
        )


def _read(options: argparse.Namespace, path: Path, model: Model | None = None) -> Table:
    return read_table(
        path,
        inputs=options.inputs,
        target=options.target,
        header=options.header,
        delimiter=options.delimiter,
        wanted=None if model is None or model.encoding is not None else model.names,
        encoding=None if model is None else model.encoding,
    )


def _inputs(table: Table, options: argparse.Namespace) -> tuple[np.ndarray, Encoding | None]:
    """Return the inputs as numbers, and how they are made of the table."""
    for remark in table.remarks:
        _say(options, f"{table.path}: {remark}")
    if not table.is_frame or options.conv:
        return table.numbers(np.float32 if options.float32 else np.float64), None

    def note(text: str) -> None:
        _say(options, f"{table.path}: {text}")

    try:
        encoding = Encoding.learn(table.X, note, max_categories=options.max_categories)
    except TableError as error:
        raise CommandError(f"{table.path}: {error}") from None
    X = encoding.apply(table.X, lambda text: None)  # what there is to say has been said
    if X.shape[1] != table.X.shape[1] or encoding.used != encoding.feature_names:
        _say(options, f"{table.path}: encoded as {X.shape[1]} columns of numbers")
    if options.float32:
        with np.errstate(over="ignore"):
            X = X.astype(np.float32)
        if not np.all(np.isfinite(X)):
            raise CommandError(f"{table.path}: numbers are too large for --float32; leave it out")
    return X, encoding


def _names(table: Table, encoding: Encoding | None) -> list[str] | None:
    """Return the names of the columns that the network takes."""
    if encoding is None:
        return table.names
    return encoding.feature_names if encoding.named else None


def _targets(table: Table, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray | None]:
    """Return class indices and labels, or numbers and None; say which it is and why."""
    y = table.y
    if y is None:  # an .npy without columns to choose from
        raise CommandError(f"{table.path} has no target")
    task, why = options.task, "as asked"
    different = np.unique(y) if y.ndim == 1 else y[:0]
    if task is None:
        task, why = choose_task(y, len(different))
    if task == "regress":
        try:
            y = y.astype(np.float64)
        except ValueError:
            raise CommandError(
                f"{table.path}: the target {options.target!r} holds strings such as "
                f"{str(y[0])[:80]!r}, which --task regress cannot learn"
            ) from None
        if options.class_weight is not None:
            raise CommandError(
                f"{table.path}: --class-weight is for classes, and this is a regression ({why}); "
                "leave it out, or say --task classify"
            )
        _say(options, f"{table.path}: {table.shape}; regression ({why})")
        return y, None
    if y.ndim != 1:
        raise CommandError(
            f"{table.path}: the target has shape {y.shape}; classes need one label per row"
        )
    if len(different) < 2:
        raise CommandError(
            f"{table.path}: every row has the target {different[0]!s}; two classes are needed"
        )
    _say(options, f"{table.path}: {table.shape}; {len(different)} classes ({why})")
    return np.searchsorted(different, y), different


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return arguments of `train` that are parameters of an estimator as well."""
    return {
        "hidden_layer_sizes": options.hidden,
        "activation": options.activation,
        "conv_channels": options.conv,
        "image_shape": options.image_shape,
        "solver": options.solver,
        "standardise": options.standardize,
        "alpha": options.alpha,
        "early_stopping": options.early_stopping,
        "validation_fraction": options.validation_fraction,
        "max_iter": options.max_iter,
        "random_state": options.seed,
    }


def _validate(options: argparse.Namespace, model: Model) -> str:
    """Return the score on another table."""
    table = _read(options, options.validation, model).with_targets()
    assert table.y is not None
    X = model.matrix(table, lambda text: _say(options, f"{table.path}: {text}"))
    return score(model.predict(X)[0], table.y, classes=model.is_classifier)


def _summary(path: Path, result: Result, seconds: float) -> str:
    """Return one line about what was reached."""
    return (
        f"{path}: {_reached(result.history[result.best_iter])}, {result.n_iter} sweeps, "
        f"{seconds:.1f} s: {result.message}"
    )


def _reached(row: HistoryRow) -> str:
    """Return loss and scores of a sweep."""
    text = f"loss {row.loss:.4g}"
    for score_of, held_out in (
        (row.accuracy, row.validation_accuracy),
        (row.r2, row.validation_r2),
    ):
        if np.isfinite(score_of):
            name = "accuracy {:.2f} %" if score_of is row.accuracy else "R^2 {:.4f}"
            factor = 100.0 if score_of is row.accuracy else 1.0
            text += ", " + name.format(factor * score_of)
            if np.isfinite(held_out):
                text += ", held out " + name.format(factor * held_out)
    return text


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        note(text)


class _Progress:
    """Sweeps on stderr: one line that changes on a terminal, else a line now and then."""

    def __init__(self, quiet: bool, max_iter: int) -> None:
        self.quiet, self.max_iter = quiet, max_iter
        self.terminal = sys.stderr.isatty()
        self.spoke, self.width = time.monotonic(), 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.width:
            print("\r" + " " * self.width, end="\r", file=sys.stderr, flush=True)

    def show(self, row: HistoryRow) -> None:
        """Show a sweep if it is time to."""
        now = time.monotonic()
        if self.quiet or now - self.spoke < (0.1 if self.terminal else _SILENCE):
            return
        self.spoke = now
        text = f"sweep {row.sweep} of {self.max_iter}: {_reached(row)}, {row.seconds:.0f} s"
        if self.terminal:
            print("\r" + text.ljust(self.width), end="", file=sys.stderr, flush=True)
            self.width = len(text)
        else:
            note(text)
