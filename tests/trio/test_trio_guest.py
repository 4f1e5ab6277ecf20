"""trio as a guest of the loop: tasks of both in one thread, wake-ups from other threads, a host that stops.

trio's own guest-mode tests are run by ``python -m compat trio``; sockets are in test_trio_sockets.py, signals in
test_trio_signals.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import warnings
from typing import Any

import pytest
import trio
from recording import Run
from trio_guests import both_ways, guest, start


@both_ways
def test_result_and_exception(run: Run, threadsafe_only: bool) -> None:
    async def in_trio() -> str:
        await trio.lowlevel.checkpoint()
        await trio.sleep(0.01)
        return "result"

    async def fails() -> None:
        await trio.sleep(0)
        raise LookupError("in trio")

    assert run(guest(in_trio, threadsafe_only=threadsafe_only)) == "result"
    with pytest.raises(LookupError, match="in trio"):
        run(guest(fails, threadsafe_only=threadsafe_only))
    assert run(guest(in_trio, threadsafe_only=threadsafe_only)) == "result"  # and a guest after a guest


@both_ways
def test_tasks_of_both_take_turns(run: Run, threadsafe_only: bool) -> None:
    """A number goes to and fro a thousand times, over trio's channel one way and asyncio's queue the other."""

    async def main() -> list[int]:
        to_asyncio: asyncio.Queue[int] = asyncio.Queue()
        send, receive = trio.open_memory_channel[int](0)

        async def in_trio() -> list[int]:
            seen = []
            to_asyncio.put_nowait(0)
            async for number in receive:
                seen.append(number)
                to_asyncio.put_nowait(number + 1)
            return seen

        async def in_asyncio() -> None:
            while (number := await to_asyncio.get()) < 1000:
                while True:  # trio may not wait for it yet
                    try:
                        send.send_nowait(number + 1)
                        break
                    except trio.WouldBlock:
                        await asyncio.sleep(0)
            send.close()

        partner = asyncio.create_task(in_asyncio())
        seen: list[int] = await guest(in_trio, threadsafe_only=threadsafe_only)
        await partner
        return seen

    assert run(main()) == list(range(1, 1001, 2))


@both_ways
def test_both_sleep_and_neither_holds_the_other_up(run: Run, threadsafe_only: bool) -> None:
    """Each side sleeps until the other has been woken: trio by asyncio's timer, asyncio by trio's."""

    async def main() -> list[str]:
        order = []
        woken = asyncio.Event()
        in_asyncio = trio.Event()

        async def in_trio() -> None:
            await trio.sleep(0.02)
            order.append("trio slept")
            woken.set()
            await in_asyncio.wait()
            order.append("trio was woken")

        async def wait() -> None:
            await woken.wait()
            order.append("asyncio was woken")
            await asyncio.sleep(0.02)
            order.append("asyncio slept")
            in_asyncio.set()

        waiter = asyncio.create_task(wait())
        await guest(in_trio, threadsafe_only=threadsafe_only)
        await waiter
        return order

    assert run(main()) == ["trio slept", "asyncio was woken", "asyncio slept", "trio was woken"]


def test_cancelled_by_the_host(run: Run) -> None:
    async def main() -> list[str]:
        order = []
        scope = trio.CancelScope()

        async def in_trio() -> None:
            with scope:
                try:
                    await trio.sleep_forever()
                finally:
                    order.append("cleaned up")
            assert scope.cancelled_caught

        asyncio.get_running_loop().call_later(0.01, scope.cancel)
        await guest(in_trio)
        order.append("done")
        return order

    assert run(main()) == ["cleaned up", "done"]


@both_ways
def test_ten_thousand_wake_ups_of_trio_from_another_thread(run: Run, threadsafe_only: bool) -> None:
    """One at a time: the thread waits for each, so that trio and the loop have gone to sleep before the next."""

    async def main() -> int:
        seen = 0

        async def in_trio() -> int:
            nonlocal seen

            def count() -> None:
                nonlocal seen
                seen += 1

            def thread() -> None:
                for number in range(10_000):
                    trio.from_thread.run_sync(count)
                    assert seen == number + 1

            await trio.to_thread.run_sync(thread)
            return seen

        return int(await guest(in_trio, threadsafe_only=threadsafe_only))

    assert run(main()) == 10_000


@both_ways
async def test_ten_thousand_wake_ups_from_threads_that_do_not_wait(threadsafe_only: bool) -> None:
    """Four threads, half of them through trio and half through the loop, as fast as they can."""
    loop = asyncio.get_running_loop()
    seen: list[list[int]] = [[] for _ in range(4)]
    everything = trio.Event()

    def arrive(thread: int, number: int) -> None:
        seen[thread].append(number)
        if sum(map(len, seen)) == 10_000:
            everything.set()

    async def in_trio() -> None:
        token = trio.lowlevel.current_trio_token()

        def send(thread: int) -> None:
            for number in range(2500):
                if thread % 2:
                    token.run_sync_soon(arrive, thread, number)
                else:
                    loop.call_soon_threadsafe(arrive, thread, number)

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        await everything.wait()
        for thread in threads:
            thread.join()

    await guest(in_trio, threadsafe_only=threadsafe_only)
    assert seen == [list(range(2500))] * 4  # and each thread's in its order


def test_ten_thousand_wake_ups_of_asyncio_from_a_trio_thread(run: Run) -> None:
    """A worker of trio's waits for an asyncio coroutine each time, while trio has nothing to do but wait for it."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        seen = 0

        async def count() -> int:
            nonlocal seen
            seen += 1
            return seen

        async def in_trio() -> None:
            def thread() -> None:
                for number in range(10_000):
                    assert asyncio.run_coroutine_threadsafe(count(), loop).result(60) == number + 1

            await trio.to_thread.run_sync(thread)

        await guest(in_trio)
        return seen

    assert run(main()) == 10_000


@both_ways
def test_a_host_that_stops_and_runs_again(loop: asyncio.AbstractEventLoop, threadsafe_only: bool) -> None:
    """What happens in between waits for the next run: trio's timers, its sockets, calls from a thread."""
    ours, theirs = socket.socketpair()
    heard = []

    async def in_trio() -> str:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        async with stream:
            for _ in range(20):
                heard.append(await stream.receive_some(1))
                await trio.sleep(0.001)
                loop.call_soon(loop.stop)
        return "done"

    done = start(loop, in_trio, threadsafe_only=threadsafe_only)
    with ours:
        for number in range(20):
            ours.send(b"%x" % (number % 16))
            loop.run_forever()
            assert len(heard) == number + 1
        assert loop.run_until_complete(done).unwrap() == "done"
    assert b"".join(heard) == b"0123456789abcdef0123"


def test_a_host_that_is_closed_in_the_middle(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """trio says that it was abandoned; the loop keeps nothing of it, and the next guest is none the worse."""
    monkeypatch.setattr(
        sys, "unraisablehook", lambda _: None
    )  # what trio's tasks say when they are collected like this
    reached = []

    async def abandoned() -> None:
        reached.append("trio")
        loop.stop()
        while True:
            await trio.lowlevel.checkpoint()

    start(loop, abandoned)
    loop.run_forever()
    assert reached == ["trio"]
    with pytest.warns(RuntimeWarning, match="Trio guest run got abandoned"):
        loop.close()
        for _ in range(5):
            gc.collect()
    with pytest.raises(RuntimeError):
        trio.lowlevel.current_trio_token()

    async def in_trio() -> str:
        await trio.sleep(0)
        return "next"

    with asyncio.Runner(loop_factory=type(loop)) as runner:
        assert runner.run(guest(in_trio)) == "next"


@both_ways
def test_a_guest_started_before_the_host_runs(loop: asyncio.AbstractEventLoop, threadsafe_only: bool) -> None:
    async def in_trio() -> bool:
        await trio.sleep(0.001)
        return asyncio.get_running_loop() is loop

    done = start(loop, in_trio, threadsafe_only=threadsafe_only)
    assert loop.run_until_complete(done).unwrap()


def test_asynchronous_generators_are_closed_by_the_side_they_belong_to(run: Run) -> None:
    closed: set[tuple[str, str]] = set()

    async def generate(whose: str) -> Any:
        try:
            yield 1
        finally:
            with contextlib.suppress(trio.Cancelled):
                await (trio.sleep(0) if whose == "trio" else asyncio.sleep(0))
            closed.add((whose, "trio" if trio.lowlevel.in_trio_task() else "asyncio"))

    async def main() -> None:
        async def in_trio() -> None:
            await generate("trio").asend(None)
            gc.collect()
            await trio.sleep(0.001)

        await generate("asyncio").asend(None)
        await guest(in_trio)
        gc.collect()
        await asyncio.sleep(0.001)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # trio's, of the generator that was dropped: it is meant to be
        run(main())
    assert closed == {("trio", "trio"), ("asyncio", "asyncio")}
