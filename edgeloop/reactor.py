"""The epoll set, one turn of it, and the Channel: what is known of one descriptor.

epoll(7) with EPOLLET tells a change once. A Channel remembers what it was told (``readable``, ``writable``) until a
system call has answered EAGAIN, and the reactor's leftover list brings a Channel back that stopped before that. Numbers
in comments are the rules of edge triggering in docs/edges.md.
"""

from __future__ import annotations

import os
import weakref

from . import kernel
from .kernel_epoll import Poller

# A turn that has callbacks to run may do without asking the kernel. How often, if nothing was done that can have made
# news: every second time, until that many waits in a row have brought nothing, then for so many seconds.
QUIET_WAITS = 16
QUIET_SECONDS = 20e-6
TURNS_A_CLOCK = 8
# The longest sleep while a call waits on a registration that was kept from the call before (watch.py).
UNSURE_SECONDS = 0.05

_NOTHING: list[Channel] = []

_reactors: weakref.WeakSet[Reactor] = weakref.WeakSet()


class Channel:
    """One descriptor in the epoll set: what the kernel said of it, what we want, what is left over.

    Subclasses say what to do in ``on_ready`` (something may be readable or writable), ``flush`` (the turn ends) and
    ``on_called`` (the callbacks that ``on_ready`` queued have run).
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.readable = False
        self.writable = True  # until a call says otherwise: a new socket has room
        self.hung = False  # RDHUP, HUP or ERR came: a short read is not the end (rule 2)
        self.deferred = False
        self.marked = False
        self.added = False
        self.interest = 0
        self.born = 0

    def on_ready(self) -> None:
        """React to ``readable``, ``writable``; called for each event and for each deferral."""

    def flush(self) -> None:
        """Send what this turn has gathered; called once for each ``Reactor.mark``."""

    def on_called(self) -> None:
        """Have the kernel look again; called once for each ``Reactor.mark_queued``."""

    def on_closed(self) -> None:
        """The channel that this one was beside is taken out; called for a ``Reactor.companions`` alone."""


class Reactor:
    """An epoll set with its channels; a turn is one ``wait`` and one ``dispatch``.

    ``channels`` is indexed by descriptor, which the kernel hands out lowest first, so the list stays short.
    """

    def __init__(self) -> None:
        self.poller = Poller()
        self.channels: list[Channel | None] = [None] * 64
        self.woken = False
        self.running = False  # the loop is
        self.foreign = False  # this process is a fork of the one the set belongs to
        self.usable = True  # unless the loop was running then
        self.forks = 0  # from process to process, for whoever has something that can't be shared
        self.batch = 1
        self.heard = 0  # events that the last wait brought
        self.told = 0  # how many of them are dispatched
        self.stirred = True  # something was done since the last wait that can have made news
        self.skipped = False  # the last turn has not asked the kernel
        self.quiet = 0  # waits in a row after skipped turns that brought nothing
        self.asked = 0.0  # when the first turn was skipped since the last wait
        self.skips = 0  # how many turns were after that
        self.unsure = False  # somebody waits on a registration that may be gone
        self.idle = False  # the last wait has slept and brought nothing
        self.companions: dict[int, Channel] = {}  # by the number of the closing transport whose duplicate they watch
        self.leftover: list[Channel] = []
        self.marked: list[Channel] = []
        self.queued: list[Channel] = []
        _reactors.add(self)

    def close(self) -> None:
        """Give the descriptors back. Channels that are still open are their owners' to close."""
        self.poller.close()
        companions = list(self.companions.values())
        self.companions = {}
        dropped = self.channels, self.leftover, self.marked, self.queued
        self.channels = []
        self.leftover = []
        self.marked = []
        self.queued = []
        for channel in companions:
            fd = channel.fd
            channel.fd = -1
            kernel.close(fd)
        del dropped  # at the end: destructors may come back here

    def fileno(self) -> int:
        """The epoll descriptor, the EPFD of /proc/PID/fdinfo/EPFD."""
        return self.poller.fileno()

    def add(self, channel: Channel, interest: int) -> None:
        """Register a channel, once (rule 1). Raises OSError where epoll refuses the descriptor."""
        fd = channel.fd
        if self.foreign:
            self._take_over()
        self.stirred = True
        if fd >= len(self.channels):
            self.channels.extend([None] * (fd + 64 - len(self.channels)))
        try:
            self.poller.add(fd, interest | kernel.EPOLL_EDGE)
        except FileExistsError:
            # The set still has this very file under this number: it was closed and dup'ed back behind our back.
            self.poller.modify(fd, interest | kernel.EPOLL_EDGE)
        channel.added = True
        channel.interest = interest
        channel.born = self.batch  # rule 9: an event of the batch under way is its predecessor's
        predecessor = self.channels[fd]
        self.channels[fd] = channel
        del predecessor  # now that it is done: to drop it may run code

    def rearm(self, channel: Channel, interest: int) -> None:
        """Ask the kernel to look again, now, for ``interest``: no edge can fall between the last look and this (rule 4)."""
        if self.foreign:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return  # its owner closed it without a word, and the number is another channel's by now (rule 9)
        self.stirred = True
        try:
            self.poller.modify(channel.fd, interest | kernel.EPOLL_EDGE)
        except FileNotFoundError:
            # Closed by its owner without a word to us, and the number now names another file.
            self.poller.add(channel.fd, interest | kernel.EPOLL_EDGE)
        channel.interest = interest

    def look_again(self, channel: Channel, interest: int) -> None:
        """As ``rearm``, for a descriptor that its owner may have closed meanwhile: then there is nothing to look at."""
        if self.foreign:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return
        self.stirred = True
        self.poller.refresh(channel.fd, interest | kernel.EPOLL_EDGE)
        channel.interest = interest

    def remove(self, channel: Channel) -> None:
        """Take a channel out; comes before ``close`` (rule 1)."""
        if not channel.added:
            return
        channel.added = False
        self.stirred = True
        fd = channel.fd
        if fd < len(self.channels) and self.channels[fd] is channel:
            self.channels[fd] = None
            if not self.foreign:  # rule 11: a DEL here would take it from the parent
                self.poller.remove(fd)
        if self.companions:
            companion = self.companions.pop(channel.fd, None)
            if companion is not None:
                companion.on_closed()

    def find(self, fd: int) -> Channel | None:
        """The channel that is registered for a descriptor."""
        return self.channels[fd] if 0 <= fd < len(self.channels) else None

    def defer(self, channel: Channel) -> None:
        """Put a channel on the leftover list: it is looked at again in the next turn, which won't sleep (rule 3)."""
        if not channel.deferred:
            channel.deferred = True
            self.leftover.append(channel)

    def mark(self, channel: Channel) -> None:
        """Have ``flush`` called before the next wait, so that the writes of one turn leave together (rule 5)."""
        self.stirred = True
        if not channel.marked:
            channel.marked = True
            self.marked.append(channel)

    def mark_queued(self, channel: Channel) -> None:
        """Have ``on_called`` called when the turn's news, which the channel's callbacks are among, has been run (rule 10)."""
        if not channel.marked:
            channel.marked = True
            self.queued.append(channel)

    def wake(self) -> None:
        """End the wait that is going on, or the next one; from any thread or signal handler."""
        if not self.woken and not self.foreign:  # else it is the parent that would wake, and nobody sleeps here
            self.woken = True
            self.poller.wake()

    def flush(self) -> None:
        """Let each marked channel send what it gathered."""
        while self.marked:
            marked = self.marked
            self.marked = []
            index = 0
            try:
                for channel in marked:
                    index += 1
                    channel.marked = False
                    channel.flush()
            except BaseException:
                self.marked[:0] = marked[index:]
                raise

    def look_again_at_queued(self) -> None:
        """The turn's news has been run: what the callbacks left unread is to be told again (rule 10)."""
        queued = self.queued
        self.queued = []
        self.unsure = False
        done = 0
        try:
            for channel in queued:
                done += 1
                channel.marked = False
                channel.on_called()
        finally:
            if done < len(queued):
                self.queued[:0] = queued[done:]

    def may_skip(self) -> bool:
        """Whether a turn that has callbacks to run may do without a ``wait``.

        Not if something was done since the last one that can have made news: who writes to a peer on the same loop and
        yields expects it to be told as soon as on asyncio. Else every second turn may; and when only callbacks have been
        going round for a while, each one until the next QUIET_SECONDS are over.
        """
        if self.stirred or self.leftover:
            self.quiet = 0
            return False
        if not self.skipped:
            self.skipped = True
            self.skips = 0
            if self.quiet >= QUIET_WAITS:
                self.asked = kernel.now()
            return True
        if self.quiet < QUIET_WAITS:
            return False
        self.skips += 1
        if self.skips % TURNS_A_CLOCK:
            return True  # to read the clock costs as much as a callback
        elapsed = kernel.now() - self.asked
        if elapsed > 2 * QUIET_SECONDS:
            self.quiet = 0  # callbacks that long leave no time to save
        return elapsed < QUIET_SECONDS

    def wait(self, timeout: float) -> None:
        """One epoll_wait of at most ``timeout`` seconds (negative: without limit); ``dispatch`` tells what it brought."""
        if self.foreign:
            self._take_over()
        if self.told < self.heard:
            return  # an exception kept the rest of the last news from being told, and the kernel won't repeat it
        if self.leftover:
            timeout = 0.0
        elif self.unsure and not 0 <= timeout <= UNSURE_SECONDS:
            timeout = UNSURE_SECONDS
        skipped = self.skipped
        self.stirred = self.skipped = False
        self.batch += 1
        self.told = self.heard = 0
        self.heard = self.poller.wait(timeout)
        self.woken = False
        self.idle = not self.heard and timeout != 0.0
        self.quiet = self.quiet + 1 if skipped and not self.heard else 0

    def dispatch(self) -> None:
        """Let each channel react that has news, and each that was left over.

        What one of them raises leaves at once; the others are told by the next call.
        """
        leftover = self.leftover
        if leftover:
            self.leftover = []
        else:
            leftover = _NOTHING  # what is deferred from here on is the next turn's
        done = 0
        channels = self.channels
        poller = self.poller
        try:
            while self.told < self.heard:
                index = self.told
                self.told = index + 1
                fd = poller.fds[index]
                if fd >= len(channels):
                    continue  # the wake-up descriptor: it has no channel
                channel = channels[fd]
                if channel is None or channel.born == self.batch:
                    continue  # nobody's, or its predecessor's (rule 9)
                mask = poller.masks[index]
                if mask == kernel.EPOLL_INPUT:  # as most are
                    channel.readable = True
                else:
                    # Rule 8: HUP and ERR are hints, both directions look for themselves.
                    if mask & kernel.EPOLL_READ:
                        channel.readable = True
                    if mask & kernel.EPOLL_WRITE:
                        channel.writable = True
                    if mask & kernel.EPOLL_HANGUP:
                        channel.hung = True
                if not channel.deferred:  # else its turn comes below: one buffer each (rule 3)
                    channel.on_ready()
            for channel in leftover:
                done += 1
                channel.deferred = False
                if channel.added:
                    channel.on_ready()
        finally:
            if done < len(leftover):
                self.leftover[:0] = leftover[done:]

    def disown(self) -> None:
        """After a fork, in the child: the set is the parent's, and only our copy of its descriptor is ours (rule 11)."""
        self.foreign = True
        self.usable = self.usable and not self.running
        self.forks += 1

    def _take_over(self) -> None:
        # The loop's first use in the child. Made then, not at the fork: most children never touch it.
        if not self.usable:
            raise RuntimeError(
                "this event loop belongs to the process that this one was forked from, where it is running"
            )
        dropped = self.poller  # only closed here: a DEL would be the parent's, and its eventfd wakes the parent
        if not self.channels:
            raise ValueError("I/O operation on closed epoll object")
        self.poller = Poller()
        self.told = self.heard = 0
        self.foreign = False
        for fd, channel in enumerate(self.channels):
            if channel is None or not channel.added:
                continue
            try:
                self.poller.add(fd, channel.interest | kernel.EPOLL_EDGE)
            except OSError:
                # Closed in the child, as daemons do with all they have: nobody is left to tell.
                channel.added = False
                self.channels[fd] = None
        # Who has called from another thread saw a foreign set, and woke nobody.
        self.woken = True
        self.poller.wake()
        del dropped


def _after_fork_in_child() -> None:
    for reactor in list(_reactors):
        reactor.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
