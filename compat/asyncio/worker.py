"""The child process: lists the classes of a suite, or runs one class, and tells its parent about each test.

It writes one JSON object a line to the descriptor named in its environment, the moment something happens, so that the
parent knows which test was running when the process hung or died.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import functools
import importlib
import inspect
import json
import linecache
import os
import pkgutil
import resource
import signal
import sys
import traceback
import unittest
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from ..following import FD
from .selection import left_out
from .swap import Swap, swap_streams

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_WORST_LAST = ("passed", "skipped", "failed", "error")


class Channel:
    """The way to the parent: ``send`` writes one event, unbuffered."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, event: str, **fields: Any) -> None:
        os.write(self.fd, json.dumps({"event": event, **fields}).encode() + b"\n")


class Result(unittest.TestResult):
    """A test result that reports start and outcome of each test; with several outcomes (subtests) the worst counts."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel
        self.found: list[tuple[str, str, str]] = []

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.found = []
        self.channel.send("start", test=test._testMethodName)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        outcome, reason, where = max(self.found, key=lambda found: _WORST_LAST.index(found[0]))
        self.channel.send("end", test=test._testMethodName, outcome=outcome, reason=reason, where=where)

    def note(self, test: Any, outcome: str, reason: str = "", where: str = "") -> None:
        if isinstance(test, unittest.TestCase):
            self.found.append((outcome, reason, where))
        else:  # setUpClass, setUpModule and their opposites: it happened to the class
            self.channel.send("fixture", name=str(test), outcome=outcome, reason=reason, where=where)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.note(test, "passed")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "failed", *_reason(test, err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "error", *_reason(test, err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.note(test, "failed", "a test marked expectedFailure passed")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is None:
            self.note(test, "passed")
        else:
            outcome = "failed" if issubclass(err[0], test.failureException) else "error"
            reason, where = _reason(test, err)
            self.note(test, outcome, f"{reason} {subtest._subDescription()}", where)  # type: ignore[attr-defined]


def _reason(test: object, err: ExcInfo) -> tuple[str, str]:
    """The exception's last line, and the innermost line of the suite that it passed through."""
    lines = "".join(traceback.format_exception_only(err[0], err[1])).strip().splitlines() or [""]
    folder = os.path.dirname(inspect.getfile(type(test)))
    where = ""
    for frame, number in traceback.walk_tb(err[2]):
        path = frame.f_code.co_filename
        if os.path.dirname(path) == folder or not where:
            where = f"{os.path.basename(path)}:{number}: {linecache.getline(path, number).strip()}"
    return (lines[0] if len(lines) < 3 else f"{lines[0]} [...] {lines[-1]}"), where


def listing(suite: str, modules: list[str]) -> dict[str, Any]:
    """Classes and tests of each module: ``{module: {"classes": ...}}``, or why it has none (``skipped``, ``error``)."""
    package = importlib.import_module(suite)
    names = modules or sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith("test_"))
    found: dict[str, Any] = {}
    for name in names:
        if why := left_out(name):
            found[name] = {"left_out": why}
            continue
        try:
            module = importlib.import_module(f"{suite}.{name}")
        except unittest.SkipTest as why_not:
            found[name] = {"skipped": str(why_not)}
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        else:
            found[name] = {"classes": _classes(name, module)}
    return found


def _classes(name: str, module: Any) -> dict[str, Any]:
    loader = unittest.TestLoader()
    classes: dict[str, Any] = {}
    for cls in vars(module).values():
        if isinstance(cls, type) and issubclass(cls, unittest.TestCase) and cls.__module__ == module.__name__:
            tests = loader.getTestCaseNames(cls)
            if tests and not left_out(name, cls.__name__):
                classes[cls.__name__] = _sources(cls, tests)
    return classes


@functools.cache
def _source(method: Callable[..., object]) -> str:
    try:
        return inspect.getsource(inspect.unwrap(method))
    except (OSError, TypeError):  # not written in Python, or made without a file
        return ""


def _sources(cls: type, tests: Sequence[str]) -> dict[str, str]:
    """For each test what an expectation's line has to be found in: its own source, and its class' fixtures and aids."""
    aids = ""
    for base in cls.__mro__:
        if base.__module__ == cls.__module__:
            functions = [value for value in vars(base).values() if inspect.isfunction(value)]
            aids += "".join(_source(function) for function in functions if not function.__name__.startswith("test"))
    return {test: _source(getattr(cls, test)) + aids for test in tests}


def run(suite: str, module: str, cls: str, tests: list[str], swap: Swap, channel: Channel) -> None:
    """Run ``tests`` of one class in order; each is reported through ``channel`` as it starts and ends."""
    test_class = getattr(importlib.import_module(f"{suite}.{module}"), cls)
    swap.adapt(test_class)
    unittest.TestSuite(test_class(test) for test in tests).run(Result(channel))


def die_with_parent() -> None:
    """Have the kernel end this process when the one that follows it is gone: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def leave_out_broken_modules() -> None:
    """Have test.support do without _testcapi, as it can, where that can't be imported: on Debian's PyPy."""
    try:
        importlib.import_module("_testcapi")
    except ImportError:
        pass
    except Exception:  # it compiles a file then, which was not packaged
        sys.modules["_testcapi"] = None  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m compat.asyncio.worker")
    parser.add_argument("--loop", required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--class", dest="cls")
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is a result here, not something to keep
    faulthandler.enable()
    fd = int(os.environ.pop(FD))
    os.set_inheritable(fd, False)
    channel = Channel(fd)
    leave_out_broken_modules()
    swap = Swap(args.loop)
    swap.install()
    if args.streams:
        swap_streams()
    if args.cls is None:
        channel.send("listing", modules=listing(args.suite, args.module), loop=swap.description)
    else:
        run(args.suite, args.module[0], args.cls, args.tests, swap, channel)
    channel.send("done")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
