"""Descriptors that their owner reads and writes: ``add_reader``, ``add_writer``, and what ``sock_*`` calls wait for.

A caller of ``add_reader`` or ``add_writer`` may leave half of it unread and expects level semantics: called again for as
long as there is something left. The registration is edge-triggered like all others; after the callback ran, an
EPOLL_CTL_MOD makes the kernel look again (rule 10).

A ``sock_*`` call repeats its system call until that no longer would block, which is what edges are made for: it needs no
second look. Its registration outlives it by a few turns, so that a socket that is read again and again costs no epoll_ctl.
The file under the number may be another by then (dup2, or closed and opened): a call that waits on a registration that was
kept has the kernel look again if no event comes soon.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

from ..core.handles import Handle
from ..core.reactor import Channel
from ..core.schedule import Scheduler
from ..kernel import calls
from ..kernel.short_reads import ALL, FLAGGED, NOTHING, short_reads_of

# So many turns after a sock_* call its socket is taken out, if no other call waits for it by then: what awaited the call
# runs in the second, and a task that awaited that task in the third.
TURNS_KEPT = 3

# So many turns without an event, or a sleep that brought none, and a registration that was kept is looked at again.
MAX_UNVERIFIED_TURNS = 16

# What ``receive`` is told where the count of bytes does not say whether more is waiting.
UNKNOWN = -1

_NOT_ASKED = -1


class Watch(Channel):
    """A descriptor of the user's, with a callback or a ``sock_*`` call that waits for each direction.

    It owns no descriptor, unless ``number`` is that of a transport that is closing: then ``fd`` is a duplicate, in the epoll
    set beside the transport, which is closed with the Watch or with the transport, whichever is first.
    """

    def __init__(self, loop: Scheduler, fd: int) -> None:
        Channel.__init__(self, fd)
        self._loop = loop
        self.number = fd  # the descriptor its owner knows
        self.fileobj: Any = None  # what add_reader or add_writer was given
        self.reader: Handle | None = None
        self.writer: Handle | None = None
        self.readable = False
        self.writable = False
        self.owner: Any = None  # the socket whose sock_* calls the registration is for
        self._receiving: asyncio.Future[Any] | None = None
        self._receive: Any = None  # the system call, its arguments, and with how many bytes there may be more
        self._receive_arguments: tuple[Any, ...] = ()
        self._full = UNKNOWN
        self._message = ""  # recvmsg's name, where that does the same as the call and says more
        self._short_reads = NOTHING  # what they say: asked when a registration is kept
        self._sending: asyncio.Future[Any] | None = None
        self._send: Any = None
        self._drained_in = 0  # the turn in which a short read showed that there is nothing left
        self._turns_kept = 0
        self._turns_unverified = 0  # turns in which a call has waited on a registration that was kept; 0: on none

    def on_ready(self) -> None:
        """Queue the callbacks of the directions that are ready, and look again when they have run; repeat what waits."""
        if self.readable:
            if self.reader is not None:
                self.readable = False
                self._loop._fired.append(self.reader)
                self._loop.reactor.schedule_rearm(self)
            elif self._receiving is not None:
                self._receive_again()
        if self.writable:
            if self.writer is not None:
                self.writable = False
                self._loop._fired.append(self.writer)
                self._loop.reactor.schedule_rearm(self)
            elif self._sending is not None:
                self._send_again()

    def after_callbacks(self) -> None:
        """The callbacks ran: what they left unread is to be told again. Who waits no longer is forgotten in a while."""
        if not self.added:
            return
        if self.reader is not None or self.writer is not None:
            if self._turns_unverified:
                self._turns_unverified = MAX_UNVERIFIED_TURNS  # the callback needs a look now anyway
                self._verify_registration()
            else:
                self._loop.reactor.rearm_if_open(self, self._interest())
        elif self._turns_unverified and self.waits():
            self._verify_registration()
        elif not self.waits():
            self._turns_kept += 1
            if self._turns_kept < TURNS_KEPT:
                self._loop.reactor.schedule_rearm(self)
            else:
                self.forget()

    # Callbacks
    #
    # What is replaced is dropped last: its arguments' destructors may come back here, and their word is the later one.

    def set_reader(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is readable; replaces the callback there was, or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        before, self.reader = self.reader, handle
        self._receiving = None
        try:
            self._update_registration()
        except BaseException:
            self.reader = None
            self._give_up()
            raise
        finally:
            if before is not None:
                before.cancel()
        return handle

    def set_writer(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is writable; replaces the callback there was, or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        before, self.writer = self.writer, handle
        self._sending = None
        try:
            self._update_registration()
        except BaseException:
            self.writer = None
            self._give_up()
            raise
        finally:
            if before is not None:
                before.cancel()
        return handle

    def clear_reader(self) -> bool:
        """Call back no more for reading; whether there was a callback or a call that waited."""
        if self.reader is None and self._receiving is None:
            return False
        before, self.reader = self.reader, None
        self._receiving = None
        self._narrow_registration()
        if before is not None:
            before.cancel()
        return True

    def clear_writer(self) -> bool:
        """Call back no more for writing; whether there was a callback or a call that waited."""
        if self.writer is None and self._sending is None:
            return False
        before, self.writer = self.writer, None
        self._sending = None
        self._narrow_registration()
        if before is not None:
            before.cancel()
        return True

    # Calls that wait

    def waits(self) -> bool:
        """Whether a callback or a call waits for the descriptor."""
        return not (self.reader is None and self.writer is None and self._receiving is None and self._sending is None)

    def is_empty(self, sock: Any) -> bool:
        """Whether ``sock`` had nothing left when it was read a moment ago: then there is no use in trying.

        In this turn or the one before: what has come since is among the events that are dispatched next.
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
        """What ``call(*args)`` returns or raises, once that no longer would block; it was tried, or ``is_empty`` said so.

        ``full``: the count of bytes with which more may be waiting; with fewer, the stream is empty. ``UNKNOWN``: no saying.
        ``message``: recvmsg or recvmsg_into, which do the same where there is no saying without flags, or "". Replaces the
        callback there was, or the call that waited, as asyncio does.
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
            self._give_up()
            raise
        if before is not None:
            before.cancel()
        return done

    def send(self, sock: Any, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """What ``call()`` returns or raises, once that no longer would block. Replaces as ``receive`` does."""
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
            self._give_up()
            raise
        if before is not None:
            before.cancel()
        return done

    def leave(self, done: asyncio.Future[Any]) -> None:
        """Whoever awaited ``done`` does so no longer."""
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
        """The calls that wait end with an OSError of this errno: their socket was closed meanwhile."""
        receiving, sending = self._receiving, self._sending
        self._receiving = None
        self._sending = None
        self._give_up()
        for done in (receiving, sending):
            if done is not None and not done.done():
                done.set_exception(OSError(error, os.strerror(error)))

    def _keep(self, sock: Any) -> None:
        # Registered for what waits, and for reading if it was: a socket that is read again needs no system call for that.
        self._turns_kept = 0
        if self.owner is not sock:
            self.owner = sock
            self._short_reads = _NOT_ASKED
        elif self.added and not self._interest() & ~self.interest:
            if self._short_reads == _NOT_ASKED:
                self._short_reads = short_reads_of(sock)
            self._turns_unverified = 1
            self._loop.reactor.unverified = True
            self._loop.reactor.schedule_rearm(self)
            return
        self._update_registration()

    def _verify_registration(self) -> None:
        # A call waits on a registration that was there before it: is the file still the one that is registered?
        reactor = self._loop.reactor
        if self._turns_unverified < MAX_UNVERIFIED_TURNS and not (reactor.idle and self._turns_unverified > 1):
            self._turns_unverified += 1
            reactor.unverified = True
            reactor.schedule_rearm(self)
            return
        self._turns_unverified = 0
        try:
            closed = self.owner is not None and self.owner.fileno() != self.number
            if not closed:
                reactor.rearm(self, self._interest())
        except OSError as exc:
            self.lose(exc.errno or errno.EBADF)
        else:
            if closed:
                self.lose(errno.EBADF)

    def _receive_again(self) -> None:
        done = self._receiving
        if done is None or done.done():
            return
        conclusive = self._full != UNKNOWN and self._short_reads == ALL
        try:
            if self._message and self._short_reads == FLAGGED:
                result, conclusive = self._receive_message()
            else:
                result = self._receive(*self._receive_arguments)
        except BlockingIOError:
            self.readable = False
            self.hangup = False
            return
        except (SystemExit, KeyboardInterrupt, InterruptedError) as exc:
            self._loop.reactor.defer(self)  # there is no second edge for what is there, or for the room that is left
            if isinstance(exc, InterruptedError):
                return
            raise
        except BaseException as exc:
            dropped = self._received(done)
            self._turns_kept = TURNS_KEPT  # it won't be read again
            if not done.done():
                done.set_exception(exc)
        else:
            dropped = self._received(done)
            if conclusive and not self.hangup:
                count = result if type(result) is int else len(result)
                if count < self._full:
                    self.readable = False
                    self._drained_in = self._loop.reactor.iteration
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
        except (SystemExit, KeyboardInterrupt, InterruptedError) as exc:
            self._loop.reactor.defer(self)
            if isinstance(exc, InterruptedError):
                return
            raise
        except BaseException as exc:
            dropped = self._sent(done)
            self._turns_kept = TURNS_KEPT
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

    def _forget_soon(self) -> None:
        if not self.waits():
            if self._turns_kept >= TURNS_KEPT:
                self.forget()
            else:
                self._turns_kept = 0
                self._loop.reactor.schedule_rearm(self)
        elif self.interest & ~self._interest() & calls.INTEREST_WRITE:
            # A Unix socket gets an event whenever its peer reads (rule 4).
            self._loop.reactor.rearm_if_open(self, self._interest())

    def _give_up(self) -> None:
        if not self.waits():
            self.forget()

    def forget(self) -> None:
        """Take it out of the epoll set: nobody waits, or what waited was for a descriptor that is closed."""
        dropped = self.owner, self._receive, self._receive_arguments, self._send
        self.owner = None
        self._receive = None
        self._receive_arguments = ()
        self._send = None
        self._turns_unverified = 0
        reactor = self._loop.reactor
        reactor.remove(self)
        if self.fd != self.number and self.fd >= 0:
            if reactor.companions.get(self.number) is self:
                del reactor.companions[self.number]
            fd = self.fd
            self.fd = -1
            calls.close(fd)
        del dropped

    # The registration

    def on_closed(self) -> None:
        """The transport that this was made beside is gone, and its descriptor with it."""
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

    def _update_registration(self) -> None:
        interest = self._interest()
        self._turns_unverified = 0
        if not self.added:
            self._loop.reactor.add(self, interest)
        else:
            self._loop.reactor.rearm(self, interest)

    def _narrow_registration(self) -> None:
        interest = self._interest()
        if interest:
            self._loop.reactor.rearm_if_open(self, interest)
        else:
            self.forget()
