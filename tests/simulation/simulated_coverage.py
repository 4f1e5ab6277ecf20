"""Which statements of edgeloop's modules a campaign has run, by sys.monitoring: each line costs one event."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

#: What the compiler may leave without a line of its own, or move to another one.
SILENT = (ast.Pass, ast.Break, ast.Continue, ast.Global, ast.Nonlocal, ast.Try, ast.Import, ast.ImportFrom)


class Coverage:
    """The statements of some modules that have run since ``start``. Nothing before Python 3.12."""

    def __init__(self, files: set[str]) -> None:
        self.files = files
        self.lines: set[tuple[str, int]] = set()

    def start(self) -> None:
        """Begin to note."""
        if sys.version_info < (3, 12):
            return
        monitoring: Any = sys.monitoring

        def on_line(code: CodeType, line: int) -> Any:
            if code.co_filename in self.files:
                self.lines.add((code.co_filename, line))
            return monitoring.DISABLE

        monitoring.use_tool_id(monitoring.COVERAGE_ID, "simulation")
        monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, on_line)
        monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)

    def split(self) -> tuple[list[str], list[str]]:
        """The statements of functions that have run, and those that have not, as "module function: source"."""
        reached: list[str] = []
        missing: list[str] = []
        for file in sorted(self.files):
            source = Path(file).read_text()
            lines = source.splitlines()
            ordinals: Counter[str] = Counter()
            for function, first, last in statements(ast.parse(source)):
                text = f"{'/'.join(file.split('/')[-2:])} {function}: {lines[first - 1].strip()}"
                ordinals[text] += 1
                if ordinals[text] > 1:
                    text += f" ({ordinals[text]})"
                has_run = any((file, line) in self.lines for line in range(first, last + 1))
                (reached if has_run else missing).append(text)
        return reached, missing


def statements(tree: ast.AST, name: str = "", inside: bool = False) -> Iterator[tuple[str, int, int]]:
    """The statements in functions: the function's name, the first and the last line of what runs first of it.

    Python's versions give the parts of a statement to its lines in different ways, so it has run if any of them has.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from statements(node, f"{name}.{node.name}".lstrip("."), not isinstance(node, ast.ClassDef))
            continue
        if isinstance(node, ast.stmt) and inside and not isinstance(node, SILENT) and not _is_constant(node):
            body = getattr(node, "body", None)
            yield name, node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
        yield from statements(node, name, inside)


def _is_constant(node: ast.stmt) -> bool:
    # A docstring, ``while True``, an annotation without a value.
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return True
    return isinstance(getattr(node, "value" if isinstance(node, ast.Expr) else "test", None), ast.Constant)
