"""The site of the documentation: what website/hooks.py makes of a page, and website/links.py finds on one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fences import pages
from repository import ROOT

from website import hooks


def made(page: str, markdown: str) -> str:
    file = SimpleNamespace(src_uri=page)
    return hooks.on_page_markdown(markdown, page=SimpleNamespace(file=file), config=None, files=None)


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("- one\n  - two\n\n    more\n- three", "-   one\n    -   two\n\n        more\n\n-   three"),
        ("1. one\n\n       code\n2. two", "1.  one\n\n        code\n\n2.  two"),
        ("1. one\n   - a\n   - b\n\n2. two", "1.  one\n    -   a\n    -   b\n\n2.  two"),
        ("words\n- one", "words\n\n-   one"),
        ("- one\n\n  ```sh\n  - no item\n  ```\n\nwords", "-   one\n\n    ```sh\n    - no item\n    ```\n\nwords"),
        ("- one\n  | a |\n  | - |\n", "-   one\n    | a |\n    | - |\n"),
    ],
)
def test_lists_are_indented_by_four(markdown: str, shown: str) -> None:
    assert made("start.md", markdown) == shown


def test_an_item_after_a_deeper_list_begins_a_paragraph() -> None:
    assert made("edges.md", "1. one\n   - a\n     - b\n2. two") == "1.  one\n    -   a\n        -   b\n\n2.  two"


@pytest.mark.parametrize(
    ("page", "link", "shown"),
    [
        ("start.md", "tls.md#when", "tls.md#when"),
        ("projects/redis.md", "../tls.md", "../tls.md"),
        ("start.md", "../CHANGELOG.md", "changelog.md"),
        ("projects/redis.md", "../../examples/redis_app.py", "../source/examples-redis_app.py.md"),
        ("compatibility.md", "../docs/tls.md", "tls.md"),
        ("results/2026-11-29-3.13.0.md", "../README.md", "../measuring.md"),
        ("top.md", "diagrams/draw.py", "source/docs-diagrams-draw.py.md"),
        ("security.md", ".github/workflows/ci.yml", "source/github-workflows-ci.yml.md"),
        ("start.md", "https://example.com/a.md", "https://example.com/a.md"),
        ("start.md", "#here", "#here"),
        ("start.md", "nowhere.md", "nowhere.md"),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, link: str, shown: str) -> None:
    assert made(page, f"see [it]({link}), and") == f"see [it]({shown}), and"


def test_links_in_code_stay_as_they_are() -> None:
    code = "```python\nprint('[a](../CHANGELOG.md)')\n```"
    assert made("start.md", code) == code


def test_a_picture_follows_the_reader_s_choice_of_colours() -> None:
    (picture,) = re.findall(r"<picture>.*?</picture>", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    light, dark = made("index.md", picture).split("\n")
    assert light.endswith("](charts/all-light.svg#only-light)")
    assert dark.endswith("](charts/all-dark.svg#only-dark)")


@pytest.mark.parametrize("page", pages())
def test_each_link_in_the_repository_leads_somewhere(page: str) -> None:
    text = re.sub(r"^( *)```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    folder = (ROOT / page).parent
    links = [link for _, link in hooks.LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in links if not (folder / link.partition("#")[0]).exists()] == []


def links_of(site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "website" / "links.py"), str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_links_pictures_and_anchors_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.html").write_text('<h2 id="here"></h2><a href="#here"></a><a href="../two.html#there"></a>')
    (tmp_path / "two.html").write_text('<h1 id="there"></h1><a href="https://example.com/x"></a>')
    done = links_of(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "two.html").write_text('<img src="no.png"><a href="a/one.html#no"></a><source srcset="no.svg 2x">')
    done = links_of(tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "a/one.html: ../two.html#there: two.html has no #there",
        "two.html: a/one.html#no: a/one.html has no #no",
        "two.html: no.png: there is no no.png",
        "two.html: no.svg: there is no no.svg",
    ]
