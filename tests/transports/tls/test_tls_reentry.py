"""What may happen in the middle: destructors, collections, other threads, and a context's callbacks that call back."""

from __future__ import annotations

import _ssl
import asyncio
import ctypes
import gc
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eager_collector import eager_collector
from recording import Recorder
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import DIRECT, Peer, secured

pytestmark = pytest.mark.counts_references

versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_protocol_s_destructor_may_use_the_transport(layers: int) -> None:
    """It is let go in connection_lost, when the connection is closed for whoever asks."""
    seen: list[Any] = []

    class Last:
        def __init__(self, transport: Any) -> None:
            self.transport = transport

        def __del__(self) -> None:
            self.transport.write(b"too late")
            self.transport.writelines([b"too late"])
            self.transport.pause_reading()
            self.transport.resume_reading()
            self.transport.close()
            self.transport.abort()
            self.transport.set_write_buffer_limits(0)
            asyncio.get_running_loop().call_soon(seen.append, "scheduled")
            seen.append((self.transport.is_closing(), self.transport.get_write_buffer_size()))

    class Holding(asyncio.Protocol):
        last: Last

    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    (client, asking), (server, serving) = await asyncio.gather(
        loop.create_connection(Holding, sock=ours), loop.create_connection(Recorder, sock=theirs)
    )
    for _ in range(layers):
        upgraded = await asyncio.gather(
            loop.start_tls(client, asking, client_context(), server_hostname="localhost"),
            loop.start_tls(server, serving, server_context(), server_side=True),
        )
        assert upgraded[0] is not None
        assert upgraded[1] is not None
        client, server = upgraded[0], upgraded[1]
    asking.last = Last(client)
    del asking
    server.close()
    await serving.lost()
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0.01)
    assert seen == [(True, 0), "scheduled"]


@pytest.mark.edgeloop_only  # of asyncio's own, some get lost
@versions
@pytest.mark.parametrize("name", ["close", "abort", "write", "get_write_buffer_size", "is_closing"])
@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_callback_of_the_context_s_may_call_in_the_middle_of_a_record(
    version: str, name: str, size: int
) -> None:
    """ssl's callback for debugging is called by OpenSSL, with part of a record on its way."""
    calls: list[str] = []
    armed: list[asyncio.Transport] = []

    def call(*args: Any) -> None:
        if armed:
            calls.append(name)
            getattr(armed.pop(), name)(*[b"between"] * (name == "write"))

    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    context = client_context(version=version)
    context._msg_callback = call  # type: ignore[attr-defined]
    with theirs:
        peer = Peer(theirs, server_context(version=version), server_side=True)
        (transport, protocol), _ = await asyncio.gather(
            loop.create_connection(Recorder, sock=ours, ssl=context, server_hostname="localhost"), peer.handshake()
        )
        armed.append(transport)
        transport.write(bytes(size))
        assert calls == [name]
        if name == "abort":
            await protocol.lost()
            assert transport.get_write_buffer_size() == 0
            return
        if name != "close":
            transport.write(b"end")
            transport.close()
        expected = bytes(size) + b"between" * (name == "write") + b"end" * (name != "close")
        assert await peer.receive_all() == expected
        await peer.send_close_notify()
        assert await protocol.lost() is None


@pytest.fixture
def restless() -> Iterator[None]:
    """Collections all the time, and a thread that takes its turn wherever it can."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            [object() for _ in range(10)]

    thread = threading.Thread(target=spin)
    with eager_collector():
        thread.start()
        yield
        over.set()
    thread.join()


@versions
async def test_nothing_is_lost_where_others_run_in_between(restless: None, version: str) -> None:
    data = os.urandom(300_000)

    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(data)

    async with secured(Echo, version=version, send_buffer=16384) as (_, _protocol, peer):
        for size in (1, 100, 5000, 20_000, 200_000):
            sending = asyncio.ensure_future(peer.send(data[:size]))
            assert await peer.receive(size) == data[:size]
            await sending


async def test_what_destructors_write_is_neither_lost_nor_harmful(restless: None) -> None:
    """They run in the middle of other writes, wherever a collection comes."""
    written: list[int] = []

    class Garbage:
        def __init__(self, transport: asyncio.Transport, number: int) -> None:
            self.itself = self  # only a collection finds it
            self.transport, self.number = transport, number

        def __del__(self) -> None:
            written.append(self.number)
            self.transport.write(b"<%d>" % self.number)

    class Littering(Recorder):
        number = 0

        def data_received(self, data: bytes) -> None:
            for size in (1, 100, 20_000, 100) * len(data):
                self.number += 1
                Garbage(self.transport, self.number)
                self.transport.writelines([b"a" * size] * 3)
                self.transport.write(bytearray(b"a" * size))

    async with secured(Littering, send_buffer=16384) as (transport, protocol, peer):
        total = 30 * 4 * (1 + 100 + 20_000 + 100)

        async def ask() -> None:
            for _ in range(30):
                await peer.send(b"?")
                await asyncio.sleep(0)
            while protocol.number < 120:
                await asyncio.sleep(0.001)
            gc.collect()
            transport.close()

        asking = asyncio.ensure_future(ask())
        received = await peer.receive_all()
        await asking
        numbers = re.findall(rb"<(\d+)>", received)
        assert [int(number) for number in numbers] == written
        assert len(re.sub(rb"<\d+>", b"", received)) == total
        await peer.send_close_notify()
        await protocol.lost()


@pytest.mark.skipif(not DIRECT, reason="the ssl module is asked, which takes such an error for its own, in asyncio too")
async def test_an_error_that_another_library_has_left_is_not_the_connection_s() -> None:
    """OpenSSL keeps one queue of them for each thread."""
    library = ctypes.CDLL(_ssl.__file__)

    def leave_an_error() -> None:
        if ssl.OPENSSL_VERSION_INFO >= (3,):
            library.ERR_new()
            library.ERR_set_error(11, 101, None)  # ERR_LIB_X509, X509_R_CERT_ALREADY_IN_HASH_TABLE
        else:
            library.ERR_put_error(11, 0, 101, b"", 0)

    class Careless(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            leave_an_error()
            self.transport.write(data)
            leave_an_error()

    async with secured(Careless) as (_, protocol, peer):
        for size in (1, 1000, 40_000):
            sending = asyncio.ensure_future(peer.send(bytes(size)))
            await protocol.bytes_in(size)
            leave_an_error()
            await asyncio.sleep(0.01)
            library.ERR_clear_error()  # the peer's own calls are the ssl module's
            assert await peer.receive(size) == bytes(size)
            await sending
            protocol.received.clear()


@versions
async def test_a_context_that_asks_for_encryption_by_the_kernel(version: str) -> None:
    """OP_ENABLE_KTLS is for sockets of OpenSSL's own: it has none here, and goes on by itself."""
    data = os.urandom(100_000)

    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    context = client_context(version=version)
    context.options |= getattr(ssl, "OP_ENABLE_KTLS", 8)
    with theirs:
        peer = Peer(theirs, server_context(version=version), server_side=True)
        (transport, protocol), _ = await asyncio.gather(
            loop.create_connection(Recorder, sock=ours, ssl=context, server_hostname="localhost"), peer.handshake()
        )
        transport.write(data)
        assert await peer.receive(len(data)) == data
        await peer.send(data)
        assert await protocol.bytes_in(len(data)) == data
        transport.abort()
        await protocol.lost()


@pytest.mark.edgeloop_only
@pytest.mark.skipif(not DIRECT, reason="this is what all the tests of this run do")
def test_without_direct_calls_the_tests_of_tls_pass() -> None:
    """EDGELOOP_OPENSSL=0: what is taken on an interpreter that is not as expected."""
    here = Path(__file__).parent
    files = [str(here / f"test_tls_{subject}.py") for subject in ("records", "flow", "engines", "protocols")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        env={**os.environ, "EDGELOOP_OPENSSL": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
