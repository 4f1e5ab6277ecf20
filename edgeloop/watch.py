"""Descriptors that their owner reads and writes: ``add_reader``, ``add_writer``, and what ``sock_*`` calls wait for.

A caller of ``add_reader`` or ``add_writer`` may leave half of it unread and expects level semantics: called again for as
long as there is something left. The registration is edge-triggered like all others; after the callback ran, an
EPOLL_CTL_MOD makes the kernel look again (rule 10).

A ``sock_*`` call repeats its system call until that no longer would block, which is what edges are made for: it needs no
second look. Its registration outlives it by a few turns, so that a socket that is read again and again costs no epoll_ctl.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from . import kernel
from .handles import Handle
from .reactor import Channel
from .schedule import Scheduler

# So many turns after a sock_* call its socket is taken out, if no other call waits for it by then: what awaited the call
# runs in the second, and a task that awaited that task in the third.
TURNS_KEPT = 3

# What ``receive`` is told where the count of bytes does not say whether more is waiting.
UNKNOWN = -1


class Watch(Channel):
    """A descriptor of the user's, with a callback or a ``sock_*`` call that waits for each direction."""

    def __init__(self, loop: Scheduler, fd: int) -> None:
        Channel.__init__(self, fd)
        self._loop = loop
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
        self._is_stream = False
        self._sending: asyncio.Future[Any] | None = None
        self._send: Any = None
        self._emptied_in = 0  # the turn in which a short read showed that there is nothing left
        self._turns_kept = 0

    def on_ready(self) -> None:
        """Queue the callbacks of the directions that are ready, and look again when they have run; repeat what waits."""
        if self.readable:
            if self.reader is not None:
                self.readable = False
                self._loop._news.append(self.reader)
                self._loop.reactor.mark_queued(self)
            elif self._receiving is not None:
                self._receive_again()
        if self.writable:
            if self.writer is not None:
                self.writable = False
                self._loop._news.append(self.writer)
                self._loop.reactor.mark_queued(self)
            elif self._sending is not None:
                self._send_again()

    def on_called(self) -> None:
        """The callbacks ran: what they left unread is to be told again. Who waits no longer is forgotten in a while."""
        if not self.added:
            return
        if self.reader is not None or self.writer is not None:
            self._loop.reactor.look_again(self, self._interest())
        elif not self.waits():
            self._turns_kept += 1
            if self._turns_kept < TURNS_KEPT:
                self._loop.reactor.mark_queued(self)
            else:
                self._forget()

    # Callbacks

    def set_reader(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is readable; replaces the callback there was, or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        if self.reader is not None:
            self.reader.cancel()
        self._receiving = None
        self.reader = handle
        self._look()
        return handle

    def set_writer(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is writable; replaces the callback there was, or the call that waited."""
        handle = self._loop._handle(callback, args, context)
        if self.writer is not None:
            self.writer.cancel()
        self._sending = None
        self.writer = handle
        self._look()
        return handle

    def clear_reader(self) -> bool:
        """Call back no more for reading; whether there was a callback or a call that waited."""
        if self.reader is None and self._receiving is None:
            return False
        if self.reader is not None:
            self.reader.cancel()
        self.reader = None
        self._receiving = None
        self._look_less()
        return True

    def clear_writer(self) -> bool:
        """Call back no more for writing; whether there was a callback or a call that waited."""
        if self.writer is None and self._sending is None:
            return False
        if self.writer is not None:
            self.writer.cancel()
        self.writer = None
        self._sending = None
        self._look_less()
        return True

    # Calls that wait

    def waits(self) -> bool:
        """Whether a callback or a call waits for the descriptor."""
        return not (self.reader is None and self.writer is None and self._receiving is None and self._sending is None)

    def is_empty(self, sock: Any) -> bool:
        """Whether ``sock`` had nothing left when it was read a moment ago: then there is no use in trying.

        In this turn or the one before: what has come since is among the news that is dispatched next.
        """
        return (
            self.owner is sock
            and self.added
            and not self.readable
            and self._emptied_in + 1 >= self._loop.reactor.batch
            and self._receiving is None
            and self.reader is None
        )

    def receive(self, sock: Any, call: Callable[..., Any], args: tuple[Any, ...], full: int) -> asyncio.Future[Any]:
        """What ``call(*args)`` returns or raises, once that no longer would block; it was tried, or ``is_empty`` said so.

        ``full``: the count of bytes with which more may be waiting; with fewer, the stream is empty. ``UNKNOWN``: no saying.
        Replaces the callback there was, or the call that waited, as asyncio does.
        """
        done = self._loop.create_future()
        if self.reader is not None:
            self.reader.cancel()
            self.reader = None
        self._receiving = done
        self._receive = call
        self._receive_arguments = args
        self._full = full
        self.readable = False  # what comes from now on is news
        self._keep(sock)
        return done

    def send(self, sock: Any, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """What ``call()`` returns or raises, once that no longer would block. Replaces as ``receive`` does."""
        if self.added and not self.waits():
            # Afresh, so that news of before the call is not taken for an answer to it: for connect(2) it would be one.
            self._forget()
        done = self._loop.create_future()
        if self.writer is not None:
            self.writer.cancel()
            self.writer = None
        self._sending = done
        self._send = call
        self.writable = False
        self._keep(sock)
        return done

    def leave(self, done: asyncio.Future[Any]) -> None:
        """Whoever awaited ``done`` does so no longer."""
        if self._receiving is done:
            self._receiving = None
        elif self._sending is done:
            self._sending = None
        else:
            return
        self._forget_soon()

    def _keep(self, sock: Any) -> None:
        # Registered for what waits, and for reading if it was: a socket that is read again needs no system call for that.
        self._turns_kept = 0
        if self.owner is not sock:
            self.owner = sock
            self._is_stream = getattr(sock, "type", None) == socket.SOCK_STREAM
        elif self.added and not self._interest() & ~self.interest:
            return
        self._look()

    def _receive_again(self) -> None:
        done = self._receiving
        if done is None or done.done():
            return
        try:
            result = self._receive(*self._receive_arguments)
        except BlockingIOError:
            self.readable = False
            self.hung = False
            return
        except (SystemExit, KeyboardInterrupt, InterruptedError) as exc:
            self._loop.reactor.defer(self)  # there is no second edge for what is there, or for the room that is left
            if isinstance(exc, InterruptedError):
                return
            raise
        except BaseException as exc:
            self._receiving = None
            self._turns_kept = TURNS_KEPT  # it won't be read again
            done.set_exception(exc)
        else:
            self._receiving = None
            if self._full != UNKNOWN and self._is_stream and not self.hung:
                count = result if type(result) is int else len(result)
                if count < self._full:
                    self.readable = False
                    self._emptied_in = self._loop.reactor.batch
            done.set_result(result)
        self._receive = None
        self._receive_arguments = ()
        # A traceback that the task keeps of its exception refers to this frame: it must not lead back to the future.
        del done
        self._forget_soon()

    def _send_again(self) -> None:
        done = self._sending
        if done is None or done.done():
            return
        self._loop.reactor.stirred = True
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
            self._sending = None
            self._turns_kept = TURNS_KEPT
            done.set_exception(exc)
        else:
            self._sending = None
            done.set_result(result)
        self._send = None
        del done  # as above
        self._forget_soon()

    def _forget_soon(self) -> None:
        if not self.waits():
            if self._turns_kept >= TURNS_KEPT:
                self._forget()
            else:
                self._turns_kept = 0
                self._loop.reactor.mark_queued(self)
        elif self.interest & ~self._interest() & kernel.INTEREST_WRITE:
            # A Unix socket has news of room whenever its peer reads (rule 4).
            self._loop.reactor.look_again(self, self._interest())

    def _forget(self) -> None:
        self.owner = None
        self._receive = None
        self._receive_arguments = ()
        self._send = None
        self._loop.reactor.remove(self)

    # The registration

    def _interest(self) -> int:
        interest = 0
        if self.reader is not None or self._receiving is not None:
            interest = kernel.INTEREST_READ
        if self.writer is not None or self._sending is not None:
            interest |= kernel.INTEREST_WRITE
        return interest

    def _look(self) -> None:
        interest = self._interest()
        if not self.added:
            self._loop.reactor.add(self, interest)
        else:
            self._loop.reactor.rearm(self, interest)

    def _look_less(self) -> None:
        interest = self._interest()
        if interest:
            self._loop.reactor.look_again(self, interest)
        else:
            self._forget()
