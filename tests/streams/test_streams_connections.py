"""start_server and open_connection of edgeloop.streams. The control run tests asyncio's own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import ssl
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from recording import Run
from repository import ROOT
from stream_conversations import close, pair, upper
from switching_on_page import program
from tls_certificates import client_context, server_context

import edgeloop


async def test_what_they_are(streams: Any) -> None:
    seen: list[Any] = []

    async def serve(reader: Any, writer: Any) -> None:
        seen.extend((reader, writer))
        await upper(reader, writer)

    server, reader, writer = await pair(streams, serve)
    writer.writelines([b"hello ", b"world\n"])
    assert await reader.readline() == b"HELLO WORLD\n"
    for one in (reader, seen[0]):
        assert isinstance(one, asyncio.StreamReader)
        assert type(one) is streams.StreamReader
    for one in (writer, seen[1]):
        assert isinstance(one, asyncio.StreamWriter)
        assert type(one) is streams.StreamWriter
        protocol = one.transport.get_protocol()
        assert isinstance(protocol, asyncio.StreamReaderProtocol)
        assert type(protocol) is streams.StreamReaderProtocol
    assert writer.get_extra_info("peername") == server.sockets[0].getsockname()
    assert writer.get_extra_info("nothing", 5) == 5
    assert writer.can_write_eof()
    assert not writer.is_closing()
    writer.write_eof()
    assert await reader.read() == b""
    assert reader.at_eof()
    await close(server, writer)
    assert writer.is_closing()


@pytest.mark.edgeloop_only
def test_signatures_are_asyncios(streams: Any) -> None:
    for name in streams.__all__:
        ours, theirs = getattr(streams, name), getattr(asyncio, name)
        if inspect.isclass(ours):
            assert issubclass(ours, theirs)
            for method in vars(theirs):
                if inspect.isfunction(getattr(theirs, method)) and not method.startswith("_"):
                    known = inspect.signature(getattr(theirs, method))
                    found = inspect.signature(getattr(ours, method))
                    assert [*found.parameters] == [*known.parameters], method
                    assert [p.default for p in found.parameters.values()] == [
                        p.default for p in known.parameters.values()
                    ]
                    is_async = inspect.iscoroutinefunction(getattr(theirs, method))
                    assert inspect.iscoroutinefunction(getattr(ours, method)) is is_async, method
        else:
            assert [*inspect.signature(ours).parameters] == [*inspect.signature(theirs).parameters]
            assert inspect.iscoroutinefunction(ours)
            assert getattr(edgeloop, name) is ours


async def test_unix(streams: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = await streams.start_unix_server(upper, path)
    reader, writer = await streams.open_unix_connection(path)
    writer.write(b"hello\n")
    assert await reader.readexactly(6) == b"HELLO\n"
    await close(server, writer)


async def test_a_plain_callback(streams: Any) -> None:
    tasks = []

    def serve(reader: Any, writer: Any) -> None:
        tasks.append(asyncio.ensure_future(upper(reader, writer)))

    server, reader, writer = await pair(streams, serve)
    writer.write(b"hello\n")
    assert await reader.readuntil() == b"HELLO\n"
    await close(server, writer)
    await tasks[0]


async def test_what_a_conversation_raises(streams: Any) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    async def serve(reader: Any, writer: Any) -> None:
        raise ZeroDivisionError

    server, reader, writer = await pair(streams, serve)
    assert await reader.read() == b""  # it closes the connection
    await close(server, writer)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    assert reports[0]["message"] == "Unhandled exception in client_connected_cb"
    assert isinstance(reports[0]["transport"], asyncio.Transport)


@pytest.mark.edgeloop_only
async def test_a_cancelled_conversation_is_closed_and_not_reported(streams: Any) -> None:
    """asyncio does so from some release of each Python on: https://github.com/python/cpython/issues/110894."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    async def serve(reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await reader.read()

    server, reader, writer = await pair(streams, serve)
    assert await reader.read() == b""
    await close(server, writer)
    assert reports == []


def test_what_a_plain_callback_raises(run: Run, streams: Any) -> None:
    """It is reported; from Python 3.14 on as what a coroutine raises, and the connection is closed."""

    async def main() -> None:
        reports: list[dict[str, Any]] = []
        reported = asyncio.Event()

        def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            reports.append(context)
            reported.set()

        asyncio.get_running_loop().set_exception_handler(report)

        def serve(reader: Any, writer: Any) -> None:
            raise ZeroDivisionError

        server, reader, writer = await pair(streams, serve)
        await reported.wait()
        assert [type(one["exception"]) for one in reports] == [ZeroDivisionError]
        if sys.version_info >= (3, 14):
            assert reports[0]["message"] == "Unhandled exception in client_connected_cb"
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        reports.clear()
        gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the connection that nobody closes before 3.14
        run(main())


async def test_drain_waits_for_room(streams: Any) -> None:
    go_on = asyncio.Event()
    size = 8 * 2**20

    async def serve(reader: Any, writer: Any) -> None:
        await go_on.wait()
        assert len(await reader.readexactly(size)) == size
        writer.close()

    server, reader, writer = await pair(streams, serve)
    writer.write(bytes(size))
    drains = [asyncio.ensure_future(writer.drain()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(drain.done() for drain in drains)
    go_on.set()
    await asyncio.gather(*drains)
    await reader.read()
    await close(server, writer)


async def test_drain_on_a_lost_connection(streams: Any) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        writer.transport.abort()

    server, _, writer = await pair(streams, serve)
    with pytest.raises(ConnectionError):
        while True:
            writer.write(b"hello")
            await writer.drain()
    writer.close()
    with pytest.raises(ConnectionError):
        await writer.drain()
    server.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass  # when the write found out, not the read


async def test_drain_after_close(streams: Any) -> None:
    server, _, writer = await pair(streams, upper)
    writer.close()
    with pytest.raises(ConnectionResetError, match=r"^Connection lost$"):
        await writer.drain()
    await close(server, writer)


async def test_start_tls(streams: Any) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(server_context())
        await upper(reader, writer)

    server, reader, writer = await pair(streams, serve)
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go ahead\n"
    await writer.start_tls(client_context(), server_hostname="localhost")
    assert isinstance(writer.get_extra_info("ssl_object"), ssl.SSLObject)
    writer.write(b"secret\n")
    assert await reader.readline() == b"SECRET\n"
    await close(server, writer)


async def test_tls(streams: Any) -> None:
    server = await streams.start_server(upper, "127.0.0.1", 0, ssl=server_context())
    address = server.sockets[0].getsockname()
    reader, writer = await streams.open_connection(*address, ssl=client_context(), server_hostname="localhost")
    for size in (1, 100, 60_000):
        writer.write(b"x" * size + b"\n")
        await writer.drain()
        assert await reader.readexactly(size + 1) == b"X" * size + b"\n"
    assert not writer.can_write_eof()
    await close(server, writer)


async def test_a_writer_that_is_forgotten(streams: Any) -> None:
    """It is closed, with a ResourceWarning that shows it; asyncio has this from 3.11.5 on."""
    server, reader, writer = await pair(streams, upper)
    transport = writer.transport
    if hasattr(asyncio.StreamReaderProtocol, "_replace_writer"):
        transport.get_protocol()._stream_writer = None  # what held a server's writer until 3.13
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del writer
        gc.collect()
    (warning,) = [one for one in caught if "StreamWriter" in str(one.message)]
    assert issubclass(warning.category, ResourceWarning)
    assert re.match("unclosed <StreamWriter transport=.* reader=<StreamReader ", str(warning.message))
    assert transport.is_closing()
    server.close()
    await reader.read()


@pytest.mark.edgeloop_only
def test_the_program_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "upper.py").write_text(program("upper.py", ROOT / "docs" / "streams.md"))
    done = subprocess.run([sys.executable, tmp_path / "upper.py"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("b'HELLO\\n'\n", "")
