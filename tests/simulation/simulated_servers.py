"""More scenes: servers with limits that are drained and suspended, TLS of an engine without cryptography, start_tls."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from simulated_endpoints import Endpoint
from simulated_modules import MODULES
from simulated_peers import ConnectingPeer, stream_with_peer
from simulated_run import Run
from simulated_scenes import HOST, Accepted, _add, _kind, _peer_of, _quietly, _task
from simulated_socket import SimulatedSocket
from simulated_streams import TcpSocket
from simulated_tls import CLIENT, SERVER, TlsClient, TlsPeer, TlsServer

SECONDS = (0.01, 0.3, 2.0, 50.0)
RATES = (10000, 100000, 1e6, 1e9)
FEW = (1, 2, 3, 100)


def _refuse(run: Run, transport: Any) -> None:
    # An overload callable: says something, and returns.
    run.kernel.moved += 1
    peer = _peer_of(run, transport)
    if peer is not None:
        transport.write(peer.to_it.next(2))
        peer.to_it.wrote(2)


def _limits(run: Run) -> dict[str, Any]:
    # Deadlines that come while something moves, and some that never come.
    found: dict[str, Any] = {}
    for name in ("idle_timeout", "first_byte_timeout", "write_timeout", "max_lifetime"):
        if run.tape.below(4) == 3:
            found[name] = (*SECONDS, None)[run.tape.below(5)]
    for name in ("read_rate", "write_rate"):
        if run.tape.below(4) == 3:
            found[name] = (*RATES, None)[run.tape.below(5)]
    if run.tape.below(4) == 3:
        found["max_connections"] = (*FEW, None)[run.tape.below(5)]
        if found["max_connections"] is not None:
            found["overload"] = ("wait", "refuse", functools.partial(_refuse, run))[run.tape.below(3)]
    if run.tape.below(4) == 3:
        found["max_connections_per_peer"] = (*FEW, None)[run.tape.below(5)]
    for name in found:
        run.seen[f"a server's {name}"] += 1
    return found


def limited_server(run: Run) -> None:
    """A server with limits, which are changed, suspended and resumed; at last it may be drained. With or without TLS."""
    _task(run, _quietly(_serve(run)))


async def _serve(run: Run) -> None:
    kind = _kind(run)
    encrypted = run.tape.below(4) == 3

    def factory() -> asyncio.BaseProtocol:
        accepted = Accepted(run)
        accepted.is_encrypted = encrypted
        return accepted.face()

    options: dict[str, Any] = {"backlog": (100, 0)[run.tape.below(2)], "ssl": SERVER if encrypted else None}
    if kind is TcpSocket:
        served = await run.loop.create_server(factory, HOST, 0, **options, **_limits(run))
    else:
        served = await run.loop.create_unix_server(factory, f"\0limited{run.flow().base}", **options, **_limits(run))
    run.servers.append(served)
    if not served.sockets:
        return
    address = served.sockets[0].getsockname()
    client = TlsClient if encrypted else ConnectingPeer
    for _ in range(1 + run.tape.below(4)):
        _add(run, client.to(run.tape, kind(run.kernel), address, run.flow(), run.flow()))
    for _ in range(run.tape.below(4)):
        await asyncio.sleep(SECONDS[run.tape.below(4)])
        what = run.tape.below(4)
        if what == 0:
            served.set_limits(**_limits(run))
        elif what == 1:
            run.seen["a server is suspended"] += 1
            served.suspend()
            run.loop.call_later(SECONDS[run.tape.below(4)], served.resume)
        elif what == 2:
            served.close_clients()
        elif await _drain(run, served):
            return


async def _drain(run: Run, served: Any) -> bool:
    timeout = (None, 0, 0.3, 2.0)[run.tape.below(4)]
    run.seen["a server is drained"] += 1
    if timeout is not None:
        for endpoint in run.endpoints:
            if isinstance(endpoint, Accepted):
                endpoint.may_lose = True
    await served.drain(timeout)
    status = served.status()
    if status.open or status.refusing or served.sockets:
        run.fail(f"a server is drained, and has {status.open} connections")
    return True


class Upgraded(Endpoint):
    """An endpoint that has a connection before it has a transport that it may use: start_tls."""

    def __init__(self, run: Run, out: Any, incoming: Any) -> None:
        Endpoint.__init__(self, run, out, incoming)
        self.is_encrypted = True
        self.is_ready = False

    async def upgrade(self, sock: Any, server_side: bool) -> None:
        """Take over a socket, and put TLS on it."""
        loop = self.run.loop
        try:
            plain, _ = await loop.connect_accepted_socket(asyncio.Protocol, sock)
        except (OSError, asyncio.CancelledError):
            self.may_lose = True
            return
        self.transport = plain
        if plain.is_closing():
            self.may_lose = True
            return
        self.made = True  # start_tls does not call connection_made
        try:
            upgraded = await loop.start_tls(
                plain, self.face(), SERVER if server_side else CLIENT, server_side=server_side
            )
        except (OSError, asyncio.CancelledError):
            self.may_lose = True
            return
        if upgraded is None:
            self.may_lose = True
            return
        self.run.seen["start_tls"] += 1
        self.transport = upgraded
        self.is_ready = True
        self.run.act(self)


def upgraded(run: Run) -> None:
    """start_tls on a connection to another process, as its client or its server."""
    to_us, from_us = run.flow(), run.flow()
    server_side = run.tape.below(2) == 1
    kind: type[TlsPeer] = TlsPeer if server_side else TlsServer
    fd, peer = stream_with_peer(run.kernel, run.tape, _kind(run), (from_us, to_us), kind)
    _add(run, peer)
    endpoint = Upgraded(run, from_us, to_us)
    endpoint.socket = SimulatedSocket(fileno=fd)
    _task(run, endpoint.upgrade(endpoint.socket, server_side))


def both_upgraded(run: Run) -> None:
    """start_tls at both ends of a connection."""
    there, back = run.flow(), run.flow()
    flows = ((there, back), (back, there))
    for server_side, sock in enumerate(MODULES["socket"].socketpair()):
        endpoint = Upgraded(run, *flows[server_side])
        endpoint.socket = sock
        _task(run, endpoint.upgrade(sock, bool(server_side)))


SCENES = (limited_server, upgraded, both_upgraded)
