"""The experiments shrunk, so that they are fast with the JIT off too.

Run as a program it is the command line with shrunk experiments, without torch, and with a clock
that ticks with every look at it: the same runs have the same results then, seconds included.
"""

import dataclasses
import itertools
import sys
import time

from lysep_fast import cli

scripts, circle = cli.load_experiment("circle")
_, pde = cli.load_experiment("pde")
_, everything = cli.load_experiment("all")


def shrink_circle(put):
    """Shrink the experiment; `put` is setattr or the like."""
    rows = {k: dataclasses.replace(row, width=4) for k, row in circle.ROWS.items()}
    put(circle, "ROWS", rows)
    put(circle, "N_TRAIN", 40)
    put(circle, "N_TEST", 30)
    put(circle, "MAP_POINTS", 6)
    put(circle, "DATA_SETTINGS", {"n_train": 40, "n_test": 30, "seed": 0})


def shrink_pde(put):
    """Shrink the experiment; `put` is setattr or the like."""
    known = {name: dataclasses.replace(e, widths=(4, 4)) for name, e in pde.KNOWN.items()}
    put(pde, "KNOWN", known)
    put(pde, "POINTS", {"n_interior": 30, "n_boundary": 12, "boundary_weight": 100.0})
    put(pde, "TEST_POINTS", 20)
    put(pde, "GRID", 9)


def shrink_all(put):
    """Shrink what `reproduce all` does; the digits are left to the tests of their own."""
    shrink_circle(put)
    shrink_pde(put)
    put(pde, "QUICK_PROBLEMS", ("poisson-2d", "heat"))
    put(everything, "ORDER", ("circle", "mnist", "pde"))


def tick():
    """Replace the clocks; what reads them while loading has done so by now."""
    ticks = itertools.count()
    time.perf_counter = time.process_time = lambda: next(ticks) / 1024


if __name__ == "__main__":
    # A None among sys.modules would do, but SciPy stumbles over it.
    sys.modules[f"{scripts.__name__}._torch_loop"].available = lambda: False
    shrink_all(setattr)
    tick()
    raise SystemExit(cli.main())
