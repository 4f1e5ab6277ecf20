"""A deadline meets whatever else happens in its turn: closing, other deadlines, interruptions, a clock that jumps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, Recording, turns
from set_clock import TURNS, Served, SetClock, pass_time, play, serving

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


class Acting(Recorder):
    """Does something in connection_lost."""

    act: Callable[[Any], object] = staticmethod(lambda protocol: None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        type(self).act(self)


def acting(act: Callable[[Recording], object]) -> type[Acting]:
    return type("ActingSo", (Acting,), {"act": staticmethod(act)})


async def crowd(served: Served, count: int) -> list[socket.socket]:
    return [(await served.connected())[0] for _ in range(count)]


def close_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.close()


def ends(served: Served) -> int:
    """How many connections have ended, each of them once."""
    counts = [protocol.calls.count("connection_lost") for protocol in served.protocols]
    assert max(counts) <= 1
    return sum(counts)


def test_a_connection_lost_that_aborts_the_others() -> None:
    async def main() -> None:
        def abort_others(protocol: Recording) -> None:
            for other in served.protocols:
                other.transport.abort()

        async with serving(acting(abort_others), idle_timeout=80) as served:
            socks = await crowd(served, 40)
            await pass_time(102)
            assert ends(served) == 40
            assert served.server.status().open == 0
            close_all(socks)

    play(main())


def test_limits_that_are_taken_back_in_the_middle_spare_who_is_left() -> None:
    async def main() -> None:
        def take_back(protocol: Recording) -> None:
            served.server.set_limits(idle_timeout=None)

        async with serving(acting(take_back), idle_timeout=80) as served:
            socks = await crowd(served, 60)
            await pass_time(500)
            assert 0 < ends(served) < 60
            served.server.set_limits(idle_timeout=40)
            await pass_time(70)
            served.server.set_limits(idle_timeout=40)
            await pass_time(70)
            close_all(socks)

    play(main())


def test_a_server_that_is_closed_in_the_middle() -> None:
    async def main() -> None:
        def close(protocol: Recording) -> None:
            served.server.close()
            served.server.abort_clients()

        async with serving(acting(close), idle_timeout=80) as served:
            socks = await crowd(served, 40)
            await pass_time(102)
            assert ends(served) == 40
            await served.server.wait_closed()
            close_all(socks)

    play(main())


def test_a_close_in_the_turn_of_the_deadline_is_no_timeout() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            loop.moment += 200
            protocol.transport.close()
            await protocol.lost()
            await pass_time(100)
            assert protocol.error is None
            assert served.server.status().timed_out["idle"] == 0
            sock.close()

    play(main())


@pytest.mark.parametrize("name", ["idle_timeout", "first_byte_timeout"])
def test_what_came_while_the_loop_was_stopped_is_read_before_anybody_is_ended(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        limit: dict[str, Any] = {name: 80}
        async with serving(Recorder, path=tmp_path / "s", **limit) as served:
            socks = await crowd(served, 20)
            for sock in socks:
                sock.send(b"x")
            loop.moment += 1000
            await turns(TURNS)
            for protocol in served.protocols:
                await protocol.bytes_in(1)
            assert ends(served) == 0
            close_all(socks)

    play(main())


def test_room_that_came_while_the_loop_was_stopped_is_used_before_anybody_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with serving(Recorder, path=tmp_path / "s", write_timeout=80) as served:
            sock, protocol = await served.connected()
            protocol.transport.write(bytes(16 << 20))
            await pass_time(30)
            await loop.sock_recv_into(sock, bytearray(1 << 20))
            while True:  # all that the kernel held: there is room
                try:
                    if not sock.recv(1 << 20):
                        break
                except BlockingIOError:
                    break
            loop.moment += 60
            await turns(TURNS)
            loop.moment += 20
            await turns(TURNS)
            assert "connection_lost" not in protocol.calls
            sock.close()

    play(main())


def test_of_many_that_are_due_at_once_sixteen_are_ended_in_a_turn() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with serving(Recorder, idle_timeout=80) as served:
            socks = await crowd(served, 60)
            loop.moment += 1000
            before, found = 0, []
            while before < 60:
                await asyncio.sleep(0)
                found.append(ends(served) - before)
                before += found[-1]
            assert max(found) == 16
            close_all(socks)

    play(main())


def test_a_clock_that_is_set_back_ends_nobody_and_forgets_nobody() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        limits: dict[str, Any] = {"idle_timeout": 80, "first_byte_timeout": 80, "write_timeout": 80}
        async with serving(Recorder, max_lifetime=500, **limits) as served:
            socks = await crowd(served, 3)
            await pass_time(50)
            loop.moment -= 900
            served.server.set_limits(idle_timeout=70)
            await pass_time(60)
            assert ends(served) == 0
            await pass_time(1000)
            assert ends(served) == 3
            close_all(socks)

    play(main())


def test_a_clock_that_is_set_back_begins_the_time_of_a_stuck_writer_again() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with serving(Recorder, write_timeout=80) as served:
            sock, protocol = await served.connected()
            protocol.transport.write(bytes(20_000_000))
            await pass_time(50)
            loop.moment -= 900
            served.server.set_limits(write_timeout=70)
            await pass_time(60)
            assert ends(served) == 0
            await pass_time(1000)
            assert ends(served) == 1
            sock.close()

    play(main())


class Interrupted(SetClock):
    """Reading the clock raises, when a test says so."""

    failure: BaseException | None = None

    def time(self) -> float:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return super().time()


def started(loop: SetClock, make: Callable[[], Recording], **limits: Any) -> tuple[Served, list[socket.socket]]:
    served = Served()

    async def begin() -> list[socket.socket]:
        server: Any = loop
        served.server = await server.create_server(lambda: served.made(make()), "127.0.0.1", 0, **limits)
        return await crowd(served, 40)

    return served, loop.run_until_complete(begin())


def test_a_keyboard_interrupt_in_connection_lost_leaves_the_others_their_deadline() -> None:
    def interrupt(protocol: Recording) -> None:
        if not interrupted:
            interrupted.append(protocol)
            raise KeyboardInterrupt

    interrupted: list[Recording] = []
    loop = SetClock()
    served, socks = started(loop, acting(interrupt), idle_timeout=80)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(pass_time(102))
    loop.run_until_complete(pass_time(102))
    assert ends(served) == 40
    assert served.server.status().timed_out["idle"] == 40
    served.server.close()
    close_all(socks)
    loop.run_until_complete(turns())
    loop.close()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError])
def test_a_clock_that_raises_in_a_look_does_not_stop_the_looks(failure: type[BaseException]) -> None:
    loop = Interrupted()
    loop.set_exception_handler(lambda loop, context: None)
    served, socks = started(loop, Recorder, idle_timeout=80)
    for _ in range(10):
        loop.failure = failure()
        try:
            loop.run_until_complete(pass_time(6))
        except failure:
            pass
    loop.failure = None
    loop.run_until_complete(pass_time(102))
    assert ends(served) == 40
    served.server.close()
    close_all(socks)
    loop.run_until_complete(turns())
    loop.close()


def test_a_loop_that_is_stopped_and_closed_in_the_middle() -> None:
    loop = SetClock()
    served, socks = started(loop, acting(lambda protocol: loop.stop()), idle_timeout=80)
    loop.moment += 200
    loop.run_forever()
    while ends(served) < 40:
        loop.run_forever()
    served.server.close()
    loop.close()
    close_all(socks)


def test_a_timeout_is_no_error_that_is_reported() -> None:
    reports: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        async with serving(Recorder, idle_timeout=80) as served:
            socks = await crowd(served, 2)
            await pass_time(102)
            assert ends(served) == 2
            close_all(socks)

    play(main())
    assert reports == []
