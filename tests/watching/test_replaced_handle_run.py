"""Tools put a function around ``asyncio.events.Handle._run`` to measure callbacks: aiodebug, logfire, livekit. It is called.

The first replacements below are those tools' own, each in its few lines.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextvars
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from example_process import environment
from recording import Echo, Recorder, Run, attach, record_errors, turn, turns
from sockets import Pair

Ran = list[Any]
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


def like_aiodebug(ran: Ran) -> None:
    """aiodebug.log_slow_callbacks.enable"""
    original = asyncio.events.Handle._run

    def instrumented(self: Any) -> Any:
        began = time.monotonic()
        value = original(self)
        ran.append((self, time.monotonic() - began))
        return value

    asyncio.events.Handle._run = instrumented  # type: ignore[method-assign]


def like_logfire(ran: Ran) -> None:
    """logfire.log_slow_async_callbacks: a context manager that puts the method back."""
    original = asyncio.events.Handle._run

    def patched(self: asyncio.events.Handle) -> None:
        original(self)
        ran.append((self, self._callback))  # type: ignore[attr-defined]

    asyncio.events.Handle._run = patched  # type: ignore[method-assign]


def by_setattr(ran: Ran) -> None:
    """livekit.agents.ipc: the task is looked for in ``_callback.__self__``."""
    original = asyncio.events.Handle._run

    def timed(self: Any) -> None:
        owner = getattr(self._callback, "__self__", None)
        try:
            original(self)
        finally:
            ran.append((self, owner))

    setattr(asyncio.events.Handle, "_run", timed)  # noqa: B010


@pytest.fixture(params=[like_aiodebug, like_logfire, by_setattr])
def replace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Ran]:
    """``replace()``: puts a function in the place of Handle._run, and returns the list of what it has run."""
    ran: Ran = []
    monkeypatch.setattr(asyncio.events.Handle, "_run", asyncio.events.Handle._run)  # put back at the end

    def put() -> Ran:
        request.param(ran)
        return ran

    return put


def test_a_callback_is_run_by_the_replacement(loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran]) -> None:
    ran = replace()
    called: list[Any] = []
    handles = [loop.call_soon(called.append, 1), loop.call_soon(called.append, 2), loop.call_later(0, called.append, 3)]
    turn(loop, 2)
    assert called == [1, 2, 3]
    assert [handle for handle, _ in ran] == handles


def test_the_replacement_is_used_as_soon_as_it_is_there(run: Run, replace: Callable[[], Ran]) -> None:
    async def main() -> list[Any]:
        await asyncio.sleep(0)
        ran = replace()
        await turns(3)
        return [handle for handle, _ in ran]

    assert len(run(main())) >= 2


def test_the_replacement_is_not_used_when_it_is_gone(
    run: Run, replace: Callable[[], Ran], loop: asyncio.AbstractEventLoop
) -> None:
    original = asyncio.events.Handle._run

    async def main() -> int:
        ran = replace()
        await turns(3)
        asyncio.events.Handle._run = original  # type: ignore[method-assign]
        await turns(1)
        before = len(ran)
        await turns(3)
        return len(ran) - before

    assert run(main()) == 0


def test_the_replacement_finds_the_task(run: Run, replace: Callable[[], Ran]) -> None:
    async def main() -> tuple[Any, list[Any]]:
        ran = replace()
        await turns(2)
        return asyncio.current_task(), [getattr(handle._callback, "__self__", None) for handle, _ in ran]

    task, owners = run(main())
    assert task in owners


def test_a_callback_runs_in_its_context(loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran]) -> None:
    replace()
    context = contextvars.copy_context()
    context.run(variable.set, 5)
    seen: list[int] = []
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    turn(loop)
    assert seen == [5]


def test_what_a_callback_raises_is_reported(loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran]) -> None:
    replace()
    errors = record_errors(loop)
    handle = loop.call_soon(lambda: 1 / 0)
    turn(loop)
    assert [(type(error["exception"]), error["handle"]) for error in errors] == [(ZeroDivisionError, handle)]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_the_loop_and_the_others_run_later(
    loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran], interruption: type[BaseException]
) -> None:
    replace()

    def interrupt() -> None:
        raise interruption

    called: list[int] = []
    loop.call_soon(interrupt)
    loop.call_soon(called.append, 1)
    with pytest.raises(interruption):
        loop.run_forever()
    turn(loop)
    assert called == [1]


def test_another_thread_s_callback_is_run_by_it(
    run: Run, loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran]
) -> None:
    async def main() -> tuple[list[asyncio.Handle], list[Any]]:
        ran = replace()
        given: list[asyncio.Handle] = []
        await asyncio.to_thread(lambda: given.append(loop.call_soon_threadsafe(int)))
        await turns(2)
        return given, [handle for handle, _ in ran]

    given, handles = run(main())
    assert given[0] in handles


def test_a_reader_is_run_by_it(
    run: Run, loop: asyncio.AbstractEventLoop, replace: Callable[[], Ran], pair: Pair
) -> None:
    async def main() -> list[str]:
        ran = replace()
        done = loop.create_future()
        loop.add_reader(pair[0], lambda: None if done.done() else done.set_result(None))
        pair[1].send(b"x")
        await done
        await turns(1)
        names = [getattr(handle._callback, "__qualname__", "") for handle, _ in ran]
        loop.remove_reader(pair[0])
        return names

    assert any("test_a_reader_is_run_by_it" in name for name in run(main()))


def test_a_connection_s_events_are_run_by_it(run: Run, replace: Callable[[], Ran], pair: Pair) -> None:
    inside: list[str] = []
    original = asyncio.events.Handle._run

    class Looking(Recorder):
        def data_received(self, data: bytes) -> None:
            frame = sys._getframe()
            while frame is not None:
                inside.append(frame.f_code.co_name)
                frame = frame.f_back  # type: ignore[assignment]
            super().data_received(data)

    async def main() -> bytes:
        recorder = Looking()
        transport = await attach(pair[0], recorder)
        ran = replace()
        pair[1].send(b"hello")
        data = await recorder.bytes_in(5)
        assert ran
        assert asyncio.events.Handle._run is not original
        assert asyncio.events.Handle._run.__name__ in inside
        transport.close()
        await recorder.lost()
        return data

    assert run(main()) == b"hello"


@pytest.mark.edgeloop_only  # asyncio's loop has no such handle
def test_an_event_s_handle_says_whose_it_is(run: Run, replace: Callable[[], Ran], pair: Pair) -> None:
    async def main() -> None:
        ran = replace()
        transport = await attach(pair[0], Echo())
        await asyncio.get_running_loop().sock_sendall(pair[1], b"hello")
        assert await asyncio.get_running_loop().sock_recv(pair[1], 5) == b"hello"
        assert f"<Handle events of {transport!r}>" in [repr(handle) for handle, _ in ran]
        assert transport in [handle._callback.__self__ for handle, _ in ran if hasattr(handle._callback, "__self__")]
        transport.close()
        await turns(2)

    run(main())


def test_a_replacement_that_raises_ends_the_run_as_on_asyncio(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise ValueError("of the tool")

    called: list[int] = []
    loop.call_soon(called.append, 1)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.events.Handle, "_run", fail)
        with pytest.raises(ValueError, match="of the tool"):
            loop.run_forever()
    loop.call_soon(called.append, 2)
    turn(loop)
    assert called == [2]


@pytest.mark.edgeloop_only
def test_it_is_used_with_instruments(loop: Any, replace: Callable[[], Ran]) -> None:
    ran = replace()
    told: list[asyncio.Handle] = []
    instrument = type("Instrument", (), {"before_callback": lambda self, handle: told.append(handle)})()
    loop.add_instrument(instrument)
    handle = loop.call_soon(int)
    turn(loop)
    assert told == [handle] == [handle for handle, _ in ran]
    loop.remove_instrument(instrument)
    loop.call_soon(int)
    turn(loop)
    assert (len(told), len(ran)) == (1, 2)


@pytest.mark.edgeloop_only
def test_one_that_is_there_before_edgeloop_is_imported_is_used(request: pytest.FixtureRequest, tmp_path: Any) -> None:
    program = """
import asyncio.events, functools
original, ran = asyncio.events.Handle._run, []
@functools.wraps(original)
def run(self):
    ran.append(self)
    original(self)
asyncio.events.Handle._run = run
import edgeloop
edgeloop.run(asyncio.sleep(0))
assert ran
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(request.config, tmp_path), check=False, timeout=60
    )
    assert done.returncode == 0


def test_an_interrupted_event_goes_on_when_the_loop_runs_again(
    loop: asyncio.AbstractEventLoop, run: Run, replace: Callable[[], Ran], pair: Pair
) -> None:
    class Interrupted(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"one":
                pair[1].send(b"two")
                raise KeyboardInterrupt

    async def main() -> Recorder:
        recorder = Interrupted()
        await attach(pair[0], recorder)
        return recorder

    recorder = run(main())
    replace()
    pair[1].send(b"one")
    with pytest.raises(KeyboardInterrupt):
        run(recorder.bytes_in(6))
    assert run(recorder.bytes_in(6)) == b"onetwo"
    recorder.transport.abort()
    run(recorder.lost())
