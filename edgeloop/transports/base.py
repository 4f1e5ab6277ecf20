"""What the transports of sockets and pipes have in common: one descriptor, one protocol, a beginning and an end.

asyncio doc: Transports and Protocols, Base Transport.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from collections.abc import Callable
from typing import Any

from .. import stdlib
from ..core.channel import Channel
from ..core.failures import raise_interruption
from ..core.reactor import Reactor
from ..core.schedule import Scheduler
from ..kernel import calls, sockets

# The life of a transport, always forward.
OPEN = 0
CLOSING = 1  # nothing more is read; what was written is still being sent
LOST = 2  # connection_lost is in the loop's queue; nothing more is sent
CLOSED = 3  # connection_lost has been called and the descriptor given back


class BaseTransport(Channel):
    """A Channel with a protocol.

    The transport owns the descriptor, by itself or through the object that it was given, whose owner may close it all
    the same: see ``_number``. Only the loop's thread may call it, and changes its attributes. It ends when the loop calls
    ``connection_lost``, once, in the transport's context; then it closes the descriptor. A transport that is garbage
    before that warns with ResourceWarning, and closes it too.
    """

    _loop: Scheduler  # set once
    _reactor: Reactor  # set once: the loop's
    _context: contextvars.Context  # set once: what the protocol is called in
    _protocol: Any  # changed by set_protocol; None once CLOSED

    def _start(self, loop: Scheduler, context: contextvars.Context, interest: int) -> None:
        # What __init__ sets. Not by arguments of __init__ itself: a call from class to class in Python's way costs more.
        self._loop = loop
        self._reactor = loop.reactor
        self._context = context
        self._interest = interest  # set once: what epoll is asked for at all times
        self._protocol = None
        self._ask: Callable[[], int] | None = None  # asks who owns the descriptor; None: it is ours, and open
        self._state = OPEN  # changed by close, _force_close and _release
        self._paused = False  # by pause_reading and resume_reading
        self.resumes = 0  # counts the calls of resume_reading that did something, for who looks at intervals

    def begin(self, waiter: asyncio.Future[None] | None = None) -> None:
        """Call ``connection_made``, start reading, then resolve the waiter. Runs in the transport's context."""
        try:
            try:
                self._protocol.connection_made(self)
            finally:
                if self._reactor.observer is not None:
                    self._reactor.observer.connection_made(self)
        except BaseException as exc:
            self._report(exc, "Fatal error: protocol.connection_made() call failed.")
            if isinstance(exc, MemoryError):
                self._force_close(exc)  # it may not have been called at all: no data may follow
        finally:  # after KeyboardInterrupt too: the transport goes on when the loop runs again
            refused: Exception | None = None
            try:
                refused = self._register()
            except MemoryError as exc:
                refused = exc
                self._fatal_error(exc, "Fatal error: no memory to register the descriptor")
            if waiter is not None and not waiter.done():
                if refused is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(refused)

    def _register(self) -> OSError | None:
        # Return None, or epoll's error: then the transport is lost, and whoever waits for it learns why. If its owner has
        # closed the descriptor in connection_made, the transport is lost too, but who waits gets it, as on asyncio.
        if self._state >= LOST:
            self._take_kept_registration()
            return None
        interest = self._interest
        if self._waits_for_room():
            interest |= calls.INTEREST_WRITE
        try:
            self._number()
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: the descriptor is closed")
            return None
        try:
            self._reactor.add(self, interest)
        except PermissionError:
            # epoll refuses what has no poll: a file that never blocks, such as /dev/null. The deferred list serves.
            self.added = True
            self._reactor.counts.channels[self.kind] += 1
            self.readable = True
            self._reactor.defer(self)
        except OSError as exc:
            self._fatal_error(exc, "Fatal error: epoll refused the descriptor")
            return exc
        return None

    def _take_kept_registration(self) -> None:
        # connection_made has ended the transport. What a connect has registered is still in the set: it becomes this one's, to
        # be taken out before the descriptor is closed (rule 1). In a forked process the kernel would keep the entry.
        try:
            if self.fd >= 0 and self._reactor.find(self.fd) is not None:
                self._number()
                self._reactor.add(self, self._interest)
        except OSError:
            pass  # its owner has closed it, and the kernel has dropped the entry

    def _waits_for_room(self) -> bool:
        return not self.writable

    # The descriptor

    def _number(self) -> int:
        # The descriptor, for the next system call. OSError (EBADF) if its owner has closed or detached it: the number may
        # be a stranger's by now (rule 9).
        if self.fd < 0 or (self._ask is not None and self._ask() != self.fd):
            raise sockets.closed_by_owner()
        return self.fd

    def is_gone(self) -> bool:
        """Return True if its owner has closed or detached the descriptor: the number is no longer ours (rule 9)."""
        return self._ask is not None and self._ask() != self.fd

    # Reading can be paused

    def is_reading(self) -> bool:
        """Return True if what arrives goes to the protocol now."""
        return self._state == OPEN and not self._paused

    def pause_reading(self) -> None:
        """Hand nothing to the protocol. Does nothing if reading is paused or the transport closes."""
        if self._state != OPEN or self._paused:
            return
        self._paused = True  # no system call (rule 7): what arrives meanwhile waits in the kernel
        if self._loop._debug:
            stdlib.logger().debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Undo ``pause_reading``. Does nothing if reading isn't paused or the transport closes."""
        if self._state != OPEN or not self._paused:
            return
        self._paused = False
        self.resumes += 1
        if self.added and self._has_input():
            self._reactor.defer(self)
        if self._loop._debug:
            stdlib.logger().debug("%r resumes reading", self)

    def _has_input(self) -> bool:
        return self.readable

    # The protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the transport to another protocol."""
        former = self._protocol  # dropped at the end, when its destructor finds the new one here
        self._protocol = protocol
        del former

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol in charge; None when the transport is closed."""
        return self._protocol  # type: ignore[no-any-return]

    def _report(self, exc: BaseException, message: str) -> None:
        # For what the protocol raised, or a call of ours. SystemExit and KeyboardInterrupt leave the loop instead.
        raise_interruption(exc)
        self._loop._report_within(
            self._context, {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    # The end

    def is_closing(self) -> bool:
        """Return True if the transport closes or is closed."""
        return self._state != OPEN

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        # End the transport. SystemExit and KeyboardInterrupt leave the loop instead.
        raise_interruption(exc)
        if self._is_ordinary(exc):
            if self._loop._debug:
                stdlib.logger().debug("%r: %s", self, message, exc_info=exc)
        else:
            self._report(exc, message)
        self._force_close(exc)

    def _is_ordinary(self, exc: BaseException) -> bool:
        # An error that connections and pipes end by: connection_lost gets it, and nobody else needs to know.
        return isinstance(exc, OSError)

    def _force_close(self, exc: BaseException | None) -> None:
        # Have connection_lost called in the next turn, once. Where there is no memory for that, the transport stays as it was,
        # and can be closed later. A destructor that comes in between finds it lost: it neither sends nor closes it again.
        before = self._state
        if before < LOST:
            self._state = LOST  # before any call: at a call the pure edition runs signal handlers, which may abort too
            try:
                self._loop.call_soon(self._call_connection_lost, exc, context=self._context)
            except MemoryError:
                self._state = before
                raise
            self._count_end(exc)
        self._drop_unsent()  # if it is lost already too: nothing may be offered to a descriptor that is gone

    def _count_end(self, exc: BaseException | None) -> None:
        """Count the end of a connection, for the figures."""

    def _drop_unsent(self) -> None:
        """Forget what was written."""

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._state == CLOSED:
            return
        assert self._state == LOST
        try:
            self._protocol.connection_lost(exc)
        finally:
            try:
                if self._reactor.observer is not None:
                    self._reactor.observer.connection_lost(self, exc)
            finally:
                self._release()

    def _release(self) -> None:
        self._before_release()
        self._reactor.remove(self)
        if self._state == CLOSED:
            return
        fd = self.fd
        protocol = self._protocol
        self._state = CLOSED
        self.fd = -1
        self._protocol = None
        # What is dropped or closed from here on may run any code, which finds a transport that is closed.
        try:
            self._on_release()
        finally:
            self._give_back(fd)
            del protocol

    def _before_release(self) -> None:
        """Ask the descriptor what somebody may want to know when it is closed."""

    def _on_release(self) -> None:
        """Let go of what waits for the transport, the descriptor excepted."""

    def _give_back(self, fd: int) -> None:
        """Close the descriptor, or the object that owns it."""
        raise NotImplementedError

    def __del__(self) -> None:
        # Without a loop it was never made; with one, __init__ has set ``fd``.
        if getattr(self, "_loop", None) is not None and self.fd >= 0:
            try:
                warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:
                fd = self.fd
                self.fd = -1
                self._give_back(fd)
