"""What a library must leave as it was: everything of the process that others can see."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings

import numba
import numpy as np
from numba.np.ufunc import parallel
from threadpoolctl import threadpool_info


def snapshot():
    """Return the state of the process by name, as values that compare."""
    legacy = np.random.get_state()  # noqa: NPY002
    return {
        "thread pools": [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()],
        "numba threads": _numba_threads(),
        "floating-point errors": (np.geterr(), np.geterrcall(), np.getbufsize()),
        "print options": np.get_printoptions(),
        "warning filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "numpy.random": (legacy[0], legacy[1].tobytes(), *legacy[2:]),
        "random": random.getstate(),
        # pytest notes the phase of the test there.
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "directory": os.getcwd(),
        "signal handlers": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "sys.path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook, sys.gettrace(), sys.getprofile()),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled()),
        "threads": threading.enumerate(),
        "logging": (logging.root.level, list(logging.root.handlers)),
        "CPUs": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
    }


def _numba_threads():
    """Return Numba's number of threads, None before its threading layer has been started."""
    # Asking for the number would start the layer.
    return numba.get_num_threads() if parallel._is_initialized else None


def changes(before, after):
    """Return the names of what differs between two snapshots."""
    return [name for name, value in before.items() if value != after[name]]


def heed_ctrl_c():
    """Undo, in a new process, what shells do to programs in the background: deafness to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
