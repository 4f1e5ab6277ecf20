"""Stream sockets: TCP over loopback (net/ipv4/tcp*.c) and Unix (net/unix/af_unix.c).

What is sent is in the peer's queue at once, so a direction has one buffer, of the kernel's ``capacity``. Sizes are counted
in bytes, where Linux counts memory.
"""

from __future__ import annotations

import errno
from typing import Any

from simulated_kernel import ERR, HUP, IN, OUT, RDHUP, READ_KEY, File, Kernel, failure

CLOSED, LISTENING, CONNECTING, CONNECTED = range(4)


class StreamSocket(File):
    """What both families have in common."""

    is_tcp = False

    def __init__(self, kernel: Kernel) -> None:
        File.__init__(self, kernel)
        self.state = CLOSED
        self.peer: StreamSocket | None = None
        self.queue: list[bytes] = []  # one part for each send
        self.sizes: list[int] = []  # of Unix sockets: what the parts have taken of the sender's memory
        self.read_shut = False
        self.write_shut = False
        self.error = 0
        self.capacity = kernel.capacity
        self.used = 0  # bytes in the peer's queue
        self.dead = False  # the last descriptor is closed
        self.address: Any = None
        self.peer_address: Any = None
        self.backlog = 0
        self.waiting: list[StreamSocket] = []  # for accept
        self.pending: list[StreamSocket] = []  # whose connect goes on, because the backlog is full
        self.lingers = True  # False: SO_LINGER with 0 seconds

    def size(self) -> int:
        """FIONREAD."""
        return sum(map(len, self.queue))

    def take_error(self) -> int:
        """SO_ERROR, which is reported once."""
        error, self.error = self.error, 0
        return error

    def listen(self, backlog: int) -> None:
        """listen(2)."""
        if self.state == CONNECTED or (self.state == CLOSED and self.address is None and not self.is_tcp):
            raise failure(errno.EINVAL)
        self.state = LISTENING
        self.backlog = backlog

    def accept(self) -> StreamSocket:
        """accept(2)."""
        if self.state != LISTENING:
            raise failure(errno.EINVAL)
        if not self.waiting:
            raise failure(errno.EAGAIN)
        child = self.waiting.pop(0)
        if self.pending:
            self.admit(self.pending.pop(0))
        return child

    def admit(self, client: StreamSocket) -> StreamSocket:
        """A client's connection is complete: it waits for accept."""
        child = type(self)(self.kernel)
        child.state = client.state = CONNECTED
        child.peer, client.peer = client, child
        child.address, child.peer_address = self.address, client.address
        client.peer_address = self.address
        self.waiting.append(child)
        self.wake(READ_KEY)
        return child

    def _take(self, size: int) -> tuple[bytes, int]:
        # Up to ``size`` bytes of the queue, and how many of its parts they end.
        self.kernel.moved += 1
        queue = self.queue
        if len(queue) == 1 and len(queue[0]) <= size:
            self.queue = []
            return queue[0], 1
        parts = []
        ended = 0
        for part in queue:
            if len(part) > size:
                break
            parts.append(part)
            size -= len(part)
            ended += 1
        del queue[:ended]
        if size and queue:
            parts.append(queue[0][:size])
            queue[0] = queue[0][size:]
        return b"".join(parts), ended

    def send(self, data: bytes) -> int:
        """send(2)."""
        raise NotImplementedError

    def recv(self, size: int) -> bytes:
        """recv(2)."""
        raise NotImplementedError

    def shutdown(self, reading: bool, writing: bool) -> None:
        """shutdown(2)."""
        raise NotImplementedError

    def connect(self, address: Any) -> None:
        """connect(2)."""
        raise NotImplementedError

    def _listener_at(self, address: Any) -> StreamSocket | None:
        found = self.kernel.bound.get((type(self), address))
        return found if isinstance(found, StreamSocket) and found.state == LISTENING else None


class UnixSocket(StreamSocket):
    """A Unix stream socket."""

    def poll(self) -> int:
        mask = ERR if self.error else 0
        if self.read_shut:
            mask |= (IN | RDHUP | HUP) if self.write_shut else (IN | RDHUP)
        elif self.queue or self.waiting:
            mask |= IN
        if self.state == CLOSED:
            mask |= HUP
        if self.state != LISTENING and self.used * 4 <= self.capacity:
            mask |= OUT
        return mask

    def connect(self, address: Any) -> None:
        if self.state == CONNECTED:
            raise failure(errno.EISCONN)
        if self.state == LISTENING:
            raise failure(errno.EINVAL)
        listener = self._listener_at(address)
        if listener is None:
            raise failure(errno.ECONNREFUSED)
        if len(listener.waiting) > listener.backlog:
            raise failure(errno.EAGAIN)
        listener.admit(self)

    def send(self, data: bytes) -> int:
        peer = self.peer
        if peer is None:
            raise failure(errno.ENOTCONN)
        if self.write_shut:
            raise failure(errno.EPIPE)
        if not data:
            return 0
        if self.error:
            raise failure(self.take_error())
        room = self.capacity - self.used
        if room <= 0:
            raise failure(errno.EAGAIN)
        if peer.dead or peer.read_shut:
            raise failure(errno.EPIPE)
        data = data[:room]
        peer.queue.append(data)
        peer.sizes.append(len(data))
        self.used += len(data)
        peer.wake(READ_KEY)
        return len(data)

    def recv(self, size: int) -> bytes:
        if self.state != CONNECTED:
            raise failure(errno.EINVAL)
        if not self.queue:
            if self.error:
                raise failure(self.take_error())
            if self.read_shut:
                return b""
            raise failure(errno.EAGAIN)
        data, ended = self._take(size)
        peer = self.peer
        if ended and peer is not None:
            peer.used -= sum(self.sizes[:ended])
            del self.sizes[:ended]
            if not peer.dead and peer.used * 4 <= peer.capacity:
                peer.wake(OUT)
        return data

    def shutdown(self, reading: bool, writing: bool) -> None:
        peer = self.peer
        self.read_shut = self.read_shut or reading
        self.write_shut = self.write_shut or writing
        self.wake(0)
        if peer is not None:
            peer.read_shut = peer.read_shut or writing
            peer.write_shut = peer.write_shut or reading
            peer.wake(0)

    def release(self) -> None:
        self.dead = True
        if self.kernel.bound.get((UnixSocket, self.address)) is self:
            del self.kernel.bound[UnixSocket, self.address]
        peer = self.peer
        if peer is not None:
            peer.read_shut = peer.write_shut = True
            if self.queue:
                peer.error = errno.ECONNRESET
            peer.wake(0)
            if self.queue:
                peer.used = 0
        for child in self.waiting:
            client = child.peer
            child.release()
            if client is not None:
                client.error = errno.ECONNRESET
        self.queue = []


class TcpSocket(StreamSocket):
    """A TCP socket."""

    is_tcp = True

    def __init__(self, kernel: Kernel) -> None:
        StreamSocket.__init__(self, kernel)
        self.finished = False  # SOCK_DONE: FIN has come
        self.no_space = False  # SOCK_NOSPACE: somebody waits for room
        self.asked = False  # SS_CONNECTING: connect(2) was called and its outcome not fetched
        self.never_connected = True

    def poll(self) -> int:
        if self.state == LISTENING:
            return IN if self.waiting else 0
        mask = ERR if self.error else 0
        if (self.read_shut and self.write_shut) or self.state == CLOSED:
            mask |= HUP
        if self.read_shut:
            mask |= IN | RDHUP
        if self.state != CONNECTING:
            if self.queue:
                mask |= IN
            if self.write_shut or self._has_room():
                mask |= OUT
            else:
                self.no_space = True
        return mask

    def _has_room(self) -> bool:
        return self.used * 3 <= self.capacity * 2

    def connect(self, address: Any) -> None:
        if self.asked:
            if self.state == CONNECTING:
                raise failure(errno.EALREADY)
            self.asked = False
            if self.state == CONNECTED:
                return
            error = self.take_error() or errno.ECONNABORTED
            self._disconnect()
            raise failure(error)
        if self.state != CLOSED or not self.never_connected:
            raise failure(errno.EISCONN)
        if self.address is None:
            self.address = ("127.0.0.1", self.kernel.new_port())
        self.asked = True
        self.state = CONNECTING
        self.never_connected = False
        self.peer_address = address
        listener = self._listener_at(address)
        if listener is None:
            self.fail(errno.ECONNREFUSED)
        elif len(listener.waiting) > listener.backlog:
            listener.pending.append(self)
        else:
            listener.admit(self)
        raise failure(errno.EINPROGRESS)

    def admit(self, client: StreamSocket) -> StreamSocket:
        child = StreamSocket.admit(self, client)
        assert isinstance(child, TcpSocket)
        child.never_connected = False
        client.wake(0)
        return child

    def _disconnect(self) -> None:
        self.read_shut = self.write_shut = self.finished = False
        self.peer_address = None
        self.never_connected = True

    def fail(self, error: int) -> None:
        """The connection is over: tcp_reset. Nothing happens to one that is over already."""
        if self.state == CLOSED:
            return
        if self.state == CONNECTED and self.finished and error == errno.ECONNRESET:
            error = errno.EPIPE  # CLOSE_WAIT
        self.error = error
        self.used = 0
        self.done()
        self.wake(ERR)

    def done(self) -> None:
        """tcp_done: the state is CLOSE."""
        self.state = CLOSED
        self.read_shut = self.write_shut = True
        self.wake(0)

    def send(self, data: bytes) -> int:
        if self.state != CONNECTED:
            if self.error:
                raise failure(self.take_error())
            raise failure(errno.EAGAIN if self.state == CONNECTING else errno.EPIPE)
        if self.error:
            raise failure(self.take_error())
        if self.write_shut:
            raise failure(errno.EPIPE)
        peer = self.peer
        assert isinstance(peer, TcpSocket)
        if not data:
            return 0
        room = self.capacity - self.used
        if room <= 0:
            self.no_space = True
            raise failure(errno.EAGAIN)
        if peer.dead:
            self.fail(errno.EPIPE)  # its system answers by RST
            return len(data)
        if len(data) > room:
            self.no_space = True
            data = data[:room]
        if peer.read_shut and not peer.finished:
            return len(data)  # shutdown(SHUT_RD): what comes is dropped
        peer.queue.append(data)
        self.used += len(data)
        peer.wake(READ_KEY)
        return len(data)

    def recv(self, size: int) -> bytes:
        if self.state == LISTENING:
            raise failure(errno.ENOTCONN)
        if not self.queue:
            if self.finished:
                return b""
            if self.error:
                raise failure(self.take_error())
            if self.read_shut:
                return b""
            raise failure(errno.ENOTCONN if self.state == CLOSED else errno.EAGAIN)
        data, _ = self._take(size)
        peer = self.peer
        if isinstance(peer, TcpSocket):
            peer.used = max(0, peer.used - len(data))
            if peer.no_space and peer._has_room():
                peer.no_space = False
                peer.wake(OUT)
        return data

    def shutdown(self, reading: bool, writing: bool) -> None:
        if self.state == CLOSED:
            self.read_shut = self.read_shut or reading
            self.write_shut = self.write_shut or writing
            self.wake(0)
            raise failure(errno.ENOTCONN)
        self.asked = False  # inet_shutdown: SS_CONNECTED
        self.read_shut = self.read_shut or reading
        if writing and not self.write_shut:
            self.write_shut = True
            self._send_fin()
        self.wake(0)

    def _send_fin(self) -> None:
        peer = self.peer
        if not isinstance(peer, TcpSocket) or peer.state != CONNECTED:
            return
        peer.read_shut = True
        peer.finished = True
        peer.wake(0)
        if self.finished:  # both directions are over
            peer.done()
            self.done()

    def release(self) -> None:
        self.dead = True
        if self.kernel.bound.get((TcpSocket, self.address)) is self:
            del self.kernel.bound[TcpSocket, self.address]
        if self.state == LISTENING:
            for child in self.waiting:
                if isinstance(child.peer, TcpSocket):
                    child.peer.fail(errno.ECONNRESET)
            for client in self.pending:
                if isinstance(client, TcpSocket):
                    client.fail(errno.ECONNREFUSED)
            return
        peer = self.peer
        if self.state != CONNECTED or not isinstance(peer, TcpSocket):
            self.state = CLOSED
            return
        if self.queue or not self.lingers:
            self.state = CLOSED
            self.queue = []
            peer.fail(errno.ECONNRESET)
        elif not self.write_shut:
            self._send_fin()
