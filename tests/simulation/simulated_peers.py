"""Other processes of a simulated kernel: the ends of connections that no loop has.

They hold files without descriptors of the process, and act when the weather lets them.
"""

from __future__ import annotations

import errno
import random
from typing import Any, Self

from simulated_datagrams import UdpSocket, UnixDatagramSocket
from simulated_kernel import File, Kernel
from simulated_pipes import Pipe, PipeEnd
from simulated_streams import CONNECTED, CONNECTING, StreamSocket, TcpSocket
from tape import Tape

PATTERN = 2 * random.Random(1).randbytes(1 << 20)
SIZES = (1, 10, 100, 4000, 5000, 70000, 262144, 300000)


class OracleError(AssertionError):
    """Something that must never happen has happened."""


class Flow:
    """One direction of a connection: how many bytes were written, and how many of them have arrived."""

    def __init__(self, number: int) -> None:
        self.base = number * 977
        self.written = 0
        self.taken = 0

    def next(self, size: int) -> bytes:
        """What is written next; ``wrote`` says how much of it was."""
        start = (self.base + self.written) % (1 << 20)
        return PATTERN[start : start + size]

    def wrote(self, size: int) -> None:
        """So many bytes were written."""
        self.written += size

    def arrive(self, data: bytes) -> None:
        """Check that these are the next bytes."""
        start = (self.base + self.taken) % (1 << 20)
        self.taken += len(data)
        if self.taken > self.written:
            raise OracleError(f"{self.taken} bytes have arrived, and {self.written} were written")
        if data != PATTERN[start : start + len(data)]:
            raise OracleError(f"other bytes than were written have arrived, before byte {self.taken}")


class Peer:
    """Another process's end of something. ``act`` does one thing, at random; when it ``drains``, only what ends a run."""

    def __init__(self, tape: Tape, file: File) -> None:
        self.tape = tape
        self.file: Any = file
        file.refs += 1
        self.draining = False
        self.over = False

    def act(self) -> bool:
        """Do something. Return False if there is nothing to do."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        if not self.over:
            self.over = True
            self.file.kernel.put(self.file)


class StreamPeer(Peer):
    """The other end of a stream. ``to_it`` is what it reads, ``from_it`` what it writes."""

    def __init__(self, tape: Tape, file: StreamSocket, to_it: Flow, from_it: Flow) -> None:
        Peer.__init__(self, tape, file)
        self.to_it = to_it
        self.from_it = from_it
        self.has_ended = False  # its writing half is shut
        self.has_read_end = False
        self.was_cruel = False  # bytes may be lost: it has reset the connection or left data unread

    def act(self) -> bool:
        file: StreamSocket = self.file
        if self.over or file.state != CONNECTED:
            if file.state == CONNECTING or self.over:
                return False
            self.close()
            return True
        if self.draining:
            return self._read(1 << 20)
        what = self.tape.below(12)
        if what < 4:
            return self._read(SIZES[self.tape.below(len(SIZES))]) or self._write()
        if what < 8:
            return self._write() or self._read(1 << 20)
        if what == 8:
            self._write()
            self.end()  # data and FIN in one edge
        elif what == 9:
            self.end()
        elif what == 10:
            if file.queue:
                self.was_cruel = True
            self.close()
        else:
            self.was_cruel = True
            file.lingers = False
            self.close()
        return True

    def _read(self, size: int) -> bool:
        return not self.has_read_end and self._receive(size)

    def _receive(self, size: int) -> bool:
        try:
            data = self.file.recv(size)
        except BlockingIOError:
            return False
        except OSError:
            self.was_cruel = True
            self.close()
            return True
        self._has_come(data)
        return True

    def _has_come(self, data: bytes) -> None:
        if data:
            self.to_it.arrive(data)
        else:
            self.has_read_end = True

    def _write(self) -> bool:
        if self.has_ended:
            return False
        data = self.from_it.next(SIZES[self.tape.below(len(SIZES))])
        try:
            self.from_it.wrote(self.file.send(data))
        except OSError as exc:
            if exc.errno != errno.EAGAIN:
                self.has_ended = True
            return False
        return True

    def end(self) -> None:
        """Shut the writing half."""
        if not self.has_ended:
            self.has_ended = True
            try:
                self.file.shutdown(False, True)
            except OSError:
                pass


class ConnectingPeer(StreamPeer):
    """A client: connects when it first acts."""

    address: Any
    is_trying = True

    @classmethod
    def to(cls, tape: Tape, file: StreamSocket, address: Any, to_it: Flow, from_it: Flow) -> Self:
        """One that connects to ``address``."""
        peer = cls(tape, file, to_it, from_it)
        peer.address = address
        return peer

    def act(self) -> bool:
        if self.is_trying:
            try:
                self.is_trying = False
                self.file.connect(self.address)
            except BlockingIOError as exc:
                if exc.errno == errno.EAGAIN:  # a full backlog: later
                    self.is_trying = True
                    return False
            except OSError:
                self.close()
            return True
        return super().act()


class ListeningPeer(Peer):
    """A server: accepts, and then there is one peer more."""

    def __init__(self, tape: Tape, file: StreamSocket, peers: list[Peer], flows: tuple[Flow, Flow]) -> None:
        Peer.__init__(self, tape, file)
        self.peers = peers
        self.flows = flows

    def act(self) -> bool:
        if self.over or not self.file.waiting:
            return False
        child = self.file.accept()
        self.peers.append(StreamPeer(self.tape, child, *self.flows))
        if self.draining:
            self.peers[-1].draining = True
        return True


class PipePeer(Peer):
    """The other end of a pipe."""

    def __init__(self, tape: Tape, file: PipeEnd, flow: Flow) -> None:
        Peer.__init__(self, tape, file)
        self.flow = flow
        self.was_cruel = False

    def act(self) -> bool:
        if self.over:
            return False
        file: PipeEnd = self.file
        if not self.draining and self.tape.below(8) == 7:
            self.was_cruel = not file.writes
            self.close()
            return True
        try:
            if file.writes:
                if self.draining:
                    return False
                data = self.flow.next(SIZES[self.tape.below(len(SIZES))])
                count = file.write(data)
                self.flow.wrote(count)
            else:
                data = file.read(1 << 20 if self.draining else SIZES[self.tape.below(len(SIZES))])
                if not data:
                    self.close()
                self.flow.arrive(data)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True


class DatagramPeer(Peer):
    """Sends numbered messages and checks the order of those that come."""

    def __init__(self, tape: Tape, file: UdpSocket | UnixDatagramSocket, target: Any) -> None:
        Peer.__init__(self, tape, file)
        self.target = target
        self.sent = 0
        self.last = -1

    def act(self) -> bool:
        if self.over:
            return False
        what = self.tape.below(8)
        try:
            if what < 4 or self.draining:
                number = read_number(self.file.recvfrom(1 << 16)[0])
                if number <= self.last:
                    raise OracleError(f"message {number} has come after {self.last}")
                self.last = number
                return True
            if what == 7:
                self.close()
                return True
            for _ in range((1, 3, 70)[what - 4]):
                self.file.sendto(b"%d" % self.sent, self.target)
                self.sent += 1
        except BlockingIOError:
            return False
        except OSError:
            pass
        return not self.draining


class ParentProcess(Peer):
    """The parent of a forked process: it holds all files that were open at the fork, and ends some time."""

    def __init__(self, tape: Tape, files: list[File]) -> None:
        Peer.__init__(self, tape, files[0])
        self.files = files
        for file in files:
            file.refs += 1

    def act(self) -> bool:
        if self.over or (not self.draining and self.tape.below(4)):
            return False
        self.close()
        return True

    def close(self) -> None:
        if not self.over:
            for file in self.files:
                file.kernel.put(file)
        Peer.close(self)


def read_number(data: bytes) -> int:
    """The number of a message."""
    return int(data.partition(b" ")[0])


def pipe_with_peer(kernel: Kernel, tape: Tape, flow: Flow, loop_writes: bool) -> tuple[int, PipePeer]:
    """A pipe of which the loop has one end, as a descriptor, and another process the other."""
    pipe = Pipe(kernel)
    ours, theirs = (pipe.writer, pipe.reader) if loop_writes else (pipe.reader, pipe.writer)
    ours.blocking = False
    theirs.refs = 0
    peer = PipePeer(tape, theirs, flow)
    return kernel.install(ours), peer


def stream_with_peer(
    kernel: Kernel, tape: Tape, kind: type[StreamSocket], flows: tuple[Flow, Flow], peer: type[StreamPeer] = StreamPeer
) -> tuple[int, StreamPeer]:
    """A connection of which the loop has one end, as a descriptor, and another process the other."""
    ours, theirs = kind(kernel), kind(kernel)
    ours.state = theirs.state = CONNECTED
    ours.peer, theirs.peer = theirs, ours
    if isinstance(ours, TcpSocket) and isinstance(theirs, TcpSocket):
        ours.never_connected = theirs.never_connected = False
        ours.peer_address = theirs.address = ("127.0.0.1", kernel.new_port())
        theirs.peer_address = ours.address = ("127.0.0.1", kernel.new_port())
    ours.blocking = False
    return kernel.install(ours), peer(tape, theirs, *flows)
