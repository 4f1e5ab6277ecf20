"""Which statements of edgeloop's modules a campaign has run, and which conditions were false once, by sys.monitoring.

Each line costs one event. A branch costs one each time, until it has gone both ways.
"""

from __future__ import annotations

import ast
import dis
import functools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

#: What the compiler may leave without a line of its own, or move to another one.
SILENT = (ast.Pass, ast.Break, ast.Continue, ast.Global, ast.Nonlocal, ast.Try, ast.Import, ast.ImportFrom)


#: Where a jump goes that leaves a statement, though the compiler gives it the statement's line: to the next pass, or the end.
LEAVING = ("JUMP", "RETURN")


@functools.cache
def _instructions(code: CodeType) -> dict[int, tuple[int, bool]]:
    """Of each instruction the line, and whether it leaves the statement."""
    found = list(dis.get_instructions(code))
    lines: dict[int, int] = {}
    for start, end, line in code.co_lines():
        lines.update(dict.fromkeys(range(start, end, 2), line or 0))
    leaves = [one.opname.startswith(LEAVING) for one in found]
    pairs = zip(found, leaves, [*leaves[1:], False], strict=True)
    return {
        one.offset: (lines.get(one.offset, 0), leaves or (one.opname.startswith("LOAD_CONST") and next_leaves))
        for one, leaves, next_leaves in pairs
    }


class Coverage:
    """What of some modules has run since ``start``. Nothing before Python 3.12."""

    def __init__(self, files: set[str]) -> None:
        self.files = files
        self.lines: set[tuple[str, int]] = set()
        # From which line to which; 0 for a jump that leaves the statement.
        self.jumps: set[tuple[str, int, int]] = set()

    def start(self) -> None:
        """Begin to note."""
        if sys.version_info < (3, 12):
            return
        monitoring: Any = sys.monitoring

        def on_line(code: CodeType, line: int) -> Any:
            if code.co_filename in self.files:
                self.lines.add((code.co_filename, line))
            return monitoring.DISABLE

        gone: dict[tuple[CodeType, int], int] = {}

        def on_branch(code: CodeType, start: int, end: int) -> Any:
            if code.co_filename not in self.files:
                return monitoring.DISABLE
            before = gone.setdefault((code, start), end)
            if before == end and (code, start, end) in known:
                return None
            known.add((code, start, end))
            instructions = _instructions(code)
            line, leaves = instructions.get(end, (0, False))
            self.jumps.add((code.co_filename, instructions[start][0], 0 if leaves else line))
            return None if before == end else monitoring.DISABLE

        known: set[tuple[CodeType, int, int]] = set()
        events = monitoring.events
        branches = [event for event in ("BRANCH", "BRANCH_LEFT", "BRANCH_RIGHT") if hasattr(events, event)][-2:]
        monitoring.use_tool_id(monitoring.COVERAGE_ID, "simulation")
        monitoring.register_callback(monitoring.COVERAGE_ID, events.LINE, on_line)
        for name in branches:
            monitoring.register_callback(monitoring.COVERAGE_ID, getattr(events, name), on_branch)
        monitoring.set_events(
            monitoring.COVERAGE_ID, sum([getattr(events, name) for name in branches], start=events.LINE)
        )

    def ignore_branches(self) -> None:
        """Note lines only, from now on: a branch that always goes the same way costs more than a run's time."""
        if sys.version_info >= (3, 12):
            monitoring: Any = sys.monitoring
            if monitoring.get_tool(monitoring.COVERAGE_ID) is not None:
                monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)

    def split(self) -> tuple[list[str], list[str]]:
        """The statements of functions that have run, and those that have not, as "module function: source".

        A condition that was false has "-> no" behind it.
        """
        reached: list[str] = []
        missing: list[str] = []
        for file in sorted(self.files):
            source = Path(file).read_text()
            lines = source.splitlines()
            ordinals: Counter[str] = Counter()
            for function, first, last, node in statements(ast.parse(source)):
                text = f"{'/'.join(file.split('/')[-2:])} {function}: {lines[first - 1].strip()}"
                ordinals[text] += 1
                if ordinals[text] > 1:
                    text += f" ({ordinals[text]})"
                has_run = any((file, line) in self.lines for line in range(first, last + 1))
                (reached if has_run else missing).append(text)
                if isinstance(node, (ast.If, ast.While)) and not node.orelse:
                    inside = range(first, (node.body[0].end_lineno or last) + 1)
                    was_false = any(
                        (name, start in range(first, last + 1), end in inside) == (file, True, False)
                        for name, start, end in self.jumps
                    )
                    (reached if was_false else missing).append(text + " -> no")
        return reached, missing


def statements(tree: ast.AST, name: str = "", inside: bool = False) -> Iterator[tuple[str, int, int, ast.stmt]]:
    """The statements in functions: the function's name, the first and the last line of what runs first of it, the statement.

    Python's versions give the parts of a statement to its lines in different ways, so it has run if any of them has.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from statements(node, f"{name}.{node.name}".lstrip("."), not isinstance(node, ast.ClassDef))
            continue
        if isinstance(node, ast.stmt) and inside and not isinstance(node, SILENT) and not _is_constant(node):
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
            yield name, node.lineno, last, node
        yield from statements(node, name, inside)


def _is_constant(node: ast.stmt) -> bool:
    # A docstring, ``while True``, an annotation without a value.
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return True
    return isinstance(getattr(node, "value" if isinstance(node, ast.Expr) else "test", None), ast.Constant)
