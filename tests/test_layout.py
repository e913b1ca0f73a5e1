"""The house: which way imports point, how many rooms there are, and how large they may get."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lysep_fast

PACKAGE = Path(lysep_fast.__file__).parent

#: Folders and modules of the package from the ground up.  A file imports from its own floor only
#: within its own folder, and from lower floors.
FLOORS = (
    {"_version", "kernels", "container", "threads"},
    {"validation", "linalg"},
    {"layers", "features", "tables"},
    {"samples"},
    {"losses"},
    {"network", "report"},
    {"passes"},
    {"metrics"},
    {"state"},
    {"objective"},
    {"blocks", "files"},
    {"result", "checkpoint"},
    {"loop", "solvers"},
    {"settings"},
    {"runs"},
    {"train"},
    {"pde"},
    {"estimators", "datasets"},
    {"load"},
    {""},  # the package's own face
    {"commands"},
    {"cli"},
    {"__main__"},
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

MOST_MODULES = 14
MOST_LINES, MOST_LONG_FILES = 350, 3
MOST_FUNCTION_LINES = 40
#: Functions that are longer, each with its reason.
LONG_FUNCTIONS = {
    "kernels/conv.py:_add_products": "one pass over a tile, in registers: a call would spill them",
    "kernels/_tiles.py:_compiled_product_tile": "writes the LLVM code of one tile",
    "kernels/_tiles.py:tile": "the same tile, inside of it",
}


def modules(root):
    """Return the package's files by dotted name, without the package's own."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] == "_scripts":  # experiments, which a wheel brings along
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name, path, known):
    """Yield the modules of the package that a file imports, wherever in the file it does."""
    here = name.split(".") if name else []
    base = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted = [alias.name.split(".") for alias in node.names]
            wanted = [parts[1:] for parts in wanted if parts[0] == "lysep_fast"]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                start = base[: len(base) - node.level + 1] + module
            elif module[:1] == ["lysep_fast"]:
                start = module[1:]
            else:
                continue
            wanted = [[*start, alias.name] for alias in node.names]
        else:
            continue
        for parts in wanted:
            whole, folder = ".".join(parts), ".".join(parts[:-1])
            yield whole if whole in known else folder


def graph(root):
    """Return what every module of a package imports of it.

    The package's face imports other modules on demand, for type checkers and by `__getattr__`.
    """
    known = modules(root)
    return {name: {*imports(name, path, known)} - {name} for name, path in known.items()}


def room(name):
    """Return the folder at the top level, or the module there, that a module belongs to."""
    return name.split(".")[0]


def upward(arrows, floor):
    """Return the imports that do not point downwards, as pairs of module names."""
    return [
        (name, other)
        for name, others in arrows.items()
        for other in sorted(others)
        if room(name) != room(other) and floor[room(other)] >= floor[room(name)]
    ]


def circle(arrows):
    """Return the modules of a circle of imports, none if there is no circle."""
    state, path = {}, []

    def visit(name):
        state[name] = "open"
        path.append(name)
        for other in sorted(arrows[name]):
            if state.get(other) == "open":
                return path[path.index(other) :]
            if other not in state and (found := visit(other)):
                return found
        state[name] = "done"
        path.pop()
        return None

    for name in arrows:
        if name not in state and (found := visit(name)):
            return found
    return None


def test_imports_point_downwards():
    assert upward(graph(PACKAGE), FLOOR) == []


def test_imports_run_in_no_circle():
    # A package's `__init__` that lists its own modules is no circle unless they import it back.
    assert circle(graph(PACKAGE)) is None


def test_every_room_has_a_floor():
    rooms = {room(name) for name in modules(PACKAGE)}
    assert rooms == set(FLOOR)
    assert sum(map(len, FLOORS)) == len(FLOOR), "a room stands on two floors"


def test_the_top_level_is_not_crowded():
    assert len([name for name in PACKAGE.glob("*.py")]) <= MOST_MODULES


@pytest.fixture
def house(tmp_path):
    """Return a function that writes a small package from a dict of files and texts."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return graph(tmp_path)

    return write


def test_the_check_notices_an_upward_import_hidden_in_a_function(house):
    arrows = house(
        {
            "__init__.py": "from .top import x\n",
            "top.py": "from .low.one import x\n",
            "low/__init__.py": "",
            "low/one.py": "def f():\n    from ..top import x\n",
        }
    )
    assert upward(arrows, {"": 2, "top": 1, "low": 0}) == [("low.one", "top")]
    assert set(circle(arrows)) == {"top", "low.one"}


def test_the_check_notices_a_neighbour_on_the_same_floor(house):
    arrows = house({"a.py": "from . import b\n", "b.py": "", "__init__.py": ""})
    assert upward(arrows, {"a": 0, "b": 0, "": 1}) == [("a", "b")]


def test_the_check_notices_absolute_imports_and_imports_of_names(house):
    arrows = house(
        {
            "__init__.py": "",
            "a.py": "import lysep_fast.b.c\n",
            "b/__init__.py": "from .c import name\n",
            "b/c.py": "from lysep_fast.a import thing\n",
        }
    )
    assert arrows["a"] == {"b.c"}
    assert set(circle(arrows)) == {"a", "b.c"}


# --- sizes -------------------------------------------------------------------------------------


def long_functions(root):
    """Return the functions of more lines than are allowed, docstrings not counted."""
    found = []
    for path in modules(root).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            text = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1
            lines -= 0 if text is None else text.count("\n") + 1
            if lines > MOST_FUNCTION_LINES:
                found.append((lines, path.relative_to(root).as_posix(), node.name))
    return sorted(found, reverse=True)


def long_files(root):
    """Return the files of more lines than are allowed."""
    sizes = {p: p.read_text(encoding="utf-8").count("\n") for p in modules(root).values()}
    return [(n, p.relative_to(root).as_posix()) for p, n in sizes.items() if n > MOST_LINES]


def test_functions_fit_a_screen():
    found = {f"{file}:{name}" for _, file, name in long_functions(PACKAGE)}
    assert found <= set(LONG_FUNCTIONS), long_functions(PACKAGE)
    assert len(LONG_FUNCTIONS) <= 3


def test_files_are_not_crowded():
    assert len(long_files(PACKAGE)) <= MOST_LONG_FILES, long_files(PACKAGE)
