"""Fit the polynomial tables of the kernels and print them as Python constants.

Usage: ``python -m tools.fit_polynomials`` (needs mpmath).

Every table interpolates its function at Chebyshev nodes in high precision, is expanded in powers
of the variable (lowest power first) and rounded once.  Interpolation at Chebyshev nodes is within
a small factor of the minimax error, and one more degree costs less than a Remez exchange would
save.  The relative interpolation error is printed with each table, so that a degree can be judged.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60

# Slightly more than the largest reduced argument: the reduction itself rounds.
HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0002")
LOG_LOW, LOG_HIGH = mp.mpf("-0.2930"), mp.mpf("0.4143")
QUARTER_PI_SQUARED = (mp.pi / 4 * mp.mpf("1.0002")) ** 2


def exp_tail(r: mp.mpf) -> mp.mpf:
    """Return (exp(r) - 1 - r) / r^2."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > mp.mpf("1e-20") else mp.mpf(1) / 2 + r / 6


def log1p_ratio(z: mp.mpf) -> mp.mpf:
    """Return log(1 + z) / z."""
    return mp.log1p(z) / z if abs(z) > mp.mpf("1e-20") else 1 - z / 2


def sin_tail(w: mp.mpf) -> mp.mpf:
    """Return (sin(r) - r) / r^3 for w = r^2."""
    r = mp.sqrt(w)
    return (mp.sin(r) - r) / r**3 if w > mp.mpf("1e-20") else -mp.mpf(1) / 6 + w / 120


def cos_tail(w: mp.mpf) -> mp.mpf:
    """Return (cos(r) - 1 + r^2 / 2) / r^4 for w = r^2."""
    if w < mp.mpf("1e-15"):
        return mp.mpf(1) / 24 - w / 720
    return (mp.cos(mp.sqrt(w)) - 1 + w / 2) / w**2


def normal_tail(centre: mp.mpf) -> Callable[[mp.mpf], mp.mpf]:
    """Return t -> (a + K) exp(a^2 / 2) Phi(-a) with a = K (1 + t) / (1 - t)."""

    def ratio(t: mp.mpf) -> mp.mpf:
        a = centre * (1 + t) / (1 - t)
        return (a + centre) * mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2

    return ratio


def interpolate(
    f: Callable[[mp.mpf], mp.mpf], low: mp.mpf, high: mp.mpf, degree: int
) -> tuple[list[mp.mpf], mp.mpf]:
    """Return the power coefficients (lowest first) and the largest relative error seen."""
    count = degree + 1
    centre, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    nodes = [centre + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    matrix = mp.matrix(count, count)
    values = mp.matrix(count, 1)
    for i, x in enumerate(nodes):
        values[i] = f(x)
        for j in range(count):
            matrix[i, j] = x**j
    coefficients = list(mp.lu_solve(matrix, values))
    probes = [centre + half * mp.cos(mp.pi * (i + mp.mpf("0.37")) / 200) for i in range(200)]
    error = max(abs(mp.polyval(coefficients[::-1], x) / f(x) - 1) for x in probes)
    return coefficients, error


def normal_tail_table(centre: str, cap: str, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Fit normal_tail for 0 <= a <= cap in the variable t = (a - K) / (a + K)."""
    k, largest = mp.mpf(centre), mp.mpf(cap)
    return interpolate(normal_tail(k), mp.mpf(-1), (largest - k) / (largest + k), degree)


def split(value: mp.mpf, bits: list[int]) -> list[mp.mpf]:
    """Cut value into parts of the given numbers of significant bits, the last one rounded."""
    parts = []
    for index, count in enumerate(bits):
        exponent = int(mp.floor(mp.log(abs(value), 2))) + 1
        scale = mp.mpf(2) ** (count - exponent)
        cut = mp.nint if index == len(bits) - 1 else mp.floor
        part = cut(value * scale) / scale
        parts.append(part)
        value -= part
    return parts


def tables() -> dict[str, tuple[list[mp.mpf], mp.mpf, type]]:
    """Return name -> (coefficients, relative interpolation error, dtype) for every table."""
    exact = mp.mpf(0)
    return {
        "_EXP64": (*interpolate(exp_tail, -HALF_LN2, HALF_LN2, 9), np.float64),
        "_EXP32": (*interpolate(exp_tail, -HALF_LN2, HALF_LN2, 4), np.float32),
        "_LOG1P64": (*interpolate(log1p_ratio, 0, mp.mpf("1.0000001"), 20), np.float64),
        "_LOG1P32": (*interpolate(log1p_ratio, 0, mp.mpf("1.0000001"), 9), np.float32),
        # The softmax kernels take the logarithm of numbers in [sqrt(1/2), sqrt(2)].
        "_LOG64": (*interpolate(log1p_ratio, LOG_LOW, LOG_HIGH, 20), np.float64),
        "_LOG32": (*interpolate(log1p_ratio, LOG_LOW, LOG_HIGH, 9), np.float32),
        "_SIN64": (*interpolate(sin_tail, 0, QUARTER_PI_SQUARED, 5), np.float64),
        "_SIN32": (*interpolate(sin_tail, 0, QUARTER_PI_SQUARED, 2), np.float32),
        "_COS64": (*interpolate(cos_tail, 0, QUARTER_PI_SQUARED, 5), np.float64),
        "_COS32": (*interpolate(cos_tail, 0, QUARTER_PI_SQUARED, 2), np.float32),
        "_TAIL64": (*normal_tail_table("4", "37.63", 22), np.float64),
        "_TAIL32": (*normal_tail_table("4", "13.19", 9), np.float32),
        "_LN2_PARTS64": (split(mp.log(2), [42, 53]), exact, np.float64),
        "_LN2_PARTS32": (split(mp.log(2), [16, 24]), exact, np.float32),
        "_HALF_PI_PARTS64": (split(mp.pi / 2, [33, 33, 53]), exact, np.float64),
        "_HALF_PI_PARTS32": (split(mp.pi / 2, [13, 13, 13, 24]), exact, np.float32),
    }


def main() -> None:
    """Print every table."""
    for name, (coefficients, error, dtype) in tables().items():
        print(f"# relative interpolation error {mp.nstr(error, 3)}")
        print(f"{name} = (")
        for value in coefficients:
            # Rounding to float32 goes through the nearest float64: harmless at these sizes.
            rounded = dtype(float(value))
            print(f"    {rounded!r}," if dtype is np.float32 else f"    {float(rounded)!r},")
        print(")")


if __name__ == "__main__":
    main()
