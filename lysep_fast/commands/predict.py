"""`lysep-fast predict`: what a model says about the rows of a table."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..container.atomic import replacing
from .arguments import add_table_arguments, add_threads
from .messages import OK, CommandError, UsageError, note
from .models import Model, read_model, score
from .tables import read_table

__all__ = ["add_parser", "run"]

_ROWS = 4096  # turned into text at once
_SUFFIXES = (".csv", ".npz", ".npy")


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="apply a model to a table",
        description="Apply a model file to a table. Columns of a .csv are found by the names that "
        "the model was trained on, if both have names, and by their order otherwise.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file")
    add_table_arguments(parser, "column that holds the truth: print the score", needed=False)
    add = parser.add_argument
    add(
        "--out",
        default="-",
        metavar="FILE",
        help=".csv, .npz or .npy; a file that is there is replaced (default: CSV to the terminal)",
    )
    add("--proba", action="store_true", help="probabilities of the classes as well")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Predict and write."""
    out = None if options.out == "-" else Path(options.out)
    if out is not None:
        if out.suffix not in _SUFFIXES:
            raise UsageError(f"--out {out}: choose one of the suffixes {', '.join(_SUFFIXES)}")
        if out.resolve() in (options.model.resolve(), options.data.resolve()):
            raise UsageError(f"{out} is read and must not be written; choose another name")
    model = read_model(options.model, options.threads)
    if options.proba and not model.is_classifier:
        raise UsageError(f"--proba needs classes, but {options.model} is a regression")
    table = read_table(
        options.data,
        inputs=options.inputs,
        target=options.target,
        header=options.header,
        delimiter=options.delimiter,
        wanted=model.names if model.encoding is None else None,
        encoding=model.encoding,
    )
    predicted, proba = model.predict(model.matrix(table, note))
    _write(out, model, predicted, proba if options.proba else None)
    if table.y is not None:
        scored = predicted if table.known is None else predicted[table.known]
        table = table.with_targets()
        for remark in table.remarks:
            note(f"{table.path}: {remark} of the score")
        assert table.y is not None
        note(f"{table.path}: {score(scored, table.y, classes=model.is_classifier)}")
    return OK


def _write(
    out: Path | None, model: Model, predicted: np.ndarray, proba: np.ndarray | None
) -> None:
    """Write all predictions, or leave what was there."""
    if predicted.dtype == object:
        predicted = predicted.astype(np.str_)
    if out is None:
        _write_csv(sys.stdout, model, predicted, proba)
        sys.stdout.flush()
        return
    with replacing(out) as file:
        if out.suffix == ".csv":
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _write_csv(text, model, predicted, proba)
            text.detach()
        elif out.suffix == ".npy":
            np.save(file, predicted if proba is None else proba, allow_pickle=False)
        else:
            arrays = {"prediction": predicted}
            if proba is not None:
                arrays |= {"probability": proba, "classes": model.labels.astype(predicted.dtype)}
            np.savez(file, allow_pickle=False, **arrays)


def _write_csv(
    file: TextIO, model: Model, predicted: np.ndarray, proba: np.ndarray | None
) -> None:
    """Write a header and one line per row; numbers have all digits that tell them apart."""
    writer = csv.writer(file, lineterminator="\n")
    columns = predicted.reshape(len(predicted), -1)
    header = ["prediction"]
    if columns.shape[1] > 1:
        header = [f"prediction_{k}" for k in range(columns.shape[1])]
    if proba is not None:
        header += [f"probability_{label}" for label in model.labels]
    writer.writerow(header)
    for start in range(0, len(columns), _ROWS):
        rows = slice(start, start + _ROWS)
        cells = columns[rows].astype(np.str_)
        if proba is not None:
            cells = np.hstack([cells, proba[rows].astype(np.str_)])
        try:
            writer.writerows(cells.tolist())
        except UnicodeEncodeError as error:
            raise CommandError(
                f"the terminal cannot show {error.object[error.start : error.end]!r}; write to a "
                "file with --out"
            ) from None
