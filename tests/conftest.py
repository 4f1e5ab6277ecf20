"""What every test gets: a loop, coroutines run on it, and a watch over descriptors.

``async def test_...`` runs on the ``loop`` fixture's loop. A test that does something before the loop runs or after, or
runs it more than once, is a plain function and takes ``run``. Both end after 60 s, so that a hang fails.

The loop under test is edgeloop. ``pytest --loop=asyncio`` runs the same tests on the standard selector loop: the
control that shows a test states asyncio's behaviour and not ours. Tests of what only edgeloop has are marked
``edgeloop_only`` and left out of the control run.
"""

from __future__ import annotations

import asyncio
import asyncio.streams
import gc
import inspect
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from descriptors import open_descriptors
from sockets import Pair, listening_socket, unix_pair

T = TypeVar("T")
# Elsewhere an object ends when the collector comes, and a collection looks at all there is: a second, after each test.
COUNTS_REFERENCES = sys.implementation.name == "cpython"
LIMIT = 60.0  # seconds that a test may take

#: PyPy has no ctypes.PyDLL to ask the weather's library, none of the counts that leaks are hunted by, and not all of Linux's
#: constants, which the simulated modules take from the real ones.
collect_ignore = ["weather", "leaks", "simulation"] if sys.implementation.name == "pypy" else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", choices=("edgeloop", "asyncio"), default="edgeloop", help="the loop under test")
    parser.addoption("--seed", type=int, help="the run that tests/simulation plays, instead of new ones")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "edgeloop_only: states what asyncio's own loop does not promise")
    config.addinivalue_line(
        "markers", "counts_references: states what happens when a last reference goes, at that moment"
    )
    config.addinivalue_line("markers", "follows_collections: acts at each collection, which PyPy's gc doesn't tell of")
    config.addinivalue_line(
        "markers", "fair_weather: counts system calls, or what each one did; tests/weather/seeded.py"
    )
    if not COUNTS_REFERENCES:
        # The collector ends an object in some later test, and that one would fail for it.
        config.addinivalue_line("filterwarnings", "default::ResourceWarning")
        config.addinivalue_line("filterwarnings", "default::pytest.PytestUnraisableExceptionWarning")
        warnings.simplefilter("default", pytest.PytestUnraisableExceptionWarning)  # at the end of the session
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's background job: the programs that tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not COUNTS_REFERENCES:
        skip = pytest.mark.skip(
            reason="only CPython counts references: elsewhere an object ends when the collector comes"
        )
        for item in items:
            if item.get_closest_marker("counts_references"):
                item.add_marker(skip)
    if not hasattr(gc, "callbacks"):
        skip = pytest.mark.skip(reason="this Python's gc has no callbacks")
        for item in items:
            if item.get_closest_marker("follows_collections"):
                item.add_marker(skip)
    if config.getoption("--loop") == "asyncio":
        skip = pytest.mark.skip(reason="the control run covers only what the standard loop promises")
        for item in items:
            if item.get_closest_marker("edgeloop_only"):
                item.add_marker(skip)
    if "WEATHER_SEED" in os.environ:
        for item in items:
            if item.get_closest_marker("fair_weather"):
                item.add_marker(
                    pytest.mark.skip(reason="has its own weather, or counts what comes out in fair weather")
                )


def pytest_collection_finish() -> None:
    """Each test ends with a collection: of what tests make, not of all modules again, which took longer than most tests."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has no such call
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, sched: Any) -> None:
    """A worker of pytest-xdist has died: noxfile.py gives this test no second try."""
    sched.config.cache.set("edgeloop/crashed", crashitem)


@pytest.fixture(scope="session")
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.config.getoption("--loop") == "asyncio":
        return asyncio.SelectorEventLoop
    import edgeloop

    return edgeloop.new_event_loop


@pytest.fixture
def loop(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.AbstractEventLoop]:
    """A fresh loop, closed afterwards; whatever tasks are left are cancelled first, as asyncio.Runner does."""
    loop = loop_factory()
    try:
        yield loop
    finally:
        if not loop.is_closed():
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


def run_on(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], limit: float = LIMIT) -> T:
    return loop.run_until_complete(asyncio.wait_for(coroutine, limit))


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, T]], T]:
    """``run(coro)`` runs the coroutine on the test's loop; ``limit`` (seconds) against hangs."""

    def run(coroutine: Coroutine[Any, Any, T], limit: float = LIMIT) -> T:
        return run_on(loop, coroutine, limit)

    return run


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """A coroutine function is collected like any test, and uses ``loop``."""
    if inspect.iscoroutinefunction(obj):
        pytest.mark.usefixtures("loop")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function's coroutine; True says that this has been done."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    loop: Any = pyfuncitem.funcargs["loop"]
    run_on(loop, pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def no_descriptor_leak() -> Iterator[None]:
    """Each test must leave as many descriptors open as it found (autouse, so its teardown comes after ``loop``'s)."""
    before = open_descriptors()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        # Threads of the executors end a moment after the loop is closed, and hold its eventfd until then.
        if COUNTS_REFERENCES:
            gc.collect()  # here, or what this test left behind would warn in the middle of another
        for attempt in range(100):
            leaked = {fd: what for fd, what in open_descriptors().items() if fd not in before}
            if not leaked:
                break
            time.sleep(0.01 if attempt else 0)
            gc.collect()
    assert not leaked, f"descriptors leaked: {leaked}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a Unix stream connection, non-blocking."""
    ours, theirs = unix_pair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener on loopback that nobody accepts from."""
    with listening_socket() as listener:
        yield listener


@pytest.fixture
def streams(request: pytest.FixtureRequest) -> Any:
    """edgeloop.streams; in the control run asyncio.streams."""
    if request.config.getoption("--loop") == "asyncio":
        return asyncio.streams
    from edgeloop import streams

    return streams
