"""``pytest --edgeloop``: the asynchronous tests of any suite run on edgeloop, without a change to the suite.

A pytest plugin, found through its entry point. It lies beside the package and not in it: pytest imports every plugin that
is installed, and where nobody asked for edgeloop, neither edgeloop nor asyncio is to be imported for it.

With the option, edgeloop is what asyncio makes when it is asked for a loop (``edgeloop.install``), and that is what
pytest-asyncio, anyio's plugin, ``IsolatedAsyncioTestCase`` and ``asyncio.run`` in a test do. What is left is a suite that
names its loops itself; those are replaced where the suite hands them over, under the names that the suite gave them:

- pytest-asyncio 1.4 and newer: the hook ``pytest_asyncio_loop_factories``. Ours wraps the suite's; a suite without one
  gets none, since a test that has a loop factory is a parametrized test, and pytest may run those in another order.
- pytest-asyncio before: the fixture ``event_loop_policy``.
- anyio: the options in the fixture ``anyio_backend``.
- unittest: ``IsolatedAsyncioTestCase.loop_factory``.

What a suite puts in by other ways, such as a policy that a fixture sets, is not replaced: a test whose loop was another one
fails, and says which (Ran).

https://docs.pytest.org/en/stable/how-to/writing_plugins.html
https://pytest-asyncio.readthedocs.io/en/stable/reference/hooks.html, https://anyio.readthedocs.io/en/stable/testing.html
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import FrameType

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]

NAME = "edgeloop-loops"
#: Options of anyio's asyncio backend that say which loop it is.
CHOOSES_A_LOOP = {"loop_factory", "use_uvloop"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("edgeloop").addoption(
        "--edgeloop", action="store_true", help="run asynchronous tests (pytest-asyncio, anyio, unittest) on edgeloop"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before a conftest imports another loop, whose module would no longer be heard of (edgeloop.running).
    if getattr(early_config.known_args_namespace, "edgeloop", False):
        early_config.pluginmanager.register(OnEdgeloop(early_config), NAME)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--edgeloop") and not config.pluginmanager.has_plugin(NAME):
        config.pluginmanager.register(OnEdgeloop(config), NAME)


class OnEdgeloop:
    """The plugin of a session in which edgeloop was asked for."""

    def __init__(self, config: pytest.Config) -> None:
        import edgeloop

        self.edgeloop = edgeloop
        self.default = Default(edgeloop)
        self.ran = Ran(self.default, config.pluginmanager)
        self.default.set()
        self.wraps_factories = False

    def pytest_configure(self) -> None:
        self.default.set()  # a conftest may have come since

    def pytest_unconfigure(self) -> None:
        self.ran.watch.stop()
        self.default.restore()  # the session may have run within another one, in the same process

    def pytest_report_header(self) -> str:
        return (
            f"edgeloop: {self.edgeloop.__version__}, {self.edgeloop.EDITION} edition, is the loop of all asyncio tests"
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        self.default.set()  # suites use to clean up with asyncio.set_event_loop_policy(None)
        return (yield from self.checked())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        case: Any = getattr(item, "instance", None)
        kind = getattr(sys.modules.get("unittest.async_case"), "IsolatedAsyncioTestCase", None)
        if kind is not None and isinstance(case, kind) and getattr(case, "loop_factory", None) is not None:
            setattr(case, "loop_factory", self.edgeloop.new_event_loop)  # noqa: B010  # the class is found at run time
        return (yield from self.checked())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        return (yield from self.checked())

    def checked(self) -> Generator[None, object, object]:
        """One phase of a test, which fails if another loop has run in it."""
        self.ran.begin()
        try:
            result = yield
        except BaseException as exc:  # its own failure is the one that is shown
            if said := self.ran.take():
                exc.add_note(said)
            raise
        if said := self.ran.take():
            pytest.fail(said, pytrace=False)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.ran.take()
        if self.ran.total and session.exitstatus == pytest.ExitCode.OK:  # where the test was expected to fail, say
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.ran.total:
            terminalreporter.write_line(
                f"edgeloop: in {self.ran.total} places of this session another loop ran", red=True
            )

    def pytest_plugin_registered(self, plugin: object, manager: pytest.PytestPluginManager) -> None:
        if hasattr(plugin, "pytest_asyncio_loop_factories") and not self.wraps_factories:
            self.wraps_factories = True
            manager.register(InsteadOfFactories(self.edgeloop.new_event_loop), "edgeloop-factories")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        value = yield
        ours = value
        if fixturedef.argname == "event_loop_policy" and self.default.policy is not None:
            ours = self.default.policy
        elif fixturedef.argname == "anyio_backend":
            ours = self.backend(value)
        if ours is not value and fixturedef.cached_result is not None:
            fixturedef.cached_result = (ours, *fixturedef.cached_result[1:])
        return ours

    def backend(self, value: object) -> object:
        """The value of the fixture ``anyio_backend``; a loop that its options name is ours from here on."""
        match value:
            case ("asyncio", dict(options)) if CHOOSES_A_LOOP & options.keys():
                return "asyncio", options | {"loop_factory": self.edgeloop.new_event_loop}
        return value


class InsteadOfFactories:
    """The plugin beside a suite that names its loop factories: all its names, and our factory under each."""

    def __init__(self, factory: LoopFactory) -> None:
        self.factory = factory

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_asyncio_loop_factories(
        self,
    ) -> Generator[None, Mapping[str, LoopFactory] | None, Mapping[str, LoopFactory] | None]:
        factories = yield
        if factories is None:  # a part of the suite that names none
            return {"edgeloop": self.factory}
        if not isinstance(factories, Mapping):
            return factories  # pytest-asyncio says what is wrong with it
        return dict.fromkeys(factories, self.factory)


class Default:
    """What asyncio makes when it is asked for a loop: the policy's, or on a Python without policies a function's."""

    def __init__(self, edgeloop: Any) -> None:
        import asyncio

        self.asyncio: Any = asyncio
        self.new_event_loop = edgeloop.new_event_loop
        self.policy: Any = None
        self.before: Any = asyncio.new_event_loop
        policy_class = getattr(edgeloop, "EventLoopPolicy", None)
        if policy_class is not None:
            self.before = self._policy()
            self.policy = policy_class()

    def set(self) -> None:
        """Make it edgeloop's, where it isn't."""
        if self.is_set():
            return
        if self.policy is None:
            self.asyncio.new_event_loop = self.asyncio.events.new_event_loop = self.new_event_loop
        else:
            self._set_policy(self.policy)

    def is_set(self) -> bool:
        """Return True if it is edgeloop's."""
        if self.policy is None:
            return bool(self.asyncio.new_event_loop is self.new_event_loop)
        return isinstance(self._policy(), type(self.policy))

    def who_is_set(self) -> str:
        """Return the name of what is there instead of edgeloop's."""
        found = self.asyncio.new_event_loop if self.policy is None else type(self._policy())
        return f"{found.__module__}.{found.__qualname__}"

    def restore(self) -> None:
        """Make it what it was before."""
        if self.policy is None:
            self.asyncio.new_event_loop = self.asyncio.events.new_event_loop = self.before
        else:
            self._set_policy(self.before)

    # Policies are deprecated since Python 3.14. That is not the suite's fault.

    def _policy(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return self.asyncio.get_event_loop_policy()

    def _set_policy(self, policy: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.asyncio.set_event_loop_policy(policy)


class Ran:
    """Which loops ran that should have been edgeloop's: all that asyncio or a plugin was asked for.

    A test that makes a loop of a class it names, or hands a loop factory to asyncio.run, means that loop. So does one that
    sets a policy itself. One that finds another policy in its way does not.
    """

    #: Who runs tests and fixtures, besides the modules that are plugins.
    DRIVERS = frozenset({"anyio.pytest_plugin", "unittest.async_case", "aiohttp.pytest_plugin", "aiohttp.test_utils"})
    #: Who may stand between a loop and whoever runs it.
    BETWEEN = frozenset({"asyncio", "edgeloop", "anyio", "uvloop"})

    def __init__(self, default: Default, manager: pytest.PytestPluginManager) -> None:
        from edgeloop import EventLoop, running

        self.running = running
        self.ours = EventLoop
        self.default = default
        self.manager = manager
        self.depth = sum(_is_pytester(frame) for frame in _callers(sys._getframe()))
        self.was_set = True
        self.found: list[str] = []
        self.total = 0
        self.watch = running.Watch(self.started)

    def begin(self) -> None:
        """A phase of a test begins."""
        self.was_set = self.default.is_set()

    def take(self) -> str:
        """Return what is to be said of the loops that ran since it was last called, "" if they were edgeloop's."""
        found, self.found = dict.fromkeys(self.found), []
        self.total += bool(found)
        return "\n".join(found)

    def started(self, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, self.ours) and (reason := self.reason(loop)):
            self.found.append(
                f"pytest --edgeloop: this ran on {self.running.of_what_class(loop)}, not on edgeloop: {reason}"
            )

    def reason(self, loop: object) -> str | None:
        """Return why that loop should have been another one, None where it was meant."""
        callers = list(_callers(sys._getframe(2)))
        if sum(map(_is_pytester, callers)) > self.depth:
            return None  # a session within a test, which has said for itself what it wants
        factory_is_given = False
        for frame in callers:
            name = _module(frame)
            if name not in self.DRIVERS and (name.partition(".")[0] in self.BETWEEN or self._is_its_own(frame, loop)):
                factory_is_given |= getattr(frame.f_locals.get("self"), "_loop_factory", None) is not None
                continue
            if not self.default.is_set():
                put_in = f"{self.default.who_is_set()} was put in with asyncio.set_event_loop_policy. Take it out"
            else:
                put_in = f"the suite chose that loop for {name}. Let it choose edgeloop.new_event_loop, or none"
            if name in self.DRIVERS or any(getattr(plugin, "__name__", "") == name for plugin in self._plugins()):
                return put_in
            return None if self.was_set or factory_is_given else put_in
        return None

    def _is_its_own(self, frame: FrameType, loop: object) -> bool:
        return frame.f_locals.get("self") is loop

    def _plugins(self) -> list[Any]:
        plugins = self.manager.get_plugins()
        return [one for one in plugins if not str(getattr(one, "__file__", "")).endswith("conftest.py")]


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_pytester(frame: FrameType) -> bool:
    return _module(frame) == "_pytest.pytester"
