"""Clients: TCP and Unix connections, and sockets that were accepted elsewhere. asyncio doc: Opening network connections."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from .. import stdlib
from ..kernel.connection_socket import new_socket
from ..transports.stream import StreamTransport
from ..transports.tls.start import start_tls
from ..transports.tls.transport import TLSTransport
from .resolver import AddressInfo
from .sockcalls import SocketCalls, check_not_tls

ProtocolFactory = Callable[[], asyncio.BaseProtocol]
Connection = tuple[asyncio.Transport, asyncio.BaseProtocol]


def check_tls_arguments(ssl: Any, handshake: float | None, shutdown: float | None) -> None:
    """Raise ValueError for a TLS time limit without TLS, TypeError for what is no context: before the connection is made."""
    if ssl and not isinstance(ssl, bool) and not hasattr(ssl, "wrap_bio"):
        raise TypeError(f"ssl argument must be an SSLContext, a bool or None, got {ssl!r}")
    if not ssl:
        if handshake is not None:
            raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
        if shutdown is not None:
            raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def _alternate_families(infos: Iterable[AddressInfo], first_count: int) -> list[AddressInfo]:
    # RFC 8305, section 4: the families take turns, after first_count addresses of the first one.
    families: dict[int, list[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    first, *others = families.values()
    lead = first[: first_count - 1]
    rounds = itertools.zip_longest(first[first_count - 1 :], *others)
    return lead + [info for one_round in rounds for info in one_round if info is not None]


def _failure(errors: list[OSError], all_errors: bool) -> BaseException:
    # The exception for a host of which no address was reached.
    if not errors:
        return TimeoutError("create_connection failed")  # the race ended before any attempt had failed
    if all_errors:
        return ExceptionGroup("create_connection failed", errors)
    if all(str(error) == str(errors[0]) for error in errors):
        return errors[0]
    return OSError("Multiple exceptions: {}".format(", ".join(str(error) for error in errors)))


def _bind_local(sock: socket.socket, family: int, candidates: list[AddressInfo]) -> None:
    error: OSError | None = None
    for info in candidates:
        if info[0] != family:
            continue
        try:
            sock.bind(info[4])
            return
        except OSError as exc:
            text = f"error while attempting to bind on address {info[4]!r}: {(exc.strerror or str(exc)).lower()}"
            error = OSError(exc.errno, text)
    raise error or OSError(f"no matching local address with family={family!r} found")


async def _lookup(
    loop: SocketCalls, address: tuple[Any, ...], family: int, proto: int, flags: int
) -> list[AddressInfo]:
    infos = await loop._resolve(address, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags)
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


async def _connect_first(
    loop: SocketCalls,
    found: list[AddressInfo],
    local: list[AddressInfo] | None,
    delay: float | None,
    all_errors: bool,
) -> socket.socket:
    errors: list[OSError] = []
    sock: socket.socket | None = None
    connected: list[socket.socket] = []
    try:
        if delay is None:
            for info in found:
                try:
                    sock = await _connect_one(loop, errors, info, local)
                    break
                except OSError:
                    continue
        else:

            async def attempt(info: AddressInfo, errors: list[OSError]) -> socket.socket:
                connected.append(await _connect_one(loop, errors, info, local))
                return connected[-1]

            attempts = (functools.partial(attempt, info, errors) for info in found)
            sock = (await stdlib.staggered_race(attempts, delay, loop=loop))[0]
        if sock is None:
            raise _failure(errors, all_errors)
        return sock
    except BaseException:
        sock = None
        raise
    finally:
        for other in connected:  # one that lost the race, or won it when it was cancelled
            if other is not sock:
                loop._close_connecting(other)
        del errors  # their tracebacks refer to this frame


async def _connect_one(
    loop: SocketCalls, errors: list[OSError], info: AddressInfo, local: list[AddressInfo] | None
) -> socket.socket:
    family, kind, proto, _, address = info
    sock: socket.socket | None = None
    try:
        sock = new_socket(family, kind, proto)
        sock.setblocking(False)
        if local is not None:
            _bind_local(sock, family, local)
        await loop.sock_connect(sock, address)
        return sock
    except OSError as exc:
        errors.append(exc)
        if sock is not None:
            loop._close_connecting(sock)
        raise
    except BaseException:
        if sock is not None:
            loop._close_connecting(sock)
        raise
    finally:
        del errors


async def _connected(
    loop: SocketCalls,
    sock: socket.socket,
    protocol_factory: ProtocolFactory,
    ssl: Any,
    server_hostname: str | None,
    server_side: bool,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    is_ours: bool,
) -> Connection:
    """Give a connected socket its protocol and transport, and wait for ``connection_made``, with TLS for the handshake.

    If no transport comes of it, a socket that the loop made is closed, and one that was given stays its owner's.
    """
    try:
        sock.setblocking(False)
        protocol = protocol_factory()
        waiter = loop.create_future()
        if ssl:
            transport: Any = TLSTransport(
                loop,  # type: ignore[arg-type]
                protocol,
                None if isinstance(ssl, bool) else ssl,
                waiter,
                server_side,
                server_hostname,
                ssl_handshake_timeout=handshake_timeout,
                ssl_shutdown_timeout=shutdown_timeout,
            )
            _stream_transport(loop, sock, transport._ssl_protocol, None)
        else:
            transport = _stream_transport(loop, sock, protocol, waiter)
    except BaseException:
        if is_ours:
            sock.close()
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    finally:
        # The exception's traceback holds this frame, and the frame holds the future that holds the exception.
        del waiter
    return transport, protocol


def _stream_transport(
    loop: SocketCalls, sock: socket.socket, protocol: asyncio.BaseProtocol, waiter: asyncio.Future[None] | None
) -> asyncio.Transport:
    """Make the transport of a connected socket; the next turn calls ``connection_made`` and resolves the waiter."""
    fd = sock.fileno()
    loop._check_not_a_transport(fd)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # As asyncio does: small writes leave at once, tcp(7).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        peername = sock.getpeername()
    except OSError:
        peername = None  # ENOTCONN: the peer has gone already
    context = contextvars.copy_context()
    transport = StreamTransport(loop, fd, sock, protocol, context, peername)
    loop.call_soon(transport.begin, waiter, context=context)
    return transport  # type: ignore[return-value]


class Connections(SocketCalls):
    """Clients, as a mixin of EventLoop. A socket that it makes is its own until a transport has it."""

    async def create_connection(
        self,
        protocol_factory: ProtocolFactory,
        host: str | bytes | None = None,
        port: str | int | None = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> Connection:
        """Connect to ``host`` and ``port``, or take a connected ``sock``; return the transport and the protocol.

        With ``happy_eyeballs_delay`` (seconds; RFC 8305 recommends 0.25) the next address is tried after that time though
        the one before may still answer. Raises OSError, with ``all_errors`` (Python 3.12+) an ExceptionGroup with one for
        each address.
        """
        stdlib.since((3, 12), "create_connection", "all_errors", all_errors)
        if server_hostname is not None and not ssl:
            raise ValueError("server_hostname is only meaningful with ssl")
        if server_hostname is None and ssl:
            if not host:
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = host.decode("ascii") if isinstance(host, bytes) else host
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_not_tls(sock)
        is_ours = sock is None
        if happy_eyeballs_delay is not None and interleave is None:
            interleave = 1
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            found = await _lookup(self, (host, port), family, proto, flags)
            local = None if local_addr is None else await _lookup(self, local_addr, family, proto, flags)
            if interleave:
                found = _alternate_families(found, interleave)
            sock = await _connect_first(self, found, local, happy_eyeballs_delay, all_errors)
        elif sock is None:
            raise ValueError("host and port was not specified and no sock specified")
        elif sock.type != socket.SOCK_STREAM:
            raise ValueError(f"A Stream Socket was expected, got {sock!r}")
        transport, protocol = await _connected(
            self,
            sock,
            protocol_factory,
            ssl,
            server_hostname,
            False,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            is_ours,
        )
        if self._debug:
            stdlib.logger().debug(
                "%r connected to %s:%r: (%r, %r)", transport.get_extra_info("socket"), host, port, transport, protocol
            )
        return transport, protocol

    async def create_unix_connection(
        self,
        protocol_factory: ProtocolFactory,
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Connection:
        """Connect to a Unix socket by ``path``, or take a connected ``sock``; return the transport and the protocol.

        Waits while the peer's backlog is full, as ``sock_connect`` does.
        """
        if ssl and server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
        if not ssl and server_hostname is not None:
            raise ValueError("server_hostname is only meaningful with ssl")
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        is_ours = sock is None
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            path = os.fspath(path)
            sock = new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                await self.sock_connect(sock, path)
            except BaseException:
                self._close_connecting(sock)
                raise
        elif sock is None:
            raise ValueError("no path and sock were specified")
        elif sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
            raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
        return await _connected(
            self,
            sock,
            protocol_factory,
            ssl,
            server_hostname,
            False,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            is_ours,
        )

    async def connect_accepted_socket(
        self,
        protocol_factory: ProtocolFactory,
        sock: socket.socket,
        *,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Connection:
        """Take over a connection that was accepted elsewhere; return the transport and the protocol."""
        if sock.type != socket.SOCK_STREAM:
            raise ValueError(f"A Stream Socket was expected, got {sock!r}")
        check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        check_not_tls(sock)
        transport, protocol = await _connected(
            self, sock, protocol_factory, ssl, "", True, ssl_handshake_timeout, ssl_shutdown_timeout, False
        )
        if self._debug:
            stdlib.logger().debug("%r handled: (%r, %r)", transport.get_extra_info("socket"), transport, protocol)
        return transport, protocol

    async def start_tls(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Put TLS on a connection, and return the transport that ``protocol`` uses from now on.

        TypeError for a transport that can't carry TLS or for anything but an SSLContext; ssl.SSLError or a
        ConnectionError when the handshake fails, and the connection is closed then. Timeouts in seconds.
        """
        return await start_tls(  # type: ignore[return-value]
            self,  # type: ignore[arg-type]
            transport,
            protocol,
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
