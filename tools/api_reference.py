"""Write docs/api.md, the reference of the public names, from their docstrings.

Usage: ``python -m tools.api_reference`` after every change of a public docstring or signature.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "lysep_fast"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"

#: Modules in the order of the page, with the names that are shown; None is all of `__all__`.
MODULES: dict[str, tuple[str, ...] | None] = {
    PACKAGE: None,
    f"{PACKAGE}.datasets": None,
    f"{PACKAGE}.pde": None,
    f"{PACKAGE}.solvers": None,
    f"{PACKAGE}.report": ("Step",),
    f"{PACKAGE}.kernels": ("ACTIVATION_CODES",),
    f"{PACKAGE}.container.stateful": ("Stateful",),
}

INTRODUCTION = """\
# API reference

Made from the docstrings by `python -m tools.api_reference`; edit those, not this page. What is
not here is internal and may change without notice. The estimators need scikit-learn, whose own
methods (`get_params`, `score`, `set_fit_request` and so on) they have beside those listed.
"""

_LISTS = ("Parameters", "Attributes", "Returns", "Raises", "Warns")


class Entry(NamedTuple):
    """A public name: where it is imported from, and what it is."""

    name: str
    thing: Any


def entries(module: str) -> list[Entry]:
    """Return the names of a module that the page shows, in alphabetical order.

    Classes that only a table of names holds, such as the solvers of differential equations, are
    among them with the module they are in.
    """
    found = importlib.import_module(module)
    names = MODULES[module] or found.__all__
    shown = [Entry(f"{module}.{name}", getattr(found, name)) for name in sorted(names)]
    shown = [entry for entry in shown if not inspect.ismodule(entry.thing)]
    things = [entry.thing for entry in shown]
    for table in [thing for thing in things if isinstance(thing, Mapping)]:
        for value in table.values():
            if inspect.isclass(value) and value not in things:
                shown.append(Entry(f"{value.__module__}.{value.__name__}", value))
    return shown


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading, its first occurrence."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def reference() -> str:
    """Return the whole page."""
    contents, body = [], []
    for module in MODULES:
        links = []
        about = inspect.getdoc(importlib.import_module(module)) or ""
        body.append(f"## {module}\n\n{text(about.partition(chr(10))[0])}\n")
        for entry in entries(module):
            links.append(f"[{entry.name.rpartition('.')[2]}](#{anchor(entry.name)})")
            body.append(f"### {entry.name}\n")
            body += described(entry)
        contents.append(f"- [{module}](#{anchor(module)}): {', '.join(links)}")
    return "\n".join([INTRODUCTION, *contents, "", *body]).rstrip() + "\n"


def described(entry: Entry) -> Iterator[str]:
    """Yield the paragraphs on one public name."""
    thing = entry.thing
    short = entry.name.rpartition(".")[2]
    if isinstance(thing, Mapping):
        yield "Known names: " + ", ".join(f"`{value(key)}`" for key in thing) + ".\n"
        return
    plain = inspect.isclass(thing) and (
        issubclass(thing, enum.Enum | Exception) or getattr(thing, "_is_protocol", False)
    )
    if not plain:
        yield f"```python\n{signature(short, thing)}\n```\n"
    yield from docstring(thing)
    if not inspect.isclass(thing):
        return
    if issubclass(thing, enum.Enum):
        yield "| member | message |\n|---|---|"
        for member in thing:
            yield f"| `{member.name}` | {text(member.value)} |"
        yield ""
    yield from noted_attributes(thing)
    yield from members(thing)


def members(kind: type[Any]) -> Iterator[str]:
    """Yield the paragraphs on the methods and properties of a class."""
    for name, member in own_members(kind):
        if isinstance(member, property):
            yield f"**`.{name}`** (property)\n"
            member = member.fget
        else:
            remark = " (class method)" if isinstance(member, classmethod) else ""
            member = getattr(member, "__func__", member)
            yield f"**`.{signature(name, member, method=True)}`**{remark}\n"
        yield from docstring(member)


def own_members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield public methods and properties that the package itself defines, bases' ones last."""
    seen = set()
    for base in kind.__mro__:
        if not base.__module__.startswith(PACKAGE):
            continue
        for name, member in vars(base).items():
            is_code = inspect.isfunction(member) or isinstance(member, classmethod | property)
            if is_code and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def noted_attributes(kind: type[Any]) -> Iterator[str]:
    """Yield the attributes of a protocol, which have comments that begin with ``#:``."""
    if not getattr(kind, "_is_protocol", False):
        return
    yield "**Attributes**\n"
    for comment, name in re.findall(r"((?: +#:.*\n)+) +(\w+):", inspect.getsource(kind)):
        words = " ".join(line.strip(" #:") for line in comment.splitlines())
        yield f"- `{name}`: {text(words)}"
    yield ""


def signature(name: str, thing: Any, *, method: bool = False) -> str:
    """Return a call with the defaults; types are in the docstring."""
    shown = []
    star = False
    for i, parameter in enumerate(inspect.signature(thing).parameters.values()):
        if method and i == 0:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            shown.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        default = "" if parameter.default is parameter.empty else f"={value(parameter.default)}"
        shown.append(f"{stars.get(parameter.kind, '')}{parameter.name}{default}")
    line = f"{name}({', '.join(shown)})"
    if method or len(line) <= 90:
        return line
    return f"{name}(\n    " + ",\n    ".join(shown) + ",\n)"


def value(default: Any) -> str:
    """Return a default as one writes it."""
    if isinstance(default, enum.Enum):
        return str(default)
    if isinstance(default, str):
        return json.dumps(default)
    # A dataclass marks what it makes afresh, such as an empty list, by an object without a name.
    return "..." if repr(default).startswith("<") else repr(default)


def docstring(thing: Any) -> Iterator[str]:
    """Yield a numpydoc docstring as Markdown, section by section."""
    known = inspect.getdoc(thing)
    if not known:
        raise ValueError(f"{thing!r} is public and needs a docstring")
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", known, flags=re.MULTILINE)
    yield text(parts[0].strip()) + "\n"
    for title, content in zip(parts[1::2], parts[2::2], strict=True):
        yield f"**{title}**\n"
        if title in _LISTS:
            yield from listed(content)
        elif title == "Examples":
            yield f"```pycon\n{content.strip()}\n```"
        else:
            yield text(content.strip())
        yield ""


def listed(content: str) -> Iterator[str]:
    """Yield the list items of a section of names or types with indented explanations."""
    for item in re.split(r"\n(?=\S)", content.strip("\n")):
        head, _, rest = item.partition("\n")
        name, named, kind = head.partition(" : ")
        shown = text(head)
        if named:
            shown = f"{', '.join(f'`{part}`' for part in name.split(', '))} ({text(kind)})"
        explained = text(inspect.cleandoc(rest)).replace("\n", "\n  ")
        yield f"- {shown}: {explained}" if explained else f"- {shown}"


def text(words: str) -> str:
    """Return prose with its code spans, everything that Markdown would take for a sign escaped."""
    pieces = re.split(r"(``.+?``|`[^`]+`)", words, flags=re.DOTALL)
    for i, piece in enumerate(pieces):
        if i % 2:
            pieces[i] = f"`{piece.strip('`')}`"
        else:
            piece = re.sub(r"([*<])", r"\\\1", piece)
            pieces[i] = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", piece)
    return "".join(pieces)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8", newline="\n")
