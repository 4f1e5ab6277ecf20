"""Debug mode: argument and thread checks, slow callbacks, where things were created, and what was never closed."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder, Run, connected


def test_debug_flag(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    assert loop.get_debug() is True
    assert "debug=True" in repr(loop)
    loop.set_debug(False)
    assert loop.get_debug() is False


@pytest.mark.edgeloop_only
def test_a_loop_says_whose_it_is(loop: asyncio.AbstractEventLoop) -> None:
    import edgeloop

    class MyLoop(edgeloop.EventLoop):
        pass

    assert repr(loop) == "<edgeloop.EventLoop running=False closed=False debug=False>"
    mine = MyLoop()
    mine.close()
    assert repr(mine) == "<MyLoop running=False closed=True debug=False>"


@pytest.mark.parametrize(("setting", "expected"), [("1", "True"), ("", "False")])
def test_debug_flag_comes_from_the_environment(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], setting: str, expected: str
) -> None:
    program = (
        f"import {loop_factory.__module__} as module\n"
        f"loop = module.{loop_factory.__qualname__}()\nprint(loop.get_debug())\nloop.close()"
    )
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONASYNCIODEBUG": setting}
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip() == expected
    command.insert(1, "-Xdev")
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip() == "True"


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_at", "call_later", "run_in_executor"])
@pytest.mark.parametrize("wrong", [None, 42, "text"])
def test_what_is_not_callable_is_refused(loop: asyncio.AbstractEventLoop, method: str, wrong: Any) -> None:
    loop.set_debug(True)
    first: tuple[Any, ...] = {"call_at": (1.0,), "call_later": (1.0,), "run_in_executor": (None,)}.get(method, ())
    named = "call_at" if method == "call_later" else method
    with pytest.raises(TypeError, match=rf"^a callable object was expected by {named}\(\), got {wrong!r}$"):
        getattr(loop, method)(*first, wrong)


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_at", "call_later", "run_in_executor"])
def test_coroutines_are_refused(loop: asyncio.AbstractEventLoop, method: str) -> None:
    async def function() -> None:
        pass

    loop.set_debug(True)
    first: tuple[Any, ...] = {"call_at": (1.0,), "call_later": (1.0,), "run_in_executor": (None,)}.get(method, ())
    named = "call_at" if method == "call_later" else method
    coroutine = function()
    for wrong in (function, coroutine):
        with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {named}\(\)$"):
            getattr(loop, method)(*first, wrong)
    coroutine.close()


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_wrong_thread(loop: asyncio.AbstractEventLoop, run: Run, method: str) -> None:
    first = () if method == "call_soon" else (1.0,)

    def call() -> str:
        try:
            getattr(loop, method)(*first, print).cancel()
        except RuntimeError as exc:
            return str(exc)
        return "allowed"

    async def main() -> str:
        return await loop.run_in_executor(None, call)

    loop.set_debug(True)
    assert run(main()) == "Non-thread-safe operation invoked on an event loop other than the current one"
    loop.set_debug(False)
    assert run(main()) == "allowed"


def test_any_thread_may_schedule_on_a_loop_that_does_not_run(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    called: list[int] = []
    thread = threading.Thread(target=loop.call_soon, args=(called.append, 1))
    thread.start()
    thread.join()
    loop.stop()
    loop.run_forever()
    assert called == [1]


def slow() -> None:
    time.sleep(0.02)


def test_slow_callback_is_logged(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 0.01
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(slow)
        loop.stop()
        loop.run_forever()
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("Executing <Handle slow() at ")
    assert " created at " in message
    assert "> took 0." in message
    assert message.endswith(" seconds")
    assert record.levelno == logging.WARNING


def test_slow_task_step_is_logged(loop: asyncio.AbstractEventLoop, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01

    async def main() -> None:
        await asyncio.sleep(0)
        slow()

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(main())
    messages = [record.getMessage() for record in caplog.records]  # on a busy machine other steps may be slow too
    assert any(text.startswith("Executing <Task ") and "test_slow_task_step_is_logged" in text for text in messages)


def test_slow_callback_that_is_cancelled_meanwhile(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    handle: asyncio.Handle

    def slow_then_cancel() -> None:
        slow()
        handle.cancel()

    with caplog.at_level(logging.WARNING, "asyncio"):
        handle = loop.call_soon(slow_then_cancel)
        loop.stop()
        loop.run_forever()
    assert "slow_then_cancel" in caplog.records[0].getMessage()


@pytest.mark.parametrize("beside", [False, True], ids=["alone in its turn", "with another"])
def test_slow_callback_that_raises(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture, beside: bool
) -> None:
    """Both are told, and to the exception handler it is as within an except clause."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    reported: list[tuple[Any, BaseException | None]] = []
    loop.set_exception_handler(lambda loop, context: reported.append((context["exception"], sys.exc_info()[1])))

    def slow_and_wrong() -> None:
        slow()
        raise ValueError("wrong")

    def begin() -> None:
        loop.call_soon(slow_and_wrong)
        if beside:
            loop.call_soon(int)

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(begin)
        loop.run_until_complete(asyncio.sleep(0.05))
    ((exception, handled),) = reported
    assert isinstance(exception, ValueError)
    assert handled is exception
    assert [record.getMessage() for record in caplog.records if "slow_and_wrong" in record.getMessage()]


def test_nothing_is_logged_outside_debug_mode(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(False)
    loop.slow_callback_duration = 0.001
    loop.call_soon(slow)
    loop.stop()
    loop.run_forever()
    assert caplog.records == []


def test_handles_know_where_they_were_created(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    handles = [
        loop.call_soon(print),
        loop.call_soon_threadsafe(print),
        loop.call_later(1, print),
        loop.call_at(1, print),
    ]
    for handle in handles:
        assert f"created at {__file__}:" in repr(handle)
        traceback: Any = getattr(handle, "_source_traceback")  # noqa: B009  # asyncio's own tests read it
        assert traceback[-1].name == "test_handles_know_where_they_were_created"
        handle.cancel()


def test_handles_of_a_loop_without_debug_do_not(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(False)
    assert "created at" not in repr(loop.call_soon(print))


def test_debug_mode_tracks_where_coroutines_come_from(loop: asyncio.AbstractEventLoop) -> None:
    depths: list[int] = []

    async def depth() -> None:
        depths.append(sys.get_coroutine_origin_tracking_depth())

    before = sys.get_coroutine_origin_tracking_depth()
    loop.set_debug(True)
    loop.run_until_complete(depth())
    assert sys.get_coroutine_origin_tracking_depth() == before
    loop.set_debug(False)
    loop.run_until_complete(depth())
    assert depths[0] > before
    assert depths[1] == before


async def test_set_debug_takes_effect_while_running(loop: asyncio.AbstractEventLoop) -> None:
    before = sys.get_coroutine_origin_tracking_depth()
    loop.set_debug(True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sys.get_coroutine_origin_tracking_depth() > before
    loop.set_debug(False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sys.get_coroutine_origin_tracking_depth() == before


def warnings_of(drop: Callable[[], None]) -> list[str]:
    """The texts of the ResourceWarnings that collecting what ``drop`` lets go of gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop()
        gc.collect()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def test_unclosed_loop_warns(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    def drop() -> None:
        loop_factory()

    texts = warnings_of(drop)
    assert len([text for text in texts if "unclosed event loop" in text]) == 1


def test_closed_loop_does_not_warn(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = loop_factory()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop
        gc.collect()


@pytest.mark.counts_references
def test_a_loop_is_freed(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    import weakref

    loop = loop_factory()
    loop.call_later(3600, loop.stop)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    reference = weakref.ref(loop)
    del loop
    gc.collect()
    assert reference() is None


@pytest.mark.counts_references
def test_unclosed_transport_warns(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    kept: list[object] = []

    def connect() -> socket.socket:
        loop = loop_factory()
        ours, theirs = socket.socketpair()
        kept.extend(loop.run_until_complete(loop.create_connection(Recorder, sock=ours)))
        loop.close()
        return theirs

    with connect() as theirs:
        texts = warnings_of(kept.clear)
        assert len([text for text in texts if "unclosed transport" in text]) == 1
        theirs.settimeout(30)
        assert theirs.recv(1) == b""


def test_closed_transport_does_not_warn(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    async def main() -> None:
        async with connected(Recorder) as (transport, protocol, _):
            transport.close()
            await protocol.lost()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
        gc.collect()


def test_debug_mode_does_not_change_a_conversation(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    loop.set_debug(True)

    async def main() -> bytes:
        async with connected(Recorder) as (transport, protocol, peer):
            transport.write(b"question")
            assert await loop.sock_recv(peer, 100) == b"question"
            await loop.sock_sendall(peer, b"answer")
            return await protocol.bytes_in(6)

    assert run(main()) == b"answer"


def test_failing_callback_shows_its_origin(loop: asyncio.AbstractEventLoop) -> None:
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.set_debug(True)
    loop.call_soon(divmod, 1, 0)
    loop.stop()
    loop.run_forever()
    assert contexts[0]["source_traceback"][-1].name == "test_failing_callback_shows_its_origin"
    assert "divmod" in contexts[0]["message"]
