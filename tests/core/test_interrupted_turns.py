"""KeyboardInterrupt in the middle of a turn: what the reactor had still to call is called when the loop runs again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest
from recording import turn
from sockets import Pair

Loop = asyncio.AbstractEventLoop


class OneByteAtATime(asyncio.BufferedProtocol):
    """Gets a byte in each turn: between them its channel is on the deferred list. With the first it sends something else."""

    def __init__(self, other: socket.socket) -> None:
        self.buffer = bytearray(1)
        self.came = b""
        self.other = other

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.came += self.buffer
        if len(self.came) == 1:
            self.other.send(b"x")


class Interrupted(asyncio.Protocol):
    """Its data_received raises KeyboardInterrupt."""

    def data_received(self, data: bytes) -> None:
        raise KeyboardInterrupt


def test_what_is_deferred_is_read_though_an_event_before_it_was_interrupted(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    one, other = socket.socketpair()
    with other:
        protocol = OneByteAtATime(other)
        slow, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        quick, _ = loop.run_until_complete(loop.create_connection(Interrupted, sock=one))
        theirs.send(b"abc")
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 10)
        assert protocol.came != b"abc"  # asyncio: in any order
        turn(loop, 10)
        slow.close()
        quick.close()
        turn(loop)
    assert protocol.came == b"abc"


@pytest.mark.parametrize("kind", ["timers", "readers", "soon"])
def test_what_was_due_runs_before_what_was_scheduled_meanwhile(loop: Loop, kind: str) -> None:
    order: list[str] = []
    pairs = [socket.socketpair() for _ in range(3)]

    def run(number: int) -> None:
        loop.remove_reader(pairs[number][0])
        if not order:
            loop.call_soon(order.append, "meanwhile")
            order.append("interrupted")
            raise KeyboardInterrupt
        order.append("due")

    for number, (ours, theirs) in enumerate(pairs):
        if kind == "timers":
            loop.call_at(loop.time() - 1, run, number)
        elif kind == "readers":
            loop.add_reader(ours, run, number)
            theirs.send(b"x")
        else:
            loop.call_soon(run, number)
    with pytest.raises(KeyboardInterrupt):
        turn(loop, 3)
    turn(loop, 3)
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
    assert order == ["interrupted", "due", "due", "meanwhile"]


@pytest.mark.parametrize("others", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("kind", ["timers", "readers", "both"])
def test_the_events_and_timers_of_an_interrupted_turn_run_before_what_its_callbacks_have_scheduled(
    loop: Loop, pair: Pair, kind: str, at: int, others: int
) -> None:
    """The one of its callbacks that is interrupted is the first, the last, in the middle, or the only one."""
    order: list[object] = []
    ours, theirs = pair

    def run(number: int) -> None:
        loop.call_soon(order.append, f"scheduled by {number}")
        order.append(number)
        if number == min(at, others):
            raise KeyboardInterrupt

    def read() -> None:
        loop.remove_reader(ours)
        order.append("event")

    if kind != "readers":
        loop.call_at(loop.time() - 1, order.append, "timer")
    if kind != "timers":
        loop.add_reader(ours, read)
        theirs.send(b"x")
    for number in range(1 + others):
        loop.call_soon(run, number)
    with pytest.raises(KeyboardInterrupt):
        turn(loop, 3)
    turn(loop, 3)
    events = {"timers": ["timer"], "readers": ["event"], "both": ["event", "timer"]}[kind]
    numbers = list(range(1 + others))
    assert order == [*numbers, *events, *(f"scheduled by {number}" for number in numbers)]


def test_an_interrupted_reader_is_called_again_though_nothing_else_wakes_the_loop(loop: Loop, pair: Pair) -> None:
    """What it has left unread is there still."""
    ours, theirs = pair
    calls: list[int] = []

    def read() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        loop.stop()

    loop.add_reader(ours, read)
    theirs.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    limit = loop.call_later(30, loop.stop)
    loop.run_forever()
    limit.cancel()
    loop.remove_reader(ours)
    assert len(calls) == 2


class InterruptedAtLast(OneByteAtATime):
    """Its third byte comes in a turn without events, and raises KeyboardInterrupt."""

    def buffer_updated(self, count: int) -> None:
        super().buffer_updated(count)
        if len(self.came) == 3:
            raise KeyboardInterrupt


def test_what_is_left_over_is_interrupted_in_a_turn_without_events(loop: Loop, pair: Pair) -> None:
    ours, theirs = pair
    one, other = socket.socketpair()
    with one, other:
        protocol = InterruptedAtLast(other)
        transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        theirs.send(b"abcd")
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 20)
        turn(loop, 10)
        transport.close()
        turn(loop)
    assert protocol.came == b"abcd"


class AskedSocket(socket.socket):
    """A socket that raises KeyboardInterrupt, once, when it is asked for its number."""

    interrupts = False

    def fileno(self) -> int:
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        return super().fileno()


class Sender:
    """A datagram transport that has earned gathering, and its receiver."""

    def __init__(self, loop: Loop) -> None:
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.sock = AskedSocket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(self.receiver.getsockname())
        self.transport, _ = loop.run_until_complete(
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=self.sock)
        )

    def send(self) -> None:
        """The first messages leave one by one, until that has earned gathering."""
        for _ in range(70):
            self.transport.sendto(b".")
        self.transport.sendto(b"last")

    def close(self) -> list[bytes]:
        """Return what has arrived."""
        came = []
        with self.receiver, contextlib.suppress(BlockingIOError):
            while True:
                came.append(self.receiver.recv(10))
        self.transport.close()
        return came


def send_all(senders: list[Sender], which: int) -> None:
    """All send, and then one is to be interrupted."""
    for sender in senders:
        sender.send()
    senders[which].sock.interrupts = True


@pytest.mark.edgeloop_only  # asyncio's gathers nothing
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_gathered_leaves_though_a_flush_before_it_was_interrupted(loop: Loop, which: int) -> None:
    interrupted = False
    while not interrupted:  # a callback that is held up sends what it has gathered
        senders = [Sender(loop) for _ in range(3)]
        loop.call_soon(send_all, senders, which)
        try:
            turn(loop, 2)
        except KeyboardInterrupt:
            interrupted = True
        senders[which].sock.interrupts = False
        turn(loop, 2)
        for sender in senders:
            assert sender.close() == [b"."] * 70 + [b"last"]
        turn(loop)


@pytest.mark.edgeloop_only  # asyncio's gathers nothing
def test_what_two_interrupted_flushes_have_left_leaves_before_a_fork(loop: Loop) -> None:
    """Or the child, which has it too, would send it again. The first was the turn's, the second the one at the run's end."""
    interrupted = False
    while not interrupted:
        senders = [Sender(loop) for _ in range(3)]

        def send_all_and_interrupt_two(senders: list[Sender] = senders) -> None:
            send_all(senders, 0)
            senders[1].sock.interrupts = True

        loop.call_soon(send_all_and_interrupt_two)
        try:
            turn(loop, 2)
        except KeyboardInterrupt:
            interrupted = not (senders[0].sock.interrupts or senders[1].sock.interrupts)
        for sender in senders:
            sender.sock.interrupts = False
        if interrupted:
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
        else:
            turn(loop, 2)
        came = [sender.close() for sender in senders]
        assert not interrupted or came[2][-1] == b"last"
        turn(loop)


async def receive_three(sock: AskedSocket, peer: socket.socket) -> bytes:
    """Each call but the first waits on the registration of the one before. The last one's is asked about."""
    loop = asyncio.get_running_loop()
    received = []
    for _ in range(2):
        loop.call_soon(peer.send, b"x")
        received.append(await loop.sock_recv(sock, 1))
    loop.call_soon(setattr, sock, "interrupts", True)
    received.append(await loop.sock_recv(sock, 1))
    return b"".join(received)


@pytest.mark.edgeloop_only  # asyncio asks no socket at that moment
def test_a_reader_is_called_again_though_a_look_at_another_socket_was_interrupted(loop: Loop, pair: Pair) -> None:
    """Rule 10: at the end of a turn the kernel looks again at each; one of these looks first asks its socket."""
    ours, theirs = pair
    one, peer = socket.socketpair()
    with peer, AskedSocket(fileno=one.detach()) as asked:
        asked.setblocking(False)
        calls: list[int] = []
        loop.add_reader(ours, calls.append, 1)  # and leaves it there
        theirs.send(b"x")
        receiving = loop.create_task(receive_three(asked, peer))
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(receiving)
        calls.clear()
        turn(loop, 3)
        loop.remove_reader(ours)
        peer.send(b"y")
        assert loop.run_until_complete(receiving) == b"xxy"
    assert calls
