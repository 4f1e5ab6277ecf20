"""A registration that outlives the ``sock_*`` call it was made for, so that a socket read again and again costs no epoll_ctl.

The file under the number may be another by then (dup2, or closed and opened). A call that waits on a registration that was
kept has the kernel look again if no event comes soon; rule 10.
"""

from __future__ import annotations

import errno
from typing import Any

from ..core.channel import Channel
from ..core.schedule import Scheduler
from ..kernel import calls
from ..kernel.short_reads import NOTHING, short_reads_of
from ..watching.layout import WATCH

# A registration that nobody waits on is removed after so many turns: what awaited the call runs in the second, and a task
# that awaited that task in the third.
TURNS_KEPT = 3

# A registration that was kept is verified after so many turns without an event, or after a sleep that brought none.
MAX_UNVERIFIED_TURNS = 16

_NOT_ASKED = -1


class Registration(Channel):
    """The registration of a descriptor that the program owns. Subclasses say who waits on it, and for what.

    It owns no descriptor, unless ``number`` is that of a closing transport: then ``fd`` is a duplicate, in the epoll set
    beside the transport, and is closed with this or with the transport, whichever ends first. For the loop's thread alone;
    ``forget`` ends it, and it may be registered again.
    """

    def __init__(self, loop: Scheduler, fd: int) -> None:
        Channel.__init__(self, fd)
        self.kind = WATCH
        self._loop = loop
        self.number = fd  # the descriptor its owner knows
        self.readable = False
        self.writable = False
        self.owner: Any = None  # the socket of the sock_* calls it is for
        self._short_reads = NOTHING  # what they say: asked when the registration is kept
        self._turns_kept = 0  # since somebody waited on it
        self._turns_unverified = 0  # that a call has waited since it was kept; 0: verified, or nobody waits

    def waits(self) -> bool:
        """Return True if a callback or a call waits for the descriptor."""
        return False

    def lose(self, error: int) -> None:
        """End what waits: the socket was closed. ``error`` is the errno of its exception."""
        self.forget()

    def _interest(self) -> int:
        # The events that what waits is for.
        return 0

    def _update(self) -> None:
        interest = self._interest()
        self._turns_unverified = 0
        if not self.added:
            self._loop.reactor.add(self, interest)
        else:
            self._loop.reactor.rearm(self, interest)

    def _narrow(self) -> None:
        interest = self._interest()
        if interest:
            self._loop.reactor.rearm_if_open(self, interest)
        else:
            self.forget()

    def _keep(self, sock: Any) -> None:
        # Register for what waits; without a system call if the socket's registration was kept and covers it.
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
        self._update()

    def after_callbacks(self) -> None:
        """The turn's callbacks have run: verify what a call waits on, or forget what nobody waits on, in a few turns."""
        if not self.added:
            return
        if not self.waits():
            self._turns_kept += 1
            if self._turns_kept < TURNS_KEPT:
                self._loop.reactor.schedule_rearm(self)
            else:
                self.forget()
        elif self._turns_unverified:
            self._verify()

    def _verify(self) -> None:
        # A call waits on a registration that was made before it: is the file still the one that is registered?
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

    def _forget_if_idle(self) -> None:
        if not self.waits():
            self.forget()

    def forget(self) -> None:
        """Remove it from the epoll set: nobody waits, or what waited was for a descriptor that is closed."""
        owner = self.owner
        self.owner = None
        self._turns_unverified = 0
        reactor = self._loop.reactor
        reactor.remove(self)
        if self.fd != self.number and self.fd >= 0:
            if reactor.companions.get(self.number) is self:
                del reactor.companions[self.number]
            fd = self.fd
            self.fd = -1
            calls.close(fd)
        del owner  # at the end: its destructor may come back here
