"""Descriptors that the program reads and writes: ``add_reader``, ``add_writer``, and what ``sock_*`` calls wait for.

A callback of ``add_reader`` or ``add_writer`` may leave half of it unread and expects level semantics: to be called again
for as long as something is left. The registration is edge-triggered like all others; after the callback ran, an
EPOLL_CTL_MOD makes the kernel look again (rule 10).

A ``sock_*`` call repeats its system call until that would not block any more, which is what edges are made for: it needs
no second look. Its registration is kept for a few turns (registration.py).
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

from ..core.failures import INTERRUPTIONS
from ..core.handles import Handle
from ..core.schedule import Scheduler
from ..kernel import calls
from ..kernel.short_reads import ALL, FLAGGED
from . import registration
from .registration import Registration

# ``receive``'s ``full`` where the number of bytes does not say whether more is waiting, and for accept(2).
UNKNOWN = -1
NO_BYTES = -2


def byte_count(result: Any) -> int:
    """Return how many bytes a call has received, from what it returns: them or their number, with an address or without."""
    if type(result) is tuple:
        result = result[0]
    return result if type(result) is int else len(result)


class Watch(Registration):
    """A descriptor that the program owns, with a callback or a ``sock_*`` call that waits for each direction."""

    def __init__(self, loop: Scheduler, fd: int) -> None:
        Registration.__init__(self, loop, fd)
        self.fileobj: Any = None  # what add_reader or add_writer was given
        self.reader: Handle | None = None
        self.writer: Handle | None = None
        self._receiving: asyncio.Future[Any] | None = None
        self._receive: Any = None  # the system call, its arguments, and with how many bytes there may be more
        self._receive_arguments: tuple[Any, ...] = ()
        self._full = UNKNOWN
        self._message = ""  # recvmsg's name, where that does the same as the call and says more
        self._sending: asyncio.Future[Any] | None = None
        self._send: Any = None
        self._drained_in = 0  # the turn in which a short read showed that nothing is left

    def on_ready(self) -> None:
        """Queue the callbacks of the directions that are ready, and look again when they have run; repeat what waits."""
        if self.readable:
            if self.reader is not None:
                # In this order: where there is no memory for one of these, the next turn tries again.
                self._loop.reactor.schedule_rearm(self)
                self._loop._fired.append(self.reader)
                self.readable = False
            elif self._receiving is not None:
                self._receive_again()
        if self.writable:
            if self.writer is not None:
                self._loop.reactor.schedule_rearm(self)
                self._loop._fired.append(self.writer)
                self.writable = False
            elif self._sending is not None:
                self._send_again()

    def after_callbacks(self) -> None:
        """The callbacks have run: the kernel looks for what they left unread (rule 10)."""
        if self.reader is None and self.writer is None:
            Registration.after_callbacks(self)
        elif self.added:
            if self._turns_unverified:
                self._turns_unverified = registration.MAX_UNVERIFIED_TURNS  # the callback needs a look now anyway
                self._verify()
            else:
                self._loop.reactor.rearm_if_open(self, self._interest())

    # Callbacks
    #
    # What is replaced is dropped last: the destructors of its arguments may call these methods, and the later call counts.

    def set_reader(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is readable. Replaces the callback or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        before, self.reader = self.reader, handle
        self._receiving = None
        try:
            self._update()
        except BaseException:
            self.reader = None
            self._forget_if_idle()
            raise
        finally:
            if before is not None:
                before.cancel()
        return handle

    def set_writer(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is writable. Replaces the callback or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        before, self.writer = self.writer, handle
        self._sending = None
        try:
            self._update()
        except BaseException:
            self.writer = None
            self._forget_if_idle()
            raise
        finally:
            if before is not None:
                before.cancel()
        return handle

    def clear_reader(self) -> bool:
        """Call back no more for reading. Return False if neither a callback nor a call waited."""
        if self.reader is None and self._receiving is None:
            return False
        before, self.reader = self.reader, None
        self._receiving = None
        self._narrow()
        if before is not None:
            before.cancel()
        return True

    def clear_writer(self) -> bool:
        """Call back no more for writing. Return False if neither a callback nor a call waited."""
        if self.writer is None and self._sending is None:
            return False
        before, self.writer = self.writer, None
        self._sending = None
        self._narrow()
        if before is not None:
            before.cancel()
        return True

    # Calls that wait

    def waits(self) -> bool:
        """Return True if a callback or a call waits for the descriptor."""
        return not (self.reader is None and self.writer is None and self._receiving is None and self._sending is None)

    def is_empty(self, sock: Any) -> bool:
        """Return True if ``sock`` was read empty in this turn or the one before: then recv(2) is not worth a try.

        The event of what has come since is among those that are dispatched next.
        """
        return (
            self.owner is sock
            and self.added
            and not self.readable
            and self._drained_in + 1 >= self._loop.reactor.iteration
            and self._receiving is None
            and self.reader is None
        )

    def receive(
        self, sock: Any, call: Callable[..., Any], args: tuple[Any, ...], full: int, message: str
    ) -> asyncio.Future[Any]:
        """Return a future of what ``call(*args)`` returns or raises once it would not block; it was tried, or ``is_empty``.

        ``full``: the number of bytes with which more may be waiting; with fewer the stream is empty. ``UNKNOWN``: the number
        says nothing. ``NO_BYTES``: accept(2), which counts itself. ``message``: recvmsg or recvmsg_into, which do the same and
        return flags, where only these tell; or "".

        Replaces the callback or the call that waited, as asyncio does.
        """
        done = self._loop.create_future()
        before, self.reader = self.reader, None
        self._receiving = done
        self._receive = call
        self._receive_arguments = args
        self._full = full
        self._message = message
        self.readable = False  # what comes from now on is a new event
        try:
            self._keep(sock)
        except BaseException:
            self._receiving = None
            self._forget_if_idle()
            raise
        if before is not None:
            before.cancel()
        return done

    def send(self, sock: Any, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Return a future of what ``call()`` returns or raises once it would not block. Replaces as ``receive`` does."""
        if self.added and not self.waits():
            # Afresh, so that an event of before the call is not taken for an answer to it: for connect(2) it would be one.
            self.forget()
        done = self._loop.create_future()
        before, self.writer = self.writer, None
        self._sending = done
        self._send = call
        self.writable = False
        try:
            self._keep(sock)
        except BaseException:
            self._sending = None
            self._forget_if_idle()
            raise
        if before is not None:
            before.cancel()
        return done

    def leave(self, done: asyncio.Future[Any]) -> None:
        """Nobody awaits ``done`` any more: drop its call."""
        dropped: Any = None  # the call's buffer, at the end
        if self._receiving is done:
            dropped = self._receive, self._receive_arguments
            self._receiving = None
            self._receive = None
            self._receive_arguments = ()
        elif self._sending is done:
            dropped = self._send
            self._sending = None
            self._send = None
        else:
            return
        self._forget_soon()
        del dropped

    def lose(self, error: int) -> None:
        """End the calls that wait with an OSError of this errno: their socket was closed."""
        receiving, sending = self._receiving, self._sending
        self._receiving = None
        self._sending = None
        self._forget_if_idle()
        for done in (receiving, sending):
            if done is not None and not done.done():
                done.set_exception(OSError(error, os.strerror(error)))

    def _receive_again(self) -> None:
        done = self._receiving
        if done is None or done.done():
            return
        reactor = self._loop.reactor
        full = self._full
        conclusive = full >= 0 and self._short_reads == ALL
        if full != NO_BYTES:
            reactor.counts.recv += 1
        try:
            if self._message and self._short_reads == FLAGGED:
                result, conclusive = self._receive_message()
            else:
                result = self._receive(*self._receive_arguments)
        except BlockingIOError:
            self.readable = False
            self.hangup = False
            return
        except InterruptedError:
            self._loop.reactor.defer(self)  # no second edge comes for what is there
            return
        except INTERRUPTIONS:
            self._loop.reactor.defer(self)
            raise
        except BaseException as exc:
            dropped = self._received(done)
            self._turns_kept = registration.TURNS_KEPT  # it won't be read again
            if not done.done():
                done.set_exception(exc)
        else:
            dropped = self._received(done)
            if full != NO_BYTES:
                count = byte_count(result)
                reactor.counts.bytes_in += count
                if conclusive and not self.hangup and count < full:
                    self.readable = False
                    self._drained_in = reactor.iteration
            if not done.done():
                done.set_result(result)
        # A traceback that the task keeps of its exception refers to this frame: it must not lead back to the future.
        del done
        self._forget_soon()
        del dropped

    def _receive_message(self) -> tuple[Any, bool]:
        # What the call returns, and whether a short read says that nothing is left.
        argument = self._receive_arguments[0]
        if self._message == "recvmsg":
            data, _, flags, _ = self.owner.recvmsg(argument)
            return data, not flags
        count, _, flags, _ = self.owner.recvmsg_into([argument])
        return count, not flags

    def _received(self, done: asyncio.Future[Any]) -> Any:
        # Before the future is done: who hears of that may come with the next call. What is dropped may run code too.
        if self._receiving is not done:
            return None  # another call has taken its place meanwhile
        dropped = self._receive, self._receive_arguments
        self._receiving = None
        self._receive = None
        self._receive_arguments = ()
        self._turns_unverified = 0
        return dropped

    def _send_again(self) -> None:
        done = self._sending
        if done is None or done.done():
            return
        self._loop.reactor.request_poll()
        try:
            result = self._send()
        except BlockingIOError:
            self.writable = False
            return
        except InterruptedError:
            self._loop.reactor.defer(self)  # nor for the space that is left
            return
        except INTERRUPTIONS:
            self._loop.reactor.defer(self)
            raise
        except BaseException as exc:
            dropped = self._sent(done)
            self._turns_kept = registration.TURNS_KEPT
            if not done.done():
                done.set_exception(exc)
        else:
            dropped = self._sent(done)
            if not done.done():
                done.set_result(result)
        del done  # as above
        self._forget_soon()
        del dropped

    def _sent(self, done: asyncio.Future[Any]) -> Any:
        # As _received.
        if self._sending is not done:
            return None
        dropped = self._send
        self._sending = None
        self._send = None
        self._turns_unverified = 0
        return dropped

    # The registration

    def forget(self) -> None:
        """Remove it from the epoll set, and drop the calls that waited."""
        dropped = self._receive, self._receive_arguments, self._send
        self._receive = None
        self._receive_arguments = ()
        self._send = None
        Registration.forget(self)
        del dropped

    def on_closed(self) -> None:
        """The transport that this is a companion of is gone, and its descriptor with it."""
        before = self.reader, self.writer
        self.reader = None
        self.writer = None
        self.lose(errno.EBADF)
        for handle in before:
            if handle is not None:
                handle.cancel()

    def _interest(self) -> int:
        interest = 0
        if self._receiving is not None:
            interest = calls.INTEREST_READ | calls.INTEREST_URGENT
        elif self.reader is not None:
            interest = calls.INTEREST_READ
        if self.writer is not None or self._sending is not None:
            interest |= calls.INTEREST_WRITE
        return interest
