"""TCP peers that read or write slowly, close their window, vanish, or reset with data under way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from forged_tls import small_pair
from recording import BufferRecorder, Recorder, attach, record_errors, reset, turns, until
from sockets import tcp_pair

TCP_REPAIR = 19  # linux/tcp.h
LARGE = 3_000_000

PROTOCOLS = pytest.mark.parametrize("protocol", [Recorder, BufferRecorder])


def iterations() -> int:
    """How often the loop has asked the kernel; 0 on a loop that doesn't count."""
    reactor = getattr(asyncio.get_running_loop(), "reactor", None)
    return 0 if reactor is None else int(reactor.iteration)


async def rest() -> int:
    """Let the loop sleep, and return how often it woke up meanwhile."""
    await turns()
    before = iterations()
    await asyncio.sleep(0.05)
    return iterations() - before


@PROTOCOLS
async def test_a_closed_window_is_waited_for_asleep(protocol: type[Any]) -> None:
    """The peer reads nothing, then a byte at a time, then all."""
    ours, theirs = small_pair(8192)
    with theirs:
        writing = protocol()
        transport = await attach(ours, writing)
        transport.write(b"x" * LARGE)
        await writing.called("pause_writing")
        assert await rest() <= 5
        for _ in range(50):
            theirs.recv(1)
        assert await rest() <= 5  # that opened no window
        received = 50
        while received < LARGE:
            received += len(await asyncio.get_running_loop().sock_recv(theirs, 65536))
        await writing.called("resume_writing")
        assert writing.calls.count("pause_writing") == 1
        assert transport.get_write_buffer_size() == 0
        transport.abort()
        await writing.lost()


async def test_a_window_that_stays_closed_ends_by_the_socket_s_own_limit() -> None:
    """TCP_USER_TIMEOUT, tcp(7): the loop passes on what the kernel gives up."""
    ours, theirs = small_pair(8192)
    with theirs:
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
        writing = Recorder()
        transport = await attach(ours, writing)
        transport.write(bytes(LARGE))
        assert isinstance(await writing.lost(), TimeoutError)
        assert transport.get_write_buffer_size() == 0


@PROTOCOLS
async def test_a_peer_that_writes_byte_by_byte(protocol: type[Any]) -> None:
    """Each byte is one event: no more than the sender's own turn, and one that reads."""
    ours, theirs = tcp_pair()
    with theirs:
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reading = protocol()
        transport = await attach(ours, reading)
        before = iterations()
        for number in range(300):
            theirs.send(b"x")
            await until_bytes(reading, number + 1)
        assert iterations() - before <= 300 * 4 + 50
        transport.abort()
        await reading.lost()


async def until_bytes(reading: Any, count: int) -> None:
    while len(reading.received) < count:
        await asyncio.sleep(0)


@PROTOCOLS
async def test_a_flood_of_urgent_bytes_loses_nothing(protocol: type[Any]) -> None:
    """Each mark ends a read (rule 2), and the loop sleeps when all has come."""
    ours, theirs = tcp_pair()
    with theirs:
        reading = protocol()
        transport = await attach(ours, reading)
        for number in range(200):
            theirs.sendall(b"%03d" % number)
            theirs.send(b"!", socket.MSG_OOB)
            if number % 10 == 0:
                await asyncio.sleep(0)
        theirs.sendall(b"end")
        await until(lambda: reading.received.endswith(b"end"))
        # An urgent byte that another follows is data (tcp(7)): where it is read, it is read in its place.
        assert reading.received.replace(b"!", b"") == b"".join(b"%03d" % number for number in range(200)) + b"end"
        assert await rest() <= 5
        transport.abort()
        await reading.lost()


@PROTOCOLS
@pytest.mark.parametrize("writing", [False, True], ids=["idle", "with a full buffer"])
async def test_a_reset_behind_data(protocol: type[Any], writing: bool) -> None:
    """What had come is delivered, as far as the kernel still has it; then ConnectionResetError, once."""
    errors = record_errors(asyncio.get_running_loop())
    ours, theirs = small_pair(8192)
    receiving = protocol()
    transport = await attach(ours, receiving)
    if writing:
        transport.write(bytes(LARGE))
        await receiving.called("pause_writing")
    theirs.send(b"x" * 1000)
    reset(theirs)
    error = await receiving.lost()
    assert isinstance(error, ConnectionError)
    assert receiving.received in (b"", b"x" * 1000)
    assert receiving.calls.count("connection_lost") == 1
    assert transport.get_write_buffer_size() == 0
    assert errors == []


async def test_a_reset_is_told_to_who_waits_for_data_or_for_room(streams: Any) -> None:
    for wait in ("read", "drain"):
        ours, theirs = small_pair(8192)
        reader, writer = await streams.open_connection(sock=ours)
        if wait == "read":
            waiting = asyncio.ensure_future(reader.readexactly(10))
        else:
            writer.write(bytes(LARGE))
            waiting = asyncio.ensure_future(writer.drain())
        await turns()
        assert not waiting.done()
        reset(theirs)
        with pytest.raises(ConnectionError):
            await waiting
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


async def test_a_peer_that_vanished_without_a_word_is_noticed_by_a_write() -> None:
    """Half-open: its machine has forgotten the connection. TCP_REPAIR closes a socket without telling the other end."""
    errors = record_errors(asyncio.get_running_loop())
    ours, theirs = tcp_pair()
    receiving = Recorder()
    transport = await attach(ours, receiving)
    try:
        theirs.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        theirs.close()
        transport.abort()
        await receiving.lost()
        pytest.skip("only who has CAP_NET_ADMIN may close a socket without a word")
    theirs.close()
    assert await rest() <= 5
    assert receiving.calls == ["connection_made"]
    transport.write(b"are you there?")
    assert isinstance(await receiving.lost(), ConnectionResetError)
    assert errors == []


async def test_a_peer_that_has_ended_and_takes_its_time_gets_everything() -> None:
    """Half-closed: it sends no more, and reads slowly."""

    class KeepOpen(Recorder):
        keep_open = True

    ours, theirs = small_pair(8192)
    with theirs:
        writing = KeepOpen()
        transport = await attach(ours, writing)
        theirs.shutdown(socket.SHUT_WR)
        await writing.called("eof_received")
        transport.write(bytes(200_000))
        transport.close()
        assert await rest() <= 5
        received = 0
        while part := await asyncio.get_running_loop().sock_recv(theirs, 4096):
            received += len(part)
        assert received == 200_000
        assert await writing.lost() is None


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["close", "reset"])
async def test_clients_that_leave_before_they_are_accepted(end: Any) -> None:
    """Each is made and lost, or never was; who comes after them is served."""
    loop = asyncio.get_running_loop()
    errors = record_errors(loop)
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0, backlog=256)
    address = server.sockets[0].getsockname()
    for _ in range(200):
        end(socket.create_connection(address))
    transport, _ = await loop.create_connection(Recorder, *address)
    transport.write(b"hello")
    await until(lambda: any(one.received == b"hello" for one in made))
    transport.close()
    await until(lambda: all(one.calls[-1:] == ["connection_lost"] for one in made))
    server.close()
    await server.wait_closed()
    assert errors == []
