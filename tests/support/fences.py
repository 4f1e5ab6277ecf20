"""The programs and commands that pages show: every fence of Python or a shell, and what a test file names of them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from repository import ROOT

#: What a reader types. Output, configuration and traces are other languages.
TYPED = ("python", "sh", "console")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$(?=\n\n\1```(?:text)?\n(.*?)^\1```$)?", re.DOTALL | re.MULTILINE)


class Fence(NamedTuple):
    """A block of code on a page. ``output`` is the block of text right below it, None without one."""

    language: str
    text: str
    output: str | None

    @property
    def name(self) -> str:
        """What the first line calls a program, ``# server.py``; else the first line itself."""
        first = self.text.partition("\n")[0].strip()
        found = re.fullmatch(r"# (\S+\.py\b.*)", first)
        return found[1] if found else first

    @property
    def commands(self) -> list[str]:
        """The lines that are typed into a shell, without the prompt and what is said about them."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [re.split(r"\s+# ", line)[0].strip() for line in lines if line.strip()]


def fences(page: Path) -> Iterator[Fence]:
    """Yield the blocks of the page that are typed."""
    for _, language, text, output in FENCE.findall(page.read_text()):
        if language in TYPED:
            yield Fence(language, text, output or None)


def pages() -> dict[str, Path]:
    """Return every page that a user or contributor reads, by its path in the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    found += [ROOT / folder / "README.md" for folder in ("benchmarks", "compat", "examples", "tests")]
    return {str(path.relative_to(ROOT)): path for path in sorted(found)}


@functools.cache
def strings_of(path: Path) -> frozenset[str]:
    """Return the strings that stand in a Python file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
