"""The manual is true: links lead somewhere, code runs, the reference is that of the docstrings."""

from __future__ import annotations

import enum

import manual
import numpy as np
import pytest

from lysep_fast import Status
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.pde import PdeStatus
from tools import api_reference as api

NO_GIT = not (manual.ROOT / ".git").exists()
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="too slow without compiled kernels")

# --- links ---------------------------------------------------------------------------------------


@pytest.mark.skipif(NO_GIT, reason="no checkout")
def test_all_links_lead_somewhere():
    files = manual.known_files()
    pages = sorted(path for path in files if path.suffix == ".md")
    assert {manual.ROOT / "README.md", manual.ROOT / "docs" / "README.md"} <= set(pages)
    broken = {str(page): manual.broken_links(page, files) for page in pages}
    assert {page: found for page, found in broken.items() if found} == {}


@pytest.mark.skipif(NO_GIT, reason="no checkout")
def test_the_contents_name_every_page():
    pages = {path.name for path in (manual.ROOT / "docs").glob("*.md")} - {"README.md"}
    contents = (manual.ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert pages <= set(manual.links(contents))


def test_the_readme_is_short():
    assert len((manual.ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


PAGE = """\
# A page: of `code`

## Twice

[here](#twice-1) [there](other.md) [over
there](other.md#it-is-here) ![picture](p.png) [folder](sub) [web](https://example.org/no#x)
[![badge](p.png)](other.md) [code](#a-page-of-code)
`[no](nowhere.md)` ``[no](nowhere.md)``

```python
[no](nowhere.md)
# No heading
```

## Twice
"""
BROKEN = {
    "missing.md": "[a](missing.md)",
    "p2.png": "![a](p2.png)",
    "#no-heading": "[a](#no-heading)",
    "#twice-2": "[a](#twice-2)",
    "other.md#nothing": "[a\nb](other.md#nothing)",
    "#Twice": "[a](#Twice)",
    "ignored.md": "[a](ignored.md)",
    "sub#x": "[a](sub#x)",
    "missing.png": "[![badge](missing.png)](other.md)",
    "": "[a]()",
}


@pytest.fixture
def folder(tmp_path):
    """Make a folder with pages, one of which is not known to git."""
    (tmp_path / "sub").mkdir()
    texts = {"other.md": "### It *is* here?\n", "p.png": "", "sub/x.md": "", "page.md": PAGE}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = {tmp_path / name for name in texts}
    (tmp_path / "ignored.md").write_text("", encoding="utf-8")
    return tmp_path, files


def test_good_links_are_good(folder):
    path, files = folder
    assert manual.broken_links(path / "page.md", files) == []


@pytest.mark.parametrize("target", BROKEN)
def test_a_broken_link_is_found(folder, target):
    path, files = folder
    (path / "page.md").write_text(PAGE + BROKEN[target], encoding="utf-8")
    assert manual.broken_links(path / "page.md", files) == [target]


# --- code ----------------------------------------------------------------------------------------


@needs_jit
def test_the_code_of_the_quick_start_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names = manual.run_blocks("quick_start.md")
    assert names["model"].score(names["X_test"], names["y_test"]) > 0.95
    assert names["other"].score(1000 * names["X_test"] + 7, names["y_test"]) > 0.95
    assert names["regressor"].score(names["X"][800:], names["T"][800:]) > 0.95
    assert names["convolutional"].score(names["images"][300:], names["labels"][300:]) > 0.9
    assert abs(names["solution"].u([[0.0, 0.0]])[0] - 0.2947) < 0.01


@needs_jit
def test_the_code_for_embedding_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = manual.run_blocks("embedding.md")
    assert names["probabilities"].shape == (600, 2)
    assert len(names["results"]) == 4


@needs_jit
def test_the_code_on_tables_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    names = manual.run_blocks("tables.md")
    X = names["encoder"].transform(names["table"])
    assert X.shape == (200, 10)
    assert names["model"].score(X, names["liked"]) > 0.9
    assert names["again"].predict(X).tolist() == names["model"].predict(X).tolist()


@needs_jit
def test_the_code_on_threads_runs():
    pytest.importorskip("sklearn")
    from lysep_fast import LySepClassifier

    X = np.random.default_rng(0).normal(size=(40, 2))
    y = (X[:, 0] > 0).astype(int)
    names = manual.run_blocks("threading.md", X=X, y=y, LySepClassifier=LySepClassifier)
    assert len(names["results"]) == 8
    assert not names["worker"].is_alive()


def test_blocks_share_names_and_errors_come_through(tmp_path, monkeypatch):
    monkeypatch.setattr(manual, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text("```python\na = b\n```\n```sh\nno\n```\n```python\nc = a + 1\n```\n", "utf-8")
    assert manual.run_blocks("page.md", b=1)["c"] == 2
    with pytest.raises(NameError, match="'b'"):
        manual.run_blocks("page.md")


# --- the reference -------------------------------------------------------------------------------


def test_the_reference_is_up_to_date():
    pytest.importorskip("sklearn")
    found = api.PAGE.read_text(encoding="utf-8")
    assert found == api.reference(), "run: python -m tools.api_reference"


def sample(first, *rest, third=3, **more):
    """Do *something* to ``a_b`` and W_.

    Parameters
    ----------
    first, second : int
        The first,
        and the second.
    **more
        Others, see `sample`.

    Returns
    -------
    float
        Less < more.

    Examples
    --------
    >>> sample(1)
    """


def test_a_docstring_becomes_markdown():
    assert list(api.docstring(sample)) == [
        "Do \\*something\\* to `a_b` and W\\_.\n",
        "**Parameters**\n",
        "- `first`, `second` (int): The first,\n  and the second.",
        "- \\*\\*more: Others, see `sample`.",
        "",
        "**Returns**\n",
        "- float: Less \\< more.",
        "",
        "**Examples**\n",
        "```pycon\n>>> sample(1)\n```",
        "",
    ]
    assert api.signature("sample", sample) == "sample(first, *rest, third=3, **more)"
    assert api.signature("f", lambda a, *, b=1.0: a, method=True) == "f(*, b=1.0)"


def test_a_public_name_without_docstring_is_an_error():
    with pytest.raises(ValueError, match="needs a docstring"):
        list(api.docstring(lambda: 0))


class Kind(enum.Enum):
    """A kind."""

    A = "the first"


def test_members_of_an_enum_are_a_table():
    assert list(api.described(api.Entry("m.Kind", Kind))) == [
        "A kind.\n", "| member | message |\n|---|---|", "| `A` | the first |", "",
    ]  # fmt: skip


def test_the_questions_have_every_status():
    page = (manual.ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    for status in [*Status, *PdeStatus]:
        assert f"\n| `{status.name}` |" in page
