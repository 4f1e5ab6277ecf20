"""What users of other loops report about connections, a short test for each report.

Each docstring begins with the report it stands for; test_demand_rows.py holds the list of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_process import environment
from recording import Recorder, Run, connected, receive, receive_all, reset

Factory = Callable[[], asyncio.AbstractEventLoop]


async def test_writing_after_close(caplog: pytest.LogCaptureFixture) -> None:
    """uvloop #506, #685, #552: writing after close raises. Here it is dropped, with a warning only after a few."""
    with caplog.at_level(logging.WARNING, "asyncio"):
        async with connected(Recorder) as (transport, protocol, peer):
            transport.close()
            for _ in range(4):
                transport.write(b"late")
            assert caplog.records == []
            for _ in range(4):
                transport.write(b"late")
            assert {record.getMessage() for record in caplog.records} == {"socket.send() raised exception."}
            assert await protocol.lost() is None
            transport.write(b"late")
            assert await receive_all(peer) == b""
            assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.edgeloop_only
async def test_writing_lines_after_close() -> None:
    """uvloop #506, #685, #552: writelines after close, where asyncio of 3.12 and 3.13.0 raises a TypeError too."""
    async with connected(Recorder) as (transport, protocol, peer):
        transport.close()
        transport.writelines([b"late", b"later"])
        await protocol.lost()
        transport.writelines([b"late", b"later"])
        assert await receive_all(peer) == b""


def test_writing_to_a_peer_that_has_reset(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """uvloop #506, #685, #552: writing after the connection broke; connection_lost comes exactly once."""

    async def main() -> None:
        async with connected(Recorder) as (transport, protocol, peer):
            reset(peer)
            await protocol.lost()
            for _ in range(20):
                transport.write(b"late")
            transport.close()
            await asyncio.sleep(0)
            assert protocol.calls.count("connection_lost") == 1

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert {record.getMessage() for record in caplog.records} == {"socket.send() raised exception."}


async def test_missing_socket_calls(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """uvloop #228, #549, #561: sendfile, sock_sendfile, sock_recvfrom, sock_recvfrom_into, sock_sendto are missing."""
    path = tmp_path / "file"
    path.write_bytes(b"from a file")

    async with connected(Recorder) as (transport, _, peer):
        with path.open("rb") as file:
            assert await loop.sendfile(transport, file) == 11
        assert await receive(peer, 11) == b"from a file"
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as file:
        ours.setblocking(False)
        theirs.setblocking(False)
        assert await loop.sock_sendfile(ours, file, 5, 1) == 1
        assert await loop.sock_recv(theirs, 100) == b"a"
    one, two = (socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(2))
    with one, two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        assert await loop.sock_sendto(one, b"first", two.getsockname()) == 5
        assert await loop.sock_recvfrom(two, 100) == (b"first", one.getsockname())
        assert await loop.sock_sendto(one, b"second", two.getsockname()) == 6
        buffer = bytearray(100)
        assert await loop.sock_recvfrom_into(two, buffer) == (6, one.getsockname())
        assert buffer[:6] == b"second"


async def test_missing_keywords(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop #406: happy_eyeballs_delay, interleave, all_errors, keep_alive raise TypeError; here as the Python has them."""
    create_server: Any = loop.create_server
    create_connection: Any = loop.create_connection
    of_server: dict[str, Any] = {"keep_alive": True} if sys.version_info >= (3, 13) else {}
    of_connection: dict[str, Any] = {"happy_eyeballs_delay": 0.25, "interleave": 1}
    if sys.version_info >= (3, 12):
        of_connection["all_errors"] = True

    server = await create_server(Recorder, "127.0.0.1", 0, **of_server)
    listening = server.sockets[0]
    port = listening.getsockname()[1]
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == len(of_server)
    transport, protocol = await create_connection(Recorder, "127.0.0.1", port, **of_connection)
    server.close()
    transport.abort()
    await protocol.lost()
    with pytest.raises(ExceptionGroup if "all_errors" in of_connection else OSError):
        await create_connection(Recorder, "127.0.0.1", port, **of_connection)
    if sys.version_info < (3, 12):
        with pytest.raises(TypeError, match="all_errors"):
            await create_connection(Recorder, "127.0.0.1", port, all_errors=True)
    if sys.version_info < (3, 13):
        with pytest.raises(TypeError, match="keep_alive"):
            await create_server(Recorder, "127.0.0.1", 0, keep_alive=True)


async def test_types(loop: asyncio.AbstractEventLoop) -> None:
    """run: isinstance(t, asyncio.Transport) is False, get_extra_info('socket') a PseudoSocket, call_later(0) no TimerHandle.

    asyncio's own tests: TransportSocket.
    """
    from asyncio.trsock import TransportSocket

    async with connected(Recorder) as (transport, _, _):
        anything: Any = transport
        assert isinstance(anything, asyncio.Transport)
        assert type(transport.get_extra_info("socket")) is TransportSocket
        assert transport.get_extra_info("socket") is transport.get_extra_info("socket")
    server: Any = await loop.create_server(Recorder, "127.0.0.1", 0)
    assert [type(sock) for sock in server.sockets] == [TransportSocket]
    server.close()
    endpoint, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    assert type(endpoint.get_extra_info("socket")) is TransportSocket
    assert endpoint.get_extra_info("socket") is endpoint.get_extra_info("socket")
    endpoint.close()
    await asyncio.sleep(0)
    for timer in (loop.call_later(0, int), loop.call_at(loop.time(), int)):
        handle: Any = timer
        assert isinstance(handle, asyncio.TimerHandle)
    soon: Any = loop.call_soon(int)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)


CRASHES = {
    "close callback": """
        class Closing(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                transport.close()
            def connection_lost(self, exc):
                self.transport.close()
                self.transport.abort()
                self.transport.write(b"x")
                del self.transport
                gone.set_result(None)
        gone = loop.create_future()
        ours, theirs = socket.socketpair()
        await loop.create_connection(Closing, sock=ours)
        await gone
        theirs.close()
    """,
    "read": """
        class Greedy(asyncio.BufferedProtocol):
            def connection_made(self, transport):
                self.transport = transport
            def get_buffer(self, hint):
                self.transport.abort()  # the connection goes while its read is being prepared
                return bytearray(10)
            def buffer_updated(self, count):
                pass
            def connection_lost(self, exc):
                gone.set_result(None)
        gone = loop.create_future()
        ours, theirs = socket.socketpair()
        await loop.create_connection(Greedy, sock=ours)
        theirs.send(b"x")
        await gone
        theirs.close()
    """,
    "Server(None)": """
        handle = loop.call_soon(int)
        for cls in (type(server), type(transport), type(handle), type(loop.call_later(0, int))):
            for arguments in ((), (None,), (None, None), (int, (), None)):
                try:
                    made = cls(*arguments)
                    repr(made)
                    made.close()
                except (TypeError, AttributeError):
                    pass
    """,
}


@pytest.mark.parametrize("body", CRASHES.values(), ids=CRASHES)
def test_crashes(pytestconfig: pytest.Config, tmp_path: Path, body: str) -> None:
    """uvloop #706, #538, #760: crash in a close callback, in read, Server(None); a process of its own tells."""
    start = """
import asyncio, socket
import edgeloop
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
"""
    lines = [line[4:] for line in body.strip("\n").splitlines()]
    program = (
        start + "\n".join(lines) + "\n    server.close()\n    transport.abort()\nedgeloop.run(main())\nprint('over')"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        cwd=tmp_path,  # not here, where edgeloop would be found even in the control run
        env=environment(pytestconfig, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr


async def test_write_during_sendfile(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """asyncio's own tests: write during sendfile raises RuntimeError."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5_000_000))

    async with connected(Recorder, send_buffer=8192) as (transport, _, peer):
        with path.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            await receive(peer, 1000)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.write(b"x")
            await receive(peer, 4_999_000)
            assert await sending == 5_000_000


async def test_attributes_that_tools_read(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio's own tests: Server._sockets, a pipe transport's _pipe; those of websockets: Server._ssl_context."""
    server: Any = await loop.create_server(Recorder, "127.0.0.1", 0)
    assert [sock.fileno() for sock in server._sockets] == [sock.fileno() for sock in server.sockets]
    assert server._ssl_context is None
    server.close()
    assert server._sockets is None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure: Any = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=context)
    assert secure._ssl_context is context
    secure.close()
    read, write = os.pipe()
    reading, writing = open(read, "rb", 0), open(write, "wb", 0)
    reader: Any = (await loop.connect_read_pipe(asyncio.Protocol, reading))[0]
    writer: Any = (await loop.connect_write_pipe(asyncio.BaseProtocol, writing))[0]
    assert (reader._pipe, writer._pipe) == (reading, writing)
    writer.close()
    reader.close()
    await asyncio.sleep(0.001)
    assert (reader._pipe, writer._pipe) == (None, None)
