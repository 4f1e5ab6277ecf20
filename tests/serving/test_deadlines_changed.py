"""Timeouts that are set, changed and taken back while the server runs."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
import weakref
from typing import Any

import pytest
from recording import Recorder, turns
from set_clock import Served, SetClock, pass_time, play, serving
from tls_certificates import client_context, server_context
from tls_peer import Peer

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


def timers() -> list[Any]:
    """The loop's timers."""
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def test_a_timeout_that_is_set_counts_from_then_on_for_open_connections() -> None:
    async def main() -> None:
        async with serving(Recorder) as served:
            sock, protocol = await served.connected()
            with sock:
                await pass_time(1000)
                served.server.set_limits(idle_timeout=80, max_lifetime=1000)
                await pass_time(79)
                assert "connection_lost" not in protocol.calls
                await pass_time(22)
                assert isinstance(protocol.error, TimeoutError)

    play(main())


def test_a_timeout_that_is_set_counts_for_open_tls_connections() -> None:
    async def main() -> None:
        async with serving(Recorder, tls=server_context(), ssl_handshake_timeout=1e6) as served:
            sock, silent = await served.client(), await served.client()
            with sock, silent:
                await Peer(sock, client_context(), server_side=False).handshake()
                while served.server.status().accepted < 2:
                    await turns()
                served.server.set_limits(idle_timeout=80)
                await pass_time(102)
                assert served.server.status().timed_out["idle"] == 2

    play(main())


def test_a_timeout_that_is_shortened_counts_from_what_was() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=8000) as served:
            sock, protocol = await served.connected()
            with sock:
                await pass_time(500)
                served.server.set_limits(idle_timeout=80)
                await pass_time(11)
                assert isinstance(protocol.error, TimeoutError)
                assert "80 seconds" in str(protocol.error)

    play(main())


def test_a_timeout_that_is_set_when_the_last_one_has_just_left_is_kept() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as served:
            former, first = await served.connected()
            served.server.set_limits(idle_timeout=None)
            former.close()
            await first.lost()
            served.server.set_limits(idle_timeout=80)
            sock, protocol = await served.connected()
            with sock:
                await pass_time(102)
                assert str(protocol.error).startswith("idle_timeout")

    play(main())


def test_a_timeout_that_is_taken_back_ends_nothing() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80, first_byte_timeout=60) as served:
            sock, protocol = await served.connected()
            with sock:
                await pass_time(50)
                served.server.set_limits(idle_timeout=None, first_byte_timeout=None)
                other, second = await served.connected()
                with other:
                    await pass_time(1000)
                    assert "connection_lost" not in protocol.calls + second.calls
                    served.server.set_limits(idle_timeout=80)
                    await pass_time(79)
                    assert "connection_lost" not in second.calls
                    await pass_time(22)
                    assert served.server.status().timed_out["idle"] == 2

    play(main())


def test_who_was_accepted_after_the_change_is_watched_too() -> None:
    async def main() -> None:
        async with serving(Recorder) as served:
            served.server.set_limits(first_byte_timeout=80)
            sock, protocol = await served.connected()
            with sock:
                await pass_time(102)
                assert str(protocol.error).startswith("first_byte_timeout")

    play(main())


def test_a_closed_server_goes_on_watching_its_connections() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            with sock:
                served.server.close()
                waiting = asyncio.ensure_future(served.server.wait_closed())
                await pass_time(50)
                served.server.set_limits(idle_timeout=20)
                await pass_time(10)
                assert isinstance(protocol.error, TimeoutError)
                await waiting

    play(main())


def test_there_is_no_timer_where_nothing_is_watched() -> None:
    async def main() -> None:
        async with serving(Recorder) as served:
            (await served.connected())[0].close()
            await turns()
            assert timers() == []
            served.server.set_limits(idle_timeout=80)
            assert timers() == []
            sockets = [await served.connected() for _ in range(5)]
            assert len(timers()) == 1
            for sock, _ in sockets:
                sock.close()
            for _, protocol in sockets:
                await protocol.lost()
            await pass_time(20)  # the last one fires for nothing
            assert timers() == []

    play(main())


def test_one_timer_serves_all_servers_of_a_loop() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as one, serving(Recorder, write_timeout=8, read_rate=5) as two:
            sockets = [(await served.connected())[0] for served in (one, two) * 3]
            for sock in sockets:
                sock.send(b"123456789")
            await pass_time(3)
            assert len(timers()) == 1
            for sock in sockets:
                sock.close()

    play(main())


@pytest.mark.counts_references
def test_a_closed_transport_is_not_kept() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80, read_rate=1000) as served:
            sock, protocol = await served.connected()
            reference = weakref.ref(protocol.transport)
            sock.close()
            await protocol.lost()
            await turns()
            del protocol.transport
            assert reference() is None

    play(main())


def test_a_server_that_nobody_keeps_goes_with_its_connections() -> None:
    async def main() -> None:
        async with serving(Recorder, idle_timeout=80) as served:
            sock, protocol = await served.connected()
            sock.close()
            await protocol.lost()
        reference = weakref.ref(served.server)
        await pass_time(20)
        del served
        gc.collect()
        assert reference() is None

    play(main())


def test_a_loop_that_is_closed_meanwhile_leaves_nothing() -> None:
    """Neither a timer nor an error; the server may still be asked."""

    async def main() -> tuple[Any, socket.socket, Recorder]:
        served = Served()
        loop: Any = asyncio.get_running_loop()
        served.server = await loop.create_server(lambda: served.made(Recorder()), "127.0.0.1", 0, idle_timeout=80)
        sock, protocol = await served.connected()
        assert isinstance(protocol, Recorder)
        return served, sock, protocol

    loop = SetClock()
    served, sock, protocol = loop.run_until_complete(main())
    loop.close()
    served.server.set_limits(idle_timeout=1, first_byte_timeout=2)
    assert served.server.status().open == 1
    served.server.close()
    sock.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        protocol.transport.__del__()  # type: ignore[attr-defined]


def test_a_child_that_uses_the_loop_ends_its_own_copy() -> None:
    loop = SetClock()
    results: list[str] = []

    async def before() -> tuple[Any, Any, Any]:
        served = Served()
        served.server = await loop.create_server(lambda: served.made(Recorder()), "127.0.0.1", 0, idle_timeout=80)
        sock, protocol = await served.connected()
        return served, sock, protocol

    async def after() -> None:
        await pass_time(102)
        results.append(str(protocol.error))

    served, sock, protocol = loop.run_until_complete(before())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have left
        child = os.fork()
    if child == 0:
        code = 1
        try:
            loop.run_until_complete(after())
            code = 0 if results[0].startswith("idle_timeout") else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with sock:
        sock.send(b"the parent's lives on")
        loop.run_until_complete(protocol.called("data_received"))
        served.server.close()
        protocol.transport.abort()
        loop.run_until_complete(turns())
    loop.close()
