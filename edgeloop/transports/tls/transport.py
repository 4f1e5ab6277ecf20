"""The transport an application holds when its connection is encrypted.

It has no behaviour of its own: TLSProtocol is the engine, this is the asyncio transport in front of it.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...kernel import interpreter

if TYPE_CHECKING:
    from .protocol import TLSProtocol


class SSLTransport(asyncio.Transport):
    """What ``transport.__class__`` answers, so that ``isinstance(transport, asyncio.Transport)`` is true.

    A compiled class can't inherit from asyncio.Transport. The name has "SSL" in it because programs, and CPython's own
    tests, look for that to tell an encrypted transport from a plain one.
    """

    __slots__ = ()


class TLSTransport:
    """An asyncio.Transport whose bytes are encrypted on the way to a lower transport.

    See https://docs.python.org/3/library/asyncio-protocol.html#transports; what follows says only what TLS adds.
    ``get_extra_info`` knows 'sslcontext', and once the handshake is done 'ssl_object', 'peercert', 'cipher' and
    'compression'; every other name is asked of the lower transport.
    """

    # start_tls() asks for this by name, in asyncio, here and in aiohttp: it is how a transport says TLS can go on top.
    _start_tls_compatible = True

    def __init__(self, tls_protocol: TLSProtocol) -> None:
        interpreter.attributes_on_demand(self)
        self._ssl_protocol = tls_protocol

    @property  # type: ignore[misc]
    def __class__(self) -> type[asyncio.Transport]:  # type: ignore[override]
        return SSLTransport

    @property
    def _sslcontext(self) -> ssl.SSLContext:
        # Where aiohttp's tests look for it on a loop that isn't asyncio's.
        context: ssl.SSLContext = self.get_extra_info("sslcontext")
        return context

    def __repr__(self) -> str:
        return f"<TLSTransport {self._ssl_protocol.describe()}>"

    def __del__(self) -> None:
        # Also runs when __init__ failed, for instance on a wrong timeout: then there is no protocol to ask.
        protocol = getattr(self, "_ssl_protocol", None)
        if protocol is not None and protocol.is_unclosed():
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._ssl_protocol.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._ssl_protocol.set_app_protocol(protocol)

    def get_protocol(self) -> Any:
        return self._ssl_protocol.get_app_protocol()

    def is_closing(self) -> bool:
        """Whether this transport, or the one below it, is closing or closed."""
        return self._ssl_protocol.is_closing()

    def close(self) -> None:
        """Stop reading at once, send what was written before, then close_notify, and close the lower transport.

        The peer's answering close_notify is awaited for at most ``ssl_shutdown_timeout`` seconds; what it still sends
        before that is thrown away, and if it is more than what can have been under way, it is not awaited at all.
        """
        self._ssl_protocol.close()

    def abort(self) -> None:
        """Close at once: what is unsent is lost, and no close_notify goes out."""
        self._ssl_protocol.abort()

    def is_reading(self) -> bool:
        return self._ssl_protocol.is_reading()

    def pause_reading(self) -> None:
        self._ssl_protocol.pause_reading()

    def resume_reading(self) -> None:
        self._ssl_protocol.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send ``data``; never blocks.

        Raises TypeError if ``data`` isn't bytes-like. After the transport has closed, data is dropped, and from the
        fifth time on a warning is logged.
        """
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
        if data:
            self._ssl_protocol.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write each item in turn; small ones share a TLS record. Raises TypeError before anything is written."""
        items = list(list_of_data)
        for data in items:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
        self._ssl_protocol.writelines(items)

    def can_write_eof(self) -> bool:
        """False: asyncio has no half-closed TLS connections."""
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a TLS transport has no write_eof()")

    def get_write_buffer_size(self) -> int:
        """Bytes, encrypted or not, that the lower transport hasn't taken yet."""
        return self._ssl_protocol.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._ssl_protocol.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes, for pause_writing() (above ``high``) and resume_writing() (at ``low`` or below).

        The defaults are 512 KiB and a quarter of ``high``. Raises ValueError unless high >= low >= 0.
        """
        self._ssl_protocol.set_write_buffer_limits(high, low)
