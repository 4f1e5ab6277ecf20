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
from typing import Any, Unpack

from .. import stdlib
from ..core.wheel import Wheel
from ..serving.limits import Limits, ServerLimits, limits_of_environment
from ..serving.listener import Connect, SpareDescriptor
from ..serving.server import Server
from ..transports.stream import StreamTransport
from ..transports.tls.handshake import check_timeouts
from ..transports.tls.handshake_limiter import HandshakeLimiter
from ..transports.tls.transport import TLSTransport
from .connections import ProtocolFactory, check_tls_arguments
from .resolver import AddressInfo, Resolver
from .sockcalls import check_not_tls

# From 3.13 on asyncio removes the socket file of a Unix server when the server closes.
_CLEANS_UP = sys.version_info >= (3, 13)

# Bound at import: tools that look for blocking calls, such as blockbuster in the suites of aiohttp and Starlette, replace
# these in os, and let asyncio's files alone call them.
_stat, _unlink = os.stat, os.unlink


def _check_tls_context(context: Any, handshake: float | None, shutdown: float | None) -> None:
    # asyncio takes a path, say, and then fails for each connection.
    if isinstance(context, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    if context is not None:
        import ssl

        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"ssl argument must be an SSLContext or None, got {context!r}")
    check_tls_arguments(context, handshake, shutdown)


def _bind(info: AddressInfo, reuse_address: bool, reuse_port: bool, keep_alive: bool) -> socket.socket | None:
    # Return a bound socket, or None if this machine lacks the family or the address.
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
            # ipv6(7): else it takes the IPv4 port as well, which has a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        text = f"error while attempting to bind on address {address!r}: {(exc.strerror or str(exc)).lower()}"
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
                    _unlink(path)  # of a server that has ended
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
    # Return what removes the file of a Unix server, unless another server has taken the path since.
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


async def _lookup_all(
    loop: Servers, host: str | bytes | Iterable[str] | None, port: str | int | None, family: int, flags: int
) -> list[AddressInfo]:
    if host is None or host == "":
        hosts: list[Any] = [None]
    elif isinstance(host, (str, bytes)) or not isinstance(host, Iterable):
        hosts = [host]
    else:
        hosts = list(host)
    found = await asyncio.gather(
        *(loop._resolve((name, port), family=family, type=socket.SOCK_STREAM, flags=flags) for name in hosts)
    )
    for name, infos in zip(hosts, found, strict=True):
        if not infos:
            raise OSError(f"getaddrinfo({name!r}) returned empty list")
    # One address may come from several names.
    return list(dict.fromkeys(info for infos in found for info in infos))


async def _serve(
    loop: Servers,
    sockets: list[socket.socket],
    protocol_factory: ProtocolFactory,
    backlog: int,
    ssl: Any,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    start_serving: bool,
    limits: Limits,
    *,
    is_ours: bool,
    cleanup: bool = False,
) -> Server:
    # If no server comes of it, sockets that the loop made are closed, and one that was given stays its owner's.
    server: Server | None = None
    try:
        unlink = _unlinker(sockets[0]) if cleanup else None
        connect = _tls_connect(loop, handshake_timeout, shutdown_timeout) if ssl else None
        server = Server(
            loop,
            sockets,
            protocol_factory,
            backlog,
            loop._spare_descriptor,
            connect,
            unlink,
            ssl or None,
            limits,
            is_ours,
            loop._deadline_wheel,
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
    if loop._debug:
        stdlib.logger().info("%r is serving", server)
    return server


def _tls_connect(loop: Servers, handshake_timeout: float | None, shutdown_timeout: float | None) -> Connect:
    """Return the function that makes the TLS transport of an accepted connection, with the server's context of that time."""
    check_timeouts(handshake_timeout, shutdown_timeout)
    limiter = HandshakeLimiter(loop)  # type: ignore[arg-type]

    def connect(
        peername: Any, protocol: asyncio.BaseProtocol, context: contextvars.Context, server: Any
    ) -> StreamTransport:
        tls = TLSTransport(
            loop,  # type: ignore[arg-type]
            protocol,
            server._ssl_context,
            _handshake_report(loop, protocol) if loop._debug else None,
            True,
            ssl_handshake_timeout=handshake_timeout,
            ssl_shutdown_timeout=shutdown_timeout,
            server=server,
            limiter=limiter,
        )
        return StreamTransport(loop, -1, None, tls._ssl_protocol, context, peername, server)  # type: ignore[arg-type]

    return connect


def _handshake_report(loop: Servers, protocol: asyncio.BaseProtocol) -> asyncio.Future[None]:
    # Clients often leave in the middle of a handshake: reported in debug mode only, as asyncio does.
    def report(waiter: asyncio.Future[None]) -> None:
        if not waiter.cancelled() and waiter.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "Error on transport creation for incoming connection",
                    "exception": waiter.exception(),
                    "protocol": protocol,
                }
            )

    waiter = loop.create_future()
    waiter.add_done_callback(report)
    return waiter


class Servers(Resolver):
    """Servers, as a mixin of EventLoop. Its listening sockets are its own until a Server has them."""

    def __init__(self) -> None:
        super().__init__()
        self._spare_descriptor = SpareDescriptor()
        self._wheel: Wheel | None = None  # by _deadline_wheel, once a server has a timeout or a rate
        self._server_limits: Limits | None = None  # of servers made from now on; None: the environment is not read yet

    def set_server_limits(self, **limits: Unpack[ServerLimits]) -> None:
        """Set the limits of servers that are made from now on: for frameworks that don't pass keyword arguments on.

        A name that isn't given stays as it is: as the environment has it, if it was never set. The arguments are those of
        ``create_server``. Raises TypeError and ValueError, which name the argument.
        """
        self._server_limits = self._default_limits().changed(limits, "set_server_limits")

    def _deadline_wheel(self) -> Wheel:
        if self._wheel is None:
            self._wheel = Wheel(self)
        return self._wheel

    def _default_limits(self) -> Limits:
        if self._server_limits is None:
            self._server_limits = limits_of_environment()
        return self._server_limits

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
        **limits: Unpack[ServerLimits],
    ) -> Server:
        """Listen on every address of ``host`` (one name, several, or None for all interfaces), or on a bound ``sock``.

        ``protocol_factory`` is called for each connection. With ``port=0`` the kernel chooses. ``family`` and ``flags`` are
        those of getaddrinfo(3), ``backlog`` that of listen(2). ``reuse_address`` (on by default) binds a port though
        connections of a former server linger, ``reuse_port`` lets several processes share it, ``keep_alive`` (Python
        3.13+) sets SO_KEEPALIVE on the connections. ``ssl`` is an SSLContext; ``ssl_handshake_timeout`` (60) and
        ``ssl_shutdown_timeout`` (30) are in seconds. With ``start_serving=False`` nothing is accepted until
        ``Server.start_serving``. ``limits`` are the fields of ``Limits``: docs/serving.md.

        Raises OSError if it can't listen there; TypeError and ValueError, which name the argument, for wrong ones.
        """
        wanted = self._default_limits().changed(limits, "create_server")
        stdlib.since((3, 13), "create_server", "keep_alive", keep_alive is not None)
        _check_tls_context(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_not_tls(sock)
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            infos = await _lookup_all(self, host, port, family, flags)
            sockets: list[socket.socket] = []
            try:
                for info in infos:
                    bound = _bind(info, reuse_address is None or reuse_address, bool(reuse_port), bool(keep_alive))
                    if bound is not None:
                        sockets.append(bound)
                if not sockets:
                    text = f"could not bind on any address out of {[info[4] for info in infos]!r}"
                    raise OSError(errno.EADDRNOTAVAIL, f"{text}: {os.strerror(errno.EADDRNOTAVAIL).lower()}")
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
        return await _serve(
            self,
            sockets,
            protocol_factory,
            backlog,
            ssl,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            start_serving,
            wanted,
            is_ours=sock is None,
        )

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
        **limits: Unpack[ServerLimits],
    ) -> Server:
        """Listen on a Unix socket: a file's path, an abstract name (it begins with NUL), or a bound ``sock``.

        A socket file that is there already is replaced. ``cleanup_socket`` removes it when the server closes, by
        default where the running Python's asyncio does (from 3.13 on). The rest is as in ``create_server``, ``limits``
        and what is raised too.
        """
        wanted = self._default_limits().changed(limits, "create_unix_server")
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
        return await _serve(
            self,
            [sock],
            protocol_factory,
            backlog,
            ssl,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            start_serving,
            wanted,
            is_ours=is_ours,
            cleanup=cleanup_socket,
        )
