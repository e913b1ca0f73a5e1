"""Turns a report in Markdown into one web page that needs no other file."""

from __future__ import annotations

import base64
import re
from pathlib import Path

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 72rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; border-bottom: 2px solid #0072b2; padding-bottom: .2rem; }
h3 { margin-top: 2rem; }
a { color: #0072b2; text-decoration: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #d8dde2; }
th { background: #f4f6f8; vertical-align: bottom; }
td { white-space: nowrap; }
tbody tr:hover { background: #f9fafb; }
img { max-width: 100%; height: auto; }
code { background: #f4f6f8; padding: 0 .2rem; }
@media print { h2 { break-before: page; } .wide { overflow: visible; } }
"""


def slug(heading: str, separator: str = "-") -> str:
    """Return the anchor of a heading, the one that GitHub gives it too."""
    return re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", separator)


def page(markdown_text: str, folder: Path) -> str:
    """Return the page; pictures, which have to lie under `folder`, become part of it."""
    from markdown import Markdown

    converter = Markdown(
        extensions=["tables", "toc"], extension_configs={"toc": {"slugify": slug}}
    )
    body = converter.convert(markdown_text)
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    body = re.sub(r'(<img [^>]*?src=")([^"]+)(")', lambda m: _embedded(m, folder), body)
    title = re.sub(r"<[^>]+>", "", body.partition("</h1>")[0])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n"
        "</html>\n"
    )


def _embedded(match: re.Match[str], folder: Path) -> str:
    content = base64.b64encode((folder / match[2]).read_bytes()).decode("ascii")
    return f"{match[1]}data:image/png;base64,{content}{match[3]}"
