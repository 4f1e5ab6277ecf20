"""What no test reaches, held against the list of what is known: ``unreached.txt`` is that of the pure edition.

``python tests/coverage/unreached.py build/coverage/data.json``, after ``coverage json``; ``make coverage`` runs it, and
``make linetrace`` with ``--list unreached_compiled.txt --list unreached.txt``: what both editions miss stands in the second
alone. The status is 1 if a line or a branch is missing that no list has. ``--write`` brings the first list up to date: what is
new stands under NO_REASON, where somebody is to say why, or to write a test.

The list has a reason, a line that begins with #, above all that it explains. A line is named by its function and its text, so
that it is known when others move it. Of a branch only one way was taken: "->" says which one never was.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("unreached.txt")
NO_REASON = "# no reason yet"
#: A function or class of Cython's language, with its name.
BEGIN = re.compile(r"\s*(?:def|cdef|cpdef)\b[^=#(]*?(\w+)\s*(?:\(.*|:\s*$)|\s*(?:cdef )?class (\w+)")


def names_of_lines(source: str) -> dict[int, str]:
    """A name for each line: its function and its text, and which of the like it is."""
    owners: dict[int, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{name}.{child.name}".lstrip(".")
                owners.update(dict.fromkeys(range(child.lineno, (child.end_lineno or child.lineno) + 1), inner))
                visit(child, inner)
            else:
                visit(child, name)

    try:
        visit(ast.parse(source), "")
    except SyntaxError:  # Cython's own language
        owners = owners_in_cython(source)
    found: dict[int, str] = {}
    ordinals: Counter[str] = Counter()
    for number, line in enumerate(source.splitlines(), 1):
        name = f"{owners.get(number, '(module)')}: {line.strip()}"
        ordinals[name] += 1
        found[number] = name if ordinals[name] == 1 else f"{name} ({ordinals[name]})"
    return found


def owners_in_cython(source: str) -> dict[int, str]:
    """The function or class of each line, by its indentation."""
    owners: dict[int, str] = {}
    inside: list[tuple[int, str]] = []
    for number, line in enumerate(source.splitlines(), 1):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if not line.lstrip().startswith((")", "#")):
            inside = [(depth, name) for depth, name in inside if depth < indent]
        if begun := BEGIN.match(line):
            inside.append((indent, begun[1] or begun[2]))
        if inside:
            owners[number] = ".".join(name for _, name in inside)
    return owners


def unreached(report: dict[str, Any]) -> list[str]:
    """The lines and branches that a report of ``coverage json`` misses, by name."""
    found: list[str] = []
    for path, file in sorted(report["files"].items()):
        names = names_of_lines(Path(path).read_text())
        short = path.partition("edgeloop/")[2]
        # Cython's plugin puts lines of an inlined header down to another one, behind its end.
        missing = {line for line in file["missing_lines"] if line in names}
        found += [f"{short} {names[line]}" for line in sorted(missing)]
        for start, end in sorted(file.get("missing_branches", ())):
            if start not in missing and end not in missing:
                target = "the end" if end < 0 else names[end].partition(": ")[2]
                found.append(f"{short} {names[start]} -> {target}")
    return found


def read_list(path: Path) -> dict[str, str]:
    """The reason of each line and branch that is known."""
    known: dict[str, str] = {}
    reason = NO_REASON
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("#"):
            reason = line
        elif line:
            known[line] = reason
    return known


def write_list(path: Path, found: list[str], known: dict[str, str]) -> None:
    """Write the list anew, in the order of its reasons."""
    reasons = dict.fromkeys([*known.values(), NO_REASON])
    parts = []
    for reason in reasons:
        lines = [name for name in found if known.get(name, NO_REASON) == reason]
        if lines:
            parts.append("\n".join([reason, *lines]) + "\n")
    path.write_text("\n".join(parts))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--write", action="store_true", help="bring the first list up to date")
    parser.add_argument("--list", type=Path, action="append", help="unreached.txt unless another is named; several")
    options = parser.parse_args()
    first, *others = options.list or [LIST]
    known = read_list(first)
    elsewhere = {name for path in others for name in read_list(path)}
    missed = unreached(json.loads(options.report.read_text()))
    found = [name for name in missed if name not in elsewhere]
    if options.write:
        write_list(first, found, known)
        return 0
    reached = [name for name in known if name not in found]
    new = [name for name in found if name not in known]
    if reached:
        print("reached, though the list has it:", *reached, sep="\n    ")
    if new:
        print(f"not reached, and not in {first}:", *new, sep="\n    ")
    print(f"{len(missed)} lines and branches are not reached, {len(new)} of them are new")
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
