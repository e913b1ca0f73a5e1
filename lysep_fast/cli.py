"""The command `lysep-fast`: its arguments, its exit codes, and what it says when it fails.

train, predict, info and bench are in `lysep_fast.commands`; `reproduce` runs the experiments that
reproduce the papers' tables.

Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .commands import bench, info, predict, train
from .commands.arguments import positive
from .commands.experiments import load_experiment
from .commands.messages import (
    FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    CommandError,
    note,
    warnings_as_notes,
)

__all__ = ["EXPERIMENTS", "load_experiment", "main"]

#: Name of the experiment: what it does.  The module of that name in scripts/ has ``run(options)``.
EXPERIMENTS = {
    "circle": "Table 5.1, Figures 5.1-5.3: classify points inside and outside a circle",
    "interface": "Table 5.2, Figure 5.4: classify points on the sides of a moving interface",
    "mnist": "Table 5.3: classify handwritten digits with convolutional networks",
    "pde": "differential equations with known solutions, beside PINNs in torch",
    "all": "all of them into one folder, with one report: report.md and report.html",
}

_COMMANDS = (train, predict, info, bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default ``sys.argv[1:]``.

    Returns
    -------
    int
        0 done, 1 something failed, 2 wrong usage, 130 stopped with Ctrl-C.
    """
    try:
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return USAGE
        return _reproduce(options) if options.command == "reproduce" else _run(options)
    except SystemExit as stop:  # argparse: help and version end with 0, bad arguments with 2
        return stop.code if isinstance(stop.code, int) else FAILED
    except KeyboardInterrupt:
        print("\nlysep-fast: stopped", file=sys.stderr)
        return INTERRUPTED


def _discard_output() -> None:
    """Send what is still in the buffer of stdout nowhere, or its flush at the exit fails again."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stdout without a file has no such flush
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)


def _run(options: argparse.Namespace) -> int:
    """Run a command; turn what its user can put right into messages."""
    try:
        with warnings_as_notes():
            code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CommandError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:  # who reads the output has seen enough
        _discard_output()
        return OK
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", FAILED)
    except (ValueError, ImportError) as error:  # with ModelFileError; they say what to do
        return _fail(str(error), FAILED)
    except MemoryError as error:
        return _fail(
            f"not enough memory ({error}); take fewer rows, or --float32 in training", FAILED
        )


def _reproduce(options: argparse.Namespace) -> int:
    """Load and run the experiment; turn its errors into messages."""
    if options.jobs is not None and options.experiment != "all":
        return _fail("--jobs: this experiment does its runs one by one; leave it out", USAGE)
    try:
        scripts, experiment = load_experiment(options.experiment)
    except FileNotFoundError as error:
        return _fail(str(error), FAILED)
    try:
        _show(experiment.run(_run_options(scripts, options)))
    except scripts.ExperimentError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}", FAILED)
    except KeyboardInterrupt:
        print(
            f"\nlysep-fast: stopped. Finished runs are kept in {options.out}; the same command "
            "goes on from there.",
            file=sys.stderr,
        )
        return INTERRUPTED
    return OK


def run_worker(*arguments: Any) -> None:
    """Serve another process that works on experiments; see scripts/_workers.py.

    It stands here because a new process can import this package, but not yet the scripts.
    """
    load_experiment("_workers")[1].serve(*arguments)


def _run_options(scripts: Any, options: argparse.Namespace) -> Any:
    names = ("out", "quick", "rows", "seeds", "sweeps", "threads", "solver", "data", "problems")
    return scripts.RunOptions(**{name: getattr(options, name) for name in (*names, "jobs")})


def _show(text: str) -> None:
    """Print, with question marks for what the terminal's encoding does not have."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))


def _fail(message: str, code: int) -> int:
    note(message)
    return code


# --- arguments ---------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    from ._version import __version__

    parser = argparse.ArgumentParser(
        prog="lysep-fast", description="Deep networks trained by layer separation on CPUs."
    )
    parser.add_argument("--version", action="version", version=f"lysep-fast {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    known = "\n".join(f"  {name:<12} {text}" for name, text in EXPERIMENTS.items())
    reproduce = commands.add_parser(
        "reproduce",
        help="run an experiment of the papers",
        description=f"Run an experiment of the papers.\n\nexperiments:\n{known}",
        epilog="Finished runs are kept: after a stop the same command goes on where it was.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reproduce.add_argument("experiment", choices=EXPERIMENTS, metavar="EXPERIMENT")
    _add_run_arguments(reproduce)
    return parser


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for results and pictures")
    add("--quick", action="store_true", help="fewer rows, seeds and sweeps: minutes")
    add("--rows", type=_rows, metavar="1,4", help="rows of the table (default: all)")
    add("--seeds", type=positive, metavar="N", help="number of seeds (default: 10)")
    add("--sweeps", type=positive, metavar="N", help="sweeps (default: by row)")
    add("--threads", type=positive, metavar="N", help="threads (default: all CPUs)")
    add("--solver", metavar="NAME", help="solver of the LySep model (default: by experiment)")
    add("--data", type=Path, metavar="DIR", help="folder of the data files (mnist only)")
    add("--jobs", type=positive, metavar="N", help="runs at the same time (all only; default: 1)")
    add("--problems", type=_names, metavar="A,B", help="equations (pde only; default: all)")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _rows(text: str) -> list[int]:
    try:
        rows = [int(part) for part in text.split(",")]
    except ValueError:
        rows = []
    if not rows or min(rows) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of row numbers; write them like {shlex.quote('1,4')}"
        )
    return rows
