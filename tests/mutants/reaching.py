"""Which lines of edgeloop each test reaches, and how long it takes: what a mutant needs to be tried with, and in which order.

A run of the tests as they are says it, under sys.monitoring. It is kept in build/mutants, for as long as edgeloop and the
test's file stay the same. A test that forks or starts a program may reach any line. One that starts a program fails here,
unless such tests are wanted: they take long.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

PACKAGE = Path("edgeloop")
KEPT = Path("build/mutants/reached.json")
PROGRAMS = {"subprocess.Popen", "os.posix_spawn", "os.exec"}
FORKS = {"os.fork", "os.forkpty"}


def digest(paths: Iterator[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()


class Reached:
    """What the tests reach: a test's name, its seconds, its lines by file, and whether it starts a process."""

    def __init__(self, with_programs: bool) -> None:
        self.edgeloop = digest(PACKAGE.rglob("*.py"))
        self.files: dict[str, str] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        if KEPT.exists():
            kept = json.loads(KEPT.read_text())
            if kept["edgeloop"] == self.edgeloop:
                self.tests = {
                    name: test
                    for name, test in kept["tests"].items()
                    if test["file"] == self.file_of(name) and not (with_programs and test["starts"] and test["failed"])
                }

    def file_of(self, name: str) -> str:
        path = name.partition("::")[0]
        if path not in self.files:
            self.files[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).exists() else ""
        return self.files[path]

    def save(self) -> None:
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(json.dumps({"edgeloop": self.edgeloop, "tests": self.tests}))

    def reaches(self, name: str, file: str, lines: range) -> bool:
        mask = int(self.tests[name]["lines"].get(file, "0"), 16)
        return bool(mask >> lines.start & (1 << len(lines)) - 1)

    def by_variety(self, names: list[str]) -> list[str]:
        """Return the tests so that the first ones reach as much of edgeloop as they can, for what they cost.

        When all is reached that they reach, it begins anew with those that are left.
        """
        files = sorted({file for name in names for file in self.tests[name]["lines"]})
        lines = {
            name: sum(int(mask, 16) << 1000 * files.index(file) for file, mask in self.tests[name]["lines"].items())
            for name in names
        }
        ordered: list[str] = []
        heap = [(-1e9, name) for name in names]
        seen = 0
        while heap:
            _, name = heapq.heappop(heap)
            worth = -((lines[name] & ~seen).bit_count()) / (self.cost(name) + 0.01)
            if heap and worth > heap[0][0]:
                heapq.heappush(heap, (worth, name))
                continue
            if not worth and seen:
                seen = 0
                heap = [(-1e9, left) for _, left in heap] + [(-1e9, name)]
                heapq.heapify(heap)
                continue
            seen |= lines[name]
            ordered.append(name)
        return ordered

    def starts_processes(self, name: str) -> bool:
        return bool(self.tests[name]["starts"])

    def seconds(self, name: str) -> float:
        return float(self.tests[name]["seconds"])

    def cost(self, name: str) -> float:
        """Return seconds: of the processor, and somewhat for the waiting, which is longer on a busy machine."""
        return float(self.tests[name]["processor"] + self.tests[name]["seconds"] / 10)


class Recorder:
    """Follows the tests of this process, from now on. It is made once, in a process that only records."""

    def __init__(self, may_start_programs: bool) -> None:
        self.may_start_programs = may_start_programs
        self.folder = str(PACKAGE.resolve()) + "/"
        self.lines: dict[str, int] = {}
        self.starts = False
        self.monitoring: Any = getattr(sys, "monitoring", None)
        if self.monitoring is not None:
            tool, line = self.monitoring.COVERAGE_ID, self.monitoring.events.LINE
            self.monitoring.use_tool_id(tool, "mutants")
            self.monitoring.register_callback(tool, line, self.on_line)
            self.monitoring.set_events(tool, line)
        else:  # Python 3.11
            sys.settrace(self.on_frame)
            threading.settrace(self.on_frame)
        sys.addaudithook(self.on_audit)

    def on_line(self, code: CodeType, line: int) -> Any:
        file = code.co_filename
        if file.startswith(self.folder):
            file = file[len(self.folder) :]
            self.lines[file] = self.lines.get(file, 0) | 1 << line
        return self.monitoring and self.monitoring.DISABLE

    def on_frame(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.folder):
            return None
        self.on_line(frame.f_code, frame.f_lineno)
        return self.on_frame

    def on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in PROGRAMS or event in FORKS:
            self.starts = True
            if event in PROGRAMS and not self.may_start_programs:
                raise RuntimeError("this test starts a program: it is left out")

    @contextmanager
    def test(self, report: dict[str, Any]) -> Iterator[None]:
        self.lines = {}
        self.starts = False
        if self.monitoring is not None:
            self.monitoring.restart_events()
        start, processor = time.monotonic(), time.process_time()
        yield
        report["processor"] = round(time.process_time() - processor, 4)
        report["seconds"] = round(time.monotonic() - start, 4)
        report["lines"] = {file: f"{lines:x}" for file, lines in self.lines.items()}
        report["starts"] = self.starts
