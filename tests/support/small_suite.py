"""A small suite that passes, fails, hangs and crashes, and the harness for CPython's test suite on it.

The foreign loop is a subclass of the standard one, so tests with it say nothing about edgeloop: they say that the harness
would notice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repository import ROOT

FOREIGN_LOOP = """
    import asyncio

    class Loop(asyncio.SelectorEventLoop):
        pass

    new_event_loop = Loop

    def not_a_loop():
        return object()
"""

OUTCOMES = """
    import asyncio, os, signal, threading, time, unittest

    loop = asyncio.new_event_loop()
    FOREIGN = type(loop).__module__ == "foreign"
    loop.close()

    class Plain(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_fails(self):
            self.assertEqual("standard", "foreign" if FOREIGN else "standard")

        def test_c_errors(self):
            if FOREIGN:
                raise KeyError("missing")

        def test_d_skips(self):
            self.skipTest("for no reason")

        def test_e_fails_everywhere(self):
            self.fail("not even on the control")

        def test_f_subtests(self):
            for number in range(3):
                with self.subTest(number=number):
                    self.assertFalse(FOREIGN and number == 1)

        def test_g_passes(self):
            pass

    class Hanging(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_hangs(self):
            if FOREIGN:
                threading.Event().wait()

        def test_c_passes(self):
            pass

    class Crashing(unittest.TestCase):
        def test_a_passes(self):
            pass

        def test_b_crashes(self):
            if FOREIGN:
                os.kill(os.getpid(), signal.SIGSEGV)

        def test_c_exits(self):
            if FOREIGN:
                os._exit(3)

        def test_d_passes(self):
            pass

    class Leaving(unittest.TestCase):
        def test_forks_a_child_that_stays(self):
            if os.fork() == 0:
                time.sleep(600)

    class Unprepared(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            if FOREIGN:
                raise OSError("no class today")

        def test_a(self):
            pass

        def test_b(self):
            pass
"""

WAYS = """
    import asyncio, selectors, unittest

    class Ways(unittest.TestCase):
        def check(self, loop):
            self.addCleanup(loop.close)
            self.assertEqual(type(loop).__module__, "foreign")

        def test_new_event_loop(self):
            self.check(asyncio.new_event_loop())

        def test_policy(self):
            if hasattr(asyncio, "set_event_loop_policy"):
                asyncio.set_event_loop_policy(None)
            self.check(asyncio.new_event_loop())

        def test_run(self):
            async def running():
                return asyncio.get_running_loop()
            self.check(asyncio.run(running()))

        def test_runner(self):
            with asyncio.Runner() as runner:
                self.check(runner.get_loop())

        def test_selector_event_loop(self):
            self.check(asyncio.SelectorEventLoop())
            self.check(asyncio.SelectorEventLoop(selectors.EpollSelector()))

        def test_event_loop(self):
            self.check(getattr(asyncio, "EventLoop", asyncio.SelectorEventLoop)())

        def test_isinstance(self):
            loop = asyncio.new_event_loop()
            self.check(loop)
            self.assertIsInstance(loop, asyncio.SelectorEventLoop)
            self.assertNotIsInstance(object(), asyncio.SelectorEventLoop)

        def test_name(self):
            self.assertEqual(asyncio.SelectorEventLoop.__name__, "_UnixSelectorEventLoop")

        def test_subclass(self):
            class Mine(asyncio.SelectorEventLoop):
                def mine(self):
                    return self.is_closed()
            loop = Mine()
            self.addCleanup(loop.close)
            self.assertFalse(loop.mine())

    class Mixin(unittest.TestCase):
        def create_event_loop(self):
            raise AssertionError("this should have been replaced")

        def test_create_event_loop(self):
            loop = self.create_event_loop()
            self.addCleanup(loop.close)
            self.assertEqual(type(loop).__module__, "foreign")

    class Isolated(unittest.IsolatedAsyncioTestCase):
        async def test_running_loop(self):
            self.assertEqual(type(asyncio.get_running_loop()).__module__, "foreign")
"""

Harness = Callable[..., tuple[int, dict[str, Any], str]]


def harness_in(folder: Path) -> Harness:
    """A function that runs the harness, with the arguments it is given, on the small suite: exit status, JSON, output."""
    suite = folder / "smallsuite"
    suite.mkdir()
    for path, text in {
        folder / "foreign.py": FOREIGN_LOOP,
        suite / "__init__.py": "",
        suite / "test_broken.py": "import no_such_module",
        suite / "test_outcomes.py": OUTCOMES,
        suite / "test_ways.py": WAYS,
    }.items():
        path.write_text(textwrap.dedent(text))
    (folder / "none.toml").touch()

    def run(*arguments: str, loop: str = "foreign:new_event_loop") -> tuple[int, dict[str, Any], str]:
        found = folder / "found.json"
        found.unlink(missing_ok=True)
        fixed = ["--suite", "smallsuite", "--loop", loop, "--timeout", "30", "--json", str(found)]
        fixed += ["--control-file", str(folder / "control.json"), "--expectations", str(folder / "none.toml")]
        done = subprocess.run(
            [sys.executable, "-m", "compat.asyncio", *fixed, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, json.loads(found.read_text()) if found.exists() else {}, done.stdout + done.stderr

    return run
