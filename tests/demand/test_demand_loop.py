"""What users of other loops report about scheduling, tasks and signals, a short test for each report.

Each docstring begins with the report it stands for; test_demand_rows.py holds the list of them.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.coroutines
import concurrent.futures
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from recording import Run, record_errors

Factory = Callable[[], asyncio.AbstractEventLoop]


async def answer() -> int:
    return 42


def run_briefly(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager task factories came with 3.12")
async def test_eager_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """run; uvloop #754, #746, #718: an eager task factory breaks create_task."""
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]

    loop.set_task_factory(factory)
    task = loop.create_task(answer(), name="eager")
    assert task.done()
    assert (task.result(), task.get_name()) == (42, "eager")
    async with asyncio.TaskGroup() as group:
        assert group.create_task(answer()).done()


def test_create_task_passes_on_what_it_got(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """create_task(**kwargs): 3.13.3, 3.13.4 and 3.14 each changed what is forwarded.

    run; uvloop #754, #746, #718: eager_start=None is forwarded to any factory.
    asyncio's own tests: the task's name with a custom factory.
    """
    seen: list[set[str]] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        seen.append({key for key in kwargs if key != "context" or kwargs[key] is not None})
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main() -> None:
        plain = loop.create_task(answer())
        named = loop.create_task(answer(), name="named")
        assert named.get_name() == "named"
        assert await plain == await named == 42

    task = loop.create_task(main())
    loop.set_task_factory(factory)
    loop.run_until_complete(task)
    with_name = sys.version_info >= (3, 14) or sys.version_info[:3] == (3, 13, 3)
    assert seen == [set(), {"name"} if with_name else set()]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="shutdown_default_executor takes a timeout since 3.12")
async def test_shutdown_default_executor_timeout(loop: asyncio.AbstractEventLoop) -> None:
    """run: shutdown_default_executor(timeout=0.2) takes 1 s; here the timeout ends it, whatever the jobs do.

    asyncio's own tests: shutdown_default_executor(timeout).
    """
    if sys.version_info[:3] == (3, 12, 1) and type(loop).__module__.startswith("asyncio."):
        pytest.skip("asyncio of 3.12.1 joins the threads whatever the timeout")
    gate = threading.Event()

    job = loop.run_in_executor(None, gate.wait)
    order: list[str] = []
    loop.call_later(0.9, order.append, "nearly a second")
    try:
        with pytest.warns(RuntimeWarning, match="joining its threads within"):
            await loop.shutdown_default_executor(0.01)  # type: ignore[call-arg]
        order.append("shut down")
    finally:
        gate.set()
    await job
    assert order == ["shut down"]


def test_short_timers(loop: asyncio.AbstractEventLoop) -> None:
    """run; uvloop #359, #739: 200 us sleeps return at once, timers are up to 1 ms early."""
    early: list[float] = []
    fired: list[float] = []

    def fire(when: float) -> None:
        fired.append(when)
        if loop.time() < when:
            early.append(when - loop.time())

    now = loop.time()
    for number in range(200):
        when = now + number * 200e-6
        loop.call_at(when, fire, when)
    loop.call_at(now + 0.05, loop.stop)
    loop.run_forever()
    assert len(fired) == 200
    assert fired == sorted(fired)
    # asyncio lets a timer be early by the clock's resolution, as get_clock_info gives it.
    assert max(early, default=0) <= time.get_clock_info("monotonic").resolution


@pytest.mark.edgeloop_only
async def test_sleep_takes_its_time() -> None:
    """run; uvloop #359, #739: a 200 us sleep must not return at once: never early, by the clock of the system."""
    for _ in range(50):
        due = time.monotonic() + 200e-6
        await asyncio.sleep(200e-6)
        assert time.monotonic() >= due


def test_past_deadlines_in_order(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: timers past their deadline run in deadline order."""
    ran: list[int] = []
    now = loop.time()
    for number in (3, 1, 4, 0, 2):
        loop.call_at(now - 1 + number / 100, ran.append, number)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran == [0, 1, 2, 3, 4]


def test_signal_between_two_runs(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: a signal that arrives between two runs of the loop."""
    caught: list[str] = []

    def catch() -> None:
        caught.append("signal")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, catch)
    run_briefly(loop)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert caught == ["signal"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_signal_handler_arguments(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: full argument checks of add_signal_handler; argument validation texts."""
    add: Any = loop.add_signal_handler
    for number, callback, error, text in (
        ("SIGUSR1", int, TypeError, "sig must be an int, not 'SIGUSR1'"),
        (-1, int, ValueError, "invalid signal number -1"),
        (signal.SIGKILL, int, RuntimeError, f"sig {int(signal.SIGKILL)} cannot be caught"),
        (signal.SIGUSR1, answer, TypeError, r"coroutines cannot be used with add_signal_handler\(\)"),
    ):
        with pytest.raises(error, match=text):
            add(int(number) if isinstance(number, int) else number, callback)
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_return_values_of_removals(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: remove_reader/writer/signal_handler return values."""
    one, other = socket.socketpair()
    with one, other:
        for add, remove in ((loop.add_reader, loop.remove_reader), (loop.add_writer, loop.remove_writer)):
            assert remove(one) is False
            add(one, int)
            assert remove(one) is True
            assert remove(one) is False
    loop.add_signal_handler(signal.SIGUSR2, int)
    assert loop.remove_signal_handler(signal.SIGUSR2) is True
    assert loop.remove_signal_handler(signal.SIGUSR2) is False


def test_callables_in_debug_mode(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: "a callable object was expected" TypeErrors in debug mode."""
    loop.set_debug(True)
    wrong: Any = "not callable"
    calls: dict[str, Callable[[], object]] = {
        "call_soon": lambda: loop.call_soon(wrong),
        "call_soon_threadsafe": lambda: loop.call_soon_threadsafe(wrong),
        "call_at": lambda: loop.call_at(loop.time() + 60, wrong),
        "run_in_executor": lambda: loop.run_in_executor(None, wrong),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^a callable object was expected by {name}\(\), got 'not callable'$"):
            call()


def test_slow_callback_text(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio's own tests: the slow-callback log text."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0.001
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(time.sleep, 0.01)
        run_briefly(loop)
    (record,) = caplog.records
    assert isinstance(record.args, tuple)
    assert record.msg == "Executing %s took %.3f seconds"
    assert str(record.args[0]).startswith("<Handle sleep(0.01) created at ")


async def test_sock_connect_starts_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: sock_connect starting in its first step, not a turn later."""
    with socket.socket() as listener, socket.socket() as sock:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        sock.setblocking(False)
        connecting = loop.create_task(loop.sock_connect(sock, listener.getsockname()))
        await asyncio.sleep(0)  # the task's first step, and nothing that this step may have scheduled
        accepted, _ = listener.accept()
        accepted.close()
        await connecting


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_usable_after_a_base_exception(loop: asyncio.AbstractEventLoop, exception: type[BaseException]) -> None:
    """asyncio's own tests: BaseException out of a callback leaving the loop unusable."""

    def leave() -> None:
        raise exception

    ran: list[str] = []
    loop.call_soon(leave)
    loop.call_soon(ran.append, "the next one")
    with pytest.raises(exception):
        loop.run_forever()
    assert not loop.is_running()
    assert loop.run_until_complete(answer()) == 42
    assert ran == ["the next one"]


def test_other_base_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: BaseException out of a callback leaving the loop unusable; others are reported."""

    class Odd(BaseException):
        pass

    def fail() -> None:
        raise Odd

    errors = record_errors(loop)
    loop.call_soon(fail)
    run_briefly(loop)
    assert [type(error["exception"]) for error in errors] == [Odd]


def test_logger_is_found_at_call_time(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own tests: the asyncio logger found through asyncio.base_events.logger at call time."""
    messages: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    mine = logging.Logger("mine")
    mine.addHandler(Keeping())
    monkeypatch.setattr(asyncio.base_events, "logger", mine)
    loop.call_exception_handler({"message": "told"})
    assert messages == ["told"]


def test_debug_mode_is_asked_at_construction(loop_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own tests: coroutines._is_debug_mode() asked at construction."""
    for debug in (True, False):
        monkeypatch.setattr(asyncio.coroutines, "_is_debug_mode", lambda debug=debug: debug)
        loop = loop_factory()
        assert loop.get_debug() is debug
        loop.close()


@pytest.mark.edgeloop_only
async def test_names_do_not_wait_for_other_jobs(loop: asyncio.AbstractEventLoop) -> None:
    """cpython #112169, #120644: getaddrinfo starves behind other executor jobs."""
    gate = threading.Event()

    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    job = loop.run_in_executor(None, gate.wait)
    try:
        assert await loop.getaddrinfo("localhost", 80) == socket.getaddrinfo("localhost", 80)
    finally:
        gate.set()
    await job
    threads = threading.active_count()
    # The zone index of a literal, which uvloop drops: 1 is the loopback interface.
    found = await loop.getaddrinfo("fe80::1%lo", 80, type=socket.SOCK_STREAM)
    assert found[0][4] == ("fe80::1", 80, 0, socket.if_nametoindex("lo"))
    assert threading.active_count() == threads


def test_tasks_are_asyncios_own(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    """asyncio ps/pstree (3.14) works on any loop that runs stock C Tasks and calls _set_running_loop."""
    _asyncio = pytest.importorskip("_asyncio", reason="PyPy's asyncio is Python code")

    async def main() -> None:
        task = loop.create_task(answer())
        assert type(task) is _asyncio.Task
        assert type(loop.create_future()) is _asyncio.Future
        assert _asyncio._get_running_loop() is loop
        assert task in asyncio.all_tasks()
        await task

    run(main())
    assert _asyncio._get_running_loop() is None


@pytest.mark.skipif(sys.version_info < (3, 15), reason="TaskGroup.cancel comes with 3.15")
async def test_cancelling_a_task_group() -> None:
    """3.15 adds TaskGroup.cancel."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        group.cancel()  # type: ignore[attr-defined]
    assert task.cancelled()
