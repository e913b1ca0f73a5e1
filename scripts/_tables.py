"""Tables for people: Markdown for files, aligned text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lysep_fast.commands.messages import plain_table as plain

__all__ = ["loss_text", "markdown", "mean_std", "percent_text", "plain"]


def mean_std(values: Sequence[float | None]) -> tuple[float, float]:
    """Return mean and sample standard deviation, NaN for one value; both NaN if a run diverged."""
    array = np.array([np.nan if value is None else value for value in values], dtype=float)
    return float(np.mean(array)), float(np.std(array, ddof=1)) if len(array) > 1 else math.nan


def loss_text(mean: float, std: float) -> str:
    """Return a loss as the papers print it, 6.75e-3±3.00e-3; one value without a deviation."""
    if not math.isfinite(mean):
        return "diverged"
    return _exponent(mean) + (f"±{_exponent(std)}" if math.isfinite(std) else "")


def percent_text(mean: float, std: float) -> str:
    """Return a share as the papers print it, 99.83±0.15 (per cent)."""
    if not math.isfinite(mean):
        return "diverged"
    return f"{100 * mean:.2f}" + (f"±{100 * std:.2f}" if math.isfinite(std) else "")


def _exponent(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its columns aligned."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
