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


class Reactor:
    """An epoll set with its channels; a turn is one ``wait`` and one ``dispatch``.

    ``channels`` is indexed by descriptor, which the kernel hands out lowest first, so the list stays short.
    """

    def __init__(self) -> None:
        self.poller = Poller()
        self.channels: list[Channel | None] = [None] * 64
        self.woken = False
        self.foreign = False  # this process is a fork of the one the set belongs to
        self.batch = 1
        self.heard = 0  # events that the last wait brought
        self.told = 0  # how many of them are dispatched
        self.stirred = True  # something was done since the last wait that can have made news
        self.skipped = False  # the last turn has not asked the kernel
        self.leftover: list[Channel] = []
        self.marked: list[Channel] = []
        self.queued: list[Channel] = []
        _reactors.add(self)

    def close(self) -> None:
        """Give the descriptors back. Channels that are still open are their owners' to close."""
        self.poller.close()
        self.channels = []
        self.leftover = []
        self.marked = []
        self.queued = []

    def fileno(self) -> int:
        """The epoll descriptor, the EPFD of /proc/PID/fdinfo/EPFD."""
        return self.poller.fileno()

    def add(self, channel: Channel, interest: int) -> None:
        """Register a channel, once (rule 1). Raises OSError where epoll refuses the descriptor."""
        fd = channel.fd
        if self.foreign:
            self._refuse()
        self.stirred = True
        try:
            self.poller.add(fd, interest | kernel.EPOLL_EDGE)
        except FileExistsError:
            # The set still has this very file under this number: it was closed and dup'ed back behind our back.
            self.poller.modify(fd, interest | kernel.EPOLL_EDGE)
        if fd >= len(self.channels):
            self.channels.extend([None] * (fd + 64 - len(self.channels)))
        self.channels[fd] = channel
        channel.added = True
        channel.interest = interest
        channel.born = self.batch  # rule 9: an event of the batch under way is its predecessor's

    def rearm(self, channel: Channel, interest: int) -> None:
        """Ask the kernel to look again, now, for ``interest``: no edge can fall between the last look and this (rule 4)."""
        if self.foreign:
            self._refuse()
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
            self._refuse()
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
        if not self.woken:
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
        for channel in queued:
            channel.marked = False
            channel.on_called()

    def may_skip(self) -> bool:
        """Whether a turn that has callbacks to run may do without a ``wait``.

        Not if something was done since the last one that can have made news: who writes to a peer on the same loop and
        yields expects it to be told as soon as on asyncio. Else every second turn may, and no more than that: what other
        threads and direct system calls do is not seen from here, and is told one turn later than on asyncio.
        """
        if self.stirred or self.skipped or self.leftover:
            return False
        self.skipped = True
        return True

    def wait(self, timeout: float) -> None:
        """One epoll_wait of at most ``timeout`` seconds (negative: without limit); ``dispatch`` tells what it brought."""
        if self.foreign:
            self._refuse()
        if self.told < self.heard:
            return  # an exception kept the rest of the last news from being told, and the kernel won't repeat it
        if self.leftover:
            timeout = 0.0
        self.stirred = self.skipped = False
        self.batch += 1
        self.told = self.heard = 0
        self.heard = self.poller.wait(timeout)
        self.woken = False

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

    def _refuse(self) -> None:
        raise RuntimeError("this event loop belongs to the process that this one was forked from")


def _after_fork_in_child() -> None:
    for reactor in _reactors:
        reactor.disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
