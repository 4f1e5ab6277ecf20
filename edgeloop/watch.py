"""``add_reader`` and ``add_writer``: callers who own the descriptor and may leave half of it unread.

Such a caller expects level semantics: called again for as long as there is something left. The registration is
edge-triggered like all others; after the callback ran, an EPOLL_CTL_MOD makes the kernel look again (rule 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import kernel
from .reactor import Channel
from .schedule import Handle, Scheduler


class Watch(Channel):
    """A descriptor of the user's with a callback for each direction."""

    def __init__(self, loop: Scheduler, fd: int) -> None:
        Channel.__init__(self, fd)
        self._loop = loop
        self.fileobj: Any = None  # what add_reader or add_writer was given
        self.reader: Handle | None = None
        self.writer: Handle | None = None
        self.readable = False
        self.writable = False

    def on_ready(self) -> None:
        """Queue the callbacks of the directions that are ready, and look again when they have run."""
        if self.readable and self.reader is not None:
            self._loop._ready.append(self.reader)
            self._loop.reactor.mark_queued(self)
        if self.writable and self.writer is not None:
            self._loop._ready.append(self.writer)
            self._loop.reactor.mark_queued(self)
        self.readable = False
        self.writable = False

    def on_called(self) -> None:
        """The callbacks ran: what they left unread is to be told again."""
        if self.added and (self.reader is not None or self.writer is not None):
            self._loop.reactor.look_again(self, self._interest())

    def set_reader(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is readable; replaces the callback there was."""
        handle = self._loop._handle(callback, args, context)
        if self.reader is not None:
            self.reader.cancel()
        self.reader = handle
        self._look()
        return handle

    def set_writer(self, callback: Callable[..., object], args: tuple[Any, ...], context: Any = None) -> Handle:
        """Call back when it is writable; replaces the callback there was."""
        handle = self._loop._handle(callback, args, context)
        if self.writer is not None:
            self.writer.cancel()
        self.writer = handle
        self._look()
        return handle

    def clear_reader(self) -> bool:
        """Call back no more for reading; whether there was a callback."""
        if self.reader is None:
            return False
        self.reader.cancel()
        self.reader = None
        self._look_less()
        return True

    def clear_writer(self) -> bool:
        """Call back no more for writing; whether there was a callback."""
        if self.writer is None:
            return False
        self.writer.cancel()
        self.writer = None
        self._look_less()
        return True

    def _interest(self) -> int:
        interest = 0
        if self.reader is not None:
            interest = kernel.INTEREST_READ
        if self.writer is not None:
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
            self._loop.reactor.remove(self)
