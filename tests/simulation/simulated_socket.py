"""``socket.socket`` on a simulated kernel."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Self

import simulated_calls as calls
from simulated_datagrams import DatagramSocket, UdpSocket, UnixDatagramSocket
from simulated_kernel import OUT, READ_KEY, File, Kernel, failure
from simulated_streams import CONNECTED, CONNECTING, StreamSocket, TcpSocket, UnixSocket

KINDS: dict[tuple[int, int], type[StreamSocket] | type[DatagramSocket]] = {
    (socket.AF_INET, socket.SOCK_STREAM): TcpSocket,
    (socket.AF_UNIX, socket.SOCK_STREAM): UnixSocket,
    (socket.AF_INET, socket.SOCK_DGRAM): UdpSocket,
    (socket.AF_UNIX, socket.SOCK_DGRAM): UnixDatagramSocket,
}
FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Machine:
    """The kernel that runs at this moment."""

    kernel: Kernel = Kernel()


machine = Machine()


class BlockedError(AssertionError):
    """A system call would have blocked the loop."""


def break_off(file: File, error: int) -> None:
    """A connection's end that neither side asked for: by the network, which both learn."""
    if isinstance(file, TcpSocket) and file.state in (CONNECTED, CONNECTING):
        peer = file.peer
        file.fail(error)
        if isinstance(peer, TcpSocket):
            peer.fail(errno.ECONNRESET)


def _name(address: Any) -> Any:
    return address.encode() if isinstance(address, str) else address


class SimulatedSocket:
    """What edgeloop uses of ``socket.socket``, and what tests use besides."""

    __slots__ = ("__weakref__", "_closed", "_fd", "_io_refs", "_kernel", "_timeout", "family", "proto", "type")

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self._fd = -1
        self._kernel = kernel = machine.kernel
        self._timeout: float | None = None
        if fileno is not None:
            file = kernel.file(fileno)
            family, type = next((kind for kind in KINDS if file.__class__ is KINDS[kind]), (family, type))
            self._fd = fileno
        else:
            family = socket.AF_INET if family == -1 else family
            kind = socket.SOCK_STREAM if type == -1 else type & ~FLAGS
            fault = kernel.enter(calls.SOCKET, -1)
            if fault:
                raise failure(fault)
            made = KINDS[family, kind](kernel)
            made.blocking = not type & socket.SOCK_NONBLOCK
            if not made.blocking:
                self._timeout = 0.0
            self._fd = kernel.install(made)
            type = kind
        self.family = socket.AddressFamily(family)
        self.type = socket.SocketKind(type)
        self.proto = max(proto, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd}>"

    def fileno(self) -> int:
        return self._fd

    def detach(self) -> int:
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._kernel.enter(calls.CLOSE, fd)
            self._kernel.close(fd)

    def dup(self) -> Self:
        file = self._kernel.file(self._fd)
        self._kernel.enter(calls.DUP, self._fd)
        return self.__class__(self.family, self.type, self.proto, self._kernel.install(file))

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._kernel.file(self._fd).blocking = timeout is None

    def gettimeout(self) -> float | None:
        return self._timeout

    # Names

    def bind(self, address: Any) -> None:
        self._kernel.enter(calls.BIND, self._fd)
        file: Any = self._kernel.file(self._fd)
        address = _name(address)
        if self.family == socket.AF_INET and address[1] == 0:
            address = (address[0], self._kernel.new_port())
        if (type(file), address) in self._kernel.bound:
            raise failure(errno.EADDRINUSE)
        file.address = address
        self._kernel.bound[type(file), address] = file

    def listen(self, backlog: int = 128) -> None:
        self._kernel.enter(calls.LISTEN, self._fd)
        self._stream().listen(backlog)

    def _unnamed(self) -> Any:
        return "" if self.family == socket.AF_UNIX else ("0.0.0.0", 0)

    def getsockname(self) -> Any:
        self._kernel.enter(calls.NAME, self._fd)
        address = self._socket().address
        return self._unnamed() if address is None else address

    def getpeername(self) -> Any:
        self._kernel.enter(calls.NAME, self._fd)
        file = self._socket()
        if isinstance(file, StreamSocket):
            if file.state != CONNECTED:
                raise failure(errno.ENOTCONN)
        elif file.peer_address is None:
            raise failure(errno.ENOTCONN)
        return self._unnamed() if file.peer_address is None else file.peer_address

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        self._kernel.enter(calls.SOCKOPT, self._fd)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self._socket().take_error()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED):
            return struct.pack("3i", 1, 1000, 1000)
        return b"" if size else 0

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        self._kernel.enter(calls.SOCKOPT, self._fd)
        file = self._socket()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER) and isinstance(file, StreamSocket):
            file.lingers = False

    def _socket(self) -> StreamSocket | DatagramSocket:
        file = self._kernel.file(self._fd)
        if not isinstance(file, (StreamSocket, DatagramSocket)):
            raise failure(errno.ENOTSOCK)
        return file

    def _stream(self) -> StreamSocket:
        file = self._kernel.files.get(self._fd)
        if isinstance(file, StreamSocket):
            return file
        if file is None:
            raise failure(errno.EBADF)
        raise failure(errno.EOPNOTSUPP if isinstance(file, DatagramSocket) else errno.ENOTSOCK)

    # Connections

    def connect(self, address: Any) -> None:
        fault = self._kernel.enter(calls.CONNECT, self._fd)
        file: Any = self._socket()
        if fault == errno.EINTR:
            try:
                file.connect(_name(address))
            except BlockingIOError as exc:
                if exc.errno != errno.EINPROGRESS:
                    raise
            else:
                return
            raise failure(errno.EINTR)
        if fault:
            raise failure(fault)
        file.connect(_name(address))

    def _accept(self) -> tuple[int, Any]:
        kernel = self._kernel
        fault = kernel.enter(calls.ACCEPT, self._fd)
        file = self._stream()
        if not file.waiting:
            if file.blocking:
                raise BlockedError("accept")
        elif fault == errno.EAGAIN:
            file.wake(READ_KEY)
        elif fault == errno.ECONNABORTED:
            gone = file.accept()
            break_off(gone, fault)
            gone.release()
        if fault:
            raise failure(fault)
        if file.waiting and not kernel.has_room():
            raise failure(errno.EMFILE)
        child = file.accept()
        fd = kernel.install(child)
        return fd, self._unnamed() if child.peer_address is None else child.peer_address

    def accept(self) -> tuple[SimulatedSocket, Any]:
        fd, address = self._accept()
        return SimulatedSocket(self.family, self.type, self.proto, fd), address

    def shutdown(self, how: int) -> None:
        self._kernel.enter(calls.SHUTDOWN, self._fd)
        self._stream().shutdown(how != socket.SHUT_WR, how != socket.SHUT_RD)

    # Bytes

    def _recv(self, size: int, flags: int) -> bytes:
        fault = self._kernel.enter(calls.RECV, self._fd)
        file = self._socket()
        if fault:
            size = self._meet_reading(file, fault, size)
        try:
            data = file.recv(size) if isinstance(file, StreamSocket) else file.recvfrom(size)[0]
        except BlockingIOError:
            if file.blocking and not flags & socket.MSG_DONTWAIT:
                raise BlockedError("recv") from None
            raise
        if fault == calls.SHORT and file.queue:
            file.wake(READ_KEY)  # as if the rest had come after the call
        return data

    def _meet_reading(self, file: StreamSocket | DatagramSocket, fault: int, size: int) -> int:
        if fault == calls.SHORT:
            return max(1, min(size, file.size()) // 2) if isinstance(file, StreamSocket) else size
        if fault in (errno.ECONNRESET, errno.ETIMEDOUT):
            break_off(file, fault)
            return size
        if fault == errno.EAGAIN:
            file.wake(READ_KEY)
        raise failure(fault)

    def recv(self, size: int, flags: int = 0) -> bytes:
        return self._recv(size, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self._recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
        return self._recv(size, flags), [], 0, None

    def recvmsg_into(self, buffers: Any, ancillary: int = 0, flags: int = 0) -> tuple[int, list[Any], int, Any]:
        (buffer,) = buffers
        return self.recv_into(buffer, 0, flags), [], 0, None

    def _message(self, size: int, flags: int) -> tuple[bytes, Any]:
        fault = self._kernel.enter(calls.RECVFROM, self._fd)
        file = self._socket()
        if isinstance(file, StreamSocket):
            return file.recv(size), None
        if fault:
            self._meet_reading(file, fault, size)
        if not file.queue and not file.error and file.blocking and not flags & socket.MSG_DONTWAIT:
            raise BlockedError("recvfrom")
        return file.recvfrom(size)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        return self._message(size, flags)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        view = memoryview(buffer).cast("B")
        data, address = self._message(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), address

    def _send(self, data: bytes, flags: int) -> int:
        fault = self._kernel.enter(calls.SEND, self._fd)
        file = self._socket()
        if isinstance(file, DatagramSocket):
            return self._sendto(file, data, None, fault)
        if fault == calls.SHORT:
            data = data[: max(1, len(data) // 2)]
        elif fault in (errno.ECONNRESET, errno.ETIMEDOUT, errno.EPIPE):
            break_off(file, fault)
        elif fault:
            if fault == errno.EAGAIN:
                file.wake(OUT)
            raise failure(fault)
        try:
            count = file.send(data)
        except BlockingIOError:
            if file.blocking and not flags & socket.MSG_DONTWAIT:
                raise BlockedError("send") from None
            raise
        if fault == calls.SHORT:
            file.wake(OUT)  # as if memory had become free after the call
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        view = memoryview(data).cast("B")  # of a large one, what can't be taken is not copied
        return self._send(bytes(view[: max(65536, self._kernel.capacity + 1)]), flags)

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0) -> int:
        return self._send(b"".join(buffers), flags)

    def _sendto(self, file: DatagramSocket, data: bytes, address: Any, fault: int) -> int:
        if fault and fault != calls.SHORT:
            if fault == errno.EAGAIN:
                file.wake(OUT)
            raise failure(fault)
        return file.sendto(data, _name(address))

    def sendto(self, data: Any, *arguments: Any) -> int:
        fault = self._kernel.enter(calls.SENDTO, self._fd)
        file = self._socket()
        if isinstance(file, StreamSocket):
            return file.send(bytes(data))
        return self._sendto(file, bytes(data), arguments[-1], fault)


def socketpair(family: int = socket.AF_UNIX, type: int = socket.SOCK_STREAM) -> tuple[SimulatedSocket, SimulatedSocket]:
    """socketpair(2): Unix streams."""
    one, other = SimulatedSocket(family, type), SimulatedSocket(family, type)
    ours, theirs = one._stream(), other._stream()
    ours.state = theirs.state = CONNECTED
    ours.peer, theirs.peer = theirs, ours
    return one, other
