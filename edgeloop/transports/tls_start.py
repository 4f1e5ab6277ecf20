"""Putting TLS on a connection that is already there."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from .tls import TLSProtocol

if TYPE_CHECKING:
    from .tls_transport import TLSTransport


async def start_tls(
    loop: asyncio.AbstractEventLoop,
    transport: asyncio.WriteTransport,
    protocol: asyncio.BaseProtocol,
    sslcontext: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> TLSTransport | None:
    """Upgrade ``transport`` to TLS and return the transport that ``protocol`` should use from now on.

    None if ``transport`` has just been closed, as asyncio does; a ConnectionAbortedError if that was a while ago.

    ``transport`` is one that create_connection(), create_server() or start_tls() itself gave; timeouts are in seconds.
    Raises TypeError for anything but an SSLContext or for a transport that TLS can't go on top of, ValueError for a
    timeout that isn't positive; ssl.SSLError or a ConnectionError when the handshake fails, ``transport`` being closed
    by then.

    Source: https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.start_tls
    """
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")

    # Its connection_lost(None) is on its way, and says nothing of an error. A transport that is lost has no protocol.
    ending = transport.is_closing() and transport.get_protocol() is not None
    waiter = loop.create_future()
    tls = TLSProtocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side,
        server_hostname,
        call_connection_made=False,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )
    # The peer may already be in its handshake: nothing may arrive before connection_made.
    transport.pause_reading()  # type: ignore[attr-defined]
    if server_side and isinstance(protocol, asyncio.StreamReaderProtocol):
        tls.feed_early_data(_take_unread(protocol))
    transport.set_protocol(tls)  # type: ignore[arg-type]
    # In a turn of their own, so that a caller that is cancelled right away finds nothing started.
    start = loop.call_soon(tls.connection_made, transport)
    resume = loop.call_soon(transport.resume_reading)  # type: ignore[attr-defined]
    try:
        await waiter
    except BaseException as exc:
        transport.close()
        start.cancel()
        resume.cancel()
        if ending and isinstance(exc, ConnectionAbortedError):
            return None
        raise
    finally:
        # The exception's traceback holds this frame, and the frame the future that holds the exception.
        del waiter
    upgraded: TLSTransport = tls.app_transport
    return upgraded


def _take_unread(protocol: asyncio.StreamReaderProtocol) -> bytes:
    """What a client sent ahead of its turn: its handshake, sitting in the stream reader of the plain connection.

    Follows https://github.com/python/cpython/issues/142352.
    """
    reader = getattr(protocol, "_stream_reader", None)
    buffered: bytearray | None = getattr(reader, "_buffer", None)
    if not buffered:
        return b""
    unread = bytes(buffered)
    buffered.clear()
    return unread
