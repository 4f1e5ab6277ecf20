"""Datagram sockets: UDP over loopback and Unix datagrams."""

from __future__ import annotations

import errno
from typing import Any

from simulated_kernel import ERR, IN, OUT, READ_KEY, File, Kernel, failure

Message = tuple[bytes, Any]  # and the sender's address


class DatagramSocket(File):
    """What both families have in common."""

    def __init__(self, kernel: Kernel) -> None:
        File.__init__(self, kernel)
        self.queue: list[Message] = []
        self.error = 0
        self.address: Any = None
        self.peer_address: Any = None
        self.dead = False

    def size(self) -> int:
        """FIONREAD: of the first message."""
        return len(self.queue[0][0]) if self.queue else 0

    def take_error(self) -> int:
        """SO_ERROR, which is reported once."""
        error, self.error = self.error, 0
        return error

    def recvfrom(self, size: int) -> Message:
        """recvfrom(2): an error comes before what has arrived."""
        if self.error:
            raise failure(self.take_error())
        if not self.queue:
            raise failure(errno.EAGAIN)
        self.kernel.moved += 1
        data, sender = self.queue.pop(0)
        self.taken(sender)
        return data[:size], sender

    def taken(self, sender: Any) -> None:
        """A message has left the queue."""

    def sendto(self, data: bytes, address: Any) -> int:
        """sendto(2); None: to the peer."""
        raise NotImplementedError

    def release(self) -> None:
        self.dead = True
        if self.kernel.bound.get((type(self), self.address)) is self:
            del self.kernel.bound[type(self), self.address]


class UdpSocket(DatagramSocket):
    """A UDP socket. What does not fit into the receiver's buffer is lost."""

    MAX_QUEUED = 250

    def poll(self) -> int:
        return (ERR if self.error else 0) | (IN if self.queue else 0) | OUT

    def connect(self, address: Any) -> None:
        """connect(2)."""
        self.bind_if_needed()
        self.peer_address = address

    def bind_if_needed(self) -> None:
        """Take a port, if it has none."""
        if self.address is None:
            self.address = ("127.0.0.1", self.kernel.new_port())
            self.kernel.bound[UdpSocket, self.address] = self

    def sendto(self, data: bytes, address: Any) -> int:
        to = self.peer_address if address is None else address
        if to is None:
            raise failure(errno.EDESTADDRREQ)
        if self.error:
            raise failure(self.take_error())
        self.bind_if_needed()
        receiver = self.kernel.bound.get((UdpSocket, to))
        if isinstance(receiver, UdpSocket):
            if receiver.peer_address not in (None, self.address):
                receiver = None
            elif len(receiver.queue) < UdpSocket.MAX_QUEUED:
                receiver.queue.append((data, self.address))
                receiver.wake(READ_KEY)
        if receiver is None and to == self.peer_address:
            self.error = errno.ECONNREFUSED  # ICMP
            self.wake(ERR)
        self.wake(OUT)  # its memory is free again
        return len(data)


class UnixDatagramSocket(DatagramSocket):
    """A Unix datagram socket. ``MAX_QUEUED`` messages wait, net.unix.max_dgram_qlen."""

    MAX_QUEUED = 10

    def poll(self) -> int:
        mask = (ERR if self.error else 0) | (IN if self.queue else 0)
        if self.peer_address is not None:
            peer = self._at(self.peer_address)
            if peer is not None and peer.peer_address != self.address and peer.is_full():
                return mask
        return mask | OUT

    def is_full(self) -> bool:
        """Whether a message more has to wait."""
        return len(self.queue) > self.MAX_QUEUED

    def _at(self, address: Any) -> UnixDatagramSocket | None:
        found = self.kernel.bound.get((UnixDatagramSocket, address))
        return found if isinstance(found, UnixDatagramSocket) else None

    def connect(self, address: Any) -> None:
        """connect(2)."""
        if self._at(address) is None:
            raise failure(errno.ECONNREFUSED)
        self.peer_address = address

    def sendto(self, data: bytes, address: Any) -> int:
        to = self.peer_address if address is None else address
        if to is None:
            raise failure(errno.ENOTCONN)
        receiver = self._at(to)
        if receiver is None:
            if address is None:
                self.peer_address = None
            raise failure(errno.ECONNREFUSED)
        if receiver.peer_address is not None and receiver.peer_address != self.address:
            raise failure(errno.EPERM)
        if receiver is not self and receiver.is_full():
            raise failure(errno.EAGAIN)
        receiver.queue.append((data, self.address))
        receiver.wake(READ_KEY)
        return len(data)

    def release(self) -> None:
        for _, sender in self.queue:
            self.taken(sender)
        DatagramSocket.release(self)

    def taken(self, sender: Any) -> None:
        # Whoever is connected and waits for room here, and the sender, whose memory is free again.
        for file in list(self.kernel.bound.values()):
            if isinstance(file, UnixDatagramSocket) and self.address is not None:
                if file.address == sender or file.peer_address == self.address:
                    file.wake(OUT)
