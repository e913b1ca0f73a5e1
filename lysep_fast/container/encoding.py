"""Arrays and headers as bytes: of each there is one way only to be written."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

import numpy as np

__all__ = ["bytes_of", "little", "npy_start", "opened_seal", "sealed", "sha256_of"]


def little(dtype: Any) -> np.dtype:
    """Return a dtype in little-endian order if it can be stored without pickle."""
    dtype = np.dtype(dtype)
    if (
        dtype.kind not in "biufUS"
        or dtype.itemsize == 0
        or (dtype.kind == "f" and dtype.itemsize > 8)
    ):
        raise ValueError(
            f"its dtype is {dtype}; bool, integers, floats up to 64 bits and strings can be stored"
        )
    return dtype.newbyteorder("<")


def bytes_of(array: np.ndarray) -> memoryview:
    """Return the memory of a C-contiguous array, writable if the array is."""
    return array.reshape(-1).view(np.uint8).data


def sha256_of(array: np.ndarray) -> str:
    """Return the SHA-256 of a C-contiguous array's memory."""
    return hashlib.sha256(bytes_of(array)).hexdigest()


def npy_start(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Return what stands before the numbers in a ``.npy`` file, version 1.0 of that format.

    numpy writes the same up to blanks, the number of which has changed between its versions.
    """
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape!r}, }}"
    blanks = -(10 + len(text) + 1) % 64
    length = len(text) + blanks + 1
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + f"{text}{' ' * blanks}\n".encode()


def sealed(whole: dict[str, Any]) -> bytes:
    """Return the header as JSON with its own hash."""
    return _canonical(whole | {"sha256": hashlib.sha256(_canonical(whole)).hexdigest()})


def opened_seal(text: bytes) -> dict[str, Any]:
    """Return the header of JSON that `_sealed` made, without its hash."""
    whole = json.loads(text.decode("ascii"), parse_constant=_refuse)
    if not isinstance(whole, dict) or _canonical(whole) != text:
        raise ValueError("its header is not written as this format prescribes")
    digest = whole.pop("sha256", None)
    if hashlib.sha256(_canonical(whole)).hexdigest() != digest:
        raise ValueError("its header does not have the SHA-256 that it should have")
    return whole


def _canonical(whole: dict[str, Any]) -> bytes:
    """Return the one JSON text of a header."""
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"its header holds {constant}")
