"""The manual as something to test: its code blocks, its links and the anchors they point to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tools.api_reference import anchor

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
TARGET = r"\(\s*([^()\s]*(?:\([^()]*\))?)\s*\)"
IMAGE, LINK = (re.compile(mark + r"\[(?:[^][]|\[[^][]*\])*\]" + TARGET) for mark in ("!", ""))
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


def python_blocks(page):
    """Return the Python code of a page under docs/, block by block."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run_blocks(page, **names):
    """Run all blocks of a page in turn, with `names` known; return the names they leave."""
    for block in python_blocks(page):
        exec(compile(block, f"docs/{page}", "exec"), names)
    return names


def known_files():
    """Return the files of the checkout that git keeps, or would keep when told to."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return {path for path in paths if path.exists()}


def anchors(text):
    """Return the anchors of the headings of a page; repeated ones are numbered."""
    found = []
    for heading in re.findall(r"^#{1,6} +(.+)$", FENCE.sub("", text), re.MULTILINE):
        name = anchor(heading)
        found.append(name if name not in found else f"{name}-{found.count(name)}")
    return set(found)


def links(text):
    """Return the targets of all links and images outside of code."""
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "`code`", FENCE.sub("", text), flags=re.DOTALL)
    return IMAGE.findall(prose) + LINK.findall(IMAGE.sub("image", prose))


def broken_links(page, files):
    """Return the links of a page that lead to none of the files, their folders or headings."""
    text = page.read_text(encoding="utf-8")
    folders = {folder for path in files for folder in path.parents}
    broken = []
    for target in links(text):
        if ELSEWHERE.match(target):
            continue
        place, hash_mark, part = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        known = target and (path in files or (not hash_mark and path in folders))
        if not known or (hash_mark and part not in anchors(path.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken
