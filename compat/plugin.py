"""The pytest plugin inside a run: picks the tests, and tells ``python -m compat`` about each as it starts and ends.

It is copied, as ``edgeloop_compat_plugin``, into the environments the projects' suites run in, and loaded there with
``-p``. What it does is said by the environment:

- ``EDGELOOP_COMPAT_FD``: the descriptor that the events are written to, one JSON object a line.
- ``EDGELOOP_COMPAT_PICK``: a JSON file: ``only``, node ids to run (null: all), ``done``, node ids not to run again, and
  ``left_out``, patterns of what is not run at all.

With pytest-xdist it speaks for the controlling process, which hears of every test, and picks in the workers.
"""

from __future__ import annotations

import asyncio
import ctypes
import fnmatch
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import startup
else:
    import edgeloop_compat_startup as startup

_WORST_LAST = ("passed", "skipped", "failed", "error")


class Picker:
    """Which of the tests pytest finds are run."""

    def __init__(self, pick: dict[str, Any]) -> None:
        self.only = None if pick["only"] is None else set(pick["only"])
        self.done = set(pick["done"])
        self.left_out: list[str] = pick["left_out"]
        self.matched: Counter[str] = Counter()
        self.collected: dict[str, str] = {}

    def leaves_out(self, name: str) -> bool:
        """Whether a pattern covers ``name`` (a node id, or a file's path): equal to it, a part of its path, or a glob."""
        for pattern in self.left_out:
            stem = name[: len(pattern)]
            rest = name[len(pattern) :]
            # A node id has [ and ] in it, which a glob would read as a set of characters.
            glob = "*" in pattern and fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))
            if glob or (stem == pattern and (not rest or rest[0] in "/:[")):
                self.matched[pattern] += 1
                return True
        return False

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        try:
            name = collection_path.relative_to(config.rootpath).as_posix()
        except ValueError:
            return None
        return True if self.leaves_out(name) else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            out = self.leaves_out(item.nodeid)
            if not out:
                self.collected[item.nodeid] = str(item.path)
            wanted = not out and item.nodeid not in self.done and (self.only is None or item.nodeid in self.only)
            (kept if wanted else dropped).append(item)
        if dropped:
            items[:] = kept
            config.hook.pytest_deselected(items=dropped)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["edgeloop_compat"] = json.dumps(_counts(self))


class Teller:
    """Tells the parent."""

    def __init__(self, fd: int, picker: Picker) -> None:
        self.fd = fd
        self.picker = picker
        self.found: dict[str, list[tuple[str, str, str]]] = {}
        self.counts: list[dict[str, Any]] = []

    def send(self, event: str, **fields: Any) -> None:
        os.write(self.fd, json.dumps({"event": event, **fields}).encode() + b"\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.send("uncollected", test=report.nodeid, reason=_reason(report)[0])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.found[nodeid] = []
        self.send("start", test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.found.setdefault(report.nodeid, []).append(_outcome(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        found = self.found.pop(nodeid, []) or [("error", "no outcome was reported", "")]
        outcome, reason, where = max(found, key=lambda one: _WORST_LAST.index(one[0]))
        self.send("end", test=nodeid, outcome=outcome, reason=reason, where=where)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {}).get("edgeloop_compat")
        if output:
            self.counts.append(json.loads(output))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        for counts in [_counts(self.picker), *self.counts]:
            self.send("counts", **counts)
        self.send("done", status=int(exitstatus))

    def pytest_report_header(self) -> str:
        return f"loop under test: {os.environ.get(startup.ENVIRONMENT)}, {_default_loop()}"


def _counts(picker: Picker) -> dict[str, Any]:
    return {
        "made": startup.made,
        "strays": startup.strays,
        "left_out": picker.matched,
        "collected": picker.collected,
    }


def _outcome(report: pytest.TestReport) -> tuple[str, str, str]:
    if hasattr(report, "wasxfail"):  # expected by the project to fail: it says nothing, either way
        return "skipped", f"xfail: {report.wasxfail}", ""
    if report.passed:
        return "passed", "", ""
    if report.skipped:
        return "skipped", str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr), ""
    return "failed" if report.when == "call" else "error", *_reason(report)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str]:
    """The exception's first line, and where it was raised."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        lines = str(report.longrepr).strip().splitlines() or [""]
        return lines[-1], ""
    return (crash.message.splitlines() or [""])[0], f"{crash.path}:{crash.lineno}"


def _default_loop() -> str:
    """The class of the loop that asyncio.run makes here; RuntimeError if that is not what was asked for."""

    async def running() -> type:
        return type(asyncio.get_running_loop())

    name = os.environ.get(startup.ENVIRONMENT, "")
    expected = startup.loop_class(startup.find(name))
    with asyncio.Runner() as runner:
        found = runner.run(running())
    if found is not expected:
        raise RuntimeError(f"{name} was asked for, whose loops are {expected!r}, and asyncio.Runner made {found!r}")
    startup.made.clear()
    startup.strays.clear()
    return f"{found.__module__}.{found.__qualname__}"


def pytest_configure(config: pytest.Config) -> None:
    # Not for a pytest that a test starts: that one inherits the variables, and -p at most with the command line.
    pick = os.environ.get("EDGELOOP_COMPAT_PICK")
    if not pick:
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started by a shell's background job: what tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    picker = Picker(json.loads(Path(pick).read_text()))
    config.pluginmanager.register(picker, "edgeloop-compat-picker")
    if hasattr(config, "workerinput"):
        _default_loop()
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the one who listens
    fd = int(os.environ.pop("EDGELOOP_COMPAT_FD"))
    os.set_inheritable(fd, False)
    config.pluginmanager.register(Teller(fd, picker), "edgeloop-compat-teller")
