"""docs/architecture.md: its picture of the packages, the names on it, and the drawings are those of the code."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.edgeloop_only

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "edgeloop"
DIAGRAMS = ROOT / "docs" / "diagrams"
PAGE = (ROOT / "docs" / "architecture.md").read_text()

LAYERS = (DIAGRAMS / "layers.dot").read_text()
NODES = {
    node: label.split("\\n")[0] for node, label in re.findall(r'^  (\w+) \[label="([^"]*)"\];', LAYERS, re.MULTILINE)
}
ARROWS = {(NODES[above], NODES[below]) for above, below in re.findall(r"\b(\w+) -> (\w+);", LAYERS)}
PACKAGES = {str(init.parent.relative_to(SOURCE)) for init in SOURCE.rglob("*/__init__.py")}

# Of cimports too, which ast does not know: ``from a.b cimport c``, ``cimport a.b``.
CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+(?:cimport|import)\s+\(?([\w, ]+)|cimport\s+([\w.]+))", re.MULTILINE)


def layer_of(parts: tuple[str, ...]) -> str:
    """The node of the picture that a module stands in, given its name below ``edgeloop``."""
    if parts == ("stdlib",):
        return "stdlib"
    for length in range(len(parts), 0, -1):
        if "/".join(parts[:length]) in PACKAGES:
            return "/".join(parts[:length])
    return "edgeloop"


def absolute(file: Path, level: int, module: str) -> tuple[str, ...]:
    """The module that an import names, as seen from this file; it begins with ``edgeloop`` if it is ours."""
    names = tuple(module.split(".")) if module else ()
    if not level:
        return names
    package = file.parent.relative_to(ROOT).parts
    return package[: len(package) - level + 1] + names


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """What a file imports, inside functions and under TYPE_CHECKING too."""
    text = file.read_text()
    if file.suffix != ".py":
        for module, names, direct in CIMPORT.findall(text):
            dotted = direct or module
            level = len(dotted) - len(dotted.lstrip("."))
            base = absolute(file, level, dotted.lstrip("."))
            yield base
            yield from ((*base, name.split()[0]) for name in names.split(",") if name.strip())
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(file, node.level, node.module or "")
            yield from ((*base, alias.name) for alias in node.names)


def below(layer: str) -> set[str]:
    """All that an arrow, or several in a row, lead to."""
    found: set[str] = set()
    waiting = [layer]
    while waiting:
        above = waiting.pop()
        for _, target in (arrow for arrow in ARROWS if arrow[0] == above):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_a_package_imports_only_what_stands_below_it_in_the_picture() -> None:
    wrong = set()
    for file in (file for suffix in ("py", "pyx", "pxd") for file in SOURCE.rglob(f"*.{suffix}")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        layer = layer_of(parts[:-1] if parts[-1] == "__init__" else parts)
        for name in imported(file):
            if name[0] == "edgeloop" and len(name) > 1:
                target = layer_of(name[1:])
                if target != layer and target not in below(layer):
                    wrong.add(f"{file.relative_to(ROOT)} imports {'.'.join(name)}")
    assert not wrong


def test_no_arrow_of_the_picture_leads_back() -> None:
    assert not [layer for layer in NODES.values() if layer in below(layer)]


def test_the_picture_has_every_package_and_no_other() -> None:
    assert set(NODES.values()) == PACKAGES | {"edgeloop", "stdlib"}


def test_every_package_is_on_the_page() -> None:
    assert PACKAGES <= set(re.findall(r"^\| `([\w/]+)/` \|", PAGE, re.MULTILINE))


ROWS = re.findall(r"^\| `([\w/]+?)/?`(?: itself)? \| (.*?) \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, cell in ROWS for name in re.findall(r"`(\w+)`", cell)]
)
def test_a_package_has_what_its_line_on_the_page_names(package: str, name: str) -> None:
    folder = SOURCE if package == "edgeloop" else SOURCE / package
    dotted = ".".join(("edgeloop", *folder.relative_to(SOURCE).parts))
    assert (folder / f"{name}.py").exists() or hasattr(importlib.import_module(dotted), name)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[\w*]+/)*[\w*]+(?:\.py|/))`", PAGE))))
def test_a_path_on_the_page_exists(path: str) -> None:
    assert list(SOURCE.glob(path)) or list(ROOT.glob(path))


@pytest.mark.parametrize("dot", sorted(DIAGRAMS.glob("*.dot")), ids=lambda dot: dot.name)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_diagram_was_drawn_from_the_text_beside_it(dot: Path, theme: str) -> None:
    mark = f"<!-- {dot.name} {hashlib.sha256(dot.read_bytes()).hexdigest()} -->"  # as draw.py writes it
    assert mark in dot.with_name(f"{dot.stem}-{theme}.svg").read_text()
