"""Limits from the environment, changed limits, alarms and status of servers in less usual setups."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

import pytest
from few_descriptors import Clients as ClientsOfAnother
from few_descriptors import finish, start
from limited_servers import Clients, answers, ended, serving
from recording import Echo, Recorder, turns, until
from tls_certificates import client_context, server_context
from tls_peer import Peer

from edgeloop.serving import alarms
from edgeloop.serving.limits import limits_of_environment

pytestmark = pytest.mark.edgeloop_only  # asyncio's servers have no limits


def test_seconds_and_rates_of_the_environment_may_have_fractions() -> None:
    limits = limits_of_environment({"EDGELOOP_IDLE_TIMEOUT": "0.5", "EDGELOOP_READ_RATE": "1e6"})
    assert limits.idle_timeout == 0.5
    assert limits.read_rate == 1e6
    with pytest.raises(ValueError, match=r"^EDGELOOP_IDLE_TIMEOUT='soon' in the environment: "):
        limits_of_environment({"EDGELOOP_IDLE_TIMEOUT": "soon"})


def test_an_overload_in_the_environment_that_fits_nothing_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^EDGELOOP_OVERLOAD='nonsense' in the environment: "):
        limits_of_environment({"EDGELOOP_OVERLOAD": "nonsense", "EDGELOOP_MAX_CONNECTIONS": "3"})


async def test_an_alarm_says_what_it_is_for() -> None:
    async with serving() as (server, _):
        alarm = server.add_alarm(print, connections=3, cooldown=60)
        assert repr(alarm) == "<Alarm connections=3 cooldown=60>"
        assert "delay=0.5" in repr(server.add_alarm(print, delay=0.5))


async def test_an_alarm_of_the_delay_suspends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "MEASURE_SECONDS", 0.001)
    seen: list[Any] = []
    async with serving() as (server, _):
        server.add_alarm(seen.append, delay=1e-12, cooldown=0)
        await until(lambda: bool(seen))
        assert server.status().suspended_since is None
        server.suspend_on_delay(3600.0, 1e-12)  # the delay is between the marks, whatever it is
        seen.clear()
        await until(lambda: len(seen) >= 3)
        assert server.status().suspended_since is None


async def test_a_limit_of_each_peer_that_is_changed_counts_who_is_there() -> None:
    async with serving(max_connections_per_peer=3) as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect(3)) == 3
            server.set_limits(max_connections_per_peer=4)
            assert await answers(clients.connect(3)) == 1


async def test_the_queue_of_a_socket_that_its_owner_has_closed_is_empty() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    server: Any = await asyncio.get_running_loop().create_server(Echo, sock=sock)
    assert server.status().waiting == 0
    sock.close()
    assert server.status().waiting == 0
    await ended(server)


async def test_debug_mode_logs_each_deadline(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    caplog.set_level(logging.DEBUG, "asyncio")
    async with serving(factory, idle_timeout=0.01) as (_, address):
        loop.set_debug(True)
        with Clients(address) as clients:
            clients.connect()
            await until(lambda: bool(made))
            assert isinstance(await made[0].lost(), TimeoutError)
    assert [record.levelname for record in caplog.records if "0.01" in record.getMessage()] == ["DEBUG"]


async def test_an_application_above_start_tls_is_told_that_its_server_is_drained() -> None:
    loop = asyncio.get_running_loop()
    upgraded: list[asyncio.Task[Any]] = []

    class Application(Recorder):
        def server_draining(self) -> None:
            self.note("server_draining")

    class Upgrading(Recorder):
        def data_received(self, data: bytes) -> None:
            upgrade = loop.start_tls(self.transport, application, server_context(), server_side=True)
            upgraded.append(loop.create_task(upgrade))
            self.transport.write(b"go on")

    application = Application()
    async with serving(Upgrading) as (server, address):
        with Clients(address) as clients:
            sock = clients.connect()[0]
            await loop.sock_sendall(sock, b"STARTTLS")
            assert await loop.sock_recv(sock, 100) == b"go on"
            peer = Peer(sock, client_context(), server_side=False)
            await peer.handshake()
            transport = await upgraded[0]
            draining = loop.create_task(server.drain(None))
            await application.called("server_draining")
            transport.abort()
            assert len((await draining).served) == 1


@pytest.mark.parametrize("way", ["drain", "wait_closed"] if sys.version_info >= (3, 12) else ["drain"])
async def test_who_gives_up_in_the_turn_in_which_the_last_connection_ends_ends_nobody_else(way: str) -> None:
    loop = asyncio.get_running_loop()
    async with serving() as (server, address):
        with Clients(address) as clients:
            assert await answers(clients.connect()) == 1
            if way == "wait_closed":
                server.close()
            one, other = (
                loop.create_task(server.drain(None) if way == "drain" else server.wait_closed()) for _ in range(2)
            )
            await turns()
            server.abort_clients()
            one.cancel()  # is resumed after the connection has ended
            await other
            with pytest.raises(asyncio.CancelledError):
                await one


async def test_several_sockets_that_others_may_share_are_drained_together() -> None:
    hosts = ["127.0.0.1", "127.0.0.2"]
    server: Any = await asyncio.get_running_loop().create_server(Echo, hosts, 0, reuse_port=True)
    with Clients(server.sockets[0].getsockname()) as first, Clients(server.sockets[1].getsockname()) as second:
        assert await answers(first.connect(2) + second.connect(2)) == 4
        draining = asyncio.ensure_future(server.drain(None))
        await turns()
        for sock in first.socks + second.socks:
            sock.close()
        assert len((await draining).served) == 4


EXHAUSTED = """
import socket

async def main():
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0))
    held = use_up_descriptors()
    server = await loop.create_server(Hello, sock=sock, max_lifetime=3600)
    print(sock.getsockname()[1], flush=True)
    await until(lambda: reports)
    server.close()  # while it waits to try again
    await server.wait_closed()
    for fd in held:
        os.close(fd)
    print([report["message"] for report in reports], connections)
run(main)
"""


def test_a_server_that_is_closed_while_it_waits_for_a_descriptor_tries_no_more(loop_factory: Any) -> None:
    with start(loop_factory, EXHAUSTED) as child:
        assert child.stdout is not None
        clients = ClientsOfAnother(int(child.stdout.readline()), 1)
        try:
            assert finish(child) == "['socket.accept() out of system resource'] []\n"
        finally:
            clients.close()
