"""Records of runs, a line of JSON each: a later one replaces an earlier one of the same key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["mend", "read"]

Key = TypeVar("Key")


def read(path: Path, key: Callable[[dict[str, Any]], Key]) -> dict[Key, dict[str, Any]]:
    """Return the latest record of every key.

    A last line without its end, as an interruption leaves it, is passed over.
    """
    found = {}
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            record = json.loads(line)
            found[key(record)] = record
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no record of a run: delete it") from error
    return found


def mend(path: Path) -> None:
    """Take an unfinished last line away, so that the next record starts on its own."""
    if path.exists() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])
