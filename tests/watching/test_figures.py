"""``edgeloop.stats``: what a loop has counted, asked from its own thread and from others."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sockets import Pair

import edgeloop
from edgeloop import Stats

pytestmark = pytest.mark.edgeloop_only


def since(loop: asyncio.AbstractEventLoop, earlier: Stats) -> Stats:
    return edgeloop.stats(loop) - earlier


def test_a_new_loop_has_done_nothing(loop: asyncio.AbstractEventLoop) -> None:
    stats = edgeloop.stats(loop)
    assert (stats.turns, stats.callbacks, stats.seconds_active, stats.seconds_idle) == (0, 0, 0.0, 0.0)
    assert (stats.running, stats.waiting, stats.closed, stats.measuring, stats.longest) == (False,) * 4 + (None,)
    assert stats.utilization == 0.0


@pytest.mark.parametrize("thing", [None, object(), "loop"])
def test_what_is_no_loop_of_edgeloop_is_refused(thing: object) -> None:
    for function in (edgeloop.stats, edgeloop.measure, edgeloop.share, edgeloop.unshare):
        with pytest.raises(TypeError, match="needs a loop of edgeloop"):
            function(thing)


def test_asyncios_own_loop_is_refused() -> None:
    others = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(TypeError, match="needs a loop of edgeloop"):
            edgeloop.stats(others)
    finally:
        others.close()


def test_a_closed_loop_keeps_its_figures() -> None:
    loop = edgeloop.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    turns = edgeloop.stats(loop).turns
    loop.close()
    stats = edgeloop.stats(loop)
    assert (stats.closed, stats.running, stats.turns) == (True, False, turns)
    assert turns > 0


async def test_turns_and_callbacks_are_counted() -> None:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop)
    for _ in range(10):
        loop.call_soon(lambda: None)
    cancelled = loop.call_soon(lambda: None)
    cancelled.cancel()
    await asyncio.sleep(0)
    counted = since(loop, before)
    assert counted.turns == 1
    assert counted.callbacks == 11  # and the task that was running when it began
    assert counted.seconds > 0


async def test_timers_are_counted_when_they_are_due() -> None:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop)
    later = loop.call_later(1000, lambda: None)
    await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    counted = since(loop, before)
    assert counted.timers == 2
    assert counted.timers_waiting >= 1
    later.cancel()


def test_the_time_of_a_run_is_active_or_idle(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0.02))
    stats = edgeloop.stats(loop)
    assert stats.seconds_idle > 0 and stats.seconds_active > 0
    assert stats.seconds_active + stats.seconds_idle == pytest.approx(stats.seconds)
    assert 0 < stats.utilization < 1
    # While it doesn't run it is neither.
    assert (edgeloop.stats(loop) - stats).seconds_active == pytest.approx(0.0, abs=1e-6)


async def test_bytes_and_system_calls_of_connections_are_counted(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    received = loop.create_future()

    class Counting(asyncio.Protocol):
        size = 0

        def data_received(self, data: bytes) -> None:
            self.size += len(data)
            if self.size == 1000:
                received.set_result(None)

    before = edgeloop.stats(loop)
    ours, theirs = pair
    await loop.create_connection(Counting, sock=ours)
    sender, _ = await loop.create_connection(asyncio.Protocol, sock=theirs)
    sender.write(bytes(1000))
    await received
    counted = since(loop, before)
    assert (counted.bytes_in, counted.bytes_out) == (1000, 1000)
    assert counted.system_calls.recv >= 1 and counted.system_calls.send >= 1
    assert counted.system_calls.epoll_wait == counted.waits >= 1
    assert counted.events >= 1
    assert (counted.connections_made, counted.channels.stream, counted.connections) == (2, 2, 2)
    sender.close()
    await asyncio.sleep(0)


async def end_of(loop: asyncio.AbstractEventLoop, end: Callable[[Any, Any], object]) -> Stats:
    """Connect, have ``end`` end it, wait for connection_lost, and return what was counted of it."""
    ours, theirs = socket.socketpair()
    lost = loop.create_future()

    class Ending(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    before = edgeloop.stats(loop)
    transport, _ = await loop.create_connection(Ending, sock=ours)
    with theirs:
        end(transport, theirs)
        await lost
    await asyncio.sleep(0)
    return since(loop, before)


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("end", lambda transport, peer: peer.close()),
        ("end", lambda transport, peer: transport.close()),
        ("abort", lambda transport, peer: transport.abort()),
        ("reset", lambda transport, peer: transport._force_close(ConnectionResetError())),
        ("timeout", lambda transport, peer: transport._force_close(TimeoutError())),
        ("error", lambda transport, peer: transport._force_close(ValueError())),
    ],
    ids=["peer closes", "closed", "aborted", "reset", "timeout", "error"],
)
async def test_a_connection_is_counted_as_lost_by_its_reason(reason: str, end: Callable[[Any, Any], object]) -> None:
    counted = await end_of(asyncio.get_running_loop(), end)
    assert {name: number for name, number in dataclasses.asdict(counted.lost).items() if number} == {reason: 1}
    assert (counted.connections_closed, counted.connections, counted.channels.stream) == (1, 0, 0)


async def test_accepted_connections_are_counted() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    before = edgeloop.stats(loop)
    assert before.channels.listener == 1
    client, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    while since(loop, before).accepts < 1:
        await asyncio.sleep(0)
    counted = since(loop, before)
    assert (counted.accepts, counted.connections_made, counted.accepts_failed) == (1, 2, 0)
    client.close()
    server.close()
    while edgeloop.stats(loop).connections:
        await asyncio.sleep(0)
    assert edgeloop.stats(loop).channels.listener == 0


async def test_a_transport_whose_writing_is_paused_is_counted_until_it_goes_on_or_ends() -> None:
    loop = asyncio.get_running_loop()
    for end in ("resumed", "aborted"):
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        transport.write(bytes(1 << 22))
        assert edgeloop.stats(loop).writing_paused == 1
        if end == "resumed":
            theirs.setblocking(False)
            while edgeloop.stats(loop).writing_paused:
                try:
                    theirs.recv(1 << 22)
                except BlockingIOError:
                    pass
                await asyncio.sleep(0)
        transport.abort()
        assert edgeloop.stats(loop).writing_paused == 0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        theirs.close()


async def test_datagrams_are_counted() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    class Receiving(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
            arrived.set_result(None)

    before = edgeloop.stats(loop)
    receiver, _ = await loop.create_datagram_endpoint(Receiving, local_addr=("127.0.0.1", 0))
    address = receiver.get_extra_info("sockname")
    sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
    sender.sendto(b"hello")
    await arrived
    counted = since(loop, before)
    assert (counted.bytes_in, counted.bytes_out, counted.channels.datagram) == (5, 5, 2)
    receiver.close()
    sender.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert edgeloop.stats(loop).channels.datagram == 0


async def test_children_and_their_pipes_are_counted() -> None:
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-c", "input()"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stats = edgeloop.stats(loop)
    assert (stats.children, stats.channels.read_pipe, stats.channels.write_pipe) == (1, 1, 1)
    await child.communicate(b"\n")
    stats = edgeloop.stats(loop)
    assert (stats.children, stats.channels.read_pipe, stats.channels.write_pipe) == (0, 0, 0)


async def test_threads_and_what_waits_for_them_are_counted() -> None:
    from concurrent.futures import ThreadPoolExecutor

    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    go_on = threading.Event()
    jobs = [loop.run_in_executor(None, go_on.wait) for _ in range(3)]
    while edgeloop.stats(loop).jobs_queued != 2:
        await asyncio.sleep(0)
    assert edgeloop.stats(loop).threads == 1
    go_on.set()
    await asyncio.gather(*jobs)
    assert edgeloop.stats(loop).jobs_queued == 0


def test_another_thread_reads_while_the_loop_is_blocked(loop: asyncio.AbstractEventLoop) -> None:
    blocked, read = threading.Event(), threading.Event()
    found: list[Stats] = []

    def block() -> None:
        blocked.set()
        read.wait()

    def ask() -> None:
        blocked.wait()
        found.extend((edgeloop.stats(loop), edgeloop.stats(loop)))
        read.set()

    thread = threading.Thread(target=ask)
    thread.start()
    with edgeloop.measure(loop):
        loop.call_soon(block)
        loop.call_soon(loop.stop)
        loop.run_forever()
    thread.join()
    earlier, later = found
    assert later.running and not later.waiting
    assert later.ready == 2
    assert later.blocked_for > earlier.blocked_for > 0
    assert later.busy_for > 0
    assert (later - earlier).utilization == 1.0
    longest = edgeloop.stats(loop).longest
    assert longest is not None and "block" in longest.name and longest.seconds >= later.blocked_for - 1e-3


def test_another_thread_sees_that_a_loop_sleeps(loop: asyncio.AbstractEventLoop) -> None:
    found: list[Stats] = []

    def ask() -> None:
        while not (stats := edgeloop.stats(loop)).waiting:
            pass
        found.extend((stats, edgeloop.stats(loop)))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=ask)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    earlier, later = found
    assert (later.busy_for, later.blocked_for, later.ready) == (0.0, 0.0, 0)
    assert later.seconds_idle > earlier.seconds_idle
    assert edgeloop.stats(loop).system_calls.wake >= 1


async def test_nothing_is_measured_unless_it_is_asked_for() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    stats = edgeloop.stats(loop)
    assert (stats.delay.count, stats.turn.count, stats.callback.count, stats.longest) == (0, 0, 0, None)


async def test_lengths_and_delays_are_measured_until_the_last_has_stopped() -> None:
    loop = asyncio.get_running_loop()
    first, second = edgeloop.measure(loop), edgeloop.measure(loop)
    first.stop()
    first.stop()
    for _ in range(5):
        await asyncio.sleep(0)
    before = edgeloop.stats(loop)
    assert before.measuring
    assert before.callback.count == before.delay.count == 5
    assert before.turn.count >= 4
    assert before.longest is not None
    assert before.longest.seconds == pytest.approx(before.callback.max) and before.callback.max > 0
    second.stop()
    await asyncio.sleep(0)
    assert not edgeloop.stats(loop).measuring
    assert since(loop, before).callback.count == 0


async def test_a_protocol_that_takes_long_is_named() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    done = loop.create_future()

    class Slow(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            until = loop.time() + 0.05
            while loop.time() < until:
                pass
            done.set_result(None)

    transport, _ = await loop.create_connection(Slow, sock=ours)
    with theirs, edgeloop.measure(loop):
        theirs.send(b"x")
        await done
    transport.close()
    longest = edgeloop.stats(loop).longest
    assert longest is not None and longest.name.endswith("Slow of StreamTransport")


async def test_figures_of_different_loops_have_no_difference(loop: asyncio.AbstractEventLoop) -> None:
    other = edgeloop.new_event_loop()
    try:
        with pytest.raises(ValueError, match="different loops"):
            edgeloop.stats(other) - edgeloop.stats(loop)
    finally:
        other.close()
    with pytest.raises(TypeError):
        edgeloop.stats(loop) - 1  # type: ignore[operator]


async def test_a_snapshot_is_a_value() -> None:
    stats = edgeloop.stats(asyncio.get_running_loop())
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.turns = 0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(stats)) == copy.deepcopy(stats) == stats
    assert dataclasses.asdict(stats)["channels"]["stream"] == 0


async def test_a_callback_whose_name_raises_is_measured() -> None:
    loop = asyncio.get_running_loop()

    class Odd:
        def __call__(self) -> None:
            until = loop.time() + 0.02
            while loop.time() < until:
                pass

        def __repr__(self) -> str:
            raise ValueError

    with edgeloop.measure(loop):
        loop.call_soon(Odd())
        await asyncio.sleep(0)
    longest = edgeloop.stats(loop).longest
    assert longest is not None and longest.name == "Handle"
