"""A .pxd names what is in the .py beside it.

Cython does not report a local or a field that is not there: it has no type.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from repository import ROOT

PACKAGE = ROOT / "edgeloop"
HEADERS = [
    header
    for header in sorted(PACKAGE.rglob("*.pxd"))
    if header.with_suffix(".py").exists() and header.stem != "__init__" and not header.with_suffix(".pyx").exists()
]
FOR_CYTHON = {"__dict__", "__weakref__"}


def names_in_functions(source: Path) -> dict[str, set[str]]:
    """The local names of the functions of each name."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.FunctionDef):
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            found.setdefault(node.name, set()).update(used, (argument.arg for argument in node.args.args))
    return found


def attributes(sources: list[Path]) -> set[str]:
    """Each ``x.name`` that stands in the files."""
    trees = [ast.parse(source.read_text()) for source in sources]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: str(header.relative_to(PACKAGE)))
def test_what_a_header_types_is_there(header: Path) -> None:
    text = header.read_text()
    functions = names_in_functions(header.with_suffix(".py"))
    typed = re.findall(r"@cython\.locals\(([^)]*)\)\s+(?:@[^\n]*\s+)*(?:cdef|cpdef|def) [^\n(]*?(\w+)\(", text)
    unknown = [
        f"{function}: {name}"
        for names, function in typed
        for name in re.findall(r"(\w+)=", names)
        if name not in functions.get(function, ())
    ]
    declared = re.findall(r"^    (?:cdef|cpdef) [^\n(]*?(\w+)\(", text, re.MULTILINE)
    unknown += [f"{function}()" for function in declared if function not in functions]
    # A loop's fields are declared in one place, and those of its mixins are among them.
    known = attributes(list(header.parent.glob("*.py"))) | FOR_CYTHON
    fields = re.findall(r"^    cdef (?:public |readonly )?[\w.* ]+?(\w+)$", text, re.MULTILINE)
    unknown += [field for field in fields if field not in known]
    assert not unknown


def test_there_are_headers() -> None:
    assert len(HEADERS) > 15


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: str(header.relative_to(PACKAGE)))
def test_a_header_takes_the_kernel_modules_that_its_source_imports(header: Path) -> None:
    """Otherwise their names are looked up in the compiled module, which has no constants and no functions of C."""
    imported = {
        name.name
        for node in ast.walk(ast.parse(header.with_suffix(".py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "kernel"
        for name in node.names
    }
    taken = re.findall(r"^from edgeloop\.kernel cimport (.*)", header.read_text(), re.MULTILINE)
    assert imported <= {name.strip() for names in taken for name in names.split(",")}
