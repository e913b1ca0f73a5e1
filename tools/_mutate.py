"""Damaged and forged model files: what reading them may do is raise ModelFileError, or nothing."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lysep_fast import ModelFileError

__all__ = ["attempt", "forge", "members", "mutate", "rebuild", "sealed", "torture"]

HEADER = "header.json"

# What a damaged size, count or position tends to be.
NUMBERS = (0, 1, -1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64, 10**300)
VALUES = (*NUMBERS, None, True, 0.5, "", "tanh", "O", "<f8", [], {}, [[]], [1, 2], {"tuple": 1})


def members(data: bytes) -> list[tuple[str, bytes]]:
    """Return names and contents of the members of a model file."""
    return list(_members(data))


@functools.lru_cache(maxsize=16)
def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def rebuild(parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of these members, all sums right."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are meant
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def sealed(whole: dict[str, Any]) -> bytes:
    """Return a header as the format writes it, with its right hash."""

    def text(value: Any) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    bare = {name: value for name, value in whole.items() if name != "sha256"}
    return text(bare | {"sha256": hashlib.sha256(text(bare)).hexdigest()})


def forge(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the file with its header changed in place by a function, all hashes right."""
    parts = members(data)
    whole = json.loads(parts[0][1])
    change(whole)
    return rebuild([(HEADER, sealed(whole)), *parts[1:]])


def torture(
    files: Mapping[str, bytes],
    folder: Path,
    *,
    count: int,
    seed: int,
    read: Callable[[Path], Any],
    same: Callable[[str, Any], bool],
    use: Callable[[Any], None],
) -> Counter[str]:
    """Mutate files, read them, and count what happened.

    Parameters
    ----------
    files : mapping of str to bytes
        Intact files by name.
    folder : Path
        Where the mutated file is written, under one name.
    count, seed : int
        How many files, and of which sequence.
    read : callable
        Reads a file.
    same : callable
        Whether something read is what the intact file of a name holds.
    use : callable
        Uses what was read from a forged file whose hashes are right: another model may come out.

    Raises
    ------
    AssertionError
        If reading raises anything but `ModelFileError`, or if a damaged file is read as something
        else; the message tells how to make the file again.
    """
    return Counter(
        attempt(files, folder, number, seed=seed, read=read, same=same, use=use)
        for number in range(count)
    )


def attempt(
    files: Mapping[str, bytes],
    folder: Path,
    number: int,
    *,
    seed: int,
    read: Callable[[Path], Any],
    same: Callable[[str, Any], bool],
    use: Callable[[Any], None],
) -> str:
    """Do one mutation of `torture` and return what was done to the file and what came of it."""
    path = folder / "mutated.npz"
    names = sorted(files)
    rng = np.random.default_rng((seed, number))
    name = names[number % len(names)]
    how, forged, data = mutate(files[name], rng)
    path.write_bytes(data)
    try:
        model = read(path)
    except ModelFileError:
        return f"{how}: refused"
    except Exception as error:
        raise AssertionError(f"{_which(number, seed, how, name)} raises {error!r}") from error
    if same(name, model):
        return f"{how}: the same"
    if not forged:
        raise AssertionError(f"{_which(number, seed, how, name)} is read as another model")
    use(model)
    return f"{how}: another"


def _which(number: int, seed: int, how: str, name: str) -> str:
    return f"mutation {number} of seed {seed}, {how} of {name},"


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bool, bytes]:
    """Return what was done, whether the hashes are right nevertheless, and the changed file."""
    damage = bool(rng.random() < 0.6)
    functions = _DAMAGE if damage else _FORGERIES
    function = functions[rng.integers(len(functions))]
    return function.__name__.strip("_").replace("_", " "), not damage, function(data, rng)


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for position in rng.integers(len(data), size=rng.integers(1, 4)):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _flip_directory_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits where the zip's own numbers are, most of them at the end."""
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x05\x06"))
    return data[:start] + _flip_bits(data[start:], rng)


def _write_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Put a number into the structure of the zip archive."""
    places = [i for i in range(len(data) - 4) if data[i : i + 2] == b"PK"]
    place = places[rng.integers(len(places))] + int(rng.integers(4, 46))
    width = int(rng.choice([2, 4, 8]))
    number = NUMBERS[rng.integers(len(NUMBERS) - 1)] % (1 << (8 * width))
    return data[:place] + number.to_bytes(width, "little") + data[place + width :]


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _append(data: bytes, rng: np.random.Generator) -> bytes:
    more = rng.bytes(int(rng.integers(1, 100))) if rng.random() < 0.5 else data
    return data + more if rng.random() < 0.5 else more + data


def _repeat_block(data: bytes, rng: np.random.Generator) -> bytes:
    first, last, place = np.sort(rng.integers(len(data), size=3))
    return data[:place] + data[first:last] + data[place:]


def _cut_block(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = np.sort(rng.integers(len(data), size=2))
    return data[:first] + data[last + 1 :]


def _overwrite_block(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = np.sort(rng.integers(len(data), size=2))
    fill = rng.bytes(int(last - first)) if rng.random() < 0.5 else bytes(last - first)
    return data[:first] + fill + data[last:]


def _change_members(data: bytes, rng: np.random.Generator) -> bytes:
    """Drop, repeat, move, rename, add or compress members; the archive itself is right."""
    parts = members(data)
    k = int(rng.integers(len(parts)))
    compression = zipfile.ZIP_STORED
    match int(rng.integers(6)):
        case 0:
            del parts[k]
        case 1:
            parts.append((parts[k][0] + "x" * int(rng.integers(2)), parts[k][1]))
        case 2:
            parts.insert(0, parts.pop(k))
        case 3:
            parts[k] = ("../" + parts[k][0], parts[k][1])
        case 4:
            parts.insert(k, ("more.npy", parts[k][1]))
        case _:
            compression = int(rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    return rebuild(parts, compression)


def _damage_member(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage the contents of one member, with the sums of the archive made anew."""
    parts = members(data)
    k = int(rng.integers(len(parts)))
    functions = (_flip_bits, _truncate, _append, _repeat_block)
    parts[k] = (parts[k][0], functions[rng.integers(len(functions))](parts[k][1], rng))
    return rebuild(parts)


def _forge_field(data: bytes, rng: np.random.Generator) -> bytes:
    """Put another value into the header, and perhaps a second one."""

    def change(whole: dict[str, Any]) -> None:
        for _ in range(int(rng.integers(1, 3))):
            owner, key = _place(whole, rng)
            owner[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])

    return forge(data, change)


def _forge_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one integer of the header a little, so that what it describes still makes sense."""

    def change(whole: dict[str, Any]) -> None:
        places = [(o, k) for o, k in _places(whole) if type(o[k]) is int]
        owner, key = places[rng.integers(len(places))]
        owner[key] += int(rng.choice([-1, 1, 2, 1000]))

    return forge(data, change)


def _forge_structure(data: bytes, rng: np.random.Generator) -> bytes:
    """Remove an entry of the header, put in one too many, or move one elsewhere."""

    def change(whole: dict[str, Any]) -> None:
        owner, key = _place(whole, rng)
        kind = int(rng.integers(3))
        if kind == 0:
            del owner[key]
        elif kind == 1 and isinstance(owner, dict):
            owner["more"] = copy.deepcopy(owner[key])
        elif kind == 1:
            owner.append(copy.deepcopy(owner[key]))
        else:
            other, there = _place(whole, rng)
            other[there] = copy.deepcopy(owner[key])

    return forge(data, change)


def _forge_array(data: bytes, rng: np.random.Generator) -> bytes:
    """Change numbers of an array, and give their right hash."""
    parts = members(data)
    whole = json.loads(parts[0][1])
    k = int(rng.integers(1, len(parts)))
    row = whole["arrays"][k - 1]
    start = 10 + int.from_bytes(parts[k][1][8:10], "little")
    numbers = bytearray(parts[k][1][start:])
    if numbers:
        first = int(rng.integers(len(numbers)))
        some = rng.choice([b"\xff" * 8, b"\x00" * 4, rng.bytes(8), np.float64("nan").tobytes()])
        numbers[first : first + len(some)] = some[: len(numbers) - first]
    row[3] = hashlib.sha256(numbers).hexdigest()
    parts[k] = (parts[k][0], parts[k][1][:start] + bytes(numbers))
    return rebuild([(HEADER, sealed(whole)), *parts[1:]])


def _forge_nesting(data: bytes, rng: np.random.Generator) -> bytes:
    """Write a header that JSON readers are known to suffer from."""
    depth = int(rng.choice([100, 3000, 200_000]))
    text = (
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'{"version":' + b"9" * depth + b"}",
        b'{"version":NaN,"format":Infinity}',
        b'{"version":1e999}',
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b"\xff\xfe",
        b"",
    )
    return rebuild([(HEADER, text[rng.integers(len(text))]), *members(data)[1:]])


def _forge_deep_value(data: bytes, rng: np.random.Generator) -> bytes:
    """Put a deeply nested or large value into an entry of the header, all hashes right."""
    owner_seed = int(rng.integers(2**32))
    nested: Any = []
    for _ in range(int(rng.choice([10, 300]))):
        nested = [nested] if rng.random() < 0.5 else {"tuple": [nested]}

    def change(whole: dict[str, Any]) -> None:
        owner, key = _place(whole, np.random.default_rng(owner_seed))
        owner[key] = nested if rng.random() < 0.7 else [1] * 10_000

    return forge(data, change)


_DAMAGE = (
    _flip_bits,
    _flip_directory_bits,
    _write_number,
    _truncate,
    _append,
    _repeat_block,
    _cut_block,
    _overwrite_block,
    _change_members,
    _damage_member,
)
_FORGERIES = (
    _forge_field,
    _forge_number,
    _forge_structure,
    _forge_array,
    _forge_nesting,
    _forge_deep_value,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every entry of nested lists and dicts as (owner, key or index)."""
    if not isinstance(value, list | dict):
        return []
    keys: Any = range(len(value)) if isinstance(value, list) else value
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _place(whole: dict[str, Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """Return a random entry of a header; the shorter lists of its own part come up more often."""
    places = _places(whole["header"] if "header" in whole and rng.random() < 0.7 else whole)
    return places[rng.integers(len(places))] if places else (whole, "version")
