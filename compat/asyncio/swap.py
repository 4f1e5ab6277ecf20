"""The default loop, replaced: every way in which a test obtains "the" loop leads to the loop under test.

This has to happen before a test module is imported, because many of them look at ``asyncio.SelectorEventLoop`` while
they define their classes. What is replaced, by Python version:

- The policy's loop factory (3.11 to 3.15; deprecated since 3.14, to be removed in 3.16). On its class, since the test
  modules put fresh policies in place with ``set_event_loop_policy(None)``. ``asyncio.new_event_loop``, ``asyncio.run``,
  ``Runner`` and ``IsolatedAsyncioTestCase`` all end there. Where there is no policy: ``new_event_loop`` itself.
- ``asyncio.SelectorEventLoop``, ``asyncio.EventLoop`` (3.13) and ``asyncio.BaseEventLoop``, by a stand-in. The classes
  in ``asyncio.base_events`` and ``asyncio.selector_events`` stay: the suite's own mock loops derive from them.
- ``create_event_loop`` of each loop mixin, and ``base_events.BaseEventLoop`` as test_base_events sees it.
- The fixture that closes a test's loop reads ``loop._default_executor``. For a loop that has no such attribute another
  one does the same through the public interface, so that a fixture doesn't decide about a thousand tests.

For the control, ``BaseEventLoop`` stays too: it is the standard loop, and tests that name it give it a mock selector.

https://docs.python.org/3/library/asyncio-policy.html, https://docs.python.org/3/library/asyncio-runner.html
"""

from __future__ import annotations

import asyncio
import asyncio.streams
import asyncio.unix_events
import importlib
import unittest
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .. import startup


class Swap:
    """The loop under test and the stand-in that the test modules get for the standard library's loop classes.

    ``name`` is ``asyncio`` (the control: the standard selector loop goes through the same replacements), ``edgeloop``,
    ``uvloop`` or ``MODULE:FACTORY``. Raises ImportError or AttributeError for a loop that isn't there, TypeError for a
    factory that does not make an ``asyncio.AbstractEventLoop``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.factory = startup.find(name)
        self.loop_class = startup.loop_class(self.factory)
        self.is_control = name == "asyncio"
        self.stand_in = startup.stand_in(self.factory, self.loop_class)

    @property
    def description(self) -> str:
        """The loop's name with what its package says of itself: version, and edition where there is one."""
        package = importlib.import_module(self.loop_class.__module__.partition(".")[0])
        words = [self.name, getattr(package, "__version__", ""), getattr(package, "EDITION", "")]
        return " ".join(str(word) for word in words if word)

    def install(self) -> None:
        """Replace the default loop of this process. Raises RuntimeError where a way to a loop still leads elsewhere."""
        others = () if self.is_control else ("BaseEventLoop",)
        startup.replace(self.factory, self.stand_in, ("SelectorEventLoop", "EventLoop", *others))
        self._verify()

    def adapt(self, test_class: Any) -> None:
        """Point what a test class itself says about its loop at the loop under test."""
        factory = self.factory

        def create_event_loop(test: unittest.TestCase) -> asyncio.AbstractEventLoop:
            return factory()

        if hasattr(test_class, "create_event_loop"):
            test_class.create_event_loop = create_event_loop
        if test_class.__name__ == "BaseEventLoopTests" and not self.is_control:
            namespace = importlib.import_module(test_class.__module__).__dict__
            namespace["base_events"] = _SeenModule(asyncio.base_events, BaseEventLoop=self.stand_in)
        if hasattr(test_class, "close_loop"):
            test_class.close_loop = staticmethod(_closing(test_class.close_loop))

    def _verify(self) -> None:
        running: list[type] = []

        async def note() -> None:
            running.append(type(asyncio.get_running_loop()))

        class Isolated(unittest.IsolatedAsyncioTestCase):
            async def runTest(self) -> None:
                await note()

        asyncio.run(note())
        with asyncio.Runner() as runner:
            runner.run(note())
        Isolated().run(unittest.TestResult())
        for factory in (asyncio.new_event_loop, asyncio.SelectorEventLoop):
            loop = factory()
            running.append(type(loop))
            loop.close()
        vars(asyncio.events)["_event_loop_policy"] = None  # the tests shall find a policy that was not used yet
        if running != [self.loop_class] * 5:
            raise RuntimeError(f"the default loop should be {self.loop_class!r} everywhere, found {running!r}")


class _SeenModule(ModuleType):
    """A module as one test module sees it: the real one, read and patched through, but for the names given."""

    def __init__(self, module: ModuleType, **names: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)


def swap_streams() -> None:
    """Put edgeloop's stream classes and functions in the place of asyncio's, under whatever name a test finds those."""
    streams = importlib.import_module("edgeloop.streams")
    for name in streams.__all__:
        for module in (asyncio, asyncio.streams):
            setattr(module, name, getattr(streams, name))


def _closing(close_loop: Callable[[asyncio.AbstractEventLoop], None]) -> Callable[[asyncio.AbstractEventLoop], None]:
    def close(loop: asyncio.AbstractEventLoop) -> None:
        if hasattr(loop, "_default_executor"):
            close_loop(loop)
        elif not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return close
