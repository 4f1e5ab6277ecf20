"""What a turn does, as its figures and its instruments tell: no callback more than the program's, no wait that need not be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import turn
from sockets import Pair

import edgeloop

pytestmark = [pytest.mark.edgeloop_only, pytest.mark.fair_weather]  # asyncio counts nothing; weather makes more events

Loop = asyncio.AbstractEventLoop


def counted(loop: Loop, times: int = 1) -> int:
    """Run turns, and return how many callbacks these had."""
    before = edgeloop.stats(loop).callbacks
    turn(loop, times)
    return edgeloop.stats(loop).callbacks - before


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_callback_counts_once(loop: Loop, count: int) -> None:
    for _ in range(count):
        loop.call_soon(int)
    assert counted(loop, 3) == count


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("of", ["ready", "timer", "event"])
def test_an_interrupted_turn_is_resumed_once(loop: Loop, pair: Pair, of: str, others: int) -> None:
    """One callback goes on with it, and later runs have none of that kind."""

    class Interrupted(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise KeyboardInterrupt

    ours, theirs = pair
    transport, _ = loop.run_until_complete(loop.create_connection(Interrupted, sock=ours))
    turn(loop, 2)
    if of == "event":
        theirs.send(b"x")
    for _ in range(1 + others):
        if of == "ready":
            loop.call_soon(interrupt)
        elif of == "timer":
            loop.call_at(loop.time() - 1, interrupt)
    for _ in range(1 if of == "event" else 1 + others):
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 3)
    turn(loop, 3)
    for _ in range(3):
        loop.call_soon(int)
        loop.call_soon(int)
        assert counted(loop) == 2
        loop.call_soon(int)
        assert counted(loop) == 1
        assert counted(loop) == 0
    transport.abort()
    turn(loop, 2)


@pytest.mark.parametrize("count", [1, 5])
def test_another_thread_sees_how_many_callbacks_a_blocked_turn_began_with(loop: Loop, count: int) -> None:
    seen: list[int] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(edgeloop.stats(loop).ready))
        thread.start()
        thread.join()

    loop.call_soon(look)
    for _ in range(count - 1):
        loop.call_soon(lambda: None)
    turn(loop, 2)
    assert seen == [count]


async def test_bytes_that_sock_recv_returns_and_its_calls_are_counted(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"abc")
    before = edgeloop.stats(loop)
    for _ in range(3):
        await loop.sock_recv(ours, 1)
    counted = edgeloop.stats(loop) - before
    assert (counted.system_calls.recv, counted.bytes_in) == (3, 3)


def test_a_loop_that_is_woken_several_times_before_it_waits_writes_once(loop: Loop) -> None:
    def call() -> None:
        for _ in range(3):
            loop.call_soon_threadsafe(int)

    def block() -> None:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    before = edgeloop.stats(loop).system_calls.wake
    loop.call_soon(block)
    turn(loop)
    assert edgeloop.stats(loop).system_calls.wake == before + 1


class Waits:
    """An instrument that keeps how long each wait may be: None without limit. It may have the loop stop instead."""

    def __init__(self, stops: asyncio.AbstractEventLoop | None = None) -> None:
        self.timeouts: list[float | None] = []
        self.stops = stops

    def before_wait(self, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        if self.stops is not None:
            self.stops.call_soon(self.stops.stop)


def test_a_loop_without_timers_waits_without_limit(loop: Any) -> None:
    instrument = Waits(loop)
    loop.add_instrument(instrument)
    loop.run_forever()
    assert instrument.timeouts[0] is None


def test_a_timer_is_waited_for_in_the_next_turn(loop: Any) -> None:
    """No turn looks for events before that."""
    instrument = Waits(loop)

    def schedule() -> None:
        loop.call_later(1000, int)
        loop.add_instrument(instrument)

    loop.call_soon(schedule)
    loop.run_forever()
    assert instrument.timeouts[0] != 0.0


class OneByteAtATime(asyncio.BufferedProtocol):
    """Gets a byte in each turn: between them its channel is on the deferred list."""

    def __init__(self, then: Callable[[int], object]) -> None:
        self.buffer = bytearray(1)
        self.count = 0
        self.then = then

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.count += count
        self.then(self.count)


def test_a_turn_that_has_something_left_over_does_not_wait(loop: Any, pair: Pair) -> None:
    instrument = Waits()
    ours, theirs = pair
    done = loop.create_future()

    def then(count: int) -> None:
        if count == 1:
            loop.add_instrument(instrument)
        if count == 3:
            loop.remove_instrument(instrument)
            done.set_result(None)

    transport, _ = loop.run_until_complete(loop.create_connection(lambda: OneByteAtATime(then), sock=ours))
    later = loop.call_later(1000, int)
    theirs.send(b"abc")
    loop.run_until_complete(done)
    assert instrument.timeouts == [0.0, 0.0]
    later.cancel()
    transport.abort()
    turn(loop, 2)


def test_an_instrument_is_told_of_what_is_left_over(loop: Any, pair: Pair) -> None:
    told: list[str] = []

    class Told(edgeloop.Instrument):
        def before_callback(self, handle: asyncio.Handle) -> None:
            told.append("events of" if "events of" in repr(handle) else "other")

    ours, theirs = pair
    done = loop.create_future()
    loop.add_instrument(Told())
    protocol = OneByteAtATime(lambda count: done.set_result(None) if count == 3 else None)
    transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
    theirs.send(b"abc")
    loop.run_until_complete(done)
    assert told.count("events of") >= 3
    transport.abort()
    turn(loop, 2)


def test_what_is_left_over_comes_before_what_an_interrupted_turn_has_scheduled(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    order: list[str] = []

    def read(count: int) -> None:
        order.append(f"byte {count}")
        if count == 1:
            loop.call_soon(scheduling)

    def scheduling() -> None:
        loop.call_soon(order.append, "scheduled")
        raise KeyboardInterrupt

    transport, _ = loop.run_until_complete(loop.create_connection(lambda: OneByteAtATime(read), sock=ours))
    theirs.send(b"ab")
    with pytest.raises(KeyboardInterrupt):
        turn(loop, 5)
    turn(loop, 3)
    assert order == ["byte 1", "byte 2", "scheduled"]
    transport.abort()
    turn(loop, 2)


@pytest.mark.parametrize("sorted_in", [False, True])
def test_cancelled_timers_are_dropped_before_they_are_many(loop: Any, sorted_in: bool) -> None:
    """Also after many that came and went in each way there is."""
    for _ in range(500):
        loop.call_later(1000, int).cancel()
    turn(loop, 2)
    for _ in range(500):
        loop.call_at(loop.time() - 1, int)
    turn(loop, 2)
    soon = [loop.call_at(loop.time() + 1e-4, int) for _ in range(500)]
    loop.run_until_complete(asyncio.sleep(1e-3))
    for timer in soon:
        timer.cancel()  # too late
    for _ in range(20):
        early = [loop.call_later(5e-4, int) for _ in range(50)]
        turn(loop)
        for timer in early:
            timer.cancel()
        loop.run_until_complete(asyncio.sleep(1e-3))  # which finds them in front of its own
    for _ in range(20):
        timers = [loop.call_later(1000, int) for _ in range(100)]
        if sorted_in:
            turn(loop)
        for timer in timers:
            timer.cancel()
        turn(loop)
        assert len(loop._scheduled) < 300


def test_a_thread_ends_the_first_wait_of_a_loop(loop: Loop) -> None:
    def stop() -> None:
        while not edgeloop.stats(loop).waiting:
            time.sleep(0.001)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=stop)
    thread.start()
    loop.run_forever()
    thread.join()


def test_a_turn_that_has_callbacks_does_not_sleep_though_a_kept_registration_is_to_be_verified(
    loop: Loop, pair: Pair
) -> None:
    ours, theirs = pair
    ours.setblocking(False)

    async def main() -> None:
        loop.call_soon(theirs.send, b"x")
        await loop.sock_recv(ours, 1)
        receiving = loop.create_task(loop.sock_recv(ours, 1))  # on the registration of the one before
        before = edgeloop.stats(loop)
        for _ in range(10):
            await asyncio.sleep(0)
        # A sleep would be one of milliseconds; the scale of the ticks is adjusted meanwhile.
        assert (edgeloop.stats(loop) - before).seconds_idle == pytest.approx(0.0, abs=1e-5)
        theirs.send(b"y")
        assert await receiving == b"y"

    loop.run_until_complete(main())


def test_what_comes_after_a_sleep_is_counted_where_the_figures_are_by_then(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another thread has them shared while the loop sleeps."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def share() -> None:
        while not edgeloop.stats(loop).waiting:
            time.sleep(0.001)
        edgeloop.share(loop)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=share)
    thread.start()
    before = edgeloop.stats(loop)
    loop.run_forever()
    thread.join()
    counted = edgeloop.stats(loop) - before
    assert counted.events >= 1
    assert counted.seconds_idle > 0
    edgeloop.unshare(loop)


def test_each_registration_counts_once(loop: Loop, pair: Pair) -> None:
    ours, _ = pair

    def calls() -> int:
        return edgeloop.stats(loop).system_calls.epoll_ctl

    before = calls()
    loop.add_reader(ours, int)
    assert calls() == before + 1
    loop.add_writer(ours, int)
    assert calls() == before + 2
    loop.remove_writer(ours)
    loop.remove_reader(ours)
    assert calls() > before + 2


def test_nothing_is_measured_while_nobody_asks(loop: Loop) -> None:
    for _ in range(3):
        loop.call_soon(int)
        loop.call_at(loop.time() - 1, int)
        turn(loop, 2)
    stats = edgeloop.stats(loop)
    assert (stats.delay.count, stats.turn.count, stats.callback.count, stats.longest) == (0, 0, 0, None)


def test_each_wait_counts_once(loop: Any) -> None:
    instrument = Waits()
    loop.add_instrument(instrument)
    before = edgeloop.stats(loop)
    for _ in range(5):
        loop.call_soon(loop.call_soon, int)
        turn(loop, 2)
    counted = edgeloop.stats(loop) - before
    assert counted.waits == counted.system_calls.epoll_wait == len(instrument.timeouts)
    assert counted.turns == 10
