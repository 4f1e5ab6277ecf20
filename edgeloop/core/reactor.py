"""The epoll set, one turn of it, and the Channel: what is known of one descriptor.

epoll(7) with EPOLLET tells a change once. A Channel remembers what it was told (``readable``, ``writable``) until a
system call has answered EAGAIN, and the reactor's deferred list brings a Channel back that stopped before that. Numbers
in comments are the rules of edge triggering in docs/edges.md.
"""

from __future__ import annotations

import os
import weakref

from ..kernel import calls, interpreter
from ..kernel.epoll import Poller

# The longest sleep while a call waits on a registration that was kept from the call before (watch.py).
MAX_UNVERIFIED_SECONDS = 0.05

# Rule 5. A callback that ends so soon after its first write would have lost nothing by having its writes gathered; no byte
# that is gathered waits longer than that for other callbacks.
SHORT_SECONDS = 100e-6
LONG_SECONDS = 1e-3  # who goes on computing for longer than that after a write has its next writes sent at once
EARNED = 4  # so many short callbacks in a row, and a connection's writes are gathered
CAUTIOUS_CALLBACKS = 16  # after a callback that was not short, so many others have theirs sent when they end

_NOTHING: list[Channel] = []

_reactors: weakref.WeakSet[Reactor] = weakref.WeakSet()


class Channel:
    """One descriptor in the epoll set: what the kernel said of it, what we want, what is deferred.

    Subclasses say what to do in ``on_ready`` (something may be readable or writable), ``flush`` (the turn ends) and
    ``after_callbacks`` (the callbacks that ``on_ready`` queued have run).
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.readable = False
        self.writable = True  # until a call says otherwise: a new socket has room
        self.hangup = False  # RDHUP, HUP, ERR or PRI came: a short read is not the end (rule 2)
        self.urgent = False  # PRI was among them
        self.deferred = False
        self.flush_queued = False
        self.rearm_queued = False
        self.added = False
        self.interest = 0
        self.registered_in = 0
        self.credit = 0  # the callbacks of late that ended at once after a write (rule 5)

    def on_ready(self) -> None:
        """React to ``readable``, ``writable``; called for each event and for each deferral."""

    def flush(self) -> None:
        """Send what was gathered; called once for each ``Reactor.schedule_flush``."""

    def push(self) -> None:
        """Send what was gathered, in the middle of a callback: call none of the program's."""
        self.flush()

    def after_callbacks(self) -> None:
        """Have the kernel look again; called once for each ``Reactor.schedule_rearm``."""

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
        self.forked = False  # this process is a fork of the one the set belongs to
        self.usable = True  # unless the loop was running then
        self.forks = 0  # from process to process, for whoever has something that can't be shared
        self.iteration = 1
        self.num_events = 0  # events that the last wait brought
        self.next_event = 0  # the index of the first that is not dispatched yet
        self.needs_poll = True  # something was done since the last wait that can have made an event
        self.skipped = False  # the last turn has not asked the kernel
        self.unverified = False  # somebody waits on a registration that may be gone
        self.idle = False  # the last wait has slept and brought nothing
        self.companions: dict[int, Channel] = {}  # by the number of the closing transport whose duplicate they watch
        self.thread = 0  # that runs the loop, as threading.get_ident names it
        self.deferred: list[Channel] = []
        self.flush_queue: list[Channel] = []
        self.flush_queued_at = 0.0  # when the first of them was
        self.judged = 0  # how many of them were queued by callbacks that have ended
        self.judged_at = 0.0  # when the last of these ended
        self.cautious = 0  # so many callbacks' writes are not gathered beyond their end
        self.late = False  # what is let go of has waited for longer than LONG_SECONDS
        self.rearm_queue: list[Channel] = []
        _reactors.add(self)

    def close(self) -> None:
        """Give the descriptors back. Channels that are still open are their owners' to close."""
        self.poller.close()
        companions = list(self.companions.values())
        self.companions = {}
        dropped = self.channels, self.deferred, self.flush_queue, self.rearm_queue
        self.channels = []
        self.deferred = []
        self.flush_queue = []
        self.rearm_queue = []
        for channel in companions:
            fd = channel.fd
            channel.fd = -1
            calls.close(fd)
        del dropped  # at the end: destructors may come back here

    def fileno(self) -> int:
        """The epoll descriptor, the EPFD of /proc/PID/fdinfo/EPFD."""
        return self.poller.fileno()

    def add(self, channel: Channel, interest: int) -> None:
        """Register a channel, once (rule 1). Raises OSError where epoll refuses the descriptor."""
        fd = channel.fd
        if self.forked:
            self._take_over()
        self.needs_poll = True
        if fd >= len(self.channels):
            self.channels.extend([None] * (fd + 64 - len(self.channels)))
        self.poller.add(fd, interest | calls.EPOLL_EDGE)
        channel.added = True
        channel.interest = interest
        channel.registered_in = self.iteration  # rule 9: an event of the iteration under way is its predecessor's
        predecessor = self.channels[fd]
        self.channels[fd] = channel
        del predecessor  # now that it is done: to drop it may run code

    def rearm(self, channel: Channel, interest: int) -> None:
        """Ask the kernel to look again, now, for ``interest``: no edge can fall between the last look and this (rule 4)."""
        if self.forked:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return  # its owner closed it without a word, and the number is another channel's by now (rule 9)
        self.needs_poll = True
        self.poller.modify(channel.fd, interest | calls.EPOLL_EDGE)
        channel.interest = interest

    def rearm_if_open(self, channel: Channel, interest: int) -> None:
        """As ``rearm``, for a descriptor that its owner may have closed meanwhile: then there is nothing to look at."""
        if self.forked:
            self._take_over()
        if self.find(channel.fd) is not channel:
            return
        self.needs_poll = True
        self.poller.refresh(channel.fd, interest | calls.EPOLL_EDGE)
        channel.interest = interest

    def remove(self, channel: Channel) -> None:
        """Take a channel out; comes before ``close`` (rule 1)."""
        if not channel.added:
            return
        channel.added = False
        self.needs_poll = True
        fd = channel.fd
        if fd < len(self.channels) and self.channels[fd] is channel:
            if not self.forked:  # rule 11: a DEL here would take it from the parent
                self.poller.remove(fd)
            # After it: what a destructor registers in between is neither taken out of the set nor out of its place.
            if not channel.added and self.channels[fd] is channel:
                self.channels[fd] = None
        if self.companions:
            companion = self.companions.pop(channel.fd, None)
            if companion is not None:
                companion.on_closed()

    def find(self, fd: int) -> Channel | None:
        """The channel that is registered for a descriptor."""
        return self.channels[fd] if 0 <= fd < len(self.channels) else None

    def defer(self, channel: Channel) -> None:
        """Put a channel on the deferred list: it is looked at again in the next turn, which won't sleep (rule 3)."""
        if not channel.deferred:
            channel.deferred = True
            self.deferred.append(channel)

    def may_gather(self, channel: Channel) -> bool:
        """Whether what the channel is given may wait to leave with more: earned, and in a callback of the loop (rule 5)."""
        return channel.credit >= EARNED and self.thread == interpreter.this_thread()

    def may_send(self) -> bool:
        """Whether the calling thread may send what is gathered: the one that runs the loop, if one does."""
        return not self.thread or self.thread == interpreter.this_thread()

    def schedule_flush(self, channel: Channel) -> None:
        """Have ``flush`` called soon, before the next wait at the latest, and the callback judged by its end (rule 5)."""
        self.needs_poll = True
        if not channel.flush_queued:
            if not self.flush_queue:
                self.flush_queued_at = calls.now()
            channel.flush_queued = True
            self.flush_queue.append(channel)

    def schedule_rearm(self, channel: Channel) -> None:
        """Have ``after_callbacks`` called when the turn's callbacks, the channel's among them, have run (rule 10)."""
        if not channel.rearm_queued:
            channel.rearm_queued = True
            self.rearm_queue.append(channel)

    def wake(self) -> None:
        """End the wait that is going on, or the next one; from any thread or signal handler."""
        if not self.woken and not self.forked:  # else it is the parent that would wake, and nobody sleeps here
            self.woken = True
            self.poller.wake()

    def callback_ended(self) -> None:
        """Judge the callback by the channels it queued, and let go of what may wait no longer. Called where any are (rule
        5).
        """
        now = calls.now()
        # Its length is known from its first write on, or, if others were queued before, from the end of the last one on.
        elapsed = now - (self.judged_at if self.judged else self.flush_queued_at)
        while self.judged < len(self.flush_queue):
            channel = self.flush_queue[self.judged]
            self.judged += 1
            if elapsed > LONG_SECONDS:
                channel.credit = 0
            elif elapsed < SHORT_SECONDS and channel.credit < EARNED:
                channel.credit += 1
        self.judged_at = now
        waited = now - self.flush_queued_at
        if elapsed >= SHORT_SECONDS:
            self.cautious = CAUTIOUS_CALLBACKS
        elif self.cautious:
            self.cautious -= 1
        elif waited < SHORT_SECONDS:
            return
        self.late = waited > LONG_SECONDS
        try:
            self.flush()
        finally:
            self.late = False

    def flush(self) -> None:
        """Let each queued channel send what it gathered."""
        while self.flush_queue:
            flush_queue = self.flush_queue
            self.flush_queue = []
            self.judged = 0
            index = 0
            try:
                for channel in flush_queue:
                    index += 1
                    channel.flush_queued = False
                    channel.flush()
            except BaseException:
                self.flush_queue[:0] = flush_queue[index:]
                raise

    def push(self) -> None:
        """Let each queued channel send what it gathered, in the middle of a callback: none of the program's is called."""
        if self.may_send():
            for channel in list(self.flush_queue):
                channel.push()

    def process_rearm_queue(self) -> None:
        """The turn's callbacks have run: what they left unread is to be reported again (rule 10)."""
        rearm_queue = self.rearm_queue
        self.rearm_queue = []
        self.unverified = False
        done = 0
        try:
            for channel in rearm_queue:
                done += 1
                channel.rearm_queued = False
                channel.after_callbacks()
        finally:
            if done < len(rearm_queue):
                self.rearm_queue[:0] = rearm_queue[done:]

    def request_poll(self) -> None:
        """Have the next turn ask the kernel: what the caller does may make an event."""
        self.needs_poll = True

    def may_skip(self) -> bool:
        """Whether a turn that has callbacks to run may do without a ``wait``.

        Not if something was done since the last one that can have made an event: who writes to a peer on the same loop and
        yields expects it to be told as soon as on asyncio. Else every second turn may, and no more than that: what other
        threads and direct system calls do is not seen from here, and is told one turn later than on asyncio.
        """
        if self.needs_poll or self.skipped or self.deferred:
            return False
        self.skipped = True
        return True

    def wait(self, timeout: float) -> None:
        """One epoll_wait of at most ``timeout`` seconds (negative: without limit); ``dispatch`` tells what it brought."""
        if self.forked:
            self._take_over()
        if self.next_event < self.num_events:
            return  # an exception kept the rest of the last events from being dispatched, and the kernel won't repeat them
        if self.deferred:
            timeout = 0.0
        elif self.unverified and not 0 <= timeout <= MAX_UNVERIFIED_SECONDS:
            timeout = MAX_UNVERIFIED_SECONDS
        self.needs_poll = self.skipped = False
        self.iteration += 1
        self.next_event = self.num_events = 0
        self.num_events = self.poller.wait(timeout)
        self.woken = False
        self.idle = not self.num_events and timeout != 0.0

    def dispatch(self) -> None:
        """Let each channel react that has an event, and each that was deferred.

        What one of them raises leaves at once; the others are dispatched by the next call.
        """
        deferred = self.deferred
        if deferred:
            self.deferred = []
        else:
            deferred = _NOTHING  # what is deferred from here on is the next turn's
        done = 0
        channels = self.channels
        poller = self.poller
        try:
            while self.next_event < self.num_events:
                index = self.next_event
                self.next_event = index + 1
                fd = poller.fds[index]
                if fd >= len(channels):
                    continue  # the wake-up descriptor: it has no channel
                channel = channels[fd]
                if channel is None or channel.registered_in == self.iteration:
                    continue  # nobody's, or its predecessor's (rule 9)
                mask = poller.masks[index]
                if mask == calls.EPOLL_INPUT:  # as most are
                    channel.readable = True
                else:
                    # Rule 8: HUP and ERR are hints, both directions look for themselves.
                    if mask & calls.EPOLL_READ:
                        channel.readable = True
                    if mask & calls.EPOLL_WRITE:
                        channel.writable = True
                    if mask & calls.EPOLL_HANGUP:
                        channel.hangup = True
                    if mask & calls.EPOLL_URGENT:
                        channel.urgent = True
                if not channel.deferred:  # else its turn comes below: one buffer each (rule 3)
                    channel.on_ready()
                    if self.flush_queue:
                        self.callback_ended()
            for channel in deferred:
                done += 1
                channel.deferred = False
                if channel.added:
                    channel.on_ready()
                    if self.flush_queue:
                        self.callback_ended()
        finally:
            if done < len(deferred):
                self.deferred[:0] = deferred[done:]

    def after_fork(self) -> None:
        """After a fork, in the child: the set is the parent's, and only our copy of its descriptor is ours (rule 11)."""
        self.forked = True
        self.usable = self.usable and not self.thread
        self.forks += 1
        self.thread = 0

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
        self.next_event = self.num_events = 0
        self.forked = False
        for fd, channel in enumerate(self.channels):
            if channel is None or not channel.added:
                continue
            try:
                self.poller.add(fd, channel.interest | calls.EPOLL_EDGE)
            except OSError:
                # Closed in the child, as daemons do with all they have: nobody is left to tell.
                channel.added = False
                self.channels[fd] = None
        # Who has called from another thread saw a forked set, and woke nobody.
        self.woken = True
        self.poller.wake()
        del dropped


def _before_fork() -> None:
    # What is gathered would be in both processes: neither may lose it, nor both send it.
    for reactor in list(_reactors):
        reactor.push()


def _after_fork_in_child() -> None:
    for reactor in list(_reactors):
        reactor.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
