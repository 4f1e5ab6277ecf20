"""Which lines of edgeloop's modules a campaign has run, by sys.monitoring: each line costs one event."""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType
from typing import Any


class Coverage:
    """The lines of some modules that have run since ``start``. Nothing before Python 3.12."""

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
        """The lines of functions that have run, and those that have not, as "module function: source"."""
        reached: list[str] = []
        missing: list[str] = []
        for file in sorted(self.files):
            source = Path(file).read_text()
            lines = source.splitlines()
            for function, line in _lines_of_functions(compile(source, file, "exec"), ""):
                text = f"{'/'.join(file.split('/')[-2:])} {function}: {lines[line - 1].strip()}"
                (reached if (file, line) in self.lines else missing).append(text)
        return reached, missing


def _lines_of_functions(code: CodeType, name: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = constant.co_qualname.replace(".<locals>", "")
            if constant.co_flags & 2:  # CO_NEWLOCALS: a function, and no class
                lines = {line for _, line in dis.findlinestarts(constant) if line and line != constant.co_firstlineno}
                found.extend((inner, line) for line in sorted(lines))
            found.extend(_lines_of_functions(constant, inner))
    return found
