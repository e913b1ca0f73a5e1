"""Find and load the experiments: packed into a wheel, or beside the package in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["load_experiment"]

# The folder is loaded under a private name: no entry in sys.path, no clash with other "scripts".
_PACKAGE = "_lysep_fast_scripts"


def load_experiment(name: str) -> tuple[ModuleType, Any]:
    """Return the package of the experiments and the module of one of them.

    Raises
    ------
    FileNotFoundError
        If neither a checkout nor the installation has the folder of the experiments.
    """
    if _PACKAGE not in sys.modules:
        folder = _scripts_folder()
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = package
        try:
            spec.loader.exec_module(package)
        except BaseException:
            del sys.modules[_PACKAGE]
            raise
    return sys.modules[_PACKAGE], importlib.import_module(f"{_PACKAGE}.{name}")


def _scripts_folder() -> Path:
    """Return the folder of the experiments: packed into a wheel, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_scripts", package.parent / "scripts"):
        if (folder / "__init__.py").is_file():
            return folder
    raise FileNotFoundError(
        "this installation of lysep_fast has no experiments; install it from a wheel or from a "
        "checkout that has the folder scripts"
    )
