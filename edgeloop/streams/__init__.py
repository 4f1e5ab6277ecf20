"""Streams: asyncio's ``start_server`` and ``open_connection`` with a compiled reader and writer. asyncio doc: Streams.

The classes are subclasses of asyncio's, and all that is not defined here or in cores.py is asyncio's, of the running
Python. Cython compiles cores.py, the code that runs for each read and each write. The coroutines here are Python's own, so
that tracebacks, debuggers and task monitors show them as usual.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from .cores import DEFAULT_LIMIT, ProtocolCore, ReaderCore, WriterCore

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
]

Connected = Callable[["StreamReader", "StreamWriter"], Awaitable[None] | None]

# Until 3.13 the protocol of a server's connection holds the writer, which then can't be collected unclosed.
_HOLDS_WRITER = hasattr(asyncio.StreamReaderProtocol, "_replace_writer")
# From 3.14 on what a plain client_connected_cb raises is reported, and its connection closed, as with a coroutine.
_REPORTS_PLAIN_CALLBACKS = sys.version_info >= (3, 14)


class StreamReader(ReaderCore, asyncio.StreamReader):  # type: ignore[misc]  # typeshed has more types for feed_data
    """asyncio.StreamReader. asyncio doc: StreamReader."""

    # Each waits in its own frame: a coroutine for that would cost a tenth of a small request.

    async def read(self, n: int = -1) -> bytes:
        """Return at most ``n`` bytes as soon as one is there, ``b""`` at the end. With -1 return all until the end."""
        data = self._some(n)
        if data is not None:
            return data
        if n < 0:
            blocks = []
            while block := await self.read(self._limit):
                blocks.append(block)
            return b"".join(blocks)
        waiter = self._arrival("read")
        try:
            await waiter
        except BaseException:
            self._gave_up(waiter)
            raise
        return self._rest(n)

    async def readexactly(self, n: int) -> bytes:
        """Return exactly ``n`` bytes. asyncio.IncompleteReadError if the end comes first, ValueError for a negative number."""
        data = self._exactly(n, False)
        while data is None:
            waiter = self._arrival("readexactly")
            try:
                await waiter
            except BaseException:
                self._gave_up(waiter)
                raise
            data = self._exactly(n, True)
        return data

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        """Return all up to the separator and with it (3.13+: or the first of a tuple of them).

        asyncio.IncompleteReadError if the end comes first, LimitOverrunError if the limit does; ValueError for an empty
        separator.
        """
        found: Any = self._until(separator, 0, False)
        while type(found) is int:
            waiter = self._arrival("readuntil")
            try:
                await waiter
            except BaseException:
                self._gave_up(waiter)
                raise
            found = self._until(separator, found, True)
        return found  # type: ignore[no-any-return]

    async def readline(self) -> bytes:
        """Return a line with its ``b"\\n"``, without if the end comes first, ``b""`` at the end. ValueError over the limit."""
        try:
            found: Any = self._until(b"\n", 0, False)
            while type(found) is int:
                waiter = self._arrival("readuntil")
                try:
                    await waiter
                except BaseException:
                    self._gave_up(waiter)
                    raise
                found = self._until(b"\n", found, True)
            return found  # type: ignore[no-any-return]
        except asyncio.IncompleteReadError as exc:
            return exc.partial
        except asyncio.LimitOverrunError as exc:
            self._drop_line(exc.consumed, b"\n")
            raise ValueError(exc.args[0])  # noqa: B904  # asyncio chains it too


class StreamWriter(WriterCore, asyncio.StreamWriter):
    """asyncio.StreamWriter. asyncio doc: StreamWriter."""

    async def drain(self) -> None:
        """Wait while the write buffer is full; raise what ended the connection, or ConnectionResetError."""
        if not self._drained():
            await super().drain()


class StreamReaderProtocol(ProtocolCore, asyncio.StreamReaderProtocol):
    """asyncio.StreamReaderProtocol: what a transport calls to feed a StreamReader."""

    # asyncio's own names, which typeshed keeps to itself.
    _client_connected_cb: Any
    _loop: Any
    _reject_connection: bool
    _stream_reader: Any

    def connection_made(self, transport: Any) -> None:
        """asyncio doc: BaseProtocol.connection_made."""
        connected = self._client_connected_cb
        if self._reject_connection or connected is None:
            super().connection_made(transport)
            return
        loop = self._loop
        reader = self._stream_reader
        self._transport = transport
        if reader is not None:
            reader.set_transport(transport)
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        writer = StreamWriter(transport, self, reader, loop)
        if _HOLDS_WRITER:
            self._stream_writer = writer
        self._strong_reader = None

        def report(exc: BaseException) -> None:
            loop.call_exception_handler(
                {"message": "Unhandled exception in client_connected_cb", "exception": exc, "transport": transport}
            )
            transport.close()

        def ended(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                transport.close()
            elif (exc := task.exception()) is not None:
                report(exc)

        try:
            conversation = connected(reader, writer)
        except Exception as exc:
            if not _REPORTS_PLAIN_CALLBACKS:
                raise
            report(exc)
            return
        if asyncio.iscoroutine(conversation):
            self._task = loop.create_task(conversation)
            self._task.add_done_callback(ended)


async def open_connection(
    host: Any = None, port: Any = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connect to ``host`` and ``port``; return a reader and a writer. asyncio doc: open_connection.

    ``limit`` is the reader's, in bytes: it holds up to twice as many, and a line may not be longer. Everything else, ``kwds``,
    goes to ``loop.create_connection``: ``ssl``, ``server_hostname``, ``sock`` and so on. Raises OSError if nobody answers,
    ssl.SSLError if the handshake fails, RuntimeError where no loop runs.
    """
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit, loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def open_unix_connection(
    path: Any = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """``open_connection`` to the Unix socket at ``path``. asyncio doc: open_unix_connection.

    ``limit`` as there; ``kwds`` go to ``loop.create_unix_connection``. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit, loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: Connected,
    host: Any = None,
    port: Any = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Listen, and call ``client_connected_cb(reader, writer)`` for each connection. asyncio doc: start_server.

    A coroutine function runs in a task of its own, a plain function in ``connection_made``. ``host`` is a name, several, or
    None for all interfaces; with ``port=0`` the kernel chooses. ``limit`` is the readers', in bytes. Everything else,
    ``kwds``, goes to ``loop.create_server``: ``ssl``, ``backlog``, ``max_connections`` and so on. Raises OSError if it can't
    listen there, TypeError and ValueError, which name the argument, for a limit that is none.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(_factory(client_connected_cb, limit, loop), host, port, **kwds)


async def start_unix_server(
    client_connected_cb: Connected, path: Any = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
) -> asyncio.Server:
    """``start_server`` on the Unix socket ``path``, for each connection to which it calls ``client_connected_cb``.

    ``limit`` as there; ``kwds`` go to ``loop.create_unix_server``. Raises as there. asyncio doc: start_unix_server.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(_factory(client_connected_cb, limit, loop), path, **kwds)


def _factory(connected: Any, limit: int, loop: asyncio.AbstractEventLoop) -> Callable[[], StreamReaderProtocol]:
    def factory() -> StreamReaderProtocol:
        return StreamReaderProtocol(StreamReader(limit, loop), connected, loop)

    return factory
