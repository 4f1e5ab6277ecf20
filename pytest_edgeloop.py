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

https://docs.pytest.org/en/stable/how-to/writing_plugins.html
https://pytest-asyncio.readthedocs.io/en/stable/reference/hooks.html, https://anyio.readthedocs.io/en/stable/testing.html
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]

#: Options of anyio's asyncio backend that say which loop it is.
CHOOSES_A_LOOP = {"loop_factory", "use_uvloop"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("edgeloop").addoption(
        "--edgeloop", action="store_true", help="run asynchronous tests (pytest-asyncio, anyio, unittest) on edgeloop"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--edgeloop"):
        config.pluginmanager.register(OnEdgeloop(), "edgeloop-loops")


class OnEdgeloop:
    """The plugin of a session in which edgeloop was asked for."""

    def __init__(self) -> None:
        import edgeloop

        self.edgeloop = edgeloop
        self.default = Default(edgeloop)
        self.default.set()
        self.wraps_factories = False

    def pytest_unconfigure(self) -> None:
        self.default.restore()  # the session may have run within another one, in the same process

    def pytest_report_header(self) -> str:
        return (
            f"edgeloop: {self.edgeloop.__version__}, {self.edgeloop.EDITION} edition, is the loop of all asyncio tests"
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self.default.set()  # suites use to clean up with asyncio.set_event_loop_policy(None)

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
        self.install = edgeloop.install
        self.new_event_loop = edgeloop.new_event_loop
        self.policy: Any = None
        self.before: Any = asyncio.new_event_loop
        policy_class = getattr(edgeloop, "EventLoopPolicy", None)
        if policy_class is not None:
            self.before = self._policy()
            self.policy = policy_class()

    def set(self) -> None:
        """Make it edgeloop's, where it isn't."""
        if self.policy is None:
            self.install()
        elif not isinstance(self._policy(), type(self.policy)):
            self._set_policy(self.policy)

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
