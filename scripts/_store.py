"""A results file that survives interruption: written whole after every finished run.

    {"format": 1, "experiment": ..., "environments": [...], "runs": {key: run, ...}}

A run is {"settings": ..., "environment": index, "elapsed": seconds, "result": ...}.  It is used
again when its settings are those that are asked for; otherwise it is replaced.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import ExperimentError

FORMAT = 1


class Store:
    """The runs of one experiment in one file.

    Parameters
    ----------
    path : Path
        The file; its folder has to exist.
    experiment : str
        Name of the experiment, checked against the file's.
    environment : dict
        Versions and machine of this session; runs refer to it.
    """

    def __init__(self, path: Path, experiment: str, environment: dict[str, Any]) -> None:
        self.path = path
        self._data: dict[str, Any] = {
            "format": FORMAT,
            "experiment": experiment,
            "settings": {},
            "environments": [],
            "runs": {},
        }
        if path.exists():
            self._data = _read(path, experiment)
        environments = self._data["environments"]
        if environment not in environments:
            environments.append(environment)
        self._environment = environments.index(environment)

    def describe(self, settings: dict[str, Any]) -> None:
        """Set what is common to all runs; it goes into the file with the next run."""
        self._data["settings"] = settings

    def find(self, key: str, settings: dict[str, Any]) -> dict[str, Any] | None:
        """Return the result of a finished run with these settings, or None."""
        run = self._data["runs"].get(key)
        if run is None or run["settings"] != _plain(settings):
            return None
        result: dict[str, Any] = run["result"]
        return result

    def changed(self, key: str, settings: dict[str, Any]) -> list[str]:
        """Return the names of the settings in which a finished run differs from these."""
        run = self._data["runs"].get(key)
        if run is None:
            return []
        old, new = run["settings"], _plain(settings)
        return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))

    def add(
        self, key: str, settings: dict[str, Any], result: dict[str, Any], elapsed: float
    ) -> dict[str, Any]:
        """Keep a finished run, write the file, and return the result as the file has it.

        `elapsed` is the wall time in seconds with all that the result's own clock leaves out.
        """
        run = {
            "settings": _plain(settings),
            "environment": self._environment,
            "elapsed": _plain(float(elapsed)),
            "result": _plain(result),
        }
        self._data["runs"][key] = run
        self.save()
        return run["result"]

    def elapsed(self, key: str) -> float:
        """Return the wall time of a run in seconds; 0 in files that do not have it yet."""
        return float(self._data["runs"][key].get("elapsed") or 0.0)

    def environments(self, keys: Collection[str]) -> list[tuple[dict[str, Any], int]]:
        """Return the environments that these runs were done in, and how many in each."""
        used = [self._data["runs"][key]["environment"] for key in keys]
        return [(self._data["environments"][i], used.count(i)) for i in sorted(set(used))]

    def arrange(self, keys: Sequence[str]) -> None:
        """Put the runs into this order, others behind them, whatever order they came in."""
        runs = self._data["runs"]
        order = [*(key for key in keys if key in runs), *(key for key in runs if key not in keys)]
        self._data["runs"] = {key: runs[key] for key in order}

    def save(self) -> None:
        """Write the file."""
        write_atomically(self.path, _text(self._data))


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a crash at any moment leaves the old one or the new one.

    A crash can leave the part file too; the next call uses the same name, so they do not pile up.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder meanwhile.

    Two of them would each replace the file by their own runs and lose the other's.  The system
    lets go of the lock when the process ends, however it ends.  Where folders cannot be opened
    (Windows) or locked (some network file systems) nothing is locked.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExperimentError(
                f"{folder} is in use: another process is working in it; wait for its end, or "
                "give another folder with --out"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last through a power cut, where folders can be opened (not Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _read(path: Path, experiment: str) -> dict[str, Any]:
    remedy = f"move {path.name} away, or give another folder with --out"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data["format"], data["experiment"]
        kinds = {"settings": dict, "environments": list, "runs": dict}
        sound = all(isinstance(data[name], kind) for name, kind in kinds.items())
        sound = sound and all(
            isinstance(run["settings"], dict) and isinstance(run["result"], dict)
            for run in data["runs"].values()
        )
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ExperimentError(f"{path} is damaged ({error}); {remedy}") from None
    if not sound:
        raise ExperimentError(f"{path} is damaged (parts are not what they should be); {remedy}")
    if found != (FORMAT, experiment):
        raise ExperimentError(
            f"{path} holds results of the experiment {found[1]!r} in format {found[0]!r}, not of "
            f"{experiment!r} in format {FORMAT}; {remedy}"
        )
    result: dict[str, Any] = data
    return result


def _text(data: dict[str, Any]) -> str:
    """Return the file's text: one line per run, so that people can look at it."""
    head = {name: value for name, value in data.items() if name != "runs"}
    lines = [
        f"  {json.dumps(key)}: {json.dumps(run, separators=(',', ':'), allow_nan=False)}"
        for key, run in data["runs"].items()
    ]
    start = json.dumps(head, indent=1, allow_nan=False)[:-2]
    return start + ',\n "runs": {\n' + ",\n".join(lines) + "\n }\n}\n"


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: lists, plain numbers of six digits, null for NaN."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
