"""Names and addresses: getaddrinfo(3) and getnameinfo(3) in a few threads of their own.

Of their own, so that a lookup doesn't wait for slow jobs of the default executor. A literal address needs no thread: with
AI_NUMERICHOST the C library asks nobody.
"""

from __future__ import annotations

import concurrent.futures
import operator
import socket
from typing import Any

from .. import stdlib
from .executors import Executors

RESOLVER_THREADS = 8

# A plain int: the enum would drop the bits it has no name for, and wrong flags would pass.
_NUMERIC_HOST = int(socket.AI_NUMERICHOST)

# (family, type, protocol, canonical name, address), as socket.getaddrinfo gives it.
AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def _lookup(host: Any, port: Any, family: int, type: int, proto: int, flags: int) -> list[AddressInfo]:
    return [*socket.getaddrinfo(host, port, family, type, proto, flags)]


# What this C library answers for a literal address, but for the address itself; by the address's family and the hints.
_answers: dict[tuple[int, int, int, int], list[tuple[socket.AddressFamily, socket.SocketKind, int, str]]] = {}
_getaddrinfo = socket.getaddrinfo


def _lookup_literal(host: Any, port: Any, family: int, type: int, proto: int, flags: int) -> list[AddressInfo]:
    """``_lookup`` for a literal address: asks the C library once for each set of hints."""
    # A function that somebody put in getaddrinfo's place is always called.
    if (
        flags
        or host.__class__ is not str
        or port.__class__ is not int
        or not 0 <= port <= 65535
        or "%" in host
        or socket.getaddrinfo is not _getaddrinfo
    ):
        return _lookup(host, port, family, type, proto, flags | _NUMERIC_HOST)
    address: Any
    if ":" in host:
        kind = socket.AF_INET6
        address = (socket.inet_ntop(kind, socket.inet_pton(kind, host)), port, 0, 0)
    else:
        kind = socket.AF_INET
        address = (host, port)  # inet_pton(3) takes no other notation
    if family not in (0, kind):  # an error, but for an IPv4-mapped IPv6 address
        return _lookup(host, port, family, type, proto, _NUMERIC_HOST)
    hints = (kind, family, type, proto)
    answer = _answers.get(hints)
    if answer is None:
        found = _lookup(host, port, family, type, proto, _NUMERIC_HOST)
        _answers[hints] = [info[:4] for info in found]
        return found
    return [(*info, address) for info in answer]


# The default protocol of a socket type; the C library judges any other combination.
_PROTOCOLS = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}


def _port_number(port: Any) -> int | None:
    """Return the port as a number, whatever int() takes for one, as asyncio does; None for the name of a service."""
    if port is None or port in ("", b""):
        return 0
    try:
        return int(port)
    except (TypeError, ValueError):
        return None


def _resolved(
    host: Any, port: Any, rest: tuple[Any, ...], family: int, type: int, proto: int
) -> tuple[Any, Any, int, str, Any] | None:
    """Return the address info of a literal, which a resolved address is too; None for what needs a lookup.

    As in asyncio this calls nobody, neither the C library nor a function in ``socket.getaddrinfo``'s place.
    """
    protocol = _PROTOCOLS.get(type)  # type: ignore[call-overload]
    if protocol is None or proto not in (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP) or host is None:
        return None
    number = _port_number(port)
    if isinstance(host, bytes):
        try:
            host = host.decode("ascii")
        except UnicodeDecodeError:
            return None
    if number is None or not isinstance(host, str) or "%" in host:  # inet_pton(3) takes no zone
        return None
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family not in (socket.AF_UNSPEC, kind):
        return None
    try:
        socket.inet_pton(kind, host)
    except (OSError, ValueError):
        return None
    if kind == socket.AF_INET:
        return (kind, type, protocol, "", (host, number))
    return (kind, type, protocol, "", (host, number, *rest, *(0, 0)[len(rest) :]))


def _is_literal(host: object, port: object) -> bool:
    if isinstance(host, bytes):
        try:
            host = host.decode("ascii")
        except UnicodeDecodeError:
            return False
    if not isinstance(host, str) or not host:
        return False
    if isinstance(port, (str, bytes)):
        if port and not port.isdigit():
            return False  # a service name, looked up in a file
    elif port is not None and not isinstance(port, int):
        return False
    # Only what inet_pton(3) takes: getaddrinfo(3) takes "1" for an address too. A zone follows the %.
    address = host.partition("%")[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return False
    return True


class ResolverThreads:
    """The threads in which one loop looks names up; made with the first lookup, ended by ``close``."""

    def __init__(self) -> None:
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._forks = 0

    def pool(self, forks: int) -> concurrent.futures.ThreadPoolExecutor:
        """The pool; a new one if ``forks`` (Reactor.forks) is another than last time: a child inherits no threads."""
        if self._pool is None or self._forks != forks:
            self._forks = forks
            self._pool = concurrent.futures.ThreadPoolExecutor(
                max_workers=RESOLVER_THREADS, thread_name_prefix="edgeloop-resolver"
            )
        return self._pool

    def close(self) -> None:
        """End the threads; lookups under way are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class Resolver(Executors):
    """Name resolution, as a mixin of EventLoop."""

    def __init__(self) -> None:
        super().__init__()
        self._resolver = ResolverThreads()

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Call getaddrinfo(3) without blocking the loop. Raises socket.gaierror."""
        self._check_closed()
        if _is_literal(host, port):
            return _lookup_literal(host, port, family, type, proto, flags)
        lookup = self._timed_lookup if self._debug else _lookup
        return await self.run_in_executor(
            self._resolver.pool(self.reactor.forks), lookup, host, port, family, type, proto, flags
        )

    def _timed_lookup(self, host: Any, port: Any, family: int, type: int, proto: int, flags: int) -> list[AddressInfo]:
        what = f"{host!r}:{port!r}, family={family!r}, type={type!r}, proto={proto!r}, flags={flags!r}"
        stdlib.logger().debug("Get address info %s", what)
        start = self.time()
        found = _lookup(host, port, family, type, proto, flags)
        elapsed = self.time() - start
        text = f"Getting address info {what} took {elapsed * 1e3:.3f}ms: {found!r}"
        if elapsed >= self.slow_callback_duration:
            stdlib.logger().info(text)
        else:
            stdlib.logger().debug(text)
        return found

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int = 0
    ) -> tuple[str, str]:
        """Call getnameinfo(3) without blocking the loop. Raises socket.gaierror."""
        self._check_closed()
        numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        if flags & numeric == numeric:
            return socket.getnameinfo(sockaddr, flags)
        return await self.run_in_executor(self._resolver.pool(self.reactor.forks), socket.getnameinfo, sockaddr, flags)

    async def _resolve(
        self,
        address: tuple[Any, ...],
        *,
        family: int = 0,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Return the address infos of (host, port, ...); what follows the port (IPv6's flow and scope) is kept."""
        self._check_closed()
        if not isinstance(address, (tuple, list)) or not 2 <= len(address) <= 4:
            raise TypeError(f"an address is (host, port), for IPv6 with flow and scope, not {address!r}")
        host, port, *rest = address
        if (isinstance(host, str) and "\0" in host) or (isinstance(host, bytes) and b"\0" in host):
            raise ValueError("embedded null character")  # getaddrinfo(3) would look up what stands before it
        if hasattr(port, "__index__"):
            port = operator.index(port)  # socket.getaddrinfo takes no other kind of int
            if not 0 <= port <= 65535:
                raise OverflowError(f"port must be 0-65535, not {port}")  # getaddrinfo(3) would take it modulo 65536
        known = _resolved(host, port, tuple(rest), family, type, proto)
        if known is not None:
            return [known]
        infos = await self.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        if len(address) > 2 and infos and infos[0][0] == socket.AF_INET6 and "%" not in str(host):
            infos = [(*info[:4], (*info[4][:2], *address[2:])) for info in infos]
        return infos
