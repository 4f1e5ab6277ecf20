"""Putting TLS on a connection that is already there."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ... import stdlib
from .transport import TLSTransport

# How a record of the handshake begins: its type and the first half of the version (RFC 8446, section 5.1).
_HANDSHAKE = b"\x16\x03"


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
    upgraded = TLSTransport(
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
    if isinstance(protocol, asyncio.StreamReaderProtocol) and not transport.is_closing():
        reader = getattr(protocol, "_stream_reader", None)
        if reader is not None:
            _take_over(reader, upgraded, server_side)
    tls = upgraded._ssl_protocol
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
    return upgraded if upgraded.get_protocol() is not None else None  # lost meanwhile


def _take_over(reader: Any, upgraded: TLSTransport, server_side: bool) -> None:
    """Give the reader of the plain connection to the encrypted one, without what it has not read.

    A client that did not wait for its turn has sent its handshake already: that is the encrypted connection's, see
    https://github.com/python/cpython/issues/142352. Everything else came unprotected, from whoever was in between, and must
    not be read as if it had come encrypted (RFC 3207, section 4.2): it is dropped.
    """
    change_transport = getattr(reader, "_change_transport", None)
    if change_transport is not None:
        unread: bytes = change_transport(upgraded)
    else:
        unread = bytes(reader._buffer)
        reader._buffer.clear()
        if reader._transport is not None:  # else connection_made is still to be called, and sets it
            reader._transport = upgraded  # it would go on pausing the plain one, and the close_notify never be read
            reader._paused = False
    if server_side and _HANDSHAKE in unread:
        upgraded._ssl_protocol.feed_early_data(unread)  # with something before it, it fails, and there is an end
    elif unread:
        stdlib.logger().warning("start_tls() drops %d bytes that were received before it and not read", len(unread))
