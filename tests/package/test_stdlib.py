"""The undocumented names of the standard library, held against the Python that runs, and that they stay in one place."""

from __future__ import annotations

import ast
import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.coroutines
import asyncio.staggered
import asyncio.trsock
import functools
import inspect
import logging
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import edgeloop
from edgeloop import stdlib

pytestmark = pytest.mark.edgeloop_only

SOURCES = Path(edgeloop.__file__).parent


# What each name is, and does, in this Python


def test_every_name_has_a_test() -> None:
    tests = Path(__file__).read_text()
    assert [name for name in stdlib.__all__ if f"stdlib.{name}" not in tests] == []
    assert [name for name in stdlib.__all__ if not hasattr(stdlib, name)] == []


def test_where_classes_are_replaced() -> None:
    assert stdlib.tasks.Task is asyncio.Task
    assert stdlib.futures.Future is asyncio.Future


def test_where_handles_run() -> None:
    assert stdlib.handle_class is asyncio.Handle
    assert not stdlib.is_replaced_run(asyncio.Handle._run)
    assert stdlib.is_replaced_run(lambda self: None)
    assert stdlib.is_replaced_run(functools.wraps(asyncio.Handle._run)(lambda self: None))
    assert stdlib.is_replaced_run(print)


def test_run_handle(monkeypatch: pytest.MonkeyPatch, loop: asyncio.AbstractEventLoop) -> None:
    called: list[Any] = []
    handle = loop.call_soon(called.append, 1)
    stdlib.run_handle(handle)
    assert called == [1]
    handle.cancel()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", called.append)
        stdlib.run_handle(handle)
    assert called == [1, handle]


def test_transport_socket() -> None:
    assert stdlib.TransportSocket is asyncio.trsock.TransportSocket
    ours, theirs = socket.socketpair()
    with ours, theirs:
        face = stdlib.TransportSocket(ours)
        assert face.fileno() == ours.fileno()
        assert (face.family, face.type, face.proto) == (ours.family, ours.type, ours.proto)
        assert face.getsockname() == ours.getsockname()
        assert face.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert not hasattr(face, "recv")  # the transport's business


async def test_staggered_race() -> None:
    """It takes functions, a delay in seconds and the loop; the first that succeeds wins and the others are cancelled."""
    assert list(inspect.signature(asyncio.staggered.staggered_race).parameters) == ["coro_fns", "delay", "loop"]
    steps: list[str] = []

    async def fail() -> str:
        steps.append("fail")
        raise OSError("first")

    async def hang() -> str:
        steps.append("hang")
        try:
            await asyncio.sleep(3600)
        finally:
            steps.append("cancelled")
        return "late"

    async def win() -> str:
        steps.append("win")
        return "winner"

    loop = asyncio.get_running_loop()
    result: Any = await stdlib.staggered_race([fail, hang, win], 0.01, loop=loop)
    winner, index, exceptions = result
    assert (winner, index) == ("winner", 2)
    assert isinstance(exceptions[0], OSError)
    assert steps == ["fail", "hang", "win", "cancelled"]
    nobody: Any = await stdlib.staggered_race([partial(fail), partial(fail)], None, loop=loop)
    assert nobody[:2] == (None, None)
    assert [str(exc) for exc in nobody[2]] == ["first", "first"]


def test_logger() -> None:
    assert stdlib.logger() is asyncio.base_events.logger  # type: ignore[attr-defined]
    assert stdlib.logger() is logging.getLogger("asyncio")


def test_running_loop_setter() -> None:
    """asyncio's loops call stdlib.running_loop_setter(), or what stdlib.replace_running_loop_setter has put there."""
    setter = stdlib.running_loop_setter()
    assert setter is asyncio._set_running_loop
    heard: list[asyncio.AbstractEventLoop | None] = []

    def hear(loop: asyncio.AbstractEventLoop | None) -> None:
        heard.append(loop)
        setter(loop)

    loop = asyncio.SelectorEventLoop()
    stdlib.replace_running_loop_setter(hear)
    try:
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        stdlib.replace_running_loop_setter(setter)
        loop.close()
    assert heard == [loop, None]
    assert asyncio._set_running_loop is asyncio.events._set_running_loop is setter


def test_log_threshold() -> None:
    assert asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES == stdlib.LOG_THRESHOLD_FOR_CONNLOST_WRITES


@pytest.mark.parametrize("debug", [True, False])
def test_debug_by_default(debug: bool) -> None:
    """stdlib.debug_by_default follows -X dev and PYTHONASYNCIODEBUG."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(SOURCES.parent), environment.get("PYTHONPATH", "")])
    program = "from edgeloop import stdlib; print(stdlib.debug_by_default())"

    def says(*options: str, **extra: str) -> str:
        command = [sys.executable, *options, "-c", program]
        done = subprocess.run(command, env=environment | extra, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    if debug:
        assert says("-X", "dev") == says(PYTHONASYNCIODEBUG="1") == "True"
    else:
        assert says() == "False"


def some_callback(*args: object) -> None:
    """Something to describe."""


def test_describe_callback() -> None:
    line = some_callback.__code__.co_firstlineno
    shown = stdlib.describe_callback(some_callback, ("secret",), True)
    assert shown == f"some_callback('secret') at {__file__}:{line}"
    hidden = stdlib.describe_callback(partial(some_callback, 1), ("secret",), False)
    # Newer Pythons hide the arguments outside debug mode, because they may be secrets; which ones do, asyncio's own
    # handles tell.
    loop = asyncio.SelectorEventLoop()
    try:
        handle = loop.call_soon(some_callback, "secret")
        assert ("secret" in hidden) is ("secret" in repr(handle))
    finally:
        loop.close()


def test_extract_stack() -> None:
    stack = stdlib.extract_stack()
    innermost = [frame for frame in stack if frame.filename == __file__][-1]
    assert innermost.name == "test_extract_stack"
    assert [frame.filename for frame in stack][-1] in (__file__, stdlib.__file__)


def test_threads_of() -> None:
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        assert stdlib.threads_of(executor) == (0, 0)
        first, second = executor.submit(go_on.wait), executor.submit(go_on.wait)
        while not first.running():
            time.sleep(0.001)
        assert stdlib.threads_of(executor) == (1, 1)
        go_on.set()
        assert second.result()
    assert stdlib.threads_of(None) == stdlib.threads_of(object()) == (0, 0)


def test_running_loop(loop: asyncio.AbstractEventLoop) -> None:
    assert stdlib.get_running_loop() is None
    stdlib.set_running_loop(loop)
    try:
        assert stdlib.get_running_loop() is loop
        assert asyncio.get_running_loop() is loop
    finally:
        stdlib.set_running_loop(None)
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_module_runner(tmp_path: Path) -> None:
    """stdlib.module_runner's runs a module as __main__, and puts its file in sys.argv[0] if asked to."""
    assert list(inspect.signature(runpy._run_module_as_main).parameters) == [  # type: ignore[attr-defined]
        "mod_name",
        "alter_argv",
    ]
    (tmp_path / "some_module.py").write_text("import sys\nprint(__name__, sys.argv[0])\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCES.parent), str(tmp_path)])}
    for alter, expected in ((True, f"__main__ {tmp_path}/some_module.py\n"), (False, "__main__ -c\n")):
        program = f"from edgeloop import stdlib; stdlib.module_runner()('some_module', {alter})"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("version", "method", "keyword"),
    [
        ((3, 12), "create_connection", "all_errors"),
        ((3, 13), "create_server", "keep_alive"),
        ((3, 12), "shutdown_default_executor", "timeout"),
        ((3, 99), "create_server", "of_a_python_to_come"),
    ],
)
def test_since(version: tuple[int, int], method: str, keyword: str) -> None:
    """stdlib.since refuses what the running asyncio would refuse: its own loop says from when it has a keyword."""
    known = keyword in inspect.signature(getattr(asyncio.SelectorEventLoop, method)).parameters
    assert known is (sys.version_info >= version)
    if known:
        stdlib.since(version, method, keyword, True)
    else:
        stdlib.since(version, method, keyword, False)
        with pytest.raises(TypeError, match=rf"^{method}\(\) got an unexpected keyword argument '{keyword}'$"):
            stdlib.since(version, method, keyword, True)


def test_attributes_of_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """The attributes of stock tasks and futures that the loop reads or sets."""

    async def nothing() -> None:
        pass

    loop.set_debug(True)
    task: Any = asyncio.Task(nothing(), loop=loop)
    assert task._source_traceback[-1].name == "test_attributes_of_tasks"
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    assert task._log_destroy_pending is False
    loop.run_until_complete(task)


def test_attributes_of_streams(loop: asyncio.AbstractEventLoop) -> None:
    """What streams.py and streams/cores.py have in common with the asyncio classes that theirs inherit from."""
    reader = asyncio.StreamReader(loop=loop)
    assert {
        *("_buffer", "_eof", "_exception", "_limit", "_loop", "_paused", "_transport", "_waiter"),
    } <= set(vars(reader))
    assert {"_maybe_resume_transport", "_source_traceback", "_wait_for_data", "_wakeup_waiter"} <= set(dir(reader))
    protocol: Any = asyncio.StreamReaderProtocol(reader, lambda reader, writer: None, loop)
    assert {
        *("_client_connected_cb", "_connection_lost", "_loop", "_over_ssl", "_paused", "_reject_connection"),
        *("_stream_reader_wr", "_strong_reader", "_task", "_transport"),
    } <= set(vars(protocol))
    assert protocol._stream_reader is reader
    # Where asyncio has the one, its protocol holds the writer; where it has the other, it does not.
    assert hasattr(protocol, "_replace_writer") is ("_stream_writer" in vars(protocol))
    assert hasattr(protocol, "_replace_writer") is not hasattr(protocol, "_replace_transport")

    class Closed(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

    writer = asyncio.StreamWriter(Closed(), protocol, reader, loop)
    assert {"_loop", "_protocol", "_reader", "_transport"} <= set(vars(writer))


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="Python 3.16 has no event loop policies")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_attribute_of_the_policy() -> None:
    """asyncio's own policy makes its loops by ``_loop_factory``, which ours replaces."""
    policy: Any = edgeloop.EventLoopPolicy()
    base = type(policy).__mro__[1]
    assert base is asyncio.DefaultEventLoopPolicy
    assert base._loop_factory is asyncio.SelectorEventLoop  # type: ignore[attr-defined]
    made = policy.new_event_loop()
    assert isinstance(made, edgeloop.EventLoop)
    made.close()


# And nowhere else

# asyncio.subprocess is a documented module. policy.py replaces asyncio.new_event_loop where there are no policies, and
# has to do so where asyncio.run finds it too.
# Python 3.14 deprecates the policy's name, which is documented, and takes it out of __all__.
ALLOWED = {("policy.py", "asyncio.events"), ("__init__.py", "asyncio.DefaultEventLoopPolicy")}
DOCUMENTED = {name for name in asyncio.__all__ if not name.startswith("_")} | {"subprocess"}


def uses(tree: ast.AST) -> Iterator[str]:
    """Every dotted name of asyncio that the module uses, and whatever it imports of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in ("asyncio", "_asyncio") and (
                    alias.name != "asyncio" or alias.asname
                ):
                    yield alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").partition(".")[0] in ("asyncio", "_asyncio"):
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncio":
            yield f"asyncio.{node.attr}"


def private(tree: ast.AST) -> set[str]:
    return {name for name in uses(tree) if name.removeprefix("asyncio.") not in DOCUMENTED}


def test_private_names_are_found() -> None:
    """The check below can fail."""
    for source in (
        "import asyncio.base_events",
        "import asyncio as aio",
        "import _asyncio",
        "from asyncio import sslproto",
        "from asyncio.selector_events import BaseSelectorEventLoop",
        "from asyncio.trsock import TransportSocket",
        "import asyncio\nx = asyncio._get_running_loop()",
        "import asyncio\nclass Mine(asyncio.sslproto.SSLProtocol): pass",
        "import asyncio\nclass Mine(asyncio.base_events.BaseEventLoop): pass",
        "import asyncio\nasyncio.coroutines.iscoroutinefunction",
    ):
        assert private(ast.parse(source)), source
    assert not private(ast.parse("import asyncio\nasyncio.Task, asyncio.subprocess.PIPE, asyncio.AbstractEventLoop"))
    assert private(ast.parse((SOURCES / "stdlib.py").read_text()))


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_private_names_stay_in_one_place(path: Path) -> None:
    if path.name == "stdlib.py":
        found = {
            name for name in private(ast.parse(path.read_text())) if name.endswith(("sslproto", "selector_events"))
        }
        assert not found
        return
    assert {(path.name, name) for name in private(ast.parse(path.read_text()))} - ALLOWED == set()


def test_cython_files_use_none() -> None:
    paths = [*SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxd")]
    if not paths:
        pytest.skip("this installation has no Cython sources")
    pattern = re.compile(r"\basyncio\.(_\w+|[a-z]+_events|sslproto|trsock|staggered|coroutines|base_\w+)|\b_asyncio\b")
    assert pattern.search("asyncio.sslproto")
    assert {path.name: pattern.findall(path.read_text()) for path in paths if pattern.search(path.read_text())} == {}


def test_takes_any_packets() -> None:
    source = inspect.getsource(asyncio.BaseEventLoop.create_datagram_endpoint)
    assert stdlib.TAKES_ANY_PACKETS == ("A datagram socket was expected" in source)
