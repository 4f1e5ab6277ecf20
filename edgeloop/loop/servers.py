"""Servers: listening TCP and Unix sockets. asyncio doc: Creating network servers."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .. import stdlib
from ..serving.listener import Connect, SpareDescriptor
from ..serving.server import Server
from ..transports.stream import StreamTransport
from ..transports.tls.admission import HandshakeLimiter
from ..transports.tls.protocol import TLSProtocol, check_timeouts
from .connections import Connections, ProtocolFactory, check_tls_timeouts
from .resolver import AddressInfo
from .sockcalls import check_not_tls

# asyncio removes the path of a Unix server with the server from 3.13 on.
_CLEANS_UP = sys.version_info >= (3, 13)

# Bound at import: what watches for blocking calls, such as blockbuster in the suites of aiohttp and Starlette, replaces
# these in os, and knows by asyncio's file names that a loop may make them.
_stat, _unlink = os.stat, os.unlink


def _check_tls_context(ssl: Any, handshake: float | None, shutdown: float | None) -> None:
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    check_tls_timeouts(ssl, handshake, shutdown)


def _bind(info: AddressInfo, reuse_address: bool, reuse_port: bool, keep_alive: bool) -> socket.socket | None:
    # A bound socket; None if this machine lacks the family or the address.
    family, kind, proto, _, address = info
    try:
        sock = socket.socket(family, kind, proto)
    except OSError as exc:
        stdlib.logger().debug(
            "create_server() failed to create socket.socket(%r, %r, %r): %s", family, kind, proto, exc
        )
        return None
    try:
        sock.setblocking(False)
        if reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        if keep_alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        if family == socket.AF_INET6:
            # ipv6(7): or it would take the IPv4 port as well, for which there is a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        text = f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
        if exc.errno == errno.EADDRNOTAVAIL:
            stdlib.logger().debug(text)
            return None
        raise OSError(exc.errno, text) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_path(path: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path[0] not in (0, "\x00"):  # an abstract name has no file
            try:
                if stat.S_ISSOCK(_stat(path).st_mode):
                    _unlink(path)  # of a server that is no more
            except FileNotFoundError:
                pass
            except OSError as exc:
                stdlib.logger().error("Unable to check or remove stale UNIX socket %r: %r", path, exc)
        sock.bind(path)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"Address {path!r} is already in use") from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock


def _unlinker(sock: socket.socket) -> Callable[[], None] | None:
    # Removes the file of a Unix server, unless another has taken the path since.
    path = sock.getsockname()
    if not path or path[0] in (0, "\x00"):
        return None
    try:
        inode = _stat(path).st_ino
    except FileNotFoundError:
        return None

    def unlink() -> None:
        try:
            if _stat(path).st_ino == inode:
                _unlink(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            stdlib.logger().error("Unable to clean up listening UNIX socket %r: %r", path, exc)

    return unlink


class Servers(Connections):
    """Servers, as a mixin of EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._spare_descriptor = SpareDescriptor()

    async def create_server(
        self,
        protocol_factory: ProtocolFactory,
        host: str | bytes | Iterable[str] | None = None,
        port: str | int | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on every address of ``host`` (one, several, or None for all interfaces), or on a bound ``sock``.

        ``backlog`` is that of listen(2), ``reuse_port`` lets several processes share the port, ``keep_alive``
        (Python 3.13+) sets SO_KEEPALIVE on the connections. Raises OSError.
        """
        stdlib.since((3, 13), "create_server", "keep_alive", keep_alive is not None)
        _check_tls_context(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_not_tls(sock)
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            infos = await self._lookup_all(host, port, family, flags)
            sockets: list[socket.socket] = []
            try:
                for info in infos:
                    bound = _bind(info, reuse_address is None or reuse_address, bool(reuse_port), bool(keep_alive))
                    if bound is not None:
                        sockets.append(bound)
                if not sockets:
                    raise OSError(f"could not bind on any address out of {[info[4] for info in infos]!r}")
            except BaseException:
                for bound in sockets:
                    bound.close()
                raise
        elif sock is None:
            raise ValueError("Neither host/port nor sock were specified")
        elif sock.type != socket.SOCK_STREAM:
            raise ValueError(f"A Stream Socket was expected, got {sock!r}")
        else:
            sock.setblocking(False)
            sockets = [sock]
        return await self._serve(
            sockets,
            protocol_factory,
            backlog,
            ssl,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            start_serving,
            is_ours=sock is None,
        )

    async def _lookup_all(
        self, host: str | bytes | Iterable[str] | None, port: str | int | None, family: int, flags: int
    ) -> list[AddressInfo]:
        if host is None or host == "":
            hosts: list[Any] = [None]
        elif isinstance(host, (str, bytes)) or not isinstance(host, Iterable):
            hosts = [host]
        else:
            hosts = list(host)
        found = await asyncio.gather(
            *(self._resolve((name, port), family=family, type=socket.SOCK_STREAM, flags=flags) for name in hosts)
        )
        for name, infos in zip(hosts, found, strict=True):
            if not infos:
                raise OSError(f"getaddrinfo({name!r}) returned empty list")
        # One address may come from several names.
        return list(dict.fromkeys(info for infos in found for info in infos))

    async def create_unix_server(
        self,
        protocol_factory: ProtocolFactory,
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = _CLEANS_UP,
    ) -> Server:
        """Listen on a Unix socket: a file's path, an abstract name (it begins with NUL), or a bound ``sock``.

        A socket file that is there already is replaced. ``cleanup_socket`` removes it when the server closes, by
        default where the running Python's asyncio does (from 3.13 on).
        """
        _check_tls_context(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        is_ours = sock is None
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = _bind_path(os.fspath(path))
        elif sock is None:
            raise ValueError("path was not specified, and no sock specified")
        elif sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
            raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
        else:
            sock.setblocking(False)
        return await self._serve(
            [sock],
            protocol_factory,
            backlog,
            ssl,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            start_serving,
            is_ours=is_ours,
            cleanup=cleanup_socket,
        )

    async def _serve(
        self,
        sockets: list[socket.socket],
        protocol_factory: ProtocolFactory,
        backlog: int,
        ssl: Any,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
        start_serving: bool,
        *,
        is_ours: bool,
        cleanup: bool = False,
    ) -> Server:
        # If there is to be no server, sockets that the loop has made are closed, and one that was given is its owner's.
        server: Server | None = None
        try:
            unlink = _unlinker(sockets[0]) if cleanup else None
            connect = self._tls_connect(ssl, handshake_timeout, shutdown_timeout) if ssl else None
            server = Server(
                self, sockets, protocol_factory, backlog, self._spare_descriptor, connect, unlink, ssl or None
            )
            if start_serving:
                await server.start_serving()
        except BaseException:
            if server is not None:
                server._stop_listening()
            if is_ours and server is not None:
                server.close()
            elif is_ours:
                for sock in sockets:
                    sock.close()
            raise
        if self._debug:
            stdlib.logger().info("%r is serving", server)
        return server

    def _tls_connect(self, ssl: Any, handshake_timeout: float | None, shutdown_timeout: float | None) -> Connect:
        """What the listener gives an accepted connection: a transport with TLS on it, and nobody who waits for it."""
        check_timeouts(handshake_timeout, shutdown_timeout)
        handshake_limiter = HandshakeLimiter(self)  # type: ignore[arg-type]

        def connect(
            peername: Any, protocol: asyncio.BaseProtocol, context: contextvars.Context, server: Any
        ) -> StreamTransport:
            tls = TLSProtocol(
                self,  # type: ignore[arg-type]
                protocol,
                ssl,
                self._handshake_report(protocol) if self._debug else None,
                True,
                ssl_handshake_timeout=handshake_timeout,
                ssl_shutdown_timeout=shutdown_timeout,
                server=server,
                handshake_limiter=handshake_limiter,
            )
            return StreamTransport(self, -1, None, tls, context, peername)  # type: ignore[arg-type]

        return connect

    def _handshake_report(self, protocol: asyncio.BaseProtocol) -> asyncio.Future[None]:
        # Clients leave in the middle of a handshake all the time: worth telling in debug mode only, as asyncio does.
        def report(waiter: asyncio.Future[None]) -> None:
            if not waiter.cancelled() and waiter.exception() is not None:
                self.call_exception_handler(
                    {
                        "message": "Error on transport creation for incoming connection",
                        "exception": waiter.exception(),
                        "protocol": protocol,
                    }
                )

        waiter = self.create_future()
        waiter.add_done_callback(report)
        return waiter
