"""What goes wrong is counted: connections that are reset or refused, accept(2) that fails, handshakes that fail."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable

import pytest
from few_descriptors import Clients, finish, start
from recording import Recorder, attach, reset, until
from sockets import tcp_pair
from tls_certificates import client_context, server_context

import edgeloop
from edgeloop import Stats

pytestmark = pytest.mark.edgeloop_only

WITHOUT_DESCRIPTORS = """
import json
from edgeloop import stats  # while modules can be opened

async def main():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(int)
    async with await loop.create_server(Hello, "127.0.0.1", 0, backlog=100) as server:
        stats(loop)
        limit_to(1)
        print(server.sockets[0].getsockname()[1], flush=True)
        while len(connections) + stats(loop).accepts_refused < 10:
            await asyncio.sleep(0.001)
        found = stats(loop)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        print(json.dumps([found.accepts, found.accepts_failed, found.accepts_refused, len(connections)]), flush=True)
        await asyncio.to_thread(input)
        for connection in connections:
            connection.transport.abort()

run(main)
"""


def since(before: Stats) -> Stats:
    return edgeloop.stats(asyncio.get_running_loop()) - before


async def test_a_handshake_is_counted_at_each_end() -> None:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop)
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_context())
    where = server.sockets[0].getsockname()
    client, _ = await loop.create_connection(
        asyncio.Protocol, *where, ssl=client_context(), server_hostname="localhost"
    )
    await until(lambda: since(before).tls_handshakes == 2)
    assert since(before).tls_handshakes_failed == 0
    client.abort()
    server.close()
    await until(lambda: edgeloop.stats(loop).connections == 0)
    assert (since(before).tls_handshakes, since(before).tls_handshakes_failed) == (2, 0)


async def test_a_handshake_that_fails_is_counted_at_each_end() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    before = edgeloop.stats(loop)
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_context(version="TLSv1.2"))
    where = server.sockets[0].getsockname()
    with pytest.raises(ssl.SSLError):
        await loop.create_connection(
            asyncio.Protocol, *where, ssl=client_context(trusting=False), server_hostname="localhost"
        )
    await until(lambda: since(before).tls_handshakes_failed == 2)
    assert since(before).tls_handshakes == 0
    server.close()


@pytest.mark.parametrize("how", ["leaves", "takes too long", "sends something else"])
async def test_a_client_that_makes_no_handshake_is_counted_as_a_failure(how: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    before = edgeloop.stats(loop)
    server = await loop.create_server(
        asyncio.Protocol,
        *("127.0.0.1", 0),
        ssl=server_context(),
        ssl_handshake_timeout=0.05 if how == "takes too long" else 60,
    )
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        if how == "sends something else":
            client.send(b"GET / HTTP/1.1\r\n\r\n")
        elif how == "leaves":
            client.shutdown(socket.SHUT_WR)
        await until(lambda: since(before).tls_handshakes_failed == 1)
    assert since(before).tls_handshakes == 0
    server.close()
    await until(lambda: edgeloop.stats(loop).connections == 0)


async def test_a_connection_that_the_peer_resets_is_counted_as_reset() -> None:
    loop = asyncio.get_running_loop()
    before = edgeloop.stats(loop)
    ours, theirs = tcp_pair()
    recorder = Recorder()
    await attach(ours, recorder)
    reset(theirs)
    assert isinstance(await recorder.lost(), ConnectionResetError)
    await until(lambda: since(before).connections == 0)
    lost = since(before).lost
    assert (lost.reset, lost.end, lost.abort, lost.timeout, lost.error) == (1, 0, 0, 0, 0)


async def test_a_protocol_that_raises_is_counted_as_an_error() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    before = edgeloop.stats(loop)

    class Raising(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ValueError

    ours, theirs = tcp_pair()
    with theirs:
        await attach(ours, Raising())
        theirs.send(b"x")
        await until(lambda: since(before).lost.error == 1)


def test_accepts_that_fail_and_clients_that_are_turned_away_are_counted(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Without a free descriptor accept(2) fails, EMFILE; the reserve is given up to turn the client away."""
    child = start(loop_factory, WITHOUT_DESCRIPTORS)
    assert child.stdout is not None
    clients = Clients(int(child.stdout.readline()), 10)
    accepts, failed, refused, connected = json.loads(finish(child))
    clients.close()
    assert accepts == connected < 10  # as many as there were gaps between the numbers
    assert failed >= refused == 10 - connected
