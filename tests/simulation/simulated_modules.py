"""``os``, ``select``, ``socket`` and the other modules as edgeloop's pure edition finds them on a simulated kernel.

``load`` imports edgeloop while its modules, and nobody else's, get these for the real ones. So it runs unchanged, and each
of its system calls arrives at ``machine.kernel``.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib
import math
import os
import select
import signal
import socket
import sys
import termios
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

import simulated_calls as calls
from simulated_kernel import EDGE, IN, OUT, READ_KEY, EpollSet, EventFd, File, PollsNot, RegularFile, failure
from simulated_pipes import Pipe, PipeEnd
from simulated_socket import BlockedError, SimulatedSocket, break_off, machine, socketpair
from simulated_streams import StreamSocket


class SimulatedEpoll:
    """``select.epoll``."""

    def __init__(self) -> None:
        self._fd = -1
        self._kernel = kernel = machine.kernel
        fault = kernel.enter(calls.EPOLL_CREATE, -1)
        if fault:
            raise failure(fault)
        self._set = EpollSet(kernel)
        self._fd = kernel.install(self._set)

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._kernel.enter(calls.CLOSE, fd)
            self._kernel.close(fd)

    def _call(self, call: int, fd: int) -> int:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        if self._set in self._kernel.parents:
            self._kernel.stale.append("a forked child has used its parent's epoll set (rule 11)")
        return self._kernel.enter(call, fd)

    def register(self, fd: int, mask: int) -> None:
        fault = self._call(calls.EPOLL_ADD, fd)
        if fault and not self._set.has(fd):
            raise failure(fault)  # do_epoll_ctl in fs/eventpoll.c: where it is registered, only EEXIST comes
        self._set.add(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        self._call(calls.EPOLL_CTL, fd)
        self._set.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        self._call(calls.EPOLL_CTL, fd)
        self._set.remove(fd)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        fault = self._call(calls.EPOLL_WAIT, self._fd)
        kernel = self._kernel
        kernel.waits += 1
        limit = 1 if fault == calls.TRUNCATED else maxevents if maxevents > 0 else 1023
        if timeout is None or timeout < 0:
            seconds = None
        else:
            seconds = math.ceil(timeout * 1e3) * 1e-3  # as Python rounds it
        found = [] if fault == calls.EARLY else kernel.wait(self._set, seconds, limit)
        if fault == calls.REORDERED:
            found.reverse()
        elif fault == calls.SPURIOUS and self._set.registered:
            items = list(self._set.registered.values())
            item = items[kernel.calls % len(items)]
            if all(fd != item.fd for fd, _ in found):
                found.append((item.fd, item.interest & (IN | OUT)))
        for fd, mask in found:
            kernel.note(fd, mask)
        kernel.batch = {fd for fd, _ in found}
        kernel.closed.clear()
        return found


class SimulatedPoll:
    """``select.poll``, for one descriptor and without a timeout."""

    def __init__(self) -> None:
        self._fd, self._mask = -1, 0

    def register(self, fd: int, mask: int) -> None:
        self._fd, self._mask = fd, mask

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        found = machine.kernel.file(self._fd).poll() & self._mask
        return [(self._fd, found)] if found else []


# os


def _pipe_end(fd: int) -> File:
    return machine.kernel.file(fd)


def os_close(fd: int) -> None:
    kernel = machine.kernel
    kernel.enter(calls.CLOSE, fd)
    kernel.close(fd)


def os_open(path: str, flags: int, mode: int = 0) -> int:
    kernel = machine.kernel
    fault = kernel.enter(calls.OPEN, -1)
    if fault:
        raise failure(fault)
    if path != os.devnull:
        raise failure(errno.ENOENT)
    return kernel.install(PollsNot(kernel))


def os_read(fd: int, size: int) -> bytes:
    fault = machine.kernel.enter(calls.READ, fd)
    file = _pipe_end(fd)
    if isinstance(file, EventFd):
        return file.take().to_bytes(8, sys.byteorder)
    if isinstance(file, PollsNot):
        return file.read(size)
    if isinstance(file, PipeEnd):
        if file.writes:
            raise failure(errno.EBADF)
        if fault == errno.EAGAIN:
            file.wake(IN)
            raise failure(fault)
        if fault == calls.SHORT:
            size = max(1, min(size, file.pipe.size()) // 2)
        try:
            return file.read(size)
        except BlockingIOError:
            if file.blocking:
                raise BlockedError("read") from None
            raise
    if isinstance(file, StreamSocket):
        if fault == errno.EAGAIN:
            file.wake(READ_KEY)
            raise failure(fault)
        return file.recv(size)
    raise failure(errno.EINVAL)


def os_preadv(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
    if not isinstance(_pipe_end(fd), PipeEnd):
        raise failure(errno.EOPNOTSUPP)
    data = os_read(fd, len(buffers[0]))
    buffers[0][: len(data)] = data
    return len(data)


def os_write(fd: int, data: Any) -> int:
    fault = machine.kernel.enter(calls.WRITE, fd)
    file = _pipe_end(fd)
    data = bytes(data)
    if isinstance(file, EventFd):
        file.add(int.from_bytes(data, sys.byteorder))
        return 8
    if isinstance(file, PipeEnd):
        if not file.writes:
            raise failure(errno.EBADF)
        if fault == errno.EAGAIN:
            file.wake(OUT)
            raise failure(fault)
        if fault == calls.SHORT:
            data = data[: max(1, len(data) // 2)]
        try:
            count = file.write(data)
        except BlockingIOError:
            if file.blocking:
                raise BlockedError("write") from None
            raise
        if fault == calls.SHORT:
            file.wake(OUT)
        return count
    if isinstance(file, StreamSocket):
        if fault == errno.EAGAIN:
            file.wake(OUT)
            raise failure(fault)
        return file.send(data)
    raise failure(errno.EINVAL)


def os_writev(fd: int, buffers: Sequence[Any]) -> int:
    return os_write(fd, b"".join(buffers))


def os_pwritev(fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
    if not isinstance(_pipe_end(fd), PipeEnd):
        raise failure(errno.EOPNOTSUPP)
    return os_write(fd, b"".join(buffers))


def os_pipe2(flags: int = 0) -> tuple[int, int]:
    kernel = machine.kernel
    fault = kernel.enter(calls.PIPE2, -1)
    if fault:
        raise failure(fault)
    pipe = Pipe(kernel)
    pipe.reader.blocking = pipe.writer.blocking = not flags & os.O_NONBLOCK
    fd = kernel.install(pipe.reader)
    try:
        return fd, kernel.install(pipe.writer)
    except OSError:
        kernel.close(fd)
        raise


def os_eventfd(count: int, flags: int = 0) -> int:
    kernel = machine.kernel
    fault = kernel.enter(calls.EVENTFD, -1)
    if fault:
        raise failure(fault)
    return kernel.install(EventFd(kernel))


def os_eventfd_write(fd: int, value: int) -> None:
    machine.kernel.enter(calls.EVENTFD_WRITE, fd)
    file = machine.kernel.file(fd)
    assert isinstance(file, EventFd)
    if file in machine.kernel.parents:
        machine.kernel.stale.append("a forked child has woken its parent (rule 11)")
    file.add(value)


def os_eventfd_read(fd: int) -> int:
    return int.from_bytes(os_read(fd, 8), sys.byteorder)


def os_set_blocking(fd: int, blocking: bool) -> None:
    machine.kernel.enter(calls.FCNTL, fd)
    machine.kernel.file(fd).blocking = blocking


def os_get_blocking(fd: int) -> bool:
    machine.kernel.enter(calls.FCNTL, fd)
    return machine.kernel.file(fd).blocking


def os_dup(fd: int) -> int:
    machine.kernel.enter(calls.DUP, fd)
    return machine.kernel.install(machine.kernel.file(fd))


def os_dup2(fd: int, number: int, inheritable: bool = True) -> int:
    machine.kernel.enter(calls.DUP, fd)
    return machine.kernel.dup2(fd, number)


class _Status:
    def __init__(self, mode: int) -> None:
        self.st_mode = mode


def os_fstat(fd: int) -> _Status:
    file = machine.kernel.file(fd)
    return _Status(0o010000 if isinstance(file, PipeEnd) else 0o020000 if isinstance(file, PollsNot) else 0o140000)


def os_getpid() -> int:
    return machine.kernel.pid


def os_lseek(fd: int, position: int, how: int) -> int:
    machine.kernel.file(fd)
    return position


def os_sendfile(out: int, source: int, offset: int, count: int) -> int:
    kernel = machine.kernel
    fault = kernel.enter(calls.SENDFILE, out)
    file, target = kernel.file(source), kernel.file(out)
    assert isinstance(file, RegularFile) and isinstance(target, StreamSocket)
    data = file.data[offset : offset + count]
    if fault == errno.EAGAIN:
        target.wake(OUT)
        raise failure(fault)
    if fault == errno.ECONNRESET:
        break_off(target, fault)
    if fault == calls.SHORT:
        data = data[: max(1, len(data) // 2)]
    sent = target.send(data)
    if fault == calls.SHORT:
        target.wake(OUT)
    return sent


def fcntl_fcntl(fd: int, command: int, argument: int = 0) -> int:
    kernel = machine.kernel
    fault = kernel.enter(calls.DUPFD if command == fcntl.F_DUPFD_CLOEXEC else calls.FCNTL, fd)
    file = kernel.file(fd)
    if command == fcntl.F_DUPFD_CLOEXEC:
        if fault:
            raise failure(fault)
        return kernel.install(file)
    assert command == fcntl.F_GETFL
    return 0 if file.blocking else os.O_NONBLOCK


def fcntl_ioctl(fd: int, request: int, argument: Any = 0) -> bytes:
    assert request == termios.FIONREAD
    machine.kernel.enter(calls.FCNTL, fd)
    file: Any = machine.kernel.file(fd)
    size: int = file.pipe.size() if isinstance(file, PipeEnd) else file.size()
    return size.to_bytes(4, sys.byteorder)


def time_monotonic() -> float:
    return machine.kernel.now


def time_clock_gettime_ns(clock: int) -> int:
    return round(machine.kernel.now * 1e9)


_wakeup = -1


def signal_set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    global _wakeup
    before, _wakeup = _wakeup, fd
    return before


def _like(module: types.ModuleType, replaced: Mapping[str, Any]) -> types.ModuleType:
    copy = types.ModuleType(module.__name__)
    vars(copy).update(vars(module))
    vars(copy).update(replaced)
    return copy


MODULES = {
    "os": _like(
        os, {name.removeprefix("os_"): thing for name, thing in list(globals().items()) if name.startswith("os_")}
    ),
    "select": _like(select, {"epoll": SimulatedEpoll, "poll": SimulatedPoll}),
    "socket": _like(socket, {"socket": SimulatedSocket, "socketpair": socketpair}),
    "fcntl": _like(fcntl, {"fcntl": fcntl_fcntl, "ioctl": fcntl_ioctl}),
    "time": _like(time, {"monotonic": time_monotonic, "clock_gettime_ns": time_clock_gettime_ns}),
    "signal": _like(signal, {"set_wakeup_fd": signal_set_wakeup_fd}),
}
assert EDGE


def load() -> types.ModuleType:
    """Import the pure edition on these modules. It must not be imported yet."""
    assert "edgeloop" not in sys.modules, "edgeloop is on the real kernel in this process"
    os.environ["EDGELOOP_PURE"] = "1"
    real = builtins.__import__

    def simulated(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and name in MODULES and globals is not None:
            importer = str(globals.get("__name__"))
            if importer.startswith("edgeloop.") and importer not in ("edgeloop._edition", "edgeloop._choice"):
                return MODULES[name]
        return real(name, globals, locals, fromlist, level)

    builtins.__import__ = simulated
    try:
        edgeloop = importlib.import_module("edgeloop")
        assert edgeloop.EDITION == "pure"
        for name in ("loop.event_loop", "transports.tls.start", "serving.proxy_protocol"):
            importlib.import_module(f"edgeloop.{name}")
    finally:
        builtins.__import__ = real
    return edgeloop
