"""asyncio's selector loop as its own later releases have it: the faults of older ones would hide what comes after them."""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import asyncio.sslproto
import asyncio.unix_events
import logging
from collections.abc import Iterable
from typing import Any

LOG_THRESHOLD = 5
SocketTransport: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
SelectorTransport: Any = asyncio.selector_events._SelectorTransport  # type: ignore[attr-defined]
DatagramTransport: Any = asyncio.selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]
WritePipe: Any = asyncio.unix_events._UnixWritePipeTransport  # type: ignore[attr-defined]
Server: Any = asyncio.Server
TLSTransport: Any = asyncio.sslproto._SSLProtocolTransport


def mend() -> None:
    """Replace what has been mended since, or leaves a transport busy for ever."""
    SocketTransport.close = mended_socket_close(SocketTransport.close)
    SocketTransport.write = mended_write(SocketTransport.write)
    SocketTransport.writelines = mended_writelines(SocketTransport.writelines)
    WritePipe.abort = mended_abort(WritePipe.abort)
    WritePipe._call_connection_lost = mended_end_of_pipe(WritePipe._call_connection_lost)
    TLSTransport.close = mended_close(TLSTransport.close)
    DatagramTransport.sendto = mended_sendto(DatagramTransport.sendto)
    Server._start_serving = mended_start_serving(Server._start_serving)
    SelectorTransport._call_connection_lost = mended_call_connection_lost(SelectorTransport._call_connection_lost)


def mend_streams() -> None:
    """Of asyncio's streams on any loop: who is woken forgets who has begun to wait meanwhile, and that one waits for ever."""

    async def wait_for_data(self: Any, name: str) -> None:
        if self._waiter is not None:
            raise RuntimeError(f"{name}() called while another coroutine is already waiting for incoming data")
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None

    StreamReader: Any = asyncio.StreamReader
    StreamReader._wait_for_data = wait_for_data


def mended_write(original: Any) -> Any:
    """Of a memoryview whose items are no bytes, the rest that the kernel did not take is counted in items: IndexError."""

    def write(self: Any, data: Any) -> None:
        original(self, data.cast("B") if isinstance(data, memoryview) and data.nbytes else data)

    return write


def mended_writelines(original: Any) -> Any:
    """writelines that pauses the protocol, and knows of transports that close or are lost.

    3.12.1 and 3.13.0 don't pause, and raise AttributeError or TypeError then. An empty last part stays in the buffer for good.
    From 3.12 on it tries to send though something waits, as write never does: an error comes earlier.
    """

    def writelines(self: Any, list_of_data: Iterable[Any]) -> None:
        if self._eof or self._empty_waiter is not None:
            original(self, list_of_data)
        given = [memoryview(data) for data in list_of_data]
        parts = [data for data in given if len(data)]
        if self._conn_lost and given:
            if self._conn_lost >= LOG_THRESHOLD:
                logging.getLogger("asyncio").warning("socket.send() raised exception.")
            self._conn_lost += 1
        elif not parts:
            return
        elif self._buffer or getattr(self, "_write_ready", None) is None:  # set to None by close
            self._buffer.extend(parts)
            self._maybe_pause_protocol()
        else:
            original(self, parts)
            if not self._conn_lost:
                self._maybe_pause_protocol()

    return writelines


def mended_socket_close(original: Any) -> Any:
    """A transport that closes forgets its callback: what resume_writing writes then has the loop call None, for ever."""

    def close(self: Any) -> None:
        write_ready = getattr(self, "_write_ready", None)
        original(self)
        if write_ready is not None:
            self._write_ready = write_ready

    return close


def mended_call_connection_lost(original: Any) -> Any:
    """A transport that closes when its buffer is empty forgets to count that: later calls raise AttributeError.

    Closed in resume_writing, it ends twice.
    """

    def call_connection_lost(self: Any, exc: Exception | None) -> None:
        self._conn_lost = self._conn_lost or 1
        if self._sock is not None:
            original(self, exc)

    return call_connection_lost


def mended_sendto(original: Any) -> Any:
    """A transport of one peer drops what is sent after the end; the others raise AttributeError, or send it."""

    def sendto(self: Any, data: Any, addr: Any = None) -> None:
        address = self._address
        if self._conn_lost and not address:
            self._address = addr = addr or ("nobody", 0)
        try:
            original(self, data, addr)
        finally:
            self._address = address

    return sendto


def mended_start_serving(original: Any) -> Any:
    """A closed server that was asked to serve raises TypeError, but says that it serves, and the next time it returns."""

    def start_serving(self: Any) -> None:
        if self._sockets is None:
            raise TypeError
        original(self)

    return start_serving


def mended_abort(original: Any) -> Any:
    """abort of a pipe that is closed raises TypeError."""

    def abort(self: Any) -> None:
        if self._loop is not None:
            original(self)

    return abort


def mended_end_of_pipe(original: Any) -> Any:
    """abort of a pipe that is being closed, or in connection_lost, ends it twice."""

    def call_connection_lost(self: Any, exc: Exception | None) -> None:
        if self._protocol is not None:
            original(self, exc)

    return call_connection_lost


def mended_close(original: Any) -> Any:
    """A TLS transport that is closed again forgets its connection: later calls raise AttributeError."""

    def close(self: Any) -> None:
        if not self._closed:
            original(self)

    return close
