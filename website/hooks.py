"""What MkDocs is told beyond mkdocs.yml: pages of the repository that stand outside docs/, and how their links change.

The pages are written for a reader of the repository. On the site a link to a file that has no page leads to a page with
that file, so that the site needs no address of a repository. Lists are indented by four, as Python-Markdown wants it.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]

#: Pages that stand elsewhere in the repository, by their place on the site.
ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "compatibility.md": "compat/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "examples.md": "examples/README.md",
    "measuring.md": "benchmarks/README.md",
    "security.md": "SECURITY.md",
    "tests.md": "tests/README.md",
} | {f"results/{path.name}": f"benchmarks/results/{path.name}" for path in ROOT.glob("benchmarks/results/*.md")}
PLACES = {there: here for here, there in ELSEWHERE.items()} | {
    "README.md": "index.md",
    "benchmarks/results": "measuring.md",
    "docs/charts": "charts.md",
    "docs/projects": "guides.md",
}
LANGUAGES = {".py": "python", ".pyx": "cython", ".c": "c", ".toml": "toml", ".json": "json", ".service": "ini"}
LONGEST = 3000  # lines: of a longer file the page has these

FENCE = re.compile(r"^( *)(```+|~~~+)")
LINK = re.compile(r"(\]\(|\b(?:href|src|srcset)=\")([^)\"\s]+)")
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img alt="([^"]*)" src="([^"]+)">\s*</picture>', re.DOTALL
)
ITEM = re.compile(r"( *)([-*+]|\d+[.)])( +)(?=\S)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere, and one for each file that a page links to."""
    from mkdocs.structure.files import File  # here: the tests of what is below have no MkDocs

    for here, there in ELSEWHERE.items():
        files.append(File.generated(config, here, abs_src_path=str(ROOT / there)))
    linked = set()
    for file in files.documentation_pages():
        there = _in_repository(file.src_uri)
        for _, link in LINK.findall(_without_code((ROOT / there).read_text())):
            path = _target(there, link)[0]
            if path and path not in PLACES and not _is_on_site(path) and (ROOT / path).exists():
                linked.add(path)
    for path in sorted(linked):
        files.append(File.generated(config, _source_page(path), content=_source(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Make the repository's Markdown the site's."""
    here = page.file.src_uri
    if here.startswith("source/"):
        return markdown
    there = _in_repository(here)
    markdown = PICTURE.sub(r"![\2](\3#only-light)\n![\2](\1#only-dark)", markdown)
    lines, in_code = [], False
    for line in _indented(markdown).split("\n"):
        if FENCE.match(line):
            in_code = not in_code
        lines.append(line if in_code else LINK.sub(lambda found: found[1] + _link(here, there, found[2]), line))
    return "\n".join(lines)


def on_page_content(html: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Make links of the pages that docstrings name: docs/serving.md."""
    if not page.file.src_uri.startswith("reference/"):
        return html
    return re.sub(r"(?<=[\s(])docs/([\w-]+)\.md", r'<a href="../\1.html">docs/\1.md</a>', html)


def _in_repository(here: str) -> str:
    return ELSEWHERE.get(here, f"docs/{here}")


def _target(there: str, link: str) -> tuple[str, str]:
    # The path in the repository, "" if it is no path; what follows from # on.
    path, mark, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:|/", path):
        return "", ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(there), path)), mark + anchor


def _link(here: str, there: str, link: str) -> str:
    path, anchor = _target(there, link)
    if not path:
        return link
    if path in PLACES:
        place = PLACES[path]
    elif _is_on_site(path):
        place = path.removeprefix("docs/")
    elif (ROOT / path).exists():
        place = _source_page(path)
    else:
        return link  # MkDocs says that nothing is there
    return posixpath.relpath(place, posixpath.dirname(here) or ".") + anchor


def _is_on_site(path: str) -> bool:
    # The programs that draw the pictures stand beside them, and mkdocs.yml leaves them out.
    return path.startswith("docs/") and not path.endswith((".py", ".dot"))


def _source_page(path: str) -> str:
    return f"source/{path.lstrip('.').replace('/', '-')}.md"  # MkDocs leaves out what begins with a dot


def _source(path: str) -> str:
    head = f"---\nsearch: {{exclude: true}}\nhide: [navigation, toc]\n---\n\n# {path}\n\n"
    if (ROOT / path).is_dir():
        names = sorted(name for name in os.listdir(ROOT / path) if not name.startswith((".", "__")))
        return head + "A folder of the repository, with\n\n" + "".join(f"- `{name}`\n" for name in names)
    lines = (ROOT / path).read_text().split("\n")
    rest = f"\n\nThe file has {len(lines):,} lines; these are the first.\n" if len(lines) > LONGEST else "\n"
    code = "\n".join(lines[:LONGEST])
    return f"{head}~~~~~~ {LANGUAGES.get(Path(path).suffix, 'text')}\n{code}\n~~~~~~{rest}"


def _without_code(markdown: str) -> str:
    return re.sub(r"^( *)```.*?^ *```$", "", markdown, flags=re.DOTALL | re.MULTILINE)


def _indented(markdown: str) -> str:
    # CommonMark lets the content of a list item begin where its text does; Python-Markdown wants four columns for each level,
    # and an empty line before a list.
    lines: list[str] = []
    columns: list[int] = []  # where the content of each list item around this line begins
    in_code = False
    for line in markdown.split("\n"):
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        item = None if in_code else ITEM.match(line)
        depth = len(columns)
        if text and not in_code and (item or (lines and not lines[-1].strip())):
            while columns and indent < columns[-1]:
                columns.pop()
        if len(columns) < depth - 1 and lines[-1].strip():
            lines.append("")  # or it would become an item of the list that has ended
        shift = 4 * len(columns) + max(indent - (columns[-1] if columns else 0), 0)
        if item:
            if lines and lines[-1].strip() and not columns and not _in_list(lines):
                lines.append("")
            columns.append(indent + len(item[2]) + len(item[3]))
            text = item[2] + " " * (4 - len(item[2])) + text[len(item[2]) :].lstrip(" ")
        lines.append(" " * shift + text if text else "")
        if FENCE.match(line):
            in_code = not in_code
    return "\n".join(lines)


def _in_list(lines: list[str]) -> bool:
    # Whether the paragraph that ends here is a list.
    for line in reversed(lines):
        if not line.strip():
            return False
        if ITEM.match(line):
            return True
    return False
