"""What is played on a loop: each scene opens something over the public API, and its endpoints go on at random."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from simulated_datagrams import UdpSocket, UnixDatagramSocket
from simulated_endpoints import DatagramFace, Endpoint, StreamFace
from simulated_modules import MODULES
from simulated_peers import (
    SIZES,
    ConnectingPeer,
    DatagramPeer,
    Flow,
    ListeningPeer,
    Peer,
    StreamPeer,
    pipe_with_peer,
    stream_with_peer,
)
from simulated_run import Run
from simulated_socket import SimulatedSocket
from simulated_streams import StreamSocket, TcpSocket, UnixSocket

HOST = "127.0.0.1"


class PipeFile:
    """A file object around a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            MODULES["os"].close(fd)


def _task(run: Run, coroutine: Any) -> None:
    run.tasks.append(run.loop.create_task(coroutine))


def _add(run: Run, peer: Peer) -> None:
    run.peers.append(peer)


def _kind(run: Run) -> type[StreamSocket]:
    return (TcpSocket, UnixSocket)[run.tape.below(2)]


async def _quietly(awaitable: Any) -> Any:
    # What may go wrong in bad weather.
    try:
        return await awaitable
    except (OSError, asyncio.CancelledError):
        return None


def server(run: Run) -> None:
    """A server of the loop; other processes connect, and perhaps the loop does too."""

    async def serve() -> None:
        kind = _kind(run)

        def factory() -> asyncio.BaseProtocol:
            return Accepted(run).face()

        if kind is TcpSocket:
            served = await _quietly(run.loop.create_server(factory, HOST, 0, backlog=(100, 1)[run.tape.below(2)]))
        else:
            path = f"\0scene{run.flow().base}"
            served = await _quietly(run.loop.create_unix_server(factory, path, backlog=(100, 0)[run.tape.below(2)]))
        if served is None:
            return
        run.servers.append(served)
        if not served.sockets:
            return
        address = served.sockets[0].getsockname()
        for _ in range(1 + run.tape.below(4)):
            _add(run, ConnectingPeer.to(run.tape, kind(run.kernel), address, run.flow(), run.flow()))

    _task(run, serve())


def _peer_of(run: Run, transport: Any) -> StreamPeer | None:
    # Who has connected.
    encrypted = getattr(transport, "_tls_connection", None)
    lower = transport if encrypted is None else encrypted.lower
    file: Any = run.kernel.files.get(lower.fd)
    found = [peer for peer in run.peers if isinstance(peer, StreamPeer) and file is not None and peer.file is file.peer]
    return found[-1] if found else None


class Accepted(Endpoint):
    """An endpoint that learns at ``connection_made`` whose connection it has."""

    def __init__(self, run: Run) -> None:
        Endpoint.__init__(self, run, Flow(0), Flow(0))

    def connection_made(self, transport: Any) -> None:
        peer = _peer_of(self.run, transport)
        if peer is not None:
            self.out, self.incoming = peer.to_it, peer.from_it
        Endpoint.connection_made(self, transport)


def client(run: Run) -> None:
    """A connection to another process, made by the loop."""
    kind = _kind(run)
    listening = kind(run.kernel)
    listening.address = (HOST, run.kernel.new_port()) if kind is TcpSocket else b"\0peer%d" % run.flow().base
    run.kernel.bound[kind, listening.address] = listening
    listening.listen((100, 0)[run.tape.below(2)])
    to_us, from_us = run.flow(), run.flow()
    endpoint = Endpoint(run, from_us, to_us)
    _add(run, ListeningPeer(run.tape, listening, run.peers, (from_us, to_us)))
    if kind is TcpSocket:
        _task(run, _quietly(run.loop.create_connection(endpoint.face, *listening.address)))
    else:
        _task(run, _quietly(run.loop.create_unix_connection(endpoint.face, listening.address)))


def given(run: Run) -> None:
    """A connected socket is given to the loop."""
    to_us, from_us = run.flow(), run.flow()
    fd, peer = stream_with_peer(run.kernel, run.tape, _kind(run), (from_us, to_us))
    _add(run, peer)
    endpoint = Endpoint(run, from_us, to_us)
    endpoint.socket = SimulatedSocket(fileno=fd)
    _task(run, _quietly(run.loop.connect_accepted_socket(endpoint.face, endpoint.socket)))


def both_ends(run: Run) -> None:
    """A connection between two transports of the loop."""
    there, back = run.flow(), run.flow()
    for sock, out, incoming in zip(MODULES["socket"].socketpair(), (there, back), (back, there), strict=True):
        endpoint = Endpoint(run, out, incoming)
        endpoint.socket = sock
        _task(run, _quietly(run.loop.connect_accepted_socket(endpoint.face, sock)))


def read_pipe(run: Run) -> None:
    """A pipe is read."""
    flow = run.flow()
    fd, peer = pipe_with_peer(run.kernel, run.tape, flow, False)
    _add(run, peer)
    endpoint = Endpoint(run, None, flow)
    endpoint.socket = PipeFile(fd)
    _task(run, _quietly(run.loop.connect_read_pipe(lambda: StreamFace(endpoint), endpoint.socket)))


def write_pipe(run: Run) -> None:
    """A pipe is written to."""
    flow = run.flow()
    fd, peer = pipe_with_peer(run.kernel, run.tape, flow, True)
    _add(run, peer)
    endpoint = Endpoint(run, flow, None)
    endpoint.socket = PipeFile(fd)
    _task(run, _quietly(run.loop.connect_write_pipe(endpoint.face, endpoint.socket)))


def datagrams(run: Run) -> None:
    """A datagram endpoint, and another process."""
    ours: Any
    theirs: Any
    if run.tape.below(2):
        family, ours, theirs = socket.AF_UNIX, f"\0ours{run.flow().base}", b"\0theirs%d" % run.flow().base
        file: Any = UnixDatagramSocket(run.kernel)
    else:
        family, ours, theirs = socket.AF_INET, (HOST, run.kernel.new_port()), (HOST, run.kernel.new_port())
        file = UdpSocket(run.kernel)
    file.address = theirs
    run.kernel.bound[type(file), theirs] = file
    connected = run.tape.below(2)
    target = theirs.decode() if isinstance(theirs, bytes) else theirs

    async def open_it() -> None:
        face = DatagramFace(run, None if connected else target)
        found = await _quietly(
            run.loop.create_datagram_endpoint(
                lambda: face, local_addr=ours, remote_addr=target if connected else None, family=family
            )
        )
        if found is not None:
            face.send()

    _add(run, DatagramPeer(run.tape, file, ours.encode() if isinstance(ours, str) else ours))
    _task(run, open_it())


class Reader:
    """Callbacks of add_reader and add_writer that leave something."""

    def __init__(self, run: Run, sock: SimulatedSocket, to_us: Flow, from_us: Flow) -> None:
        self.run, self.sock, self.to_us, self.from_us = run, sock, to_us, from_us
        self.left = 3  # callbacks that write
        run.loop.add_reader(sock, self.readable)
        if run.tape.below(2):
            run.loop.add_writer(sock, self.writable)
        run.cleanups.append(self.close)

    def readable(self) -> None:
        self.run.kernel.moved += 1
        try:
            data = self.sock.recv(SIZES[self.run.tape.below(len(SIZES))])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        try:
            self.to_us.arrive(data)
        except AssertionError as exc:
            self.run.fail(str(exc))
        self.run.act(None)

    def writable(self) -> None:
        self.run.kernel.moved += 1
        self.left -= 1
        if self.left <= 0:
            self.run.loop.remove_writer(self.sock)
            return
        data = self.from_us.next(SIZES[self.run.tape.below(len(SIZES))])
        try:
            self.from_us.wrote(self.sock.send(data))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.run.loop.remove_reader(self.sock)
            self.run.loop.remove_writer(self.sock)
            self.run.close(self.sock)


def reader(run: Run) -> None:
    """add_reader and add_writer on a socket that the program owns."""
    to_us, from_us = run.flow(), run.flow()
    fd, peer = stream_with_peer(run.kernel, run.tape, _kind(run), (from_us, to_us))
    _add(run, peer)
    try:
        Reader(run, SimulatedSocket(fileno=fd), to_us, from_us)
    except OSError:
        peer.was_cruel = True
        raise


def sock_calls(run: Run) -> None:
    """sock_recv, sock_recv_into and sock_sendall, one after the other or at once."""
    to_us, from_us = run.flow(), run.flow()
    fd, peer = stream_with_peer(run.kernel, run.tape, _kind(run), (from_us, to_us))
    _add(run, peer)
    sock = SimulatedSocket(fileno=fd)
    sock.setblocking(False)
    state = {"users": 0}

    async def receive() -> None:
        while True:
            size = SIZES[run.tape.below(len(SIZES))]
            if run.tape.below(2):
                data = await run.loop.sock_recv(sock, size)
            else:
                buffer = bytearray(size)
                count = await run.loop.sock_recv_into(sock, buffer)
                data = bytes(buffer[:count])
            run.kernel.moved += 1
            if not data:
                return
            to_us.arrive(data)
            run.act(None)

    async def send() -> None:
        for _ in range(1 + run.tape.below(3)):
            data = from_us.next(run.bounded(SIZES[run.tape.below(len(SIZES))]))
            from_us.wrote(len(data))
            await run.loop.sock_sendall(sock, data)
            run.act(None)

    async def use(coroutine: Any) -> None:
        state["users"] += 1
        try:
            await coroutine
        except AssertionError as exc:
            run.fail(repr(exc))
        except (OSError, asyncio.CancelledError):
            peer.was_cruel = True
        finally:
            state["users"] -= 1
            if not state["users"]:
                run.close(sock)

    if run.tape.below(3):
        _task(run, use(receive()))
    if run.tape.below(3):
        _task(run, use(send()))
    run.cleanups.append(lambda: run.close(sock))


def sock_connections(run: Run) -> None:
    """sock_accept and sock_connect."""

    async def accept(listening: SimulatedSocket) -> None:
        try:
            while True:
                conn, _ = await run.loop.sock_accept(listening)
                try:
                    await run.loop.sock_recv(conn, 10)
                except OSError:
                    pass
                finally:
                    run.close(conn)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            run.close(listening)

    async def connect(sock: SimulatedSocket, address: Any) -> None:
        try:
            await run.loop.sock_connect(sock, address)
            await run.loop.sock_sendall(sock, b"hello")
            await run.loop.sock_recv(sock, 10)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            run.close(sock)

    family = (socket.AF_INET, socket.AF_UNIX)[run.tape.below(2)]
    listening = SimulatedSocket(family, socket.SOCK_STREAM)
    listening.setblocking(False)
    listening.bind((HOST, 0) if family == socket.AF_INET else f"\0accept{run.flow().base}")
    listening.listen((100, 0)[run.tape.below(2)])
    address = listening.getsockname()
    if run.tape.below(4):
        _task(run, accept(listening))
    else:
        run.close(listening)  # refused
    for _ in range(1 + run.tape.below(2)):
        sock = SimulatedSocket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        _task(run, connect(sock, address))


def timers(run: Run) -> None:
    """Timers, in no order."""
    now = run.loop.time()
    for _ in range(1 + run.tape.below(6)):
        run.call_at(now + (0.0, 1e-6, 0.001, 0.0015, 0.5, 1000.0)[run.tape.below(6)], None)

    async def sleep() -> None:
        await asyncio.sleep(0.25)
        run.act(None)
        async with asyncio.timeout(0.5):
            await asyncio.sleep(3600)

    async def quiet() -> None:
        try:
            await sleep()
        except (TimeoutError, asyncio.CancelledError):
            pass

    _task(run, quiet())


SCENES = (
    reader,
    given,
    server,
    client,
    both_ends,
    read_pipe,
    write_pipe,
    datagrams,
    sock_calls,
    sock_connections,
    timers,
)
