"""Which engine a connection gets, and that it does no harm where the ssl module's objects are used beside it."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from recording import Recorder, Run
from sockets import tcp_pair
from tls_certificates import client_context, server_context
from tls_peer import DIRECT, Peer, secured

from edgeloop.transports.tls import engine, openssl
from edgeloop.transports.tls.protocol import TLSProtocol

pytestmark = pytest.mark.edgeloop_only


def new_engine(sslobject_class: type[ssl.SSLObject] = ssl.SSLObject) -> Any:
    context = client_context()
    context.sslobject_class = sslobject_class
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    return openssl.engine_of(sslobj, incoming, outgoing)


def test_openssl_itself_is_called_where_it_can_be() -> None:
    """In the compiled edition, for the ssl module's own class of objects."""
    assert type(new_engine()).__name__ == ("OpenSSLEngine" if DIRECT else "Engine")


def test_a_class_of_the_application_s_is_called() -> None:
    class Own(ssl.SSLObject):
        pass

    assert type(new_engine(Own)) is engine.Engine


class Between(ssl.SSLContext):
    """Has the SSL object read and write somewhere else than it was told, as one would who wants to see what it reads."""

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **keywords: Any) -> ssl.SSLObject:
        self.seen = ssl.MemoryBIO(), ssl.MemoryBIO()
        return super().wrap_bio(*self.seen, *args, **keywords)


def test_what_a_context_puts_in_between_stays_there() -> None:
    new_engine()  # by now it is known where to look
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = Between(ssl.PROTOCOL_TLS_CLIENT)
    sslobj = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    assert type(openssl.engine_of(sslobj, incoming, outgoing)) is engine.Engine
    with pytest.raises(ssl.SSLWantReadError):
        sslobj.do_handshake()
    assert context.seen[1].pending


ELSEWHERE = """
import _ssl, asyncio, ssl, sys
{change}
from edgeloop.transports.tls import engine, openssl

incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
sslobj = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
print(type(openssl.engine_of(sslobj, incoming, outgoing)).__name__)
"""


@pytest.mark.parametrize(
    "change",
    [
        "del _ssl.__file__",
        "_ssl.__file__ = '/nowhere/_ssl.so'",
        "import _ctypes; _ssl.__file__ = _ctypes.__file__",
        "import os; os.environ['EDGELOOP_OPENSSL'] = '0'",
        "ssl.SSLContext.sni_callback = None",
    ],
)
def test_the_objects_are_used_where_openssl_is_not_to_be_found(change: str) -> None:
    """A static library, one that is not loaded, a module that was not linked with it.

    Nor where the environment says so, or the handshake that shows whether objects are locked doesn't go as expected.
    """
    script = ELSEWHERE.format(change=change)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Engine\n", "")


def test_an_ssl_object_may_be_kept_beyond_its_connection(run: Run) -> None:
    """It has nothing to read from then, and what it writes goes nowhere."""
    kept: list[Any] = []

    async def main() -> None:
        async with secured(Recorder, version="TLSv1.3") as (transport, protocol, peer):
            await peer.send(b"hello")
            await protocol.bytes_in(5)
            kept.append(transport.get_extra_info("ssl_object"))

    run(main())
    gc.collect()
    sslobj = kept.pop()
    assert sslobj.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLWantReadError):
        sslobj.read(10)
    assert sslobj.write(b"more") == 4
    with pytest.raises(ssl.SSLWantReadError):
        sslobj.unwrap()


async def test_what_the_ssl_object_itself_writes_stays_in_order() -> None:
    """The transport's own and what somebody writes through its ssl_object leave in the order of the calls."""
    async with secured(Recorder) as (transport, _, peer):
        sslobj = transport.get_extra_info("ssl_object")
        for number in range(5):
            transport.write(b"transport %d\n" % number)
            sslobj.write(b"object %d\n" % number)
        transport.write(b"end\n")
        expected = b"".join(b"transport %d\nobject %d\n" % (number, number) for number in range(5)) + b"end\n"
        assert await peer.receive(len(expected)) == expected


async def test_what_a_lower_transport_brings_in_a_pause_is_kept() -> None:
    """One that has read ahead may bring it in spite of the pause, record by record or cut anywhere."""
    loop = asyncio.get_running_loop()
    ours, theirs = tcp_pair()
    with theirs:
        peer = Peer(theirs, server_context(version="TLSv1.2"), server_side=True)
        protocol, waiter = Recorder(), loop.create_future()
        tls: Any = TLSProtocol(loop, protocol, client_context(version="TLSv1.2"), waiter, server_hostname="localhost")
        await asyncio.gather(loop.create_connection(lambda: tls, sock=ours), peer.handshake())
        await waiter
        protocol.transport.pause_reading()
        sent = [bytes([number]) * 1000 for number in range(3)]
        for data in sent:
            peer.ssl.write(data)
            record = peer.outgoing.read()
            tls.data_received(record[:500])
            tls.data_received(record[500:])
        assert not protocol.received
        protocol.transport.resume_reading()
        assert await protocol.bytes_in(3000) == b"".join(sent)
        protocol.transport.abort()
        await protocol.lost()


def test_messages_of_several_threads_stay_apart(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A context's debugging callback lets another thread run in the middle of a record."""
    failures: list[BaseException] = []
    switched: list[object] = []

    def switch(*args: object) -> None:
        switched.append(args)
        time.sleep(0)  # lets the interpreter's lock go

    async def talk() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100_000):
                writer.write(data)
            writer.close()

        contexts = server_context(), client_context()
        for context in contexts:
            context._msg_callback = switch  # type: ignore[attr-defined]
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=contexts[0])
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=contexts[1], server_hostname="localhost")
        for size in [1, 1000, 16_384, 50_000, 200_000] * 10:
            data = os.urandom(size)
            writer.write(data)
            assert await reader.readexactly(size) == data
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(asyncio.wait_for(talk(), 60))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(switched) > 1000
